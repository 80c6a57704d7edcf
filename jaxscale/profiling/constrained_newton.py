"""Equality-constrained minimisation of the objective, with a quantity of the parameters held, over many lanes.

Sequential quadratic programming in the centred coordinates: every step solves the Newton equations of the
Lagrangian ``f(z) + m h(z)`` with ``h = (q(z) - goal) / unit``, with the damping parameter and the gain ratio of
:mod:`jaxscale.engine.levenberg_marquardt`, the latter of the augmented Lagrangian ``f + m h + s h^2 / 2``.

Source: Nocedal and Wright (2006), Numerical Optimization, 2nd ed., chapters 17 and 18.
"""

from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.engine.descent import sizes
from jaxscale.engine.levenberg_marquardt import (
    FIRST_FACTOR,
    GAIN_ACCEPTED,
    MOST_DAMPING,
    SMALL_DECREASE,
    STEP_CAP,
    bounded_coordinates,
    damping_update,
    gain_ratio,
    quadratic_form,
    rounding_error,
    scaling,
    within_trust_radius,
)
from jaxscale.engine.newton import DONE, solve_damped
from jaxscale.engine.objective import Local, Problem, evaluate
from jaxscale.engine.runner import Runner
from jaxscale.results.quantities import Quantity
from jaxscale.utils.arrays import Array
from jaxscale.utils.compilation import Program, compiled

# Stiffness of the augmented Lagrangian along the constraint, relative to the objective in its own metric.
STIFF = 10.0
# Most iterations of a lane.
LONGEST = 300
# Initial damping parameter: a profile starts near its optimum, where Newton steps work.
DAMPING = 1e-8
# Least scaling of a coordinate, relative to the largest: one that has just become flat must not diverge.
LEAST_SCALING = 1e-30
# Diagonal regularisation against rounding errors in the factorisation, relative to the largest scaling.
RIDGE = 1e-14
# A coordinate whose scaling is below this share of the largest is negligible.
NEGLIGIBLE = 1e-8
# Damping parameter below which a step counts as undamped.
UNDAMPED = 1e-3
# Predicted relative decrease below which undamped steps take over.
CLOSE = 1e-9
# Required reduction of the predicted decrease per undamped step; otherwise the lane is at the limit of rounding.
NEWTON_REDUCTION = 0.5
# Gain ratio above which the exact model is used again.
GAIN_TRUSTED = 0.25
# Iterations without a decrease after which a lane is stuck.
PATIENCE = 20
RUNNING, ENDED, STUCK = range(3)


class _Constraint(eqx.Module):
    """The constraint ``h = (q - goal) / unit`` of every lane, with gradient a and Hessian b."""

    h: Float[Array, " lane"]
    a: Float[Array, "size lane"]
    b: Float[Array, "size size lane"]

    @property
    def finite(self) -> Bool[Array, " lane"]:
        """Whether value and derivatives are finite."""
        finite = jnp.isfinite(self.h) & jnp.all(jnp.isfinite(self.a), axis=0)
        return finite & jnp.all(jnp.isfinite(self.b), axis=(0, 1))


class _State(eqx.Module):
    """State of the lanes: coordinates, objective, constraint, Lagrange multiplier, damping."""

    z: Float[Array, "size lane"]
    local: Local
    constraint: _Constraint
    multiplier: Float[Array, " lane"]
    damping: Float[Array, " lane"]
    growth: Float[Array, " lane"]
    diagonal: Float[Array, "size lane"]
    exactly: Bool[Array, " lane"]
    predicted_decrease: Float[Array, " lane"]
    still: Int[Array, " lane"]
    status: Int[Array, " lane"]


class _Model(eqx.Module):
    """The step of one local model, its multiplier, and the predicted decrease of the augmented Lagrangian."""

    d: Float[Array, "size lane"]
    multiplier: Float[Array, " lane"]
    predicted_decrease: Float[Array, " lane"]
    good: Bool[Array, " lane"]


class _Data(eqx.Module):
    """Constants of a descent: the held quantity of each lane with value and unit, and the data."""

    which: Int[Array, " lane"]
    goal: Float[Array, " lane"]
    unit: Float[Array, " lane"]
    delta: Float[Array, " lane"]
    target: Float[Array, "lane row"]
    weight: Float[Array, "lane row"]


class _Trial(eqx.Module):
    """The trial step, with its multiplier and predicted decrease."""

    d: Float[Array, "size lane"]
    multiplier: Float[Array, " lane"]
    predicted_decrease: Float[Array, " lane"]
    use_exact: Bool[Array, " lane"]
    # Lanes near their optimum, and those at it.
    close: Bool[Array, " lane"]
    over: Bool[Array, " lane"]
    # Whether the exact model has a step, and whether it equals that of the majorising model.
    good: Bool[Array, " lane"]
    same: Bool[Array, " lane"]
    # Error of the objective from rounding alone.
    rounding: Float[Array, " lane"]


