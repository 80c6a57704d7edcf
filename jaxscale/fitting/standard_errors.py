"""Which standard errors a fit gets: classical, HC3, sandwich, or resampled."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.bounds import at_bounds, lifted, unbounded
from jaxscale.engine.linearize import Linear
from jaxscale.engine.multistart import Found
from jaxscale.engine.objective import Problem, loss, scale_cost, slopes
from jaxscale.engine.runner import Runner
from jaxscale.fitting.heteroscedasticity import uneven
from jaxscale.fitting.refits import bootstrap
from jaxscale.fitting.sandwich import bread, classical, hc3, sandwich, without
from jaxscale.noise.losses import TUNING, Noise
from jaxscale.utils.compilation import compiled

# Curvature speaks for a Huber loss only while at least this share of the rows lies inside delta, and so many more rows
# than it has parameters, which as many rows always fit exactly.
INSIDE = 0.5
# Percentiles of resamples that a fit keeps.
_LOWER = (0.0005, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.1587, 0.25)
SHARES = (*_LOWER, 0.5, 0.75, 0.8413, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.9995)

# A parameter whose standard error is so many times its value has run away: nothing is known of it.
RUNAWAY = 1e3

Errors = Literal["classical", "hc3"]


@dataclass(frozen=True)
class Covariance:
    """The covariance of the free parameters, and how it was got.

    Args:
        matrix: shape (p, p), infinite for parameters that the rows do not determine.
        method: "classical", "hc3", "known errors", "sandwich", "bootstrap" (both also with "cluster " before them), or
            "none".
        freedom: degrees of freedom of t quantiles.
        reason: why there are none, or why this method, in words; may be empty.
        failed: resamples that did not settle.
        percentiles: of the resamples, by parameter, at :data:`SHARES`.
    """

    matrix: np.ndarray
    method: str
    freedom: int
    reason: str = ""
    failed: int = 0
    percentiles: dict[str, tuple[float, ...]] = field(default_factory=dict)


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
    errors: Errors | None = None,
) -> Covariance:
    """Covariance of the free parameters.

    Args:
        runner: where resamples are refitted.
        problem: law, inputs of shape (n,), noise.
        found: the search that ended at the optimum.
        linear: the fit at its optimum.
        z: coordinates of the optimum, shape (size,).
        wide: what was fitted, n rows.
        run: codes of the runs, one for each row that was read, or None.
        replicates: bootstrap resamples, where standard errors come from resampling.
        generator: the source of randomness.
        errors: "classical" or "hc3" where a test of the residuals is not to decide.
    """
    noise, weight = problem.noise, wide.weight
    used = np.flatnonzero(weight > 0)
    size = len(problem.free)
    codes = None if run is None else np.concatenate([run, np.repeat(run[:1], len(weight) - len(run))])
    clusters = codes if codes is not None and len(np.unique(codes[used])) < len(used) else None
    none = np.full((size, size), np.inf)
    if clusters is not None and len(np.unique(clusters[used])) < 2:
        return Covariance(none, "none", 0, "all rows belong to one run, so that nothing says how runs differ")
    if wide.sigma is not None and clusters is None and errors is None:
        root, lost, _ = bread(np.asarray(linear.jacobian), weight)
        return Covariance(without(root @ root.T, lost), "known errors", len(used) - size)
    if clusters is None and len(used) <= size:
        said = f"there are no degrees of freedom: {len(used)} rows and {size} free parameters"
        return Covariance(none, "none", len(used) - size, said)
    plain = noise.loss == "squared" or noise.adaptive
    if errors is not None and (not plain or clusters is not None):
        said = "rows of one run are correlated" if clusters is not None else f"{noise.describe()} takes its own"
        raise ValueError(f"Argument errors must be left out here, as {said}, but is {errors!r}.")
    if not plain and not curvature_speaks(noise, linear.residual[used], size):
        return _resampled(runner, problem, linear, z, wide, clusters, replicates, generator)
    bounds = at_bounds(problem, linear, z, weight > 0)
    if plain and clusters is None:
        sure = _least_squares(problem, linear, z, weight, errors)
    else:
        exact = np.asarray(found.lanes.local.exact)[..., found.best]
        of_coordinates = (problem, linear, z, weight, exact, linear.change, clusters)
        matrix, freedom = _raw(problem, linear, z, weight, clusters) if bounds else robust(*of_coordinates)
        sure = Covariance(matrix, "sandwich" if clusters is None else "cluster sandwich", freedom)
    return replace(sure, matrix=without(sure.matrix, _runaway(problem, linear, sure.matrix, bounds)))


def _runaway(problem: Problem, linear: Linear, matrix: np.ndarray, bounds: Mapping[str, float]) -> np.ndarray:
    """Parameters whose standard error is a large multiple of their value and of the data's unit of them, shape (p,)."""
    found = np.zeros(len(problem.free), bool)
    for k, name in enumerate(problem.free):
        kind, size = problem.law.parameters[name], abs(float(linear.params[name]))
        if not kind.support.bounded:
            natural = problem.centre.response_size if kind.kind == "floor" else problem.centre.unit.get(name, 1.0)
            size = max(size, float(natural))
        found[k] = name not in bounds and not np.sqrt(matrix[k, k]) <= RUNAWAY * size
    return found


def _least_squares(
    problem: Problem, linear: Linear, z: np.ndarray, weight: np.ndarray, errors: Errors | None
) -> Covariance:
    """Classical or HC3 standard errors of least squares, or of Huber's loss with a fitted scale."""
    residual, factor = pseudo_residuals(problem, linear, z, weight)
    used, reason = weight > 0, ""
    if errors is None:
        reason = uneven(problem, linear, residual, weight)
    if errors == "hc3" or reason:
        matrix, freedom = hc3(linear.jacobian, residual, weight)
        return Covariance(matrix * factor**2, "hc3", freedom, reason)
    matrix, freedom = classical(linear.jacobian, residual, np.where(used, weight, 0.0))
    return Covariance(matrix * factor**2, "classical", freedom)


