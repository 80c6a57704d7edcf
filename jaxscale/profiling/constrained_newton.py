"""The objective minimised where a quantity of the parameters has a given value: many lanes of one program.

Sequential quadratic programming in the centred coordinates: every step solves the Newton equations of the
Lagrangian ``f(z) + m h(z)`` with ``h = (q(z) - goal) / unit``, damped as in
:mod:`jaxscale.engine.newton` and judged by the augmented Lagrangian ``f + m h + s h^2 / 2``.

Source: Nocedal and Wright (2006), Numerical Optimization, 2nd ed., chapters 17 and 18.
"""

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.engine.descent import sizes
from jaxscale.engine.newton import DONE, STEP_CAP, solve_damped
from jaxscale.engine.objective import Local, Problem, evaluate
from jaxscale.engine.runner import Runner
from jaxscale.law.coordinates import curved
from jaxscale.results.quantities import Quantity
from jaxscale.utils.compilation import compiled

# How much stiffer the augmented model is along the constraint than the objective is, in the objective's own metric.
STIFF = 10.0
LONGEST = 300
RUNNING, ENDED, STUCK = range(3)


class _State(eqx.Module):
    """Lanes on their way: place, objective, constraint with its derivatives, multiplier, damping."""

    z: Any
    local: Local
    h: Any
    a: Any
    b: Any
    multiplier: Any
    damping: Any
    growth: Any
    diagonal: Any
    exactly: Any
    promise: Any
    still: Any
    status: Any


class _Model(eqx.Module):
    """A step by one of the two models, its multiplier, and what it promises of the augmented Lagrangian."""

    d: Any
    multiplier: Any
    promise: Any
    good: Any


def quantities(of: tuple[Quantity, ...], problem: Problem, z: Any) -> Any:
    """All quantities at one point, shape (quantities,)."""
    params = problem.params(z)
    return jnp.stack([jnp.asarray(one(params), z.dtype) for one in of])


def _diagonal(local: Local, before: Any) -> Any:
    """The metric of the damping, which forgets slowly: a coordinate that has just become flat must not run away."""
    current = jnp.diagonal(local.safe).T
    tiny = jnp.finfo(current.dtype).tiny
    return jnp.maximum(jnp.maximum(0.3 * before, current), 1e-30 * jnp.max(current, axis=0) + tiny)


def _dot(a: Any, b: Any) -> Any:
    return jnp.sum(a * b, axis=0)


def _quadratic(matrix: Any, d: Any) -> Any:
    return jnp.sum(d[:, None] * matrix * d[None, :], axis=(0, 1))


def _models(problem: Problem, state: _State) -> tuple[_Model, _Model, Any]:
    """The step by the exact and by the majorising model of the objective, and the stiffness of the constraint."""
    here, a, h, p = state.local, state.a, state.h, len(state.z)
    diagonal = state.diagonal
    stiff = STIFF / jnp.maximum(_dot(a, a / diagonal), jnp.finfo(a.dtype).tiny)
    most = jnp.max(diagonal, axis=0)
    ridge = state.damping * diagonal + 1e-14 * most
    extra = ridge * jnp.eye(p, dtype=a.dtype)[:, :, None] + stiff * a[:, None] * a[None, :]
    whole = (here.exact + state.multiplier * state.b, here.safe)
    systems = jnp.concatenate([matrix + extra for matrix in whole for _ in range(2)], axis=-1)
    solved, good = solve_damped(systems, jnp.concatenate([here.g, a] * 2, axis=-1))
    parts, fine = jnp.split(solved, 4, axis=-1), jnp.split(good, 4)
    capped = jnp.asarray([*curved(problem.law, problem.free), *([True] * (p - len(problem.free)))])
    # The damping holds back the way to the constraint too.
    h = h / (1 + state.damping)
    models = []
    for matrix, x_g, x_a, fine_g in zip(whole, parts[::2], parts[1::2], fine[::2], strict=True):
        along = (h - _dot(a, x_g)) / _dot(a, x_a)
        d, multiplier = -x_g - along * x_a, along - stiff * h
        # A coordinate that hardly matters may want to run away: it must not hold back the others.
        d = jnp.where(diagonal < 1e-8 * most, jnp.clip(d, -STEP_CAP, STEP_CAP), d)
        longest = jnp.max(jnp.where(capped[:, None], jnp.abs(d), 0.0), axis=0)
        d = d * jnp.minimum(1.0, STEP_CAP / jnp.maximum(longest, STEP_CAP * 1e-3))
        promise = -(_dot(here.g + multiplier * a, d) + 0.5 * _quadratic(matrix, d))
        promise = promise + 0.5 * stiff * (state.h**2 - (state.h + _dot(a, d)) ** 2)
        fine_g = fine_g & jnp.all(jnp.isfinite(d), axis=0) & jnp.isfinite(promise)
        models.append(_Model(d, multiplier, promise, fine_g))
    return models[0], models[1], stiff


