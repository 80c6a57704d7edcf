"""Starts: random initial values from the plausible ranges, with affine parameters set by least squares.

A start draws every parameter from its plausible range scaled by the data. Parameters in which
the law is affine are then set by weighted least squares given the others (variable projection), so
that the search is over the rest only. Scoring a start costs one evaluation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from jaxscale.engine.newton import solve_damped
from jaxscale.engine.objective import Problem, dot, over_rows
from jaxscale.law.coordinates import draw, from_params
from jaxscale.law.derivatives import expansion, value
from jaxscale.utils.arrays import Array, Number, Value


class StartGrid(Mapping[str, np.ndarray]):
    """Grid of starts, evaluated lazily.

    As a mapping it gives the value of every parameter at every point; :meth:`take` gives a subset of the points.

    Args:
        axes: the values of each parameter.
    """

    def __init__(self, axes: Mapping[str, Real[Array, " points"] | Sequence[Number] | float]) -> None:
        self.axes = {name: np.atleast_1d(np.asarray(values, float)) for name, values in axes.items()}
        self.shape = tuple(len(values) for values in self.axes.values())
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def take(self, index: Int[np.ndarray, " start"]) -> dict[str, Float[np.ndarray, " start"]]:
        """The points at these indices, in the order of ``numpy.meshgrid(..., indexing="ij")``."""
        places = np.unravel_index(index, self.shape)
        return {name: values[place] for (name, values), place in zip(self.axes.items(), places, strict=True)}

    def __getitem__(self, name: str) -> Float[np.ndarray, " start"]:
        """Values of one parameter at every point."""
        along = [-1 if axis == name else 1 for axis in self.axes]
        return np.broadcast_to(self.axes[name].reshape(along), self.shape).ravel()

    def __iter__(self) -> Iterator[str]:
        """The names of the parameters."""
        return iter(self.axes)

    def __len__(self) -> int:
        """The number of parameters."""
        return len(self.axes)


class StartList:
    """Explicit starts: parameters by name, each of shape (starts,)."""

    def __init__(self, params: Mapping[str, Float[np.ndarray, " start"]]) -> None:
        self.params = dict(params)
        self.size = len(next(iter(self.params.values())))

    def take(self, index: Int[np.ndarray, " start"]) -> dict[str, Float[np.ndarray, " start"]]:
        """The starts at these indices."""
        return {name: values[index] for name, values in self.params.items()}


def hypercube(generator: np.random.Generator, count: int, dimensions: int) -> Float[np.ndarray, "dimensions count"]:
    """Latin hypercube sample in the unit cube, shape (dimensions, count)."""
    ranks = generator.permuted(np.tile(np.arange(count), (dimensions, 1)), axis=1)
    return (ranks + generator.uniform(size=ranks.shape)) / count


def crossover(
    generator: np.random.Generator, parents: Float[np.ndarray, "dimensions parent"], count: int
) -> Float[np.ndarray, "dimensions count"]:
    """Crossover of good starts with jitter, shape (dimensions, count).

    Where terms of a law are found one at a time (two periods, two peaks), a child combines a term
    that one parent has found with the term of another.

    Args:
        generator: random generator.
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


def _law(
    problem: Problem, params: Mapping[str, Float[Array, " lane"]], inputs: Mapping[str, Float[Array, "... row"]]
) -> Float[Array, "lane row"]:
    """Values of the law for every lane and row, shape (lanes, n)."""

    def one(params: Mapping[str, Number], row: Mapping[str, Float[Array, "..."]]) -> Float[Array, ""]:
        return value(problem.law, row, params)

    per_row = jax.vmap(one, in_axes=(None, -1))
    return jax.vmap(per_row, in_axes=(0, problem.row_axes))(dict(params), problem.law_inputs(inputs))


def _expand(
    problem: Problem,
    names: list[str],
    params: Mapping[str, Float[Array, " lane"]],
    inputs: Mapping[str, Float[Array, "... row"]],
) -> tuple[Float[Array, "lane row"], list[Float[Array, "lane row"]], list[Float[Array, "lane row"]]]:
    """Values of the law and its slopes in the named parameters for every lane and row, each of shape (lanes, n)."""

    def one(
        params: Mapping[str, Number], row: Mapping[str, Float[Array, "..."]]
    ) -> tuple[Float[Array, ""], list[Float[Array, ""]], list[Float[Array, ""]]]:
        def given(
            moving: Sequence[Number], rest: tuple[Mapping[str, Number], Mapping[str, Float[Array, "..."]]]
        ) -> Float[Array, ""]:
            return value(problem.law, rest[1], {**rest[0], **dict(zip(names, moving, strict=True))})

        return expansion(given, [params[name] for name in names], (params, row), order=1)

    per_row = jax.vmap(one, in_axes=(None, -1))
    return jax.vmap(per_row, in_axes=(0, problem.row_axes))(dict(params), problem.law_inputs(inputs))


