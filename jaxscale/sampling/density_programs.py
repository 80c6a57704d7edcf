"""Compiled programs of sampling: log densities of many draws, and derivatives at a few points.

A model is any pytree with ``log_density`` and ``length``; models of one structure are stacked.
"""

from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Real

from jaxscale.law.derivatives import inline
from jaxscale.sampling import modes
from jaxscale.utils.arrays import Array
from jaxscale.utils.compilation import compiled


@runtime_checkable
class LogDensity(Protocol):
    """What samplers draw from: a model of a law, or a log density of the user's with its data."""

    @property
    def length(self) -> int:
        """How many numbers the data hold at most along one axis."""
        ...

    def log_density(self, x: Float[Array, " size"]) -> Real[Array, ""]:
        """The log density at x."""
        ...


def _log_density(model: LogDensity, x: Float[Array, " size"]) -> Float[Array, ""]:
    return model.log_density(x)


@compiled(brief=True)
def curvatures(
    model: LogDensity, x: Float[Array, "problem size"]
) -> tuple[Float[Array, " problem"], Float[Array, "problem size"], Float[Array, "problem size size"]]:
    """Value, gradient and Hessian of every model's log density at its own point x, shape (models, size)."""

    def at(
        m: LogDensity, x: Float[Array, " size"]
    ) -> tuple[Float[Array, ""], Float[Array, " size"], Float[Array, "size size"]]:
        m = getattr(m, "smooth", m)
        log_density = inline(_log_density, m, x)
        return modes.curvature(lambda x: log_density(m, x), x)

    return jax.vmap(at)(model, x)


def _together(length: int, draws: int) -> tuple[int, int]:
    """Numbers of models and draws whose densities are vectorised.

    On a CPU limited by the cache of a core, on an accelerator by its memory.
    """
    if jax.default_backend() == "cpu":
        return 1, min(draws, 2 ** max(4, int(np.log2(2**15 / length))))
    most = 2**26 // length
    return int(max(1, most // draws)), int(max(16, min(draws, most)))


@compiled
def log_densities(model: LogDensity, x: Float[Array, "problem draw size"]) -> Float[Array, "problem draw"]:
    """The log density of every model at its draws x, shape (models, draws, size)."""
    models, draws = _together(model.length, x.shape[1])

    def one(part: tuple[LogDensity, Float[Array, "draw size"]]) -> Float[Array, " draw"]:
        m, x = part
        return jax.lax.map(lambda x: _log_density(m, x), x, batch_size=draws)

    return jax.lax.map(one, (model, x), batch_size=None if models == 1 else min(models, len(x)))
