"""Residual spaces: linear, log and logit.

A space is a monotone transformation t of responses; residuals are ``t(law) - t(y)``. Functions take NumPy or JAX
arrays.
"""

from abc import abstractmethod
from types import ModuleType
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from jaxscale.law import Support, positive, real, unit
from jaxscale.utils.arrays import Numbers, Value
from jaxscale.utils.errors import ArgumentError


def namespace(values: Numbers) -> ModuleType:
    """Array library of values: NumPy for its arrays and Python numbers, else JAX."""
    return np if isinstance(values, np.ndarray | np.generic | float | int) else jnp


class Space(eqx.Module):
    """Transformation t of responses; subclasses define it with its derivatives.

    Attributes:
        name: name of the space in ``space=`` and ``--space``.
        support: support of the responses that have a residual.
        interior: a response at which all functions are finite.
        relative: whether residuals are dimensionless.
        percent: whether small residuals are relative differences, which reports print in percent.
    """

    name: eqx.AbstractClassVar[str]
    support: eqx.AbstractClassVar[Support]
    interior: eqx.AbstractClassVar[float]
    relative: ClassVar[bool] = True
    percent: ClassVar[bool] = False

    @abstractmethod
    def forward(self, y: Real[Value, "*shape"]) -> Float[Value, "*shape"]:
        """Transform responses, ``t(y)``."""

    @abstractmethod
    def inverse(self, t: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """Inverse transformation: ``y`` with ``t(y) = t``."""

    @abstractmethod
    def derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """Derivative ``t'(y)``."""

    @abstractmethod
    def second_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """Second derivative ``t''(y)``."""

    @abstractmethod
    def log_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """Log derivative ``log t'(y)``, the log Jacobian of residuals in responses."""

    def __str__(self) -> str:
        """Name of the space."""
        return self.name

    @property
    def label(self) -> str:
        """Description of the residuals."""
        return f"{self.name} residuals"

    def unit(self, response: str) -> str:
        """Unit of a residual, as plots print it.

        Args:
            response: unit of the response.
        """
        return "%" if self.percent else self.name if self.relative else response

    @property
    def factor(self) -> float:
        """Conversion factor of residuals to :meth:`unit`."""
        return 100.0 if self.percent else 1.0


class Linear(Space):
    """The response itself, ``t(y) = y``."""

    name: ClassVar[str] = "linear"
    support: ClassVar[Support] = real
    interior: ClassVar[float] = 1.0
    relative: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Description of the residuals."""
        return "linear residuals"

    def forward(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t(y) = y``."""
        return y

    def inverse(self, t: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``y = t``."""
        return t

    def derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t'(y) = 1``."""
        return namespace(y).ones_like(y)

    def second_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t''(y) = 0``."""
        return namespace(y).zeros_like(y)

    def log_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``log t'(y) = 0``."""
        return namespace(y).zeros_like(y)


class Log(Space):
    """The logarithm, ``t(y) = log y``."""

    name: ClassVar[str] = "log"
    support: ClassVar[Support] = positive
    interior: ClassVar[float] = 1.0
    percent: ClassVar[bool] = True

    def forward(self, y: Real[Value, "*shape"]) -> Float[Value, "*shape"]:
        """``t(y) = log y``."""
        return namespace(y).log(y)

    def inverse(self, t: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``y = exp t``, with t limited to avoid overflow."""
        xp = namespace(t)
        return xp.exp(xp.minimum(t, 700.0))

    def derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t'(y) = 1 / y``."""
        return 1 / y

    def second_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t''(y) = -1 / y^2``."""
        slope = 1 / y
        return -slope * slope

    def log_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``log t'(y) = -log y``."""
        return -namespace(y).log(y)


class Logit(Space):
    """The logit, ``t(y) = log(y / (1 - y))``."""

    name: ClassVar[str] = "logit"
    support: ClassVar[Support] = unit
    interior: ClassVar[float] = 0.5

    def forward(self, y: Real[Value, "*shape"]) -> Float[Value, "*shape"]:
        """``t(y) = log y - log(1 - y)``."""
        xp = namespace(y)
        return xp.log(y) - xp.log1p(-y)

    def inverse(self, t: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``y = 1 / (1 + exp(-t))``."""
        return 0.5 * (1 + namespace(t).tanh(0.5 * t))

    def derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t'(y) = 1 / (y (1 - y))``."""
        return 1 / (y * (1 - y))

    def second_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``t''(y) = (2 y - 1) / (y (1 - y))^2``."""
        slope = 1 / (y * (1 - y))
        return (2 * y - 1) * slope * slope

    def log_derivative(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """``log t'(y) = -log y - log(1 - y)``."""
        xp = namespace(y)
        return -xp.log(y) - xp.log1p(-y)


SPACES: dict[str, Space] = {space.name: space for space in (Linear(), Log(), Logit())}


def space_of(space: "str | Space") -> Space:
    """Space by its name.

    Raises:
        ValueError: the name is unknown.
    """
    if isinstance(space, Space):
        return space
    if space not in SPACES:
        raise ArgumentError("space", f"must be one of {', '.join(SPACES)}, but is {space!r}.")
    return SPACES[space]


def default_space(domain: Support) -> Space:
    """Default space of a response: log if it is positive, logit if it is between 0 and 1, else linear.

    Args:
        domain: support of the response.
    """
    return next((space for space in SPACES.values() if space.support is domain and space.relative), SPACES["linear"])
