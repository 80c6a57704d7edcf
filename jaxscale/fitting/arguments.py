"""Arguments of a fit: the law, fixed values, starts and seed as they are used, and what identifies a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxscale.engine.starts import Grid, Listed
from jaxscale.law import Law, LawError
from jaxscale.law.algebra import bound
from jaxscale.utils.errors import did_you_mean


def bounded(law: Law, bounds: Mapping[str, Sequence[float | int]]) -> Law:
    """A law some of whose parameters lie between bounds.

    Raises:
        ValueError: the law has no such parameter, or no value lies between its bounds.
    """
    try:
        ends: dict[str, Any] = dict(bounds)
        return bound(law, **ends)
    except LawError as error:
        raise ValueError(f"Argument bounds: {error}.") from None


def count_of(starts: Any) -> int:
    """The number of starts, checked."""
    if isinstance(starts, bool) or not isinstance(starts, int | np.integer) or starts < 1:
        raise ValueError(f"Argument starts must be a positive number or starts by name, but is {starts!r}.")
    return int(starts)


def explicit_starts(law: Law, starts: Mapping[str, Any], values: Mapping[str, float]) -> Grid | Listed:
    """Starts by name as a grid or equally long arrays, the fixed parameters among them."""
    axes = starts.axes if isinstance(starts, Grid) else starts
    given = {name: np.atleast_1d(np.asarray(value, float)) for name, value in axes.items()}
    for name in given:
        if name not in law.parameters:
            raise ValueError(
                f"Argument starts names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}."
            )
    missing = [name for name in law.parameters if name not in given and name not in values]
    if missing:
        raise ValueError(f"Argument starts must give every free parameter, but lacks {', '.join(missing)}.")
    lengths = {len(value) for value in given.values()} - {1}
    if isinstance(starts, Grid):
        lengths = set()
    if len(lengths) > 1 or any(value.ndim != 1 for value in given.values()):
        raise ValueError(f"Argument starts must hold equally long sequences, but their lengths are {sorted(lengths)}.")
    count = max(lengths, default=1)
    whole = {**given, **{name: np.asarray([value]) for name, value in values.items()}}
    for name, value in whole.items():
        support = law.parameters[name].support
        if name not in values and not np.all((value > support.low) & (value < support.high)):
            raise ValueError(f"Argument starts must keep {name} in its support ({support.name}), but does not.")
    if isinstance(starts, Grid):
        return Grid({name: whole[name] for name in [*given, *(name for name in values if name not in given)]})
    return Listed({name: np.broadcast_to(whole[name], (count,)) for name in law.parameters})
