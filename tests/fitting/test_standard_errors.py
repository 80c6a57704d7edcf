"""Standard errors and intervals of least squares: heteroscedastic, known, undetermined."""

from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from jaxscale.law import LawError
from jaxscale.law.algebra import bound
from jaxscale.results.fit import Fit
from jaxscale.utils.errors import ArgumentError
from tests.lines import line

X = np.linspace(-2.0, 3.0, 40)
COLUMNS = np.stack([np.ones(40), X], axis=1)


def rows_of(y: np.ndarray, x: np.ndarray = X, **columns: np.ndarray) -> jaxscale.Observations:
    named: Any = {name: name for name in columns}
    return jaxscale.Observations.from_table({"x": x, "y": y, **columns}, inputs=["x"], response="y", **named)


def fitted(rows: jaxscale.Observations, law: Any = line, **settings: Any) -> Fit:
    return jaxscale.fit(law, rows, **{"starts": 64, "polish": 8, "progress": False} | settings)


def responses(growing: bool, seed: int) -> np.ndarray:
    size = 0.02 * np.exp(0.8 * X) if growing else 0.1
    return 1.0 + 0.5 * X + size * np.random.default_rng(seed).standard_normal(40)


def test_heteroscedastic_residuals_get_hc3() -> None:
    fit = fitted(rows_of(responses(True, 0)))
    assert fit.errors.method == "hc3" and "heteroscedastic" in fit.errors.reason
    inverse = np.linalg.inv(COLUMNS.T @ COLUMNS)
    leverage = np.sum(COLUMNS @ inverse * COLUMNS, axis=1)
    residual = responses(True, 0) - COLUMNS @ [fit.params["c"], fit.params["m"]]
    lever = inverse @ COLUMNS.T * (residual / (1 - leverage))
    expected = np.sqrt(np.diag(lever @ lever.T))
    assert [fit.stderr["c"], fit.stderr["m"]] == pytest.approx(expected, rel=1e-8)
    assert "HC3, as the residuals" in " ".join(str(fit).split())
    classical = fitted(rows_of(responses(True, 0)), errors="classical")
    assert classical.errors.method == "classical" and classical.stderr["m"] != fit.stderr["m"]


def test_heteroscedasticity_test_has_one_percent_size() -> None:
    seen = [fitted(rows_of(responses(False, seed))).errors.method for seed in range(1, 121)]
    # Of 120 at 1 %: more than six has a probability below 2e-4.
    assert seen.count("hc3") <= 6
    assert fitted(rows_of(responses(True, 0)[:16], X[:16])).errors.method == "classical"


def test_known_errors_determine_standard_errors_and_too_small_ones_are_reported() -> None:
    sigma = np.where(X > 0, 0.2, 0.1)
    y = 1.0 + 0.5 * X + sigma * np.random.default_rng(2).standard_normal(40)
    fit = fitted(rows_of(y, sigma=sigma))
    covariance = np.linalg.inv(COLUMNS.T @ (COLUMNS / sigma[:, None] ** 2))
    assert [fit.stderr["c"], fit.stderr["m"]] == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-8)
    half = np.diff(fit.intervals(0.9)["m"])[0] / 2
    assert half == pytest.approx(1.6448536 * fit.stderr["m"], rel=1e-6)
    assert "scatter_exceeds_errors" not in {notice.code for notice in fit.notices}
    small = fitted(rows_of(y, sigma=sigma / 3))
    assert "scatter_exceeds_errors" in {notice.code for notice in small.notices}
    with pytest.raises(ValueError, match="Argument noise must be squared error where every row has a known error"):
        fitted(rows_of(y, sigma=sigma), noise=noise.huber(0.1, "linear"))
    with pytest.raises(jaxscale.DataError, match="the standard error 0 is not positive"):
        rows_of(y, sigma=0 * sigma)


def test_known_errors_of_logarithms_are_relative() -> None:
    x = np.geomspace(1.0, 100.0, 12)
    y = 3.0 * x**-0.5 * (1 + 0.01 * np.sin(9 * x))
    fit = fitted(rows_of(y, x, sigma=0.02 * y), "power_law")
    table = np.stack([np.ones(12), np.log(x)], axis=1) / 0.02
    assert fit.stderr["b"] == pytest.approx(np.sqrt(np.linalg.inv(table.T @ table)[1, 1]), rel=1e-6)


def test_intervals_stay_in_the_support_and_need_two_degrees_of_freedom() -> None:
    x = np.geomspace(1.0, 100.0, 5)
    y = np.array([2.0, 1.7, 1.2, 1.1, 0.7])
    fit = fitted(rows_of(y, x), "power_law_floor", allow_unidentified=True)
    for name in fit.free:
        low, high = fit.intervals(0.9)[name]
        assert 0 <= low < high
    few = fitted(rows_of(y[:4], x[:4]), "power_law_floor", allow_unidentified=True)
    assert all(np.isnan(end) for ends in few.intervals().values() for end in ends)
    none = fitted(rows_of(y[:3], x[:3]), "power_law_floor", allow_unidentified=True)
    assert none.errors.method == "none" and "no degrees of freedom" in none.errors.reason


