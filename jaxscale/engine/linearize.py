"""The fit at one point: predictions, derivatives, and the exact vertex of an absolute loss."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.engine.objective import Problem, each_row
from jaxscale.law.derivatives import value
from jaxscale.utils.compilation import compiled


class Linear(eqx.Module):
    """The fit at one point: what reports, standard errors and the vertex step are made of.

    ``jacobian`` is that of the residuals in the free parameters (n, p), ``slope`` that in the
    coordinates (n, size), ``change`` the parameters' derivative in the coordinates (p, size).
    """

    params: dict[str, Any]
    prediction: Any
    residual: Any
    jacobian: Any
    slope: Any
    change: Any


@compiled(brief=True)
def params_at(problem: Problem, z: Any) -> dict[str, Any]:
    """Parameters by name at coordinates z of shape (size,) or (size, lanes)."""
    return problem.params(z)


@compiled(brief=True)
def linearise(problem: Problem, z: Any, response: Any) -> Linear:
    """Parameters, predictions, residuals and their derivatives at coordinates z of shape (size,)."""

    def named(z: Any) -> Any:
        params = problem.params(z)
        return jnp.stack([params[name] for name in problem.free]) if problem.free else jnp.zeros((0,))

    params = problem.params(z)
    free = {name: params[name] for name in problem.free}

    def at(row: Any) -> Any:
        def both(free: Any) -> tuple[Any, Any]:
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


def vertex(
    problem: Problem, z: np.ndarray, response: np.ndarray, weight: np.ndarray, most: int = 60
) -> tuple[np.ndarray, float, float]:
    """The exact minimum of the absolute loss near z, by linear programmes on a shrinking box.

    Args:
        problem: law, inputs, noise.
        z: coordinates near a minimum, shape (size,).
        response: shape (n,).
        weight: shape (n,).
        most: most programmes.

    Returns:
        Coordinates, objective ``sum w |r|``, and the decrease that the last programme still promised, relative.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    rows = np.flatnonzero(weight > 0)
    w = weight[rows]

    def at(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        linear = linearise(problem, z, response)
        r = np.asarray(linear.residual)[rows]
        return r, np.asarray(linear.slope)[rows], float(np.sum(w * np.abs(r)))

    r, slope, f = at(z)
    box, promise = 0.1, np.inf
    for _ in range(most):
        # min sum w u  subject to  -u <= r + J d <= u  in the box; columns are (d, u).
        size = np.linalg.norm(slope, axis=0) + 1e-300
        scaled = csr_array(slope / size)
        minus = -eye_array(len(rows))
        bounds = [(-box * s, box * s) for s in size] + [(0, None)] * len(rows)
        programme = linprog(
            np.concatenate([np.zeros(len(size)), w]),
            A_ub=vstack([hstack([scaled, minus]), hstack([-scaled, minus])]).tocsr(),
            b_ub=np.concatenate([-r, r]),
            bounds=bounds,
            method="highs",
        )
        if programme.x is None:
            break
        d = programme.x[: len(size)] / size
        promise = max(f - float(np.sum(w * np.abs(r + slope @ d))), 0.0)
        there = at(z + d)
        if not promise > 1e-15 * f:
            break
        if there[2] < f:
            gain = f - there[2]
            z, (r, slope, f) = z + d, there
            box = box * 2 if gain > 0.75 * promise else box / 2 if gain < 0.25 * promise else box
        else:
            box /= 4
        if box < 1e-15:
            break
    return z, f, promise / max(f, np.finfo(float).tiny)
