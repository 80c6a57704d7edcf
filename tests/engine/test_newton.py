"""Batched descent: linear algebra, and independence of lanes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.engine import descent, newton, runner
from jaxscale.engine.newton import CONVERGED, FLAT, NONFINITE, RUNNING, STALLED
from jaxscale.engine.objective import Problem
from jaxscale.law import Input, Response, coefficient, law, real
from jaxscale.law.coordinates import from_params
from jaxscale.noise import absolute, huber, squared
from tests.lanes import evaluate, lane, problem_of

pytestmark = pytest.mark.usefixtures("x64", "optimised")
CHINCHILLA = laws.get("chinchilla")
TRUTH = dict(CHINCHILLA.published["besiroglu2024"])


@law(
    inputs=dict(k=Input("", low=-np.inf)),
    response=Response("", real),
    a=coefficient(),
    b=coefficient(),
    source="Rosenbrock 1960",
)
def valley(k, *, a, b):
    """The two residuals of a curved valley, whose bottom is at a = b = 1."""
    return jnp.where(k < 0.5, 10 * (b - a**2), 1 - a)


@pytest.mark.parametrize("p", range(1, 21))
def test_damped_systems_are_solved_lane_by_lane(p: int) -> None:
    draws = np.random.default_rng(p)
    root = draws.standard_normal((4, p, p))
    matrices = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(p)
    matrices[2] = -matrices[2]
    g = draws.standard_normal((p, 4))
    x, good = newton.solve_damped(jnp.asarray(np.moveaxis(matrices, 0, -1)), jnp.asarray(g))
    assert good.tolist() == [True, True, False, True]
    for k in (0, 1, 3):
        np.testing.assert_allclose(x[:, k], np.linalg.solve(matrices[k], g[:, k]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("p", [1, 5, newton.SMALL])
def test_written_out_and_library_solutions_agree(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(p)
    lanes = 64
    # Positive definite, indefinite and badly scaled ones: the smallest eigenvalue lies on either side of zero.
    levels = np.sort(draws.uniform(0.1, 10.0, (lanes, p)))
    levels[::3, 0] *= -1
    turns = np.linalg.qr(draws.standard_normal((lanes, p, p)))[0]
    sizes = 10.0 ** draws.uniform(-4, 4, (lanes, p))
    matrices = np.einsum("lij,lj,lkj->lik", turns, levels, turns) * sizes[:, :, None] * sizes[:, None, :]
    g = draws.standard_normal((p, lanes)) * sizes.T
    args = jnp.asarray(np.moveaxis(matrices, 0, -1)), jnp.asarray(g)
    x, good = jax.jit(newton.solve_damped)(*args)
    monkeypatch.setattr(newton, "SMALL", 0)
    expected, fine = newton.solve_damped(*args)
    assert good.tolist() == fine.tolist() == [k % 3 > 0 for k in range(lanes)]
    np.testing.assert_allclose((x * sizes.T)[:, good], (expected * sizes.T)[:, good], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("p", [1, 3, newton.SMALL, newton.SMALL + 1])
@pytest.mark.parametrize("bad", ["zero", "indefinite", "nan", "infinite"])
def test_a_matrix_that_is_not_positive_definite_is_flagged(p: int, bad: str) -> None:
    matrix = np.moveaxis(np.tile(np.eye(p), (2, 1, 1)), 0, -1)
    matrix[p - 1, p - 1, 1] = {"zero": 0.0, "indefinite": -1.0, "nan": np.nan, "infinite": np.inf}[bad]
    x, good = newton.solve_damped(jnp.asarray(matrix), jnp.ones((p, 2)))
    assert good.tolist() == [True, False]
    np.testing.assert_array_equal(x[:, 0], np.ones(p))


@pytest.mark.parametrize("p", [2, newton.SMALL, newton.SMALL + 1])
def test_an_indefinite_matrix_with_a_positive_diagonal_is_flagged(p: int) -> None:
    matrix = np.moveaxis(np.tile(np.eye(p), (2, 1, 1)), 0, -1)
    matrix[0, p - 1, 1] = matrix[p - 1, 0, 1] = 2.0
    assert newton.solve_damped(jnp.asarray(matrix), jnp.ones((p, 2)))[1].tolist() == [True, False]


def sweep() -> tuple[Problem, np.ndarray]:
    """A sweep of 32 runs with noise, and its responses."""
    N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(5e7, 1e10, 8), np.geomspace(1e9, 3e11, 4)))
    noise = 0.01 * np.random.default_rng(5).standard_normal(32)
    y = np.asarray(CHINCHILLA(N, D, **TRUTH)) * np.exp(noise)
    return problem_of(CHINCHILLA, dict(N=N, D=D), y, huber(1e-3)), y


@pytest.fixture(scope="module")
def many() -> tuple[Problem, np.ndarray, np.ndarray, np.ndarray]:
    """The sweep, its responses, its weights, and the coordinates of 70 starts."""
    with jax.enable_x64(True):
        problem, y = sweep()
        middle = np.array(from_params(CHINCHILLA, problem.centre, problem.free, TRUTH))
    starts = middle[:, None] + 0.7 * np.random.default_rng(6).standard_normal((len(middle), 70))
    return problem, y, np.ones(len(y)), starts


def run_pool(problem: Problem, z: np.ndarray, y: np.ndarray, w: np.ndarray, budget: int = 64) -> newton.Lanes:
    """One pool of just these lanes."""
    lanes = newton.init_lanes(problem, np.array(z), xp=np)
    rows = (np.broadcast_to(a, (z.shape[1], len(a))) for a in (y, w))
    return jax.tree.map(np.asarray, descent._run_pool(problem, lanes, *rows, budget))


def assert_same_bits(one: Any, other: Any) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def pooled(many: Any) -> newton.Lanes:
    """All 70 starts polished in one pool."""
    problem, y, w, starts = many
    with jax.enable_x64(True):
        return run_pool(problem, starts, y, w)


def test_a_lane_does_not_depend_on_its_place(many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    order = np.random.default_rng(7).permutation(starts.shape[1])
    assert_same_bits(lane(pooled, order), run_pool(problem, starts[:, order], y, w))


@pytest.mark.parametrize("size", [1, 33])
def test_a_lane_does_not_depend_on_the_size_of_its_pool(size: int, many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    assert_same_bits(lane(pooled, slice(9, 9 + size)), run_pool(problem, starts[:, 9 : 9 + size], y, w))


def test_a_lane_does_not_depend_on_its_neighbours(many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    alone = run_pool(problem, np.repeat(starts[:, :1], 70, axis=1), y, w)
    beside = starts.copy()
    beside[:, 5] = np.nan
    beside[:, 6] = 1e6
    together = run_pool(problem, beside, y, w)
    assert together.status[5] == NONFINITE
    others = np.delete(np.arange(70), [5, 6])
    assert_same_bits(lane(together, others), lane(pooled, others))
    for place in (0, 31, 69):
        assert_same_bits(lane(alone, place), lane(pooled, 0))


def test_a_pool_agrees_with_lanes_run_one_by_one(many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    assert np.all(np.isin(pooled.status, (CONVERGED, FLAT)))
    advance = jax.jit(newton.advance)
    for k in (0, 9, 31, 69):
        start = newton.init_lanes(problem, jnp.asarray(starts[:, k : k + 1]))
        single = advance(problem, start, y[None], w[None], 64)
        np.testing.assert_allclose(single.local.f[0], pooled.local.f[k], rtol=1e-12)
        np.testing.assert_allclose(single.z[:, 0], pooled.z[:, k], rtol=1e-12, atol=1e-12)


def test_a_pool_leaves_lanes_that_do_not_run_as_they_are(many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    lanes = newton.init_lanes(problem, starts.copy(), xp=np)
    ended = np.arange(70) % 3 == 0
    lanes.status[ended] = np.resize([CONVERGED, FLAT, STALLED, NONFINITE], ended.sum())
    rows = (np.broadcast_to(a, (70, len(a))) for a in (y, w))
    settled = descent._run_pool(problem, lanes, *rows, 64)
    assert_same_bits(lane(settled, ended), lane(lanes, ended))
    assert_same_bits(lane(settled, ~ended), lane(pooled, ~ended))


@pytest.mark.parametrize("budget", [descent.STEPS_PER_ROUND, 3 * descent.STEPS_PER_ROUND])
def test_every_lane_of_a_pool_has_exactly_its_budget(budget: int, many: Any, pooled: newton.Lanes) -> None:
    problem, y, w, starts = many
    lanes = run_pool(problem, starts, y, w, budget)
    assert np.all(lanes.steps == np.minimum(pooled.steps, budget))
    assert np.all((lanes.status == RUNNING) == (pooled.steps > budget))
    assert np.any(lanes.status == RUNNING)


def test_descents_have_the_same_bits_however_many_there_are(many: Any) -> None:
    problem, y, w, starts = many
    runs = {count: descent.descend(runner.Runner(), problem, starts[:, :count], y, w) for count in (5, 32, 33, 70)}
    for count, lanes in runs.items():
        assert lanes.z.shape == (5, count)
        assert np.all(lanes.status != RUNNING)
        assert_same_bits(lanes, lane(runs[70], slice(0, count)))


def test_responses_and_weights_may_differ_by_lane(many: Any) -> None:
    problem, y, w, starts = many
    z = np.repeat(starts[:, :1], 3, axis=1)
    responses = np.stack([y, y * np.exp(0.01 * np.cos(np.arange(32))), y])
    weights = np.stack([w, w, np.arange(32) % 2.0])
    lanes = descent.descend(runner.Runner(), problem, z, responses, weights)
    for k in range(3):
        assert_same_bits(
            lane(lanes, k), lane(descent.descend(runner.Runner(), problem, z[:, :1], responses[k], weights[k]), 0)
        )
    assert len(set(lanes.local.f.tolist())) == 3


def test_exact_data_give_the_parameters_back() -> None:
    problem, _ = sweep()
    y = np.asarray(CHINCHILLA(*problem.inputs.values(), **TRUTH))
    problem = problem_of(CHINCHILLA, problem.inputs, y, huber(1e-3))
    middle = np.array(from_params(CHINCHILLA, problem.centre, problem.free, TRUTH))
    z = middle[:, None] + 0.7 * np.random.default_rng(8).standard_normal((len(middle), 32))
    lanes = descent.descend(runner.Runner(), problem, z, y, np.ones(len(y)))
    assert np.all(np.isin(lanes.status, (CONVERGED, FLAT)))
    found = problem.params(lanes.z[:, np.argmin(lanes.local.f)])
    for name, value in TRUTH.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-8)


def test_the_bottom_of_a_curved_valley_is_found() -> None:
    k, y = np.array([0.0, 1.0]), np.zeros(2)
    problem = problem_of(valley, {"k": k}, y, squared())
    z = np.array([[-1.2, 1.0], [2.0, -3.0], [0.0, 8.0]]).T
    lanes = descent.descend(runner.Runner(), problem, z, y, np.ones(2))
    assert np.all(lanes.status == CONVERGED)
    np.testing.assert_allclose(lanes.z, np.ones((2, 3)), rtol=1e-7)


def test_at_a_converged_lane_the_gradient_is_rounding(many: Any) -> None:
    problem, y, w, starts = many
    lanes = descent.descend(runner.Runner(), problem, starts[:, :32], y, w)
    best = int(np.argmin(lanes.local.f))
    local = evaluate(problem, lanes.z[:, best : best + 1], 1e-3, y, w)
    assert lanes.delta[best] == lanes.goal[best] == 1e-3
    assert lanes.local.f[best] == pytest.approx(float(local.f[0]), rel=1e-13)
    hessian, gradient = np.asarray(local.exact[..., 0]), np.asarray(local.g[:, 0])
    assert np.linalg.eigvalsh(hessian).min() > 0
    assert gradient @ np.linalg.solve(hessian, gradient) / 2 <= 1e-14 * float(local.f[0])


def test_direct_lanes_begin_with_the_delta_of_the_noise() -> None:
    problem, _ = sweep()
    z = jnp.zeros((5, 3))
    lanes = newton.init_lanes(problem, z, direct=jnp.asarray([True, False, True]))
    assert lanes.delta.tolist() == [1e-3, np.inf, 1e-3]
    assert not np.any(newton.init_lanes(problem, z).newton) and np.all(newton.init_lanes(problem, z, warm=True).newton)
    smooth = eqx.tree_at(lambda p: p.noise, problem, absolute())
    # Absolute loss has no curvature to begin with: it always starts smoothed.
    assert np.all(np.isinf(newton.init_lanes(smooth, z, direct=True).delta))


def test_iterations_are_counted_and_bounded(many: Any) -> None:
    problem, y, w, starts = many
    lanes = descent.descend(runner.Runner(), problem, starts[:, :32], y, w, longest=6)
    assert lanes.steps.max() == 6
    assert np.any(lanes.status == RUNNING)
    went_on = descent.descend(runner.Runner(), problem, starts[:, :32], y, w, lanes=lanes)
    assert_same_bits(went_on, descent.descend(runner.Runner(), problem, starts[:, :32], y, w))
