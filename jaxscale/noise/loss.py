"""Abstract loss functions of residuals, with the properties that inference needs.

A loss is one class in one file of :mod:`jaxscale.noise.losses`, with its constructor of a noise; commands, reports,
standard errors, resampling and tests find it there.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Real

from jaxscale.noise.spaces import namespace
from jaxscale.noise.student_t_fit import student_t_fit
from jaxscale.utils.arrays import Array, Number, Numbers, Value
from jaxscale.utils.errors import ArgumentError

# For a loss with a threshold the Hessian is informative only if at least this fraction of the residuals is inside it,
# not counting as many rows as parameters, which can always be fitted exactly.
INSIDE = 0.5
# Threshold, relative to the mean absolute residual, of the Huber loss that smooths an absolute loss.
VERTEX = 0.03


class Loss(eqx.Module):
    """Loss ``rho(r)`` of one residual; subclasses are final.

    ``rho`` takes a threshold and a log scale, which may differ from those of the loss: descents start from a large
    threshold that shrinks.

    Attributes:
        name: name of the loss in ``noise.named`` and ``--noise``.
        quadratic: whether the loss is least squares.
        vertex: whether an optimum is a vertex with residuals of zero, where the loss is not differentiable.
        in_nats: whether the objective is a negative log likelihood; all others scale with the residuals.
        infers_scale: whether the scale of the noise is fitted with the law.
        counts: whether the responses are counts, see :class:`~jaxscale.noise.count_loss.CountLoss`.
        concomitant_scale: whether the objective has a term of the scale alone, :meth:`scale_cost`.
        references: bibliography entries by key: kind of publication and fields.
    """

    name: eqx.AbstractClassVar[str]
    quadratic: ClassVar[bool] = False
    vertex: ClassVar[bool] = False
    in_nats: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    concomitant_scale: ClassVar[bool] = False
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = {}

    def value(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Loss ``rho(r)`` at the threshold ``delta``; not defined for counts, whose cost is not one of residuals."""
        raise NotImplementedError

    def slopes(
        self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers
    ) -> tuple[Real[Value, "*shape"], Real[Value, "*shape"], Real[Value, "*shape"]]:
        """Derivatives ``rho'(r)`` and ``rho''(r)``, and the weight ``rho'(r) / r`` of the majorising parabola.

        Not defined for counts.
        """
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """Inputs that the loss needs in addition to those of the law."""
        return ()

    def initial_scale(self, mean: Float[Array, "*lane"]) -> Float[Array, "*lane"]:
        """Initial value of a fitted scale: the mean absolute residual."""
        return mean

    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Move responses into the interior of their range, for centring."""
        return response

    def psi(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Derivative ``rho'(r)``."""
        return self.slopes(r, delta, log_scale)[0]

    @property
    def threshold(self) -> Number:
        """Residual beyond which the loss is not quadratic: infinite for squared error, zero for absolute error."""
        return np.inf

    def with_threshold(self, delta: Numbers) -> "Loss":
        """Loss with another threshold; the loss itself if it has none."""
        return self

    @property
    def infers_scale(self) -> bool:
        """Whether the scale of the noise is fitted with the law."""
        return self.concomitant_scale

    @property
    def has_scale(self) -> bool:
        """Whether the noise has a scale, fitted or given."""
        return self.infers_scale

    @property
    def log_scale(self) -> Number:
        """Logarithm of a given scale."""
        return 0.0

    def scale_cost(self, free: int, weight: Float[np.ndarray, " row"], log_scale: Numbers) -> Float[Array, "*lane"]:
        """Term of a concomitant scale in the objective, shape (...,) for weights of shape (..., n).

        Defined where ``concomitant_scale``.
        """
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the loss's constructor, as plain numbers and strings."""
        return {}

    @property
    def least_squares(self) -> bool:
        """Whether classical and heteroscedasticity-consistent covariances apply."""
        return self.quadratic or self.concomitant_scale

    @property
    def has_density(self) -> bool:
        """Whether ``exp(-rho)`` is proportional to a density that a posterior may use."""
        return self.quadratic or self.in_nats

    def curvature_describes(self, residual: Float[np.ndarray, " row"], size: int) -> bool:
        """Whether standard errors can be computed from the Hessian of the objective.

        Args:
            residual: residuals of the rows with positive weight, shape (n,).
            size: number of free parameters.
        """
        inside = np.sum(np.abs(residual) <= self.threshold)
        return bool(not self.vertex and inside >= min(size + INSIDE * (len(residual) - size), len(residual)))

    def pseudo_residuals(
        self, residual: Float[np.ndarray, " row"], log_scale: float, used: Bool[np.ndarray, " row"], size: int
    ) -> tuple[Float[np.ndarray, " row"], float]:
        """Pseudo-residuals for the covariance of least squares, shape (n,), and a correction factor.

        Args:
            residual: shape (n,).
            log_scale: log scale of the noise.
            used: mask of rows with positive weight, shape (n,).
            size: number of free parameters.
        """
        return residual, 1.0

    def of_constant(
        self, target: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], log_scale: float, free: int
    ) -> float:
        """Objective of the best constant, ``min_c sum w rho(c - t)``, by bisection on its slope.

        Args:
            target: responses in the noise's space, shape (n,).
            weight: positive, shape (n,).
            log_scale: log scale of the noise.
            free: number of free parameters of the law.
        """
        low, high = float(target.min()), float(target.max())
        # Bound once: each access to a method of an equinox module creates an object.
        psi, delta = self.psi, self.threshold
        for _ in range(60):
            middle = 0.5 * (low + high)
            slope = float(np.sum(weight * psi(middle - target, delta, log_scale)))
            low, high = (middle, high) if slope < 0 else (low, middle)
        return float(np.sum(weight * self.value(high - target, self.threshold, log_scale)))

    def centre(self, u: Float[np.ndarray, " row"]) -> float:
        """M-estimate of location, ``argmin_c sum rho(u - c)``, by iteratively reweighted means from the median.

        Args:
            u: shape (n,).
        """
        centre = float(np.median(u))
        log_scale = np.log(student_t_fit(u)[1]) if self.infers_scale else self.log_scale
        slopes, delta = self.slopes, self.threshold
        for _ in range(200):
            pull = slopes(u - centre, delta, log_scale)[2]
            centre = float(np.sum(pull * u) / np.sum(pull))
        return centre

    def distribution(self, u: Float[np.ndarray, " row"], freedom: int, log_scale: float) -> tuple[float, float]:
        """Degrees of freedom and scale of the Student-t distribution of a parametric bootstrap.

        They are fitted to the residuals, with the scale multiplied by ``sqrt(n / (n - p))``, unless the loss is itself
        a likelihood.

        Args:
            u: residuals times the square roots of their weights, shape (n,).
            freedom: degrees of freedom, rows less free parameters.
            log_scale: log scale of the noise.
        """
        df, scale = student_t_fit(u)
        return df, scale * float(np.sqrt(len(u) / freedom))

    def without_scale(self, log_scale: float, mean: float) -> "tuple[Loss, str]":
        """Differentiable loss without a fitted scale, for profiles, and a description of the change.

        Args:
            log_scale: log scale of the noise at the optimum.
            mean: mean absolute residual.
        """
        return self, ""

    def statistic_unit(
        self, r: Float[np.ndarray, " row"], w: Float[np.ndarray, " row"], size: int
    ) -> tuple[float, float | None, str]:
        """Scale ``c = E[psi^2] / E[psi']`` of the profile statistic ``2 (f - f_min) / c``.

        ``E[psi']`` is a mean over rows; if few residuals are inside the threshold it is the range of psi times the
        density of the residuals at 0, estimated from the fraction inside the bandwidth of Hall and Sheather (1988).

        Args:
            r: residuals, shape (n,).
            w: weights, shape (n,).
            size: number of fitted parameters.

        Returns:
            c, the mean of psi' if it comes from the density, and a description of the statistic.

        Source:
            Hampel, Ronchetti, Rousseeuw and Stahel (1986), Robust Statistics, section 7.2; Koenker (2005), Quantile
            Regression, section 3.4.
        """
        n, delta = len(r), float(self.threshold)
        psi, bend, _ = self.slopes(r, delta, self.log_scale)
        squares = float(np.sum((w * psi) ** 2) / (n - size))
        reach, share = bandwidth_at_zero(r, size)
        if delta >= reach:
            inside = float(np.sum(w * bend) / n)
            return squares / inside, None, "2 (f - f_min) / c with c = E[psi^2] / E[psi'] at the optimum (robust), t"
        ends = self.slopes(np.array([-delta, delta]), delta, self.log_scale)[0]
        density = float(ends[1] - ends[0]) / (2 * reach) * share
        description = (
            "2 (f - f_min) / c with c = E[psi^2] / (2 delta g), g the density of the residuals at 0 (robust), t"
        )
        return squares / (density * float(np.mean(w))), density, description


