"""The descent: many damped Newton lanes in lock step, batch innermost.

Every lane carries two local models of the objective at its point: the majorising Gauss-Newton
model (safe far away) and the exact Hessian (fast near the end, and where a Huber loss with a
small delta makes reweighting crawl). The model that predicted the last step better takes the
next one. Robust losses with a small delta start from a large delta that shrinks as the lane
settles. Near the optimum pure Newton steps go on until the gradient is rounding noise.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxscale.coordinates import Centre, curved, to_params
from jaxscale.derivatives import expansion, value
from jaxscale.law import Law
from jaxscale.noise import Noise

RUNNING, CONVERGED, FLAT, STALLED, NONFINITE = range(5)
STATUS = {
    RUNNING: "max_steps",
    CONVERGED: "converged",
    FLAT: "flat",
    STALLED: "stalled",
    NONFINITE: "nonfinite",
}
BLOCK = 512
# Iterations after which the finished lanes of a pool make room.
EVERY = 2
# Systems up to this size are solved by elimination.
SMALL = 12
STEP_CAP = 1.0
VERTEX = 0.03
# A lane is done when a further Newton step promises less than this share of its objective.
DONE = 1e-24


class Problem(eqx.Module):
    """One law on one data set under one noise: everything a lane needs but its weights and responses.

    Rows are the last axis of an input, also where each holds several numbers. With ``apart`` every lane has its own
    inputs (lanes, n), centre and values. ``held`` maps a free parameter to a flag and a value: where the flag is set
    the parameter has the value, whatever its coordinate; laws nested in one another so share a program. With
    ``reweighted`` only the majorising model takes steps, until the very end.
    """

    law: Law = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    noise: Noise
    inputs: dict[str, Any]
    fixed: dict[str, Any]
    centre: Centre
    apart: bool = eqx.field(static=True, default=False)
    held: dict[str, tuple[Any, Any]] = eqx.field(default_factory=dict)
    reweighted: bool = eqx.field(static=True, default=False)

    def own(self, place: Any) -> "Problem":
        """The problem of the lanes at some places, where data sets are fitted together."""
        if not self.apart:
            return self
        parts = (self.inputs, self.centre, self.fixed, self.held)
        taken = jax.tree.map(lambda a: a[place], parts)
        return eqx.tree_at(lambda s: (s.inputs, s.centre, s.fixed, s.held), self, taken)

    @property
    def lane_axes(self) -> Any:
        """Which leaves have an axis of lanes, for ``vmap`` at given rows."""
        shared = jax.tree.map(lambda _: None, self)
        if not self.apart:
            return shared
        mapped = jax.tree.map(lambda _: 0, (self.centre, self.fixed, self.held))
        return eqx.tree_at(lambda s: (s.centre, s.fixed, s.held), shared, mapped, is_leaf=lambda leaf: leaf is None)

    @property
    def row_axes(self) -> Any:
        """The same for one row of inputs."""
        return {name: 0 if self.apart else None for name in self.law.inputs}

    @property
    def size(self) -> int:
        """Number of coordinates: the free parameters, and the log scale of the noise where it is fitted."""
        return len(self.free) + self.noise.infers_scale

    def params(self, z: Any) -> dict[str, Any]:
        """Parameters by name at coordinates ``z[k]``."""
        return to_params(self.law, self.centre, self.free, z, self.fixed, self.held)

    def predict(self, z: Any, inputs: Mapping[str, Any]) -> Any:
        """The law at coordinates z for one row of inputs."""
        return value(self.law, inputs, self.params(z))

    def log_scale(self, z: Any, column: bool = False) -> Any:
        """The log scale of the noise: the last coordinate where it is fitted; as a column beside rows of lanes."""
        if self.noise.infers_scale:
            return z[len(self.free)][:, None] if column else z[len(self.free)]
        return 0.0 if self.noise.scale is None else jnp.log(self.noise.scale)


def loss(noise: Noise, r: Any, delta: Any, log_scale: Any) -> Any:
    """``rho(r)``: the cost of one residual, with ``delta`` in place of the noise's own."""
    if noise.loss == "student_t":
        t = r * jnp.exp(-log_scale)
        return log_scale + 0.5 * (noise.df + 1) * jnp.log1p(t * t / noise.df)
    inside = jnp.clip(r, -delta, delta)
    return inside * (r - 0.5 * inside)


def slopes(noise: Noise, r: Any, delta: Any, log_scale: Any) -> tuple[Any, Any, Any]:
    """``rho'(r)``, ``rho''(r)`` and the weight ``rho'(r) / r`` of the majorising parabola."""
    if noise.loss == "student_t":
        inverse = jnp.exp(-2 * log_scale)
        below = noise.df + r * r * inverse
        weight = (noise.df + 1) * inverse / below
        return weight * r, weight * (1 - 2 * r * r * inverse / below), weight
    inside = jnp.abs(r) <= delta
    tiny = jnp.finfo(r.dtype).tiny
    weight = jnp.where(inside, 1.0, delta / jnp.maximum(jnp.abs(r), tiny))
    return jnp.clip(r, -delta, delta), inside.astype(r.dtype), weight


