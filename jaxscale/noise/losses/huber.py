"""Huber's loss."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from jaxscale.noise.loss import Loss, above_zero, setting
from jaxscale.noise.losses.asymmetric_huber import AsymmetricHuber
from jaxscale.noise.losses.huber_with_scale import REFERENCES, HuberWithScale
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, namespace, space_of


class Huber(Loss):
    """Huber's loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``."""

    delta: Any = eqx.field(converter=setting)
    name: ClassVar[str] = "huber"
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = REFERENCES

    def value(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``c (r - c / 2)`` with c the residual cut to ``[-delta, delta]``."""
        inside = namespace(r).clip(r, -delta, delta)
        return inside * (r - 0.5 * inside)

    def slopes(self, r: Any, delta: Any, log_scale: Any) -> tuple[Any, Any, Any]:
        """The residual cut to ``[-delta, delta]``, whether it lies inside, and ``min(1, delta / |r|)``."""
        xp = namespace(r)
        inside = xp.abs(r) <= delta
        weight = xp.where(inside, 1.0, delta / xp.maximum(xp.abs(r), xp.finfo(r.dtype).tiny))
        return xp.clip(r, -delta, delta), inside.astype(r.dtype), weight

    @property
    def threshold(self) -> Any:
        """Delta."""
        return self.delta

    def with_threshold(self, delta: Any) -> "Huber":
        """Huber's loss with another delta."""
        return Huber(delta)

    @property
    def settings(self) -> dict[str, Any]:
        """Delta."""
        return {"delta": float(self.delta)}


def huber(delta: Any = 1e-3, space: str | Space = "log", over: Any = 1.0) -> Noise:
    """Huber's loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta * (|r| - delta / 2)``.

    >>> huber(0.01).describe()
    'huber(delta=0.01) on log residuals'

    Args:
        delta: Threshold of huber: a number in the unit of the residuals, or "scale" for 1.345 of the residuals' scale,
            which is fitted with the law (Huber's proposal 2).
        space: where residuals are taken.
        over: Factor of huber on the cost of predictions above their rows: 10 keeps the law at the lower envelope of the
            rows, such as the frontier of runs some of which have failed.

    Raises:
        ValueError: a setting is not positive, or ``over`` is given together with a fitted scale.

    Source:
        Huber, Robust estimation of a location parameter, 1964; Huber and Ronchetti, Robust Statistics, 2009, chapter 7.
    """
    factor, space = above_zero("over", over), space_of(space)
    symmetric = isinstance(factor, np.ndarray) and bool(np.all(factor == 1))
    if isinstance(delta, str) and delta == "scale":
        if not symmetric:
            raise ValueError(f"Argument over must be 1 where delta is 'scale', but is {over!r}; give delta a number.")
        return Noise(HuberWithScale(), space)
    if isinstance(delta, str):
        delta = _number(delta)
    delta = above_zero("delta", delta)
    return Noise(Huber(delta) if symmetric else AsymmetricHuber(delta, factor), space)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"Argument delta must be a positive number or 'scale', but is {text!r}.") from None
