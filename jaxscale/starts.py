"""Starts: draw many from the plausible ranges, let the data set what they can, score, choose.

A start draws every parameter from its plausible range scaled by the data. Parameters in which
the law is affine are then set by weighted least squares given the others, so that the search
is over the rest only. Scoring a start costs one evaluation; only the promising ones, and an
independent random sample, are polished.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.coordinates import draw, from_params
from jaxscale.kernel import Problem, loss, over_rows, solve_damped
from jaxscale.law import positive, unit


def hypercube(generator: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """A Latin hypercube of uniform numbers, shape (dimensions, count)."""
    ranks = generator.permuted(np.tile(np.arange(count), (dimensions, 1)), axis=1)
    return (ranks + generator.uniform(size=ranks.shape)) / count


def crossed(generator: np.random.Generator, parents: np.ndarray, count: int) -> np.ndarray:
    """Children of good starts, shape (dimensions, count): what two parents hold, jittered.

    Where terms of a law are found one at a time (two periods, two peaks), a child joins the term
    that one parent has right with the term of another.

    Args:
        generator: the source of randomness.
        parents: coordinates of good starts, shape (dimensions, parents).
        count: number of children.
    """
    dimensions, known = parents.shape
    first, second = generator.integers(known, size=(2, count))
    side = generator.uniform(size=(dimensions, count)) < 0.5
    child = np.where(side, parents[:, first], parents[:, second])
    spread = np.std(parents, axis=1, keepdims=True) + 1e-3 * np.abs(child)
    width = 10.0 ** generator.uniform(-3.0, 0.0, size=(1, count))
    return child + width * spread * generator.standard_normal(child.shape)


def _law(problem: Problem, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """The law for every row and lane, shape (n, lanes)."""

    def one(params: Any, row: Any) -> Any:
        return problem.law(*(row[name] for name in problem.law.inputs), **params)

    per_lane = jax.vmap(one, in_axes=(0, None))
    return jax.vmap(per_lane, in_axes=(None, 0))(dict(params), dict(inputs))


def project(problem: Problem, params: dict[str, Any], response: Any, weight: Any) -> dict[str, Any]:
    """Set the parameters in which the law is affine by weighted least squares, lane by lane.

    Residuals are weighted so that they are those of the noise's space to first order. A solution
    outside a parameter's support keeps the drawn value there, and the rest is solved again.

    Args:
        problem: law and data.
        params: parameters by name, each of shape (lanes,).
        response: shape (n,).
        weight: shape (n,).
    """
    names = [name for name in problem.law.affine if name in problem.free]
    if not names or problem.law.coordinates is not None:
        return params
    space = problem.noise.space

    def columns(part: Any) -> Any:
        inputs, y, w = part
        stretch = {"linear": jnp.ones_like(y), "log": 1 / y, "logit": 1 / (y * (1 - y))}[space]
        fixed = {k: v for k, v in params.items() if k not in names}

        def value(affine: Any) -> Any:
            return _law(problem, {**fixed, **affine}, inputs)

        drawn = {name: params[name] for name in names}
        base, slopes = value(drawn), []
        for name in names:
            tangent = {k: jnp.ones_like(v) if k == name else jnp.zeros_like(v) for k, v in drawn.items()}
            slopes.append(jax.jvp(value, (drawn,), (tangent,))[1])
        offset = base - sum(drawn[name] * slope for name, slope in zip(names, slopes, strict=True))
        scaled = [slope * stretch[:, None] for slope in slopes]
        rest = (y[:, None] - offset) * stretch[:, None]
        gram = jnp.stack([jnp.stack([jnp.sum(w[:, None] * a * b, axis=0) for b in scaled]) for a in scaled])
        right = jnp.stack([jnp.sum(w[:, None] * a * rest, axis=0) for a in scaled])
        return gram, right

    gram, right = over_rows(columns, (problem.inputs, response, weight), len(response))
    q = len(names)
    eye = jnp.eye(q, dtype=gram.dtype)[:, :, None]
    size = jnp.sqrt(jnp.stack([gram[k, k] for k in range(q)]))
    size = jnp.where(size > 0, size, 1.0)
    gram, right = gram / (size[:, None] * size[None, :]), right / size
    drawn = jnp.stack([params[name] for name in names]) * size
    supports = [problem.law.parameters[name].support for name in names]
    free = jnp.ones_like(right, bool)
    solution = drawn
    for _ in range(3):
        both = free[:, None] & free[None, :]
        held = jnp.where(free, 0.0, drawn)
        matrix = jnp.where(both, gram, 0.0) + jnp.where(free, 1e-12, 1.0)[:, None] * eye
        target = jnp.where(free, right - jnp.einsum("ijb,jb->ib", gram, held), held)
        solution, good = solve_damped(matrix, target)
        solution = jnp.where(good & jnp.all(jnp.isfinite(solution), axis=0), solution, drawn)
        value = solution / size
        low = jnp.asarray([s.low if s in (positive, unit) else -jnp.inf for s in supports], value.dtype)[:, None]
        high = jnp.asarray([s.high for s in supports], value.dtype)[:, None]
        free = free & (value > low) & (value < high)
    solution = jnp.where(free, solution, drawn) / size
    return {**params, **{name: solution[k] for k, name in enumerate(names)}}


def score(problem: Problem, u: Any, z: Any, drawn: Any, response: Any, weight: Any) -> tuple[Any, Any]:
    """Coordinates and objective of starts, their affine parameters set by the data.

    Args:
        problem: law and data.
        u: uniform numbers, shape (free parameters, lanes), used where ``drawn``.
        z: coordinates, the same shape, used elsewhere.
        drawn: shape (lanes,).
        response: shape (n,).
        weight: shape (n,).

    Returns:
        Coordinates of shape (size, lanes) and the objective of shape (lanes,), infinite where undefined.
    """
    lanes = u.shape[1:]
    random = draw(problem.law, problem.centre, problem.free, u, problem.fixed)
    moved = problem.params(z)
    params = {
        name: jnp.broadcast_to(jnp.where(drawn, random[name], moved[name]), lanes) for name in problem.law.parameters
    }
    return placed(problem, project(problem, params, response, weight), response, weight)


def placed(problem: Problem, params: Mapping[str, Any], response: Any, weight: Any) -> tuple[Any, Any]:
    """Coordinates and objective of given parameters, each of shape (lanes,); shapes as :func:`score`."""
    coordinates = from_params(problem.law, problem.centre, problem.free, params)
    z = jnp.stack([jnp.asarray(value) for value in coordinates]) if coordinates else jnp.zeros((0, 1))
    lanes = z.shape[1]

    def residual(inputs: Any, y: Any) -> Any:
        return problem.noise.transform(_law(problem, params, inputs)) - problem.noise.transform(y)[:, None]

    if problem.noise.infers_scale:

        def spread(part: Any) -> Any:
            inputs, y, w = part
            return jnp.sum(jnp.where(w[:, None] > 0, w[:, None] * jnp.abs(residual(inputs, y)), 0.0), axis=0)

        mean = over_rows(spread, (problem.inputs, response, weight), len(response)) / jnp.sum(weight)
        tiny = jnp.finfo(z.dtype).tiny
        z = jnp.concatenate([z, jnp.log(jnp.maximum(mean, tiny))[None]])
    delta = jnp.broadcast_to(jnp.asarray(problem.noise.delta, z.dtype), (lanes,))

    def cost(part: Any) -> Any:
        inputs, y, w = part
        r = residual(inputs, y)
        rho = jnp.abs(r) if problem.noise.loss == "absolute" else loss(problem.noise, r, delta, problem.log_scale(z))
        return jnp.sum(jnp.where(w[:, None] > 0, w[:, None] * rho, 0.0), axis=0)

    f = over_rows(cost, (problem.inputs, response, weight), len(response))
    fine = jnp.isfinite(f) & jnp.all(jnp.isfinite(z), axis=0)
    return jnp.where(fine, z, 0.0), jnp.where(fine, f, jnp.inf)