class Local(eqx.Module):
    """The objective of each lane at its point: value, gradient, two Hessians.

    ``spread`` is the sum of absolute residuals, ``rounding`` what rounding alone can do to the value.
    """

    f: Any
    g: Any
    safe: Any
    exact: Any
    spread: Any
    rounding: Any


class _Rows(eqx.Module):
    """What some rows say of each lane, shape (lanes, rows): the factors of the derivatives.

    With ``y`` the law's value, the gradient is ``sum pull * dy``, the majorising Hessian ``sum safe * dy dy'`` and
    the exact one ``sum bend * dy dy' + sum pull * ddy``. ``sums`` holds value, spread and rounding, and with a
    fitted scale of the noise the value's two derivatives in it, shape (lanes, sums); ``tilt`` is that of ``pull``.
    """

    pull: Any
    safe: Any
    bend: Any
    sums: Any
    tilt: Any


def _factors(problem: Problem, y: Any, log_scale: Any, delta: Any, target: Any, weight: Any) -> _Rows:
    """The factors at the law's values y, shape (lanes, rows)."""
    noise = problem.noise
    keep = weight != 0
    w = jnp.where(keep, weight, 0.0)
    # What a row of weight 0 holds, or the law's value there, must not matter.
    y = jnp.where(keep, y, 0.5 if noise.space == "logit" else 1.0)
    target = jnp.where(keep, target, 0.0)
    r = jnp.where(keep, noise.transform(y) - target, 0.0)
    first, second, majorant = slopes(noise, r, delta, log_scale)
    if noise.space == "linear":
        stretch, stretched = 1.0, 0.0
    elif noise.space == "log":
        stretch = 1 / y
        stretched = -stretch * stretch
    else:
        stretch = 1 / (y * (1 - y))
        stretched = (2 * y - 1) * stretch * stretch
    pull = w * first * stretch
    squared = w * stretch * stretch
    # A residual is a difference of two numbers of the target's size, each rounded.
    slip = 8 * jnp.finfo(r.dtype).eps * (jnp.abs(target) + (noise.space != "linear"))
    sums = [w * loss(noise, r, delta, log_scale), w * jnp.abs(r), w * slip * (jnp.abs(first) + slip)]
    tilt = None
    if noise.infers_scale:
        # The cost depends on the scale too: its own derivatives are exact and positive.
        def cost(s: Any) -> Any:
            return w * loss(noise, r, delta, s)

        def pulled(s: Any) -> Any:
            return w * slopes(noise, r, delta, s)[0] * stretch

        def slope(function: Any) -> Any:
            return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]

        sums += [slope(cost)(log_scale), slope(slope(cost))(log_scale)]
        tilt = slope(pulled)(log_scale)
    totals = dot("wqr,r->wq", jnp.stack(sums, axis=1), jnp.ones(r.shape[1], r.dtype))
    return _Rows(pull, squared * majorant, squared * second + w * first * stretched, totals, tilt)


def dot(subscripts: str, *arrays: Any) -> Any:
    """``einsum`` in full precision on every device."""
    return jnp.einsum(subscripts, *arrays, precision=jax.lax.Precision.HIGHEST)


def _per_lane(problem: Problem, function: Any) -> Any:
    """``function(problem, z, rest)`` for every lane, the first axis of z."""
    return jax.vmap(function, in_axes=(problem.lane_axes, 0, problem.row_axes))


def _total(problem: Problem, z: Any, delta: Any, inputs: Any, target: Any, weight: Any) -> Any:
    """What some rows add to :class:`Local`."""
    size = len(problem.free)

    def expanded(problem: Problem, z: Any, row: Any) -> Any:
        return expansion(lambda z, rest: rest[0].predict(z, rest[1]), z, (problem, row))

    over_one = jax.vmap(expanded, in_axes=(None, None, -1))
    y, slope, second = _per_lane(problem, over_one)(problem, tuple(z[:size]), inputs)
    rows = _factors(problem, y, problem.log_scale(z, True), delta[:, None], target, weight)
    slopes = jnp.stack(slope, axis=1)
    present = [twice for twice in second if twice is not None]
    linear = dot("wqr,wr->wq", jnp.stack([*slope, *present], axis=1), rows.pull)
    safe, exact = _products(rows, slopes)
    place, bent = size, []
    for (k, m), twice in zip(_pairs(size), second, strict=True):
        bent.append(exact[:, k, m] if twice is None else exact[:, k, m] + linear[:, place])
        place += twice is not None
    exact = _square(jnp.stack(bent), size)
    return _together(rows, linear[:, :size].T, jnp.moveaxis(safe, 0, -1), exact, slopes)


def _products(rows: _Rows, slopes: Any) -> tuple[Any, Any]:
    """``sum safe * dy dy'`` and ``sum bend * dy dy'``, shape (lanes, p, p)."""
    weighted = jnp.concatenate([rows.safe[:, None] * slopes, rows.bend[:, None] * slopes], axis=1)
    both = dot("wpr,wqr->wpq", weighted, slopes)
    return both[:, : slopes.shape[1]], both[:, slopes.shape[1] :]


