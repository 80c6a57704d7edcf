"""The descent: many damped Newton lanes in lock step, batch innermost.

Every lane carries two local models of the objective at its point: the majorising Gauss-Newton
model (safe far away) and the exact Hessian (fast near the end, and where a Huber loss with a
small delta makes reweighting crawl). The model that predicted the last step better takes the
next one. Robust losses with a small delta start from a large delta that shrinks as the lane
settles. Near the optimum pure Newton steps go on until the gradient is rounding noise.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxscale.engine.objective import Local, Problem, evaluate
from jaxscale.law.coordinates import curved
from jaxscale.noise.loss import VERTEX

RUNNING, CONVERGED, FLAT, STALLED, NONFINITE = range(5)
STATUS = {
    RUNNING: "max_steps",
    CONVERGED: "converged",
    FLAT: "flat",
    STALLED: "stalled",
    NONFINITE: "nonfinite",
}
# Iterations after which the finished lanes of a pool make room.
EVERY = 2
# Systems up to this size are solved by elimination; beyond it LAPACK takes over, which no law of the catalogue needs.
SMALL = 40
STEP_CAP = 1.0
# A step in a logarithm below this is that of a number that is to vanish.
RUNAWAY = 8.0
# A lane is done when a further Newton step promises less than this share of its objective.
DONE = 1e-24


def solve_damped(matrix: Any, g: Any) -> tuple[Any, Any]:
    """Solve ``matrix @ x = g`` for every lane; also whether the matrix was positive definite.

    Args:
        matrix: shape (p, p, lanes), symmetric.
        g: shape (p, lanes).
    """
    if len(g) <= SMALL:
        return _eliminated(matrix, g)
    lower = jnp.linalg.cholesky(jnp.moveaxis(matrix, -1, 0))
    good = jnp.all(jnp.isfinite(lower), axis=(1, 2))
    lower = jnp.where(good[:, None, None], lower, jnp.eye(g.shape[0], dtype=g.dtype))
    return jax.scipy.linalg.cho_solve((lower, True), g.T[..., None])[..., 0].T, good


def _eliminated(matrix: Any, g: Any) -> tuple[Any, Any]:
    """The same by elimination with the lanes innermost: faster than a library's solver where systems are small."""
    p = len(g)

    def column(j: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        table, good = state
        pivot = table[j, j]
        good = good & (pivot > 0) & (pivot < jnp.inf)
        row = table[j] / jnp.where(good, pivot, 1.0)
        here = (jnp.arange(p) == j)[:, None, None]
        return jnp.where(here, row, table - table[:, j, None] * row), good

    start = (jnp.concatenate([matrix, g[:, None]], axis=1), jnp.ones(g.shape[1:], bool))
    # A device takes longer to begin a round of a loop than to go through one; cores compile the loop faster.
    table, good = jax.lax.fori_loop(0, p, column, start, unroll=jax.default_backend() != "cpu")
    return table[:, p], good & jnp.all(jnp.isfinite(table[:, p]), axis=0)


class Lanes(eqx.Module):
    """The state of a batch of descents; every array ends in the lane axis."""

    z: Any
    local: Local
    delta: Any
    goal: Any
    damping: Any
    growth: Any
    diagonal: Any
    newton: Any
    toward: Any
    decrement: Any
    still: Any
    status: Any
    steps: Any


def begin(
    problem: Problem, z: Any, *, direct: Any = False, warm: bool = False, goal: Any = None, xp: Any = jnp
) -> Lanes:
    """Lanes at their starts; nothing is evaluated yet.

    Args:
        problem: law, inputs, noise.
        z: coordinates, shape (p, lanes).
        direct: lanes, shape (lanes,) or all, that begin with the noise's own delta instead of a large one that
            shrinks: they keep to the basin they start in.
        warm: the starts are near the optimum: begin with Newton steps.
        goal: the delta each lane ends with, shape (lanes,); the noise's own unless given.
        xp: the array library; NumPy at the front doors, where nothing need be compiled for it.
    """
    p, lanes = z.shape
    ones = xp.ones((lanes,), z.dtype)
    goal = ones * xp.asarray(problem.noise.loss.threshold if goal is None else goal, z.dtype)
    none = xp.zeros((p, p, lanes), z.dtype)
    return Lanes(
        z=z,
        local=Local(xp.inf * ones, xp.zeros_like(z), none, none, ones, ones),
        delta=xp.where(xp.asarray(direct) & (goal > 0), goal, xp.inf),
        goal=goal,
        damping=ones * (1e-8 if warm else 1e-2),
        growth=2.0 * ones,
        diagonal=xp.zeros_like(z),
        newton=xp.full((lanes,), warm),
        toward=xp.zeros_like(z),
        decrement=xp.inf * ones,
        still=xp.zeros((lanes,), xp.int32),
        status=xp.full((lanes,), RUNNING, xp.int32),
        steps=xp.zeros((lanes,), xp.int32),
    )


def _diagonal(local: Local, before: Any) -> Any:
    """Marquardt's scaling, which forgets: a start far away must not freeze a parameter for good."""
    current = jnp.diagonal(local.safe).T
    limits = jnp.finfo(current.dtype)
    # Plain numbers have any unit, so that slopes may differ by many powers of ten.
    return jnp.maximum(jnp.maximum(0.3 * before, current), limits.eps**4 * jnp.max(current, axis=0) + limits.tiny)


def _ridge(local: Local) -> Any:
    """What keeps a factorisation from failing on rounding alone."""
    return 1e-14 * _diagonal(local, 0.0)[None] * jnp.eye(local.g.shape[0], dtype=local.g.dtype)[:, :, None]


def _candidates(lanes: Lanes) -> tuple[Any, Any, Any]:
    """Steps by the damped exact and the damped majorising model, and whether the first exists."""
    here = lanes.local
    damped = _damping(lanes)
    systems = jnp.concatenate([here.exact + damped, here.safe + damped], axis=-1)
    x, good = solve_damped(systems, jnp.concatenate([here.g] * 2, axis=-1))
    exact, safe = jnp.split(-x, 2, axis=-1)
    return exact, safe, jnp.split(good, 2)[0]


def _damping(lanes: Lanes) -> Any:
    eye = jnp.eye(len(lanes.z), dtype=lanes.z.dtype)[:, :, None]
    return lanes.damping * lanes.diagonal[None] * eye + _ridge(lanes.local)


def _bounded(lanes: Lanes, d: Any, use_exact: Any, logarithmic: Any) -> Any:
    """The step in which what is to vanish falls by the cap, and the other coordinates move as suits that.

    In the logarithm of a number that would best be negative a model asks for a step without end: the whole step, cut to
    the cap, would hold all other coordinates where they are.
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


def _newton(local: Local) -> tuple[Any, Any]:
    """The undamped Newton step and what it promises, ``g' H^-1 g / 2``; infinite where H is not positive definite."""
    x, good = solve_damped(local.exact + _ridge(local), local.g)
    dot = jnp.sum(x * local.g, axis=0)
    return -x, jnp.where(good & (dot >= 0), 0.5 * dot, jnp.inf)


def _step(problem: Problem, lanes: Lanes, target: Any, weight: Any, rows: Any) -> Lanes:
    """One iteration of every running lane."""
    p, here = lanes.z.shape[0], lanes.local
    eps, tiny = jnp.finfo(lanes.z.dtype).eps, jnp.finfo(lanes.z.dtype).tiny
    first = lanes.steps == 0
    noise_floor = 8 * eps * jnp.abs(here.f) + here.rounding
    exact, safe, good = _candidates(lanes)
    decrement = lanes.decrement

    # A robust loss starts from a large delta; once settled there, or stuck, the lane goes on with a smaller one.
    mean = here.spread / jnp.maximum(rows, eps)
    goal = lanes.goal
    if problem.noise.loss.vertex:
        goal = jnp.where(~first & (lanes.delta > goal), VERTEX * mean, goal)
    # The first stages walk the whole valley while the loss is smooth; later ones only adjust.
    settled = decrement <= jnp.where(lanes.delta > 2 * mean, 1e-6, 1e-2) * jnp.abs(here.f) + noise_floor
    fresh = ~first & (lanes.delta > goal) & (jnp.isinf(lanes.delta) | settled | (lanes.still >= 4))
    smaller = jnp.where(jnp.isinf(lanes.delta), 3 * mean, jnp.minimum(lanes.delta / 8, mean))
    delta = jnp.where(fresh, jnp.maximum(goal, smaller), lanes.delta)
    stay = first | fresh
    close = ~stay & (decrement <= 1e-9 * jnp.abs(here.f) + noise_floor) & (delta <= goal)

    use_exact = close if problem.reweighted else good & lanes.newton | close
    capped = jnp.asarray([*curved(problem.law, problem.free), *([True] * (p - len(problem.free)))])
    d = _bounded(lanes, jnp.where(use_exact, exact, safe), use_exact, capped)
    d = jnp.where(close, lanes.toward, d)
    longest = jnp.max(jnp.where(capped[:, None], jnp.abs(d), 0.0), axis=0)
    d = d * jnp.minimum(1.0, STEP_CAP / jnp.maximum(longest, STEP_CAP * 1e-3))
    d = jnp.where(stay | ~jnp.all(jnp.isfinite(d), axis=0), 0.0, d)
    z = lanes.z + d
    there = evaluate(problem, z, delta, target, weight)
    finite = jnp.isfinite(there.f) & jnp.all(jnp.isfinite(there.g), axis=0)

    slope = jnp.sum(here.g * d, axis=0)
    promised_safe = -(slope + 0.5 * jnp.sum(d[:, None] * here.safe * d[None, :], axis=(0, 1)))
    promised_exact = -(slope + 0.5 * jnp.sum(d[:, None] * here.exact * d[None, :], axis=(0, 1)))
    actual = jnp.where(finite, here.f - there.f, -jnp.inf)
    ratio = actual / jnp.maximum(jnp.where(use_exact, promised_exact, promised_safe), tiny)
    # Near the end the value is rounding noise; the gradient, in the metric of the Hessian, is not yet.
    toward, promise = _newton(there)
    after = jnp.where(finite, promise, jnp.inf)
    settle = close & finite & (after < 0.5 * decrement) & (actual >= -noise_floor)
    accept = finite & jnp.where(close, settle, (ratio > 1e-4) & (actual > 0)) | stay
    better = jnp.abs(actual - promised_exact) <= jnp.abs(actual - promised_safe)

    easier = jnp.maximum(1 / 5, 1 - (2 * jnp.clip(ratio, 0, 1) - 1) ** 3)
    damping = jnp.clip(lanes.damping * jnp.where(accept, easier, lanes.growth), 1e-15, 1e15)
    growth = jnp.where(accept, 4.0, jnp.minimum(lanes.growth * 2, 64.0))
    small = jnp.abs(actual) <= 1e-12 * jnp.abs(here.f) + noise_floor
    still = jnp.where(stay | accept & ~small, 0, lanes.still + 1)
    stuck = ~close & (delta <= goal) & ((still >= 12) | (damping >= 1e15))
    nearly = decrement <= 1e-7 * jnp.abs(here.f) + noise_floor
    ended = jnp.where(stuck, jnp.where(nearly, FLAT, STALLED), RUNNING)
    # At the end the gradient no longer falls, or what is left of it is far below any digit that is printed.
    over = close & (~settle | (after <= DONE * jnp.abs(here.f)))
    status = jnp.where(over, CONVERGED, jnp.where(first & ~finite, NONFINITE, ended))
    moved = Lanes(
        z=jnp.where(accept, z, lanes.z),
        local=jax.tree.map(lambda a, b: jnp.where(accept, a, b), there, here),
        delta=delta,
        goal=goal,
        damping=jnp.where(stay | close, lanes.damping, damping),
        growth=jnp.where(stay | close, lanes.growth, growth),
        diagonal=jnp.where(accept, _diagonal(there, lanes.diagonal), lanes.diagonal),
        newton=jnp.where(stay | ~finite, lanes.newton, better),
        toward=jnp.where(accept, toward, lanes.toward),
        decrement=jnp.where(accept, after, decrement),
        still=still,
        status=status.astype(jnp.int32),
        steps=lanes.steps + 1,
    )
    running = lanes.status == RUNNING
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, lanes)


