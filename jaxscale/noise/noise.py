"""Noise: in which space residuals are taken, and what a residual costs.

A fit minimises ``sum_i w_i * rho(r_i)`` with ``r_i = t(law_i) - t(y_i)``, where ``t`` is the identity, the logarithm or
the logit. Objectives are sums, never means. Settings are arrays, so that a new delta compiles nothing.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import equinox as eqx

from jaxscale.law import Response
from jaxscale.noise import losses
from jaxscale.noise.loss import Loss
from jaxscale.noise.spaces import Space, suited
from jaxscale.utils.errors import ArgumentError


class Noise(eqx.Module):
    """A residual space with a loss; make one with :func:`jaxscale.noise.squared`, :func:`jaxscale.noise.huber`, ...

    Args:
        loss: what a residual costs.
        space: where residuals are taken.
    """

    loss: Loss
    space: Space = eqx.field(static=True)

    @property
    def infers_scale(self) -> bool:
        """Whether the scale of the noise is fitted along with the law."""
        return self.loss.infers_scale

    def transform(self, y: Any) -> Any:
        """Map a response or prediction into the space where residuals are taken."""
        return self.space.forward(y)

    def with_threshold(self, delta: Any) -> "Noise":
        """The noise with another threshold of its loss."""
        return Noise(self.loss.with_threshold(delta), self.space)

    def describe(self) -> str:
        """The noise in words.

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
        """The noise as plain numbers and strings: ``loss``, ``space`` and the settings of the loss."""
        return {"loss": self.loss.name, "space": self.space.name, **self.loss.settings}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Noise":
        """The noise that :meth:`to_dict` wrote.

        Raises:
            ValueError: the loss, the space or a setting is unknown.
        """
        if "likelihood" in entries:
            from jaxscale.noise.count_loss import count_noise
            from jaxscale.noise.likelihoods import classes

            made = classes()[entries["likelihood"]]
            return count_noise(made(*([entries["trials"]] if "trials" in entries else [])))
        return named(entries["loss"], entries["space"], **{k: v for k, v in entries.items() if k not in _FIXED})


_FIXED = ("loss", "space")


def default(response: Response, space: str | Space | None = None) -> Noise:
    """The noise used unless one is given: Huber's with a fitted scale on logs, else squared error.

    Args:
        response: the response of the law.
        space: where residuals are taken, if not where they suit the domain of the response.
    """
    usual = suited(response.domain)
    chosen = usual if space is None else space
    return named("huber", chosen, delta="scale") if usual.percent else named("squared", chosen)


@cache
def constructors() -> dict[str, Callable[..., Noise]]:
    """The functions that make noises, by the name of the loss: those of the files in :mod:`jaxscale.noise.losses`."""
    found = {}
    for file in pkgutil.iter_modules(losses.__path__):
        function = vars(importlib.import_module(f"{losses.__name__}.{file.name}")).get(file.name)
        if inspect.isfunction(function):
            found[file.name] = function
    return found


def named(loss: str, space: str | Space | None = None, *, response: Response | None = None, **settings: Any) -> Noise:
    """A noise by name; the space defaults to what suits the response's domain.

    >>> named("huber", "log", delta=0.01).describe()
    'huber(delta=0.01) on log residuals'

    Args:
        loss: name of the loss.
        space: where residuals are taken; raw unless given here or by the response.
        response: of the law.
        **settings: of the loss; those that are None keep their defaults.

    Raises:
        ValueError: the name, the space or a setting is not one of the noise's.
    """
    known = constructors()
    if loss not in known:
        raise ArgumentError("noise", f"must be one of {', '.join(known)}, but is {loss!r}.")
    accepted = inspect.signature(known[loss]).parameters
    for key, value in settings.items():
        if value is not None and key not in accepted:
            raise ArgumentError(key, f"must not be given with noise {loss}, but is {value!r}.")
    if space is None:
        space = "linear" if response is None else suited(response.domain)
    return known[loss](space=space, **{key: value for key, value in settings.items() if value is not None})