def test_rows_of_one_run_have_no_standard_errors() -> None:
    fit = fitted(rows_of(responses(False, 0), run=np.zeros(40)))
    assert np.isnan(fit.stderr["m"]) and "all rows belong to one run" in " ".join(str(fit).split())


def test_intervals_of_few_rows_cover_the_truth() -> None:
    truth = dict(c=1.0, a=4000.0, b=0.23)
    x = np.geomspace(2e14, 6e17, 6)
    level = np.asarray(jaxscale.laws.get("power_law_floor")(x, **truth))
    generator = np.random.default_rng(0)
    hits = dict.fromkeys(truth, 0)
    for _ in range(60):
        y = level * np.exp(0.01 * generator.standard_normal(6))
        ends = jaxscale.fit("power_law_floor", rows_of(y, x), progress=False).intervals(0.9)
        for name, value in truth.items():
            hits[name] += ends[name][0] <= value <= ends[name][1]
    # 54 of 60 are expected, with a standard deviation of 2.3.
    assert all(47 <= count <= 60 for count in hits.values()), hits


def test_a_bound_makes_a_law_that_is_found_by_its_name(untyped: None) -> None:
    law = bound(jaxscale.laws.get("power_law_floor"), c=(0.5, 2))
    assert law.name == "power_law_floor(0.5<c<2.0)" and jaxscale.laws.get(law.name) is law
    assert bound(jaxscale.laws.get("power_law_floor"), c=(0.5, 2.0)) is law
    for bounds, message in (
        (dict(c=(2, 1)), "bound leaves no value for c"),
        (dict(c=(-2, 0)), "bound leaves no value for c"),
        (dict(c=3), "bound needs two numbers for c"),
        (dict(d=(0, 1)), "bound names 'd', which is no parameter"),
    ):
        given: Any = bounds
        with pytest.raises(LawError, match=message):
            bound(jaxscale.laws.get("power_law_floor"), **given)
    with pytest.raises(ValueError, match="Argument bounds must leave out 'c', which is fixed"):
        fitted(rows_of(X + 3, X + 3), "power_law_floor", bounds={"c": (0, 1)}, fixed={"c": 0.5})
    with pytest.raises(ArgumentError, match="^Argument bounds leaves no value for c of power_law_floor between 2"):
        fitted(rows_of(X + 3, X + 3), "power_law_floor", bounds={"c": (2, 1)})


@pytest.mark.parametrize("ends", [(0.4, np.inf), (-np.inf, 0.4), (0.3, 0.4)], ids=["above", "below", "between"])
def test_a_bounded_line_is_the_constrained_least_squares(ends: tuple[float, float]) -> None:
    y = responses(False, 3)
    fit = fitted(rows_of(y), bounds={"m": ends})
    free = np.linalg.lstsq(COLUMNS, y, rcond=None)[0]
    expected = float(np.clip(free[1], *ends))
    assert fit.params["m"] == pytest.approx(expected, rel=1e-5)
    assert fit.params["c"] == pytest.approx(np.mean(y - expected * X), rel=1e-5)
    low, high = fit.intervals()["m"]
    assert ends[0] <= low <= high <= ends[1]
    assert ("m" in fit.errors.at_bound) == (expected != free[1])


def test_draws_of_the_normal_approximation_have_the_standard_errors_of_the_fit() -> None:
    x = np.geomspace(1.0, 1e4, 20)
    generator = np.random.default_rng(5)
    y = (1.0 + 3.0 * x**-0.4) * np.exp(0.01 * generator.standard_normal(20))
    for columns in ({}, {"sigma": np.geomspace(1e-3, 0.1, 20)}):
        fit = fitted(rows_of(y, x, **columns), "power_law_floor")
        draws = jaxscale.laplace(fit, num_samples=20000)
        # t draws with 17 degrees of freedom are sqrt(17 / 15) times as wide; in the logarithm to first order.
        wide = np.std(np.log(draws.params["b"])) * fit.params["b"] / np.sqrt(17 / 15)
        assert wide == pytest.approx(fit.stderr["b"], rel=0.03)


def test_methods_that_infer_the_noise_reject_known_errors() -> None:
    rows = rows_of(responses(False, 0), sigma=0.1 + 0 * X)
    with pytest.raises(ValueError, match="must hold no known errors"):
        jaxscale.posterior(line, rows, progress=False)
    with pytest.raises(ValueError, match="must hold no known errors"):
        jaxscale.forecast(line, rows, at={"x": 5.0}, progress=False)
