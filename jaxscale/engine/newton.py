"""Damped Newton descents of a batch of lanes in lock step; the lane axis is the last.

Every lane has two local models of the objective: the majorising Gauss-Newton model (robust far from
the optimum) and the exact Hessian (fast near it, and where a Huber loss with a small delta slows
iterative reweighting). The model that predicted the last step better proposes the next one. Robust
losses with a small delta start from a large delta that shrinks as the lane converges (continuation).
Near the optimum undamped Newton steps continue until the gradient is rounding error.
"""

import functools
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxscale.engine.levenberg_marquardt import (
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
from jaxscale.engine.objective import Local, Problem, evaluate
from jaxscale.noise.loss import VERTEX
from jaxscale.utils.arrays import Array, Value

RUNNING, CONVERGED, FLAT, STALLED, NONFINITE = range(5)
STATUS = {
    RUNNING: "max_steps",
    CONVERGED: "converged",
    FLAT: "flat",
    STALLED: "stalled",
    NONFINITE: "nonfinite",
}
# Systems up to this size are solved by elimination; beyond it by LAPACK, which no law of the catalogue needs.
SMALL = 40
# A step further down than this in a logarithm indicates that the number tends to zero.
RUNAWAY = 8.0
# Initial damping parameter, as Marquardt chooses it.
DAMPING = 1e-2
# Initial damping parameter near an optimum: steps are nearly undamped.
WARM_DAMPING = 1e-8
# Robust losses: the first threshold of a lane, in mean absolute residuals, beyond which few residuals lie.
FIRST_THRESHOLD = 3
# Robust losses: the factor by which the threshold shrinks.
THRESHOLD_DIVISION = 8
# With a threshold above this many mean absolute residuals the loss is essentially squared.
SMOOTH_THRESHOLD = 2
# Relative decrease predicted by a Newton step below which the threshold shrinks: tight while the loss is smooth, since
# later stages only adjust the result.
SHRINK_SMOOTH = 1e-6
SHRINK_ROBUST = 1e-2
# Iterations without a decrease after which the threshold shrinks in any case.
THRESHOLD_PATIENCE = 4
# Relative decrease predicted by a Newton step below which steps are undamped.
CLOSE = 1e-9
# Relative predicted decrease below which a lane that no step improves counts as a flat optimum.
NEARLY = 1e-7
# Iterations without a decrease after which a lane has stalled.
PATIENCE = 12
# Factor by which each undamped step must reduce the predicted decrease; otherwise it is at the limit of rounding.
NEWTON_REDUCTION = 0.5
# Ridge that keeps a factorisation from failing by rounding, relative to the scaling.
RIDGE = 1e-14
# Relative predicted decrease below which a lane ends at once.
DONE = 1e-24


def solve_damped(
    matrix: Float[Array, "size size lane"], g: Float[Array, "size lane"]
) -> tuple[Float[Array, "size lane"], Bool[Array, " lane"]]:
    """Solve ``matrix @ x = g`` for every lane, and report whether the matrix is positive definite.

    Args:
        matrix: shape (p, p, lanes), symmetric.
        g: shape (p, lanes).
    """
    if len(g) <= SMALL:
        return _eliminate(matrix, g)
    lower = jnp.linalg.cholesky(jnp.moveaxis(matrix, -1, 0))
    good = jnp.all(jnp.isfinite(lower), axis=(1, 2))
    lower = jnp.where(good[:, None, None], lower, jnp.eye(g.shape[0], dtype=g.dtype))
    return jax.scipy.linalg.cho_solve((lower, True), g.T[..., None])[..., 0].T, good


def _eliminate(
    matrix: Float[Array, "size size lane"], g: Float[Array, "size lane"]
) -> tuple[Float[Array, "size lane"], Bool[Array, " lane"]]:
    """As :func:`solve_damped`, by elimination over the last axis of lanes: faster than LAPACK for small systems."""
    p = len(g)

    def column(
        j: Int[Value, ""], state: tuple[Float[Array, "size columns lane"], Bool[Array, " lane"]]
    ) -> tuple[Float[Array, "size columns lane"], Bool[Array, " lane"]]:
        table, good = state
        pivot = table[j, j]
        good = good & (pivot > 0) & (pivot < jnp.inf)
        row = table[j] / jnp.where(good, pivot, 1.0)[None]
        here = (jnp.arange(p) == j)[:, None, None]
        return jnp.where(here, row, table - table[:, j, None] * row[None]), good

    start = (jnp.concatenate([matrix, g[:, None]], axis=1), jnp.ones(g.shape[1:], bool))
    # On a device the overhead of an iteration exceeds its work; on a CPU a loop compiles faster.
    table, good = jax.lax.fori_loop(0, p, column, start, unroll=jax.default_backend() != "cpu")
    return table[:, p], good & jnp.all(jnp.isfinite(table[:, p]), axis=0)


class Lanes(eqx.Module):
    """State of a batch of descents; the last axis of every array is that of lanes."""

    z: Float[Array, "size lane"]
    local: Local
    delta: Float[Array, " lane"]
    goal: Float[Array, " lane"]
    damping: Float[Array, " lane"]
    growth: Float[Array, " lane"]
    diagonal: Float[Array, "size lane"]
    newton: Bool[Array, " lane"]
    toward: Float[Array, "size lane"]
    decrement: Float[Array, " lane"]
    still: Int[Array, " lane"]
    status: Int[Array, " lane"]
    steps: Int[Array, " lane"]


def init_lanes(
    problem: Problem,
    z: Float[Array, "size lane"],
    *,
    direct: Bool[Array, " lane"] | bool = False,
    warm: bool = False,
    goal: Float[Array, " lane"] | None = None,
    xp: ModuleType = jnp,
) -> Lanes:
    """Initial state of lanes at their starts; nothing is evaluated yet.

    Args:
        problem: law, inputs, noise.
        z: coordinates, shape (p, lanes).
        direct: mask of lanes, shape (lanes,) or a scalar, that start with the noise's own delta instead of a large
            one that shrinks: they keep to the basin they start in.
        warm: whether the starts are near the optimum, so that the first steps are Newton steps.
        goal: final delta of each lane, shape (lanes,); by default that of the noise.
        xp: array library; NumPy outside of compiled programs.
    """
    p, lanes = z.shape
    ones = xp.ones((lanes,), z.dtype)
    last = ones * xp.asarray(problem.noise.loss.threshold if goal is None else goal, z.dtype)
    none = xp.zeros((p, p, lanes), z.dtype)
    return Lanes(
        z=z,
        local=Local(xp.inf * ones, xp.zeros_like(z), none, none, ones, ones),
        delta=xp.where(xp.asarray(direct) & (last > 0), last, xp.inf),
        goal=last,
        damping=ones * (WARM_DAMPING if warm else DAMPING),
        growth=2.0 * ones,
        diagonal=xp.zeros_like(z),
        newton=xp.full((lanes,), warm),
        toward=xp.zeros_like(z),
        decrement=xp.inf * ones,
        still=xp.zeros((lanes,), xp.int32),
        status=xp.full((lanes,), RUNNING, xp.int32),
        steps=xp.zeros((lanes,), xp.int32),
    )


def _scaling(local: Local, before: Float[Value, "*#coordinate"]) -> Float[Array, "size lane"]:
    # Real parameters may have any unit, so that slopes may differ by many orders of magnitude.
    return scaling(local, before, jnp.finfo(local.g.dtype).eps ** 4)


def _ridge(local: Local) -> Float[Array, "size size lane"]:
    return RIDGE * _scaling(local, 0.0)[None] * jnp.eye(local.g.shape[0], dtype=local.g.dtype)[:, :, None]


def _candidates(lanes: Lanes) -> tuple[Float[Array, "size lane"], Float[Array, "size lane"], Bool[Array, " lane"]]:
    """Steps of the damped exact and the damped majorising model, and whether the first exists."""
    here = lanes.local
    damped = _damping(lanes)
    systems = jnp.concatenate([here.exact + damped, here.safe + damped], axis=-1)
    x, good = solve_damped(systems, jnp.concatenate([here.g] * 2, axis=-1))
    exact, safe = jnp.split(-x, 2, axis=-1)
    return exact, safe, jnp.split(good, 2)[0]


def _damping(lanes: Lanes) -> Float[Array, "size size lane"]:
    eye = jnp.eye(len(lanes.z), dtype=lanes.z.dtype)[:, :, None]
    return lanes.damping[None, None] * lanes.diagonal[None] * eye + _ridge(lanes.local)


def _limit_runaway(
    lanes: Lanes, d: Float[Array, "size lane"], use_exact: Bool[Array, " lane"], logarithmic: Bool[Array, " size"]
) -> Float[Array, "size lane"]:
    """Limit coordinates that tend to minus infinity to the step cap, and solve for the others given that.

    In the logarithm of a number whose optimum is not positive the predicted step is unbounded: scaling the whole step
    to the cap would leave all other coordinates nearly unchanged.
    """
    here = lanes.local
    falls = logarithmic[:, None] & (d < -RUNAWAY)
    known = jnp.where(falls, -STEP_CAP, 0.0)
    matrix = jnp.where(use_exact, here.exact, here.safe) + _damping(lanes)
    target = jnp.where(falls, known, -here.g - jnp.sum(matrix * known[None], axis=1))
    eye = jnp.eye(len(d), dtype=d.dtype)[:, :, None]
    matrix = jnp.where(falls[:, None] | falls[None], eye, matrix)
    moved, good = solve_damped(matrix, target)
    return jnp.where(jnp.any(falls, axis=0) & good, moved, d)


def _newton(local: Local) -> tuple[Float[Array, "size lane"], Float[Array, " lane"]]:
    """Undamped Newton step and predicted decrease ``g' H^-1 g / 2``; infinite where H is not positive definite."""
    x, good = solve_damped(local.exact + _ridge(local), local.g)
    dot = jnp.sum(x * local.g, axis=0)
    return -x, jnp.where(good & (dot >= 0), 0.5 * dot, jnp.inf)


class _Stage(eqx.Module):
    """Continuation stage: threshold of a robust loss; lanes that only evaluate there; lanes near their optimum.

    ``rounding`` is the rounding error of the objective.
    """

    rounding: Float[Array, " lane"]
    goal: Float[Array, " lane"]
    delta: Float[Array, " lane"]
    stay: Bool[Array, " lane"]
    close: Bool[Array, " lane"]


class _Trial(eqx.Module):
    """Trial step: the models at its end, the actual and both predicted decreases, and the gain ratio."""

    d: Float[Array, "size lane"]
    there: Local
    finite: Bool[Array, " lane"]
    actual: Float[Array, " lane"]
    predicted_exact: Float[Array, " lane"]
    predicted_safe: Float[Array, " lane"]
    ratio: Float[Array, " lane"]


class _Verdict(eqx.Module):
    """Whether the step is accepted, the Newton step that follows, and whether undamped steps still converge."""

    accept: Bool[Array, " lane"]
    toward: Float[Array, "size lane"]
    decrement: Float[Array, " lane"]
    converges: Bool[Array, " lane"]


def _step(
    problem: Problem,
    lanes: Lanes,
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
    rows: Float[Array, " lane"],
) -> Lanes:
    """One iteration of every running lane."""
    stage = _stage(problem, lanes, rows)
    d, use_exact = _propose(problem, lanes, stage)
    there = evaluate(problem, lanes.z + d, stage.delta, target, weight)
    trial = _trial(lanes.local, d, use_exact, there)
    moved = _update(lanes, stage, trial, _verdict(lanes, stage, trial))
    running = lanes.status == RUNNING
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, lanes)


