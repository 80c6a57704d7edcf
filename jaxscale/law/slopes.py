"""Values and slopes of a law over rows, for several parameter sets."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float, Real

from jaxscale.law.declare import Law
from jaxscale.utils.arrays import Array, Number, Numbers
from jaxscale.utils.compilation import compiled
from jaxscale.utils.padding import bucket, pad_columns

# Rows per block.
ROWS = 1024


@compiled(brief=True, static_argnums=0)
def _value_and_slope(
    law: Law, inputs: dict[str, Float[Array, "... row"]], sets: dict[str, Real[Array, " set"]]
) -> tuple[Float[Array, "set row"], dict[str, Float[Array, "set row"]]]:
    def value(params: dict[str, Number], row: dict[str, Numbers]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        response = law(*(row[name] for name in law.inputs), **params)
        return response, response

    slope = jax.jacfwd(value, has_aux=True)
    slopes, responses = jax.vmap(jax.vmap(slope, (None, -1)), (0, None))(sets, inputs)
    return responses, slopes


def slopes(
    law: Law,
    free: Sequence[str],
    inputs: Mapping[str, Float[np.ndarray, "... row"]],
    sets: Mapping[str, Real[np.ndarray, " set"]],
) -> tuple[Float[np.ndarray, "set row"], Float[np.ndarray, "set row free"]]:
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
