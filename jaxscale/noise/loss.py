"""Loss: what a residual costs, and what statistics need to know of it.

A loss is one class in one file of :mod:`jaxscale.noise.losses`, beside the function that makes a noise of it; commands,
reports, standard errors, resampling and tests find it there.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np

from jaxscale.noise.spaces import namespace
from jaxscale.noise.student_t_fit import student_t_fit
from jaxscale.utils.errors import ArgumentError

# Curvature describes a loss with a threshold only while at least this share of the rows lies inside it, and so many
# more rows than the fit has parameters, which as many rows always fit exactly.
INSIDE = 0.5
# A vertex is rounded off at this share of the mean absolute residual where slopes are needed.
VERTEX = 0.03


class Loss(eqx.Module):
    """The cost ``rho(r)`` of one residual; subclasses are final.

    Engine and statistics call ``rho`` at a threshold and a log scale that may differ from the loss's own: descents
    start from a large threshold that shrinks.

    Attributes:
        name: what ``noise.named`` and ``--noise`` take.
        quadratic: whether the loss is that of least squares.
        vertex: whether an optimum lies at a vertex of residuals that are zero, where the loss has no slope.
        in_nats: whether the objective is a negative log likelihood; all others scale with the residuals.
        infers_scale: whether the scale of the noise is fitted along with the law.
        counts: whether the cost is that of counts, see :class:`~jaxscale.noise.count_loss.CountLoss`.
        concomitant_scale: whether that scale has a cost of its own, :meth:`scale_cost`.
        references: entries of the bibliography by key: kind of publication and fields.
    """

    name: eqx.AbstractClassVar[str]
    quadratic: ClassVar[bool] = False
    vertex: ClassVar[bool] = False
    in_nats: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    concomitant_scale: ClassVar[bool] = False
    references: ClassVar[dict[str, tuple[str, dict[str, str]]]] = {}

    def value(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``rho(r)``, with ``delta`` in place of the loss's own threshold."""
        raise NotImplementedError

    def slopes(self, r: Any, delta: Any, log_scale: Any) -> tuple[Any, Any, Any]:
        """``rho'(r)``, ``rho''(r)`` and the weight ``rho'(r) / r`` of the majorising parabola."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs that it needs beside those of the law."""
        return ()

    def initial_scale(self, mean: Any) -> Any:
        """Where the search begins with a fitted scale: at the mean absolute residual."""
        return mean

    def interior(self, response: np.ndarray) -> np.ndarray:
        """Responses as the centre of the coordinates may take them."""
        return response

    def psi(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``rho'(r)`` alone."""
        return self.slopes(r, delta, log_scale)[0]

    @property
    def threshold(self) -> Any:
        """The residual beyond which the loss is no parabola: infinite where there is none, zero for a vertex."""
        return np.inf

    def with_threshold(self, delta: Any) -> "Loss":
        """The loss with another threshold; itself where it has none."""
        return self

    @property
    def infers_scale(self) -> bool:
        """Whether the scale of the noise is fitted along with the law."""
        return self.concomitant_scale

    @property
    def has_scale(self) -> bool:
        """Whether the noise has a scale, fitted or given."""
        return self.infers_scale

    @property
    def log_scale(self) -> Any:
        """The logarithm of a scale that is given."""
        return 0.0

    def scale_cost(self, free: int, weight: Any, log_scale: Any) -> Any:
        """What a concomitant scale costs, shape (...,) of weight (..., n)."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the function that makes this loss, as plain numbers and strings."""
        return {}

    @property
    def least_squares(self) -> bool:
        """Whether classical and heteroscedasticity-consistent covariances apply."""
        return self.quadratic or self.concomitant_scale

    @property
    def has_density(self) -> bool:
        """Whether ``exp(-rho)`` is proportional to a density that a posterior may use."""
        return self.quadratic or self.in_nats

    def curvature_describes(self, residual: np.ndarray, size: int) -> bool:
        """Whether the objective's curvature says how sure an optimum is.

        Args:
            residual: of the rows that count, shape (n,).
            size: number of free parameters.
        """
        inside = np.sum(np.abs(residual) <= self.threshold)
        return bool(not self.vertex and inside >= min(size + INSIDE * (len(residual) - size), len(residual)))

    def pseudo_residuals(
        self, residual: np.ndarray, log_scale: float, used: np.ndarray, size: int
    ) -> tuple[np.ndarray, float]:
        """What stands for the residuals in the covariance of least squares, shape (n,), and a factor on the errors.

        Args:
            residual: shape (n,).
            log_scale: of the noise.
            used: which rows count, shape (n,).
            size: number of free parameters.
        """
        return residual, 1.0

    def of_constant(self, target: np.ndarray, weight: np.ndarray, log_scale: float, free: int) -> float:
        """The objective of the best constant, ``min_c sum w rho(c - t)``, by bisection on its slope.

        Args:
            target: responses in the noise's space, shape (n,).
            weight: positive, shape (n,).
            log_scale: of the noise.
            free: number of free parameters of the law.
        """
        low, high = float(target.min()), float(target.max())
        # Bound once: each look-up of a method of a module makes a new object.
        psi, delta = self.psi, self.threshold
        for _ in range(60):
            middle = 0.5 * (low + high)
            slope = float(np.sum(weight * psi(middle - target, delta, log_scale)))
            low, high = (middle, high) if slope < 0 else (low, middle)
        return float(np.sum(weight * self.value(high - target, self.threshold, log_scale)))

    def centre(self, u: np.ndarray) -> float:
        """Where ``sum rho(u - c)`` is least, by reweighted means from the median.

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

    def distribution(self, u: np.ndarray, freedom: int, log_scale: float) -> tuple[float, float]:
        """Degrees of freedom and scale of the Student-t distribution that a parametric bootstrap draws from.

        Fitted to the residuals, ``sqrt(n / (n - p))`` times as wide, unless the loss is itself a likelihood.

        Args:
            u: residuals times the roots of their weights, shape (n,).
            freedom: rows less free parameters.
            log_scale: of the noise.
        """
        df, scale = student_t_fit(u)
        return df, scale * float(np.sqrt(len(u) / freedom))

    def without_scale(self, log_scale: float, mean: float) -> "tuple[Loss, str]":
        """A loss with slopes and no scale of its own to fit, for a profile, and what to say of it.

        Args:
            log_scale: of the noise at the optimum.
            mean: mean absolute residual.
        """
        return self, ""

    def statistic_unit(self, r: np.ndarray, w: np.ndarray, size: int) -> tuple[float, float | None, str]:
        """The unit ``c = E[psi^2] / E[psi']`` of the profile statistic ``2 (f - f_min) / c``.

        ``E[psi']`` is a mean over rows; where few lie inside the threshold it is the range of psi times the density of
        the residuals at 0, estimated from the share inside the bandwidth of Hall and Sheather (1988).

        Args:
            r: residuals, shape (n,).
            w: weights, shape (n,).
            size: number of fitted parameters.

        Returns:
            c, the mean of psi' where it comes from the density, and how the statistic is made, in words.

        Source:
            Hampel, Ronchetti, Rousseeuw and Stahel (1986), Robust Statistics, section 7.2; Koenker (2005), Quantile
            Regression, section 3.4.
        """
        n, delta = len(r), float(self.threshold)
        psi, bend, _ = self.slopes(r, delta, self.log_scale)
        squares = float(np.sum((w * psi) ** 2) / (n - size))
        reach, share = near_zero(r, size)
        if delta >= reach:
            inside = float(np.sum(w * bend) / n)
            return squares / inside, None, "2 (f - f_min) / c with c = E[psi^2] / E[psi'] at the optimum (robust), t"
        ends = self.slopes(np.array([-delta, delta]), delta, self.log_scale)[0]
        density = float(ends[1] - ends[0]) / (2 * reach) * share
        said = "2 (f - f_min) / c with c = E[psi^2] / (2 delta g), g the density of the residuals at 0 (robust), t"
        return squares / (density * float(np.mean(w))), density, said


class ClippedLoss(Loss):
    """Huber's formula, ``c (r - c / 2)`` with c the residual cut to ``[-delta, delta]``; subclasses are final.

    Squared error is its limit for a threshold without end, absolute error (over delta) that for one of zero.
    """

    def value(self, r: Any, delta: Any, log_scale: Any) -> Any:
        """``c (r - c / 2)``."""
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


def setting(value: Any) -> Any:
    """A setting of a loss as an array, so that another value compiles nothing."""
    return value if isinstance(value, jax.Array) else np.asarray(value, float)


def above_zero(name: str, value: Any) -> Any:
    """A setting that must be positive and finite; a JAX array is taken as it is.

    Raises:
        ValueError: it is not.
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


def near_zero(r: np.ndarray, size: int) -> tuple[float, float]:
    """A bandwidth around zero and the share of the residuals inside, for their density there.

    The loss bends to as many small residuals as it has parameters: they say nothing of the density.

    Args:
        r: residuals, shape (n,).
        size: number of fitted parameters.
    """
    spare = np.sort(np.abs(r))[size:]
    half = len(r) ** (-1 / 3) * 1.959964 ** (2 / 3) * (1.5 / (2 * np.pi)) ** (1 / 3)
    place = int(np.clip(np.ceil(2 * half * len(spare)), 1, len(spare)))
    return float(spare[place - 1]), place / len(spare)
