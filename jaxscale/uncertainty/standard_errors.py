"""Which standard errors a fit gets: classical, sandwich, or resampled."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.batch import Runner
from jaxscale.linear import Linear
from jaxscale.objective import Problem, loss, slopes
from jaxscale.observations import Observations
from jaxscale.search import Found
from jaxscale.uncertainty.bootstrap import bootstrap
from jaxscale.uncertainty.laplace import classical, sandwich

# Curvature speaks for a Huber loss only while at least this share of the rows lies inside delta.
INSIDE = 0.5


def covariance_of(
    runner: Runner,
    problem: Problem,
    found: Found,
    linear: Linear,
    z: np.ndarray,
    wide: Observations,
    run: np.ndarray | None,
    replicates: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, str, int, int]:
    """Covariance of the free parameters, how it was got, degrees of freedom, failed resamples."""
    noise, weight = problem.noise, wide.weight
    used = np.flatnonzero(weight > 0)
    codes = None if run is None else np.concatenate([run, np.repeat(run[:1], len(weight) - len(run))])
    clusters = codes if codes is not None and len(np.unique(codes[used])) < len(used) else None
    if noise.loss == "squared" and clusters is None:
        covariance, freedom = classical(linear.jacobian, linear.residual, weight)
        return covariance, "classical", freedom, 0
    inside = np.mean(np.abs(linear.residual[used]) <= noise.delta)
    if noise.loss == "absolute" or (noise.loss == "huber" and inside < INSIDE):
        if not replicates:
            return np.full((len(problem.free),) * 2, np.nan), "none", len(used) - len(problem.free), 0
        draws, failed = bootstrap(
            runner, problem, z, wide.response, weight, run=clusters, replicates=replicates, generator=generator
        )
        table = np.stack([draws[name] for name in problem.free])
        groups = len(used) if clusters is None else len(np.unique(clusters[used]))
        freedom = groups - (1 if clusters is not None else len(problem.free))
        covariance = np.atleast_2d(np.cov(table)) if table.shape[1] > 1 else np.full((len(table),) * 2, np.inf)
        return covariance, "cluster bootstrap" if clusters is not None else "bootstrap", freedom, failed
    local = jax.tree.map(lambda a: np.asarray(a)[..., found.best], found.lanes.local)
    r = linear.residual[used]
    s = float(problem.log_scale(z))
    psi, bend, _ = (np.asarray(a) for a in slopes(noise, jnp.asarray(r), jnp.asarray(noise.delta, float), s))
    scores = (weight[used] * psi)[:, None] * linear.slope[used]
    if noise.infers_scale:
        cost = jax.vmap(jax.grad(lambda s, r: loss(noise, r, jnp.inf, s)), in_axes=(None, 0))
        scores[:, -1] = weight[used] * np.asarray(cost(s, jnp.asarray(r)))
    if clusters is None:
        covariance, freedom = sandwich(local.exact, scores, linear.change, None)
        return covariance, "sandwich", freedom, 0
    slope = linear.slope[used]
    shares = (weight[used] * np.maximum(bend, 0))[:, None, None] * slope[:, :, None] * slope[:, None, :]
    covariance, freedom = sandwich(local.exact, scores, linear.change, clusters[used], shares)
    return covariance, "cluster sandwich", freedom, 0