@lru_cache(maxsize=32)
def _program(of: tuple[Quantity, ...]) -> Any:
    """The program for some quantities, the same object for the same functions."""

    def constraint(problem: Problem, z: Any, which: Any, goal: Any, unit: Any) -> tuple[Any, Any, Any]:
        def one(z: Any, which: Any, goal: Any, unit: Any) -> tuple[Any, Any, Any]:
            def h(z: Any) -> Any:
                return (quantities(of, problem, z)[which] - goal) / unit

            return h(z), jax.grad(h)(z), jax.hessian(h)(z)

        h, a, b = jax.vmap(one)(z.T, which, goal, unit)
        return h, a.T, jnp.moveaxis(b, 0, -1)

    def step(problem: Problem, state: _State, places: Any, delta: Any, target: Any, weight: Any) -> _State:
        here, eps = state.local, jnp.finfo(state.z.dtype).eps
        exact, safe, stiff = _models(problem, state)
        floor = 8 * eps * jnp.abs(here.f) + here.rounding
        close = (
            exact.good
            & (state.damping < 1e-3)
            & (exact.promise >= 0)
            & (exact.promise <= 1e-9 * jnp.abs(here.f) + floor)
        )
        use = close | (exact.good & (exact.promise > 0) & state.exactly)
        d, multiplier, promise = (
            jnp.where(use, first, second)
            for first, second in zip(jax.tree.leaves(exact)[:3], jax.tree.leaves(safe)[:3], strict=True)
        )
        # Near the end the value is rounding noise: go on while what a step promises halves.
        over = close & ((promise <= DONE * jnp.abs(here.f)) | (promise >= 0.5 * state.promise))
        z = state.z + jnp.where(jnp.isfinite(d), d, 0.0)
        there = evaluate(problem, z, delta, target, weight)
        h, a, b = constraint(problem, z, *places)
        finite = jnp.isfinite(there.f) & jnp.all(jnp.isfinite(there.g), axis=0) & jnp.isfinite(h)
        finite = finite & jnp.all(jnp.isfinite(a), axis=0) & jnp.all(jnp.isfinite(b), axis=(0, 1))
        actual = here.f - there.f + multiplier * (state.h - h) + 0.5 * stiff * (state.h**2 - h**2)
        ratio = actual / jnp.maximum(promise, jnp.finfo(d.dtype).tiny)
        accept = finite & (close | (ratio > 1e-4) & (promise > 0))
        moved = jnp.where(use, exact.d - safe.d, 0.0)
        better = exact.good & ((ratio > 0.25) | ~use | (jnp.max(jnp.abs(moved), axis=0) == 0))
        easier = jnp.maximum(1 / 5, 1 - (2 * jnp.clip(ratio, 0, 1) - 1) ** 3)
        damping = jnp.clip(state.damping * jnp.where(accept, easier, state.growth), 1e-15, 1e15)
        still = jnp.where(accept & (actual > 1e-12 * jnp.abs(here.f) + floor), 0, state.still + 1)
        status = jnp.where(over, ENDED, jnp.where((damping >= 1e15) | (still >= 20), STUCK, RUNNING))
        new = _State(
            z=z,
            local=there,
            h=h,
            a=a,
            b=b,
            multiplier=multiplier,
            damping=jnp.where(close, 0.0, damping),
            growth=jnp.where(accept, 4.0, jnp.minimum(state.growth * 2, 64.0)),
            diagonal=_diagonal(there, state.diagonal),
            exactly=better,
            promise=jnp.where(close, promise, jnp.inf),
            still=still,
            status=status,
        )
        going = state.status == RUNNING
        kept = eqx.tree_at(
            lambda s: (s.damping, s.growth, s.exactly, s.still, s.status),
            state,
            (damping, new.growth, ~use | better, still, status),
        )
        go = accept & ~over
        new = jax.tree.map(lambda first, second: jnp.where(go, first, second), new, kept)
        return jax.tree.map(lambda first, second: jnp.where(going, first, second), new, state)

    @compiled
    def constrained(problem: Problem, z: Any, which: Any, goal: Any, unit: Any, response: Any, weight: Any) -> Any:
        lanes, places = z.shape[1], (which, goal, unit)
        delta = jnp.broadcast_to(jnp.asarray(problem.noise.loss.threshold, z.dtype), (lanes,))
        target = jnp.broadcast_to(problem.noise.transform(response), (lanes, *response.shape))
        weight = jnp.broadcast_to(weight, target.shape)
        ones = jnp.ones((lanes,), z.dtype)
        local = evaluate(problem, z, delta, target, weight)
        h, a, b = constraint(problem, z, *places)
        first = jnp.where(jnp.isfinite(local.f) & jnp.isfinite(h), RUNNING, STUCK)
        zero, yes, none = 0 * ones, ones > 0, jnp.zeros((lanes,), jnp.int32)
        state = _State(
            z, local, h, a, b, zero, 1e-8 * ones, 4 * ones, _diagonal(local, 0.0), yes, jnp.inf * ones, none, first
        )

        def going(pair: Any) -> Any:
            return (pair[0] < LONGEST) & jnp.any(pair[1].status == RUNNING)

        def body(pair: Any) -> Any:
            return pair[0] + 1, step(problem, pair[1], places, delta, target, weight)

        end = jax.lax.while_loop(going, body, (jnp.asarray(0), state))[1]
        return end.z, end.local.f, end.h, end.status

    return constrained


