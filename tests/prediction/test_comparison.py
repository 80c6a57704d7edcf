"""Log predictive densities against exact values, and stacking weights against known optima."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxscale
from jaxscale import Notice, Observations, likelihoods
from jaxscale.bayes.build_model import model_of
from jaxscale.bayes.pointwise import pointwise, psis_weights
from jaxscale.prediction.comparison import compare
from jaxscale.prediction.cross_validation import Elpd, leave_future_out, loo
from jaxscale.prediction.stacking import optimal_weights, stacking
from jaxscale.results.draws import Draws
from jaxscale.utils.errors import NotUsableError
from tests.lines import line

WIDE, SCALE = 10.0, 0.5


def observed(x: np.ndarray, y: np.ndarray, run: Any = None, weight: Any = None) -> Observations:
    table = {"x": x, "y": y, "run": np.arange(len(x)) if run is None else run}
    table["w"] = np.ones(len(x)) if weight is None else weight
    return Observations.from_table(table, inputs=["x"], response="y", weight="w", run=None if run is None else "run")


def gaussian(data: Observations, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (c, m) given rows with covariance v and a prior N(0, WIDE^2)."""
    used = data.weight > 0
    columns = np.stack([np.ones(used.sum()), data.inputs["x"][used]], axis=1)
    inverse = np.linalg.inv(v[np.ix_(used, used)])
    covariance = np.linalg.inv(columns.T @ inverse @ columns + np.eye(2) / WIDE**2)
    return covariance @ columns.T @ inverse @ data.response[used], covariance


def covariance_of(data: Observations, ratio: float) -> np.ndarray:
    v = SCALE**2 * np.eye(len(data))
    return v if data.run is None else v + (ratio * SCALE) ** 2 * (data.run[:, None] == data.run)


def drawn(data: Observations, count: int = 20_000, ratio: float = 2.0, likelihood: Any = None) -> Draws:
    """Draws of the exact posterior of a line under normal residuals of known scale."""
    mean, covariance = gaussian(data, covariance_of(data, ratio))
    theta = np.random.default_rng(0).multivariate_normal(mean, covariance, count)
    with jax.enable_x64(True):
        model = model_of(line, data, likelihood or likelihoods.normal("linear", runs=data.run is not None))
    nuisance = {"scale": np.full(count, SCALE)}
    if data.run is not None:
        nuisance["run_ratio"] = np.full(count, ratio)
    return Draws(
        line,
        {"c": theta[:, 0], "m": theta[:, 1]},
        "importance",
        ("c", "m"),
        nuisance,
        observations=data,
        model=model,
    )


def exact(data: Observations, units: list[np.ndarray], ratio: float = 2.0) -> np.ndarray:
    """Log density of every unit given all other rows."""
    v, scores = covariance_of(data, ratio), []
    for rows in units:
        seen = data.weight.copy()
        seen[rows] = 0.0
        scores.append(conditional(data, v, seen, rows))
    return np.array(scores)


def conditional(data: Observations, v: np.ndarray, seen: np.ndarray, rows: np.ndarray) -> float:
    mean, covariance = gaussian(replace(data, weight=seen), v)
    columns = np.stack([np.ones(len(rows)), data.inputs["x"][rows]], axis=1)
    spread = columns @ covariance @ columns.T + v[np.ix_(rows, rows)]
    return float(stats.multivariate_normal.logpdf(data.response[rows], columns @ mean, spread))  # pyright: ignore[reportArgumentType]


generator = np.random.default_rng(5)
X = np.linspace(-1, 1, 30)
Y = 1 + 2 * X + SCALE * generator.standard_normal(30)
ROWS = observed(X, Y)
RUNS = observed(X, Y + 2 * SCALE * generator.standard_normal(10)[np.arange(30) % 10], run=np.arange(30) % 10)
# The same with possible censoring, so that run effects are sampled.
SEEN = replace(RUNS, inputs={**RUNS.inputs, "seen": np.zeros(30)})


@pytest.fixture(scope="module")
def simple() -> Draws:
    return drawn(ROWS)


