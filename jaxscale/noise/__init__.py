"""Noise of a fit: losses and residual spaces."""

from collections.abc import Callable

from jaxscale.noise.losses.absolute import absolute as absolute
from jaxscale.noise.losses.huber import huber as huber
from jaxscale.noise.losses.squared import squared as squared
from jaxscale.noise.losses.student_t import student_t as student_t
from jaxscale.noise.noise import Noise as Noise
from jaxscale.noise.noise import constructors
from jaxscale.noise.noise import default as default
from jaxscale.noise.noise import named as named
from jaxscale.noise.spaces import SPACES as SPACES
from jaxscale.noise.spaces import Space as Space


def __getattr__(name: str) -> Callable[..., Noise]:
    """Constructor of a noise, for losses that are not imported above."""
    if name.startswith("_") or name not in constructors():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return constructors()[name]
