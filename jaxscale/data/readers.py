"""Readers of table files and data frames: CSV, JSON lines, Parquet."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxscale.data.tables import Table, format_value
from jaxscale.utils.errors import DataError


def read_table(source: Any) -> Table:
    """Read a table.

    Args:
        source: path of a CSV, JSONL or Parquet file, a pandas, polars or pyarrow frame, a mapping
            from column name to values, or a :class:`Table` (returned unchanged).

    Returns:
        The table; cells of a CSV file are text.

    Raises:
        DataError: the source cannot be read.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if isinstance(source, Mapping):
        columns = {str(key): _array(str(key), value) for key, value in source.items()}
        return _table("dict", columns, None, _fingerprint(columns))
    columns = _frame_columns(source)
    return _table("data frame", columns, None, _fingerprint(columns))


def _read_file(path: Path) -> Table:
    ending = path.suffix.lower()
    if ending not in READERS:
        raise DataError(f"{path} ends in {ending!r}, which is not a known format; use a file in {_ENDINGS}.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}; check the path.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); check the path and its permissions.") from None
    if not content.strip():
        raise DataError(f"{path.name} is empty; it needs a header and at least one row.")
    columns, rows = READERS[ending](path.name, content)
    return _table(path.name, columns, rows, hashlib.sha256(content).hexdigest())


def _table(
    name: str, columns: Mapping[str, Shaped[np.ndarray, " row"]], rows: Sequence[int] | None, sha256: str
) -> Table:
    if not columns:
        raise DataError(f"{name} has no columns; it needs at least one.")
    lengths = {key: len(column) for key, column in columns.items()}
    first = next(iter(lengths))
    for key, length in lengths.items():
        if length != lengths[first]:
            raise DataError(
                f"{name}: column {key!r} has {length} rows, but column {first!r} has {lengths[first]}; "
                "give columns of equal length."
            )
    if not lengths[first]:
        raise DataError(f"{name} has no rows; it needs at least one besides the header.")
    numbers = np.arange(1, lengths[first] + 1) if rows is None else np.asarray(rows, dtype=int)
    return Table(columns, numbers, name, sha256, "row" if rows is None else "line")


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8 text; save the file as UTF-8."
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{name}, line {line}: there is a NUL byte; save the file as UTF-8 text.")
    return text


def _csv(name: str, content: bytes) -> tuple[dict[str, Shaped[np.ndarray, " row"]], list[int]]:
    reader = csv.reader(io.StringIO(_text(name, content), newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if cells:
                lines.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}, line {start}: {error}; correct the quotes or the commas of this line.") from None
    if not lines:
        raise DataError(f"{name} is empty; it needs a header and at least one row.")
    header = _header(name, lines[0][1])
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{name}, line {line}: {len(cells)} cells under a header of {len(header)}; "
                "add or remove cells, or quote a cell that holds a comma."
            )
    columns = {key: _objects([cells[i] for _, cells in lines[1:]]) for i, key in enumerate(header)}
    return columns, [line for line, _ in lines[1:]]


def _header(name: str, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    for key in header:
        if header.count(key) > 1:
            raise DataError(f"{name}: the header names column {key!r} {header.count(key)} times; rename one.")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise DataError(f"{name}: the header {header[0]!r} has no commas; separate the cells with commas.")
    return header


def _jsonl(name: str, content: bytes) -> tuple[dict[str, Shaped[np.ndarray, " row"]], list[int]]:
    # str.splitlines would also split at separators that JSON allows inside a string.
    lines = [(i, line) for i, line in enumerate(_text(name, content).split("\n"), 1) if line.strip()]
    records = [_record(name, i, line) for i, line in lines]
    keys = dict.fromkeys(key for record in records for key in record)
    columns = {key: _to_array([record.get(key) for record in records]) for key in keys}
    return columns, [i for i, _ in lines]


def _record(name: str, row: int, line: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) != len(pairs):
            raise ValueError("a key appears twice")
        return record

    try:
        record = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f'{name}, line {row}: not a JSON object ({error}); write one object such as {{"loss": 2.5}} a line.'
        ) from None
    if not isinstance(record, dict):
        raise DataError(
            f"{name}, line {row}: {format_value(record)} is not a JSON object; write one such as "
            '{"loss": 2.5} a line.'
        )
    for key, value in record.items():
        if isinstance(value, (dict, list)):
            raise DataError(
                f"{name}, column {key!r}, line {row}: {format_value(value)} is nested; give each value a "
                "column of its own."
            )
    return record


