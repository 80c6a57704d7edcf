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

SCORED = 512
WIDTH = 32
ROUND = 16
LONGEST = 1000
# Lanes that take this many times the median number of iterations are given up once half have settled.
PATIENCE = 8


@jax.jit
def _score(problem: Problem, u: Any, z: Any, drawn: Any, response: Any, weight: Any) -> Any:
    return score(problem, u, z, drawn, response, weight)


@jax.jit
def _place(problem: Problem, params: Any, response: Any, weight: Any) -> Any:
    return placed(problem, params, response, weight)


@jax.jit
def _advance(problem: Problem, lanes: Lanes, response: Any, weight: Any, steps: Any) -> Lanes:
    return kernel.advance(problem, lanes, response, weight, steps)


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
        response: shape (n,) or (n, lanes).
        weight: shape (n,) or (n, lanes).
        direct: lanes that keep to the basin they start in, see :func:`jaxscale.kernel.begin`.
        warm: the starts are near the optimum.
        longest: most iterations of a lane.
        lanes: states to go on from, in place of z.
    """
    if lanes is None:
        lanes = kernel.begin(problem, z, direct=direct, warm=warm, xp=np)
    state = jax.tree.map(np.array, lanes)

    def column(data: np.ndarray, index: np.ndarray) -> np.ndarray:
        return data[:, index] if data.ndim == 2 else np.repeat(data[:, None], len(index), axis=1)

    for taken in range(0, longest, ROUND):
        running = np.flatnonzero(np.asarray(state.status) == kernel.RUNNING)
        if not len(running):
            break
        done = np.asarray(state.steps)[np.asarray(state.status) == kernel.CONVERGED]
        if len(done) >= max(WIDTH // 2, z.shape[1] // 2) and taken >= PATIENCE * np.median(done):
            break

        def run(index: np.ndarray) -> Any:
            part = jax.tree.map(lambda a: a[..., index], state)  # noqa: B023
            return _advance(problem, part, column(response, index), column(weight, index), ROUND)

        chunks = [running[index] for index in _chunks(len(running), WIDTH)]
        for index, part in zip(chunks, _parallel(run, chunks, _advance, problem), strict=True):
            for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(part), strict=True):
                whole[..., index] = piece
    return state
