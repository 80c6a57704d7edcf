"""Squared error."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from jaxscale.noise.loss import ClippedLoss
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, space_of


class Squared(ClippedLoss):
    """Squared error, ``rho(r) = r^2 / 2``."""

    name: ClassVar[str] = "squared"
    quadratic: ClassVar[bool] = True

    def centre(self, u: Float[np.ndarray, " row"]) -> float:
        """Mean."""
        return float(np.mean(u))

    def distribution(self, u: Float[np.ndarray, " row"], freedom: int, log_scale: float) -> tuple[float, float]:
        """Normal distribution with ``s^2 = sum u^2 / (n - p)``."""
        return np.inf, float(np.sqrt(np.sum(u * u) / freedom))

    def statistic_unit(
        self, r: Float[np.ndarray, " row"], w: Float[np.ndarray, " row"], size: int
    ) -> tuple[float, float | None, str]:
        """Variance of the residuals, with which the statistic has an F distribution."""
        return float(np.sum(w * r * r) / (len(r) - size)), None, "(n - p) (S - S_min) / S_min, F with 1 and n - p"


def squared(space: str | Space = "linear") -> Noise:
    """Squared error, ``rho(r) = r^2 / 2``.

    >>> squared("log").describe()
    'squared on log residuals'

    Args:
        space: residual space.
    """
    return Noise(Squared(), space_of(space))
