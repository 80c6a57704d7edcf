"""Residual spaces: where a prediction and a response are compared.

A space is a monotone map t of responses; residuals are ``t(law) - t(y)``. Functions take NumPy or JAX arrays.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxscale.law import Support, positive, real, unit
from jaxscale.utils.errors import ArgumentError


def namespace(values: Any) -> Any:
    """The array library of some values: NumPy for its arrays and plain numbers, else JAX."""
    return np if isinstance(values, np.ndarray | np.generic | float | int) else jnp


class Space(eqx.Module):
    """A map t of responses; subclasses define it with its derivatives.

    Attributes:
        name: what ``space=`` and ``--space`` take.
        support: the responses that have a residual.
        interior: a response at which all of the functions are finite.
        relative: whether residuals have no unit, so that a change of unit of the response leaves them as they are.
        percent: whether small residuals are relative differences, which reports print in percent.
    """

    name: eqx.AbstractClassVar[str]
    support: eqx.AbstractClassVar[Support]
    interior: eqx.AbstractClassVar[float]
    relative: ClassVar[bool] = True
    percent: ClassVar[bool] = False

    @abstractmethod
    def forward(self, y: Any) -> Any:
        """``t(y)``."""

    @abstractmethod
    def inverse(self, t: Any) -> Any:
        """``y`` with ``t(y) = t``."""

    @abstractmethod
    def derivative(self, y: Any) -> Any:
        """``t'(y)``."""

    @abstractmethod
    def second_derivative(self, y: Any) -> Any:
        """``t''(y)``."""

    @abstractmethod
    def log_derivative(self, y: Any) -> Any:
        """``log t'(y)``, which turns a density of residuals into one of responses."""

    def __str__(self) -> str:
        """The name."""
        return self.name

    @property
    def label(self) -> str:
        """The residuals in words."""
        return f"{self.name} residuals"

    def unit(self, response: str) -> str:
        """The unit of a residual, as plots print it.

        Args:
            response: unit of the response.
        """
        return "%" if self.percent else self.name if self.relative else response

    @property
    def factor(self) -> float:
        """Residuals in the unit of :meth:`unit`."""
        return 100.0 if self.percent else 1.0


class Linear(Space):
    """The response itself, ``t(y) = y``."""

    name: ClassVar[str] = "linear"
    support: ClassVar[Support] = real
    interior: ClassVar[float] = 1.0
    relative: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The residuals in words."""
        return "raw residuals"

    def forward(self, y: Any) -> Any:
        """``t(y) = y``."""
        return y

    def inverse(self, t: Any) -> Any:
        """``y = t``."""
        return t

    def derivative(self, y: Any) -> Any:
        """``t'(y) = 1``."""
        return namespace(y).ones_like(y)

    def second_derivative(self, y: Any) -> Any:
        """``t''(y) = 0``."""
        return namespace(y).zeros_like(y)

    def log_derivative(self, y: Any) -> Any:
        """``log t'(y) = 0``."""
        return namespace(y).zeros_like(y)


class Log(Space):
    """The logarithm, ``t(y) = log y``."""

    name: ClassVar[str] = "log"
    support: ClassVar[Support] = positive
    interior: ClassVar[float] = 1.0
    percent: ClassVar[bool] = True

    def forward(self, y: Any) -> Any:
        """``t(y) = log y``."""
        return namespace(y).log(y)

    def inverse(self, t: Any) -> Any:
        """``y = exp t``, finite for any t."""
        xp = namespace(t)
        return xp.exp(xp.minimum(t, 700.0))

    def derivative(self, y: Any) -> Any:
        """``t'(y) = 1 / y``."""
        return 1 / y

    def second_derivative(self, y: Any) -> Any:
        """``t''(y) = -1 / y^2``."""
        slope = 1 / y
        return -slope * slope

    def log_derivative(self, y: Any) -> Any:
        """``log t'(y) = -log y``."""
        return -namespace(y).log(y)


class Logit(Space):
    """The logit, ``t(y) = log(y / (1 - y))``."""

    name: ClassVar[str] = "logit"
    support: ClassVar[Support] = unit
    interior: ClassVar[float] = 0.5

    def forward(self, y: Any) -> Any:
        """``t(y) = log y - log(1 - y)``."""
        xp = namespace(y)
        return xp.log(y) - xp.log1p(-y)

    def inverse(self, t: Any) -> Any:
        """``y = 1 / (1 + exp(-t))``."""
        return 0.5 * (1 + namespace(t).tanh(0.5 * t))

    def derivative(self, y: Any) -> Any:
        """``t'(y) = 1 / (y (1 - y))``."""
        return 1 / (y * (1 - y))

    def second_derivative(self, y: Any) -> Any:
        """``t''(y) = (2 y - 1) / (y (1 - y))^2``."""
        slope = 1 / (y * (1 - y))
        return (2 * y - 1) * slope * slope

    def log_derivative(self, y: Any) -> Any:
        """``log t'(y) = -log y - log(1 - y)``."""
        xp = namespace(y)
        return -xp.log(y) - xp.log1p(-y)


SPACES: dict[str, Space] = {space.name: space for space in (Linear(), Log(), Logit())}


def space_of(space: "str | Space") -> Space:
    """A space by its name.

    Raises:
        ValueError: there is none of this name.
    """
    if isinstance(space, Space):
        return space
    if space not in SPACES:
        raise ArgumentError("space", f"must be one of {', '.join(SPACES)}, but is {space!r}.")
    return SPACES[space]


def suited(domain: Support) -> Space:
    """The space that suits a response: logarithms of positive ones, logits between 0 and 1, else the response itself.

    Args:
        domain: where the response lies.
    """
    return next((space for space in SPACES.values() if space.support is domain and space.relative), SPACES["linear"])
