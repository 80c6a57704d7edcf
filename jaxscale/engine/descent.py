"""Scheduling of descents: sizes of batches, scoring of starts, and a pool whose finished lanes are replaced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from jaxscale.engine import newton
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.runner import Runner, chunks, compile_ahead
from jaxscale.engine.starts import evaluate_params, score
from jaxscale.utils.arrays import Array, Value
from jaxscale.utils.compilation import compiled, compiled_calls

D = TypeVar("D")
T = TypeVar("T")
# Rows that all lanes share, those of each lane, or a function of lane numbers that gives theirs.
Rows = Float[np.ndarray, "... row"] | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """Batch sizes: small enough for the cache of a CPU core, large enough to occupy a device.

    Args:
        scored: starts that one call scores.
        parallel: starts that are evaluated in parallel.
        pool: lanes that one call runs to their end.
        width: lanes that are evaluated in parallel.
    """

    scored: int
    parallel: int
    pool: int
    width: int

    def for_rows(self, n: int) -> "Sizes":
        """Sizes for n rows: fewer lanes where each holds much data."""
        if n <= MANY_ROWS:
            return self
        step = min(self.width, FEW)
        pool = max(min(2 * step, FEW), self.pool * MANY_ROWS // n // step * step)
        return replace(self, pool=pool, width=min(self.width, pool))

    def for_lanes(self, lanes: int) -> "Sizes":
        """Sizes for a number of lanes: a small pool for few lanes on a device, where idle lanes are not free."""
        return self if self.width <= FEW or lanes > FEW else replace(self, pool=FEW, width=FEW)

    def for_starts(self, starts: int) -> "Sizes":
        """Sizes for a number of starts to score."""
        few = 4 * FEW
        return self if self.scored <= few or starts > few else replace(self, scored=few, parallel=few)


# Rows above which the number of lanes is reduced, so that their data fit in the cache of a core.
MANY_ROWS = 4096
# Iterations of a pool between two replacements of finished lanes.
STEPS_PER_ROUND = 2
CORE = Sizes(scored=512, parallel=64, pool=256, width=16)
# The whole pool in parallel: a step of a device takes as long for few lanes as for many.
DEVICE = Sizes(scored=65536, parallel=65536, pool=16384, width=16384)
# Up to this many lanes or starts, a device uses smaller batches.
FEW = 1024
# Maximum number of iterations of a lane.
MAX_STEPS = 400


def sizes(n: int) -> Sizes:
    """Batch sizes for n rows on the default backend."""
    return (CORE if jax.default_backend() == "cpu" else DEVICE).for_rows(n)


@compiled
def _score(
    problem: Problem,
    u: Float[Array, "free start"],
    z: Float[Array, "free start"],
    drawn: Bool[Array, " start"],
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
    def block(
        part: tuple[Float[Array, "free start"], Float[Array, "free start"], Bool[Array, " start"]],
    ) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
        u, z, drawn = part
        return score(problem, u, z, drawn, response, weight)

    return _map_blocks(block, (u, z, drawn), response.shape[-1])


@compiled
def _place(
    problem: Problem,
    params: dict[str, Float[Array, " start"]],
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
    return _map_blocks(lambda part: evaluate_params(problem, part, response, weight), params, response.shape[-1])


def _map_blocks(function: Callable[[D], T], starts: D, n: int) -> T:
    """Map ``function`` over blocks of starts (the last axis), so that intermediate arrays stay in cache."""
    width = sizes(n).for_starts(jax.tree.leaves(starts)[0].shape[-1]).parallel
    few = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], -1, width), -2, 0), starts)
    ends = jax.lax.map(function, few)
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1), ends)


class _Slots(eqx.Module):
    """Lanes in parallel: places in the pool, problem, state, transformed responses, weights, iterations left."""

    place: Int[Array, " lane"]
    problem: Problem
    lanes: Lanes
    target: Float[Array, "lane row"]
    weight: Float[Array, "lane row"]
    left: Int[Array, " lane"]


def run_pool(
    problem: Problem,
    pool: Lanes,
    response: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    budget: Int[Value, ""],
    width: int,
) -> Lanes:
    """Run every lane of a pool until it has stopped or used its budget, ``width`` lanes in parallel.

    A finished lane is replaced by the next one, so that no slot stays idle while another lane is slow. The result of a
    lane depends neither on the other lanes nor on its place.

    Args:
        problem: law, inputs, noise; with ``apart`` those of every lane.
        pool: any number of lanes, of which the running ones are advanced.
        response: shape (lanes, n).
        weight: shape (lanes, n).
        budget: maximum number of iterations of each lane in this call, a multiple of ``EVERY``.
        width: lanes in parallel.
    """
    count = pool.status.shape[0]
    target = problem.noise.transform(response)
    queue = _queue(pool.status == newton.RUNNING, width)

    def load(place: Int[Array, " lane"]) -> _Slots:
        return _load(problem, pool, target, weight, place, jnp.full((width,), budget))

    def round(state: tuple[_Slots, Int[Array, ""], Lanes]) -> tuple[_Slots, Int[Array, ""], Lanes]:
        slots, following, done = state
        slots, done = _advance(slots, done)
        over = (slots.lanes.status != newton.RUNNING) | (slots.left <= 0)
        rank = jnp.cumsum(over) - 1
        place = jnp.where(over, queue[jnp.minimum(following + rank, len(queue) - 1)], slots.place)
        return _replace_finished(slots, load(place), over), following + jnp.sum(over), done

    state = (load(queue[:width]), jnp.asarray(width), pool)
    return jax.lax.while_loop(lambda state: jnp.any(state[0].place < count), round, state)[2]


def _queue(running: Bool[Array, " pool"], width: int) -> Int[Array, " place"]:
    """Places of the running lanes, then places outside the pool, to which writing has no effect."""
    count = len(running)
    order = jnp.argsort(~running, stable=True)
    order = jnp.where(jnp.arange(count) < jnp.sum(running), order, count)
    return jnp.concatenate([order, jnp.full((width,), count, order.dtype)])


def _load(
    problem: Problem,
    pool: Lanes,
    target: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    slot: Int[Array, " lane"],
    left: Int[Array, " lane"],
) -> _Slots:
    """Lanes at given places of a pool with their data; places outside the pool are idle."""
    count = pool.status.shape[0]
    place = jnp.minimum(slot, count - 1)
    lanes = jax.tree.map(lambda a: a[..., place], pool)
    status = jnp.where(slot < count, lanes.status, newton.FLAT)
    lanes = eqx.tree_at(lambda s: s.status, lanes, status)
    return _Slots(slot, problem.own(place), lanes, target[place], weight[place], left)


def _advance(slots: _Slots, done: Lanes) -> tuple[_Slots, Lanes]:
    """Run a few iterations of the lanes, and write them to their places in the pool."""
    lanes = newton.iterate(slots.problem, slots.lanes, slots.target, slots.weight, STEPS_PER_ROUND)
    done = jax.tree.map(lambda whole, part: whole.at[..., slots.place].set(part, mode="drop"), done, lanes)
    return eqx.tree_at(lambda s: (s.lanes, s.left), slots, (lanes, slots.left - STEPS_PER_ROUND)), done


def _replace_finished(slots: _Slots, new: _Slots, over: Bool[Array, " lane"]) -> _Slots:
    """Slots in which finished lanes are replaced by new ones; the data are those of the new places throughout."""
    lanes = jax.tree.map(lambda a, b: jnp.where(over, a, b), new.lanes, slots.lanes)
    return eqx.tree_at(lambda s: (s.lanes, s.left), new, (lanes, jnp.where(over, new.left, slots.left)))


@compiled
def _run_pool(
    problem: Problem,
    lanes: Lanes,
    response: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    budget: Int[Array, ""],
) -> Lanes:
    width = sizes(response.shape[-1]).for_lanes(len(response)).width
    return run_pool(problem, lanes, response, weight, budget, width)


@dataclass(frozen=True)
class Task:
    """A problem with its data and its runner.

    Args:
        problem: law, inputs of shape (n,), noise.
        response: shape (n,).
        weight: shape (n,).
        runner: schedules the batches on cores or devices.
    """

    problem: Problem
    response: Float[np.ndarray, " row"]
    weight: Float[np.ndarray, " row"]
    runner: Runner = Runner()

    def score(
        self, u: Float[np.ndarray, "free start"], z: Float[np.ndarray, "free start"], drawn: Bool[np.ndarray, " start"]
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        """Apply :func:`jaxscale.engine.starts.score` to any number of starts."""

        def arguments(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
            return self.problem, u[:, index], z[:, index], drawn[index], self.response, self.weight

        return self._in_chunks(_score, arguments, u.shape[1])

    def place(
        self, params: Mapping[str, Float[np.ndarray, " start"]]
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        """Apply :func:`jaxscale.engine.starts.evaluate_params` to any number of parameter vectors."""

        def arguments(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
            return self.problem, {name: v[index] for name, v in params.items()}, self.response, self.weight

        return self._in_chunks(_place, arguments, len(next(iter(params.values()))))

    def _in_chunks(
        self, program: Callable[..., PyTree], arguments: Callable[[np.ndarray], tuple[PyTree, ...]], count: int
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        parts = [arguments(index) for index in chunks(count, sizes(len(self.response)).for_starts(count).scored)]
        ends = self.runner(program, parts)
        z = np.concatenate([end[0] for end in ends], axis=-1)[:, :count]
        return z, np.concatenate([end[1] for end in ends])[:count]

    def prepare(self) -> None:
        """Compile the descent in the background while starts are scored."""
        n = len(self.response)
        pool = sizes(n).pool
        known = ("prepared", jax.tree.structure(self.problem), n, jnp.result_type(float).name)
        if self.runner.mesh is not None or known in compiled_calls:
            return
        compiled_calls.add(known)
        lanes = newton.init_lanes(self.problem, np.zeros((self.problem.size, pool)), xp=np)
        lanes = jax.tree.map(np.array, lanes)
        lanes.status[:] = newton.FLAT
        rows = (np.ascontiguousarray(np.broadcast_to(data, (pool, n))) for data in (self.response, self.weight))
        compile_ahead(_run_pool, (self.problem, lanes, *rows, np.asarray(2 * STEPS_PER_ROUND)))

    def descend(self, z: Float[np.ndarray, "size lane"], **settings: Any) -> Lanes:
        """Apply :func:`descend` to the responses and weights of the task."""
        return descend(self.runner, self.problem, z, self.response, self.weight, **settings)


def descend(
    runner: Runner,
    problem: Problem,
    z: Float[np.ndarray, "size lane"],
    response: Rows,
    weight: Rows,
    *,
    direct: Bool[np.ndarray, " lane"] | bool = False,
    warm: bool = False,
    longest: int = MAX_STEPS,
    lanes: Lanes | None = None,
    member: Int[np.ndarray, " lane"] | None = None,
    rows: int | None = None,
) -> Lanes:
    """Polish every lane.

    Args:
        runner: schedules the batches on cores or devices.
        problem: law, inputs, noise.
        z: starts, shape (size, lanes).
        response: shape (n,) or (lanes, n), or a function from lane numbers to their rows.
        weight: as ``response``.
        direct: lanes that keep to the basin they start in, see :func:`jaxscale.engine.newton.init_lanes`.
        warm: the starts are near the optimum.
        longest: maximum number of iterations of a lane, rounded up to a multiple of ``EVERY``.
        lanes: states to continue from, in place of z.
        member: where data sets are fitted together, the index of each lane's data set in the problem.
        rows: n, where ``response`` is a function.
    """
    if lanes is None:
        lanes = newton.init_lanes(problem, z, direct=direct, warm=warm, xp=np)
    state = jax.tree.map(np.array, lanes)
    running = np.flatnonzero(state.status == newton.RUNNING)
    if not len(running):
        return state
    n = response.shape[-1] if rows is None else rows
    size = sizes(n).for_lanes(len(running))
    budget = np.asarray(-(-longest // STEPS_PER_ROUND) * STEPS_PER_ROUND)

    def part(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
        place = np.concatenate([index, np.repeat(index[:1], size.pool - len(index))])
        lanes = jax.tree.map(lambda a: a[..., place], state)
        lanes.status[len(index) :] = newton.FLAT
        own = problem.own(place if member is None else member[place])
        return own, lanes, _rows(response, place, n), _rows(weight, place, n), budget

    workers = min(runner.parallel_parts, -(-len(running) // size.width))
    indices = np.array_split(running, max(workers, -(-len(running) // size.pool)))
    # Parts are created one group at a time: the data of a lane may be large.
    group = 4 * runner.parallel_parts
    for first in range(0, len(indices), group):
        batch = indices[first : first + group]
        for index, ended in zip(batch, runner(_run_pool, [part(index) for index in batch]), strict=True):
            _write(state, index, ended)
    return state


def _rows(data: Rows, place: Int[np.ndarray, " pool"], n: int) -> Float[np.ndarray, "pool row"]:
    """Rows of the given lanes, shape (lanes, n), of data as in :func:`descend`."""
    if callable(data):
        return np.asarray(data(place))
    return np.ascontiguousarray(data[place] if data.ndim == 2 else np.broadcast_to(data, (len(place), n)))


def _write(state: Lanes, index: Int[np.ndarray, " part"], ended: Lanes) -> None:
    """Write the first lanes of a part to their places; the others are padding."""
    for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(ended), strict=True):
        whole[..., index] = piece[..., : len(index)]
