"""Covariance formulas, case resampling, and exact least absolute deviations."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale.engine import descent, runner
from jaxscale.engine.lad_vertex import vertex
from jaxscale.engine.linearize import linearise
from jaxscale.engine.objective import Problem
from jaxscale.fitting.refits import bootstrap, case_weights
from jaxscale.fitting.sandwich import classical, sandwich
from jaxscale.law import Input, Law, Response, coefficient, law, real
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise, absolute, squared
from tests.lines import line

pytestmark = pytest.mark.usefixtures("x64")
ROWS = 48
x = np.linspace(-2.0, 3.0, ROWS)
w = np.where(np.arange(ROWS) % 7 == 3, 0.0, np.linspace(0.5, 2.0, ROWS))
y = 1.0 + 0.5 * x + np.random.default_rng(0).standard_normal(ROWS)
RUNS = np.arange(ROWS) // 4


@law(inputs=dict(x=Input("", low=-np.inf)), response=Response("", real), m=coefficient(), source="a test")
def constant(x, *, m):
    """A number, whatever the input."""
    return m + 0.0 * x


def problem_of(law: Law, noise: Noise) -> Problem:
    return Problem(law, tuple(law.parameters), noise, {"x": x}, {}, centre_of(law, {"x": x}, y, np))


def design() -> tuple[np.ndarray, np.ndarray]:
    """The line's columns and its weighted least squares."""
    columns = np.stack([np.ones(ROWS), x], axis=1)
    root = np.sqrt(w)[:, None]
    return columns, np.linalg.lstsq(columns * root, y * root[:, 0], rcond=None)[0]


def test_linearised_a_line_is_its_columns() -> None:
    columns, best = design()
    linear = linearise(problem_of(line, squared()), best, y)
    np.testing.assert_allclose(linear.prediction, columns @ best, rtol=1e-12)
    np.testing.assert_allclose(linear.residual, columns @ best - y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(linear.jacobian, columns)
    np.testing.assert_allclose(linear.slope, columns)
    np.testing.assert_allclose(linear.change, np.eye(2))


def test_classical_is_the_textbook_formula() -> None:
    columns, best = design()
    residual = columns @ best - y
    freedom = int(np.sum(w > 0)) - 2
    variance = np.sum(w * residual**2) / freedom
    expected = variance * np.linalg.inv(columns.T @ (w[:, None] * columns))
    covariance, found = classical(columns, residual, w)
    assert found == freedom
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)


def test_classical_covariance_is_stable_for_parameters_of_different_scale() -> None:
    columns, best = design()
    size = np.array([1e-12, 1e12])
    small, _ = classical(columns, columns @ best - y, w)
    covariance, _ = classical(columns * size, columns @ best - y, w)
    np.testing.assert_allclose(covariance * size[:, None] * size, small, rtol=1e-10)


@pytest.mark.parametrize(
    "columns",
    [np.ones((ROWS, 2)), np.stack([x, 2 * x], axis=1)],
    ids=["equal", "proportional"],
)
def test_classical_is_infinite_without_full_rank(columns: np.ndarray) -> None:
    covariance, freedom = classical(columns, y, w)
    assert np.all(np.isinf(covariance)) and covariance.shape == (2, 2)
    assert freedom == int(np.sum(w > 0)) - 2


@pytest.mark.parametrize("lost", [0.0, np.nan], ids=["zero", "nan"])
def test_classical_is_infinite_for_the_undetermined_parameter_alone(lost: float) -> None:
    covariance, freedom = classical(np.stack([x, lost * x], axis=1), y, w)
    assert freedom == int(np.sum(w > 0)) - 2
    assert covariance[0, 0] == pytest.approx(np.sum(w * y**2) / freedom / np.sum(w * x**2), rel=1e-12)
    assert np.all(np.isinf(covariance[[0, 1, 1], [1, 0, 1]]))


def test_classical_is_infinite_without_degrees_of_freedom() -> None:
    few = np.where(np.arange(ROWS) < 2, 1.0, 0.0)
    covariance, freedom = classical(design()[0], y, few)
    assert freedom == 0 and np.all(np.isinf(covariance))


