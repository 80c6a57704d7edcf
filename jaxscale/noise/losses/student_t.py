"""Student-t loss."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from jaxscale.noise.loss import Loss, as_array, validate_positive
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, namespace, space_of
from jaxscale.utils.arrays import Array, Number, Numbers, Value


class StudentT(Loss):
    """Negative log density of Student's t, ``log s + (df + 1)/2 log(1 + r^2 / (df s^2))`` up to a constant."""

    df: Real[Array, ""] = eqx.field(converter=as_array)
    scale: Real[Array, ""] | None = eqx.field(
        converter=lambda value: None if value is None else as_array(value), default=None
    )
    name: ClassVar[str] = "student_t"
    in_nats: ClassVar[bool] = True
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = {
        "lange1989robust": (
            "article",
            {
                "title": "{Robust statistical modeling using the t distribution}",
                "author": "Lange, Kenneth L. and Little, Roderick J. A. and Taylor, Jeremy M. G.",
                "journal": "Journal of the American Statistical Association",
                "year": "1989",
                "volume": "84",
                "pages": "881--896",
            },
        )
    }

    def value(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Loss ``log s + (df + 1)/2 log(1 + t^2 / df)`` with ``t = r / s``."""
        xp = namespace(r)
        t = r * xp.exp(-log_scale)
        return log_scale + 0.5 * (self.df + 1) * xp.log1p(t * t / self.df)

    def slopes(
        self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers
    ) -> tuple[Real[Value, "*shape"], Real[Value, "*shape"], Real[Value, "*shape"]]:
        """Derivatives ``w r`` and ``d(w r) / dr``, and the weight ``w = (df + 1) / (df s^2 + r^2)``."""
        inverse = namespace(r).exp(-2 * log_scale)
        below = self.df + r * r * inverse
        weight = (self.df + 1) * inverse / below
        return weight * r, weight * (1 - 2 * r * r * inverse / below), weight

    @property
    def infers_scale(self) -> bool:
        """Whether the scale is fitted."""
        return self.scale is None

    @property
    def has_scale(self) -> bool:
        """True."""
        return True

    @property
    def log_scale(self) -> Number:
        """Logarithm of the given scale."""
        return 0.0 if self.scale is None else jnp.log(self.scale)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings ``df`` and, if given, ``scale``."""
        return {"df": float(self.df)} | ({} if self.scale is None else {"scale": float(self.scale)})

    def of_constant(
        self, target: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], log_scale: float, free: int
    ) -> float:
        """Objective of a stationary constant, by expectation maximisation from the median."""
        df, centre, scale = float(self.df), float(np.median(target)), float(np.exp(log_scale))
        s = max(float(np.std(target)), scale) if self.infers_scale else scale
        for _ in range(100):
            share = weight * (df + 1) / (df + ((target - centre) / s) ** 2)
            centre = float(np.sum(share * target) / np.sum(share))
            if self.infers_scale:
                # If many responses are equal the scale of a constant would tend to zero.
                s = max(math.sqrt(np.sum(share * (target - centre) ** 2) / np.sum(weight)), 1e-3 * scale)
        cost = math.log(s) + 0.5 * (df + 1) * np.log1p(((target - centre) / s) ** 2 / df)
        return float(np.sum(weight * cost))

    def distribution(self, u: Float[np.ndarray, " row"], freedom: int, log_scale: float) -> tuple[float, float]:
        """Degrees of freedom and scale of the fit."""
        return float(self.df), float(np.exp(log_scale))

    def statistic_unit(
        self, r: Float[np.ndarray, " row"], w: Float[np.ndarray, " row"], size: int
    ) -> tuple[float, float | None, str]:
        """1: the objective is a negative log likelihood."""
        return 1.0, None, "2 (f - f_min), chi-squared: the objective is minus a log-likelihood"


def student_t(df: Numbers | str = 4.0, scale: Numbers | str | None = None, space: str | Space = "log") -> Noise:
    """Student-t loss, ``log s + (df + 1)/2 * log(1 + r^2 / (df s^2))`` up to a constant.

    >>> student_t(3).describe()
    'student_t(df=3) on log residuals'

    Args:
        df: Degrees of freedom of student_t.
        scale: Scale of student_t; fitted with the law by default.
        space: residual space.

    Raises:
        ValueError: a setting is not positive.
    """
    return Noise(
        StudentT(validate_positive("df", df), None if scale is None else validate_positive("scale", scale)),
        space_of(space),
    )