def pseudo_residuals(problem: Problem, linear: Linear, z: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """What stands for the residuals in the covariance of least squares, shape (n,), and Huber's correction.

    For Huber's loss with a fitted scale s: ``s psi(r / s) / m`` with m the share of rows inside the threshold, and the
    factor ``1 + p / n (1 - m) / m``.

    Source:
        Huber and Ronchetti, Robust Statistics, 2009, section 7.6.
    """
    if not problem.noise.adaptive:
        return np.asarray(linear.residual), 1.0
    used = weight > 0
    s = float(np.exp(problem.log_scale(z)))
    u = np.asarray(linear.residual) / s if s > 0 else np.zeros_like(linear.residual)
    inside = max(float(np.mean(np.abs(u[used]) <= TUNING)), 1.0 / used.sum())
    factor = 1 + len(problem.free) / used.sum() * (1 - inside) / inside
    return s * np.clip(u, -TUNING, TUNING) / inside, factor


def _resampled(
    runner: Runner,
    problem: Problem,
    linear: Linear,
    z: np.ndarray,
    wide: Observations,
    clusters: np.ndarray | None,
    replicates: int,
    generator: np.random.Generator,
) -> Covariance:
    """Standard errors from the middle 68 % of resamples, which a few that run away do not move."""
    weight, size = wide.weight, len(problem.free)
    used = np.flatnonzero(weight > 0)
    if not replicates:
        said = "no resamples were asked for, which this loss takes them from"
        return Covariance(np.full((size, size), np.nan), "none", len(used) - size, said)
    begin = lifted(problem, linear, z, weight > 0)
    draws, failed = bootstrap(
        runner, problem, begin, wide.response, weight, run=clusters, replicates=replicates, generator=generator
    )
    table = np.stack([draws[name] for name in problem.free])
    units = len(used) if clusters is None else len(np.unique(clusters[used]))
    freedom = units - (1 if clusters is not None else size)
    method = "cluster bootstrap" if clusters is not None else "bootstrap"
    if table.shape[1] < 2:
        return Covariance(np.full((size, size), np.inf), method, freedom, failed=failed)
    ends = np.quantile(table, SHARES, axis=1)
    spread = (ends[SHARES.index(0.8413)] - ends[SHARES.index(0.1587)]) / 2
    # Where a parameter has no bounds its resamples are least skewed.
    kinds = problem.law.parameters
    free = np.stack([unbounded(kinds[name].support, row) for name, row in zip(problem.free, table, strict=True)])
    free = np.nan_to_num(free, neginf=-700.0, posinf=700.0)
    calm = np.clip(free, *np.quantile(free, [0.025, 0.975], axis=1)[..., None])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.atleast_2d(np.corrcoef(calm)))
    np.fill_diagonal(correlation, 1.0)
    percentiles = {name: tuple(map(float, ends[:, k])) for k, name in enumerate(problem.free)}
    return Covariance(correlation * np.outer(spread, spread), method, freedom, "", failed, percentiles)


def curvature_speaks(noise: Noise, residual: np.ndarray, size: int) -> bool:
    """Whether the objective's curvature says how sure an optimum is.

    Args:
        noise: the noise.
        residual: of the rows that count, shape (n,).
        size: number of free parameters.
    """
    if noise.loss == "huber" and not noise.adaptive:
        inside = np.sum(np.abs(residual) <= noise.delta)
        return bool(inside >= size + INSIDE * (len(residual) - size))
    return noise.loss != "absolute"


def _raw(
    problem: Problem, linear: Linear, z: np.ndarray, weight: np.ndarray, clusters: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """The sandwich in the parameters themselves, where a coordinate has lost its slope at a bound."""
    used = np.flatnonzero(weight > 0)
    psi, bend, _ = (np.asarray(a)[used] for a in _slopes(problem.noise, linear.residual, problem.log_scale(z)))
    x, w = linear.jacobian[used], weight[used]
    shares = (w * np.maximum(bend, 0))[:, None, None] * x[:, :, None] * x[:, None, :]
    codes = None if clusters is None else clusters[used]
    return sandwich(shares.sum(axis=0), (w * psi)[:, None] * x, np.eye(x.shape[1]), codes, shares)


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
    slope = np.asarray(linear.slope)[used]
    scores = (weight[used] * psi)[:, None] * slope
    if noise.adaptive:
        cost = float(scale_cost(noise, len(problem.free), weight, s)) / weight.sum()
        tilt = tilt + cost
    if noise.infers_scale:
        scores[:, -1] = weight[used] * tilt
    if clusters is None:
        return sandwich(exact, scores, change, None)
    shares = (weight[used] * np.maximum(bend, 0))[:, None, None] * slope[:, :, None] * slope[:, None, :]
    return sandwich(exact, scores, change, clusters[used], shares)


@compiled(brief=True)
def _slopes(noise: Noise, r: Any, log_scale: Any) -> tuple[Any, Any, Any]:
    """First and second derivative of every row's loss in the residual, and the first in the log scale, shape (n,)."""
    first, second, _ = slopes(noise, r, jnp.asarray(noise.delta, r.dtype), log_scale)
    cost = jax.vmap(jax.grad(lambda s, r: loss(noise, r, jnp.inf, s)), in_axes=(None, 0))
    return first, second, cost(log_scale, r) if noise.infers_scale else jnp.zeros_like(r)
