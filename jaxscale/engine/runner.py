"""Many lanes on all cores or devices: parts of one fixed shape, finished ones written down.

What a lane does depends neither on its neighbours nor on where it runs, so results are the same, bit
for bit, for any number of lanes, threads, devices and processes of one kind of hardware.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.engine import newton
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.starts import placed, score
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.compilation import compiled
from jaxscale.utils.progress import Ticker


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


LONG = 4096
CORE = Sizes(scored=512, abreast=64, pool=256, width=16)
# All of a pool abreast: a step of a device takes as long for few lanes as for many, so no lane waits for room.
DEVICE = Sizes(scored=65536, abreast=65536, pool=16384, width=16384)
FEW = 1024
LONGEST = 400


def sizes(n: int) -> Sizes:
    """The sizes for n rows on the backend that runs."""
    return (CORE if jax.default_backend() == "cpu" else DEVICE).longer(n)


@compiled
def _score(problem: Problem, u: Any, z: Any, drawn: Any, response: Any, weight: Any) -> Any:
    def some(part: Any) -> Any:
        u, z, drawn = part
        return score(problem, u, z, drawn, response, weight)

    return _abreast(some, (u, z, drawn), response.shape[-1])


@compiled
def _place(problem: Problem, params: Any, response: Any, weight: Any) -> Any:
    return _abreast(lambda part: placed(problem, part, response, weight), params, response.shape[-1])


def _abreast(function: Any, starts: Any, n: int) -> Any:
    """``function`` over few starts (the last axis) at a time, so that what it computes stays in cache."""
    width = sizes(n).scoring(jax.tree.leaves(starts)[0].shape[-1]).abreast
    few = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], -1, width), -2, 0), starts)
    ends = jax.lax.map(function, few)
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1), ends)


@compiled
def _settle(problem: Problem, lanes: Lanes, response: Any, weight: Any, budget: Any) -> Lanes:
    width = sizes(response.shape[-1]).holding(len(response)).width
    return newton.settle(problem, lanes, response, weight, budget, width)


_compiled: set[Any] = set()
_ahead: dict[Any, Future[Any]] = {}
_lock = threading.Lock()
_alone = threading.Lock()


def _signature(program: Any, arguments: Any) -> Any:
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((np.shape(leaf), np.result_type(leaf).str) for leaf in leaves)
    return program, jnp.result_type(float).name, structure, shapes


def compile_ahead(program: Any, arguments: tuple[Any, ...]) -> None:
    """Compile a program on another core, by running it once on arguments that give it nothing to do."""
    signature = _signature(program, arguments)
    x64 = jnp.result_type(float) == jnp.float64
    if (os.cpu_count() or 1) < 2 or jax.default_backend() != "cpu":
        return

    def run() -> None:
        with jax.enable_x64(x64):
            jax.block_until_ready(program(*arguments))
        _compiled.add(signature)

    with _lock:
        if signature in _compiled or signature in _ahead:
            return
        if "pool" not in _background:
            _background["pool"] = ThreadPoolExecutor(1)
        _ahead[signature] = _background["pool"].submit(run)


_background: dict[str, ThreadPoolExecutor] = {}
_prepared: set[Any] = set()


def await_compiled(program: Any, arguments: tuple[Any, ...]) -> Any:
    """The signature of a call, once nobody else is compiling the program for it."""
    signature = _signature(program, arguments)
    with _lock:
        future = _ahead.pop(signature, None)
    if future is not None:
        future.result()
    return signature


@dataclass(frozen=True)
class Runner:
    """Runs a program over parts: on the cores of this machine, or sharded over a mesh of devices.

    Args:
        mesh: devices, of this process or of many; None for the default device.
        journal: where finished parts are kept, so that an interrupted run goes on.
        ticker: told of finished parts.
        alone: whether one part runs at a time in this process, as it must where programs solve batches of systems by
            LAPACK: batches of several parts would wait for each other's threads for ever (jaxlib 0.10).
    """

    mesh: Any = None
    journal: Journal | None = None
    ticker: Ticker | None = None
    alone: bool = False

    def __call__(self, program: Any, parts: list[tuple[Any, ...]]) -> list[Any]:
        """What ``program(*part)`` returns for every part, as NumPy arrays, in order."""
        if self.journal is None:
            return self._run(program, parts)
        keys = [self.journal.key(program.__name__, part) for part in parts]
        done = {key: self.journal.read(key) for key in keys}
        missing = np.flatnonzero(_anywhere(np.array([done[key] is None for key in keys])))
        for first in range(0, len(missing), self.together):
            some = missing[first : first + self.together]
            for k, result in zip(some, self._run(program, [parts[int(k)] for k in some]), strict=True):
                done[keys[k]] = jax.tree.leaves(result)
                self.journal.write(keys[k], jax.tree.leaves(result))
        # What a program returns has one structure, whatever the part.
        structure = jax.tree.structure(jax.eval_shape(program, *parts[0])) if parts else None
        return [jax.tree.unflatten(structure, done[key]) for key in keys]  # pyright: ignore[reportArgumentType]

    @property
    def together(self) -> int:
        """How many parts run at the same time."""
        return self.mesh.size if self.mesh is not None else self._workers

    @property
    def _workers(self) -> int:
        return 1 if self.alone or jax.default_backend() != "cpu" else os.cpu_count() or 1

    def _run(self, program: Any, parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.mesh is not None:
            return self._sharded(program, parts)
        x64 = jnp.result_type(float) == jnp.float64

        def inside(part: tuple[Any, ...]) -> Any:
            # Every worker computes in the caller's precision.
            with jax.enable_x64(x64), _alone if self.alone else nullcontext():
                result = jax.tree.map(np.asarray, program(*part))
            self._tell()
            return result

        signature = await_compiled(program, parts[0])
        workers = min(len(parts), self._workers)
        if workers <= 1:
            return [inside(part) for part in parts]
        # The first part of a new program goes alone: compile once, before the workers would each begin to.
        alone = 0 if signature in _compiled else 1
        done = [inside(part) for part in parts[:alone]]
        _compiled.add(signature)
        with ThreadPoolExecutor(workers) as pool:
            return [*done, *pool.map(inside, parts[alone:])]

    def _sharded(self, program: Any, parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """One part on each device at a time; every process is handed all results."""
        from jax.sharding import NamedSharding, PartitionSpec

        devices = self.mesh.size
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        run = _over(program, self.mesh)
        done: list[Any] = []
        for first in range(0, len(parts), devices):
            some = list(parts[first : first + devices])
            whole = [*some, *some[-1:] * (devices - len(some))]

            def spread(*leaves: Any) -> Any:
                stacked = np.stack([np.asarray(leaf) for leaf in leaves])
                return jax.make_array_from_callback(stacked.shape, sharding, lambda index: stacked[index])  # noqa: B023

            results = jax.tree.map(_gathered, run(*jax.tree.map(spread, *whole)))
            done += [jax.tree.map(lambda a, k=k: a[k], results) for k in range(len(some))]
            self._tell(len(some))
        return done

    def _tell(self, count: int = 1) -> None:
        if self.ticker is not None:
            self.ticker.advance(count)


@lru_cache(maxsize=64)
def _over(program: Any, mesh: Any) -> Any:
    """The program on every device of a mesh, each with its own part along the first axis."""
    from jax.sharding import PartitionSpec

    axes = PartitionSpec(mesh.axis_names)

    def one(*part: Any) -> Any:
        ends = program(*jax.tree.map(lambda a: a[0], part))
        return jax.tree.map(lambda a: a[None], ends)

    return jax.jit(jax.shard_map(one, mesh=mesh, in_specs=axes, out_specs=axes, check_vma=False))


def _gathered(array: Any) -> np.ndarray:
    if jax.process_count() == 1:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def _anywhere(missing: np.ndarray) -> np.ndarray:
    """Which parts some process lacks: all processes have to compute the same."""
    if jax.process_count() == 1:
        return missing
    from jax.experimental.multihost_utils import process_allgather

    return np.any(np.asarray(process_allgather(missing)), axis=0)


def _chunks(count: int, width: int) -> list[np.ndarray]:
    """Index arrays of one width that cover ``count`` lanes; the last repeats a lane."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return list(np.minimum(index, count - 1))


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
    response: np.ndarray
    weight: np.ndarray
    runner: Runner = Runner()

    def score(self, u: np.ndarray, z: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:func:`jaxscale.engine.starts.score` for any number of starts."""

        def arguments(index: np.ndarray) -> tuple[Any, ...]:
            return self.problem, u[:, index], z[:, index], drawn[index], self.response, self.weight

        return self._in_chunks(_score, arguments, u.shape[1])

    def place(self, params: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates and objectives of given parameters, :func:`jaxscale.engine.starts.placed`."""

        def arguments(index: np.ndarray) -> tuple[Any, ...]:
            return self.problem, {name: v[index] for name, v in params.items()}, self.response, self.weight

        return self._in_chunks(_place, arguments, len(next(iter(params.values()))))

    def _in_chunks(self, program: Any, arguments: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [arguments(index) for index in _chunks(count, sizes(len(self.response)).scoring(count).scored)]
        ends = self.runner(program, parts)
        z = np.concatenate([end[0] for end in ends], axis=-1)[:, :count]
        return z, np.concatenate([end[1] for end in ends])[:count]

    def prepare(self) -> None:
        """Have the program that polishes compiled while starts are scored."""
        n = len(self.response)
        pool = sizes(n).pool
        known = (jax.tree.structure(self.problem), n, jnp.result_type(float).name)
        if self.runner.mesh is not None or known in _prepared:
            return
        _prepared.add(known)
        lanes = newton.begin(self.problem, np.zeros((self.problem.size, pool)), xp=np)
        lanes = jax.tree.map(np.array, lanes)
        lanes.status[:] = newton.FLAT
        rows = (np.ascontiguousarray(np.broadcast_to(data, (pool, n))) for data in (self.response, self.weight))
        compile_ahead(_settle, (self.problem, lanes, *rows, np.asarray(2 * newton.EVERY)))

    def descend(self, z: np.ndarray, **settings: Any) -> Lanes:
        """:func:`descend` on the task's own responses and weights."""
        return descend(self.runner, self.problem, z, self.response, self.weight, **settings)


def descend(
    runner: Runner,
    problem: Problem,
    z: np.ndarray,
    response: Any,
    weight: Any,
    *,
    direct: Any = False,
    warm: bool = False,
    longest: int = LONGEST,
    lanes: Lanes | None = None,
    member: np.ndarray | None = None,
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
        longest: most iterations of a lane, rounded up to a multiple of ``kernel.EVERY``.
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
    budget = np.asarray(-(-longest // newton.EVERY) * newton.EVERY)

    def gathered(data: Any, place: np.ndarray) -> Any:
        if callable(data):
            return np.asarray(data(place))
        return np.ascontiguousarray(data[place] if data.ndim == 2 else np.broadcast_to(data, (len(place), n)))

    def part(index: np.ndarray) -> tuple[Any, ...]:
        place = np.concatenate([index, np.repeat(index[:1], size.pool - len(index))])
        lanes = jax.tree.map(lambda a: a[..., place], state)
        lanes.status[len(index) :] = newton.FLAT
        own = problem.own(place if member is None else member[place])
        return own, lanes, gathered(response, place), gathered(weight, place), budget

    workers = min(runner.together, -(-len(running) // size.width))
    indices = np.array_split(running, max(workers, -(-len(running) // size.pool)))
    # Parts are made when it is their turn: a lane's data may be long.
    group = 4 * runner.together
    for first in range(0, len(indices), group):
        some = indices[first : first + group]
        for index, ended in zip(some, runner(_settle, [part(index) for index in some]), strict=True):
            for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(ended), strict=True):
                whole[..., index] = piece[..., : len(index)]
    return state
