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
    gradient, hessian = jax.grad(cost), jax.hessian(cost)

    def curvature(x: Any) -> tuple[Any, Any]:
        matrix = hessian(x)
        matrix = jnp.where(jnp.all(jnp.isfinite(matrix)), matrix, jnp.eye(len(x)))
        values, vectors = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
        size = jnp.abs(values)
        return jnp.maximum(size, 1e-10 * jnp.max(size) + jnp.finfo(x.dtype).tiny), vectors

    def step(state: Any) -> Any:
        x, f, damping, count, _ = state
        g = gradient(x)
        values, vectors = curvature(x)
        along = vectors.T @ jnp.where(jnp.isfinite(g), g, 0.0)
        promise = 0.5 * jnp.sum(along**2 / values)
        move = -vectors @ (along / (values * (1 + damping)))
        move = move * jnp.minimum(1.0, LONGEST / jnp.max(jnp.abs(move) + 1e-300))
        new = cost(x + move)
        better = new < f
        damping = jnp.where(better, damping * 0.2, jnp.maximum(damping, 0.1) * 8)
        return jnp.where(better, x + move, x), jnp.where(better, new, f), damping, count + 1, promise

    def going(state: Any) -> Any:
        _, f, damping, count, promise = state
        return (promise > 1e-9) & (count < STEPS) & (damping < 1e12) & jnp.isfinite(f)

    begun = (start, cost(start), jnp.asarray(1e-3, start.dtype), jnp.asarray(0), jnp.asarray(jnp.inf, start.dtype))
    x, f, _, _, promise = jax.lax.while_loop(going, step, begun)
    values, vectors = curvature(x)
    half = vectors / jnp.sqrt(values)
    # L L' = V diag(1 / values) V': triangular by a QR of the half's transpose.
    upper = jnp.linalg.qr(half.T, mode="r")
    root = upper.T * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)
    return Mode(x, -f, root, promise)