def test_loo_is_the_exact_leave_one_out_density(simple: Draws) -> None:
    found = loo(simple)
    expected = exact(ROWS, [np.array([i]) for i in range(30)])
    np.testing.assert_allclose(found.pointwise, expected, atol=0.01)
    assert found.elpd == pytest.approx(expected.sum(), abs=0.05)
    assert found.se == pytest.approx(np.sqrt(30) * np.std(expected, ddof=1), rel=0.02)
    assert (found.unit, found.method, len(found), found.notices) == ("row", "loo", 30, ())
    assert np.all(found.khat < 0.5) and found.labels.tolist() == list(ROWS.rows)
    # Two parameters with a wide prior.
    within = sum(
        stats.norm.logpdf(Y[i], x @ mean, np.sqrt(x @ covariance @ x + SCALE**2))
        for mean, covariance in [gaussian(ROWS, covariance_of(ROWS, 0.0))]
        for i, x in enumerate(np.stack([np.ones(30), X], axis=1))
    )
    assert found.p_loo == pytest.approx(within - expected.sum(), abs=0.05)


def test_loo_is_what_arviz_computes(simple: Draws) -> None:
    import importlib

    arviz: Any = importlib.import_module("arviz_stats")
    few = replace(
        simple,
        params={name: values[:400] for name, values in simple.params.items()},
        nuisance={name: values[:400] for name, values in simple.nuisance.items()},
    )
    expected = arviz.loo(few.to_arviz(), pointwise=True, reff=1.0)
    found = loo(few)
    np.testing.assert_allclose(found.pointwise, expected.elpd_i.values, rtol=1e-12)
    np.testing.assert_allclose(found.khat, expected.pareto_k.values, rtol=1e-12)
    assert found.p_loo == pytest.approx(expected.p, rel=1e-10)


def test_a_run_is_left_out_whole() -> None:
    found = loo(drawn(RUNS))
    expected = exact(RUNS, [np.flatnonzero(RUNS.run == run) for run in range(10)])
    np.testing.assert_allclose(found.pointwise, expected, atol=0.03)
    assert found.unit == "run" and found.labels.tolist() == list(RUNS.rows[:10])
    assert "10 runs" in str(found)


