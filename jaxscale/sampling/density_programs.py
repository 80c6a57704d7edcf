"""Compiled programs of sampling: log densities of many draws, and derivatives at a few points.

A model is any pytree with ``log_density`` and ``length``; models of one structure are stacked.
"""

from typing import Any

import jax
import numpy as np

from jaxscale.law.derivatives import inline
from jaxscale.sampling import modes
from jaxscale.utils.compilation import compiled


def _log_density(model: Any, x: Any) -> Any:
    return model.log_density(x)


@compiled(brief=True)
def curvatures(model: Any, x: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian of every model's log density at its own point x, shape (models, size)."""

    def at(m: Any, x: Any) -> tuple[Any, Any, Any]:
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
def log_densities(model: Any, x: Any) -> Any:
    """The log density of every model at its draws x, shape (models, draws, size)."""
    models, draws = _together(model.length, x.shape[1])

    def one(part: Any) -> Any:
        m, x = part
        return jax.lax.map(lambda x: _log_density(m, x), x, batch_size=draws)

    return jax.lax.map(one, (model, x), batch_size=None if models == 1 else min(models, len(x)))
