"""Standard errors of a fit: choice among classical, HC3, sandwich, observed information and bootstrap."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from jaxscale.engine.bounds import at_bounds, move_off_bounds, unbounded
from jaxscale.engine.optimum import Optimum
from jaxscale.engine.runner import Runner
from jaxscale.fitting.heteroscedasticity import heteroscedasticity_test
from jaxscale.fitting.refits import bootstrap
from jaxscale.fitting.sandwich import bread, classical, hc3, mark_infinite, sandwich
from jaxscale.noise.noise import Noise
from jaxscale.utils.arrays import Array, Number
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError

# Probabilities of the percentiles of resamples that a fit stores.
_LOWER = (0.0005, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.1587, 0.25)
SHARES = (*_LOWER, 0.5, 0.75, 0.8413, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.9995)

# A parameter whose standard error exceeds so many times its value counts as undetermined.
RUNAWAY = 1e3

Errors = Literal["classical", "hc3"]


@dataclass(frozen=True)
class Covariance:
    """Covariance of the free parameters and its method.

    Args:
        matrix: shape (p, p), infinite for parameters that the rows do not determine.
        method: "classical", "hc3", "known errors", "observed information", "sandwich", "bootstrap" (these two also
            with "cluster " before them), or "none".
        freedom: degrees of freedom of t quantiles.
        reason: why there are none, or why this method; may be empty.
        failed: number of failed resamples.
        percentiles: percentiles of the resamples by parameter, at the probabilities :data:`SHARES`.
    """

    matrix: Float[np.ndarray, "free free"]
    method: str
    freedom: int
    reason: str = ""
    failed: int = 0
    percentiles: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap of losses whose standard errors come from resampling.

    Args:
        runner: where resamples are refitted.
        n_resamples: number of resamples.
        generator: the random generator.
    """

    runner: Runner
    n_resamples: int
    generator: np.random.Generator


def covariance_of(
    optimum: Optimum,
    hessian: Float[np.ndarray, "size size"],
    resampling: Resampling,
    run: Int[np.ndarray, " _"] | None = None,
    sigma: bool = False,
    errors: Errors | None = None,
) -> Covariance:
    """Covariance of the free parameters.

    Args:
        optimum: the problem at its optimum, n rows.
        hessian: of the objective in the coordinates, shape (size, size).
        resampling: settings for losses whose curvature does not give standard errors.
        run: codes of the runs of the unpadded rows, or None.
        sigma: whether the weights are inverse variances of known errors.
        errors: "classical" or "hc3" in place of a test for heteroscedasticity.
    """
    loss, weight, freedom = optimum.problem.noise.loss, optimum.weight, optimum.freedom
    used, size = np.flatnonzero(weight > 0), len(optimum.problem.free)
    clusters = clusters_of(run, weight)
    none = np.full((size, size), np.inf)
    if clusters is not None and len(np.unique(clusters[used])) < 2:
        return Covariance(none, "none", 0, "all rows belong to one run, so the variance between runs is unknown")
    if sigma and clusters is None and errors is None:
        root, lost, _ = bread(np.asarray(optimum.linear.jacobian), weight)
        return Covariance(mark_infinite(root @ root.T, lost), "known errors", freedom)
    if clusters is None and freedom <= 0:
        reason = f"there are no degrees of freedom: {len(used)} rows and {size} free parameters"
        return Covariance(none, "none", freedom, reason)
    _check_errors(errors, optimum.problem.noise, clusters is not None)
    if not loss.least_squares and not loss.curvature_describes(optimum.linear.residual[used], size):
        return _bootstrap(optimum, resampling, clusters)
    bounds = at_bounds(optimum)
    if loss.counts and clusters is None and not bounds:
        result = _information(optimum, hessian)
    elif loss.least_squares and clusters is None:
        result = _least_squares(optimum, errors)
    else:
        change = optimum.linear.change
        matrix, freedom = (
            _parameter_sandwich(optimum, clusters) if bounds else robust_covariance(optimum, hessian, change, clusters)
        )
        result = Covariance(matrix, "sandwich" if clusters is None else "cluster sandwich", freedom)
    return replace(result, matrix=mark_infinite(result.matrix, _undetermined(optimum, result.matrix, bounds)))


def clusters_of(run: Int[np.ndarray, " _"] | None, weight: Float[np.ndarray, " row"]) -> Int[np.ndarray, " row"] | None:
    """Codes of the runs of padded rows, shape (n,); None where no run has several rows of positive weight.

    Args:
        run: codes of the unpadded rows, or None.
        weight: shape (n,).
    """
    if run is None:
        return None
    codes, used = np.concatenate([run, np.repeat(run[:1], len(weight) - len(run))]), weight > 0
    return codes if len(np.unique(codes[used])) < used.sum() else None


