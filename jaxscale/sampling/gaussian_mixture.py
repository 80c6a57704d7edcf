"""Mixtures of normals fitted to draws of a posterior: one that is bent or skew is covered by pieces."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt32

# Steps of EM, and how many draws at half the overall covariance each component's own covariance is shrunk towards.
STEPS, HELD = 12, 4.0


class Pieces(NamedTuple):
    """A mixture ``sum_k w_k Normal(m_k, R_k R_k')``, and the moments of the draws that it was fitted to.

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


def fitted(x: Float[np.ndarray, "draw size"], seed: UInt32[np.ndarray, " 2"], components: int) -> Pieces:
    """Fit a mixture of normals to draws by EM, in coordinates that these whiten.

    Args:
        x: draws of equal weight, shape (draws, size).
        seed: words of the seed: where the components start.
        components: how many.

    Source: Cappé 2008, arXiv:0710.4242 (adaptive importance sampling by mixtures).
    """
    size = x.shape[1]
    middle = x.mean(axis=0)
    covariance = (x - middle).T @ (x - middle) / len(x)
    whole = np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diagonal(covariance)))
    # Coordinates first, draws last: sums over few coordinates are then sums of long rows.
    y = np.linalg.solve(whole, (x - middle).T)
    means, own, held = _spread(y, seed, components), np.eye(size), HELD * size
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
    return Pieces(weights, middle + means @ whole.T, whole @ np.linalg.cholesky(covariances), middle, whole)


def _spread(
    y: Float[np.ndarray, "size draw"], seed: UInt32[np.ndarray, " 2"], components: int
) -> Float[np.ndarray, "component size"]:
    """Draws to start the components at, far from each other: each the likelier the further from those before."""
    generator = np.random.default_rng([*seed, 2])
    means, near = np.empty((components, len(y))), np.full(y.shape[1], np.inf)
    for k in range(components):
        # Capped, so that a single draw far out is no start of its own.
        odds = np.minimum(near, 9.0)
        means[k] = y[:, generator.choice(y.shape[1], p=odds / odds.sum() if odds.sum() > 0 else None)]
        near = np.minimum(near, np.sum((y - means[k][:, None]) ** 2, axis=0))
    return means
