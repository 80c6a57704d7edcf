"""Implicit differentiation: derivatives of an optimum with respect to its data, as a custom JVP rule.

At a minimum the gradient vanishes, ``g(z, data) = 0``, so that ``dz = -H^-1 (dg/d data . d data)`` with the
Hessian ``H = dg/dz``; the derivative of the objective is its partial derivative in the data at fixed z. Both are
differentiable functions of the optimum, so that higher derivatives are exact too.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree

from jaxscale.data.observations import Observations
from jaxscale.engine.objective import Problem
from jaxscale.utils.arrays import Array
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError

T = TypeVar("T")

NOT_DIFFERENTIABLE = (
    "With an absolute loss the optimum is a vertex, whose derivative is not defined everywhere; "
    "use a Huber loss (jaxscale.noise.huber) to differentiate a fit."
)


def overwrite_rows(keep: Bool[Array, " row"], data: T) -> T:
    """Overwrite rows (the last axis) that are not kept by the first row that is."""
    first = jnp.argmax(keep)
    return jax.tree.map(lambda a: jnp.where(keep, a, a[..., first, None]), data)


def _residuals(
    problem: Problem,
    z: Float[Array, " size"],
    inputs: Mapping[str, Float[Array, "... row"]],
    response: Float[Array, " row"],
) -> Float[Array, " row"]:
    fitted = jax.vmap(problem.predict, in_axes=(None, -1))(z, inputs)
    return problem.noise.transform(fitted) - problem.noise.transform(response)


def _usable(
    problem: Problem, z: Float[Array, " size"], response: Float[Array, " row"], weight: Float[Array, " row"]
) -> Bool[Array, " row"]:
    """Rows of positive weight, and those of weight 0 that are inside the law's domain and have a residual."""
    law, inputs = problem.law, problem.inputs
    valid = jnp.isfinite(problem.noise.transform(response))
    for name, kind in law.inputs.items():
        inside = (inputs[name] > kind.low) & (inputs[name] < kind.high)
        valid = valid & jnp.all(inside.reshape(-1, inside.shape[-1]), axis=0)
    keep = valid | (weight > 0)
    return keep & jnp.isfinite(_residuals(problem, z, *overwrite_rows(keep, (inputs, response)))) | (weight > 0)


def objective(
    problem: Problem, z: Float[Array, " size"], response: Float[Array, " row"], weight: Float[Array, " row"]
) -> Float[Array, ""]:
    """Objective ``sum w rho(r)`` at coordinates z of shape (size,), as a function that JAX differentiates.

    A row of weight 0 keeps its own residual, so that the derivative in its weight is the influence that the row
    would have; a row outside the law's domain, or without a residual, is excluded.
    """
    # Rows are excluded before differentiation: a derivative of NaN is NaN even where it is not selected.
    keep = _usable(*jax.lax.stop_gradient((problem, z, response, weight)))
    r = _residuals(problem, z, *overwrite_rows(keep, (problem.inputs, response)))
    loss = problem.noise.loss
    cost = loss.value(r, loss.threshold, problem.log_scale(z))
    total = jnp.sum(jnp.where(keep, weight, 0.0) * cost)
    if loss.concomitant_scale:
        total = total + loss.scale_cost(len(problem.free), weight, problem.log_scale(z))
    return total


@jax.custom_jvp
def implicit_optimum(
    problem: Problem,
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
    z: Float[Array, " size"],
    f: Float[Array, ""],
) -> tuple[Float[Array, " size"], Float[Array, ""]]:
    """Return a given optimum and its objective, with implicit derivatives with respect to the data.

    Args:
        problem: law, noise, inputs of shape (n,), fixed values; the centre is a constant.
        response: shape (n,).
        weight: shape (n,).
        z: coordinates of the optimum, shape (size,), without derivatives.
        f: the objective there, without derivatives.
    """
    return z, f


@implicit_optimum.defjvp
def _implicit_optimum_jvp(
    primals: tuple[Problem, Float[Array, " row"], Float[Array, " row"], Float[Array, " size"], Float[Array, ""]],
    tangents: tuple[PyTree, ...],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    problem, response, weight, *_ = primals
    if problem.noise.loss.vertex:
        raise TypeError(NOT_DIFFERENTIABLE)
    z, f = implicit_optimum(*primals)
    data, change = (problem, response, weight), tangents[:3]

    def cost(
        z: Float[Array, " size"], problem: Problem, response: Float[Array, " row"], weight: Float[Array, " row"]
    ) -> Float[Array, ""]:
        return objective(problem, z, response, weight)

    gradient = jax.grad(cost)
    _, moved = jax.jvp(lambda *data: gradient(z, *data), data, change)
    dz = -_solve_scaled(jax.jacfwd(gradient)(z, *data), moved)
    _, df = jax.jvp(lambda *data: cost(z, *data), data, change)
    return (z, f), (dz, df)


def _solve_scaled(hessian: Float[Array, "size size"], right: Float[Array, " size"]) -> Float[Array, " size"]:
    """Solve ``H x = right`` with the diagonal scaled to 1; 0 for a coordinate that the objective does not depend on."""
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.abs(jnp.diagonal(hessian))))
    idle = size == 0
    size = jnp.where(idle, 1.0, size)
    scaled = hessian / (size[:, None] * size[None]) + jnp.diag(idle.astype(size.dtype))
    return jnp.linalg.solve(scaled, right / size) / size


@compiled
def _weight_gradient(
    problem: Problem,
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
    z: Float[Array, " size"],
    slope: Mapping[str, Float[Array, ""]],
) -> Float[Array, " row"]:
    """Derivative in the weight of every row, shape (n,), of a quantity with these slopes in the parameters."""

    def params(weight: Float[Array, " row"]) -> dict[str, Float[Array, ""]]:
        return problem.params(implicit_optimum(problem, response, weight, z, jnp.zeros_like(z[0]))[0])

    return jax.vjp(params, weight)[1](slope)[0]


def influence(
    problem: Problem,
    z: Float[np.ndarray, " size"],
    wide: Observations,
    params: Mapping[str, float],
    of: Callable[[dict[str, Any]], Any],
) -> Float[np.ndarray, " row"]:
    """Influence of every row: the derivative of a quantity in its weight at an optimum, shape (n,).

    Args:
        problem: law, noise, inputs of shape (n,).
        z: coordinates of the optimum, shape (size,).
        wide: the observations that were fitted, n rows.
        params: every parameter at the optimum.
        of: the quantity, a function of the parameters.

    Raises:
        TypeError: the loss is absolute.
        ValueError: the quantity is not one number.
    """
    values = {name: jnp.asarray(value, float) for name, value in params.items()}
    quantity, pull = jax.vjp(lambda p: jnp.asarray(of(p), float), values)
    if quantity.shape != ():
        raise ArgumentError("quantity", f"must return one number, but returns an array of shape {quantity.shape}.")
    (slope,) = pull(jnp.ones_like(quantity))
    return np.asarray(_weight_gradient(problem, wide.response, wide.weight, z, slope))
