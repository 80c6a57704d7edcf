"""Huber's loss with a given threshold."""

from typing import Any, ClassVar

import equinox as eqx

from jaxscale.noise.loss import Loss, setting
from jaxscale.noise.spaces import namespace

REFERENCES = {
    "huber1964robust": (
        "article",
        {
            "title": "{Robust estimation of a location parameter}",
            "author": "Huber, Peter J.",
            "journal": "The Annals of Mathematical Statistics",
            "year": "1964",
            "volume": "35",
            "pages": "73--101",
        },
    )
}


class Huber(Loss):
    """Huber's loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``."""

    delta: Any = eqx.field(converter=setting)
    name: ClassVar[str] = "huber"
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = REFERENCES

    def value(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``c (r - c / 2)`` with c the residual cut to ``[-delta, delta]``."""
        inside = namespace(r).clip(r, -delta, delta)
        return inside * (r - 0.5 * inside)

    def psi(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """The residual cut to ``[-delta, delta]``."""
        return namespace(r).clip(r, -delta, delta)

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
