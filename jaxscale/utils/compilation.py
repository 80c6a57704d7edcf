"""Compilation: ``jax.jit`` with compiler settings that suit the engine's programs on CPUs.

The programs are small and run for milliseconds, while XLA's defaults take seconds to compile them. The fusion emitters
and the split of a program into many modules serve large models; without them the programs of a fit compile in
two thirds of the time, occupy a third of the memory maps, and compute the same bits at the same speed.

Compiled programs stay in memory, in dozens of memory maps each, and Linux kills a process that has too many. So all
programs of this package are instances of :class:`Program`, whose compiled code is dropped before that happens; other
compiled programs of the process are not affected.
"""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.core
from jaxtyping import PyTree

from jaxscale.utils import memory_maps

# XLA settings for every program on a CPU, and for one that runs so briefly that optimising it does not pay.
SETTINGS: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
BRIEF: dict[str, Any] = {"xla_backend_optimization_level": 1}
# Fraction of the permitted memory maps above which compiled programs are dropped: one call compiles a few thousand maps
# at most, and the other half is for the rest of the process.
MOST_MAPS = 0.5
# Compilations between two checks of the number of maps: a check takes milliseconds, as one compilation does at least.
BETWEEN_LOOKS = 64
# Calls, by program and shapes, that are known to be compiled; cleared when programs are dropped.
compiled_calls: set[Any] = set()

_programs: weakref.WeakSet["Program"] = weakref.WeakSet()
_lock = threading.Lock()
# Number of compilations since the last check.
_since_look = 0


class Program:
    """A function that is compiled once for each structure and shape of its arguments.

    Inside another transformation (``vmap``, ``shard_map``, ``jit``) it is the plain function: XLA accepts settings
    only for a whole program.

    Args:
        function: pure function of pytrees of arrays.
        brief: whether it runs so briefly that compile time outweighs its speed.
        nested: whether it is also jitted inside another transformation, without the settings: then a transformation
            that is not under ``jit``, such as ``vmap`` of a call, is traced and compiled only once.
        **settings: passed to ``jax.jit``, such as ``static_argnames``.
    """

    def __init__(
        self, function: Callable[..., Any], brief: bool = False, nested: bool = False, **settings: Any
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.brief, self.settings = function, brief, settings
        self.inside: Any = jax.jit(function, **settings) if nested else function
        self._compiled: dict[str, Any] = {}
        with _lock:
            _programs.add(self)

    def __call__(self, *args: PyTree, **kwargs: PyTree) -> PyTree:
        """Call the compiled function."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs))):
            return self.inside(*args, **kwargs)
        _limit_maps()
        jitted = self.jitted
        before = jitted._cache_size()
        result = jitted(*args, **kwargs)
        if jitted._cache_size() > before:
            _count_compilation()
        return result

    @property
    def jitted(self) -> Any:
        """The function under ``jax.jit`` for the default backend."""
        backend = jax.default_backend()
        if backend not in self._compiled:
            settings = _supported_settings(self.brief) if backend == "cpu" else {}
            self._compiled[backend] = jax.jit(self.function, compiler_options=settings or None, **self.settings)
        return self._compiled[backend]

    def _cache_size(self) -> int:
        """Number of compiled programs, as of a jitted function."""
        return self.jitted._cache_size()

    def clear_cache(self) -> None:
        """Drop the compiled programs; running calls are not affected, and the next one compiles again."""
        for jitted in (*self._compiled.values(), self.inside):
            if hasattr(jitted, "clear_cache"):
                jitted.clear_cache()


def compiled(
    function: Callable[..., Any] | None = None, *, brief: bool = False, nested: bool = False, **settings: Any
) -> Any:
    """Decorate a function as a :class:`Program`, with the arguments of the class."""
    if function is None:
        return functools.partial(Program, brief=brief, nested=nested, **settings)
    return Program(function, brief, nested, **settings)


def clear_cache() -> None:
    """Drop all compiled programs of jaxscale and free their memory; each is compiled again when it is next used.

    Other compiled programs of the process, such as a training step, are not affected. A process that works on
    hundreds of laws need not call this: jaxscale does so before its programs occupy half of the memory maps that Linux
    allows a process.

    >>> import jaxscale
    >>> jaxscale.clear_cache()
    """
    with _lock:
        programs = list(_programs)
        compiled_calls.clear()
    for program in programs:
        program.clear_cache()


def _count_compilation() -> None:
    global _since_look
    _since_look += 1


def _limit_maps() -> None:
    """Drop all programs if the process has many memory maps, which is checked only now and then."""
    global _since_look
    if _since_look < BETWEEN_LOOKS:
        return
    _since_look = 0
    if memory_maps.share() > MOST_MAPS:
        clear_cache()


@functools.cache
def _supported_settings(brief: bool) -> dict[str, Any]:
    """XLA settings without those that this version does not know, which it would refuse."""
    settings = SETTINGS | (BRIEF if brief else {})
    if _compiles(tuple((SETTINGS | BRIEF).items())):
        return settings
    return {name: value for name, value in settings.items() if _compiles(((name, value),))}


@functools.cache
def _compiles(settings: tuple[tuple[str, Any], ...]) -> bool:
    try:
        jax.jit(_nothing, compiler_options=dict(settings)).lower().compile()
    except Exception:
        return False
    return True


def _nothing() -> float:
    return 0.0