@pytest.mark.parametrize("ratio", [0.3, 30.0])
def test_sampled_effects_are_integrated_out(ratio: float) -> None:
    plain = drawn(RUNS, 40, ratio)
    heavy = drawn(SEEN, 40, ratio, likelihoods.student_t(1e7, "linear", runs=True, censored="seen"))
    effects = np.random.default_rng(1).standard_normal((40, heavy.model.runs))
    expected = pointwise(plain.model, {**plain.params, **plain.nuisance})
    found = pointwise(heavy.model, {**heavy.params, **heavy.nuisance, "run_effect": effects})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_effects_under_heavy_tails_are_integrated_out(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = drawn(SEEN, 6, likelihood=likelihoods.student_t(4.0, "linear", runs=True, censored="seen"))
    b = np.linspace(-8, 8, 8001)
    t = (RUNS.response - draws.params["c"][:, None] - draws.params["m"][:, None] * X) / SCALE
    each = stats.t.logpdf(t[..., None] - 2 * b, 4.0) - np.log(SCALE)
    whole = np.stack([each[:, RUNS.run == run].sum(axis=1) for run in range(10)], axis=1) + stats.norm.logpdf(b)
    expected = np.log(np.sum(np.exp(whole), axis=2) * (b[1] - b[0]))
    sites = {**draws.params, **draws.nuisance, "run_effect": np.zeros((6, draws.model.runs))}
    np.testing.assert_allclose(pointwise(draws.model, sites), expected, atol=1e-4)
    # Without censoring, inside the likelihood.
    inside = drawn(RUNS, 6, likelihood=likelihoods.student_t(4.0, "linear", runs=True))
    assert inside.model.runs == 0
    found = pointwise(inside.model, {**inside.params, **inside.nuisance})
    np.testing.assert_allclose(found, expected, atol=1e-8)
    # Regardless of the block size.
    monkeypatch.setattr("jaxscale.bayes.pointwise.TOGETHER", 25 * 10 * 4)
    np.testing.assert_allclose(pointwise(draws.model, sites), expected, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("censored", [False, True])
def test_effects_under_residuals_with_kinks_are_integrated_out(ratio: float, censored: bool) -> None:
    seen = replace(RUNS, inputs={**RUNS.inputs, "seen": np.where(np.arange(30) % 4 == 0, 1.0 * censored, 0.0)})
    draws = drawn(seen, 3, ratio, likelihoods.laplace("linear", runs=True, censored="seen"))
    b = np.linspace(-9, 9, 60_001)
    t = (RUNS.response - draws.params["c"][:, None] - draws.params["m"][:, None] * X) / SCALE
    expected = np.empty((3, 10))
    for k, run in np.ndindex(3, 10):
        away = t[k, RUNS.run == run, None] - ratio * b
        each = np.where(
            seen.inputs["seen"][RUNS.run == run, None] > 0, stats.laplace.logsf(away), stats.laplace.logpdf(away)
        ) - np.log(SCALE) * (seen.inputs["seen"][RUNS.run == run, None] == 0)
        expected[k, run] = np.log(np.trapezoid(np.exp(each.sum(axis=0) + stats.norm.logpdf(b)), b))
    sites = {**draws.params, **draws.nuisance, "run_effect": np.zeros((3, draws.model.runs))}
    np.testing.assert_allclose(pointwise(draws.model, sites), expected, atol=5e-4)


def test_rows_with_high_khat_are_named() -> None:
    far = observed(np.append(X, 300.0), np.append(Y, 0.0))
    found = loo(drawn(far, 2000))
    (notice,) = found.notices
    assert notice == Notice("bad_loo", f"k-hat is above 0.7 for 1 of 31 rows (rows {far.rows[-1]}).")
    assert found.khat[-1] > 0.7 and np.all(found.khat[:-1] < 0.7)
    assert "Remedy: Check these rows" in str(found) and max(map(len, str(found).splitlines())) <= 80


def test_weights_without_a_tail_are_even(simple: Draws) -> None:
    ratios = np.zeros((100, 3))
    ratios[:, 1] = np.linspace(0, 1, 100)
    ratios[3, 2] = np.inf
    log_weights, khat = psis_weights(ratios, simple)
    assert khat[0] == -np.inf and np.isfinite(khat[1]) and khat[2] == np.inf
    np.testing.assert_allclose(np.exp(log_weights).sum(axis=0), 1.0)
    np.testing.assert_allclose(log_weights[:, [0, 2]], -np.log(100))


def test_autocorrelated_chains_smooth_a_larger_tail(simple: Draws) -> None:
    walk = np.cumsum(np.random.default_rng(2).standard_normal((4, 250)), axis=1).ravel()
    scale = {"scale": np.full(walk.size, SCALE)}
    slow = replace(simple, params={"c": walk, "m": walk}, nuisance=scale, chains=4, method="nuts")
    ratios = np.random.default_rng(3).standard_normal((1000, 1))
    one, other = psis_weights(ratios, slow)[1], psis_weights(ratios, simple)[1]
    assert np.isfinite(one) and one != other


def test_loo_rejects_invalid_draws(simple: Draws) -> None:
    with pytest.raises(
        ValueError, match=r"^These draws \(importance\) have no model .*; use those returned by posterior\.$"
    ):
        loo(replace(simple, model=None))
    with pytest.raises(NotUsableError, match=r"^These draws \(importance\) are not usable: "):
        loo(replace(simple, ok=False))
    with pytest.raises(ValueError, match=r"^Weights need 25 draws or more, but there are 24; draw more\.$"):
        loo(drawn(ROWS, 24))


def counted(calls: list[int]) -> Callable[[Observations], Draws]:
    def posterior(some: Observations) -> Draws:
        calls.append(int((some.weight > 0).sum()))
        return drawn(some)

    return posterior


@pytest.mark.parametrize("refits, first, fits", [(1, None, 1), (15, None, 15), (1, -0.85, 2)])
def test_leave_future_out_agrees_with_exact_densities(refits: int, first: float | None, fits: int) -> None:
    calls: list[int] = []
    found = leave_future_out(counted(calls), ROWS, "x", first=first, refits=refits)
    v, first_count = covariance_of(ROWS, 0.0), calls[0]
    assert first_count == (15 if first is None else 3)
    expected = [
        conditional(ROWS, v, np.where(np.arange(30) < i, 1.0, 0.0), np.array([i])) for i in range(first_count, 30)
    ]
    np.testing.assert_allclose(found.pointwise, expected, atol=0.05)
    assert found.labels.tolist() == list(ROWS.rows[first_count:])
    # After three rows the weights fail once, and the posterior is sampled again.
    assert found.about["refits"] == len(calls) == fits
    assert np.isnan(found.khat).sum() == fits and not np.any(found.khat >= 0.7)
    assert found.method == "leave-future-out by x" and np.isnan(found.p_loo)


def test_runs_are_added_whole_at_their_largest_size() -> None:
    size = np.repeat(np.arange(10.0), 3) + np.tile([0.0, 0.1, 0.2], 10)
    runs = observed(X, Y, run=np.repeat(np.arange(10), 3), weight=np.append(np.ones(29), 0.0))
    found = leave_future_out(drawn, runs, size, first=4.5, refits=10)
    v = covariance_of(runs, 2.0)
    rows = [np.arange(3 * k, min(3 * k + 3, 29)) for k in range(10)]
    expected = [conditional(runs, v, np.where(np.arange(30) < 3 * k, runs.weight, 0.0), rows[k]) for k in range(5, 10)]
    np.testing.assert_allclose(found.pointwise[1:], expected[1:], atol=0.05)
    assert found.unit == "run" and found.about["first"] == "scale up to 4.2"


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(size="N"), r"^Argument size must name an input, but is 'N'.*; these are x\.$"),
        (
            dict(size=np.ones(3)),
            r"^Argument size must hold a finite number for each of the 30 rows, but has shape \(3,\)\.$",
        ),
        (dict(refits=0), r"^Argument refits must be a positive number, but is 0\.$"),
        (dict(first=9.0), r"^Argument first must leave sizes of x on both sides, which run from -1 to 1, but is 9\.$"),
        (dict(first=-2.0), r"^Argument first must leave sizes of x on both sides"),
        (
            dict(posterior=lambda some: drawn(observed(X[:5], Y[:5]))),
            r"^Argument posterior must draw given all 30 rows \(those not to be seen",
        ),
        (dict(posterior=lambda some: replace(drawn(some), model=None)), "have no model"),
    ],
)
def test_invalid_arguments_of_leave_future_out(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = dict(posterior=drawn, observations=ROWS, size="x") | changes
    with pytest.raises(ValueError, match=message):
        leave_future_out(**given)


def test_fits_must_agree_on_what_a_unit_is() -> None:
    def posterior(some: Observations) -> Draws:
        runs = int((some.weight > 0).sum()) > 20
        return drawn(some, likelihood=likelihoods.normal("linear", runs=runs))

    data = observed(X, Y, run=np.repeat(np.arange(15), 2))
    with pytest.raises(ValueError, match=r"^Argument posterior must give the runs an effect in every fit or in none"):
        leave_future_out(posterior, data, "x", refits=15)


def known(first: float, second: float, one: int, other: int) -> np.ndarray:
    """Units that the first model predicts better, and units that the second does."""
    return np.log(np.array([[first, second]] * one + [[second, first]] * other))


@pytest.mark.parametrize("one, other", [(30, 10), (20, 20), (39, 1), (40, 0)])
def test_weights_of_two_models_are_their_closed_form(one: int, other: int) -> None:
    a, b = 0.9, 0.2
    expected = np.clip((one * (a + b) / (one + other) - b) / (a - b), 0, 1)
    found = optimal_weights(known(a, b, one, other))
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 60), st.floats(0, 30))
def test_stacking_weights_are_optimal(seed: int, models: int, units: int, spread: float) -> None:
    log_density = spread * np.random.default_rng(seed).standard_normal((units, models))
    w = optimal_weights(log_density)
    assert np.all(w >= 0) and w.sum() == pytest.approx(1)
    p = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    # The gain of a mixture v is at most mean((p v) / (p w)) - 1, which is largest at a vertex.
    assert np.max(np.mean(p / (p @ w)[:, None], axis=0)) - 1 <= 1e-10


