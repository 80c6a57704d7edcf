"""How tests compile programs whose speed does not matter to them."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def quick_compilation() -> Iterator[None]:
    """Compile with few optimisations: in about half the time, to the same results up to rounding."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
