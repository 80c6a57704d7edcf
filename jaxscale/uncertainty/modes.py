"""Modes: the top of a density and its curvature there, by damped Newton steps."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

STEPS = 100
# A step moves no coordinate by more than this: coordinates are logarithms or of the size of the data.
LONGEST = 2.0


class Mode(eqx.Module):
    """The top of a log density near a start.

    Args:
        x: where it is, shape (size,).
        log_density: its value there.
        root: lower triangular L with ``L L' = (-Hessian)^-1``, shape (size, size); directions in which the density
            bends upwards or not at all count by the size of their curvature.
        promise: what a further Newton step would gain.
    """

    x: Any
    log_density: Any
    root: Any
    promise: Any


def climbed(log_density: Callable[[Any], Any], start: Any) -> Mode:
    """Climb from a start, shape (size,), to the top of a log density.

    Args:
        log_density: of a vector of shape (size,).
        start: where it is finite.
    """
    cost = lambda x: -log_density(x)  # noqa: E731

    def slope(x: Any) -> tuple[Any, tuple[Any, Any]]:
        f, g = jax.value_and_grad(cost)(x)
        return g, (f, g)

    def judged(x: Any) -> tuple[Any, Any, Any, Any]:
        """Value, slope along each axis of curvature, and these axes."""
        # Value and slope come with the Hessian: a third less to compile.
        matrix, (f, g) = jax.jacfwd(slope, has_aux=True)(x)
        matrix = jnp.where(jnp.all(jnp.isfinite(matrix)), matrix, jnp.eye(len(x)))
        values, vectors = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
        size = jnp.abs(values)
        values = jnp.maximum(size, 1e-10 * jnp.max(size) + jnp.finfo(x.dtype).tiny)
        return f, vectors.T @ jnp.where(jnp.isfinite(g), g, 0.0), values, vectors

    def step(state: Any) -> Any:
        x, (f, along, values, vectors), damping, count = state
        move = -vectors @ (along / (values * (1 + damping)))
        move = move * jnp.minimum(1.0, LONGEST / jnp.max(jnp.abs(move) + 1e-300))
        # The first round only looks at the start, so that what it compiles to stands in the program once.
        tried = judged(x + jnp.where(count == 0, 0.0, move))
        better = (tried[0] < f) | (count == 0)
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, (f, along, values, vectors))
        damping = jnp.where(better, damping * 0.2, jnp.maximum(damping, 0.1) * 8)
        return jnp.where(better & (count > 0), x + move, x), kept, damping, count + 1

    def going(state: Any) -> Any:
        _, (f, along, values, _), damping, count = state
        promise = 0.5 * jnp.sum(along**2 / values)
        return (count == 0) | ((promise > 1e-9) & (count < STEPS) & (damping < 1e12) & jnp.isfinite(f))

    size, dtype = len(start), start.dtype
    nothing = (jnp.asarray(jnp.inf, dtype), jnp.zeros(size, dtype), jnp.ones(size, dtype), jnp.eye(size, dtype=dtype))
    begun = (start, nothing, jnp.asarray(5e-3, dtype), jnp.asarray(0))
    x, (f, along, values, vectors), _, _ = jax.lax.while_loop(going, step, begun)
    promise = 0.5 * jnp.sum(along**2 / values)
    half = vectors / jnp.sqrt(values)
    # L L' = V diag(1 / values) V': triangular by a QR of the half's transpose.
    upper = jnp.linalg.qr(half.T, mode="r")
    root = upper.T * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)
    return Mode(x, -f, root, promise)
