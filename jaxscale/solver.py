"""The pure door: a fit inside somebody's jitted program."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from jaxscale import kernel
from jaxscale.coordinates import centre_of
from jaxscale.kernel import Lanes, Problem
from jaxscale.law import Law
from jaxscale.noise import Noise, default
from jaxscale.starts import placed, score

LONGEST = 300


class Solution(eqx.Module):
    """The answer of :func:`solve`: parameters by name, objective, status (a code of ``jaxscale.kernel.STATUS``)."""

    params: dict[str, Any]
    objective: Any
    status: Any


def solve(
    law: Law,
    inputs: Mapping[str, Any],
    response: Any,
    *,
    weight: Any = None,
    noise: Noise | None = None,
    starts: int | Mapping[str, Any] = 256,
    key: Any = None,
    fixed: Mapping[str, Any] | None = None,
) -> Solution:
    """Fit a law inside a jitted program: pure, no checks, arrays in and out.

    Args:
        law: the law.
        inputs: name to array of shape (n,), or (several, n) where a row holds several numbers; raw units.
        response: shape (n,); its dtype is the precision of the whole computation.
        weight: shape (n,); ones unless given; rows of weight 0 do not count.
        noise: the noise; that of the response's domain unless given.
        starts: how many random starts to score (the best 16 are polished), or starts by name,
            each of shape (starts,), all of which are polished.
        key: random key of the starts; ``jax.random.key(0)`` unless given.
        fixed: values of parameters that are not fitted.

    Returns:
        Parameters by name, the objective (a sum over rows), and the status of the best lane.
    """
    y = jnp.asarray(response)
    dtype = jnp.result_type(y, jnp.float32)
    y = y.astype(dtype)
    columns = {name: jnp.asarray(inputs[name], dtype) for name in law.inputs}
    w = jnp.ones_like(y) if weight is None else jnp.broadcast_to(jnp.asarray(weight, dtype), y.shape)
    settings = default(law.response) if noise is None else noise
    # What stands in a row of weight 0 must not matter, not even to the centre of the data.
    first = jnp.argmax(w > 0)
    y, columns = jax.tree.map(lambda a: jnp.where(w > 0, a, a[..., first, None]), (y, columns))
    values = {name: jnp.asarray(value, dtype) for name, value in (fixed or {}).items()}
    free = tuple(name for name in law.parameters if name not in values)
    cast: Noise = jax.tree.map(lambda a: jnp.asarray(a, dtype), settings)
    problem = Problem(law, free, cast, columns, values, centre_of(law, columns, y))
    if isinstance(starts, Mapping):
        given = {name: jnp.atleast_1d(jnp.asarray(value, dtype)) for name, value in {**values, **starts}.items()}
        lanes = max(len(value) for value in given.values())
        z, _ = placed(problem, {name: jnp.broadcast_to(value, (lanes,)) for name, value in given.items()}, y, w)
    else:
        u = jr.uniform(jr.key(0) if key is None else key, (len(free), starts), dtype, 1e-6, 1 - 1e-6)
        z, f = score(problem, u, jnp.zeros_like(u), jnp.ones((starts,), bool), y, w)
        z = z[:, jnp.argsort(f)[: min(16, starts)]]
    wide = jnp.broadcast_to(y, (z.shape[1], y.shape[0]))
    heavy = jnp.broadcast_to(w, wide.shape)
    lanes = kernel.advance(problem, kernel.begin(problem, z), wide, heavy, LONGEST)
    f = jnp.where(jnp.isfinite(lanes.local.f), lanes.local.f, jnp.inf)
    best = jnp.argmin(f)
    z, objective = lanes.z[:, best], f[best]
    if problem.noise.loss == "absolute":
        z, objective = _sharpened(problem, lanes, best, y, w)
    return Solution(problem.params(z), objective, lanes.status[best])


def _sharpened(problem: Problem, lanes: Lanes, best: Any, y: Any, w: Any) -> tuple[Any, Any]:
    """From the smoothed minimum of an absolute loss to its vertex: shrink delta, then Newton on the active rows."""
    lane = jax.tree.map(lambda a: a[..., best][..., None], lanes)

    def tighter(lane: Lanes, share: Any) -> tuple[Lanes, None]:
        goal = share * lane.local.spread / jnp.sum(w)
        again = kernel.begin(problem, lane.z, warm=True)
        start = eqx.tree_at(lambda s: (s.goal, s.delta), again, (goal, goal))
        return kernel.advance(problem, start, y[None], w[None], LONGEST // 4), None

    lane, _ = jax.lax.scan(tighter, lane, jnp.asarray([1e-2, 1e-3, 1e-4, 1e-5], y.dtype))

    def residuals(z: Any) -> Any:
        fitted = jax.vmap(problem.predict, in_axes=(None, -1))(z, problem.inputs)
        return problem.noise.transform(fitted) - problem.noise.transform(y)

    def cost(z: Any) -> Any:
        return jnp.sum(w * jnp.abs(residuals(z)))

    z = lane.z[:, 0]
    # At a vertex as many rows are fitted exactly as there are parameters: those that are nearly so already.
    active = jnp.argsort(jnp.where(w > 0, jnp.abs(residuals(z)), jnp.inf))[: z.shape[0]]
    corner = z
    for _ in range(4):
        slope = jax.jacfwd(residuals)(corner)[active]
        corner = corner - jnp.linalg.solve(slope, residuals(corner)[active])
    z = jnp.where(cost(corner) <= cost(z), corner, z)
    return z, cost(z)
