"""Mixtures: the weights of models whose mixture has the largest mean log density, to a proven accuracy."""

import math

import numpy as np

# The mean log density of the best mixture exceeds that of the found one by less than this.
EXACT = 1e-10


def mixed(log_density: np.ndarray) -> np.ndarray:
    """The weights of the best mixture, shape (models,), from log densities of shape (units, models)."""
    from scipy.optimize import nnls

    units, models = log_density.shape
    p = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    w = np.full(models, 1 / models)
    for _ in range(200):
        ratio = p / (p @ w)[:, None]
        gradient = ratio.mean(axis=0)
        if gradient.max() - 1 <= EXACT:
            break
        # Without the constraint that they sum to one: -mean log(p w) + sum w has the same optimum.
        root = np.vstack([ratio / math.sqrt(units), 1e-7 * np.eye(models)])
        r = np.asarray(np.linalg.qr(root, mode="r"))
        # Its Newton step: the least |r v|^2 / 2 - (2 gradient - 1)' v over v >= 0.
        target = np.linalg.solve(r.T, 2 * gradient - 1)
        step = nnls(r, target)[0] - w
        slope, loss = float((1 - gradient) @ step), _loss(p, w)
        size = 1.0
        while size > 1e-12 and not _loss(p, w + size * step) <= loss + 1e-4 * size * slope:
            size /= 2
        moved = np.maximum(w + size * step, 0.0) if slope < 0 and size > 1e-12 else w * gradient
        w = moved / moved.sum()
    return w


def _loss(p: np.ndarray, w: np.ndarray) -> float:
    with np.errstate(divide="ignore"):
        return float(w.sum() - np.mean(np.log(p @ w)))
