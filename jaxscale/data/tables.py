"""Tables: named columns with row numbers, read from files, data frames and mappings.

Cells of a CSV file remain text until a column is used, so unused columns may hold anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jaxscale.utils.errors import DataError, did_you_mean

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    Args:
        columns: name to a one-dimensional array; text and mixed cells are objects.
        rows: numbers of the rows: the line in a CSV or JSONL file (a CSV header is line 1), else counted from 1.
        name: name of the table in messages ("runs.csv", "data frame", "dict").
        sha256: fingerprint of the bytes of the file, or of the columns if there is no file.
        row_unit: what the numbers count: "line" of a text file, or "row".
    """

    columns: Mapping[str, Shaped[np.ndarray, " row"]]
    rows: Int[np.ndarray, " row"]
    name: str
    sha256: str
    row_unit: str = "row"

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def position(self, index: int | np.integer) -> str:
        """Position of a row, for messages: "line 7" of a text file, "row 6" of a data frame."""
        return f"{self.row_unit} {self.rows[index]}"

    def column(self, name: str) -> Shaped[np.ndarray, " row"]:
        """Cells of one column.

        Raises:
            DataError: there is no such column; the message suggests similar names.
        """
        if name not in self.columns:
            shown = ", ".join(list(self.columns)[:12]) + (", ..." if len(self.columns) > 12 else "")
            raise DataError(
                f"{self.name} has no column {name!r}{did_you_mean(name, self.columns)}; its columns are {shown}."
            )
        return self.columns[name]


def number(cell: Any) -> float | None:
    """Convert a cell to a float, or None if it is not a number (thousands separators are not accepted)."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text) if _NUMBER.fullmatch(text) or _WORDS.fullmatch(text) else None
    if isinstance(cell, (complex, np.complexfloating, np.datetime64, np.timedelta64, np.ndarray)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")
    except (TypeError, ValueError):
        return None


def is_empty(cell: Any) -> bool:
    """Whether a cell is None or blank."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def format_value(value: Any) -> str:
    """Format a value for messages: quoted if it is text, and truncated if it is long."""
    text = value if isinstance(value, str) else repr(value)
    short = text if len(text) <= 40 else text[:37] + "..."
    return repr(short) if isinstance(value, str) else short
