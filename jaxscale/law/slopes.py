"""Values and slopes of a law over rows, for several parameter sets."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.law.declare import Law
from jaxscale.utils.compilation import compiled
from jaxscale.utils.padding import bucket, pad_columns

# Rows per block.
ROWS = 1024


@compiled(brief=True, static_argnums=0)
def _value_and_slope(law: Law, inputs: dict[str, Any], sets: dict[str, Any]) -> tuple[Any, Any]:
    def value(params: Any, row: Any) -> tuple[Any, Any]:
        response = law(*(row[name] for name in law.inputs), **params)
        return response, response

    slope = jax.jacfwd(value, has_aux=True)
    slopes, responses = jax.vmap(jax.vmap(slope, (None, -1)), (0, None))(sets, inputs)
    return responses, slopes


def slopes(
    law: Law, free: Sequence[str], inputs: Mapping[str, np.ndarray], sets: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Responses, shape (sets, n), and their slopes in the free parameters, shape (sets, n, free)."""
    n = next(iter(inputs.values())).shape[-1]
    size = min(bucket(n), ROWS)
    wide = {name: pad_columns(inputs[name], -(-n // size) * size) for name in law.inputs}
    parts = []
    for first in range(0, n, size):
        block = {name: values[..., first : first + size] for name, values in wide.items()}
        with jax.enable_x64(True):
            responses, by_name = _value_and_slope(law, block, dict(sets))
        parts.append((np.asarray(responses), np.stack([np.asarray(by_name[name]) for name in free], axis=-1)))
    responses, slopes = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return responses[:, :n], slopes[:, :n]