def _check_errors(errors: Errors | None, noise: Noise, clustered: bool) -> None:
    """Reject a choice of standard errors that the loss or correlated runs do not allow."""
    if errors is not None and (not noise.loss.least_squares or clustered):
        reason = "rows of one run are correlated" if clustered else f"{noise.describe()} takes its own"
        raise ArgumentError("errors", f"must be left out here, as {reason}, but is {errors!r}.")


def _undetermined(
    optimum: Optimum, matrix: Float[np.ndarray, "free free"], bounds: Mapping[str, float]
) -> Bool[np.ndarray, " free"]:
    """Parameters whose standard error is a large multiple of their value and of their natural unit, shape (p,)."""
    problem, linear = optimum.problem, optimum.linear
    runaway = np.zeros(len(problem.free), bool)
    for k, name in enumerate(problem.free):
        kind, size = problem.law.parameters[name], abs(float(linear.params[name]))
        if not kind.support.bounded:
            natural = problem.centre.response_size if kind.kind == "floor" else problem.centre.unit.get(name, 1.0)
            size = max(size, float(natural))
        runaway[k] = name not in bounds and not np.sqrt(matrix[k, k]) <= RUNAWAY * size
    return runaway


def _least_squares(optimum: Optimum, errors: Errors | None) -> Covariance:
    """Classical or HC3 standard errors of least squares, or of Huber's loss with a fitted scale."""
    linear, weight, used = optimum.linear, optimum.weight, optimum.used
    loss, size = optimum.problem.noise.loss, len(optimum.problem.free)
    residual, factor = loss.pseudo_residuals(np.asarray(linear.residual), optimum.log_scale, used, size)
    reason = heteroscedasticity_test(optimum, residual) if errors is None else ""
    if errors == "hc3" or reason:
        matrix, freedom = hc3(linear.jacobian, residual, weight)
        return Covariance(matrix * factor**2, "hc3", freedom, reason)
    matrix, freedom = classical(linear.jacobian, residual, np.where(used, weight, 0.0))
    return Covariance(matrix * factor**2, "classical", freedom)


def _bootstrap(optimum: Optimum, resampling: Resampling, clusters: Int[np.ndarray, " row"] | None) -> Covariance:
    """Bootstrap standard errors from the central 68 % of resamples, which is robust to outlying refits."""
    problem, weight, size = optimum.problem, optimum.weight, len(optimum.problem.free)
    used, n_resamples = np.flatnonzero(weight > 0), resampling.n_resamples
    if not n_resamples:
        reason = "no resamples were requested, which this loss needs"
        return Covariance(np.full((size, size), np.nan), "none", len(used) - size, reason)
    draws, failed = bootstrap(
        resampling.runner,
        problem,
        move_off_bounds(optimum),
        optimum.response,
        weight,
        run=clusters,
        n_resamples=n_resamples,
        generator=resampling.generator,
    )
    table = np.stack([draws[name] for name in problem.free])
    units = len(used) if clusters is None else len(np.unique(clusters[used]))
    freedom = units - (1 if clusters is not None else size)
    method = "cluster bootstrap" if clusters is not None else "bootstrap"
    if table.shape[1] < 2:
        return Covariance(np.full((size, size), np.inf), method, freedom, failed=failed)
    ends = np.quantile(table, SHARES, axis=1)
    spread = (ends[SHARES.index(0.8413)] - ends[SHARES.index(0.1587)]) / 2
    # Resamples are least skewed on the unbounded scale.
    kinds = problem.law.parameters
    free = np.stack([unbounded(kinds[name].support, row) for name, row in zip(problem.free, table, strict=True)])
    free = np.nan_to_num(free, neginf=-700.0, posinf=700.0)
    clipped = np.clip(free, *np.quantile(free, [0.025, 0.975], axis=1)[..., None])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.atleast_2d(np.corrcoef(clipped)))
    np.fill_diagonal(correlation, 1.0)
    percentiles = {name: tuple(map(float, ends[:, k])) for k, name in enumerate(problem.free)}
    return Covariance(correlation * np.outer(spread, spread), method, freedom, "", failed, percentiles)


def _parameter_sandwich(
    optimum: Optimum, clusters: Int[np.ndarray, " row"] | None
) -> tuple[Float[np.ndarray, "free free"], int]:
    """The sandwich covariance in the parameters themselves, for coordinates that are flat at a bound."""
    linear, weight, used = optimum.linear, optimum.weight, np.flatnonzero(optimum.used)
    log_scale = optimum.problem.log_scale(optimum.z)
    psi, bend, _ = (np.asarray(a)[used] for a in _slopes_of_rows(optimum, log_scale))
    x, w = linear.jacobian[used], weight[used]
    shares = (w * np.maximum(bend, 0))[:, None, None] * x[:, :, None] * x[:, None, :]
    codes = None if clusters is None else clusters[used]
    return sandwich(shares.sum(axis=0), (w * psi)[:, None] * x, np.eye(x.shape[1]), codes, shares)