def test_identical_models_share_the_weight() -> None:
    p = np.log(np.random.default_rng(0).uniform(0.1, 1, (20, 1)))
    np.testing.assert_allclose(optimal_weights(np.hstack([p, p, p])), 1 / 3)
    np.testing.assert_allclose(optimal_weights(np.hstack([p, p - 1, p]))[1], 0, atol=1e-9)


def scored(pointwise: np.ndarray, **changes: Any) -> Elpd:
    n = len(pointwise)
    made = Elpd("line", "loo", float(pointwise.sum()), 1.0, 2.0, pointwise, np.zeros(n), "row", np.arange(n), "abc")
    return replace(made, **changes)


def test_models_are_compared_best_first() -> None:
    a = np.random.default_rng(0).standard_normal(50)
    apart = np.random.default_rng(1).standard_normal(50)
    khat = np.zeros(50)
    khat[:3] = 0.9
    several = {"worse": scored(a - 0.5 - apart, khat=khat), "better": scored(a), "worst": scored(a - 5, p_loo=np.nan)}
    table = compare(several)
    assert list(table.rows) == ["better", "worse", "worst"]
    assert table.rows["better"]["difference"] == 0 and table.rows["better"]["se_difference"] == 0
    worse = table.rows["worse"]
    assert worse["difference"] == pytest.approx(np.sum(-0.5 - apart))
    assert worse["se_difference"] == pytest.approx(np.sqrt(50) * np.std(apart, ddof=1))
    assert worse["bad"] == 3
    weights = stacking(several)
    assert {name: row["weight"] for name, row in table.rows.items()} == weights
    assert weights["worst"] == pytest.approx(0, abs=1e-9) and sum(weights.values()) == pytest.approx(1)
    lines = str(table).splitlines()
    assert lines[0].split() == "Model elpd difference std. error p_loo weight bad k-hat".split()
    assert lines[2].startswith("better") and max(map(len, lines)) <= 80
    assert lines[-1] == "elpd in nats over 50 rows; differences from the best model."


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(method="leave-future-out by N"), "the method of a is 'loo' and that of b is 'leave-future-out by N'."),
        (dict(unit="run"), "the unit of a is 'row' and that of b is 'run'."),
        (dict(data="def"), "the table of a is 'abc' and that of b is 'def'."),
        (dict(labels=np.arange(1, 5)), "b has other rows than a."),
    ],
)
def test_incomparable_models_raise(changes: dict[str, Any], message: str) -> None:
    for function, argument in ((stacking, "elpds"), (compare, "models")):
        with pytest.raises(ValueError) as caught:
            function({"a": scored(np.zeros(4)), "b": scored(np.zeros(4), **changes)})
        assert str(caught.value) == f"Argument {argument} must hold models that compare, but {message}"


