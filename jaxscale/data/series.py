"""Series: sequences shared by many rows, stored once and referenced by a column of labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxscale.data.tables import Table, is_empty
from jaxscale.utils.errors import ArgumentError, did_you_mean


def validate_series(
    series: Mapping[str, Mapping[Any, Any]], named: Mapping[str, str]
) -> dict[str, dict[str, Float[np.ndarray, " step"]]]:
    """Validated sequences by input and label."""
    known: dict[str, dict[str, np.ndarray]] = {}
    for key, entries in series.items():
        if key not in named:
            raise ArgumentError(
                "series", f"names {key!r}, which is not an input; map it to a column of labels in inputs."
            )
        known[key] = {str(label).strip(): np.asarray(values, float) for label, values in entries.items()}
        for label, values in known[key].items():
            if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values)):
                raise ArgumentError("series", f"must hold sequences of finite numbers, but {key} {label!r} is none.")
    return known


def places(
    table: Table, column: str, kept: Int[np.ndarray, " row"], known: Mapping[str, Float[np.ndarray, " _"]]
) -> tuple[Float[np.ndarray, " row"], tuple[Float[np.ndarray, " _"], ...], list[str]]:
    """Index of each row's sequence among those that are used, these sequences, and messages for unknown labels."""
    labels = [label_of(cell) for cell in table.column(column)[kept]]
    used = [label for label in dict.fromkeys(labels) if label is not None and label in known]
    complaints = [
        f"column {column!r}, {table.position(kept[i])}: "
        + ("the cell is empty" if label is None else f"there is no series {label!r}{did_you_mean(label, known)}")
        for i, label in enumerate(labels)
        if label not in known
    ]
    place = {label: float(k) for k, label in enumerate(used)}
    return (
        np.array([place.get(label or "", np.nan) for label in labels]),
        tuple(known[label] for label in used),
        complaints,
    )


def label_of(cell: Any) -> str | None:
    """Label of a cell as text, or None if it is empty."""
    missing = is_empty(cell) or (isinstance(cell, (float, np.floating)) and np.isnan(cell))
    return None if missing else str(cell).strip()
