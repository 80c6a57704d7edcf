"""Bootstrap intervals against SciPy, closed forms and t quantiles."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import jaxscale
from jaxscale import noise
from jaxscale.data.observations import Observations
from jaxscale.engine import linearize
from jaxscale.fitting.sandwich import classical
from jaxscale.law import Input, Response, coefficient, law, real
from jaxscale.resampling.bootstrap import resamples
from jaxscale.resampling.studentized import covariances
from jaxscale.results.draws import Draws
from jaxscale.results.refit_problem import refit_problem
from tests import sweeps
from tests.lines import ROWS, RUN, X, fitted, least_squares, observed

AT_TWO = {"at two": lambda p: p["c"] + 2 * p["m"]}


@law(inputs=dict(x=Input("", low=-np.inf)), response=Response("", real), m=coefficient(), source="a test")
def rate(x, *, m):
    """A line through the origin: one parameter, with leverage."""
    return m * x


@pytest.fixture(scope="module")
def plain() -> jaxscale.Fit:
    return fitted(observed())


@pytest.fixture(scope="module")
def by_run() -> jaxscale.Fit:
    return fitted(observed(run=RUN))


@pytest.fixture(scope="module")
def cases(plain) -> Draws:
    return jaxscale.bootstrap(plain, n_resamples=500)


def test_percentile_and_basic_intervals_are_quantiles(plain, cases) -> None:
    percentile = jaxscale.bootstrap_intervals(cases, plain, level=0.8)
    basic = jaxscale.bootstrap_intervals(cases, plain, level=0.8, method="basic")
    for name in ("c", "m"):
        low, high = np.quantile(cases.params[name], [0.1, 0.9])
        assert percentile[name] == pytest.approx((low, high), rel=1e-14)
        value = plain.params[name]
        assert basic[name] == pytest.approx((2 * value - high, 2 * value - low), rel=1e-12)
        row = percentile.params[name]
        assert (row["estimate"], row["sd"]) == pytest.approx((value, np.std(cases.params[name], ddof=1)), rel=1e-12)
        assert row["bias"] == pytest.approx(np.mean(cases.params[name]) - value, rel=1e-9)
    assert (percentile.method, percentile.level) == ("percentile of case bootstrap", 0.8)
    assert "500 refits" in str(percentile) and percentile.to_dict()["kind"] == "case"


@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentised"])
def test_intervals_of_derived_quantities(plain, cases, method: str) -> None:
    pair = {"both": lambda p: jax.numpy.stack([p["m"], p["c"]]), "m": lambda p: p["m"]}
    found = jaxscale.bootstrap_intervals(cases, plain, method=method, quantity=pair)
    alone = jaxscale.bootstrap_intervals(cases, plain, method=method)
    assert list(found.params) == ["both[0]", "both[1]", "m"]
    for name, same in (("both[0]", "m"), ("both[1]", "c"), ("m", "m")):
        assert found[name] == pytest.approx(alone[same], rel=1e-9)
    single = jaxscale.bootstrap_intervals(cases, plain, method=method, quantity=pair["m"])
    assert single.params == {"quantity": pytest.approx(found.params["m"], rel=1e-9)}


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_bca_intervals_are_those_of_scipy(level: float) -> None:
    observations = observed()
    fit = jaxscale.fit(rate, observations, noise=noise.squared(), starts=64, polish=8)
    draws = jaxscale.bootstrap(fit, n_resamples=2000)

    def slope(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.sum(x * y, axis=axis) / np.sum(x * x, axis=axis)

    # SciPy is given these replicates and computes bias correction and acceleration.
    ours: Any = type("Result", (), {"bootstrap_distribution": draws.params["m"]})()
    expected = stats.bootstrap(
        (observations.inputs["x"], observations.response),
        slope,
        n_resamples=0,
        bootstrap_result=ours,
        confidence_level=level,
        paired=True,
        vectorized=True,
        method="BCa",
    ).confidence_interval
    found = jaxscale.bootstrap_intervals(draws, fit, level=level, method="bca")
    assert found["m"] == pytest.approx((expected.low, expected.high), rel=1e-7)
    assert found.params["m"]["acceleration"] != 0 and found.about["left_out"] == ROWS


def test_the_acceleration_by_runs_is_that_of_their_influence(by_run) -> None:
    draws = jaxscale.bootstrap(by_run, n_resamples=200)
    found = jaxscale.bootstrap_intervals(draws, by_run, method="bca")
    assert found.about["left_out"] == len(np.unique(RUN))
    weight = np.stack([1.0 * (code != RUN) for code in np.unique(RUN)])
    left = least_squares(np.broadcast_to(by_run.observations.response, weight.shape), weight)
    moves = left.mean(axis=0) - left
    expected = np.sum(moves**3, axis=0) / (6 * np.sum(moves**2, axis=0) ** 1.5)
    np.testing.assert_allclose([found.params[name]["acceleration"] for name in ("c", "m")], expected, rtol=1e-6)


def test_bca_has_no_end_where_all_draws_lie_on_one_side(plain, cases) -> None:
    moved = {name: value + 100 for name, value in cases.params.items()}
    found = jaxscale.bootstrap_intervals(replace(cases, params=moved), plain, method="bca")
    assert np.all(np.isnan(found["m"]))
    assert "none" in str(found)


def test_studentised_intervals_of_a_line_are_t_intervals() -> None:
    few = Observations.from_table({"x": X[::4], "y": observed().response[::4]}, inputs=["x"], response="y")
    fit = fitted(few)
    assert fit.errors.freedom == 6
    draws = jaxscale.bootstrap(fit, kind="parametric", n_resamples=20_000)
    found = jaxscale.bootstrap_intervals(draws, fit, method="studentised")
    percentile = jaxscale.bootstrap_intervals(draws, fit)
    for name, (low, high) in fit.intervals(0.9).items():
        assert found[name] == pytest.approx((low, high), abs=0.02 * (high - low))
        # Percentiles ignore the degrees of freedom.
        assert percentile[name][1] - percentile[name][0] < 0.9 * (high - low)
    # The delta method: the law at x = 2 is linear in its parameters.
    covariance = np.outer(list(fit.stderr.values()), list(fit.stderr.values())) * np.array(fit.correlation)
    stderr = np.sqrt(np.array([1, 2]) @ covariance @ np.array([1, 2]))
    middle, reach = fit.params["c"] + 2 * fit.params["m"], stats.t.ppf(0.95, 6) * stderr
    found = jaxscale.bootstrap_intervals(draws, fit, method="studentised", quantity=AT_TWO)
    assert found["at two"] == pytest.approx((middle - reach, middle + reach), abs=0.03 * float(reach))


def by_hand(fit: Any, draws: Any, kind: str, codes: np.ndarray) -> np.ndarray:
    """Standard errors of the fit and of every draw, shape (1 + draws, 2), for the slope of the sandwich or s^2."""
    with jax.enable_x64(True):
        again = refit_problem(fit)
        lines = jax.tree.map(np.asarray, linearize.linearise(again.problem, again.z, again.wide.response))
        samples = resamples(again, lines, kind, draws.about["unit"], "rademacher", len(draws), draws.about["seed"])
    count = 1 + len(draws)
    response, weight = np.empty((count, ROWS)), np.ones((count, ROWS))
    response[0], response[1:] = fit.observations.response, samples.response[..., :ROWS]
    weight[1:] = samples.weight[..., :ROWS]
    columns = np.stack([np.ones(ROWS), X], axis=1)
    ends = []
    for y, w in zip(response, weight, strict=True):
        best = least_squares(y[None], w[None])[0]
        r = y - columns @ best
        if kind == "parametric":
            ends.append(np.sqrt(np.diag(classical(columns, r, w)[0])))
            continue
        bread = np.linalg.inv(columns.T @ (w[:, None] * columns))
        meat = np.zeros((2, 2))
        for code in np.unique(codes):
            # A unit drawn w times counts as w units.
            s = columns[codes == code].T @ r[codes == code]
            meat += w[codes == code][0] * np.outer(s, s)
        ends.append(np.sqrt(np.diag(bread @ meat @ bread)))
    return np.array(ends)


@pytest.mark.parametrize(
    ("kind", "clustered"), [("case", False), ("case", True), ("wild", True), ("parametric", False)]
)
def test_studentised_intervals_are_their_formula(plain, by_run, kind: str, clustered: bool) -> None:
    fit = by_run if clustered else plain
    draws = jaxscale.bootstrap(fit, kind=kind, n_resamples=60, seed=2)
    se = by_hand(fit, draws, kind, RUN if clustered else np.arange(ROWS))
    found = jaxscale.bootstrap_intervals(draws, fit, method="studentised", level=0.8)
    for k, name in enumerate(("c", "m")):
        t = (draws.params[name] - fit.params[name]) / se[1:, k]
        low, high = np.quantile(t, [0.1, 0.9])
        expected = fit.params[name] - se[0, k] * high, fit.params[name] - se[0, k] * low
        assert found[name] == pytest.approx(expected, rel=1e-6)
    assert found.about["without_stderr"] == 0


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("loss", [noise.huber(0.01), noise.student_t(4)], ids=["huber", "student_t"])
def test_standard_errors_of_refits_are_those_of_a_fit(loss: noise.Noise) -> None:
    fit = jaxscale.fit(sweeps.small, sweeps.sweep(), noise=loss, starts=256)
    assert fit.errors.method == "sandwich"
    again = refit_problem(fit)
    z = np.repeat(again.z[:, None], 3, axis=1)
    covariance, change = covariances(again.problem, z, again.wide.response, again.wide.weight, 1.0, None, False)
    n, q = 20, len(again.z)
    # That of the fit has the factor n / (n - q).
    for k, name in enumerate(fit.free):
        stderr = np.sqrt(n / (n - q) * change[2, k] @ covariance[2] @ change[2, k])
        assert stderr == pytest.approx(fit.stderr[name], rel=1e-6)
    draws = jaxscale.bootstrap(fit, kind="wild", n_resamples=100)
    found = jaxscale.bootstrap_intervals(draws, fit, method="studentised")
    assert all(low < fit.params[name] < high for name, (low, high) in ((n, found[n]) for n in fit.free))


def test_intervals_of_amplitudes_are_taken_in_their_logarithm() -> None:
    fit = jaxscale.fit(sweeps.small, sweeps.sweep(rows=9), noise=noise.squared("log"), starts=256)
    draws = jaxscale.bootstrap(fit, kind="parametric", n_resamples=400)
    basic = jaxscale.bootstrap_intervals(draws, fit, method="basic", level=0.99)
    low, high = np.quantile(np.log(draws.params["A"]), [0.005, 0.995])
    ends = 2 * np.log(fit.params["A"]) - np.array([high, low])
    assert basic["A"] == pytest.approx(tuple(np.exp(ends)), rel=1e-9)
    studentised = jaxscale.bootstrap_intervals(draws, fit, method="studentised", level=0.99)
    in_logs = jaxscale.bootstrap_intervals(
        draws, fit, method="studentised", level=0.99, quantity={"log A": lambda p: jax.numpy.log(p["A"])}
    )
    assert studentised["A"] == pytest.approx(tuple(np.exp(in_logs["log A"])), rel=1e-6)
    assert studentised["A"][0] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(level=1.0), "Argument level must lie between 0 and 1, but is 1.0."),
        (dict(method="t"), "Argument method must be one of percentile, basic, bca, studentised, but is 't'."),
        (dict(quantity={}), "Argument quantity must name at least one function of the parameters, but is empty."),
    ],
)
def test_wrong_arguments_are_refused(plain, cases, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        jaxscale.bootstrap_intervals(cases, plain, **settings)
    assert str(caught.value) == message


def test_draws_of_another_fit_raise(plain, cases) -> None:
    with pytest.raises(ValueError, match="must come from jaxscale.bootstrap, but its method is 'laplace'"):
        jaxscale.bootstrap_intervals(jaxscale.laplace(plain), plain)
    with pytest.raises(ValueError, match="must be a bootstrap of this fit"):
        jaxscale.bootstrap_intervals(cases, fitted(observed(seed=5)))


def test_a_loss_without_curvature_has_no_studentised_interval() -> None:
    fit = fitted(observed(), noise=noise.absolute("linear"), n_resamples=0)
    draws = jaxscale.bootstrap(fit, n_resamples=50)
    with pytest.raises(
        ValueError, match=r"must not be 'studentised' with absolute on linear residuals.*; use method='bca'"
    ):
        jaxscale.bootstrap_intervals(draws, fit, method="studentised")
    found = jaxscale.bootstrap_intervals(draws, fit, method="bca")
    assert all(np.isfinite(found[name]).all() for name in ("c", "m"))
