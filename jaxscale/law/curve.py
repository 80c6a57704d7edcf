"""Curves of a law along one input, as arrays and as plain-text plots."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxscale.law.declare import Law, between

_COLUMNS, _ROWS = 60, 12
# An axis with a larger ratio of its ends is logarithmic.
_WIDE = 10.0


def curve(law: Law, name: str, count: int = 121) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Curve of a law along one input at typical parameters, with the other inputs in the middle of their ranges.

    Args:
        law: the law.
        name: the input to vary.
        count: number of points, logarithmically spaced if the range is positive.

    Returns:
        The input and the response, each of shape (count,).
    """
    x = between(*law.inputs[name].sizes, np.linspace(0.0, 1.0, count))
    with jax.enable_x64(True):
        inputs = [jnp.asarray(x) if key == name else between(*kind.sizes, 0.5) for key, kind in law.inputs.items()]
        y = np.asarray(law(*inputs, **law.typical), float)
    return x, np.broadcast_to(y, x.shape)


def is_wide(values: Float[np.ndarray, " point"]) -> bool:
    """Whether an axis with these values is logarithmic."""
    return bool(values.min() > 0 and values.max() > _WIDE * values.min())


def sketch(law: Law, name: str) -> list[str]:
    """Plain-text plot of a law along one input.

    Args:
        law: the law.
        name: the input to vary.
    """
    x, y = curve(law, name, _COLUMNS)
    drawn = np.log(y) if is_wide(y) else y
    low, high = float(drawn.min()), float(drawn.max())
    place = np.rint((drawn - low) / (high - low) * (_ROWS - 1)).astype(int) if high > low else np.full(_COLUMNS, 0)
    top, bottom = f"{y.max():.3g}", f"{y.min():.3g}"
    wide = max(len(top), len(bottom))
    labels = [top, *[""] * (_ROWS - 2), bottom]
    rows = [
        f"  {label:>{wide}} |" + "".join("*" if p == _ROWS - 1 - row else " " for p in place)
        for row, label in enumerate(labels)
    ]
    left, right = f"{x[0]:.3g}", f"{x[-1]:.3g}"
    axis = f"  {'':{wide}} +" + "-" * _COLUMNS
    return [*(row.rstrip() for row in rows), axis, f"  {'':{wide}}  {left}{right:>{_COLUMNS - len(left)}}"]
