"""Padding of observations to a size bucket with rows of weight 0."""

import dataclasses

import numpy as np
from jaxtyping import Shaped

from jaxscale.data.observations import Observations
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.padding import pad_columns


def pad(observations: Observations, size: int) -> Observations:
    """Pad to ``size`` rows by repeating the first row with weight 0.

    Args:
        observations: n rows.
        size: at least n.

    Returns:
        The same observations in arrays of length ``size``; weighted sums are unchanged.

    Raises:
        ValueError: ``size`` is below the number of rows.
    """
    extra = size - len(observations)
    if extra < 0:
        raise ArgumentError("size", f"must be at least the number of rows {len(observations)}, but is {size}.")

    def maybe(values: Shaped[np.ndarray, " row"] | None) -> Shaped[np.ndarray, " bucket"] | None:
        return None if values is None else pad_columns(values, size)

    return dataclasses.replace(
        observations,
        inputs={key: pad_columns(values, size) for key, values in observations.inputs.items()},
        response=pad_columns(observations.response, size),
        weight=np.concatenate([observations.weight, np.zeros(extra)]),
        run=maybe(observations.run),
        group=maybe(observations.group),
        sigma=maybe(observations.sigma),
        rows=observations.rows + observations.rows[:1] * extra,
    )
