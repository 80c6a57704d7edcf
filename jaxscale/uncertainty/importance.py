"""Importance sampling about the modes, with Pareto-smoothed weights: the cheap rung of a posterior."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from jaxscale import psis

# Degrees of freedom of the proposals: heavier tails than a posterior of many rows has.
DF = 5.0
# Weights are trusted below this shape of their tail, and where this share of the draws is effective: k-hat cannot see
# the arms of a bent ridge in which no draw has landed (measured: jaxscale.uncertainty.calibrated).
TRUSTED, EFFICIENT = 0.7, 0.2


class Proposal(eqx.Module):
    """A mixture of multivariate t distributions.

    Args:
        means: shape (components, size).
        roots: lower triangular, shape (components, size, size).
        inverses: of the roots.
        log_weights: shape (components,); -inf where a component is not used.
    """

    means: Any
    roots: Any
    inverses: Any
    log_weights: Any


class Weighted(eqx.Module):
    """Draws of a proposal with their weights.

    Args:
        x: shape (draws, size).
        log_density: of the draws, shape (draws,).
        log_weights: smoothed, whose weights sum to 1, shape (draws,).
        khat: shape of the tail of the weights.
        ess: effective number of the proposal's draws.
    """

    x: Any
    log_density: Any
    log_weights: Any
    khat: Any
    ess: Any


def log_density_of(proposal: Proposal, x: Any) -> Any:
    """The log density of a proposal at x, shape (size,)."""
    size = x.shape[0]

    def one(mean: Any, root: Any, inverse: Any) -> Any:
        # No solver: two batches of LAPACK at the same time wait for each other for ever on two cores (jaxlib 0.10).
        y = jnp.einsum("ij,j->i", inverse, x - mean, precision=jax.lax.Precision.HIGHEST)
        bend = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(root))))
        constant = gammaln(0.5 * (DF + size)) - gammaln(0.5 * DF) - 0.5 * size * jnp.log(DF * jnp.pi)
        return constant - bend - 0.5 * (DF + size) * jnp.log1p(jnp.sum(y * y) / DF)

    return logsumexp(proposal.log_weights + jax.vmap(one)(proposal.means, proposal.roots, proposal.inverses))


def sampled(
    log_density: Callable[[Any], Any], proposal: Proposal, component: Any, noise: Any, together: int
) -> Weighted:
    """Draw from a proposal, weigh by the density, smooth the weights.

    Args:
        log_density: of a vector of shape (size,), up to a constant.
        proposal: where to draw.
        component: that each draw is from, shape (draws,).
        noise: standard t of DF degrees of freedom, shape (draws, size), see :func:`noise_of`.
        together: densities that are worked on at a time.
    """
    moved = jnp.einsum("cij,cj->ci", proposal.roots[component], noise, precision=jax.lax.Precision.HIGHEST)
    x = proposal.means[component] + moved
    both = lambda x: (log_density(x), log_density_of(proposal, x))  # noqa: E731
    target, proposed = jax.lax.map(both, x, batch_size=together)
    log_weights, khat = psis.smoothed(target - proposed)
    return Weighted(x, target, log_weights, khat, psis.effective(log_weights))


def noise_of(seed: np.ndarray, log_weights: np.ndarray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Components and noise of ``count`` draws, by NumPy: random numbers of JAX take seconds to compile.

    Args:
        seed: words of the seed.
        log_weights: of the components, shape (components,), normalised to within a constant.
        count: number of draws.
        size: number of coordinates.
    """
    generator = np.random.default_rng(seed)
    weight = np.exp(log_weights - log_weights.max())
    component = generator.choice(len(weight), count, p=weight / weight.sum())
    stretch = np.sqrt(DF / generator.chisquare(DF, (count, 1)))
    return component.astype(np.int32), generator.standard_normal((count, size)) * stretch


def resampled(seed: np.ndarray, log_weights: np.ndarray, draws: int) -> np.ndarray:
    """Places of draws of equal weight, by systematic resampling, in random order.

    Args:
        seed: words of the seed.
        log_weights: shape (proposed,).
        draws: how many are taken.
    """
    generator = np.random.default_rng([*seed, 1])
    edges = np.cumsum(np.exp(log_weights))
    place = (np.arange(draws) + generator.uniform()) / draws * edges[-1]
    chosen = np.minimum(np.searchsorted(edges, place, side="right"), len(edges) - 1)
    return generator.permutation(chosen)


def tempered(log_weights: np.ndarray, enough: float) -> np.ndarray:
    """Log weights raised to the power, at most 1, at which so many draws are effective; shape (draws,).

    Args:
        log_weights: shape (draws,).
        enough: effective draws that are asked for.

    Source: Cappé 2004, doi:10.1198/106186004X12803 (population Monte Carlo); the power is chosen as in tempering.
    """
    top = log_weights - log_weights.max()

    def effective(power: float) -> float:
        weight = np.exp(power * top)
        return weight.sum() ** 2 / (weight**2).sum()

    low, high = 0.0, 1.0
    if effective(high) >= enough:
        return log_weights
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) >= enough else (low, middle)
    return low * top
