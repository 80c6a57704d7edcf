"""Size buckets: rows are padded to a few lengths, so that few programs are compiled."""

import numpy as np
from jaxtyping import Shaped

_SMALLEST_BUCKET = 16


def bucket(count: int) -> int:
    """The padded size for ``count`` rows: 16, 24, 32, 48, 64, 96, ...

    Args:
        count: number of rows.

    Returns:
        The smallest power of two, or one and a half times a power of two, that holds the rows.
    """
    size = _SMALLEST_BUCKET
    while size < count:
        size = size * 3 // 2 if size.bit_count() == 1 else size * 4 // 3
    return size


def widened(values: Shaped[np.ndarray, "... row"], size: int) -> Shaped[np.ndarray, "... bucket"]:
    """Repeat the first row (rows are the last axis) until there are ``size``."""
    extra = size - values.shape[-1]
    return np.concatenate([values, np.repeat(values[..., :1], extra, axis=-1)], axis=-1)
