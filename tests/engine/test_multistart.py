"""Multistart search: landscape, seeds, and creation of starts."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import laws
from jaxscale.engine import multistart, newton
from jaxscale.engine.descent import Task
from jaxscale.engine.multistart import SearchResult
from jaxscale.engine.objective import Problem
from jaxscale.engine.starts import StartList, crossover, evaluate_params, hypercube, project
from jaxscale.law import Input, Law, Response, coefficient, law, real
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise, huber, squared

pytestmark = pytest.mark.usefixtures("x64")
CHINCHILLA = laws.get("chinchilla")
TRUTH = dict(CHINCHILLA.published["besiroglu2024"])


@law(
    inputs=dict(k=Input("", low=-np.inf)),
    response=Response("", real),
    m=coefficient(range=(-5.0, 5.0)),
    source="a test",
)
def double_well(k, *, m):
    """Fitted to 4 and 0.3, a deep minimum near m = 2 and a shallow one near m = -2."""
    return jnp.where(k < 0.5, m**2, 0.1 * m)


def problem_of(law: Law, inputs: dict[str, np.ndarray], response: np.ndarray, noise: Noise) -> Problem:
    return Problem(law, tuple(law.parameters), noise, inputs, {}, centre_of(law, inputs, response, np))


@pytest.fixture(scope="module")
def sweep() -> tuple[Problem, np.ndarray, np.ndarray]:
    """A sweep of 32 runs, its responses and its weights."""
    N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(5e7, 1e10, 8), np.geomspace(1e9, 3e11, 4)))
    with jax.enable_x64(True):
        y = np.asarray(CHINCHILLA(N, D, **TRUTH)) * np.exp(0.01 * np.random.default_rng(5).standard_normal(32))
        return problem_of(CHINCHILLA, dict(N=N, D=D), y, huber(1e-3)), y, np.ones(32)


def look(data: tuple[Problem, np.ndarray, np.ndarray], seed: int = 0, **settings: Any) -> SearchResult:
    return multistart.search(Task(*data), **{"count": 512, **settings}, generator=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def found(sweep: Any) -> SearchResult:
    with jax.enable_x64(True):
        return look(sweep)


def test_counts_of_the_landscape_are_consistent(found: SearchResult) -> None:
    landscape, lanes = found.landscape, found.lanes
    # The problem is easy: one wave of two is enough.
    assert landscape.independent == 16
    assert landscape.polished == lanes.z.shape[1] == 32
    assert landscape.scored == 64
    settled = np.isin(lanes.status, (newton.CONVERGED, newton.FLAT))
    assert landscape.converged == settled.sum()
    assert sum(basin.count for basin in landscape.basins) == settled.sum()
    assert landscape.agree <= landscape.independent
    assert landscape.agree <= landscape.agree_all <= landscape.polished
    assert landscape.agree_all >= landscape.basins[0].count


def test_the_second_wave_adds_as_many_starts_and_changes_none_of_the_first(
    sweep: Any, found: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert min(found.landscape.agree_all, found.landscape.converged) >= multistart.EASY * 32
    monkeypatch.setattr(multistart, "EASY", 2.0)
    both = look(sweep)
    landscape = both.landscape
    assert (landscape.polished, landscape.independent, landscape.scored) == (64, 32, 512)
    assert both.lanes.z.shape[1] == 64
    for whole, first in zip(jax.tree.leaves(both.lanes), jax.tree.leaves(found.lanes), strict=True):
        np.testing.assert_array_equal(whole[..., :32], first)
    # No start is polished twice.
    assert len(np.unique(both.lanes.local.f)) > 32
    np.testing.assert_allclose(both.lanes.local.f[both.best], found.lanes.local.f[found.best], rtol=1e-10)
    assert landscape.agree >= found.landscape.agree and landscape.agree_all >= found.landscape.agree_all


def test_the_best_lane_is_the_lowest_basin(found: SearchResult) -> None:
    lanes, basins = found.lanes, found.landscape.basins
    assert lanes.status[found.best] == newton.CONVERGED
    assert lanes.local.f[found.best] == pytest.approx(basins[0].objective, rel=1e-9)
    assert lanes.local.f[found.best] == pytest.approx(np.min(lanes.local.f), rel=1e-9)
    objectives = [basin.objective for basin in basins]
    assert objectives == sorted(objectives)
    assert all(lanes.local.f[basin.lane] == basin.objective for basin in basins)


def test_a_seed_fixes_every_bit(sweep: Any, found: SearchResult) -> None:
    again = look(sweep)
    assert again.best == found.best and again.landscape == found.landscape
    for one, other in zip(jax.tree.leaves(again.lanes), jax.tree.leaves(found.lanes), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_draws_other_starts_and_finds_the_same_optimum(
    sweep: Any, found: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def recorded(task: Task, u: np.ndarray, z: np.ndarray, random: np.ndarray) -> Any:
        if np.all(random):
            drawn.append(u)
        return score(task, u, z, random)

    score = Task.score
    monkeypatch.setattr(Task, "score", recorded)
    others = [look(sweep, seed) for seed in (1, 2)]
    assert [u.shape for u in drawn] == [(5, 64), (5, 64)] and not np.any(drawn[0] == drawn[1])
    for other in others:
        np.testing.assert_allclose(other.lanes.local.f[other.best], found.lanes.local.f[found.best], rtol=1e-10)
        np.testing.assert_allclose(other.lanes.z[:, other.best], found.lanes.z[:, found.best], rtol=1e-5)


def test_the_optimum_does_not_depend_on_padding(sweep: Any, found: SearchResult) -> None:
    problem, y, w = sweep
    longer = eqx.tree_at(lambda p: p.inputs, problem, {k: np.append(v, v[:32]) for k, v in problem.inputs.items()})
    padded = look((longer, np.append(y, np.full(32, y[0])), np.append(w, np.zeros(32))))
    np.testing.assert_allclose(padded.lanes.local.f[padded.best], found.lanes.local.f[found.best], rtol=1e-10)


def test_given_starts_are_polished_in_place_of_drawn_ones(sweep: Any, found: SearchResult) -> None:
    near = {name: np.array([value, 1.1 * value, 0.8 * value]) for name, value in TRUTH.items()}
    landscape = look(sweep, explicit=StartList(near)).landscape
    assert landscape.scored == 3
    assert landscape.independent == landscape.polished
    assert 3 <= landscape.polished <= 32
    assert landscape.agree == landscape.agree_all
    assert landscape.basins[0].objective == pytest.approx(found.landscape.basins[0].objective, rel=1e-10)


def test_of_many_given_starts_the_best_and_a_sample_of_the_rest_are_polished(sweep: Any) -> None:
    draws = np.random.default_rng(9)
    many = {name: value * np.exp(0.2 * draws.standard_normal(100)) for name, value in TRUTH.items()}
    landscape = look(sweep, explicit=StartList(many), polish=32).landscape
    assert landscape.scored == 100
    assert (landscape.polished, landscape.independent) == (32, 16)


def test_all_given_starts_are_polished_as_given_where_that_is_allowed(sweep: Any, found: SearchResult) -> None:
    draws = np.random.default_rng(9)
    many = {name: value * np.exp(0.2 * draws.standard_normal(40)) for name, value in TRUTH.items()}
    landscape = look(sweep, explicit=StartList(many), polish=40).landscape
    assert (landscape.scored, landscape.polished, landscape.independent) == (40, 40, 40)
    assert landscape.agree == 40
    assert landscape.basins[0].objective == pytest.approx(found.landscape.basins[0].objective, rel=1e-10)


def wells() -> tuple[Problem, np.ndarray, np.ndarray]:
    k, y = np.array([0.0, 1.0]), np.array([4.0, 0.3])
    return problem_of(double_well, {"k": k}, y, squared()), y, np.ones(2)


def minima() -> list[tuple[float, float]]:
    """Objective and place of the two minima, from the roots of the derivative."""
    roots = np.sort(np.roots([2.0, 0.0, 0.01 - 8.0, -0.03]).real)[[0, 2]]
    return sorted(((m * m - 4) ** 2 / 2 + (0.1 * m - 0.3) ** 2 / 2, m) for m in roots)


def test_a_law_with_two_minima_shows_both() -> None:
    found = look(wells())
    basins = found.landscape.basins
    assert [basin.objective for basin in basins] == pytest.approx([f for f, _ in minima()], rel=1e-9)
    assert [found.lanes.z[0, basin.lane] for basin in basins] == pytest.approx([m for _, m in minima()], rel=1e-7)
    assert sum(basin.count for basin in basins) == found.landscape.polished == 64
    assert found.landscape.agree_all == basins[0].count < 64
    assert found.landscape.agree < found.landscape.independent


def test_few_agreeing_starts_trigger_another_round(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only lanes exactly at the optimum would agree: the search looks again as often as it may.
    landscapes = []
    plain = multistart._landscape

    def disagreeing(*arguments: Any) -> Any:
        best, landscape = plain(*arguments)
        landscapes.append(landscape)
        return best, multistart.Landscape(**{**vars(landscape), "agree_all": 0})

    monkeypatch.setattr(multistart, "_landscape", disagreeing)
    found = look(wells(), rounds=2)
    # After the first wave, after both, and after every further look.
    assert [landscape.polished for landscape in landscapes] == [32, 64, 96, 128]
    assert [landscape.independent for landscape in landscapes] == [16, 32, 32, 32]
    assert found.landscape.scored == 512 + 2 * 512


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 6))
def test_each_row_of_a_hypercube_has_one_point_in_each_stratum(seed: int, count: int, dimensions: int) -> None:
    u = hypercube(np.random.default_rng(seed), count, dimensions)
    assert u.shape == (dimensions, count)
    assert np.all((u >= 0) & (u < 1))
    for row in u:
        assert sorted(np.floor(row * count).astype(int)) == list(range(count))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 60))
def test_children_lie_near_what_a_parent_holds(seed: int, known: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    parents = generator.standard_normal((4, known))
    children = crossover(generator, parents, count)
    assert children.shape == (4, count)
    distance = np.min(np.abs(children[:, None] - parents[:, :, None]), axis=1)
    assert np.all(distance <= 7 * (np.std(parents, axis=1, keepdims=True) + 1e-3 * np.abs(parents).max()))


def test_children_join_coordinates_of_different_parents() -> None:
    parents = np.array([[0.0, 1.0], [10.0, 20.0]])
    children = crossover(np.random.default_rng(0), parents, 400)
    nearest = np.stack([children[0] > 0.5, children[1] > 15.0])
    assert {tuple(pair) for pair in nearest.T.tolist()} == {(a, b) for a in (False, True) for b in (False, True)}


def drawn_params(lanes: int = 16) -> dict[str, Any]:
    draws = np.random.default_rng(3)
    ranges = dict(E=(0.1, 3.0), A=(10.0, 1e3), alpha=(0.05, 1.0), B=(10.0, 1e4), beta=(0.05, 1.0))
    return {
        name: jnp.asarray(np.exp(draws.uniform(np.log(ends[0]), np.log(ends[1]), lanes)))
        for name, ends in ranges.items()
    }


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("floor", [1.8, 0.0])
def test_projection_is_weighted_least_squares_inside_the_support(sweep: Any, space: Any, floor: float) -> None:
    problem = eqx.tree_at(lambda p: p.noise, sweep[0], squared(space), is_leaf=lambda v: isinstance(v, Noise))
    weight = np.linspace(0.0, 2.0, 32)
    columns = problem.inputs
    y = np.asarray(CHINCHILLA(columns["N"], columns["D"], **{**TRUTH, "E": floor})) * np.linspace(0.98, 1.02, 32)
    drawn = drawn_params()
    params = jax.jit(project)(problem, drawn, y, weight)
    stretch = 1 / y if space == "log" else np.ones(32)
    held, solved = 0, 0
    for lane in range(16):
        mine = {name: float(params[name][lane]) for name in params}
        terms = {"E": np.ones(32), "A": columns["N"] ** -mine["alpha"], "B": columns["D"] ** -mine["beta"]}
        residual = (sum(mine[name] * term for name, term in terms.items()) - y) * stretch
        for name, term in terms.items():
            if mine[name] == pytest.approx(float(drawn[name][lane]), rel=1e-14):
                held += 1
                continue
            solved += 1
            assert mine[name] > 0
            parts = weight * residual * term * stretch
            assert abs(np.sum(parts)) <= 1e-7 * np.sum(weight * y * stretch**2 * term)
    assert all(np.array_equal(params[name], drawn[name]) for name in ("alpha", "beta"))
    # Without a floor in the data some lanes would have a negative one.
    assert solved >= 16 and (held >= 1 or floor > 0)


def test_projection_finds_the_terms_of_exact_data(sweep: Any) -> None:
    problem, _, w = sweep
    y = CHINCHILLA(problem.inputs["N"], problem.inputs["D"], **TRUTH)
    wrong = {**TRUTH, "E": 0.3, "A": 3.0, "B": 9e5}
    params = jax.jit(project)(problem, {name: jnp.asarray([value]) for name, value in wrong.items()}, y, w)
    for name, value in TRUTH.items():
        assert float(params[name][0]) == pytest.approx(value, rel=1e-7)


def test_a_start_that_is_undefined_costs_infinitely_much(sweep: Any) -> None:
    problem, y, w = sweep
    params = {name: jnp.asarray([value, value]) for name, value in TRUTH.items()}
    params["A"] = params["A"].at[1].set(np.nan)
    z, f = jax.jit(evaluate_params)(problem, params, y, w)
    assert np.isfinite(f[0]) and np.isinf(f[1])
    assert np.all(np.isfinite(z))
