"""A differentiable fit for use inside jitted programs."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from jaxscale.engine.implicit_diff import attached, replaced
from jaxscale.engine.newton import CONVERGED, FLAT
from jaxscale.engine.objective import Problem
from jaxscale.engine.solve_search import search_of
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise, default
from jaxscale.utils.compilation import compiled

LONGEST = 300


class Solution(eqx.Module):
    """The answer of :func:`solve`: parameters by name, objective, status (a code of ``engine.newton.STATUS``)."""

    params: dict[str, Any]
    objective: Any
    status: Any

    @property
    def ok(self) -> Any:
        """Whether the best lane converged."""
        return (self.status == CONVERGED) | (self.status == FLAT)


def solve(
    law: Law,
    inputs: Mapping[str, Any],
    response: Any,
    *,
    weight: Any = None,
    noise: Noise | None = None,
    starts: int | Mapping[str, Any] = 256,
    key: Any = None,
    fixed: Mapping[str, Any] | None = None,
    method: Literal["newton", "gauss_newton", "lbfgs"] = "newton",
) -> Solution:
    """Fit a law inside a jitted program: pure, no checks, arrays in and out.

    Outside of ``jit`` the search and the derivative are compiled once for a law, noise, method and shapes. ``vmap``
    runs the descents of all problems in pools, so that none waits for the slowest; where settings of the noise are
    batched, where the loss is absolute, and for ``lbfgs``, all go on until the slowest ends.

    Differentiable in response, inputs, weight, fixed values and the settings of the noise, to any order and in
    both modes, by the implicit function theorem at the optimum; starts and key have no derivative. The derivative
    is that of the optimum that was found, exact where ``status`` says converged, and not finite where the data do
    not identify the parameters. That of a Huber loss is the derivative of its active set: it holds while no
    residual crosses delta. An absolute loss is fitted but not differentiated (TypeError). The derivative in a
    weight of 0 says what the row would do; it is 0 for a row that has no residual.

    In float32, JAX's default, the 240 runs of the replication of Chinchilla give every parameter within 1e-4 of its
    value in float64 (1e-5 under most noises), the objective within 1e-5, and derivatives within 1e-3 of the largest;
    what the data identify less well loses more.

    Args:
        law: the law.
        inputs: name to array of shape (n,), or (several, n) where a row holds several numbers; raw units.
        response: shape (n,); its dtype is the precision of the whole computation: float32 unless JAX's x64 mode is on,
            of which a warning says so once where float64 was given.
        weight: shape (n,); ones unless given; rows of weight 0 do not count.
        noise: the noise; that of the response's domain unless given.
        starts: how many random starts to score (the best 16 are polished), or starts by name,
            each of shape (starts,), all of which are polished.
        key: random key of the starts; ``jax.random.key(0)`` unless given.
        fixed: values of parameters that are not fitted.
        method: how lanes descend. ``newton``: damped steps by the majorising Gauss-Newton model or the exact Hessian,
            whichever predicted the last step better. ``gauss_newton``: the former alone (reweighted least squares).
            ``lbfgs``: optax's L-BFGS with its line search. All end with Newton steps. The first is the default: a
            start costs it a tenth of what L-BFGS takes or less. From which of them more starts reach the optimum
            depends on the law (``python -m benchmarks.solvers``).

    Returns:
        Parameters by name, the objective (a sum over rows), and the status of the best lane.

    Warns:
        UserWarning: the response is float64 and JAX's x64 mode is off; once in a process.
    """
    _warn_of_precision(response)
    y = jnp.asarray(response)
    dtype = y.dtype if y.dtype == jnp.float64 else jnp.dtype(jnp.float32)
    y = y.astype(dtype)
    columns = {name: jnp.asarray(inputs[name], dtype) for name in law.inputs}
    w = jnp.ones_like(y) if weight is None else jnp.broadcast_to(jnp.asarray(weight, dtype), y.shape)
    settings = default(law.response) if noise is None else noise
    values = {name: jnp.asarray(value, dtype) for name, value in (fixed or {}).items()}
    cast: Noise = jax.tree.map(lambda a: jnp.asarray(a, dtype), settings)
    if isinstance(starts, Mapping):
        begun: Any = {name: jnp.asarray(value, dtype) for name, value in starts.items()}
        count = 0
    else:
        begun, count = jr.key(0) if key is None else key, starts
    # The search is no part of the derivative.
    data = (cast, columns, values, y, w)
    constant = jax.lax.stop_gradient((data, begun))
    found = _found(law, *constant, count, method, LONGEST)
    params, objective = _differentiable(law, data, *jax.lax.stop_gradient(found[:3]))
    # A compiled program sorts names.
    return Solution({name: params[name] for name in law.parameters}, objective, found[3])


_warned: set[str] = set()


def _warn_of_precision(response: Any) -> None:
    """Say once that an array in float64 is solved in float32."""
    if _warned or getattr(response, "dtype", None) != np.float64 or jnp.result_type(float) == np.float64:
        return
    _warned.add("float64")
    warnings.warn(
        "Argument response is float64, but JAX computes in float32 by default, and so does this solve; call "
        'jax.config.update("jax_enable_x64", True) first for float64, or give float32 to be without this warning.',
        stacklevel=3,
    )


@compiled(nested=True, static_argnames=("law", "starts", "method", "longest"))
def _found(law: Law, data: Any, begun: Any, starts: int, method: str, longest: int) -> tuple[Any, Any, Any, Any]:
    """Coordinates, objective, centre of the data and status of the best lane: numbers without derivatives."""
    noise, columns, values, y, w = data
    # What stands in a row of weight 0 must not matter, not even to the centre of the data.
    near, target = replaced(w > 0, (columns, y))
    centre = centre_of(law, near, target)
    problem = Problem(law, _free(law, values), noise, near, values, centre, reweighted=method == "gauss_newton")
    z, objective, status = search_of(starts, method, longest)(problem, target, w, begun)
    return z, objective, centre, status


@compiled(nested=True, static_argnames=("law",))
def _differentiable(law: Law, data: Any, z: Any, objective: Any, centre: Any) -> tuple[dict[str, Any], Any]:
    """Parameters and objective as functions of the data; named parameters do not depend on the centre."""
    noise, columns, values, y, w = data
    problem = Problem(law, _free(law, values), noise, columns, values, centre)
    z, objective = attached(problem, y, w, z, objective)
    return problem.params(z), objective


def _free(law: Law, values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in law.parameters if name not in values)
