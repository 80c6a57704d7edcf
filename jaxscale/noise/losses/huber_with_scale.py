"""Huber loss with a fitted scale of the residuals (proposal 2)."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Real

from jaxscale.noise.loss import Loss
from jaxscale.noise.losses.symmetric_huber import REFERENCES, Huber
from jaxscale.noise.spaces import namespace
from jaxscale.utils.arrays import Array, Numbers, Value

# Threshold in units of the scale, with 95 % efficiency for normal noise, and the mean of psi^2 under normal noise.
TUNING = 1.345
CONSISTENT = 0.7101645482690484


class HuberWithScale(Loss):
    """Huber loss with a concomitant scale, ``s rho(r / s)`` with threshold 1.345 and a scale s fitted with the law.

    Law and scale jointly minimise ``sum_i w_i s rho(r_i / s) + s beta (1 - p / n) sum_i w_i / 2``, which is convex in
    both for an affine law; ``beta`` is the mean of ``psi^2`` under the normal distribution, so that s is the standard
    deviation of normal noise.

    Source:
        Huber and Ronchetti, Robust Statistics, 2009, sections 7.6 to 7.8.
    """

    name: ClassVar[str] = "huber"
    concomitant_scale: ClassVar[bool] = True
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = REFERENCES

    def value(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Loss ``c (r - s c / 2)`` with c the scaled residual clipped to ``[-1.345, 1.345]``."""
        xp = namespace(r)
        s = xp.exp(log_scale)
        inside = xp.clip(r / s, -TUNING, TUNING)
        return inside * (r - 0.5 * s * inside)

    def slopes(
        self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers
    ) -> tuple[Real[Value, "*shape"], Real[Value, "*shape"], Real[Value, "*shape"]]:
        """Scaled residual clipped to ``[-1.345, 1.345]``, ``1 / s`` inside and 0 outside, and the weight."""
        xp = namespace(r)
        u, inverse = r * xp.exp(-log_scale), xp.exp(-log_scale)
        within = xp.abs(u) <= TUNING
        weight = inverse * xp.where(within, 1.0, TUNING / xp.maximum(xp.abs(u), TUNING))
        return xp.clip(u, -TUNING, TUNING), within.astype(u.dtype) * inverse, weight

    def scale_cost(self, free: int, weight: Float[Array, "... row"], log_scale: Numbers) -> Float[Array, "..."]:
        """Term ``s beta (1 - p / n) sum w / 2``, shape (...,) for weights of shape (..., n).

        The factor ``1 - p / n`` corrects for the free parameters of the law: without outliers the scale is that of
        least squares with n - p degrees of freedom.
        """
        rows = jnp.sum(weight > 0, axis=-1).astype(weight.dtype)
        spare = jnp.maximum(rows - free, 0.5) / jnp.maximum(rows, 1)
        return 0.5 * CONSISTENT * spare * jnp.sum(weight, axis=-1) * jnp.exp(log_scale)

    @property
    def settings(self) -> dict[str, Any]:
        """Setting ``delta="scale"``."""
        return {"delta": "scale"}

    def pseudo_residuals(
        self, residual: Float[np.ndarray, " row"], log_scale: float, used: Bool[np.ndarray, " row"], size: int
    ) -> tuple[Float[np.ndarray, " row"], float]:
        """Pseudo-residuals ``s psi(r / s) / m``, m the fraction inside the threshold, and ``1 + p / n (1 - m) / m``.

        Source:
            Huber and Ronchetti, Robust Statistics, 2009, section 7.6.
        """
        s = float(np.exp(log_scale))
        u = residual / s if s > 0 else np.zeros_like(residual)
        inside = max(float(np.mean(np.abs(u[used]) <= TUNING)), 1.0 / used.sum())
        factor = 1 + size / used.sum() * (1 - inside) / inside
        return s * np.clip(u, -TUNING, TUNING) / inside, factor

    def of_constant(
        self, target: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], log_scale: float, free: int
    ) -> float:
        """Objective of the best constant, by alternating updates of constant and scale."""
        cost = 0.5 * CONSISTENT * max(len(target) - free, 0.5) / len(target) * float(np.sum(weight))
        centre, s = float(np.median(target)), float(np.std(target))
        for _ in range(200):
            u = (target - centre) / s
            pull = np.minimum(1.0, TUNING / np.maximum(np.abs(u), TUNING)) * weight
            centre = float(np.sum(pull * target) / np.sum(pull))
            psi = np.clip((target - centre) / s, -TUNING, TUNING)
            s = max(s * math.sqrt(float(np.sum(weight * psi**2)) / (2 * cost)), np.finfo(float).tiny)
        r = target - centre
        inside = np.clip(r / s, -TUNING, TUNING)
        return float(np.sum(weight * inside * (r - 0.5 * s * inside))) + cost * s

    def without_scale(self, log_scale: float, mean: float) -> tuple[Loss, str]:
        """Huber loss with the fitted threshold."""
        return Huber(max(TUNING * float(np.exp(log_scale)), 1e-300)), ""
