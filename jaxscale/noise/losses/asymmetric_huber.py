"""Asymmetric Huber loss."""

from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Float, Real

from jaxscale.noise.loss import Loss, as_array
from jaxscale.noise.spaces import namespace
from jaxscale.utils.arrays import Array, Numbers, Value


class AsymmetricHuber(Loss):
    """Asymmetric Huber loss, ``a(r) rho(r)`` with a = ``over`` where the prediction exceeds the response, else 1.

    With a large ``over`` the law follows the lower envelope of the responses, and failed runs above it have little
    influence. With ``over`` = 1 it is the Huber loss; with a threshold far below the residuals the law is the quantile
    ``1 / (1 + over)`` of the responses.

    Source:
        Newey and Powell, Asymmetric least squares estimation and testing, 1987 (without a threshold); Breckling and
        Chambers, M-quantiles, 1988.
    """

    delta: Numbers = eqx.field(converter=as_array)
    over: Real[Array, ""] = eqx.field(converter=as_array)
    name: ClassVar[str] = "huber"
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = {
        "breckling1988quantiles": (
            "article",
            {
                "title": "{M-quantiles}",
                "author": "Breckling, Jens and Chambers, Ray",
                "journal": "Biometrika",
                "year": "1988",
                "volume": "75",
                "pages": "761--771",
            },
        )
    }

    def _factor(self, r: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
        return namespace(r).where(r > 0, self.over, 1.0)

    def value(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Loss ``a(r) c (r - c / 2)`` with c the residual clipped to ``[-delta, delta]``."""
        inside = namespace(r).clip(r, -delta, delta)
        return self._factor(r) * inside * (r - 0.5 * inside)

    def psi(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Residual clipped to ``[-delta, delta]``, times ``a(r)``."""
        return self._factor(r) * namespace(r).clip(r, -delta, delta)

    def slopes(
        self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers
    ) -> tuple[Real[Value, "*shape"], Real[Value, "*shape"], Real[Value, "*shape"]]:
        """Derivatives and weight of the Huber loss, times ``a(r)``."""
        xp, factor = namespace(r), self._factor(r)
        inside = xp.abs(r) <= delta
        weight = xp.where(inside, 1.0, delta / xp.maximum(xp.abs(r), xp.finfo(r.dtype).tiny))
        return factor * xp.clip(r, -delta, delta), factor * inside.astype(r.dtype), factor * weight

    @property
    def threshold(self) -> Real[Array, ""]:
        """Threshold ``delta``."""
        return self.delta

    def with_threshold(self, delta: Numbers) -> "AsymmetricHuber":
        """Loss with another ``delta``."""
        return AsymmetricHuber(delta, self.over)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings ``delta`` and ``over``."""
        return {"delta": float(self.delta), "over": float(self.over)}
