"""A process without a configured compilation cache."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@contextmanager
def unconfigured_cache() -> Iterator[Callable[[], list[object]]]:
    """Unset the configured folder, as in a new process; yields a function that reads JAX's settings."""
    before = {name: jax.config.values[name] for name in SETTINGS}
    jax.config.update(SETTINGS[0], None)
    try:
        yield lambda: [jax.config.values[name] for name in SETTINGS]
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
