"""Modes: the maximum of a log density and its curvature there, by damped Newton steps on many starts at once.

The steps are NumPy's; what is compiled is one program for value, gradient and Hessian.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.utils.arrays import Array

STEPS = 100
# A step moves no coordinate by more than this: coordinates are logarithms or of the size of the data.
LONGEST = 2.0
# Most coordinates that are differentiated forwards.
FORWARD = 24
# A further step that would gain less than this, in nats, is not taken.
ENOUGH = 1e-9


class Mode(eqx.Module):
    """The maxima of log densities near their starts; arrays have any leading axes.

    Args:
        x: where they are, shape (..., size).
        log_density: the values there, shape (...,).
        root: lower triangular L with ``L L' = (-Hessian)^-1``, shape (..., size, size); directions in which a density
            bends upwards or not at all count by the size of their curvature.
        promise: what a further Newton step would gain.
    """

    x: Float[Array, "*batch size"]
    log_density: Float[Array, "*batch"]
    root: Float[Array, "*batch size size"]
    promise: Float[Array, "*batch"]


class _Local:
    """Value, slope along each axis of curvature, curvatures and axes of the cost ``-log density`` at some points."""

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
    def promise(self) -> Float[np.ndarray, " start"]:
        """What an undamped Newton step would gain."""
        with np.errstate(over="ignore"):
            return 0.5 * np.sum(self.slope**2 / self.curvature, axis=-1)

    def put(self, chosen: Bool[np.ndarray, " others"], others: "_Local", places: Int[np.ndarray, " place"]) -> None:
        """Take over some of the others at some places."""
        for name in ("f", "slope", "curvature", "axes"):
            getattr(self, name)[places] = getattr(others, name)[chosen]


def climbed(
    curved: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]], start: Float[np.ndarray, "start size"]
) -> Mode:
    """Climb from many starts to the maxima of log densities.

    Args:
        curved: value, gradient and Hessian of the log densities at x, shape (count, size), of the starts of some
            places, shape (count,).
        start: where they are finite, shape (starts, size).
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
        going = (here.promise[left] > ENOUGH) & (damping[left] < 1e12) & np.isfinite(here.f[left])
        left = left[going]
        if not len(left):
            break
        # Where the density is no number a step may be none; it is then refused.
        with np.errstate(over="ignore", invalid="ignore"):
            move = here.slope[left] / (here.curvature[left] * (1 + damping[left, None]))
            move = -np.einsum("nij,nj->ni", here.axes[left], move)
            move *= np.minimum(1.0, LONGEST / (np.abs(move).max(axis=-1) + 1e-300))[:, None]
        there = at(x[left] + move, left)
        better = there.f < here.f[left]
        x[left[better]] += move[better]
        here.put(better, there, left[better])
        damping[left] = np.where(better, damping[left] * 0.2, np.maximum(damping[left], 0.1) * 8)
    # L L' = V diag(1 / curvature) V': triangular by a QR of the half's transpose.
    half = here.axes / np.sqrt(here.curvature)[:, None, :]
    upper = np.linalg.qr(np.swapaxes(half, -1, -2), mode="r")
    sign = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return Mode(x, -here.f, np.swapaxes(upper, -1, -2) * sign[:, None, :], here.promise)


def curvature(
    log_density: Callable[[Array], Array], x: Float[Array, " size"]
) -> tuple[Float[Array, ""], Float[Array, " size"], Float[Array, "size size"]]:
    """Value, gradient and Hessian of a log density at x of shape (size,), inside of a program."""
    # Few coordinates go forward twice, which compiles in half the time; many go backward first, which runs faster.
    slope_of = jax.jacfwd if len(x) <= FORWARD else jax.jacrev

    def slope(x: Float[Array, " size"]) -> tuple[Float[Array, " size"], tuple[Float[Array, ""], Float[Array, " size"]]]:
        g, f = slope_of(lambda x: (log_density(x),) * 2, has_aux=True)(x)
        return g, (f, g)

    # Value and slope come with the Hessian: a third less to compile.
    hessian, (f, g) = jax.jacfwd(slope, has_aux=True)(x)
    return f, g, hessian