def _stage(problem: Problem, lanes: Lanes, rows: Float[Array, " lane"]) -> _Stage:
    """Continuation in the threshold of a robust loss, which shrinks once a lane has nearly converged.

    Args:
        problem: law, inputs, noise.
        lanes: state of the lanes.
        rows: sum of the weights of each lane.
    """
    here, delta, first, rounding = lanes.local, lanes.delta, lanes.steps == 0, rounding_error(lanes.local)
    mean = here.spread / jnp.maximum(rows, jnp.finfo(lanes.z.dtype).eps)
    goal = lanes.goal
    if problem.noise.loss.vertex:
        goal = jnp.where(~first & (delta > goal), VERTEX * mean, goal)
    share = jnp.where(delta > SMOOTH_THRESHOLD * mean, SHRINK_SMOOTH, SHRINK_ROBUST)
    settled = _predicts_at_most(lanes, share, rounding) | (lanes.still >= THRESHOLD_PATIENCE)
    smaller = jnp.minimum(delta / THRESHOLD_DIVISION, mean)
    smaller = jnp.where(jnp.isinf(delta), FIRST_THRESHOLD * mean, smaller)
    fresh = ~first & (delta > goal) & (jnp.isinf(delta) | settled)
    delta = jnp.where(fresh, jnp.maximum(goal, smaller), delta)
    stay = first | fresh
    return _Stage(rounding, goal, delta, stay, ~stay & _predicts_at_most(lanes, CLOSE, rounding) & (delta <= goal))


