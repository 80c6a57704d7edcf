"""Padding of arrays to size buckets, so that few programs are compiled."""

import numpy as np
from jaxtyping import Shaped

_SMALLEST_BUCKET = 16


def bucket(count: int) -> int:
    """Padded size for ``count`` rows: 16, 24, 32, 48, 64, 96, ...

    Args:
        count: number of rows.

    Returns:
        The smallest power of two, or one and a half times a power of two, that holds the rows.
    """
    size = _SMALLEST_BUCKET
    while size < count:
        size = size * 3 // 2 if size.bit_count() == 1 else size * 4 // 3
    return size


def pad_columns(values: Shaped[np.ndarray, "... row"], size: int) -> Shaped[np.ndarray, "... bucket"]:
    """Pad to ``size`` rows (the last axis) by repeating the first one."""
    extra = size - values.shape[-1]
    return np.concatenate([values, np.repeat(values[..., :1], extra, axis=-1)], axis=-1)