class _Acceptance(eqx.Module):
    """Acceptance of a step, with the resulting damping, trust in the exact model and status."""

    accept: Bool[Array, " lane"]
    damping: Float[Array, " lane"]
    growth: Float[Array, " lane"]
    better: Bool[Array, " lane"]
    still: Int[Array, " lane"]
    status: Int[Array, " lane"]


def quantities(of: tuple[Quantity, ...], problem: Problem, z: Float[Array, " size"]) -> Float[Array, " quantity"]:
    """All quantities at one point, shape (quantities,)."""
    params = problem.params(z)
    return jnp.stack([jnp.asarray(one(params), z.dtype) for one in of])


def _constraint(of: tuple[Quantity, ...], problem: Problem, z: Float[Array, "size lane"], data: _Data) -> _Constraint:
    def one(
        z: Float[Array, " size"], which: Int[Array, ""], goal: Float[Array, ""], unit: Float[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, " size"], Float[Array, "size size"]]:
        def h(z: Float[Array, " size"]) -> Float[Array, ""]:
            return (quantities(of, problem, z)[which] - goal) / unit

        return h(z), jax.grad(h)(z), jax.hessian(h)(z)

    h, a, b = jax.vmap(one)(z.T, data.which, data.goal, data.unit)
    return _Constraint(h, a.T, jnp.moveaxis(b, 0, -1))


def _dot(a: Float[Array, "size lane"], b: Float[Array, "size lane"]) -> Float[Array, " lane"]:
    return jnp.sum(a * b, axis=0)


def _stiffness(state: _State) -> Float[Array, " lane"]:
    a = state.constraint.a
    return STIFF / jnp.maximum(_dot(a, a / state.diagonal), jnp.finfo(a.dtype).tiny)


def _solve(
    state: _State, stiff: Float[Array, " lane"]
) -> list[
    tuple[Float[Array, "size size lane"], Float[Array, "size lane"], Float[Array, "size lane"], Bool[Array, " lane"]]
]:
    """For the exact and the majorising model: Hessian H of the Lagrangian, ``H^-1 g``, ``H^-1 a``, success."""
    here, c, diagonal = state.local, state.constraint, state.diagonal
    eye = jnp.eye(len(state.z), dtype=c.a.dtype)[:, :, None]
    damped = (state.damping[None] * diagonal + RIDGE * jnp.max(diagonal, axis=0, keepdims=True))[None] * eye
    extra = damped + stiff[None, None] * c.a[:, None] * c.a[None, :]
    hessians = (here.exact + state.multiplier[None, None] * c.b, here.safe)
    systems = jnp.concatenate([hessian + extra for hessian in hessians for _ in range(2)], axis=-1)
    x, good = solve_damped(systems, jnp.concatenate([here.g, c.a] * 2, axis=-1))
    parts, fine = jnp.split(x, 4, axis=-1), jnp.split(good, 4)
    return list(zip(hessians, parts[::2], parts[1::2], fine[::2], strict=True))


def _models(problem: Problem, state: _State, stiff: Float[Array, " lane"]) -> list[_Model]:
    """The step by the exact and by the majorising model of the objective."""
    bounded = bounded_coordinates(problem)
    return [_model(state, stiff, bounded, *solved) for solved in _solve(state, stiff)]


def _model(
    state: _State,
    stiff: Float[Array, " lane"],
    bounded: Bool[Array, " size"],
    hessian: Float[Array, "size size lane"],
    x_g: Float[Array, "size lane"],
    x_a: Float[Array, "size lane"],
    good: Bool[Array, " lane"],
) -> _Model:
    """The step to the constraint's linearisation that minimises the model, by elimination of the multiplier."""
    g, a, diagonal = state.local.g, state.constraint.a, state.diagonal
    # Damping also shortens the step towards the constraint.
    h = state.constraint.h / (1 + state.damping)
    along = (h - _dot(a, x_g)) / _dot(a, x_a)
    d, multiplier = -x_g - along[None] * x_a, along - stiff * h
    # A negligible coordinate may have an unbounded step, which must not shorten those of the others.
    d = jnp.where(diagonal < NEGLIGIBLE * jnp.max(diagonal, axis=0, keepdims=True), jnp.clip(d, -STEP_CAP, STEP_CAP), d)
    d = within_trust_radius(d, bounded)
    predicted_decrease = -(_dot(g + multiplier[None] * a, d) + 0.5 * quadratic_form(hessian, d))
    predicted_decrease = predicted_decrease + 0.5 * stiff * (
        state.constraint.h**2 - (state.constraint.h + _dot(a, d)) ** 2
    )
    return _Model(
        d, multiplier, predicted_decrease, good & jnp.all(jnp.isfinite(d), axis=0) & jnp.isfinite(predicted_decrease)
    )


