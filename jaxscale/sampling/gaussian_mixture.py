"""Gaussian mixtures fitted to posterior draws by expectation maximisation (EM)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt32

# EM iterations, and the prior weight, in draws, of half the overall covariance towards which components shrink.
STEPS, HELD = 12, 4.0


class GaussianMixture(NamedTuple):
    """A mixture ``sum_k w_k Normal(m_k, R_k R_k')``, and the moments of the draws it was fitted to.

    Args:
        weights: shape (components,).
        means: shape (components, size).
        roots: lower triangular, shape (components, size, size).
        mean: of all draws, shape (size,).
        root: of the covariance of all draws, lower triangular.
    """

    weights: Float[np.ndarray, " component"]
    means: Float[np.ndarray, "component size"]
    roots: Float[np.ndarray, "component size size"]
    mean: Float[np.ndarray, " size"]
    root: Float[np.ndarray, "size size"]


def fit_mixture(x: Float[np.ndarray, "draw size"], seed: UInt32[np.ndarray, " 2"], components: int) -> GaussianMixture:
    """Fit a Gaussian mixture to draws by EM, in whitened coordinates.

    Args:
        x: draws of equal weight, shape (draws, size).
        seed: words of the seed of the initial means.
        components: number of components.

    Source: Cappé 2008, arXiv:0710.4242 (adaptive importance sampling by mixtures).
    """
    size = x.shape[1]
    middle = x.mean(axis=0)
    covariance = (x - middle).T @ (x - middle) / len(x)
    whole = np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diagonal(covariance)))
    # Coordinates first, draws last: sums over few coordinates are then sums over long rows.
    y = np.linalg.solve(whole, (x - middle).T)
    means, own, held = _initial_means(y, seed, components), np.eye(size), HELD * size
    covariances = np.broadcast_to(0.5 * own, (components, size, size))
    weights = np.full(components, 1 / components)
    # A log density is a linear combination of products of coordinates, and moments are sums of them.
    products = np.concatenate([(y[:, None] * y).reshape(size * size, -1), y, np.ones((1, len(x)))])
    for _ in range(STEPS):
        inverses = np.linalg.inv(covariances)
        towards = np.einsum("kij,kj->ki", inverses, means)
        constant = np.log(weights) + 0.5 * (np.linalg.slogdet(inverses)[1] - np.sum(towards * means, axis=1))
        factors = np.concatenate([-0.5 * inverses.reshape(components, -1), towards, constant[:, None]], axis=1)
        share = factors @ products
        share = np.exp(share - share.max(axis=0))
        share /= share.sum(axis=0)
        moments = share @ products.T
        total = moments[:, -1] + 1e-9
        weights = total / total.sum()
        means = moments[:, size * size : -1] / total[:, None]
        scatter = (
            moments[:, : size * size].reshape(-1, size, size) - total[:, None, None] * means[:, None] * means[..., None]
        )
        covariances = (scatter + 0.5 * held * own) / (total + held)[:, None, None]
    return GaussianMixture(weights, middle + means @ whole.T, whole @ np.linalg.cholesky(covariances), middle, whole)


def _initial_means(
    y: Float[np.ndarray, "size draw"], seed: UInt32[np.ndarray, " 2"], components: int
) -> Float[np.ndarray, "component size"]:
    """Initial means of the components by capped k-means++ seeding: draws far from each other."""
    generator = np.random.default_rng([*seed, 2])
    means, near = np.empty((components, len(y))), np.full(y.shape[1], np.inf)
    for k in range(components):
        # Capped, so that an outlier is not chosen as an initial mean.
        odds = np.minimum(near, 9.0)
        means[k] = y[:, generator.choice(y.shape[1], p=odds / odds.sum() if odds.sum() > 0 else None)]
        near = np.minimum(near, np.sum((y - means[k][:, None]) ** 2, axis=0))
    return means