def robust_covariance(
    optimum: Optimum,
    hessian: Float[np.ndarray, "size size"],
    change: Float[np.ndarray, "quantity size"],
    clusters: Int[np.ndarray, " row"] | None,
) -> tuple[Float[np.ndarray, "quantity quantity"], int]:
    """Sandwich covariance of functions of the coordinates with derivative ``change``, clustered by runs.

    Args:
        optimum: the problem at its optimum.
        hessian: of the objective in the coordinates, shape (q, q).
        change: derivative of the quantities in the coordinates, shape (p, q).
        clusters: codes of the runs, shape (n,), or None.

    Returns:
        Covariance of shape (p, p) and the degrees of freedom.
    """
    problem, linear, weight, z = optimum.problem, optimum.linear, optimum.weight, optimum.z
    noise, used = problem.noise, np.flatnonzero(weight > 0)
    # All rows with padding: one shape per bucket, so that new data do not recompile.
    s = np.asarray(problem.log_scale(z), float)
    psi, bend, tilt = (np.asarray(a)[used] for a in _slopes_of_rows(optimum, s))
    slope = np.asarray(linear.slope)[used]
    scores = (weight[used] * psi)[:, None] * slope
    if noise.loss.concomitant_scale:
        cost = float(noise.loss.scale_cost(len(problem.free), weight, s)) / weight.sum()
        tilt = tilt + cost
    if noise.infers_scale:
        scores[:, -1] = weight[used] * tilt
    if clusters is None:
        return sandwich(hessian, scores, change, None)
    shares = (weight[used] * np.maximum(bend, 0))[:, None, None] * slope[:, :, None] * slope[:, None, :]
    return sandwich(hessian, scores, change, clusters[used], shares)


def _information(optimum: Optimum, hessian: Float[np.ndarray, "size size"]) -> Covariance:
    """The inverse of the observed information of a maximum likelihood fit."""
    size, change = len(optimum.problem.free), np.asarray(optimum.linear.change)
    count = size if scale_diverges(optimum, hessian) else len(hessian)
    try:
        root = np.linalg.cholesky(hessian[:count, :count])
    except np.linalg.LinAlgError:
        reason = "the observed information is not positive definite"
        return Covariance(np.full((size, size), np.inf), "none", optimum.freedom, reason)
    half = np.linalg.solve(root, change[:, :count].T)
    return Covariance(half.T @ half, "observed information", optimum.freedom)


def scale_diverges(optimum: Optimum, hessian: Float[np.ndarray, "size size"]) -> bool:
    """Whether the counts show no overdispersion, so that the nuisance parameter diverges."""
    noise = optimum.problem.noise
    return bool(noise.loss.counts and noise.infers_scale and not hessian[-1, -1] > 1e-6 * optimum.rows)


def _slopes_of_rows(
    optimum: Optimum, log_scale: Number
) -> tuple[Float[Array, " row"], Float[Array, " row"], Float[Array, " row"]]:
    """The derivatives of :func:`_slopes`; for counts with respect to the prediction."""
    problem, linear = optimum.problem, optimum.linear
    if problem.noise.loss.counts:
        return _slopes_of_counts(problem.noise, linear.prediction, optimum.response, log_scale, problem.inputs)
    return _slopes(problem.noise, linear.residual, log_scale)


@compiled(brief=True)
def _slopes_of_counts(
    noise: Noise,
    m: Float[Array, " row"],
    y: Float[Array, " row"],
    log_scale: Number,
    data: Mapping[str, Real[Array, "... row"]],
) -> tuple[Float[Array, " row"], Float[Array, " row"], Float[Array, " row"]]:
    """First and expected second derivative of every row's loss in the prediction, and the first in the log scale."""
    loss: Any = noise.loss
    s = jnp.broadcast_to(log_scale, m.shape)
    first, _, second = loss.derivatives(m, y, s, data)
    return first, second, loss.scale_derivatives(m, y, s, data)[0] if noise.infers_scale else jnp.zeros_like(m)


@compiled(brief=True)
def _slopes(
    noise: Noise, r: Float[Array, " row"], log_scale: Number
) -> tuple[Float[Array, " row"], Float[Array, " row"], Float[Array, " row"]]:
    """First and second derivative of every row's loss in the residual, and the first in the log scale, shape (n,)."""
    first, second, _ = noise.loss.slopes(r, jnp.asarray(noise.loss.threshold, r.dtype), log_scale)
    cost = jax.vmap(jax.grad(lambda s, r: noise.loss.value(r, jnp.inf, s)), in_axes=(None, 0))
    return first, second, cost(log_scale, r) if noise.infers_scale else jnp.zeros_like(r)
