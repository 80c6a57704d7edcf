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
STEP_CAP = 2.0
VERTEX = 0.03


class Problem(eqx.Module):
    """One law on one data set under one noise: everything a lane needs but its weights and responses."""

    law: Law = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    noise: Noise
    inputs: dict[str, Any]
    fixed: dict[str, Any]
    centre: Centre

    @property
    def size(self) -> int:
        """Number of coordinates: the free parameters, and the log scale of the noise where it is fitted."""
        return len(self.free) + self.noise.infers_scale

    def params(self, z: Any) -> dict[str, Any]:
        """Parameters by name at coordinates ``z[k]``."""
        return to_params(self.law, self.centre, self.free, z, self.fixed)

    def predict(self, z: Any, inputs: Mapping[str, Any]) -> Any:
        """The law at coordinates z for one row of inputs."""
        return self.law(*(inputs[name] for name in self.law.inputs), **self.params(z))

    def log_scale(self, z: Any) -> Any:
        """The log scale of the noise: the last coordinate where it is fitted."""
        if self.noise.infers_scale:
            return z[len(self.free)]
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


def _lane(problem: Problem, z: Any, delta: Any, inputs: Any, response: Any, weight: Any) -> Local:
    """What some rows add to one lane's :class:`Local`."""
    target = problem.noise.transform(response)
    keep = weight != 0
    w = jnp.where(keep, weight, 0.0)

    def residuals(z: Any) -> Any:
        fitted = jax.vmap(problem.predict, in_axes=(None, 0))(z, inputs)
        return jnp.where(keep, problem.noise.transform(fitted) - target, 0.0)

    r, jacobian = residuals(z), jax.jacfwd(residuals)(z)
    s = problem.log_scale(z)
    first, second, majorant = slopes(problem.noise, r, delta, s)
    pull = jax.lax.stop_gradient(w * first)
    curvature = jax.jacfwd(jax.grad(lambda z: jnp.sum(pull * residuals(z))))(z)
    f = jnp.sum(w * loss(problem.noise, r, delta, s))
    g = pull @ jacobian
    safe = (jacobian * (w * majorant)[:, None]).T @ jacobian
    exact = (jacobian * (w * second)[:, None]).T @ jacobian + curvature
    if problem.noise.infers_scale:
        # The cost depends on the scale too: its own derivatives are exact and positive.
        def cost(s: Any) -> Any:
            return jnp.sum(w * loss(problem.noise, r, delta, s))

        last = jnp.zeros_like(z).at[-1].set(1.0)
        tilt = jax.jacfwd(lambda s: w * slopes(problem.noise, r, delta, s)[0])(s) @ jacobian
        corner = jax.grad(jax.grad(cost))(s) * last[:, None] * last
        g = g + jax.grad(cost)(s) * last
        safe, exact = safe + corner, exact + corner + tilt[:, None] * last + tilt * last[:, None]
    # A residual is a difference of two numbers of the target's size, each rounded.
    slip = 8 * jnp.finfo(r.dtype).eps * (jnp.abs(jnp.where(keep, target, 0.0)) + (problem.noise.space != "linear"))
    return Local(f, g, safe, exact, jnp.sum(w * jnp.abs(r)), jnp.sum(w * slip * (jnp.abs(first) + slip)))


def evaluate(problem: Problem, z: Any, delta: Any, response: Any, weight: Any) -> Local:
    """Value, gradient and both Hessians of the objective for every lane.

    Args:
        problem: law, inputs of shape (n,), noise.
        z: coordinates, shape (p, lanes).
        delta: Huber threshold of each lane, shape (lanes,).
        response: shape (n, lanes).
        weight: shape (n, lanes).
    """
    lanes = jax.vmap(_lane, in_axes=(None, -1, -1, None, -1, -1), out_axes=-1)
    return over_rows(
        lambda part: lanes(problem, z, delta, *part), (problem.inputs, response, weight), response.shape[0]
    )


