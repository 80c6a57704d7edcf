"""Many lanes on all cores or devices: parts of one fixed shape, finished ones written down.

What a lane does depends neither on its neighbours nor on where it runs, so results are the same, bit
for bit, for any number of lanes, threads, devices and processes of one kind of hardware.
"""

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree, Shaped

from jaxscale.utils.arrays import Value
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.compilation import Program, compiled_calls
from jaxscale.utils.progress import Ticker

_ahead: dict[Any, Future[Any]] = {}
_lock = threading.Lock()
_alone = threading.Lock()


def _signature(program: Callable[..., PyTree], arguments: tuple[PyTree, ...]) -> Hashable:
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((np.shape(leaf), np.result_type(leaf).str) for leaf in leaves)
    return program, jnp.result_type(float).name, structure, shapes


def compile_ahead(program: Callable[..., PyTree], arguments: tuple[PyTree, ...]) -> None:
    """Compile a program on another core, by running it once on arguments that give it nothing to do."""
    signature = _signature(program, arguments)
    x64 = jnp.result_type(float) == jnp.float64
    if (os.cpu_count() or 1) < 2 or jax.default_backend() != "cpu":
        return

    def run() -> None:
        with jax.enable_x64(x64):
            jax.block_until_ready(program(*arguments))
        compiled_calls.add(signature)

    with _lock:
        if signature in compiled_calls or signature in _ahead:
            return
        if "pool" not in _background:
            _background["pool"] = ThreadPoolExecutor(1)
        _ahead[signature] = _background["pool"].submit(run)


_background: dict[str, ThreadPoolExecutor] = {}


def await_compiled(program: Callable[..., PyTree], arguments: tuple[PyTree, ...]) -> Hashable:
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

    mesh: jax.sharding.Mesh | None = None
    journal: Journal | None = None
    ticker: Ticker | None = None
    alone: bool = False

    def __call__(self, program: Callable[..., PyTree], parts: list[tuple[Any, ...]]) -> list[Any]:
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

    def _run(self, program: Callable[..., PyTree], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
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
        alone = 0 if signature in compiled_calls else 1
        done = [inside(part) for part in parts[:alone]]
        compiled_calls.add(signature)
        with ThreadPoolExecutor(workers) as pool:
            return [*done, *pool.map(inside, parts[alone:])]

    def _sharded(self, program: Callable[..., PyTree], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """One part on each device at a time; every process is handed all results."""
        from jax.sharding import NamedSharding, PartitionSpec

        assert self.mesh is not None
        devices = self.mesh.size
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        run = _over(program, self.mesh)
        done: list[Any] = []
        for first in range(0, len(parts), devices):
            some = list(parts[first : first + devices])
            whole = [*some, *some[-1:] * (devices - len(some))]

            def spread(*leaves: Shaped[Value, "..."]) -> jax.Array:
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
def _over(program: Callable[..., PyTree], mesh: jax.sharding.Mesh) -> Program:
    """The program on every device of a mesh, each with its own part along the first axis."""
    from jax.sharding import PartitionSpec

    axes = PartitionSpec(mesh.axis_names)

    def one(*part: PyTree) -> PyTree:
        ends = program(*jax.tree.map(lambda a: a[0], part))
        return jax.tree.map(lambda a: a[None], ends)

    return Program(jax.shard_map(one, mesh=mesh, in_specs=axes, out_specs=axes, check_vma=False))


def _gathered(array: jax.Array) -> Shaped[np.ndarray, "..."]:
    if jax.process_count() == 1:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def _anywhere(missing: Bool[np.ndarray, " part"]) -> Bool[np.ndarray, " part"]:
    """Which parts some process lacks: all processes have to compute the same."""
    if jax.process_count() == 1:
        return missing
    from jax.experimental.multihost_utils import process_allgather

    return np.any(np.asarray(process_allgather(missing)), axis=0)


def chunks(count: int, width: int) -> list[Int[np.ndarray, " start"]]:
    """Index arrays of one width that cover ``count`` lanes; the last repeats a lane."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return list(np.minimum(index, count - 1))