def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hessian of the line's least squares, the gradient of every row's loss, and a change of parameters."""
    columns, best = design()
    hessian = columns.T @ (w[:, None] * columns)
    return hessian, (w * (columns @ best - y))[:, None] * columns, np.array([[1.0, 0.0], [1.0, 3.0], [0.5, -1.0]])


def test_the_sandwich_is_its_formula() -> None:
    hessian, rows, change = scores()
    lever = change @ np.linalg.inv(hessian)
    meat = sum(np.outer(row, row) for row in rows)
    covariance, freedom = sandwich(hessian, rows, change, None)
    assert freedom == ROWS - 2
    np.testing.assert_allclose(covariance, ROWS / (ROWS - 2) * lever @ meat @ lever.T, rtol=1e-10)


def test_the_cluster_sandwich_sums_scores_within_runs() -> None:
    hessian, rows, change = scores()
    lever = change @ np.linalg.inv(hessian)
    sums = [rows[run == RUNS].sum(0) for run in np.unique(RUNS)]
    factor = 12 / 11 * (ROWS - 1) / (ROWS - 2)
    covariance, freedom = sandwich(hessian, rows, change, RUNS)
    assert freedom == 11
    np.testing.assert_allclose(covariance, factor * lever @ sum(np.outer(s, s) for s in sums) @ lever.T, rtol=1e-10)


def test_one_row_in_each_run_is_no_clustering() -> None:
    hessian, rows, change = scores()
    plain, _ = sandwich(hessian, rows, change, None)
    clustered, freedom = sandwich(hessian, rows, change, np.random.default_rng(1).permutation(ROWS) + 100)
    assert freedom == ROWS - 1
    np.testing.assert_allclose(clustered, plain, rtol=1e-12)


def test_the_sandwich_is_infinite_where_the_hessian_is_singular_or_one_run_is_all() -> None:
    hessian, rows, change = scores()
    for matrix in (np.ones((2, 2)), np.diag([1.0, -1.0])):
        assert np.all(np.isinf(sandwich(matrix, rows, change, None)[0]))
    covariance, freedom = sandwich(hessian, rows, change, np.zeros(ROWS, int))
    assert freedom == 0 and np.all(np.isinf(covariance)) and covariance.shape == (3, 3)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.booleans())
def test_resamples_draw_as_many_units_as_there_are(seed: int, clustered: bool) -> None:
    weights = case_weights(w, RUNS if clustered else None, 20, np.random.default_rng(seed))
    assert weights.shape == (20, ROWS)
    assert np.all(weights[:, w == 0] == 0)
    used = w > 0
    counts = weights[:, used] / w[used]
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-12)
    if clustered:
        for run in np.unique(RUNS[used]):
            together = np.round(counts[:, RUNS[used] == run])
            assert np.all(together == together[:, :1])
        firsts = [np.flatnonzero(RUNS[used] == run)[0] for run in np.unique(RUNS[used])]
        np.testing.assert_allclose(counts[:, firsts].sum(1), len(firsts))
    else:
        np.testing.assert_allclose(counts.sum(1), used.sum())


def test_resamples_differ_and_repeat_with_their_seed() -> None:
    one, same, other = (case_weights(w, None, 5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other) and len({tuple(weights) for weights in one}) == 5


def test_the_bootstrap_of_a_mean_has_the_standard_error_of_theory() -> None:
    problem = problem_of(constant, squared())
    ones = np.ones(ROWS)
    draws, failed = bootstrap(
        runner.Runner(), problem, np.array([y.mean()]), y, ones, generator=np.random.default_rng(2)
    )
    assert failed == 0 and draws["m"].shape == (400,)
    theory = np.std(y) / np.sqrt(ROWS)
    # The standard deviation of 400 draws has a relative error of 3.5 %.
    assert np.std(draws["m"]) == pytest.approx(theory, rel=0.12)
    assert np.mean(draws["m"]) == pytest.approx(y.mean(), abs=5 * theory / 20)


def test_every_replicate_is_the_refit_of_its_resample() -> None:
    problem = problem_of(constant, squared())
    draws, _ = bootstrap(
        runner.Runner(), problem, np.array([0.0]), y, w, run=RUNS, n_resamples=40, generator=np.random.default_rng(3)
    )
    weights = case_weights(w, RUNS, 40, np.random.default_rng(3))
    np.testing.assert_allclose(draws["m"], weights @ y / weights.sum(1), rtol=1e-9)


def absolute_fit(law: Law, start: list[float]) -> tuple[np.ndarray, float, float]:
    z, f, promise = vertex(problem_of(law, absolute("linear")), np.array(start), y, w)
    assert promise <= 1e-12
    return z, f, promise


def test_least_absolute_deviations_of_a_number_is_the_weighted_median() -> None:
    z, f, _ = absolute_fit(constant, [10.0])
    order = np.argsort(y)
    median = y[order][np.searchsorted(np.cumsum(w[order]), w.sum() / 2)]
    assert z[0] == pytest.approx(median, rel=1e-12)
    assert f == pytest.approx(np.sum(w * np.abs(y - median)), rel=1e-13)


def test_least_absolute_deviations_of_a_line_is_the_linear_programme() -> None:
    from scipy.optimize import linprog

    columns, best = design()
    used = w > 0
    rows = int(used.sum())
    programme = linprog(
        np.concatenate([np.zeros(2), w[used], w[used]]),
        A_eq=np.hstack([columns[used], np.eye(rows), -np.eye(rows)]),
        b_eq=y[used],
        bounds=[(None, None)] * 2 + [(0, None)] * (2 * rows),
    )
    z, f, _ = absolute_fit(line, best.tolist())
    np.testing.assert_allclose(z, programme.x[:2], rtol=1e-9)
    assert f == pytest.approx(programme.fun, rel=1e-12)
    # A vertex: the line goes through as many rows as it has parameters.
    residual = np.sort(np.abs(columns[used] @ z - y[used]))
    assert np.all(residual[:2] <= 1e-12) and residual[2] > 1e-6


def test_the_smoothed_descent_ends_near_the_vertex() -> None:
    problem = problem_of(line, absolute("linear"))
    lanes = descent.descend(runner.Runner(), problem, np.array([[0.0], [0.0]]), y, w)
    _, f, _ = absolute_fit(line, lanes.z[:, 0].tolist())
    near = jax.tree.map(np.asarray, linearise(problem, lanes.z[:, 0], y))
    smoothed = np.sum(w * np.abs(near.residual))
    assert f <= smoothed <= 1.001 * f


def test_a_row_of_weight_zero_does_not_move_the_vertex() -> None:
    missing = np.where(w > 0, y, 1e9)
    problem = problem_of(line, absolute("linear"))
    start = np.array([1.0, 0.5])
    np.testing.assert_array_equal(vertex(problem, start, missing, w)[0], vertex(problem, start, y, w)[0])
