"""Huber loss with a given threshold."""

from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Real

from jaxscale.noise.loss import ClippedLoss, as_array
from jaxscale.utils.arrays import Array, Numbers

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


class Huber(ClippedLoss):
    """Huber loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``."""

    delta: Real[Array, ""] = eqx.field(converter=as_array)
    name: ClassVar[str] = "huber"
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = REFERENCES

    @property
    def threshold(self) -> Real[Array, ""]:
        """Threshold ``delta``."""
        return self.delta

    def with_threshold(self, delta: Numbers) -> "Huber":
        """Loss with another ``delta``."""
        return Huber(delta)

    @property
    def settings(self) -> dict[str, Any]:
        """Setting ``delta``."""
        return {"delta": float(self.delta)}