def project(
    problem: Problem,
    params: dict[str, Float[Array, " lane"]],
    response: Float[Array, "*#lane row"],
    weight: Float[Array, "*#lane row"],
) -> dict[str, Float[Array, " lane"]]:
    """Set the parameters in which the law is affine by weighted least squares, for each lane.

    Residuals are weighted so that they are those of the noise's space to first order. Where a solution is outside the
    support of a parameter, that parameter keeps its drawn value and the others are solved for again.

    Args:
        problem: law and data.
        params: parameters by name, each of shape (lanes,).
        response: shape (n,) or (lanes, n).
        weight: shape (n,) or (lanes, n).
    """
    names = [name for name in problem.law.affine if name in problem.free]
    if not names:
        return params
    space = problem.noise.space

    def columns(
        part: tuple[dict[str, Float[Array, "... row"]], Float[Array, "*#lane row"], Float[Array, "*#lane row"]],
    ) -> Float[Array, "affine columns lane"]:
        inputs, y, w = part[0], jnp.atleast_2d(part[1]), jnp.atleast_2d(part[2])
        stretch = space.derivative(y)
        base, slopes, _ = _expand(problem, names, params, inputs)
        offset = base - sum(params[name][:, None] * slope for name, slope in zip(names, slopes, strict=True))
        scaled = jnp.stack([*slopes, y - offset], axis=1) * stretch[:, None]
        heavy = scaled[:, :-1] * jnp.where(w > 0, w, 0.0)[:, None]
        return dot("wpr,wqr->pqw", heavy, scaled)

    system = over_rows(columns, (problem.inputs, response, weight), problem.block)
    gram, right = system[:, :-1], system[:, -1]
    q = len(names)
    eye = jnp.eye(q, dtype=gram.dtype)[:, :, None]
    size = jnp.sqrt(jnp.stack([gram[k, k] for k in range(q)]))
    size = jnp.where(size > 0, size, 1.0)
    gram, right = gram / (size[:, None] * size[None, :]), right / size
    drawn = jnp.stack([params[name] for name in names]) * size
    supports = [problem.law.parameters[name].support for name in names]
    free = jnp.ones_like(right, bool)
    for k, name in enumerate(names):
        if name in problem.held:
            free = free.at[k].set(~jnp.broadcast_to(problem.held[name][0], free[k].shape))
    low = jnp.asarray([s.low for s in supports], gram.dtype)[:, None]
    high = jnp.asarray([s.high for s in supports], gram.dtype)[:, None]

    def solve(
        _: Int[Value, ""], state: tuple[Bool[Array, "affine lane"], Float[Array, "affine lane"]]
    ) -> tuple[Bool[Array, "affine lane"], Float[Array, "affine lane"]]:
        free = state[0]
        both = free[:, None] & free[None, :]
        held = jnp.where(free, 0.0, drawn)
        matrix = jnp.where(both, gram, 0.0) + jnp.where(free, 1e-12, 1.0)[:, None] * eye
        target = jnp.where(free, right - jnp.einsum("ijb,jb->ib", gram, held), held)
        solution, good = solve_damped(matrix, target)
        solution = jnp.where(good & jnp.all(jnp.isfinite(solution), axis=0), solution, drawn)
        level = solution / size
        return free & (level > low) & (level < high), solution

    free, solution = jax.lax.fori_loop(0, 3, solve, (free, drawn))
    solution = jnp.where(free, solution, drawn) / size
    return {**params, **{name: solution[k] for k, name in enumerate(names)}}