def _parquet(name: str, content: bytes) -> tuple[dict[str, Shaped[np.ndarray, " row"]], None]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{name} needs pyarrow to be read; run pip install 'jaxscale[parquet]'.") from None
    try:
        frame = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise DataError(f"{name} is not a readable Parquet file ({reason}); write it again.") from None
    return _frame_columns(frame), None


def _frame_columns(source: Any) -> dict[str, Shaped[np.ndarray, " row"]]:
    import narwhals

    try:
        frame = narwhals.from_native(source, eager_only=True, pass_through=True)
        if not isinstance(frame, narwhals.DataFrame):
            raise DataError(
                f"A table cannot be read from {type(source).__name__}; give the path of a file in {_ENDINGS}, "
                "a data frame held in memory, or a mapping from column name to values."
            )
        return {
            str(key): _frame_column(series) for key, series in zip(frame.columns, frame.iter_columns(), strict=True)
        }
    except narwhals.exceptions.NarwhalsError as error:
        reason = str(error).split("\n")[0].rstrip(".:")
        raise DataError(f"The data frame cannot be read ({reason}); give its columns distinct names.") from None


def _frame_column(series: Any) -> Shaped[np.ndarray, " row"]:
    if series.dtype.is_float() or (series.dtype.is_integer() and not series.is_null().any()):
        return series.to_numpy()
    pairs = zip(series.to_list(), series.is_null().to_list(), strict=True)
    return _to_array([None if missing else cell for cell, missing in pairs])


def _array(key: str, value: Any) -> np.ndarray:
    if isinstance(value, (str, bytes)):
        raise DataError(f"dict, column {key!r}: {value!r} is not a list of values; give one value a row.")
    # Only the list of a masked array shows which cells are empty.
    masked = isinstance(value, np.ma.MaskedArray)
    try:
        array = np.asarray(value)
        cells = value.tolist() if masked else list(value)
    except (TypeError, ValueError):
        array, cells = np.asarray(0), []
    if array.ndim != 1:
        raise DataError(f"dict, column {key!r}: the values are not one-dimensional; give one value a row.")
    return array if array.dtype.kind in "biuf" and not masked else _to_array(cells)


def _objects(cells: Sequence[Any]) -> Shaped[np.ndarray, " row"]:
    array = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        array[i] = cell
    return array


def _to_array(cells: Sequence[Any]) -> Shaped[np.ndarray, " row"]:
    """Array of numbers if all cells are numbers, else of objects."""
    if all(isinstance(cell, (bool, int, float, np.number, np.bool_)) for cell in cells):
        array = np.asarray(cells)
        if array.dtype.kind in "biuf":
            return array
    return _objects(cells)


def _fingerprint(columns: Mapping[str, Shaped[np.ndarray, " row"]]) -> str:
    digest = hashlib.sha256()
    for key, column in columns.items():
        digest.update(repr((key, len(column))).encode("utf-8", "backslashreplace"))
        if column.dtype.kind in "biuf":
            digest.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
        else:
            digest.update(repr(column.tolist()).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


# From a file's name and content to its columns, and the line of each row where rows have lines; by ending.
READERS = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
ENDINGS = tuple(READERS)
_ENDINGS = " or ".join(", ".join(ENDINGS).rsplit(", ", 1))
