"""Importance sampling about the modes, with Pareto-smoothed weights: the cheap rung of a posterior."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import gammaln, logsumexp

from jaxscale import psis

# Degrees of freedom of the proposals: heavier tails than a posterior of many rows has.
DF = 5.0
# Weights are trusted below this shape of their tail, and moments that a proposal is built from below the second.
TRUSTED, HOPELESS = 0.7, 3.0


class Proposal(eqx.Module):
    """A mixture of multivariate t distributions.

    Args:
        means: shape (components, size).
        roots: lower triangular, shape (components, size, size).
        log_weights: shape (components,); -inf where a component is not used.
    """

    means: Any
    roots: Any
    log_weights: Any


class Weighted(eqx.Module):
    """Draws of equal weight and what is known of the weighted ones that they were taken from.

    Args:
        x: shape (draws, size).
        log_density: of the draws, shape (draws,).
        khat: shape of the tail of the weights.
        ess: effective number of the proposal's draws.
        mean: weighted mean, shape (size,).
        root: of the weighted covariance, lower triangular.
    """

    x: Any
    log_density: Any
    khat: Any
    ess: Any
    mean: Any
    root: Any


def log_density_of(proposal: Proposal, x: Any) -> Any:
    """The log density of a proposal at x, shape (size,)."""
    size = x.shape[0]

    def one(mean: Any, root: Any) -> Any:
        y = jax.scipy.linalg.solve_triangular(root, x - mean, lower=True)
        bend = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(root))))
        constant = gammaln(0.5 * (DF + size)) - gammaln(0.5 * DF) - 0.5 * size * jnp.log(DF * jnp.pi)
        return constant - bend - 0.5 * (DF + size) * jnp.log1p(jnp.sum(y * y) / DF)

    return logsumexp(proposal.log_weights + jax.vmap(one)(proposal.means, proposal.roots))


def drawn(proposal: Proposal, key: Any, count: int) -> Any:
    """Draws of a proposal, shape (count, size)."""
    which, normal, gamma = jr.split(key, 3)
    size = proposal.means.shape[1]
    component = jr.categorical(which, proposal.log_weights, shape=(count,))
    e = jr.normal(normal, (count, size), proposal.means.dtype)
    stretch = jnp.sqrt(0.5 * DF / jr.gamma(gamma, 0.5 * DF, (count,), proposal.means.dtype))
    moved = jnp.einsum("cij,cj->ci", proposal.roots[component], e * stretch[:, None])
    return proposal.means[component] + moved


def sampled(
    log_density: Callable[[Any], Any], proposal: Proposal, key: Any, count: int, draws: int, together: int
) -> Weighted:
    """Draw from a proposal, weigh by the density, smooth the weights, resample.

    Args:
        log_density: of a vector of shape (size,), up to a constant.
        proposal: where to draw.
        key: random key.
        count: draws of the proposal.
        draws: draws that are handed back, by systematic resampling and in random order.
        together: densities that are worked on at a time.
    """
    first, second, third = jr.split(key, 3)
    x = drawn(proposal, first, count)
    both = lambda x: (log_density(x), log_density_of(proposal, x))  # noqa: E731
    target, proposed = jax.lax.map(both, x, batch_size=together)
    log_weights, khat = psis.smoothed(target - proposed)
    chosen = jr.permutation(third, psis.systematic(second, log_weights, draws))
    weight = jnp.exp(log_weights)[:, None]
    safe = jnp.where(weight > 0, x, 0.0)
    mean = jnp.sum(weight * safe, axis=0)
    away = jnp.where(weight > 0, x - mean, 0.0)
    # A little of the proposal's own spread keeps a covariance of few draws from collapsing.
    covariance = (weight * away).T @ away
    root = jnp.linalg.cholesky(covariance + 1e-9 * jnp.diag(jnp.diagonal(covariance)))
    return Weighted(x[chosen], target[chosen], khat, psis.effective(log_weights), mean, root)