def _propose(problem: Problem, state: _State, stiff: Float[Array, " lane"]) -> _Trial:
    """The step of the trusted model; near convergence that of the exact model."""
    exact, safe = _models(problem, state, stiff)
    f, rounding = jnp.abs(state.local.f), rounding_error(state.local)
    near = (exact.predicted_decrease >= 0) & (exact.predicted_decrease <= CLOSE * f + rounding)
    close = exact.good & (state.damping < UNDAMPED) & near
    use = close | (exact.good & (exact.predicted_decrease > 0) & state.exactly)
    d, multiplier, predicted_decrease = (
        jnp.where(use, getattr(exact, name), getattr(safe, name)) for name in ("d", "multiplier", "predicted_decrease")
    )
    # Near convergence the decrease is rounding error: continue while the predicted decrease halves.
    over = close & (
        (predicted_decrease <= DONE * f) | (predicted_decrease >= NEWTON_REDUCTION * state.predicted_decrease)
    )
    same = jnp.max(jnp.abs(jnp.where(use, exact.d - safe.d, 0.0)), axis=0) == 0
    return _Trial(d, multiplier, predicted_decrease, use, close, over, exact.good, same, rounding)


def _step(of: tuple[Quantity, ...], problem: Problem, state: _State, data: _Data) -> _State:
    """One iteration of every running lane."""
    stiff = _stiffness(state)
    trial = _propose(problem, state, stiff)
    z = state.z + jnp.where(jnp.isfinite(trial.d), trial.d, 0.0)
    there = evaluate(problem, z, data.delta, data.target, data.weight)
    constraint = _constraint(of, problem, z, data)
    verdict = _acceptance(state, trial, stiff, there, constraint)
    new = _update(state, trial, verdict, z, there, constraint)
    running = state.status == RUNNING
    return jax.tree.map(lambda first, second: jnp.where(running, first, second), new, state)


def _acceptance(
    state: _State, trial: _Trial, stiff: Float[Array, " lane"], there: Local, constraint: _Constraint
) -> _Acceptance:
    """Accept or reject a step by the decrease of the augmented Lagrangian."""
    here, before, after = state.local, state.constraint.h, constraint.h
    finite = jnp.isfinite(there.f) & jnp.all(jnp.isfinite(there.g), axis=0) & constraint.finite
    actual = here.f - there.f + trial.multiplier * (before - after) + 0.5 * stiff * (before**2 - after**2)
    ratio = gain_ratio(actual, trial.predicted_decrease)
    accept = finite & (trial.close | (ratio > GAIN_ACCEPTED) & (trial.predicted_decrease > 0))
    better = trial.good & ((ratio > GAIN_TRUSTED) | ~trial.use_exact | trial.same)
    damping, growth = damping_update(state.damping, state.growth, ratio, accept)
    small = SMALL_DECREASE * jnp.abs(here.f) + trial.rounding
    still = jnp.where(accept & (actual > small), 0, state.still + 1)
    stuck = (damping >= MOST_DAMPING) | (still >= PATIENCE)
    status = jnp.where(trial.over, ENDED, jnp.where(stuck, STUCK, RUNNING))
    return _Acceptance(accept, damping, growth, better, still, status)


def _update(
    state: _State,
    trial: _Trial,
    verdict: _Acceptance,
    z: Float[Array, "size lane"],
    there: Local,
    constraint: _Constraint,
) -> _State:
    """Update the lanes whose step is accepted; increase the damping of the others."""
    new = _State(
        z=z,
        local=there,
        constraint=constraint,
        multiplier=trial.multiplier,
        damping=jnp.where(trial.close, 0.0, verdict.damping),
        growth=verdict.growth,
        diagonal=scaling(there, state.diagonal, LEAST_SCALING),
        exactly=verdict.better,
        predicted_decrease=jnp.where(trial.close, trial.predicted_decrease, jnp.inf),
        still=verdict.still,
        status=verdict.status,
    )
    unchanged = eqx.tree_at(
        lambda s: (s.damping, s.growth, s.exactly, s.still, s.status),
        state,
        (verdict.damping, verdict.growth, ~trial.use_exact | verdict.better, verdict.still, verdict.status),
    )
    go = verdict.accept & ~trial.over
    return jax.tree.map(lambda first, second: jnp.where(go, first, second), new, unchanged)