@lru_cache(maxsize=32)
def gradients_of(of: tuple[Quantity, ...]) -> Any:
    """A program that gives quantities and their derivatives in the coordinates, shapes (k,) and (k, size)."""

    @compiled
    def gradients(problem: Problem, z: Any) -> tuple[Any, Any]:
        return quantities(of, problem, z), jax.jacfwd(lambda z: quantities(of, problem, z))(z)

    return gradients


def constrained(
    runner: Runner,
    problem: Problem,
    of: tuple[Quantity, ...],
    z: np.ndarray,
    which: np.ndarray,
    goal: np.ndarray,
    unit: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the objective of every lane where its quantity has its value.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        of: quantities, functions of the parameters by name.
        z: starts, shape (size, lanes).
        which: each lane's quantity, shape (lanes,).
        goal: each lane's value of it, shape (lanes,).
        unit: what counts as a step of it, such as its standard error, shape (lanes,).
        response: shape (n,).
        weight: shape (n,).

    Returns:
        Coordinates of shape (size, lanes) and objectives of shape (lanes,), infinite where the value was not reached.
    """
    count, width = z.shape[1], sizes(len(response)).holding(z.shape[1]).width
    places = [np.minimum(np.arange(first, first + width), count - 1) for first in range(0, count, width)]
    parts = [(problem, z[:, k], which[k], goal[k], unit[k], response, weight) for k in places]
    ends = runner(_program(of), parts)
    z, f, h = (np.concatenate([end[k] for end in ends], axis=-1)[..., :count] for k in range(3))
    met = np.abs(h) * unit <= 1e-10 * np.maximum(np.abs(goal), unit)
    return z, np.where(met & np.isfinite(f), f, np.inf)
