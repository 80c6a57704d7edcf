"""Mixtures of normals fitted to draws of many posteriors at once: bent and skew posteriors are covered by pieces."""

import numpy as np

# Steps of EM, and how many draws at half the overall covariance each component's own covariance is shrunk towards.
STEPS, HELD = 12, 4.0
# Posteriors that are worked on at a time.
TOGETHER = 128


def fitted(x: np.ndarray, seeds: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit ``sum_k w_k Normal(m_k, S_k)`` to the draws of every posterior by EM, in coordinates that these whiten.

    Args:
        x: draws of equal weight, shape (posteriors, draws, size).
        seeds: words of the seed of each, shape (posteriors, words): where the components start.
        components: how many.

    Returns:
        Weights of shape (posteriors, components), means (..., size) and lower triangular roots (..., size, size).

    Source: Cappé 2008, arXiv:0710.4242 (adaptive importance sampling by mixtures).
    """
    parts = [
        _fitted(x[k : k + TOGETHER], seeds[k : k + TOGETHER], components) for k in range(0, max(len(x), 1), TOGETHER)
    ]
    weights, means, roots = (np.concatenate(several) for several in zip(*parts, strict=True))
    return weights, means, roots


def _fitted(x: np.ndarray, seeds: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count, draws, size = x.shape
    middle = x.mean(axis=1, keepdims=True)
    covariance = np.einsum("bni,bnj->bij", x - middle, x - middle) / draws
    whole = np.linalg.cholesky(covariance + 1e-9 * np.eye(size) * np.diagonal(covariance, axis1=1, axis2=2)[:, None])
    y = np.linalg.solve(whole, (x - middle).transpose(0, 2, 1)).transpose(0, 2, 1)
    means, own = _spread(y, seeds, components), np.eye(size)
    covariances = np.broadcast_to(0.5 * own, (count, components, size, size))
    weights = np.full((count, components), 1 / components)
    for _ in range(STEPS):
        roots = np.linalg.cholesky(covariances)
        volume = np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(axis=-1)
        away = np.einsum("bkij,bnkj->bnki", np.linalg.inv(roots), y[:, :, None] - means[:, None])
        share = np.log(weights) - volume
        share = share[:, None] - 0.5 * np.sum(away**2, axis=-1)
        share = np.exp(share - share.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        total = share.sum(axis=1) + 1e-9
        weights = total / total.sum(axis=1, keepdims=True)
        means = np.einsum("bnk,bni->bki", share, y) / total[..., None]
        apart = np.sqrt(share)[..., None] * (y[:, :, None] - means[:, None])
        moments = np.einsum("bnki,bnkj->bkij", apart, apart, optimize=True)
        held = HELD * size
        covariances = (moments + 0.5 * held * own) / (total + held)[..., None, None]
    roots = np.einsum("bij,bkjl->bkil", whole, np.linalg.cholesky(covariances))
    return weights, middle + np.einsum("bij,bkj->bki", whole, means), roots


def _spread(y: np.ndarray, seeds: np.ndarray, components: int) -> np.ndarray:
    """Draws to start the components at, far from each other: each the likelier the further from those before."""
    means = np.empty((len(y), components, y.shape[2]))
    for own, draws, seed in zip(means, y, seeds, strict=True):
        generator = np.random.default_rng([*seed, 2])
        near = np.full(len(draws), np.inf)
        for k in range(components):
            # Capped, so that a single draw far out is no start of its own.
            odds = np.minimum(near, 9.0)
            own[k] = draws[generator.choice(len(draws), p=odds / odds.sum() if odds.sum() > 0 else None)]
            near = np.minimum(near, np.sum((draws - own[k]) ** 2, axis=1))
    return means
