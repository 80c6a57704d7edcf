"""Adequacy of a fit: comparison with a constant, degrees of freedom, precision, other minima."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

import jaxscale
from jaxscale import noise
from jaxscale.data.observations import Observations
from jaxscale.engine.multistart import Basin, Landscape, comparable
from jaxscale.fitting import convergence
from jaxscale.fitting.adequacy import assess
from jaxscale.law import Input, Response, coefficient, floor, law, positive, positive_number, real
from jaxscale.results.fit_report import text
from jaxscale.results.parts import StandardErrors
from jaxscale.utils.notices import Notice

X = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
OTHERS = ["other_basins"]
Y = 100.0 + 20.0 * X + np.array([0.3, -0.2, 0.1, 0.2, -0.4, 0.1])
SQUARED, STUDENT = noise.squared().loss, noise.student_t().loss


@law(
    inputs={"x": Input("")},
    response=Response("", real),
    a=floor(real),
    b=coefficient(range=(-10.0, 10.0)),
    c=coefficient(),
    affine=("a", "b", "c"),
    source="a test",
)
def parabola(x: Any, *, a: Any, b: Any, c: Any) -> Any:
    """A parabola whose slope has a declared range."""
    return a + b * x + c * x**2


def fitted(y: Any = Y, x: Any = X, weight: Any = None, **settings: Any) -> jaxscale.Fit:
    columns = {"x": x, "y": y, "w": np.ones(len(x)) if weight is None else weight}
    observations = Observations.from_table(columns, inputs=["x"], response="y", weight="w")
    settings = dict(noise=noise.squared(), starts=64, polish=8, n_resamples=0) | settings
    return jaxscale.fit(parabola, observations, **settings)


def codes(fit: jaxscale.Fit) -> set[str]:
    return {notice.code for notice in fit.notices}


@pytest.fixture(scope="module")
def good() -> jaxscale.Fit:
    return fitted()


def test_only_declared_ranges_are_checked(good: jaxscale.Fit) -> None:
    # The level of 100 lies outside the default range of a floor. The slope of 20 lies outside its declared one, but its
    # size goes by the unit of the response.
    assert good.status == "converged" and good.notices == ()
    kinds = parabola.parameters
    assert (kinds["a"].declared, kinds["a"].range) == (False, (0.0, 10.0))
    assert kinds["b"].declared and not kinds["c"].declared


@law(
    inputs={"t": Input("h", typical=(1.0, 100.0))},
    response=Response("", positive),
    a=positive_number(),
    k=positive_number(range=(1e-3, 1e-1)),
    source="a test",
)
def decay(t: Any, *, a: Any, k: Any) -> Any:
    """A decay whose rate has a range declared for times of about ten hours."""
    return a * jnp.exp(-k * t)


@pytest.mark.parametrize("unit", [1.0, 60.0, 1 / 24])
@pytest.mark.parametrize("rate, inside", [(0.05, True), (0.3, True), (0.4, False), (0.002, False)])
def test_ranges_are_compared_in_the_unit_of_the_data(unit: float, rate: float, inside: bool) -> None:
    # The geometric mean of 1 to 9 units is 3, where that of the typical times is 10: rates may be 10/3 times as large.
    t = np.array([1.0, 2.0, 3.0, 4.5, 9.0])
    table = {"t": t * unit, "y": 5.0 * np.exp(-rate * t + 1e-4 * np.cos(9 * t))}
    observations = Observations.from_table(table, inputs=["t"], response="y")
    fit = jaxscale.fit(decay, observations, noise=noise.squared("log"), starts=64, polish=8)
    low, high = 1e-3 * 10 / 3 / unit, 1e-1 * 10 / 3 / unit
    message = [f"k = {fit.params['k']:.6g} lies outside {low:.3g} to {high:.3g}."]
    assert [notice.message for notice in fit.notices if notice.code == "outside_range"] == ([] if inside else message)


def test_fit_worse_than_a_constant_is_reported() -> None:
    # With these fixed values the law cannot describe the data.
    bad = fitted(fixed={"a": 0.0, "b": 0.0})
    assert bad.residuals.r2 < 0 and bad.status == "worse_than_constant"
    assert "worse_than_constant" in codes(bad)
    assert "Status         worse than constant" in text(bad)
    # Symmetric about a maximum that no slope can follow: the slope is 0 and the line is the mean.
    flat = fitted(np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0]), fixed={"c": 0.0})
    (notice,) = (notice for notice in flat.notices if notice.code == "worse_than_constant")
    assert "is not below that of a constant" in notice.message and flat.status == "worse_than_constant"


def test_outliers_of_a_robust_loss_do_not_mark_the_fit() -> None:
    x = np.linspace(1.0, 6.0, 24)
    y = 100.0 - 8.0 * x + 0.1 * np.cos(9.0 * x)
    y[-1] = 400.0
    settings = noise.huber(0.1, "linear")
    fit = fitted(y, x, noise=settings, fixed={"c": 0.0})
    assert fit.residuals.r2 < 0 and fit.residuals.r2_trimmed > 0.99
    assert fit.status == "converged"
    (notice,) = (notice for notice in fit.notices if notice.code == "outlying_rows")
    assert "without the row farthest from the law" in notice.message
    # Least squares ignores no row, and a small sample has no outlier to trim.
    assert assess(dataclasses.replace(fit, noise=noise.squared()))[1] == "worse_than_constant"
    residuals = dataclasses.replace(fit.residuals, r2_trimmed=0.2)
    assert assess(dataclasses.replace(fit, residuals=residuals))[1] == "worse_than_constant"


def test_r2_has_the_weights_of_the_rows() -> None:
    y, weight = np.append(Y, -900.0), np.append(np.ones(6), 1e-9)
    fit = fitted(y, np.append(X, 7.0), weight)
    assert fit.residuals.r2 > 0.99 and fit.status == "converged"


@pytest.mark.parametrize(
    "settings",
    [
        noise.squared(),
        noise.huber(0.3, "linear"),
        noise.huber(1e-3),
        noise.absolute(),
        noise.student_t(4.0, 0.1),
        noise.student_t(4.0),
        noise.squared("logit"),
    ],
    ids=lambda settings: settings.describe(),
)
def test_best_constant_agrees_with_scipy(settings: noise.Noise) -> None:
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2, 15)
    target = np.log(rng.uniform(0.2, 0.9, 15)) if settings.space.name == "log" else rng.normal(0.0, 1.0, 15)

    def cost(c: float, s: float) -> float:
        r = c - target
        if settings.loss.name == "absolute":
            return float(np.sum(weight * np.abs(r)))
        if settings.loss.name == "student_t":
            return float(np.sum(weight * (math.log(s) + 2.5 * np.log1p(r**2 / 4 / s**2))))
        inside = np.clip(r, -float(settings.loss.threshold), float(settings.loss.threshold))
        return float(np.sum(weight * inside * (r - inside / 2)))

    found = settings.loss.of_constant(target, weight, math.log(0.1), 1)
    if settings.infers_scale:
        best = minimize(lambda p: cost(p[0], math.exp(p[1])), [np.median(target), 0.0], method="Nelder-Mead").fun
    else:
        ends = (target.min(), target.max())
        best = min(minimize_scalar(lambda c: cost(c, 0.1), bounds=ends).fun, *(cost(c, 0.1) for c in target))
    assert found == pytest.approx(best, rel=1e-5)


def test_no_degrees_of_freedom_is_reported() -> None:
    none = fitted(Y[:3], X[:3])
    assert none.status == "no_degrees_of_freedom" and "no_degrees_of_freedom" in codes(none)
    assert "few_degrees_of_freedom" not in codes(none)
    message = text(none)
    assert "R^2            not meaningful" in message
    assert "none, as there are no degrees of freedom: 3 rows and 3 free parameters" in " ".join(message.split())
    one = fitted(Y[:4], X[:4])
    (notice,) = (notice for notice in one.notices if notice.code == "few_degrees_of_freedom")
    assert notice.message.startswith("4 rows and 3 free parameters leave one degree of freedom")
    assert one.status == "converged" and "no intervals, with one degree" in " ".join(text(one).split())
    assert not {"no_degrees_of_freedom", "few_degrees_of_freedom"} & codes(fitted(Y[:5], X[:5]))


def assessed(fit: jaxscale.Fit, **changes: Any) -> dict[str, str]:
    notices, _ = assess(dataclasses.replace(fit, noise=noise.squared(), **changes))
    return {notice.code: notice.message for notice in notices}


def test_degrees_of_freedom_of_clustered_fits(good: jaxscale.Fit) -> None:
    for freedom, message in ((0, "1 run leaves no degree of freedom"), (1, "2 runs leave one degree of freedom")):
        assert assessed(good, errors=StandardErrors("cluster sandwich", freedom))["few_degrees_of_freedom"].startswith(
            message
        )


def test_poorly_determined_parameters_are_reported(good: jaxscale.Fit) -> None:
    assert assessed(good) == {}
    spread = np.ptp(Y)
    # The level against the spread of the responses, the slope and the curvature against sizes in the data's own units.
    large = {"a": 1.01 * spread, "b": 1e4, "c": 1e-3}
    message = assessed(good, stderr=large)["poorly_determined"]
    assert "a = " in message and "; b = " in message and "c = " not in message
    assert assessed(good, stderr={"a": 0.99 * spread, "b": 19.9, "c": math.nan}) == {}
    named = (*good.notices, Notice("flat", "a and b trade off: the runs do not separate them."))
    assert assessed(good, stderr=large, notices=named) == {}


@pytest.mark.parametrize(
    ("name", "law_name", "limit"), [("E", "chinchilla", 1.0), ("alpha", "chinchilla", 1.0), ("A", "chinchilla", 2.3)]
)
def test_precision_of_positive_parameters_is_relative(
    good: jaxscale.Fit, name: str, law_name: str, limit: float
) -> None:
    chosen = jaxscale.laws.get(law_name)
    params = dict(next(iter(chosen.published.values())))
    base = dataclasses.replace(good, law=chosen, params=params, free=(name,))
    assert assessed(base, stderr={name: 0.99 * limit * params[name]}) == {}
    assert name in assessed(base, stderr={name: 1.01 * limit * params[name]})["poorly_determined"]


def test_minima_matter_up_to_a_likelihood_ratio_of_25_nats() -> None:
    assert comparable(2.0, 1.0, SQUARED, 50) and not comparable(2.01, 1.0, noise.huber().loss, 50)
    assert comparable(-75.0, -100.0, STUDENT, 50) and not comparable(-74.9, -100.0, STUDENT, 50)


@pytest.mark.parametrize(
    ("landscape", "expected"),
    [
        (Landscape(512, 32, 32, 16, 0, 7, (Basin(1.0, 7, 0),)), ["independent_starts_disagree"]),
        (Landscape(512, 32, 32, 16, 0, 8, (Basin(1.0, 8, 0),)), []),
        (Landscape(512, 32, 32, 16, 1, 7, (Basin(1.0, 7, 0),)), []),
        (Landscape(512, 32, 32, 7, 0, 7, (Basin(1.0, 7, 0),)), []),
        (Landscape(512, 32, 32, 16, 16, 20, (Basin(1.0, 20, 0), Basin(600.0, 12, 3))), []),
        (Landscape(512, 32, 32, 16, 16, 20, (Basin(1.0, 20, 0), Basin(1.2, 5, 3), Basin(600.0, 7, 4))), OTHERS),
    ],
)
def test_starts_that_disagree_and_minima_that_matter(landscape: Landscape, expected: list[str]) -> None:
    notices = convergence._landscape(landscape, SQUARED, 40)
    assert [notice.code for notice in notices] == expected
    assert not any("600" in notice.message for notice in notices)


def test_interpolating_fit_is_marked(data: Path) -> None:
    path = data / "reported" / "memorising_regime.csv"
    columns = {"inputs": {"N": "num_params", "D": "num_tokens"}, "response": "val_loss"}
    rows = Observations.from_table(path, **columns)
    whole = jaxscale.fit("chinchilla", rows, n_resamples=0)
    assert whole.status == "worse_than_constant"
    assert codes(whole) == {"worse_than_constant", "at_bound", "poorly_determined"}
    early = Observations.from_table(path, where="num_tokens <= 250000", **columns)
    fit = jaxscale.fit("chinchilla", early, n_resamples=0)
    assert fit.status == "converged" and "worse_than_constant" not in codes(fit)
