"""The pure door: a fit inside somebody's jitted program."""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from jaxscale import kernel
from jaxscale.coordinates import centre_of
from jaxscale.kernel import Lanes
from jaxscale.law import Law
from jaxscale.noise import Noise, default
from jaxscale.objective import Problem
from jaxscale.quasi_newton import descended
from jaxscale.sensitivity import attached, replaced
from jaxscale.starts import placed, score

LONGEST = 300
# The descent ends once so many lanes agree on an optimum that no lane is below.
ENOUGH = 3


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
    method: Literal["newton", "gauss_newton", "lbfgs"] = "newton",
) -> Solution:
    """Fit a law inside a jitted program: pure, no checks, arrays in and out.

    Differentiable in response, inputs, weight, fixed values and the settings of the noise, to any order and in
    both modes, by the implicit function theorem at the optimum; starts and key have no derivative. The derivative
    is that of the optimum that was found, exact where ``status`` says converged, and not finite where the data do
    not identify the parameters. That of a Huber loss is the derivative of its active set: it holds while no
    residual crosses delta. An absolute loss is fitted but not differentiated (TypeError). The derivative in a
    weight of 0 says what the row would do; it is 0 for a row that has no residual.

    In float32, JAX's default, the 240 runs of the replication of Chinchilla give every parameter within 1e-4 of its
    value in float64 (1e-5 under most noises), the objective within 1e-5, and derivatives within 1e-3 of the largest;
    what the data identify less well loses more.

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
        method: how lanes descend. ``newton``: damped steps by the majorising Gauss-Newton model or the exact Hessian,
            whichever predicted the last step better. ``gauss_newton``: the former alone (reweighted least squares).
            ``lbfgs``: optax's L-BFGS with its line search. All end with Newton steps. The first is the default: a
            start costs it a tenth of what L-BFGS takes or less. From which of them more starts reach the optimum
            depends on the law (``python -m benchmarks.solvers``).

    Returns:
        Parameters by name, the objective (a sum over rows), and the status of the best lane.
    """
    y = jnp.asarray(response)
    dtype = jnp.result_type(y, jnp.float32)
    y = y.astype(dtype)
    columns = {name: jnp.asarray(inputs[name], dtype) for name in law.inputs}
    w = jnp.ones_like(y) if weight is None else jnp.broadcast_to(jnp.asarray(weight, dtype), y.shape)
    settings = default(law.response) if noise is None else noise
    values = {name: jnp.asarray(value, dtype) for name, value in (fixed or {}).items()}
    free = tuple(name for name in law.parameters if name not in values)
    cast: Noise = jax.tree.map(lambda a: jnp.asarray(a, dtype), settings)
    # The search is no part of the derivative, and neither is the centre: named parameters do not depend on it.
    # What stands in a row of weight 0 must not matter, not even to the centre of the data.
    constant = jax.lax.stop_gradient((cast, columns, values, y, w))
    calm, near, held, target, heavy = constant
    near, target = replaced(heavy > 0, (near, target))
    centre = centre_of(law, near, target)
    calmed = Problem(law, free, calm, near, held, centre, reweighted=method == "gauss_newton")
    found = _searched(calmed, target, heavy, starts, key, method)
    problem = Problem(law, free, cast, columns, values, centre)
    z, objective = attached(problem, y, w, *found[:2])
    return Solution(problem.params(z), objective, found[2])


def _searched(problem: Problem, y: Any, w: Any, starts: Any, key: Any, method: str) -> tuple[Any, Any, Any]:
    """Coordinates, objective and status of the best lane: numbers without derivatives."""
    dtype, free = y.dtype, problem.free
    if isinstance(starts, Mapping):
        stopped = {name: jax.lax.stop_gradient(jnp.asarray(value, dtype)) for name, value in starts.items()}
        given = {name: jnp.atleast_1d(value) for name, value in {**problem.fixed, **stopped}.items()}
        lanes = max(len(value) for value in given.values())
        z, _ = placed(problem, {name: jnp.broadcast_to(value, (lanes,)) for name, value in given.items()}, y, w)
    else:
        u = jr.uniform(jr.key(0) if key is None else key, (len(free), starts), dtype, 1e-6, 1 - 1e-6)
        z, f = score(problem, u, jnp.zeros_like(u), jnp.ones((starts,), bool), y, w)
        z = z[:, jnp.argsort(f)[: min(16, starts)]]
    wide = jnp.broadcast_to(y, (z.shape[1], y.shape[0]))
    heavy = jnp.broadcast_to(w, wide.shape)
    # Most lanes keep to the basin they start in; the others go to the widest first.
    direct = jnp.arange(z.shape[1]) % 4 > 0
    begun = kernel.begin(problem, z, direct=direct)
    if method == "lbfgs":
        begun = kernel.begin(problem, descended(problem, z, y, w, LONGEST), direct=True, warm=True)
    lanes = kernel.advance(problem, begun, wide, heavy, LONGEST, ENOUGH)
    f = jnp.where(jnp.isfinite(lanes.local.f), lanes.local.f, jnp.inf)
    # Where lanes differ by rounding only, one that has converged is taken.
    ended = (lanes.status == kernel.CONVERGED) & kernel.lowest(f)
    best = jnp.argmin(jnp.where(ended | ~jnp.any(ended), f, jnp.inf))
    z, objective = lanes.z[:, best], f[best]
    if problem.noise.loss == "absolute":
        z, objective = _sharpened(problem, lanes, best, y, w)
    return z, objective, lanes.status[best]


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
