"""Quasi-Newton descents: optax's L-BFGS in centred coordinates, vectorised over lanes."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PyTree

from jaxscale.engine.implicit_diff import objective
from jaxscale.engine.objective import Problem
from jaxscale.noise import Noise, huber
from jaxscale.utils.arrays import Array

# Huber threshold that smooths an absolute loss.
SMOOTHING = 1e-3


def minimize_lbfgs(
    problem: Problem,
    z: Float[Array, "size lane"],
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
    steps: int,
) -> Float[Array, "size lane"]:
    """Run L-BFGS from the start of every lane, and return the final coordinates, shape (size, lanes).

    An absolute loss is replaced by a Huber loss with a small threshold. A lane whose objective is not finite stays at
    its start.

    Args:
        problem: law, inputs of shape (n,), noise.
        z: starts, shape (size, lanes).
        response: shape (n,).
        weight: shape (n,).
        steps: maximum number of iterations of a lane.
    """
    import optax

    solver = optax.lbfgs()
    smooth = problem
    if problem.noise.loss.vertex:
        smooth = _with_noise(problem, huber(SMOOTHING, problem.noise.space))

    def value(z: Float[Array, " size"]) -> Float[Array, ""]:
        return objective(smooth, z, response, weight)

    slope = optax.value_and_grad_from_state(value)

    def descent(start: Float[Array, " size"]) -> Float[Array, " size"]:
        def unfinished(state: tuple[PyTree, ...]) -> Bool[Array, ""]:
            return (state[0] < steps) & (state[-1] < 3)

        def step(state: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
            k, z, before, inner, still = state
            f, g = slope(z, state=inner)
            # optax counts iterations in integers of two sizes.
            with jax.numpy_dtype_promotion("standard"):
                change, inner = solver.update(g, inner, z, value=f, grad=g, value_fn=value)
            valid = jnp.all(jnp.isfinite(z + change))
            # The value at the start of an iteration is the one at the end of the last.
            small = ~valid | (jnp.abs(before - f) <= 1e2 * jnp.finfo(start.dtype).eps * jnp.abs(f))
            return k + 1, jnp.where(valid, z + change, z), f, inner, jnp.where(small, still + 1, 0)

        zero = jnp.asarray(0)
        initial = (zero, start, jnp.full((), jnp.inf, z.dtype), solver.init(start), zero)
        return jax.lax.while_loop(unfinished, step, initial)[1]

    ends = jax.vmap(descent, in_axes=-1, out_axes=-1)(z)
    return jnp.where(jnp.all(jnp.isfinite(ends), axis=0), ends, z)


def _with_noise(problem: Problem, noise: Noise) -> Problem:
    return Problem(problem.law, problem.free, noise, problem.inputs, problem.fixed, problem.centre)