def test_empty_and_non_finite_comparisons_raise() -> None:
    with pytest.raises(ValueError, match=r"^Argument elpds must not be empty\.$"):
        stacking({})
    with pytest.raises(ValueError, match=r"^Argument models must hold finite densities, but a gives some row none\.$"):
        compare({"a": scored(np.array([0.0, -np.inf]))})


def test_compare_laws_samples_their_posteriors() -> None:
    """The results agree with those of separate posteriors."""
    laws = ["power_law", "power_law_offset"]
    x = np.geomspace(1, 1e3, 24)
    y = (1.5 + 2.0 * x**-0.4) * np.exp(0.01 * np.random.default_rng(0).standard_normal(24))
    rows = jaxscale.Observations.from_table({"x": x, "y": y}, inputs=["x"], response="y")
    likelihood = likelihoods.normal("log")
    found = jaxscale.compare(laws, rows, likelihood=likelihood, seed=1)
    draws = {name: jaxscale.posterior(name, rows, likelihood=likelihood, seed=1) for name in laws}
    assert found == jaxscale.compare({name: jaxscale.loo(each) for name, each in draws.items()})
    assert next(iter(found.rows)) == "power_law_offset"


def test_laws_need_observations_and_densities_take_none() -> None:
    with pytest.raises(ValueError, match=r"^Argument observations must be given with laws\.$"):
        jaxscale.compare(["power_law"])
    with pytest.raises(TypeError, match=r"^Argument models must be a sequence of laws, but is one law; write \['power"):
        jaxscale.compare("power_law", ROWS)
    with pytest.raises(ValueError, match=r"^Argument models must hold different laws, but holds line, line\.$"):
        jaxscale.compare([line, line], ROWS)
    with pytest.raises(ValueError, match=r"^Argument observations must be given with laws only"):
        jaxscale.compare({}, ROWS)
