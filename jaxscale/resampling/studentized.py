"""Batched standard errors of refits, for studentised bootstrap intervals."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.engine.descent import sizes
from jaxscale.engine.objective import Problem, evaluate
from jaxscale.engine.runner import Runner
from jaxscale.utils.arrays import Array, Numbers
from jaxscale.utils.compilation import compiled


@compiled
def _covariances(
    problem: Problem,
    z: Float[Array, "size lane"],
    response: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
    counts: Float[Array, "lane row"],
    codes: Int[Array, " row"],
    classical: Bool[Array, ""],
) -> tuple[Float[Array, "lane size size"], Float[Array, "lane free size"]]:
    """Covariance of the coordinates of every lane, and the Jacobian of the free parameters in them; lanes first."""
    noise = problem.noise
    target = noise.transform(response)
    delta = jnp.broadcast_to(jnp.asarray(noise.loss.threshold, z.dtype), z.shape[1:])
    local = evaluate(problem, z, delta, target, weight * counts)

    def cost(z: Float[Array, " size"], row: Mapping[str, Numbers], target: Float[Array, ""]) -> Float[Array, ""]:
        r = noise.transform(problem.predict(z, row)) - target
        return noise.loss.value(r, noise.loss.threshold, problem.log_scale(z))

    def named(z: Float[Array, " size"]) -> Float[Array, " free"]:
        params = problem.params(z)
        return jnp.stack([params[name] for name in problem.free])

    per_row = jax.vmap(jax.grad(cost), in_axes=(None, -1, 0))
    scores = jax.vmap(per_row, in_axes=(0, None, 0))(z.T, problem.inputs, target)
    scores = jnp.where(weight[..., None] > 0, scores * weight[..., None], 0.0)

    def summed(scores: Float[Array, "row size"], counts: Float[Array, " row"]) -> Float[Array, "size size"]:
        # A unit drawn c times counts as c units with the same score.
        sums = jax.ops.segment_sum(scores, codes, len(codes))
        times = jnp.maximum(jax.ops.segment_max(counts, codes, len(codes)), 0.0)
        return jnp.einsum("gp,gq,g->pq", sums, sums, times)

    meat = jax.vmap(summed)(scores, counts)
    hessian = jnp.moveaxis(jnp.where(classical, local.safe, local.exact), -1, 0)
    unit = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(jnp.moveaxis(local.safe, -1, 0), axis1=1, axis2=2), 1e-300))
    values, vectors = jnp.linalg.eigh(hessian * unit[:, :, None] * unit[:, None])
    good = jnp.all(values > 1e-14, axis=1)
    inverse = jnp.einsum("lij,lj,lkj->lik", vectors, 1 / values, vectors)
    inverse = jnp.where(good[:, None, None], inverse, jnp.nan) * unit[:, :, None] * unit[:, None]
    covariance = jnp.where(classical, 2 * local.f[:, None, None] * inverse, inverse @ meat @ inverse)
    return covariance, jax.vmap(jax.jacfwd(named))(z.T)


def covariances(
    problem: Problem,
    z: Float[np.ndarray, "size lane"],
    response: Float[np.ndarray, "... row"],
    weight: Float[np.ndarray, " row"],
    counts: Numbers,
    codes: Int[np.ndarray, " row"] | None,
    classical: bool,
) -> tuple[Float[np.ndarray, "lane size size"], Float[np.ndarray, "lane free size"]]:
    """Covariances of refits, each from its own data, up to a common factor.

    Classical ``sum w r^2 (J' W J)^-1``, or the sandwich ``H^-1 (sum s s') H^-1`` with scores summed within units.

    Args:
        problem: law, inputs of shape (n,), noise.
        z: coordinates, shape (size, lanes).
        response: shape (n,) or (lanes, n).
        weight: of a single row, before resampling, shape (n,).
        counts: number of times each row was drawn, shape (lanes, n) or ().
        codes: the unit of each row, below n, shape (n,); None where every row is a unit.
        classical: whether to use the classical covariance.

    Returns:
        Covariance of the coordinates, shape (lanes, size, size), NaN where there is none, and the derivative of the
        free parameters in the coordinates, shape (lanes, p, size).
    """
    lanes, n = z.shape[1], len(weight)
    response, counts = np.broadcast_to(response, (lanes, n)), np.broadcast_to(counts, (lanes, n))
    weight = np.broadcast_to(weight, (lanes, n))
    codes = np.arange(n) if codes is None else np.unique(codes, return_inverse=True)[1]
    width, parts = sizes(n).for_lanes(lanes).pool, []
    for first in range(0, lanes, width):
        index = np.minimum(np.arange(first, first + width), lanes - 1)
        data = (np.ascontiguousarray(a[index], float) for a in (response, weight, counts))
        parts.append((problem, z[:, index], *data, codes, np.asarray(classical)))
    ends = Runner(alone=True)(_covariances, parts)
    covariance, change = (np.concatenate([end[k] for end in ends])[:lanes] for k in range(2))
    return covariance, change
