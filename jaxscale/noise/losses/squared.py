"""Squared error."""

from typing import Any, ClassVar

import numpy as np

from jaxscale.noise.loss import Loss
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, namespace, space_of


class Squared(Loss):
    """Squared error, ``rho(r) = r^2 / 2``."""

    name: ClassVar[str] = "squared"
    quadratic: ClassVar[bool] = True

    def value(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``r^2 / 2``; linear beyond ``delta``."""
        inside = namespace(r).clip(r, -delta, delta)
        return inside * (r - 0.5 * inside)

    def psi(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """The residual cut to ``[-delta, delta]``."""
        return namespace(r).clip(r, -delta, delta)

    def slopes(self, r: Any, delta: Any, log_scale: Any) -> tuple[Any, Any, Any]:
        """``r``, 1 and 1; Huber's beyond ``delta``."""
        xp = namespace(r)
        inside = xp.abs(r) <= delta
        weight = xp.where(inside, 1.0, delta / xp.maximum(xp.abs(r), xp.finfo(r.dtype).tiny))
        return xp.clip(r, -delta, delta), inside.astype(r.dtype), weight

    def centre(self, u: np.ndarray) -> float:
        """The mean."""
        return float(np.mean(u))

    def distribution(self, u: np.ndarray, freedom: int, log_scale: float) -> tuple[float, float]:
        """Normal with ``s^2 = sum u^2 / (n - p)``."""
        return np.inf, float(np.sqrt(np.sum(u * u) / freedom))

    def statistic_unit(self, r: np.ndarray, w: np.ndarray, size: int) -> tuple[float, float | None, str]:
        """The variance of the residuals, which makes the statistic the F form."""
        return float(np.sum(w * r * r) / (len(r) - size)), None, "(n - p) (S - S_min) / S_min, F with 1 and n - p"


def squared(space: str | Space = "linear") -> Noise:
    """Squared error, ``rho(r) = r^2 / 2``.

    >>> squared("log").describe()
    'squared on log residuals'

    Args:
        space: where residuals are taken.
    """
    return Noise(Squared(), space_of(space))