def over_rows(total: Any, data: Any, n: int) -> Any:
    """Sum ``total(rows)`` over blocks of rows, so that memory does not grow with their number."""
    if n <= BLOCK or n % BLOCK:
        return total(data)
    blocks = jax.tree.map(lambda a: a.reshape(n // BLOCK, BLOCK, *a.shape[1:]), data)
    shapes = jax.eval_shape(total, jax.tree.map(lambda a: a[0], blocks))
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    return jax.lax.scan(lambda acc, part: (jax.tree.map(jnp.add, acc, total(part)), None), empty, blocks)[0]


def solve_damped(matrix: Any, g: Any) -> tuple[Any, Any]:
    """Solve ``matrix @ x = g`` for every lane by Cholesky; also whether the matrix was positive definite.

    Args:
        matrix: shape (p, p, lanes), symmetric.
        g: shape (p, lanes).
    """
    lower = jnp.linalg.cholesky(jnp.moveaxis(matrix, -1, 0))
    good = jnp.all(jnp.isfinite(lower), axis=(1, 2))
    lower = jnp.where(good[:, None, None], lower, jnp.eye(g.shape[0], dtype=g.dtype))
    return jax.scipy.linalg.cho_solve((lower, True), g.T[..., None])[..., 0].T, good


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
    decrement: Any
    still: Any
    status: Any
    steps: Any


def begin(problem: Problem, z: Any, *, direct: Any = False, warm: bool = False, xp: Any = jnp) -> Lanes:
    """Lanes at their starts; nothing is evaluated yet.

    Args:
        problem: law, inputs, noise.
        z: coordinates, shape (p, lanes).
        direct: lanes, shape (lanes,) or all, that begin with the noise's own delta instead of a large one that
            shrinks: they keep to the basin they start in.
        warm: the starts are near the optimum: begin with Newton steps.
        xp: the array library; NumPy at the front doors, where nothing need be compiled for it.
    """
    p, lanes = z.shape
    ones = xp.ones((lanes,), z.dtype)
    goal = ones * xp.asarray(problem.noise.delta, z.dtype)
    none = xp.zeros((p, p, lanes), z.dtype)
    return Lanes(
        z=z,
        local=Local(xp.inf * ones, xp.zeros_like(z), none, none, ones, ones),
        delta=xp.where(xp.asarray(direct) & (goal > 0), goal, xp.inf),
        goal=goal,
        damping=ones * (1e-8 if warm else 1e-3),
        growth=2.0 * ones,
        diagonal=xp.zeros_like(z),
        newton=xp.full((lanes,), warm),
        decrement=xp.inf * ones,
        still=xp.zeros((lanes,), xp.int32),
        status=xp.full((lanes,), RUNNING, xp.int32),
        steps=xp.zeros((lanes,), xp.int32),
    )


def _diagonal(local: Local, before: Any) -> Any:
    """Marquardt's scaling, which forgets: a start far away must not freeze a parameter for good."""
    p = local.g.shape[0]
    current = jnp.stack([local.safe[k, k] for k in range(p)])
    tiny = jnp.finfo(current.dtype).tiny
    return jnp.maximum(jnp.maximum(0.3 * before, current), 1e-30 * jnp.max(current, axis=0) + tiny)


def _ridge(local: Local) -> Any:
    """What keeps a factorisation from failing on rounding alone."""
    return 1e-14 * _diagonal(local, 0.0)[None] * jnp.eye(local.g.shape[0], dtype=local.g.dtype)[:, :, None]


def _candidates(lanes: Lanes) -> tuple[Any, Any, Any, Any]:
    """Steps by the damped exact, damped safe and undamped exact model, and whether the first exists."""
    here = lanes.local
    eye = jnp.eye(len(lanes.z), dtype=lanes.z.dtype)[:, :, None]
    ridge = _ridge(here)
    damped = lanes.damping * lanes.diagonal[None] * eye + ridge
    systems = jnp.concatenate([here.exact + damped, here.safe + damped, here.exact + ridge], axis=-1)
    x, good = solve_damped(systems, jnp.concatenate([here.g] * 3, axis=-1))
    exact, safe, newton = jnp.split(-x, 3, axis=-1)
    return exact, safe, newton, jnp.split(good, 3)[0]


def _decrement(local: Local) -> Any:
    """``g' H^-1 g / 2``, what an undamped Newton step promises; infinite where H is not positive definite."""
    x, good = solve_damped(local.exact + _ridge(local), local.g)
    dot = jnp.sum(x * local.g, axis=0)
    return jnp.where(good & (dot >= 0), 0.5 * dot, jnp.inf)


def _step(problem: Problem, lanes: Lanes, response: Any, weight: Any) -> Lanes:
    """One iteration of every running lane."""
    p, here = lanes.z.shape[0], lanes.local
    eps, tiny = jnp.finfo(lanes.z.dtype).eps, jnp.finfo(lanes.z.dtype).tiny
    first = lanes.steps == 0
    noise_floor = 8 * eps * jnp.abs(here.f) + here.rounding
    exact, safe, newton, good = _candidates(lanes)
    decrement = lanes.decrement

    # A robust loss starts from a large delta; once settled there, or stuck, the lane goes on with a smaller one.
    mean = here.spread / jnp.maximum(jnp.sum(weight, axis=0), eps)
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

    use_exact = good & lanes.newton | close
    d = jnp.where(close, newton, jnp.where(use_exact, exact, safe))
    capped = jnp.asarray([*curved(problem.law, problem.free), *([True] * (p - len(problem.free)))])
    longest = jnp.max(jnp.where(capped[:, None], jnp.abs(d), 0.0), axis=0)
    d = d * jnp.minimum(1.0, STEP_CAP / jnp.maximum(longest, STEP_CAP * 1e-3))
    d = jnp.where(stay | ~jnp.all(jnp.isfinite(d), axis=0), 0.0, d)
    z = lanes.z + d
    there = evaluate(problem, z, delta, response, weight)
    finite = jnp.isfinite(there.f) & jnp.all(jnp.isfinite(there.g), axis=0)

    slope = jnp.sum(here.g * d, axis=0)
    promised_safe = -(slope + 0.5 * jnp.sum(d[:, None] * here.safe * d[None, :], axis=(0, 1)))
    promised_exact = -(slope + 0.5 * jnp.sum(d[:, None] * here.exact * d[None, :], axis=(0, 1)))
    actual = jnp.where(finite, here.f - there.f, -jnp.inf)
    ratio = actual / jnp.maximum(jnp.where(use_exact, promised_exact, promised_safe), tiny)
    # Near the end the value is rounding noise; the gradient, in the metric of the Hessian, is not yet.
    after = jnp.where(finite, _decrement(there), jnp.inf)
    settle = close & finite & (after < 0.5 * decrement) & (actual >= -noise_floor)
    accept = finite & jnp.where(close, settle, (ratio > 1e-4) & (actual > 0)) | stay
    better = jnp.abs(actual - promised_exact) <= jnp.abs(actual - promised_safe)

    easier = jnp.maximum(1 / 5, 1 - (2 * jnp.clip(ratio, 0, 1) - 1) ** 3)
    damping = jnp.clip(lanes.damping * jnp.where(accept, easier, lanes.growth), 1e-15, 1e15)
    growth = jnp.where(accept, 2.0, jnp.minimum(lanes.growth * 2, 64.0))
    small = jnp.abs(actual) <= 1e-12 * jnp.abs(here.f) + noise_floor
    still = jnp.where(stay | accept & ~small, 0, lanes.still + 1)
    stuck = ~close & (delta <= goal) & ((still >= 12) | (damping >= 1e15))
    nearly = decrement <= 1e-7 * jnp.abs(here.f) + noise_floor
    ended = jnp.where(stuck, jnp.where(nearly, FLAT, STALLED), RUNNING)
    status = jnp.where(close & ~settle, CONVERGED, jnp.where(first & ~finite, NONFINITE, ended))
    moved = Lanes(
        z=jnp.where(accept, z, lanes.z),
        local=jax.tree.map(lambda a, b: jnp.where(accept, a, b), there, here),
        delta=delta,
        goal=goal,
        damping=jnp.where(stay | close, lanes.damping, damping),
        growth=jnp.where(stay | close, lanes.growth, growth),
        diagonal=jnp.where(accept, _diagonal(there, lanes.diagonal), lanes.diagonal),
        newton=jnp.where(stay | ~finite, lanes.newton, better),
        decrement=jnp.where(accept, after, decrement),
        still=still,
        status=status.astype(jnp.int32),
        steps=lanes.steps + 1,
    )
    running = lanes.status == RUNNING
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, lanes)


def advance(problem: Problem, lanes: Lanes, response: Any, weight: Any, steps: Any) -> Lanes:
    """Run all lanes until each has stopped, or for ``steps`` iterations.

    Args:
        problem: law, inputs, noise.
        lanes: from :func:`begin` or an earlier call.
        response: shape (n, lanes).
        weight: shape (n, lanes).
        steps: most iterations of this call.
    """

    def going(state: Any) -> Any:
        k, current = state
        return (k < steps) & jnp.any(current.status == RUNNING)

    def body(state: Any) -> Any:
        k, current = state
        return k + 1, _step(problem, current, response, weight)

    return jax.lax.while_loop(going, body, (jnp.asarray(0), lanes))[1]
