"""Parallel execution of batches of one fixed shape on cores or devices, with checkpoints.

The result of a lane depends neither on the other lanes nor on where it runs, so results are the same, bit
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
    """Compile a program in a background thread, by running it once on arguments that need no iterations."""
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
    """Wait until a background compilation for a call has ended, and return the signature of the call."""
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
        journal: where finished parts are stored, so that an interrupted run can be resumed.
        ticker: counts finished parts.
        alone: whether one part runs at a time in this process. This avoids a deadlock of the thread pool between
            parts that solve batches of systems by LAPACK (jaxlib 0.10).
    """

    mesh: jax.sharding.Mesh | None = None
    journal: Journal | None = None
    ticker: Ticker | None = None
    alone: bool = False

    def __call__(self, program: Callable[..., PyTree], parts: list[tuple[Any, ...]]) -> list[Any]:
        """Results of ``program(*part)`` for every part, as NumPy arrays, in order."""
        if self.journal is None:
            return self._run(program, parts)
        keys = [self.journal.key(program.__name__, part) for part in parts]
        done = {key: self.journal.read(key) for key in keys}
        missing = np.flatnonzero(_on_any_process(np.array([done[key] is None for key in keys])))
        for first in range(0, len(missing), self.parallel_parts):
            batch = missing[first : first + self.parallel_parts]
            for k, result in zip(batch, self._run(program, [parts[int(k)] for k in batch]), strict=True):
                done[keys[k]] = jax.tree.leaves(result)
                self.journal.write(keys[k], jax.tree.leaves(result))
        # What a program returns has one structure, whatever the part.
        structure = jax.tree.structure(jax.eval_shape(program, *parts[0])) if parts else None
        return [jax.tree.unflatten(structure, done[key]) for key in keys]  # pyright: ignore[reportArgumentType]

    @property
    def parallel_parts(self) -> int:
        """Number of parts that run in parallel."""
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
            self._report()
            return result

        signature = await_compiled(program, parts[0])
        workers = min(len(parts), self._workers)
        if workers <= 1:
            return [inside(part) for part in parts]
        # The first part of a new program runs alone, so that the workers do not each compile it.
        alone = 0 if signature in compiled_calls else 1
        done = [inside(part) for part in parts[:alone]]
        compiled_calls.add(signature)
        with ThreadPoolExecutor(workers) as pool:
            return [*done, *pool.map(inside, parts[alone:])]

    def _sharded(self, program: Callable[..., PyTree], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run one part on each device at a time; every process receives all results."""
        from jax.sharding import NamedSharding, PartitionSpec

        assert self.mesh is not None
        devices = self.mesh.size
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        run = _sharded_program(program, self.mesh)
        done: list[Any] = []
        for first in range(0, len(parts), devices):
            batch = list(parts[first : first + devices])
            whole = [*batch, *batch[-1:] * (devices - len(batch))]

            def spread(*leaves: Shaped[Value, "..."]) -> jax.Array:
                stacked = np.stack([np.asarray(leaf) for leaf in leaves])
                return jax.make_array_from_callback(stacked.shape, sharding, lambda index: stacked[index])  # noqa: B023

            results = jax.tree.map(_gather, run(*jax.tree.map(spread, *whole)))
            done += [jax.tree.map(lambda a, k=k: a[k], results) for k in range(len(batch))]
            self._report(len(batch))
        return done

    def _report(self, count: int = 1) -> None:
        if self.ticker is not None:
            self.ticker.advance(count)


@lru_cache(maxsize=64)
def _sharded_program(program: Callable[..., PyTree], mesh: jax.sharding.Mesh) -> Program:
    """The program sharded over the devices of a mesh, one part each along the first axis."""
    from jax.sharding import PartitionSpec

    axes = PartitionSpec(mesh.axis_names)

    def one(*part: PyTree) -> PyTree:
        ends = program(*jax.tree.map(lambda a: a[0], part))
        return jax.tree.map(lambda a: a[None], ends)

    return Program(jax.shard_map(one, mesh=mesh, in_specs=axes, out_specs=axes, check_vma=False))


def _gather(array: jax.Array) -> Shaped[np.ndarray, "..."]:
    if jax.process_count() == 1:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def _on_any_process(missing: Bool[np.ndarray, " part"]) -> Bool[np.ndarray, " part"]:
    """Mask of parts that any process lacks: all processes have to compute the same parts."""
    if jax.process_count() == 1:
        return missing
    from jax.experimental.multihost_utils import process_allgather

    return np.any(np.asarray(process_allgather(missing)), axis=0)


def chunks(count: int, width: int) -> list[Int[np.ndarray, " start"]]:
    """Index arrays of one width that cover ``count`` lanes; the last one is padded by repeating a lane."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return list(np.minimum(index, count - 1))
