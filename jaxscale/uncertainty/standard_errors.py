"""Which standard errors a fit gets: classical, sandwich, or resampled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.batch import Runner
from jaxscale.compilation import compiled
from jaxscale.linear import Linear
from jaxscale.noise import Noise
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
    if not curvature_speaks(noise, linear.residual[used]):
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
    exact = np.asarray(found.lanes.local.exact)[..., found.best]
    covariance, freedom = robust(problem, linear, z, weight, exact, linear.change, clusters)
    return covariance, "sandwich" if clusters is None else "cluster sandwich", freedom, 0


def curvature_speaks(noise: Noise, residual: np.ndarray) -> bool:
    """Whether the objective's curvature says how sure an optimum is; residuals are those of the rows that count."""
    if noise.loss == "huber":
        return bool(np.mean(np.abs(residual) <= noise.delta) >= INSIDE)
    return noise.loss != "absolute"


def robust(
    problem: Problem,
    linear: Linear,
    z: np.ndarray,
    weight: np.ndarray,
    exact: np.ndarray,
    change: np.ndarray,
    clusters: np.ndarray | None,
) -> tuple[np.ndarray, int]:
    """The sandwich of what ``change`` makes of the coordinates, by runs where these repeat.

    Args:
        problem: law, inputs of shape (n,), noise.
        linear: the fit at its optimum.
        z: coordinates of the optimum, shape (q,).
        weight: shape (n,).
        exact: Hessian of the objective, shape (q, q).
        change: derivative of the quantities in the coordinates, shape (p, q).
        clusters: codes of the runs, shape (n,), or None.

    Returns:
        Covariance of shape (p, p) and the degrees of freedom.
    """
    noise, used = problem.noise, np.flatnonzero(weight > 0)
    # All rows, padding included: one shape for a bucket, so that other data compile nothing.
    r, s = linear.residual, np.asarray(problem.log_scale(z), float)
    psi, bend, tilt = (np.asarray(a)[used] for a in _slopes(noise, r, s))
    scores = (weight[used] * psi)[:, None] * linear.slope[used]
    if noise.infers_scale:
        scores[:, -1] = weight[used] * tilt
    if clusters is None:
        return sandwich(exact, scores, change, None)
    slope = linear.slope[used]
    shares = (weight[used] * np.maximum(bend, 0))[:, None, None] * slope[:, :, None] * slope[:, None, :]
    return sandwich(exact, scores, change, clusters[used], shares)


@compiled(brief=True)
def _slopes(noise: Noise, r: Any, log_scale: Any) -> tuple[Any, Any, Any]:
    """First and second derivative of every row's loss in the residual, and the first in the log scale, shape (n,)."""
    first, second, _ = slopes(noise, r, jnp.asarray(noise.delta, r.dtype), log_scale)
    cost = jax.vmap(jax.grad(lambda s, r: loss(noise, r, jnp.inf, s)), in_axes=(None, 0))
    return first, second, cost(log_scale, r) if noise.infers_scale else jnp.zeros_like(r)
