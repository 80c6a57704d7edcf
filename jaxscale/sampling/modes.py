"""Modes of log densities with their curvature, by damped Newton steps over a batch of starts.

Steps are computed by NumPy; the only compiled program is that of value, gradient and Hessian.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.utils.arrays import Array

STEPS = 100
# Largest step of a coordinate: coordinates are logarithms or on the scale of the data.
LONGEST = 2.0
# Most coordinates for forward-mode differentiation.
FORWARD = 24
# Convergence criterion: the predicted increase of a further step, in nats.
ENOUGH = 1e-9


class Mode(eqx.Module):
    """Maxima of log densities near their starts; arrays may have leading axes.

    Args:
        x: locations, shape (..., size).
        log_density: values at the maxima, shape (...,).
        root: lower triangular L with ``L L' = (-Hessian)^-1``, shape (..., size, size); negative or vanishing
            curvatures are replaced by their absolute value.
        predicted_gain: predicted increase of a further Newton step.
    """

    x: Float[Array, "*batch size"]
    log_density: Float[Array, "*batch"]
    root: Float[Array, "*batch size size"]
    predicted_gain: Float[Array, "*batch"]


class _Local:
    """Quadratic model of ``-log density`` at a batch of points, with gradients along the Hessian's eigenvectors."""

    def __init__(
        self,
        f: Float[np.ndarray, " start"],
        g: Float[np.ndarray, "start size"],
        hessian: Float[np.ndarray, "start size size"],
    ) -> None:
        finite: Any = np.isfinite(hessian).all(axis=(-2, -1))
        matrix = np.where(finite[:, None, None], hessian, np.eye(g.shape[-1]))
        values, self.axes = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, -1, -2)))
        size = np.abs(values)
        self.curvature = np.maximum(size, 1e-10 * size.max(axis=-1, keepdims=True) + np.finfo(float).tiny)
        self.f = f
        self.slope = np.einsum("nji,nj->ni", self.axes, np.where(np.isfinite(g), g, 0.0))

    @property
    def predicted_gain(self) -> Float[np.ndarray, " start"]:
        """Predicted decrease of an undamped Newton step."""
        with np.errstate(over="ignore"):
            return 0.5 * np.sum(self.slope**2 / self.curvature, axis=-1)

    def put(self, index: Bool[np.ndarray, " others"], others: "_Local", places: Int[np.ndarray, " place"]) -> None:
        """Replace the points at the given places by chosen ones of the others."""
        for name in ("f", "slope", "curvature", "axes"):
            getattr(self, name)[places] = getattr(others, name)[index]


def find_modes(
    curved: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]], start: Float[np.ndarray, "start size"]
) -> Mode:
    """Maximise log densities from a batch of starts.

    Args:
        curved: value, gradient and Hessian of the log densities at x of shape (count, size), for starts with the
            given indices, shape (count,).
        start: initial values with a finite density, shape (starts, size).
    """
    count, size = start.shape
    every = np.arange(count)
    x, damping = start.copy(), np.full(count, 1e-3)

    def at(x: Float[np.ndarray, "place size"], places: Int[np.ndarray, " place"]) -> _Local:
        f, g, hessian = (-np.asarray(a) for a in curved(x, places))
        return _Local(f, g, hessian)

    here = at(x, every)
    left = every
    for _ in range(STEPS):
        going = (here.predicted_gain[left] > ENOUGH) & (damping[left] < 1e12) & np.isfinite(here.f[left])
        left = left[going]
        if not len(left):
            break
        # Where the density is NaN the step may be too, and is rejected.
        with np.errstate(over="ignore", invalid="ignore"):
            move = here.slope[left] / (here.curvature[left] * (1 + damping[left, None]))
            move = -np.einsum("nij,nj->ni", here.axes[left], move)
            move *= np.minimum(1.0, LONGEST / (np.abs(move).max(axis=-1) + 1e-300))[:, None]
        there = at(x[left] + move, left)
        better = there.f < here.f[left]
        x[left[better]] += move[better]
        here.put(better, there, left[better])
        damping[left] = np.where(better, damping[left] * 0.2, np.maximum(damping[left], 0.1) * 8)
    # L L' = V diag(1 / curvature) V': triangular by QR decomposition of the transposed square root.
    half = here.axes / np.sqrt(here.curvature)[:, None, :]
    upper = np.linalg.qr(np.swapaxes(half, -1, -2), mode="r")
    sign = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return Mode(x, -here.f, np.swapaxes(upper, -1, -2) * sign[:, None, :], here.predicted_gain)


def curvature(
    log_density: Callable[[Array], Array], x: Float[Array, " size"]
) -> tuple[Float[Array, ""], Float[Array, " size"], Float[Array, "size size"]]:
    """Value, gradient and Hessian of a log density at x of shape (size,), inside a program."""
    # Forward over forward mode compiles in half the time; forward over reverse mode runs faster for many coordinates.
    slope_of = jax.jacfwd if len(x) <= FORWARD else jax.jacrev

    def slope(x: Float[Array, " size"]) -> tuple[Float[Array, " size"], tuple[Float[Array, ""], Float[Array, " size"]]]:
        g, f = slope_of(lambda x: (log_density(x),) * 2, has_aux=True)(x)
        return g, (f, g)

    # Value and gradient as auxiliary outputs of the Hessian take a third less to compile.
    hessian, (f, g) = jax.jacfwd(slope, has_aux=True)(x)
    return f, g, hessian
