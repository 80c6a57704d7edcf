"""Importance sampling about the modes, with Pareto-smoothed weights."""

import math
from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int, UInt32

from jaxscale.utils.arrays import Number

# Degrees of freedom of the proposals: heavier tails than a posterior of many rows has.
DF = 5.0
# Least relative effective sample size of reliable weights, in addition to k-hat, which cannot detect regions without
# draws, such as the arms of a curved ridge (studied in jaxscale.sampling.calibration_region).
EFFICIENT = 0.2


class Proposal(eqx.Module):
    """A mixture of multivariate t distributions.

    Args:
        means: shape (components, size).
        roots: lower triangular, shape (components, size, size).
        inverses: of the roots.
        log_weights: shape (components,); -inf where a component is not used.
    """

    means: Float[np.ndarray, "component size"]
    roots: Float[np.ndarray, "component size size"]
    inverses: Float[np.ndarray, "component size size"]
    log_weights: Float[np.ndarray, " component"]


class WeightedDraws(eqx.Module):
    """Draws of a proposal with their importance weights.

    Args:
        x: shape (draws, size).
        log_density: of the draws, shape (draws,).
        log_weights: smoothed and normalised, shape (draws,).
        khat: shape of the tail of the weights.
        ess: effective sample size.
    """

    x: Float[np.ndarray, "draw size"]
    log_density: Float[np.ndarray, " draw"]
    log_weights: Float[np.ndarray, " draw"]
    khat: float
    ess: float


def log_density_of(proposal: Proposal, x: Float[np.ndarray, "draw size"]) -> Float[np.ndarray, " draw"]:
    """The log density of a proposal at x of shape (draws, size), shape (draws,)."""
    size = x.shape[1]
    used = np.flatnonzero(proposal.log_weights > -np.inf)
    constant = math.lgamma(0.5 * (DF + size)) - math.lgamma(0.5 * DF) - 0.5 * size * math.log(DF * math.pi)
    terms, columns = np.empty((len(used), len(x))), np.ascontiguousarray(x.T)
    for row, k in zip(terms, used, strict=True):
        y = proposal.inverses[k] @ (columns - proposal.means[k][:, None])
        bend = np.sum(np.log(np.abs(np.diagonal(proposal.roots[k]))))
        distance = np.einsum("in,in->n", y, y)
        row[:] = constant - bend - 0.5 * (DF + size) * np.log1p(distance / DF) + proposal.log_weights[k]
    top = terms.max(axis=0)
    return top + np.log(np.exp(terms - top).sum(axis=0))


def draw_proposal(
    proposal: Proposal, component: Int[np.ndarray, " draw"], noise: Float[np.ndarray, "draw size"]
) -> Float[np.ndarray, "draw size"]:
    """Draws of a proposal, shape (draws, size).

    Args:
        proposal: the proposal.
        component: component of each draw, shape (draws,).
        noise: standard t of DF degrees of freedom, shape (draws, size), see :func:`noise_of`.
    """
    x = np.empty_like(noise)
    for k in np.unique(component):
        own = component == k
        x[own] = proposal.means[k] + noise[own] @ proposal.roots[k].T
    return x


def noise_of(
    seed: Sequence[Number], log_weights: Float[np.ndarray, " component"], count: int, size: int
) -> tuple[Int[np.ndarray, " draw"], Float[np.ndarray, "draw size"]]:
    """Components and noise of ``count`` draws, by NumPy: JAX's random numbers take seconds to compile.

    Args:
        seed: words of the seed.
        log_weights: of the components, shape (components,), up to a constant.
        count: number of draws.
        size: number of coordinates.
    """
    generator = np.random.default_rng(seed)
    weight = np.exp(log_weights - log_weights.max())
    component = generator.choice(len(weight), count, p=weight / weight.sum())
    stretch = np.sqrt(DF / generator.chisquare(DF, (count, 1)))
    return component.astype(np.int32), generator.standard_normal((count, size)) * stretch


def resample(
    seed: UInt32[np.ndarray, " 2"], log_weights: Float[np.ndarray, " proposed"], draws: int
) -> Int[np.ndarray, " draw"]:
    """Indices of equally weighted draws by systematic resampling, in random order.

    Args:
        seed: words of the seed.
        log_weights: shape (proposed,).
        draws: number of indices.
    """
    generator = np.random.default_rng([*seed, 1])
    edges = np.cumsum(np.exp(log_weights))
    place = (np.arange(draws) + generator.uniform()) / draws * edges[-1]
    index = np.minimum(np.searchsorted(edges, place, side="right"), len(edges) - 1)
    return generator.permutation(index)


def temper(log_weights: Float[np.ndarray, " draw"], enough: float) -> Float[np.ndarray, " draw"]:
    """Log weights tempered by the power, at most 1, at which the effective sample size is as given; shape (draws,).

    Args:
        log_weights: shape (draws,).
        enough: the effective sample size.

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
