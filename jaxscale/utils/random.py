"""Random generators from seeds."""

import numpy as np

from jaxscale.utils.errors import ArgumentError


def generator_of(seed: int | np.integer) -> tuple[int, np.random.Generator]:
    """Seed as a Python integer, and its NumPy generator.

    Args:
        seed: a non-negative integer.

    Raises:
        ValueError: the seed is negative or not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentError("seed", f"must be a whole number, but is {seed!r}.")
    if seed < 0:
        raise ArgumentError("seed", f"must not be negative, but is {seed!r}.")
    return int(seed), np.random.default_rng(int(seed))
