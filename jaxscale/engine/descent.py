"""Descents of many starts: sizes of chunks, scoring, and a pool of lanes of which finished ones are replaced."""

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
from jaxscale.engine.starts import placed, score
from jaxscale.utils.arrays import Array, Value
from jaxscale.utils.compilation import compiled, compiled_calls

D = TypeVar("D")
T = TypeVar("T")
# Rows that all lanes share, those of each lane, or a function of lane numbers that gives theirs.
Rows = Float[np.ndarray, "... row"] | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """How much one call of a program takes on: small enough for a core's cache, large enough for a device.

    Args:
        scored: starts that one call scores.
        abreast: of these, side by side.
        pool: lanes that one call settles.
        width: of these, side by side.
    """

    scored: int
    abreast: int
    pool: int
    width: int

    def longer(self, n: int) -> "Sizes":
        """The same for n rows: fewer lanes where each holds much data."""
        if n <= LONG:
            return self
        step = min(self.width, FEW)
        pool = max(min(2 * step, FEW), self.pool * LONG // n // step * step)
        return replace(self, pool=pool, width=min(self.width, pool))

    def holding(self, lanes: int) -> "Sizes":
        """The same for so many lanes: on a device, where idle lanes cost as much as others, few have a pool of few."""
        return self if self.width <= FEW or lanes > FEW else replace(self, pool=FEW, width=FEW)

    def scoring(self, starts: int) -> "Sizes":
        """The same for so many starts that are scored."""
        few = 4 * FEW
        return self if self.scored <= few or starts > few else replace(self, scored=few, abreast=few)


# Rows above which lanes are fewer, so that their data stay in a core's cache.
LONG = 4096
# Iterations of a pool between two replacements of finished lanes.
EVERY = 2
CORE = Sizes(scored=512, abreast=64, pool=256, width=16)
# All of a pool abreast: a step of a device takes as long for few lanes as for many, so no lane waits for room.
DEVICE = Sizes(scored=65536, abreast=65536, pool=16384, width=16384)
# Lanes, and starts, that are few for a device.
FEW = 1024
# Most iterations of a lane.
LONGEST = 400


def sizes(n: int) -> Sizes:
    """The sizes for n rows on the backend that runs."""
    return (CORE if jax.default_backend() == "cpu" else DEVICE).longer(n)


@compiled
def _score(
    problem: Problem,
    u: Float[Array, "free start"],
    z: Float[Array, "free start"],
    drawn: Bool[Array, " start"],
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
    def some(
        part: tuple[Float[Array, "free start"], Float[Array, "free start"], Bool[Array, " start"]],
    ) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
        u, z, drawn = part
        return score(problem, u, z, drawn, response, weight)

    return _abreast(some, (u, z, drawn), response.shape[-1])


@compiled
def _place(
    problem: Problem,
    params: dict[str, Float[Array, " start"]],
    response: Float[Array, " row"],
    weight: Float[Array, " row"],
) -> tuple[Float[Array, "size start"], Float[Array, " start"]]:
    return _abreast(lambda part: placed(problem, part, response, weight), params, response.shape[-1])


def _abreast(function: Callable[[D], T], starts: D, n: int) -> T:
    """``function`` over few starts (the last axis) at a time, so that what it computes stays in cache."""
    width = sizes(n).scoring(jax.tree.leaves(starts)[0].shape[-1]).abreast
    few = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], -1, width), -2, 0), starts)
    ends = jax.lax.map(function, few)
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1), ends)


class _Slots(eqx.Module):
    """Lanes side by side: places in the pool, problem, state, transformed responses, weights, iterations left."""

    place: Int[Array, " lane"]
    problem: Problem
    lanes: Lanes
    target: Float[Array, "lane row"]
    weight: Float[Array, "lane row"]
    left: Int[Array, " lane"]