def _initial_state(of: tuple[Quantity, ...], problem: Problem, z: Float[Array, "size lane"], data: _Data) -> _State:
    """Initial state of the lanes."""
    local = evaluate(problem, z, data.delta, data.target, data.weight)
    constraint = _constraint(of, problem, z, data)
    ones = jnp.ones((z.shape[1],), z.dtype)
    return _State(
        z=z,
        local=local,
        constraint=constraint,
        multiplier=0 * ones,
        damping=DAMPING * ones,
        growth=FIRST_FACTOR * ones,
        diagonal=scaling(local, 0.0, LEAST_SCALING),
        exactly=ones > 0,
        predicted_decrease=jnp.inf * ones,
        still=jnp.zeros(ones.shape, jnp.int32),
        status=jnp.where(jnp.isfinite(local.f) & jnp.isfinite(constraint.h), RUNNING, STUCK),
    )


@lru_cache(maxsize=32)
def _program(of: tuple[Quantity, ...]) -> Program:
    """The compiled program for the quantities, cached by function object."""

    @compiled
    def minimise_constrained(
        problem: Problem,
        z: Float[Array, "size lane"],
        which: Int[Array, " lane"],
        goal: Float[Array, " lane"],
        unit: Float[Array, " lane"],
        response: Float[Array, " row"],
        weight: Float[Array, " row"],
    ) -> tuple[Float[Array, "size lane"], Float[Array, " lane"], Float[Array, " lane"], Int[Array, " lane"]]:
        lanes = z.shape[1]
        delta = jnp.broadcast_to(jnp.asarray(problem.noise.loss.threshold, z.dtype), (lanes,))
        target = jnp.broadcast_to(problem.noise.transform(response), (lanes, *response.shape))
        data = _Data(which, goal, unit, delta, target, jnp.broadcast_to(weight, target.shape))

        def going(pair: tuple[Int[Array, ""], _State]) -> Bool[Array, ""]:
            return (pair[0] < LONGEST) & jnp.any(pair[1].status == RUNNING)

        def body(pair: tuple[Int[Array, ""], _State]) -> tuple[Int[Array, ""], _State]:
            return pair[0] + 1, _step(of, problem, pair[1], data)

        end = jax.lax.while_loop(going, body, (jnp.asarray(0), _initial_state(of, problem, z, data)))[1]
        return end.z, end.local.f, end.constraint.h, end.status

    return minimise_constrained


@lru_cache(maxsize=32)
def gradients_of(of: tuple[Quantity, ...]) -> Program:
    """A program that gives quantities and their derivatives in the coordinates, shapes (k,) and (k, size)."""

    @compiled
    def gradients(
        problem: Problem, z: Float[Array, " size"]
    ) -> tuple[Float[Array, " quantity"], Float[Array, "quantity size"]]:
        return quantities(of, problem, z), jax.jacfwd(lambda z: quantities(of, problem, z))(z)

    return gradients


def minimise_constrained(
    runner: Runner,
    problem: Problem,
    of: tuple[Quantity, ...],
    z: Float[np.ndarray, "size lane"],
    which: Int[np.ndarray, " lane"],
    goal: Float[np.ndarray, " lane"],
    unit: Float[np.ndarray, " lane"],
    response: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
) -> tuple[Float[np.ndarray, "size lane"], Float[np.ndarray, " lane"]]:
    """Minimise the objective of every lane with its quantity held at a value.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        of: quantities, functions of the parameters by name.
        z: starts, shape (size, lanes).
        which: index of each lane's quantity, shape (lanes,).
        goal: the value at which it is held, shape (lanes,).
        unit: its scale, such as its standard error, shape (lanes,).
        response: shape (n,).
        weight: shape (n,).

    Returns:
        Coordinates of shape (size, lanes) and objectives of shape (lanes,), infinite where the value was not reached.
    """
    count, width = z.shape[1], sizes(len(response)).for_lanes(z.shape[1]).width
    places = [np.minimum(np.arange(first, first + width), count - 1) for first in range(0, count, width)]
    parts = [(problem, z[:, k], which[k], goal[k], unit[k], response, weight) for k in places]
    ends = runner(_program(of), parts)
    z, f, h = (np.concatenate([end[k] for end in ends], axis=-1)[..., :count] for k in range(3))
    feasible = np.abs(h) * unit <= 1e-10 * np.maximum(np.abs(goal), unit)
    return z, np.where(feasible & np.isfinite(f), f, np.inf)