def _predicts_at_most(
    lanes: Lanes, share: Float[Value, "*#lane"], rounding: Float[Array, " lane"]
) -> Bool[Array, " lane"]:
    """Whether the decrease predicted by a Newton step is below a relative tolerance, up to rounding."""
    return lanes.decrement <= share * jnp.abs(lanes.local.f) + rounding


def _propose(problem: Problem, lanes: Lanes, stage: _Stage) -> tuple[Float[Array, "size lane"], Bool[Array, " lane"]]:
    """Step of every lane within its trust radius, and whether the exact model proposed it."""
    exact, safe, good = _candidates(lanes)
    use_exact = stage.close if problem.reweighted else good & lanes.newton | stage.close
    bounded = bounded_coordinates(problem)
    d = _limit_runaway(lanes, jnp.where(use_exact, exact, safe), use_exact, bounded)
    d = within_trust_radius(jnp.where(stage.close, lanes.toward, d), bounded)
    return jnp.where(stage.stay | ~jnp.all(jnp.isfinite(d), axis=0), 0.0, d), use_exact


def _trial(here: Local, d: Float[Array, "size lane"], use_exact: Bool[Array, " lane"], there: Local) -> _Trial:
    """Compare the decrease of the objective by a step with the predictions of both models."""
    finite = jnp.isfinite(there.f) & jnp.all(jnp.isfinite(there.g), axis=0)
    slope = jnp.sum(here.g * d, axis=0)
    exact, safe = (-(slope + 0.5 * quadratic_form(matrix, d)) for matrix in (here.exact, here.safe))
    actual = jnp.where(finite, here.f - there.f, -jnp.inf)
    return _Trial(d, there, finite, actual, exact, safe, gain_ratio(actual, jnp.where(use_exact, exact, safe)))


