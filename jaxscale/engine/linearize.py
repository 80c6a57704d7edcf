"""Linearisation of a problem at one point: parameters, predictions, residuals and their derivatives."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxscale.engine.objective import Problem, each_row
from jaxscale.law.derivatives import value
from jaxscale.utils.arrays import Array, Number, Value
from jaxscale.utils.compilation import compiled


class Linear(eqx.Module):
    """Linearisation of a problem, from which standard errors, reports and vertex steps are computed.

    ``jacobian`` is that of the residuals in the free parameters (n, p), ``slope`` that in the
    coordinates (n, size), ``change`` the parameters' derivative in the coordinates (p, size).
    """

    params: dict[str, Number]
    prediction: Float[Array, " row"]
    residual: Float[Array, " row"]
    jacobian: Float[Array, "row free"]
    slope: Float[Array, "row size"]
    change: Float[Array, "free size"]


@compiled(brief=True)
def params_at(problem: Problem, z: Float[Array, "size ..."]) -> dict[str, Float[Value, "..."]]:
    """Parameters by name at coordinates z of shape (size,) or (size, lanes)."""
    return problem.params(z)


@compiled(brief=True)
def linearise(problem: Problem, z: Float[Array, " size"], response: Float[Array, " row"]) -> Linear:
    """Parameters, predictions, residuals and their derivatives at coordinates z of shape (size,)."""

    def named(z: Float[Array, " size"]) -> Float[Array, " free"]:
        params = problem.params(z)
        return jnp.stack([params[name] for name in problem.free]) if problem.free else jnp.zeros((0,))

    params = problem.params(z)
    free = {name: params[name] for name in problem.free}

    def at(row: Mapping[str, Float[Array, "..."]]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " free"]]:
        def both(free: Mapping[str, Number]) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, ""]]]:
            y = value(problem.law, row, {**problem.fixed, **free})
            r = problem.noise.transform(y)
            return r, (y, r)

        slopes, ends = jax.jacfwd(both, has_aux=True)(free)
        return *ends, jnp.stack([slopes[name] for name in problem.free])

    prediction, fitted, jacobian = each_row(problem, at)
    change = jax.jacfwd(named)(z)
    return Linear(
        params=params,
        prediction=prediction,
        residual=fitted - problem.noise.transform(response),
        jacobian=jacobian,
        slope=jnp.matmul(jacobian, change, precision=jax.lax.Precision.HIGHEST),
        change=change,
    )
