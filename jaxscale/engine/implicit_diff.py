"""How an optimum moves with its data: the implicit function theorem, as a rule of JAX.

At a minimum the gradient vanishes, ``g(z, data) = 0``, so that ``dz = -H^-1 (dg/d data . d data)`` with the
Hessian ``H = dg/dz``; and the objective moves only by what the data change at fixed z. Both are written with
differentiable functions of the optimum, so that derivatives of derivatives are right too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.objective import Problem
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError

REFUSED = (
    "With an absolute loss the optimum is a vertex, whose derivative is not defined everywhere; "
    "take a Huber loss (jaxscale.noise.huber) to differentiate a fit."
)


def replaced(keep: Any, data: Any) -> Any:
    """Arrays whose last axis is that of rows, with the first row that is kept in place of the others."""
    first = jnp.argmax(keep)
    return jax.tree.map(lambda a: jnp.where(keep, a, a[..., first, None]), data)


def _residuals(problem: Problem, z: Any, inputs: Mapping[str, Any], response: Any) -> Any:
    fitted = jax.vmap(problem.predict, in_axes=(None, -1))(z, inputs)
    return problem.noise.transform(fitted) - problem.noise.transform(response)


def _usable(problem: Problem, z: Any, response: Any, weight: Any) -> Any:
    """Rows that count, and those of weight 0 that could: inside the law's domain, with a residual."""
    law, inputs = problem.law, problem.inputs
    valid = jnp.isfinite(problem.noise.transform(response))
    for name, kind in law.inputs.items():
        inside = (inputs[name] > kind.low) & (inputs[name] < kind.high)
        valid = valid & jnp.all(inside.reshape(-1, inside.shape[-1]), axis=0)
    keep = valid | (weight > 0)
    return keep & jnp.isfinite(_residuals(problem, z, *replaced(keep, (inputs, response)))) | (weight > 0)


def objective(problem: Problem, z: Any, response: Any, weight: Any) -> Any:
    """``sum w rho(r)`` at coordinates z of shape (size,): a plain function, to be differentiated by JAX.

    A row of weight 0 stands in it with its own residual, so that the derivative in its weight says what the row
    would do; one outside the law's domain, or without a residual, is left out.
    """
    # Rows are left out before any derivative is taken: a derivative of NaN is NaN even where it is not chosen.
    keep = _usable(*jax.lax.stop_gradient((problem, z, response, weight)))
    r = _residuals(problem, z, *replaced(keep, (problem.inputs, response)))
    loss = problem.noise.loss
    cost = loss.value(r, loss.threshold, problem.log_scale(z))
    total = jnp.sum(jnp.where(keep, weight, 0.0) * cost)
    if loss.concomitant_scale:
        total = total + loss.scale_cost(len(problem.free), weight, problem.log_scale(z))
    return total


@jax.custom_jvp
def attached(problem: Problem, response: Any, weight: Any, z: Any, f: Any) -> tuple[Any, Any]:
    """Optimum and objective as functions of the data: their values are those given, their derivatives implicit.

    Args:
        problem: law, noise, inputs of shape (n,), fixed values; the centre is a constant.
        response: shape (n,).
        weight: shape (n,).
        z: coordinates of the optimum, shape (size,), as a number without derivatives.
        f: the objective there, the same.
    """
    return z, f


@attached.defjvp
def _attached_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    problem, response, weight, *_ = primals
    if problem.noise.loss.vertex:
        raise TypeError(REFUSED)
    z, f = attached(*primals)
    data, change = (problem, response, weight), tangents[:3]

    def cost(z: Any, problem: Problem, response: Any, weight: Any) -> Any:
        return objective(problem, z, response, weight)

    gradient = jax.grad(cost)
    _, moved = jax.jvp(lambda *data: gradient(z, *data), data, change)
    dz = -_solved(jax.jacfwd(gradient)(z, *data), moved)
    _, df = jax.jvp(lambda *data: cost(z, *data), data, change)
    return (z, f), (dz, df)


def _solved(hessian: Any, right: Any) -> Any:
    """``H^-1 right`` in units in which the diagonal is 1; 0 for a coordinate that nothing depends on."""
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.abs(jnp.diagonal(hessian))))
    idle = size == 0
    size = jnp.where(idle, 1.0, size)
    scaled = hessian / (size[:, None] * size[None]) + jnp.diag(idle.astype(size.dtype))
    return jnp.linalg.solve(scaled, right / size) / size


@compiled
def _pulled(problem: Problem, response: Any, weight: Any, z: Any, slope: Mapping[str, Any]) -> Any:
    """The derivative, in the weight of every row, of what has these slopes in the parameters; shape (n,)."""

    def params(weight: Any) -> Any:
        return problem.params(attached(problem, response, weight, z, jnp.zeros_like(z[0]))[0])

    return jax.vjp(params, weight)[1](slope)[0]


def influence(
    problem: Problem,
    z: np.ndarray,
    wide: Observations,
    params: Mapping[str, float],
    of: Callable[[dict[str, Any]], Any],
) -> np.ndarray:
    """The derivative of a quantity in the weight of every row, shape (n,), at an optimum.

    Args:
        problem: law, noise, inputs of shape (n,).
        z: coordinates of the optimum, shape (size,).
        wide: what was fitted, n rows.
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
    return np.asarray(_pulled(problem, wide.response, wide.weight, z, slope))
