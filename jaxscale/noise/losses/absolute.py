"""Absolute error."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from jaxscale.noise.loss import VERTEX, ClippedLoss, Loss
from jaxscale.noise.losses.symmetric_huber import Huber
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, space_of


class Absolute(ClippedLoss):
    """Absolute error, ``rho(r) = |r|``, whose optimum is a vertex; descents smooth it with ``delta``."""

    name: ClassVar[str] = "absolute"
    vertex: ClassVar[bool] = True

    @property
    def threshold(self) -> float:
        """Threshold 0."""
        return 0.0

    def of_constant(
        self, target: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], log_scale: float, free: int
    ) -> float:
        """Objective of the weighted median."""
        order = np.argsort(target, kind="stable")
        half = np.searchsorted(np.cumsum(weight[order]), 0.5 * np.sum(weight))
        return float(np.sum(weight * np.abs(target - target[order[min(half, len(order) - 1)]])))

    def centre(self, u: Float[np.ndarray, " row"]) -> float:
        """Median."""
        return float(np.median(u))

    def without_scale(self, log_scale: float, mean: float) -> tuple[Loss, str]:
        """Huber loss with a threshold of 3 % of the mean absolute residual."""
        delta = VERTEX * mean
        return Huber(
            delta
        ), f"absolute, rounded off below {delta:.3g} ({100 * VERTEX:g} % of the mean absolute residual)"


def absolute(space: str | Space = "log") -> Noise:
    """Absolute error, ``rho(r) = |r|``, also called least absolute deviations.

    >>> absolute().describe()
    'absolute on log residuals'

    Args:
        space: residual space.
    """
    return Noise(Absolute(), space_of(space))
