"""Optimum of a problem: coordinates, data and derivatives there."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxscale.engine.linearize import Linear, linearise
from jaxscale.engine.objective import Problem


@dataclass(frozen=True)
class Optimum:
    """A problem with its data at its optimum.

    Args:
        problem: law, inputs of shape (n,), noise.
        z: coordinates, shape (size,).
        response: shape (n,).
        weight: shape (n,); rows of weight 0 are ignored.
        linear: parameters, predictions, residuals and their derivatives.
    """

    problem: Problem
    z: Float[np.ndarray, " size"]
    response: Float[np.ndarray, " row"]
    weight: Float[np.ndarray, " row"]
    linear: Linear

    @property
    def used(self) -> Bool[np.ndarray, " row"]:
        """Mask of rows with positive weight, shape (n,)."""
        return self.weight > 0

    @property
    def rows(self) -> int:
        """Number of rows with positive weight."""
        return int(np.sum(self.used))

    @property
    def freedom(self) -> int:
        """Degrees of freedom: rows with positive weight, less the free parameters."""
        return self.rows - len(self.problem.free)

    @property
    def log_scale(self) -> float:
        """Logarithm of the scale of the noise."""
        return float(self.problem.log_scale(self.z))


def optimum_of(
    problem: Problem,
    z: Float[np.ndarray, " size"],
    response: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
) -> Optimum:
    """Linearise a problem at its optimum."""
    linear = jax.tree.map(np.asarray, linearise(problem, z, response))
    return Optimum(problem, z, response, weight, linear)
