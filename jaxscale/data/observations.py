"""Observations: columns of a table as validated float64 NumPy arrays.

An invalid cell raises an error with its column, its row as the file counts it, its value and a remedy.
:func:`jaxscale.data.validation.validate` adds the checks that depend on a law.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.data import filters
from jaxscale.data.readers import read_table
from jaxscale.data.series import label_of, places, validate_series
from jaxscale.data.tables import Table, format_value, is_empty, number
from jaxscale.utils.errors import ArgumentError, DataError, Reference, Setting


class Observations(eqx.Module):
    """Observations of a law: inputs, response and weight, one entry for each row.

    Args:
        inputs: inputs of the law by name, shape (n,), or (several, n) where a row holds several numbers.
        response: response, shape (n,).
        weight: factor on the loss of each row, shape (n,); 0 excludes the row.
        run: codes 0..R-1 of the run a row belongs to, or None.
        group: codes 0..G-1 of the group a row belongs to, or None.
        group_names: labels of the groups in the table, in the order of their codes.
        sigma: known standard errors of the responses, in their unit, shape (n,), or None.
        series: sequences shared by many rows, such as the learning rates of a run: each is stored once, and the input
            of that name holds the index into this tuple, shape (n,).
        columns: (input name or "response", column name) pairs, for messages.
        rows: numbers of the rows in the table, as ``row_unit`` counts them.
        rows_read: number of rows of the table before filtering.
        name: name of the table in messages.
        sha256: fingerprint of the table.
        row_unit: what ``rows`` counts: "line" of a text file, or "row".
    """

    inputs: dict[str, Float[np.ndarray, "... n"]]
    response: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    run: Int[np.ndarray, " n"] | None = None
    group: Int[np.ndarray, " n"] | None = None
    sigma: Float[np.ndarray, " n"] | None = None
    series: dict[str, tuple[Float[np.ndarray, " _"], ...]] = eqx.field(default_factory=dict)
    columns: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())
    rows: tuple[int, ...] = eqx.field(static=True, default=())
    rows_read: int = eqx.field(static=True, default=0)
    name: str = eqx.field(static=True, default="dict")
    sha256: str = eqx.field(static=True, default="")
    row_unit: str = eqx.field(static=True, default="row")
    group_names: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def groups(self) -> tuple[str, ...]:
        """Labels of the groups in the order of their codes; the codes themselves if there are no labels."""
        if self.group is None:
            return ()
        return self.group_names or tuple(map(str, range(int(self.group.max()) + 1)))

    def __len__(self) -> int:
        """Number of rows, including padding."""
        return len(self.response)

    def position(self, index: int | np.integer) -> str:
        """Position of a row in its table, for messages: "line 7" of a text file, "row 6" of a data frame."""
        return f"{self.row_unit} {self.rows[index] if self.rows else index + 1}"

    def first(self, bad: Bool[np.ndarray, " n"]) -> str:
        """Table and first row where ``bad`` is true, for messages."""
        return f"{self.name}, {self.position(np.flatnonzero(bad)[0])}"

    @classmethod
    def from_table(
        cls,
        source: Any,
        *,
        inputs: Mapping[str, str] | Sequence[str],
        response: str,
        where: str | None = None,
        weight: str | None = None,
        run: str | None = None,
        group: str | None = None,
        sigma: str | None = None,
        series: Mapping[str, Mapping[Any, Any]] | None = None,
    ) -> "Observations":
        """Create observations from columns of a table.

        Args:
            source: path of a CSV, JSONL or Parquet file, pandas, polars or pyarrow frame, mapping of columns, or Table.
            inputs: input of the law to column, or a list of columns named like the inputs.
            response: column of the response.
            where: filter of the rows, such as ``"params > 1e8 and split == 'train'"``.
            weight: column of weights; all 1 by default.
            run: column of run labels.
            group: column of group labels.
            sigma: column of known standard errors of the responses, in their unit.
            series: input to sequences by label, such as ``dict(schedule={"cosine": rates, "constant": others})`` with
                one learning rate for each step.

        Returns:
            The observations, in float64.

        Raises:
            DataError: a column is missing, a cell that is used is not a finite number, a weight is
                negative, all weights are zero, no row is left, or a series is missing or not a sequence of numbers.
        """
        table = read_table(source)
        named = _input_columns(inputs)
        kept = np.flatnonzero(filters.where(where, table)) if where is not None else np.arange(len(table))
        columns = {**named, "response": response, **({"weight": weight} if weight is not None else {})}
        if sigma is not None:
            columns["sigma"] = sigma
        numbers: dict[str, np.ndarray] = {}
        complaints: list[str] = []
        known = validate_series(series or {}, named)
        stored: dict[str, tuple[np.ndarray, ...]] = {}
        for key, column in columns.items():
            if key in known:
                numbers[key], stored[key], problems = places(table, column, kept, known[key])
            else:
                numbers[key], problems = _numbers(table, column, kept)
            complaints += problems
        if weight is not None:
            complaints += _negative(table, weight, kept, numbers["weight"])
        if sigma is not None:
            errors = numbers["sigma"]
            complaints += [
                f"column {sigma!r}, {table.position(kept[i])}: the standard error {errors[i]:g} is not positive"
                for i in np.flatnonzero(errors <= 0)
            ]
        codes, labels = {}, {}
        for key, column in (("run", run), ("group", group)):
            codes[key], labels[key], problems = _codes(table, column, kept) if column is not None else (None, (), [])
            complaints += problems
        refuse_cells(table.name, complaints)
        if weight is not None and not numbers["weight"].any():
            raise DataError(
                f"{table.name}, column {weight!r}: all weights are zero; at least one must be positive.",
                argument="weight",
            )
        return cls(
            inputs={key: numbers[key] for key in named},
            response=numbers["response"],
            weight=numbers.get("weight", np.ones(len(kept))),
            run=codes["run"],
            group=codes["group"],
            sigma=numbers.get("sigma"),
            series=stored,
            columns=(*named.items(), ("response", response), *([] if group is None else [("group", group)])),
            rows=tuple(table.rows[kept].tolist()),
            rows_read=len(table),
            name=table.name,
            sha256=table.sha256,
            row_unit=table.row_unit,
            group_names=labels["group"],
        )


def _input_columns(inputs: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif isinstance(inputs, str):
        raise ArgumentError("inputs", f"must be a mapping or a list of columns, but is {inputs!r}; write [{inputs!r}].")
    else:
        named = {key: key for key in inputs}
    if not named:
        raise ArgumentError("inputs", "is empty; map at least one input of the law to a column.")
    for key in ("response", "weight", "sigma"):
        if key in named:
            raise ArgumentError("inputs", f"names an input {key!r}, which is reserved; give the input another name.")
    return named


def _numbers(table: Table, column: str, kept: Int[np.ndarray, " row"]) -> tuple[Float[np.ndarray, " row"], list[str]]:
    """Cells as float64, and one message for each cell that is not a finite number."""
    cells = table.column(column)[kept]
    if cells.dtype.kind in "biuf":
        values = cells.astype(np.float64)
    else:
        parsed = [number(cell) for cell in cells]
        values = np.array([np.nan if value is None else value for value in parsed], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    return values, [f"column {column!r}, {table.position(kept[i])}: {_reason(cells[i])}" for i in bad]


def _reason(cell: Any) -> str:
    if is_empty(cell):
        return "the cell is empty"
    value = number(cell)
    if value is not None:
        return f"{cell!s} is not a number" if math.isnan(value) else f"{cell!s} is infinite"
    text = str(cell)
    for separator, what in (
        (",", "thousands separators, and write a decimal point"),
        ("_", "underscores"),
        (" ", "spaces"),
    ):
        if number(text.replace(separator, "")) is not None:
            return f"{format_value(text)} is not a number (remove its {what})"
    return f"{format_value(text)} is not a number"


def _negative(table: Table, column: str, kept: Int[np.ndarray, " row"], values: Float[np.ndarray, " row"]) -> list[str]:
    negative = np.flatnonzero((values < 0) & np.isfinite(values))
    return [f"column {column!r}, {table.position(kept[i])}: the weight {values[i]:g} is negative" for i in negative]


def _codes(
    table: Table, column: str, kept: Int[np.ndarray, " row"]
) -> tuple[Int[np.ndarray, " row"], tuple[str, ...], list[str]]:
    """Codes 0, 1, ... of the distinct cells in order of appearance, their labels, and messages for empty cells."""
    labels = [label_of(cell) for cell in table.column(column)[kept]]
    order = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    empty = [i for i, label in enumerate(labels) if label is None]
    complaints = [f"column {column!r}, {table.position(kept[i])}: the cell is empty" for i in empty]
    return np.array([order[label] for label in labels], dtype=np.int64), tuple(map(str, order)), complaints


def refuse_cells(name: str, complaints: Sequence[str], why: str = "", remedy: Sequence[str | Reference] = ()) -> None:
    """Raise an error that names the first three invalid cells, if there are any."""
    if not complaints:
        return
    count = len(complaints)
    more = f"; and {count - 3} more, {count} bad cells in all" if count > 3 else ""
    usual = "correct it or leave its row out with " if count == 1 else "correct them or leave their rows out with "
    raise DataError(f"{name}, {'; '.join(complaints[:3])}{more}{why}; ", *(remedy or (usual, Setting("where"))), ".")
