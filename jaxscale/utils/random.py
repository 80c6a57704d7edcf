"""Random generators from integers or JAX keys."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def generator_of(key: Any) -> tuple[int, np.random.Generator]:
    """Seed to report and NumPy generator, from an integer or a JAX key."""
    if isinstance(key, int | np.integer):
        if key < 0:
            raise ValueError(f"Argument key must not be negative, but is {key!r}.")
        return int(key), np.random.default_rng(int(key))
    kind: Any = getattr(key, "dtype", float)
    typed = jnp.issubdtype(kind, jax.dtypes.prng_key)
    if not typed and not jnp.issubdtype(kind, np.integer):
        raise ValueError(f"Argument key must be a whole number or a JAX random key, but is {key!r}.")
    data = jax.random.key_data(key) if typed else key
    words = [int(word) for word in np.ravel(np.asarray(data))]
    seed = int("".join(f"{word:08x}" for word in words), 16)
    return seed, np.random.default_rng(seed)
