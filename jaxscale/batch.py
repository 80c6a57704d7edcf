"""Many lanes over all cores: chunks of one fixed width, lanes that have settled leaving the batch."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import kernel
from jaxscale.kernel import Lanes, Problem
from jaxscale.starts import placed, score

# Starts scored by one call, and side by side inside it.
SCORED = 1024
ABREAST = 64
# Lanes that one call settles; fewer where a lane's data are long.
POOL = 256
LONG = 4096
LONGEST = 1000


@jax.jit
def _score(problem: Problem, u: Any, z: Any, drawn: Any, response: Any, weight: Any) -> Any:
    def some(part: Any) -> Any:
        u, z, drawn = part
        return score(problem, u, z, drawn, response, weight)

    return _abreast(some, (u, z, drawn))


@jax.jit
def _place(problem: Problem, params: Any, response: Any, weight: Any) -> Any:
    return _abreast(lambda part: placed(problem, part, response, weight), params)


def _abreast(function: Any, starts: Any) -> Any:
    """``function`` over few starts (the last axis) at a time, so that what it computes stays in cache."""
    few = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], -1, ABREAST), -2, 0), starts)
    ends = jax.lax.map(function, few)
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1), ends)


@jax.jit
def _settle(problem: Problem, lanes: Lanes, response: Any, weight: Any, budget: Any) -> Lanes:
    return kernel.settle(problem, lanes, response, weight, budget)


def _chunks(count: int, width: int) -> list[np.ndarray]:
    """Index arrays of one width that cover ``count`` lanes; the last repeats a lane."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return list(np.minimum(index, count - 1))


_compiled: set[Any] = set()


def _parallel(run: Callable[[Any], Any], parts: Sequence[Any], program: Any, problem: Problem) -> list[Any]:
    """``run`` over parts on all cores; every worker computes in the caller's precision."""
    x64 = jnp.result_type(float) == jnp.float64

    def inside(part: Any) -> Any:
        with jax.enable_x64(x64):
            return jax.tree.map(np.asarray, run(part))

    workers = min(len(parts), os.cpu_count() or 1)
    if workers <= 1:
        return [inside(part) for part in parts]
    # The first part of a new program goes alone: compile once, before the workers would each begin to.
    signature = (program, x64, jax.tree.structure(problem), *(np.shape(leaf) for leaf in jax.tree.leaves(problem)))
    alone = 0 if signature in _compiled else 1
    done = [inside(part) for part in parts[:alone]]
    _compiled.add(signature)
    with ThreadPoolExecutor(workers) as pool:
        return [*done, *pool.map(inside, parts[alone:])]


def score_starts(
    problem: Problem, u: np.ndarray, z: np.ndarray, drawn: np.ndarray, response: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`jaxscale.starts.score` for any number of starts, in chunks."""

    def run(index: np.ndarray) -> Any:
        return _score(problem, u[:, index], z[:, index], drawn[index], response, weight)

    parts = _parallel(run, _chunks(u.shape[1], SCORED), _score, problem)
    return _joined(parts, u.shape[1])


def place_starts(
    problem: Problem, params: Mapping[str, np.ndarray], response: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and objectives of given starts, in chunks."""
    count = len(next(iter(params.values())))

    def run(index: np.ndarray) -> Any:
        return _place(problem, {name: value[index] for name, value in params.items()}, response, weight)

    return _joined(_parallel(run, _chunks(count, SCORED), _place, problem), count)


def _joined(parts: list[Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    z = np.concatenate([part[0] for part in parts], axis=-1)[:, :count]
    return z, np.concatenate([part[1] for part in parts])[:count]


def descend(
    problem: Problem,
    z: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
    *,
    direct: Any = False,
    warm: bool = False,
    longest: int = LONGEST,
    lanes: Lanes | None = None,
) -> Lanes:
    """Polish every lane; lanes that have settled leave the batch.

    Args:
        problem: law, inputs, noise.
        z: starts, shape (size, lanes).
        response: shape (n,) or (lanes, n).
        weight: shape (n,) or (lanes, n).
        direct: lanes that keep to the basin they start in, see :func:`jaxscale.kernel.begin`.
        warm: the starts are near the optimum.
        longest: most iterations of a lane, rounded up to a multiple of ``kernel.EVERY``.
        lanes: states to go on from, in place of z.
    """
    if lanes is None:
        lanes = kernel.begin(problem, z, direct=direct, warm=warm, xp=np)
    state = jax.tree.map(np.array, lanes)
    running = np.flatnonzero(state.status == kernel.RUNNING)
    n = response.shape[-1]
    pool = POOL if n <= LONG else 2 * kernel.WIDTH
    budget = -(-longest // kernel.EVERY) * kernel.EVERY

    def run(index: np.ndarray) -> Any:
        idle = np.arange(pool) >= len(index)
        place = np.concatenate([index, np.repeat(index[:1], pool - len(index))])
        part = jax.tree.map(lambda a: a[..., place], state)
        part.status[idle] = kernel.FLAT
        own = problem
        if problem.apart:
            own = jax.tree.map(lambda a, axis: a if axis is None else a[place], problem, problem.own_axes)
        rows = (
            np.ascontiguousarray(data[place] if data.ndim == 2 else np.broadcast_to(data, (pool, n)))
            for data in (response, weight)
        )
        return _settle(own, part, *rows, budget)

    workers = min(os.cpu_count() or 1, -(-len(running) // kernel.WIDTH))
    parts = np.array_split(running, max(workers, -(-len(running) // pool))) if len(running) else []
    for index, part in zip(parts, _parallel(run, parts, _settle, problem), strict=True):
        for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(part), strict=True):
            whole[..., index] = piece[..., : len(index)]
    return state
