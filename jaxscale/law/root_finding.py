"""Laws that a response enters on both sides: the root of a monotone equation, with derivatives."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxscale.utils.arrays import Array, Numbers, Value

# Halvings that take a bracket to the spacing of float64, whatever its width in plausible units.
HALVINGS = 60


def bracketed_root(residual: Callable[[Array], Array], low: Numbers, high: Numbers) -> Float[Array, "..."]:
    """Where a monotone function is zero inside a bracket, element by element.

    Bisection finds the root without derivatives, in a fixed number of halvings; two steps of Newton's
    method then carry the derivatives of whatever ``residual`` closes over. Each step doubles the
    order to which they are exact, so value, gradient and Hessian are those of the implicit function,
    under ``jit``, ``vmap`` and in either mode of differentiation.

    Args:
        residual: rises or falls strictly and smoothly in its argument; works on arrays element by element.
        low: lower end of the bracket; nothing is differentiated through either end.
        high: upper end of the bracket, where ``residual`` has the other sign.

    Returns:
        The root, of the shape to which the bracket and ``residual`` broadcast.

    >>> round(float(bracketed_root(lambda x: x**3 - 8.0, 0.0, 5.0)), 6)
    2.0
    """
    low, high = (jax.lax.stop_gradient(jnp.asarray(end, jnp.result_type(float, end))) for end in (low, high))
    at_low, at_high = residual(low), residual(high)
    shape = jnp.broadcast_shapes(jnp.shape(low), jnp.shape(high), jnp.shape(at_low))
    dtype = jnp.result_type(low, high, at_low)
    rising = at_high > at_low

    def halve(
        _: Int[Value, ""], ends: tuple[Float[Array, "*shape"], Float[Array, "*shape"]]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        low, high = ends
        middle = low + 0.5 * (high - low)
        below = (residual(middle) < 0) == rising
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = jnp.broadcast_to(low, shape).astype(dtype), jnp.broadcast_to(high, shape).astype(dtype)
    low, high = jax.lax.fori_loop(0, HALVINGS, halve, ends)
    root = jax.lax.stop_gradient(low + 0.5 * (high - low))
    for _ in range(2):
        value, slope = jax.jvp(residual, (root,), (jnp.ones_like(root),))
        root = root - value / slope
    return root
