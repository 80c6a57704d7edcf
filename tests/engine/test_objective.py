"""One evaluation of the engine: value, gradient and both Hessians, shared rows and rows of each lane's own."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.engine import descent, runner
from jaxscale.engine.newton import CONVERGED
from jaxscale.engine.objective import BLOCK, Local, Problem
from jaxscale.engine.starts import score
from jaxscale.law.coordinates import centre_of, from_params
from jaxscale.noise import Noise, absolute, huber, squared, student_t
from tests.lanes import evaluate, evaluated, lane, problem_of

pytestmark = pytest.mark.usefixtures("x64")
POWER = laws.get("power_law_floor")
ROWS = 20


# Below delta, above delta, in the middle: every branch of a loss has rows.
CASES = {
    "squared": (squared(), np.inf),
    "huber": (huber(0.05), 0.05),
    "absolute": (absolute(), 0.02),
    "student_t": (student_t(3.0), np.inf),
    "student_t, scale given": (student_t(3.0, scale=0.1), np.inf),
}
EVERY_LOSS = pytest.mark.parametrize("case", CASES)


def few_rows(noise: Noise) -> tuple[Problem, np.ndarray, np.ndarray, np.ndarray]:
    """A problem with scattered rows, three points (coordinates by lane), responses, and weights."""
    draws = np.random.default_rng(0)
    x = np.geomspace(1.0, 1e3, ROWS)
    y = (1.0 + 3.0 * x**-0.4) * np.exp(0.1 * draws.standard_normal(ROWS))
    problem = problem_of(POWER, {"x": x}, y, noise)
    points = [dict(c=1.0, a=3.0, b=0.4), dict(c=0.7, a=2.0, b=0.3), dict(c=0.2, a=4.0, b=0.6)]
    z = np.array([from_params(POWER, problem.centre, problem.free, point) for point in points]).T
    if noise.infers_scale:
        z = np.concatenate([z, np.log([[0.1, 0.05, 0.3]])])
    return problem, z, y, draws.uniform(0.5, 2.0, ROWS)


def plain_objective(problem: Problem, delta: float, y: Any, w: Any) -> Any:
    """The objective in its textbook form."""
    x, noise = jnp.asarray(problem.inputs["x"]), problem.noise
    loss: Any = noise.loss
    t = jnp.log if noise.space.name == "log" else lambda v: v

    def objective(z: Any) -> Any:
        params = problem.params(z)
        r = t(params["c"] + params["a"] * x ** -params["b"]) - t(jnp.asarray(y))
        if noise.loss.name == "student_t":
            s = jnp.exp(z[3]) if noise.infers_scale else loss.scale
            rho = jnp.log(s) + (loss.df + 1) / 2 * jnp.log(1 + r**2 / (loss.df * s**2))
        elif noise.loss.name == "squared":
            rho = r**2 / 2
        else:
            rho = jnp.where(jnp.abs(r) <= delta, r**2 / 2, delta * (jnp.abs(r) - delta / 2))
        return jnp.sum(w * rho)

    return objective


@EVERY_LOSS
def test_value_gradient_and_hessian_are_those_of_the_plain_objective(case: str) -> None:
    noise, delta = CASES[case]
    problem, z, y, w = few_rows(noise)
    assert_same_derivatives(evaluate(problem, z, delta, y, w), plain_objective(problem, delta, y, w), z)


def assert_same_derivatives(local: Local, objective: Any, z: np.ndarray) -> None:
    parts = jax.jit(jax.vmap(lambda z: (objective(z), jax.grad(objective)(z), jax.hessian(objective)(z)), -1, -1))
    for found, plain in zip((local.f, local.g, local.exact), parts(z), strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-10, atol=1e-10 * np.abs(plain).max())


@EVERY_LOSS
def test_gradient_and_hessian_are_finite_differences(case: str) -> None:
    noise, delta = CASES[case]
    problem, z, y, w = few_rows(noise)
    step = 1e-6
    sides = np.concatenate([z[:, :1] + step * np.eye(len(z)), z[:, :1] - step * np.eye(len(z)), z[:, :1]], axis=1)
    local = evaluate(problem, sides, delta, y, w)
    p = len(z)
    gradient = (local.f[:p] - local.f[p : 2 * p]) / (2 * step)
    hessian = (local.g[:, :p] - local.g[:, p : 2 * p]) / (2 * step)
    np.testing.assert_allclose(local.g[:, -1], gradient, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(local.exact[..., -1], hessian, rtol=1e-5, atol=1e-6)


@EVERY_LOSS
def test_the_safe_hessian_is_a_weighted_gauss_newton_matrix(case: str) -> None:
    noise, delta = CASES[case]
    problem, z, y, w = few_rows(noise)
    local = evaluate(problem, z, delta, y, w)

    def residuals(z: Any) -> Any:
        predicted = jax.vmap(lambda row: problem.predict(z, row))(problem.inputs)
        return noise.transform(predicted) - noise.transform(y)

    @jax.jit
    @jax.vmap
    def by_lane(point: Any) -> Any:
        r, jacobian = residuals(point), jax.jacfwd(residuals)(point)
        weight = noise.loss.slopes(r, delta, problem.log_scale(point))[2]
        return (
            r,
            (jacobian.T * (w * weight)[None]) @ jacobian,
            jax.hessian(plain_objective(problem, delta, y, w))(point),
        )

    several, safe, exact = map(np.array, by_lane(z.T))
    for k, r in enumerate(several):
        expected = safe[k]
        if noise.infers_scale:
            expected[3, 3] += exact[k, 3, 3]
        np.testing.assert_allclose(local.safe[..., k], expected, rtol=1e-10, atol=1e-12)
        assert np.linalg.eigvalsh(local.safe[..., k]).min() > 0
        assert local.spread[k] == pytest.approx(np.sum(w * np.abs(r)))


@EVERY_LOSS
def test_a_row_of_weight_zero_does_not_count(case: str) -> None:
    noise, delta = CASES[case]
    problem, z, y, w = few_rows(noise)
    out = np.array([3, 11])
    kept = np.delete(np.arange(ROWS), out)
    w[out] = 0.0
    missing = y.copy()
    missing[out] = np.nan
    local = evaluate(problem, z, delta, missing, w)
    assert all(np.all(np.isfinite(part)) for part in jax.tree.leaves(local))
    rest = eqx.tree_at(lambda p: p.inputs, problem, {"x": problem.inputs["x"][kept]})
    assert_same_derivatives(local, plain_objective(rest, delta, y[kept], w[kept]), z)


def test_blocks_of_rows_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 2 * BLOCK
    x = np.geomspace(1.0, 1e4, n)
    y = (1.0 + 3.0 * x**-0.4) * np.exp(0.1 * np.sin(np.arange(n)))
    weight = np.arange(n) % 3.0
    y[weight == 0] = np.nan
    problem = problem_of(POWER, {"x": x}, y[weight > 0], huber(0.05))
    z = few_rows(huber(0.05))[1]
    in_blocks = evaluate(problem, z, 0.05, y, weight)
    monkeypatch.setattr("jaxscale.engine.objective.BLOCK", n)
    at_once = jax.jit(lambda *data: evaluated(*data))(problem, z, 0.05, y, weight)
    for part, whole in zip(jax.tree.leaves(in_blocks), jax.tree.leaves(at_once), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-12, atol=1e-12 * np.abs(whole).max())


def assert_close_parts(one: Any, other: Any, rtol: float = 1e-12) -> None:
    for part, same in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(part, same, rtol=rtol, atol=rtol * np.abs(same).max())


def test_many_coordinates_have_the_derivatives_of_the_plain_objective() -> None:
    law = laws.get("bnsl2")
    x = np.geomspace(1.0, 1e4, ROWS)
    point = dict(a=1.0, b=2.0, c0=0.3, c1=0.2, c2=-0.1, d1=30.0, d2=900.0, f1=0.5, f2=1.5)
    y = np.asarray(law(x, **point)) * np.exp(0.1 * np.sin(np.arange(ROWS)))
    problem = problem_of(law, {"x": x}, y, squared("log"))
    z = np.array(from_params(law, problem.centre, problem.free, point))[:, None] + 0.05 * np.arange(2)

    def objective(z: Any) -> Any:
        return jnp.sum((jnp.log(law(x, **problem.params(z))) - jnp.log(y)) ** 2) / 2

    assert_same_derivatives(evaluate(problem, z, np.inf, y, np.ones(ROWS)), objective, z)


def merge(problems: list[Problem]) -> Problem:
    """One problem of several data sets, one for each lane."""
    one = problems[0]
    parts = [(each.inputs, each.centre, each.fixed) for each in problems]
    inputs, centre, fixed = jax.tree.map(lambda *a: np.stack([np.asarray(v) for v in a]), *parts)
    return Problem(one.law, one.free, one.noise, inputs, fixed, centre, apart=True)


def data_sets(noise: Noise) -> tuple[list[Problem], np.ndarray, np.ndarray, np.ndarray]:
    """Three data sets that differ in inputs, centre, fixed value, responses and weights; a start for each."""
    draws = np.random.default_rng(10)
    columns = np.geomspace(1.0, [1e2, 1e3, 1e4], ROWS, axis=1)
    floors = np.array([0.5, 1.0, 1.5])
    responses = (floors[:, None] + 3.0 * columns**-0.4) * np.exp(0.02 * draws.standard_normal(columns.shape))
    problems = [
        Problem(POWER, ("a", "b"), noise, {"x": x}, {"c": c}, centre_of(POWER, {"x": x}, y, np))
        for x, y, c in zip(columns, responses, floors, strict=True)
    ]
    z = [from_params(POWER, each.centre, ("a", "b"), dict(a=2.0, b=0.5, **each.fixed)) for each in problems]
    weights = draws.uniform(0.5, 2.0, columns.shape)
    weights[:, 4] = 0.0
    return problems, np.array(z).T, responses, weights


def test_lanes_with_inputs_of_their_own_are_evaluated_as_separate_problems() -> None:
    problems, z, y, w = data_sets(huber(0.01))
    program = jax.jit(lambda *data: evaluated(*data))
    together = program(merge(problems), z, 0.01, y, w)
    for k, problem in enumerate(problems):
        alone = program(problem, z[:, k : k + 1], 0.01, y[k], w[k])
        assert_close_parts(lane(together, slice(k, k + 1)), alone)


def test_lanes_with_inputs_of_their_own_descend_as_separate_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    problems, z, y, w = data_sets(huber(0.01))
    # More lanes than descend side by side, so that places are taken over by lanes of other data sets.
    monkeypatch.setattr(descent, "CORE", dataclasses.replace(descent.CORE, width=2))
    order = np.array([2, 0, 1, 1, 2, 0])
    together = descent.descend(runner.Runner(), merge([problems[k] for k in order]), z[:, order], y[order], w[order])
    for place, k in enumerate(order):
        alone = descent.descend(runner.Runner(), problems[k], z[:, k : k + 1], y[k], w[k])
        assert together.status[place] == alone.status[0] == CONVERGED
        np.testing.assert_allclose(together.z[:, place], alone.z[:, 0], rtol=1e-10)
        np.testing.assert_allclose(together.local.f[place], alone.local.f[0], rtol=1e-12)
    assert len(set(together.local.f.tolist())) == 3


def test_starts_with_inputs_of_their_own_are_scored_as_separate_problems() -> None:
    problems, z, y, w = data_sets(huber(0.01))
    u = np.random.default_rng(11).uniform(size=z.shape)
    drawn = np.array([True, False, True])
    program = jax.jit(score)
    together = program(merge(problems), u, z, drawn, y, w)
    assert np.all(np.isfinite(together[1]))
    for k, problem in enumerate(problems):
        part = slice(k, k + 1)
        assert_close_parts(
            lane(together, part), program(problem, u[:, part], z[:, part], drawn[part], y[k], w[k]), 1e-10
        )