def score(
    problem: Problem,
    u: Float[Array, "free lane"],
    z: Float[Array, "free lane"],
    drawn: Bool[Array, " lane"],
    response: Float[Array, "... row"],
    weight: Float[Array, "... row"],
) -> tuple[Float[Array, "size lane"], Float[Array, " lane"]]:
    """Coordinates and objective of starts, with affine parameters set by :func:`project`.

    Args:
        problem: law and data.
        u: uniform numbers, shape (free parameters, lanes), used where ``drawn``.
        z: coordinates, the same shape, used elsewhere.
        drawn: shape (lanes,).
        response: shape (n,) or (lanes, n).
        weight: shape (n,) or (lanes, n).

    Returns:
        Coordinates of shape (size, lanes) and the objective of shape (lanes,), infinite where undefined.
    """
    lanes = u.shape[1:]
    random = draw(problem.law, problem.centre, problem.free, u, problem.fixed, problem.held)
    moved = problem.params(z)
    params = {
        name: jnp.broadcast_to(jnp.where(drawn, random[name], moved[name]), lanes) for name in problem.law.parameters
    }
    return evaluate_params(problem, project(problem, params, response, weight), response, weight)


def evaluate_params(
    problem: Problem,
    params: Mapping[str, Float[Array, " lane"]],
    response: Float[Array, "... row"],
    weight: Float[Array, "... row"],
) -> tuple[Float[Array, "size lane"], Float[Array, " lane"]]:
    """Coordinates and objective of parameters, each of shape (lanes,); shapes as :func:`score`."""
    coordinates = from_params(problem.law, problem.centre, problem.free, params)
    # A parameter that is held may be at an end of its support, where it has no coordinate and needs none.
    for k, name in enumerate(problem.free):
        if name in problem.held:
            coordinates[k] = jnp.where(problem.held[name][0], 0.0, coordinates[k])
    z = jnp.stack([jnp.asarray(value) for value in coordinates]) if coordinates else jnp.zeros((0, 1))
    lanes = z.shape[1]

    def residual(inputs: Mapping[str, Float[Array, "... row"]], y: Float[Array, "... row"]) -> Float[Array, "lane row"]:
        return problem.noise.transform(_law(problem, params, inputs)) - problem.noise.transform(y)

    def summed(cost: Callable[[Array], Array]) -> Float[Array, " lane"]:
        def part(
            data: tuple[dict[str, Float[Array, "... row"]], Float[Array, "... row"], Float[Array, "... row"]],
        ) -> Float[Array, " lane"]:
            inputs, y, w = data[0], jnp.atleast_2d(data[1]), jnp.atleast_2d(data[2])
            r = residual(inputs, y)
            return dot("wr,r->w", jnp.where(w > 0, w * cost(r), 0.0), jnp.ones(r.shape[-1], r.dtype))

        return over_rows(part, (problem.inputs, response, weight), problem.block)

    if problem.noise.infers_scale:
        mean = summed(jnp.abs) / jnp.sum(weight, axis=-1)
        tiny = jnp.finfo(z.dtype).tiny
        z = jnp.concatenate([z, jnp.log(jnp.maximum(problem.noise.loss.initial_scale(mean), tiny))[None]])
    loss = problem.noise.loss
    delta = jnp.broadcast_to(jnp.asarray(loss.threshold, z.dtype), (lanes,))[:, None]
    scale = problem.log_scale(z, True)
    if loss.counts:
        f = _count_objective(problem, params, scale, response, weight)
    else:
        f = summed(lambda r: jnp.abs(r) if loss.vertex else loss.value(r, delta, scale))
    if loss.concomitant_scale:
        f = f + loss.scale_cost(len(problem.free), weight, z[-1])
    valid = jnp.isfinite(f) & jnp.all(jnp.isfinite(z), axis=0)
    return jnp.where(valid, z, 0.0), jnp.where(valid, f, jnp.inf)


def _count_objective(
    problem: Problem,
    params: Mapping[str, Float[Array, " lane"]],
    log_scale: Float[Value, "..."],
    response: Float[Array, "... row"],
    weight: Float[Array, "... row"],
) -> Float[Array, " lane"]:
    """Negative log likelihood of counts at given parameters, shape (lanes,)."""
    loss: Any = problem.noise.loss

    def part(
        data: tuple[dict[str, Float[Array, "... row"]], Float[Array, "... row"], Float[Array, "... row"]],
    ) -> Float[Array, " lane"]:
        inputs, y, w = data[0], jnp.atleast_2d(data[1]), jnp.atleast_2d(data[2])
        cost = loss.cost(_law(problem, params, inputs), y, log_scale, inputs)
        return jnp.sum(jnp.where(w > 0, w * cost, 0.0), axis=-1)

    return over_rows(part, (problem.inputs, response, weight), problem.block)
