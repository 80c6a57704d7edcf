"""Seeds as NumPy generators."""

import numpy as np

from jaxscale.utils.errors import ArgumentError


def generator_of(seed: int | np.integer) -> tuple[int, np.random.Generator]:
    """The seed as a plain integer, and a generator made from it.

    Args:
        seed: a whole number, not negative.

    Raises:
        ValueError: the seed is negative or no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentError("seed", f"must be a whole number, but is {seed!r}.")
    if seed < 0:
        raise ArgumentError("seed", f"must not be negative, but is {seed!r}.")
    return int(seed), np.random.default_rng(int(seed))