def advance(problem: Problem, lanes: Lanes, response: Any, weight: Any, steps: Any, enough: int | None = None) -> Lanes:
    """Run all lanes until each has stopped, or for ``steps`` iterations.

    Args:
        problem: law, inputs, noise.
        lanes: from :func:`begin` or an earlier call.
        response: shape (lanes, n).
        weight: shape (lanes, n).
        steps: most iterations of this call.
        enough: stop as soon as so many lanes have converged to one objective that no other lane is below.
    """
    return _stepped(problem, lanes, problem.noise.transform(response), weight, steps, enough)


def _stepped(problem: Problem, lanes: Lanes, target: Any, weight: Any, steps: Any, enough: int | None = None) -> Lanes:
    rows = jnp.sum(weight, axis=-1)

    def going(state: Any) -> Any:
        k, current = state
        on = (k < steps) & jnp.any(current.status == RUNNING)
        if enough is None:
            return on
        f = jnp.where(jnp.isfinite(current.local.f), current.local.f, jnp.inf)
        return on & (jnp.sum(lowest(f) & (current.status == CONVERGED)) < enough)

    def body(state: Any) -> Any:
        k, current = state
        return k + 1, _step(problem, current, target, weight, rows)

    return jax.lax.while_loop(going, body, (jnp.asarray(0), lanes))[1]