def settle(
    problem: Problem,
    pool: Lanes,
    response: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    budget: Int[Value, ""],
    width: int,
) -> Lanes:
    """Run every lane of a pool until it has stopped or used its budget, so many side by side.

    A lane that is done is replaced by the next, so that no lane waits for the slowest. What a lane does depends neither
    on its neighbours nor on its place.

    Args:
        problem: law, inputs, noise; with ``apart`` every lane's own.
        pool: any number of lanes, of which the running ones are advanced.
        response: shape (lanes, n).
        weight: shape (lanes, n).
        budget: most iterations of each lane in this call, a multiple of ``EVERY``.
        width: lanes side by side.
    """
    count = pool.status.shape[0]
    target = problem.noise.transform(response)
    queue = _queue(pool.status == newton.RUNNING, width)

    def loaded(place: Int[Array, " lane"]) -> _Slots:
        return _loaded(problem, pool, target, weight, place, jnp.full((width,), budget))

    def round(state: tuple[_Slots, Int[Array, ""], Lanes]) -> tuple[_Slots, Int[Array, ""], Lanes]:
        slots, following, done = state
        slots, done = _advanced(slots, done)
        over = (slots.lanes.status != newton.RUNNING) | (slots.left <= 0)
        rank = jnp.cumsum(over) - 1
        place = jnp.where(over, queue[jnp.minimum(following + rank, len(queue) - 1)], slots.place)
        return _replaced(slots, loaded(place), over), following + jnp.sum(over), done

    state = (loaded(queue[:width]), jnp.asarray(width), pool)
    return jax.lax.while_loop(lambda state: jnp.any(state[0].place < count), round, state)[2]


def _queue(running: Bool[Array, " pool"], width: int) -> Int[Array, " place"]:
    """The running lanes in order, then places outside the pool: reading these is harmless, writing has no effect."""
    count = len(running)
    order = jnp.argsort(~running, stable=True)
    order = jnp.where(jnp.arange(count) < jnp.sum(running), order, count)
    return jnp.concatenate([order, jnp.full((width,), count, order.dtype)])


def _loaded(
    problem: Problem,
    pool: Lanes,
    target: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    slot: Int[Array, " lane"],
    left: Int[Array, " lane"],
) -> _Slots:
    """The lanes at some places of a pool with their data; those outside of it are idle."""
    count = pool.status.shape[0]
    place = jnp.minimum(slot, count - 1)
    lanes = jax.tree.map(lambda a: a[..., place], pool)
    status = jnp.where(slot < count, lanes.status, newton.FLAT)
    lanes = eqx.tree_at(lambda s: s.status, lanes, status)
    return _Slots(slot, problem.own(place), lanes, target[place], weight[place], left)


def _advanced(slots: _Slots, done: Lanes) -> tuple[_Slots, Lanes]:
    """A few iterations of the lanes, written to their places in the pool."""
    lanes = newton.iterate(slots.problem, slots.lanes, slots.target, slots.weight, EVERY)
    done = jax.tree.map(lambda whole, part: whole.at[..., slots.place].set(part, mode="drop"), done, lanes)
    return eqx.tree_at(lambda s: (s.lanes, s.left), slots, (lanes, slots.left - EVERY)), done


def _replaced(slots: _Slots, new: _Slots, over: Bool[Array, " lane"]) -> _Slots:
    """Slots whose lane is over hold the new one; the data belong to the places of the new in any case."""
    lanes = jax.tree.map(lambda a, b: jnp.where(over, a, b), new.lanes, slots.lanes)
    return eqx.tree_at(lambda s: (s.lanes, s.left), new, (lanes, jnp.where(over, new.left, slots.left)))


@compiled
def _settle(
    problem: Problem,
    lanes: Lanes,
    response: Float[Array, "pool row"],
    weight: Float[Array, "pool row"],
    budget: Int[Array, ""],
) -> Lanes:
    width = sizes(response.shape[-1]).holding(len(response)).width
    return settle(problem, lanes, response, weight, budget, width)