class ClippedLoss(Loss):
    """Huber's formula, ``c (r - c / 2)`` with c the residual clipped to ``[-delta, delta]``; subclasses are final.

    Squared error is its limit for an infinite threshold, absolute error (over delta) that for a threshold of zero.
    """

    def value(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Loss ``c (r - c / 2)``."""
        inside = namespace(r).clip(r, -delta, delta)
        return inside * (r - 0.5 * inside)

    def psi(self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers) -> Float[Value, "*shape"]:
        """Residual clipped to ``[-delta, delta]``."""
        return namespace(r).clip(r, -delta, delta)

    def slopes(
        self, r: Float[Value, "*shape"], delta: Numbers, log_scale: Numbers
    ) -> tuple[Real[Value, "*shape"], Real[Value, "*shape"], Real[Value, "*shape"]]:
        """Residual clipped to ``[-delta, delta]``, 1 inside and 0 outside, and weight ``min(1, delta / |r|)``."""
        xp = namespace(r)
        inside = xp.abs(r) <= delta
        weight = xp.where(inside, 1.0, delta / xp.maximum(xp.abs(r), xp.finfo(r.dtype).tiny))
        return xp.clip(r, -delta, delta), inside.astype(r.dtype), weight


def as_array(value: Numbers | str) -> Real[Array, "..."]:
    """Convert a setting of a loss to an array, so that a new value does not trigger compilation."""
    return value if isinstance(value, jax.Array) else np.asarray(value, float)


def validate_positive(name: str, value: Numbers | str) -> Real[Array, "..."]:
    """Validate a positive and finite setting; a JAX array is returned unchanged.

    Raises:
        ValueError: the value is not positive and finite.
    """
    if isinstance(value, jax.Array):
        return value
    try:
        number = np.asarray(value, float)
    except (TypeError, ValueError):
        number = np.asarray(np.nan)
    if not (np.all(number > 0) and np.all(np.isfinite(number))):
        raise ArgumentError(name, f"must be positive and finite, but is {value!r}.")
    return number


def bandwidth_at_zero(r: Float[np.ndarray, " row"], size: int) -> tuple[float, float]:
    """Bandwidth around zero and the fraction of residuals inside, for a density estimate at zero.

    As many of the smallest residuals as there are parameters are omitted, since the fit can make these zero.

    Args:
        r: residuals, shape (n,).
        size: number of fitted parameters.
    """
    spare = np.sort(np.abs(r))[size:]
    half = len(r) ** (-1 / 3) * 1.959964 ** (2 / 3) * (1.5 / (2 * np.pi)) ** (1 / 3)
    place = int(np.clip(np.ceil(2 * half * len(spare)), 1, len(spare)))
    return float(spare[place - 1]), place / len(spare)
