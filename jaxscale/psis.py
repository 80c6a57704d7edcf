"""Pareto-smoothed importance sampling: weights whose largest are smoothed, and how far they can be trusted.

The largest weights are replaced by quantiles of a generalised Pareto distribution fitted to them; its shape ``khat``
says how heavy their tail is: below 0.7 sums of the weights can be trusted.

Source: Pareto Smoothed Importance Sampling, Vehtari 2024, arXiv:1507.02646; the fit of the tail is that of Zhang 2009,
with the prior on the shape of the former.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import logsumexp


def smoothed(log_ratios: Any) -> tuple[Any, Any]:
    """Smoothed log weights that sum to 1, and the shape of their tail.

    Args:
        log_ratios: log density over log density of the proposal, shape (draws,), up to a constant; NaN counts as -inf.

    Returns:
        Log weights of shape (draws,), and khat: infinite where fewer than five weights make the tail.
    """
    count = log_ratios.shape[0]
    tail = min(int(0.2 * count), math.ceil(3 * math.sqrt(count)))
    ratios = jnp.where(jnp.isnan(log_ratios), -jnp.inf, log_ratios)
    top = jnp.max(ratios)
    ratios = ratios - jnp.where(jnp.isfinite(top), top, 0.0)
    if tail < 5:
        return ratios - logsumexp(ratios), jnp.asarray(jnp.inf, ratios.dtype)
    order = jnp.argsort(ratios)
    rising = ratios[order]
    # A cut-off that underflows would make an empty exponential.
    cut = jnp.maximum(rising[count - tail - 1], jnp.log(jnp.finfo(ratios.dtype).tiny))
    above = rising[count - tail :]
    excess = jnp.exp(above) - jnp.exp(cut)
    spread = excess[-1] > excess[0] + 1e-10 * jnp.abs(excess[-1])
    shape, scale = _pareto(jnp.where(spread, excess, jnp.arange(1.0, tail + 1)))
    place = (jnp.arange(tail) + 0.5) / tail
    quantiles = jnp.log(_quantile(place, shape, scale) + jnp.exp(cut))
    fitted = jnp.where(spread & jnp.isfinite(quantiles), jnp.minimum(quantiles, 0.0), above)
    weights = ratios.at[order[count - tail :]].set(fitted)
    khat = jnp.where(spread, shape, -jnp.inf)
    return weights - logsumexp(weights), jnp.where(jnp.isfinite(top), khat, jnp.inf)


def _pareto(x: Any) -> tuple[Any, Any]:
    """Shape and scale of a generalised Pareto distribution that rising excesses come from."""
    count = x.shape[0]
    points = 30 + int(math.sqrt(count))
    quarter = jnp.maximum(x[int(count / 4 + 0.5) - 1], jnp.finfo(x.dtype).tiny)
    step = jnp.sqrt(points / (jnp.arange(1, points + 1) - 0.5))
    theta = 1 / x[-1] + (1 - step) / (3 * quarter)
    shapes = jax.vmap(lambda t: jnp.mean(jnp.log1p(-t * x)))(theta)
    likelihood = count * (jnp.log(-theta / shapes) - shapes - 1)
    weight = jax.nn.softmax(jnp.where(jnp.isnan(likelihood), -jnp.inf, likelihood))
    best = jnp.sum(jnp.where(weight > 0, theta * weight, 0.0))
    shape = jnp.mean(jnp.log1p(-best * x))
    scale = -shape / best
    # The prior on the shape is worth ten observations at a half.
    return (shape * count + 5.0) / (count + 10.0), scale


def _quantile(p: Any, shape: Any, scale: Any) -> Any:
    near = jnp.abs(shape) < 1e-12
    safe = jnp.where(near, 1.0, shape)
    return scale * jnp.where(near, -jnp.log1p(-p), jnp.expm1(-safe * jnp.log1p(-p)) / safe)


def effective(log_weights: Any) -> Any:
    """The effective number of draws, ``1 / sum w^2``, of normalised log weights of shape (draws,)."""
    return jnp.exp(-logsumexp(2 * log_weights))


def systematic(key: Any, log_weights: Any, count: int) -> Any:
    """Systematic resampling: ``count`` rising indices, each as often as its weight asks for, to within one."""
    edges = jnp.cumsum(jnp.exp(log_weights))
    place = (jnp.arange(count) + jr.uniform(key, dtype=edges.dtype)) / count * edges[-1]
    return jnp.minimum(jnp.searchsorted(edges, place, side="right"), log_weights.shape[0] - 1)
