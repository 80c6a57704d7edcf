"""Noise: residual space and loss of a fit.

A fit minimises ``sum_i w_i * rho(r_i)`` with ``r_i = t(law_i) - t(y_i)``, where ``t`` is the identity, the logarithm or
the logit. Objectives are sums, not means. Settings are arrays, so that a new delta does not trigger compilation.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import equinox as eqx
from jaxtyping import Real

from jaxscale.law import Response
from jaxscale.noise import losses
from jaxscale.noise.loss import Loss
from jaxscale.noise.spaces import Space, default_space
from jaxscale.utils.arrays import Numbers, Value
from jaxscale.utils.errors import ArgumentError


class Noise(eqx.Module):
    """Residual space and loss; create it with :func:`jaxscale.noise.squared`, :func:`jaxscale.noise.huber`, ...

    Args:
        loss: loss of a residual.
        space: residual space.
    """

    loss: Loss
    space: Space = eqx.field(static=True)

    @property
    def infers_scale(self) -> bool:
        """Whether the scale of the noise is fitted with the law."""
        return self.loss.infers_scale

    def transform(self, y: Real[Value, "*shape"]) -> Real[Value, "*shape"]:
        """Map a response or prediction to the residual space."""
        return self.space.forward(y)

    def with_threshold(self, delta: Numbers) -> "Noise":
        """Noise with another threshold of its loss."""
        return Noise(self.loss.with_threshold(delta), self.space)

    def describe(self) -> str:
        """Description of the noise, as reports print it.

        >>> from jaxscale import noise
        >>> noise.huber(0.01, over=10).describe()
        'huber(delta=0.01, over=10) on log residuals'
        """
        if self.loss.counts:
            return self.loss.describe()  # pyright: ignore[reportAttributeAccessIssue]
        settings = ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in self.loss.settings.items()
        )
        return f"{self.loss.name}{f'({settings})' if settings else ''} on {self.space.label}"

    def to_dict(self) -> dict[str, Any]:
        """Convert the noise to plain numbers and strings: ``loss``, ``space`` and the settings of the loss."""
        return {"loss": self.loss.name, "space": self.space.name, **self.loss.settings}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Noise":
        """Create a noise from the output of :meth:`to_dict`.

        Raises:
            ValueError: the loss, the space or a setting is unknown.
        """
        if "likelihood" in entries:
            from jaxscale.noise.count_loss import count_noise
            from jaxscale.noise.likelihoods import classes

            kind = classes()[entries["likelihood"]]
            return count_noise(kind(*([entries["trials"]] if "trials" in entries else [])))
        return named(entries["loss"], entries["space"], **{k: v for k, v in entries.items() if k not in _FIXED})


_FIXED = ("loss", "space")


def default(response: Response, space: str | Space | None = None) -> Noise:
    """Default noise of a response: Huber loss with a fitted scale for log residuals, else squared error.

    Args:
        response: the response of the law.
        space: residual space; by default that of the domain of the response.
    """
    usual = default_space(response.domain)
    chosen = usual if space is None else space
    return named("huber", chosen, delta="scale") if usual.percent else named("squared", chosen)


@cache
def constructors() -> dict[str, Callable[..., Noise]]:
    """Constructors of noises by the name of the loss, from the files in :mod:`jaxscale.noise.losses`."""
    functions = {}
    for file in pkgutil.iter_modules(losses.__path__):
        function = vars(importlib.import_module(f"{losses.__name__}.{file.name}")).get(file.name)
        if inspect.isfunction(function):
            functions[file.name] = function
    return functions


def named(loss: str, space: str | Space | None = None, *, response: Response | None = None, **settings: Any) -> Noise:
    """Create a noise by the name of its loss.

    >>> named("huber", "log", delta=0.01).describe()
    'huber(delta=0.01) on log residuals'

    Args:
        loss: name of the loss.
        space: residual space; by default that of the domain of the response, or linear without a response.
        response: response of the law.
        **settings: settings of the loss; those that are None keep their defaults.

    Raises:
        ValueError: the name, the space or a setting is unknown.
    """
    known = constructors()
    if loss not in known:
        raise ArgumentError("noise", f"must be one of {', '.join(known)}, but is {loss!r}.")
    accepted = inspect.signature(known[loss]).parameters
    for key, value in settings.items():
        if value is not None and key not in accepted:
            raise ArgumentError(key, f"must not be given with noise {loss}, but is {value!r}.")
    if space is None:
        space = "linear" if response is None else default_space(response.domain)
    return known[loss](space=space, **{key: value for key, value in settings.items() if value is not None})
