"""Pareto-smoothed importance sampling (PSIS) and its k-hat diagnostic.

The largest weights are replaced by quantiles of a generalised Pareto distribution fitted to them. Its shape ``khat``
measures the tail: below 0.7 the estimates are reliable.

Source: Pareto Smoothed Importance Sampling, Vehtari 2024, arXiv:1507.02646; the fit of the tail is that of Zhang 2009,
with the prior on the shape of the former.
"""

import math

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float, Int

from jaxscale.utils.arrays import Array, RandomKey

# Importance weights are unreliable at or above this k-hat (Vehtari et al., section 3).
KHAT_LIMIT = 0.7


def smooth(log_ratios: Float[np.ndarray, " draw"]) -> tuple[Float[np.ndarray, " draw"], float]:
    """Pareto-smoothed, normalised log weights and their k-hat.

    In NumPy, since XLA takes long to compile a sort.

    Args:
        log_ratios: log density over log density of the proposal, shape (draws,), up to a constant; NaN counts as -inf.

    Returns:
        Log weights of shape (draws,), and khat: infinite where the tail has fewer than five weights.
    """
    count = len(log_ratios)
    tail = min(int(0.2 * count), math.ceil(3 * math.sqrt(count)))
    ratios = np.where(np.isnan(log_ratios), -np.inf, log_ratios)
    top = ratios.max()
    if not np.isfinite(top):
        return ratios, math.inf
    ratios = ratios - top
    if tail < 5:
        return ratios - _log_sum(ratios), math.inf
    order = np.argsort(ratios, kind="stable")
    rising = ratios[order]
    # Avoid underflow of the exponential of the cut-off.
    cut = max(rising[count - tail - 1], math.log(np.finfo(float).tiny))
    above = rising[count - tail :]
    excess = np.exp(above) - math.exp(cut)
    if not excess[-1] > excess[0] + 1e-10 * abs(excess[-1]):
        return ratios - _log_sum(ratios), -math.inf
    with np.errstate(all="ignore"):
        shape, scale = _pareto(excess)
        quantiles = np.log(_quantile((np.arange(tail) + 0.5) / tail, shape, scale) + math.exp(cut))
    ratios[order[count - tail :]] = np.where(np.isfinite(quantiles), np.minimum(quantiles, 0.0), above)
    return ratios - _log_sum(ratios), shape


def _pareto(x: Float[np.ndarray, " tail"]) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution fitted to sorted excesses."""
    count = len(x)
    points = 30 + int(math.sqrt(count))
    quarter = max(x[int(count / 4 + 0.5) - 1], np.finfo(float).tiny)
    step = np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    theta = 1 / x[-1] + (1 - step) / (3 * quarter)
    shapes = np.log1p(-theta[:, None] * x).mean(axis=1)
    likelihood = count * (np.log(-theta / shapes) - shapes - 1)
    likelihood = np.where(np.isnan(likelihood), -np.inf, likelihood)
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    best = np.sum(np.where(weight > 0, theta * weight, 0.0))
    shape = np.log1p(-best * x).mean()
    scale = -shape / best
    # The prior on the shape is worth ten observations at a half.
    return float((shape * count + 5.0) / (count + 10.0)), float(scale)


def _quantile(p: Float[np.ndarray, " tail"], shape: float, scale: float) -> Float[np.ndarray, " tail"]:
    if abs(shape) < 1e-12:
        return -scale * np.log1p(-p)
    return scale * np.expm1(-shape * np.log1p(-p)) / shape


def _log_sum(values: Float[np.ndarray, " draw"]) -> np.floating:
    """``log(sum(exp(values)))``."""
    top = values.max()
    return top + np.log(np.exp(values - top).sum())


def effective_sample_size(log_weights: Float[np.ndarray, " draw"]) -> float:
    """Effective sample size ``1 / sum w^2`` of normalised log weights of shape (draws,)."""
    with np.errstate(invalid="ignore"):
        return float(np.exp(-_log_sum(2 * log_weights)))


def systematic(key: RandomKey, log_weights: Float[Array, " draw"], count: int) -> Int[Array, " count"]:
    """Systematic resampling: ``count`` sorted indices, each repeated in proportion to its weight, to within one."""
    edges = jnp.cumsum(jnp.exp(log_weights))
    place = (jnp.arange(count, dtype=edges.dtype) + jr.uniform(key, dtype=edges.dtype)) / count * edges[-1]
    return jnp.minimum(jnp.searchsorted(edges, place, side="right"), log_weights.shape[0] - 1)