def lowest(f: Any) -> Any:
    """Which of some objectives are the lowest, up to rounding."""
    least = jnp.min(f)
    return f <= least + 1e3 * jnp.finfo(f.dtype).eps * jnp.abs(least)


def settle(problem: Problem, pool: Lanes, response: Any, weight: Any, budget: Any, width: int) -> Lanes:
    """Run every lane of a pool until it has stopped or used its budget, some side by side.

    A lane that is done makes room for the next, so that no lane waits for the slowest. What a lane does
    depends neither on its neighbours nor on its place.

    Args:
        problem: law, inputs, noise; with ``apart`` every lane's own.
        pool: any number of lanes, of which the running ones are advanced.
        response: shape (lanes, n).
        weight: shape (lanes, n).
        budget: most iterations of each lane in this call, a multiple of ``EVERY``.
        width: lanes side by side.
    """
    count = pool.status.shape[0]
    target = problem.noise.transform(response)
    running = pool.status == RUNNING
    # The running lanes in order, then places outside the pool: reading these is harmless and writing has no effect.
    order = jnp.argsort(~running, stable=True)
    order = jnp.where(jnp.arange(count) < jnp.sum(running), order, count)
    order = jnp.concatenate([order, jnp.full((width,), count, order.dtype)])

    def loaded(slot: Any) -> tuple[Problem, Lanes, Any, Any]:
        place = jnp.minimum(slot, count - 1)
        lanes = jax.tree.map(lambda a: a[..., place], pool)
        idle = jnp.where(slot < count, lanes.status, FLAT)
        return problem.own(place), eqx.tree_at(lambda s: s.status, lanes, idle), target[place], weight[place]

    def round(state: Any) -> Any:
        slot, following, done, own, lanes, target, weight, left = state
        lanes = _stepped(own, lanes, target, weight, EVERY)
        left = left - EVERY
        done = jax.tree.map(lambda whole, part: whole.at[..., slot].set(part, mode="drop"), done, lanes)
        over = (lanes.status != RUNNING) | (left <= 0)
        rank = jnp.cumsum(over) - 1
        fresh = jnp.where(over, order[jnp.minimum(following + rank, len(order) - 1)], slot)
        new = loaded(fresh)
        lanes = jax.tree.map(lambda a, b: jnp.where(over, a, b), new[1], lanes)
        left = jnp.where(over, budget, left)
        return fresh, following + jnp.sum(over), done, new[0], lanes, new[2], new[3], left

    slot = order[:width]
    own, lanes, first, heavy = loaded(slot)
    left = jnp.full((width,), budget)
    state = (slot, jnp.asarray(width), pool, own, lanes, first, heavy, left)
    return jax.lax.while_loop(lambda state: jnp.any(state[0] < count), round, state)[2]