def _together(rows: _Rows, g: Any, safe: Any, exact: Any, slopes: Any) -> Local:
    """The parts as one, with the derivatives in a fitted scale of the noise; lanes last."""
    f, spread, rounding, *scale = rows.sums.T
    if scale:
        once, corner = scale
        edge = dot("wqr,wr->wq", slopes, rows.tilt).T
        g = jnp.concatenate([g, once[None]])
        safe, exact = _bordered(safe, jnp.zeros_like(edge), corner), _bordered(exact, edge, corner)
    return Local(f, g, safe, exact, spread, rounding)


def _bordered(matrix: Any, edge: Any, corner: Any) -> Any:
    below = jnp.concatenate([edge, corner[None]])
    return jnp.concatenate([jnp.concatenate([matrix, edge[:, None]], axis=1), below[None]])


def _pairs(size: int) -> list[tuple[int, int]]:
    return [(k, m) for k in range(size) for m in range(k + 1)]


def _square(packed: Any, size: int) -> Any:
    """A symmetric matrix of shape (size, size, lanes) from its lower triangle by rows."""
    place = {pair: i for i, pair in enumerate(_pairs(size))}
    rows = [jnp.stack([packed[place[max(k, m), min(k, m)]] for m in range(size)]) for k in range(size)]
    return jnp.stack(rows)


def evaluate(problem: Problem, z: Any, delta: Any, target: Any, weight: Any) -> Local:
    """Value, gradient and both Hessians of the objective for every lane.

    Args:
        problem: law, inputs of shape (n,) (or (lanes, n) where each lane has its own), noise.
        z: coordinates, shape (p, lanes).
        delta: Huber threshold of each lane, shape (lanes,).
        target: responses in the noise's space, shape (lanes, n).
        weight: shape (lanes, n).
    """
    bare = eqx.tree_at(lambda s: s.inputs, problem, {})
    return over_rows(lambda part: _total(bare, z, delta, *part), (problem.inputs, target, weight), target.shape[-1])


def over_rows(total: Any, data: Any, n: int) -> Any:
    """Sum ``total(rows)`` over blocks of rows (the last axis), so that memory does not grow with their number."""
    if n <= BLOCK or n % BLOCK:
        return total(data)
    blocks = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], n // BLOCK, BLOCK), -2, 0), data)
    shapes = jax.eval_shape(total, jax.tree.map(lambda a: a[0], blocks))
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    return jax.lax.scan(lambda acc, part: (jax.tree.map(jnp.add, acc, total(part)), None), empty, blocks)[0]


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
    table, good = jax.lax.fori_loop(0, p, column, start)
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
    goal = ones * xp.asarray(problem.noise.delta if goal is None else goal, z.dtype)
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
    tiny = jnp.finfo(current.dtype).tiny
    return jnp.maximum(jnp.maximum(0.3 * before, current), 1e-30 * jnp.max(current, axis=0) + tiny)


def _ridge(local: Local) -> Any:
    """What keeps a factorisation from failing on rounding alone."""
    return 1e-14 * _diagonal(local, 0.0)[None] * jnp.eye(local.g.shape[0], dtype=local.g.dtype)[:, :, None]


def _candidates(lanes: Lanes) -> tuple[Any, Any, Any]:
    """Steps by the damped exact and the damped safe model, and whether the first exists."""
    here = lanes.local
    eye = jnp.eye(len(lanes.z), dtype=lanes.z.dtype)[:, :, None]
    damped = lanes.damping * lanes.diagonal[None] * eye + _ridge(here)
    systems = jnp.concatenate([here.exact + damped, here.safe + damped], axis=-1)
    x, good = solve_damped(systems, jnp.concatenate([here.g] * 2, axis=-1))
    exact, safe = jnp.split(-x, 2, axis=-1)
    return exact, safe, jnp.split(good, 2)[0]


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
    if problem.noise.loss == "absolute":
        goal = jnp.where(~first & (lanes.delta > goal), VERTEX * mean, goal)
    # The first stages walk the whole valley while the loss is smooth; later ones only adjust.
    settled = decrement <= jnp.where(lanes.delta > 2 * mean, 1e-6, 1e-2) * jnp.abs(here.f) + noise_floor
    fresh = ~first & (lanes.delta > goal) & (jnp.isinf(lanes.delta) | settled | (lanes.still >= 4))
    smaller = jnp.where(jnp.isinf(lanes.delta), 3 * mean, jnp.minimum(lanes.delta / 8, mean))
    delta = jnp.where(fresh, jnp.maximum(goal, smaller), lanes.delta)
    stay = first | fresh
    close = ~stay & (decrement <= 1e-9 * jnp.abs(here.f) + noise_floor) & (delta <= goal)

    use_exact = close if problem.reweighted else good & lanes.newton | close
    d = jnp.where(close, lanes.toward, jnp.where(use_exact, exact, safe))
    capped = jnp.asarray([*curved(problem.law, problem.free), *([True] * (p - len(problem.free)))])
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