def _verdict(lanes: Lanes, stage: _Stage, trial: _Trial) -> _Verdict:
    """Accept or reject a step: by the gain ratio, or near the optimum, where values are rounding, by the gradient."""
    toward, promise = _newton(trial.there)
    decrement = jnp.where(trial.finite, promise, jnp.inf)
    converges = stage.close & trial.finite & (decrement < NEWTON_REDUCTION * lanes.decrement)
    converges = converges & (trial.actual >= -stage.rounding)
    decreases = (trial.ratio > GAIN_ACCEPTED) & (trial.actual > 0)
    accept = trial.finite & jnp.where(stage.close, converges, decreases) | stage.stay
    return _Verdict(accept, toward, decrement, converges)


def _update(lanes: Lanes, stage: _Stage, trial: _Trial, verdict: _Verdict) -> Lanes:
    """State of the lanes after a step: coordinates, damping, model and status."""
    accept = verdict.accept
    damping, growth = damping_update(lanes.damping, lanes.growth, trial.ratio, accept)
    better = jnp.abs(trial.actual - trial.predicted_exact) <= jnp.abs(trial.actual - trial.predicted_safe)
    small = jnp.abs(trial.actual) <= SMALL_DECREASE * jnp.abs(lanes.local.f) + stage.rounding
    still = jnp.where(stage.stay | accept & ~small, 0, lanes.still + 1)
    kept: Array = stage.stay | stage.close
    select = functools.partial(jnp.where, accept)
    return Lanes(
        z=select(lanes.z + trial.d, lanes.z),
        local=jax.tree.map(select, trial.there, lanes.local),
        delta=stage.delta,
        goal=stage.goal,
        damping=jnp.where(kept, lanes.damping, damping),
        growth=jnp.where(kept, lanes.growth, growth),
        diagonal=select(_scaling(trial.there, lanes.diagonal), lanes.diagonal),
        newton=jnp.where(jnp.logical_or(stage.stay, ~trial.finite), lanes.newton, better),
        toward=select(verdict.toward, lanes.toward),
        decrement=select(verdict.decrement, lanes.decrement),
        still=still,
        status=_status(lanes, stage, trial, verdict, (still >= PATIENCE) | (damping >= MOST_DAMPING)),
        steps=lanes.steps + 1,
    )