@dataclass(frozen=True)
class Task:
    """A problem with its data and where it runs.

    Args:
        problem: law, inputs of shape (n,), noise.
        response: shape (n,).
        weight: shape (n,).
        runner: where it runs.
    """

    problem: Problem
    response: Float[np.ndarray, " row"]
    weight: Float[np.ndarray, " row"]
    runner: Runner = Runner()

    def score(
        self, u: Float[np.ndarray, "free start"], z: Float[np.ndarray, "free start"], drawn: Bool[np.ndarray, " start"]
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        """:func:`jaxscale.engine.starts.score` for any number of starts."""

        def arguments(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
            return self.problem, u[:, index], z[:, index], drawn[index], self.response, self.weight

        return self._in_chunks(_score, arguments, u.shape[1])

    def place(
        self, params: Mapping[str, Float[np.ndarray, " start"]]
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        """Coordinates and objectives of given parameters, :func:`jaxscale.engine.starts.placed`."""

        def arguments(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
            return self.problem, {name: v[index] for name, v in params.items()}, self.response, self.weight

        return self._in_chunks(_place, arguments, len(next(iter(params.values()))))

    def _in_chunks(
        self, program: Callable[..., PyTree], arguments: Callable[[np.ndarray], tuple[PyTree, ...]], count: int
    ) -> tuple[Float[np.ndarray, "size start"], Float[np.ndarray, " start"]]:
        parts = [arguments(index) for index in chunks(count, sizes(len(self.response)).scoring(count).scored)]
        ends = self.runner(program, parts)
        z = np.concatenate([end[0] for end in ends], axis=-1)[:, :count]
        return z, np.concatenate([end[1] for end in ends])[:count]

    def prepare(self) -> None:
        """Have the program that polishes compiled while starts are scored."""
        n = len(self.response)
        pool = sizes(n).pool
        known = ("prepared", jax.tree.structure(self.problem), n, jnp.result_type(float).name)
        if self.runner.mesh is not None or known in compiled_calls:
            return
        compiled_calls.add(known)
        lanes = newton.begin(self.problem, np.zeros((self.problem.size, pool)), xp=np)
        lanes = jax.tree.map(np.array, lanes)
        lanes.status[:] = newton.FLAT
        rows = (np.ascontiguousarray(np.broadcast_to(data, (pool, n))) for data in (self.response, self.weight))
        compile_ahead(_settle, (self.problem, lanes, *rows, np.asarray(2 * EVERY)))

    def descend(self, z: Float[np.ndarray, "size lane"], **settings: Any) -> Lanes:
        """:func:`descend` on the task's own responses and weights."""
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
    longest: int = LONGEST,
    lanes: Lanes | None = None,
    member: Int[np.ndarray, " lane"] | None = None,
    rows: int | None = None,
) -> Lanes:
    """Polish every lane; lanes that have settled make room for others.

    Args:
        runner: where it runs.
        problem: law, inputs, noise.
        z: starts, shape (size, lanes).
        response: shape (n,) or (lanes, n), or a function of lane numbers that gives their rows.
        weight: the same.
        direct: lanes that keep to the basin they start in, see :func:`jaxscale.engine.newton.begin`.
        warm: the starts are near the optimum.
        longest: most iterations of a lane, rounded up to a multiple of ``EVERY``.
        lanes: states to go on from, in place of z.
        member: where data sets are fitted together, each lane's place in the problem.
        rows: n, where responses are given by a function.
    """
    if lanes is None:
        lanes = newton.begin(problem, z, direct=direct, warm=warm, xp=np)
    state = jax.tree.map(np.array, lanes)
    running = np.flatnonzero(state.status == newton.RUNNING)
    if not len(running):
        return state
    n = response.shape[-1] if rows is None else rows
    size = sizes(n).holding(len(running))
    budget = np.asarray(-(-longest // EVERY) * EVERY)

    def part(index: Int[np.ndarray, " part"]) -> tuple[PyTree, ...]:
        place = np.concatenate([index, np.repeat(index[:1], size.pool - len(index))])
        lanes = jax.tree.map(lambda a: a[..., place], state)
        lanes.status[len(index) :] = newton.FLAT
        own = problem.own(place if member is None else member[place])
        return own, lanes, _rows(response, place, n), _rows(weight, place, n), budget

    workers = min(runner.together, -(-len(running) // size.width))
    indices = np.array_split(running, max(workers, -(-len(running) // size.pool)))
    # Parts are made when it is their turn: a lane's data may be long.
    group = 4 * runner.together
    for first in range(0, len(indices), group):
        chosen = indices[first : first + group]
        for index, ended in zip(chosen, runner(_settle, [part(index) for index in chosen]), strict=True):
            _write(state, index, ended)
    return state


def _rows(data: Rows, place: Int[np.ndarray, " pool"], n: int) -> Float[np.ndarray, "pool row"]:
    """The rows of some lanes, shape (lanes, n), of data as in :func:`descend`."""
    if callable(data):
        return np.asarray(data(place))
    return np.ascontiguousarray(data[place] if data.ndim == 2 else np.broadcast_to(data, (len(place), n)))


def _write(state: Lanes, index: Int[np.ndarray, " part"], ended: Lanes) -> None:
    """Write the first lanes of a part to their places; the others only fill it up."""
    for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(ended), strict=True):
        whole[..., index] = piece[..., : len(index)]
