"""Differentiable fit of a law for use inside jitted programs."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.engine.implicit_diff import implicit_optimum, overwrite_rows
from jaxscale.engine.newton import CONVERGED, FLAT
from jaxscale.engine.objective import Problem
from jaxscale.engine.solve_search import Initial, make_search
from jaxscale.law import Law
from jaxscale.law.coordinates import Centre, centre_of
from jaxscale.noise import Noise, default
from jaxscale.utils.arrays import Array, Number, RandomKey, Value
from jaxscale.utils.compilation import compiled

# Noise, inputs, fixed values, responses and weights.
Data = tuple[Noise, dict[str, Float[Array, "... row"]], dict[str, Number], Float[Array, " row"], Float[Array, " row"]]

MAX_STEPS = 300


class Solution(eqx.Module):
    """Result of :func:`solve`.

    Args:
        params: every parameter by name.
        objective: the minimised objective.
        status: 0 max_steps, 1 converged, 2 flat (no further decrease possible), 3 stalled, 4 nonfinite.
    """

    params: dict[str, Float[Array, "*problem"]]
    objective: Float[Array, "*problem"]
    status: Int[Array, "*problem"]

    @property
    def ok(self) -> Any:
        """Whether the best descent converged."""
        return (self.status == CONVERGED) | (self.status == FLAT)


def solve(
    law: Law,
    inputs: Mapping[str, Real[Value, "... row"] | Sequence[Number]],
    response: Real[Array, " row"] | Sequence[Number],
    *,
    weight: Real[Value, "*#row"] | Sequence[Number] | None = None,
    noise: Noise | None = None,
    starts: int | Mapping[str, Real[Value, "*#start"] | Sequence[Number]] = 256,
    key: RandomKey | None = None,
    fixed: Mapping[str, Number] | None = None,
    method: Literal["newton", "gauss_newton", "lbfgs"] = "newton",
) -> Solution:
    """Fit a law inside a jitted program: a pure function of arrays, without validation.

    Outside of ``jit`` the search and the derivative are compiled once for a law, noise, method and shapes. Under
    ``vmap`` a finished descent frees its slot for the next, except with batched settings of the noise, absolute loss
    or ``lbfgs``, where all wait for the slowest.

    Differentiable with respect to response, inputs, weight, fixed values and settings of the noise, to any order, in
    forward and reverse mode, by the implicit function theorem at the optimum; starts and key have no derivative. The
    derivative is exact where ``status`` is converged, and not finite where the data do not identify the parameters.
    With a Huber loss it is the derivative of the active set: it holds while no residual crosses delta. With an absolute
    loss differentiation raises TypeError. The derivative with respect to a weight of 0 is the influence that the row
    would have; it is 0 for a row that has no residual.

    In float32, JAX's default, the 240 runs of the replication of Chinchilla give every parameter within 1e-4 of its
    value in float64 (1e-5 under most noises), the objective within 1e-5, and derivatives within 1e-3 of the largest;
    parameters that the data identify less well are less accurate.

    Args:
        law: the law.
        inputs: name to array of shape (n,), or (several, n) where a row holds several numbers; raw units.
        response: shape (n,); its dtype is the precision of the whole computation: float32 unless JAX's x64 mode is on.
        weight: shape (n,); ones by default; rows of weight 0 are ignored.
        noise: the noise; by default that of the response's domain.
        starts: number of random starts to score (the best 16 are polished), or starts by name,
            each of shape (starts,), all of which are polished.
        key: random key of the starts, ``jax.random.key(0)`` by default.
        fixed: values of parameters that are not fitted.
        method: optimiser of the lanes. ``newton``: damped steps by the majorising Gauss-Newton model or the exact
            Hessian, whichever predicted the last step better. ``gauss_newton``: the former alone (iteratively
            reweighted least squares). ``lbfgs``: optax's L-BFGS with its line search. All end with Newton steps.
            ``newton`` takes at most a tenth of the time of L-BFGS for a start. Which of them reaches the optimum from
            more starts depends on the law (``python -m benchmarks.solvers``).

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
        initial: Any = {name: jnp.asarray(value, dtype) for name, value in starts.items()}
        count = 0
    else:
        initial, count = jr.key(0) if key is None else key, starts
    # The search is not differentiated.
    data = (cast, columns, values, y, w)
    constant = jax.lax.stop_gradient((data, initial))
    result = _search(law, *constant, count, method, MAX_STEPS)
    params, objective = _differentiable(law, data, *jax.lax.stop_gradient(result[:3]))
    # A compiled program sorts names.
    return Solution({name: params[name] for name in law.parameters}, objective, result[3])


_warned: set[str] = set()


def _warn_of_precision(response: Real[Array, " row"] | Sequence[Number]) -> None:
    """Warn once that a float64 response is solved in float32."""
    if _warned or getattr(response, "dtype", None) != np.float64 or jnp.result_type(float) == np.float64:
        return
    _warned.add("float64")
    warnings.warn(
        "Argument response is float64, but JAX computes in float32 by default, and so does this solve; call "
        'jax.config.update("jax_enable_x64", True) first for float64, or pass float32 to avoid this warning.',
        stacklevel=3,
    )


@compiled(nested=True, static_argnames=("law", "starts", "method", "longest"))
def _search(
    law: Law, data: Data, initial: Initial, starts: int, method: str, longest: int
) -> tuple[Float[Array, " size"], Float[Array, ""], Centre, Int[Array, ""]]:
    """Coordinates and objective of the best lane, centre of the data, and status, without derivatives."""
    noise, columns, values, y, w = data
    # The contents of a row of weight 0 must not matter, not even to the centre of the data.
    near, target = overwrite_rows(w > 0, (columns, y))
    centre = centre_of(law, near, target)
    problem = Problem(law, _free(law, values), noise, near, values, centre, reweighted=method == "gauss_newton")
    z, objective, status = make_search(starts, method, longest)(problem, target, w, initial)
    return z, objective, centre, status


@compiled(nested=True, static_argnames=("law",))
def _differentiable(
    law: Law, data: Data, z: Float[Array, " size"], objective: Float[Array, ""], centre: Centre
) -> tuple[dict[str, Float[Array, ""]], Float[Array, ""]]:
    """Parameters and objective as functions of the data; parameters by name do not depend on the centre."""
    noise, columns, values, y, w = data
    problem = Problem(law, _free(law, values), noise, columns, values, centre)
    z, objective = implicit_optimum(problem, y, w, z, objective)
    return problem.params(z), objective


def _free(law: Law, values: Mapping[str, Number]) -> tuple[str, ...]:
    return tuple(name for name in law.parameters if name not in values)