def _status(
    lanes: Lanes, stage: _Stage, trial: _Trial, verdict: _Verdict, fails: Bool[Array, " lane"]
) -> Int[Array, " lane"]:
    """Status of every lane after a step; ``fails`` marks lanes that further damped steps do not improve."""
    stuck = ~stage.close & (stage.delta <= stage.goal) & fails
    ended = jnp.where(stuck, jnp.where(_predicts_at_most(lanes, NEARLY, stage.rounding), FLAT, STALLED), RUNNING)
    # Converged: the gradient no longer decreases, or the predicted decrease is negligible.
    done = verdict.decrement <= DONE * jnp.abs(lanes.local.f)
    first = jnp.where((lanes.steps == 0) & ~trial.finite, NONFINITE, ended)
    return jnp.where(stage.close & (~verdict.converges | done), CONVERGED, first).astype(jnp.int32)


def advance(
    problem: Problem,
    lanes: Lanes,
    response: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
    steps: Int[Value, ""],
    enough: int | None = None,
) -> Lanes:
    """Run all lanes until each has stopped, or for ``steps`` iterations.

    Args:
        problem: law, inputs, noise.
        lanes: from :func:`init_lanes` or an earlier call.
        response: shape (lanes, n).
        weight: shape (lanes, n).
        steps: maximum number of iterations of this call.
        enough: number of lanes that must have converged to the lowest objective to stop early.
    """
    return iterate(problem, lanes, problem.noise.transform(response), weight, steps, enough)


def iterate(
    problem: Problem,
    lanes: Lanes,
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
    steps: Int[Value, ""],
    enough: int | None = None,
) -> Lanes:
    """As :func:`advance`, for responses that are already in the residual space."""
    rows = jnp.sum(weight, axis=-1)

    def unfinished(state: tuple[Int[Array, ""], Lanes]) -> Bool[Array, ""]:
        k, current = state
        on = (k < steps) & jnp.any(current.status == RUNNING)
        if enough is None:
            return on
        f = jnp.where(jnp.isfinite(current.local.f), current.local.f, jnp.inf)
        return on & (jnp.sum(lowest(f) & (current.status == CONVERGED)) < enough)

    def body(state: tuple[Int[Array, ""], Lanes]) -> tuple[Int[Array, ""], Lanes]:
        k, current = state
        return k + 1, _step(problem, current, target, weight, rows)

    return jax.lax.while_loop(unfinished, body, (jnp.asarray(0), lanes))[1]


def lowest(f: Float[Array, " lane"]) -> Bool[Array, " lane"]:
    """Mask of the lowest objectives, up to rounding."""
    least = jnp.min(f)
    return f <= least + 1e3 * jnp.finfo(f.dtype).eps * jnp.abs(least)
