"""Parsing of option values, and checks of output paths."""

import csv
import io
import os
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxscale.utils import compilation_cache
from jaxscale.utils.errors import ArgumentError, did_you_mean


def assignments(given: Sequence[str] | None, argument: str, shape: str) -> dict[str, str]:
    """Parse ``["N=params"]`` into ``{"N": "params"}``.

    Args:
        given: values of a repeatable option.
        argument: its name in the library.
        shape: the expected form, for messages.

    Raises:
        ValueError: an entry is malformed, or a name occurs twice.
    """
    values: dict[str, str] = {}
    for entry in given or ():
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (name and equals and value):
            raise ArgumentError(argument, f"must look like {shape}, but is {entry!r}.")
        if name in values:
            raise ArgumentError(argument, f"gives {name} twice; give it once.")
        values[name] = value
    return values


def numbers(given: Sequence[str] | None, argument: str) -> dict[str, float]:
    """Parse ``["A=400"]`` into ``{"A": 400.0}``.

    Args:
        given: values of a repeatable option.
        argument: its name in the library.

    Raises:
        ValueError: an entry is malformed, or its value is not a number.
    """
    return {
        name: number(value, argument, f"{name}={value}", "NAME=NUMBER")
        for name, value in assignments(given, argument, "NAME=NUMBER").items()
    }


def lists(given: Sequence[str] | None, argument: str) -> dict[str, list[float]]:
    """Parse ``["N=7e10,4e11"]`` into ``{"N": [7e10, 4e11]}``; arguments and errors in :func:`numbers`."""
    shape = "NAME=NUMBER or NAME=NUMBER,NUMBER"
    return {
        name: [number(each, argument, f"{name}={text}", shape) for each in text.split(",")]
        for name, text in assignments(given, argument, shape).items()
    }


def axis(given: str, argument: str) -> tuple[float, float, int]:
    """Parse ``"1e7:1e9:5"`` into ``(1e7, 1e9, 5)``.

    Args:
        given: lowest value, highest value and count.
        argument: the option's name in the library.

    Raises:
        ValueError: it is malformed.
    """
    shape = "LOWEST:HIGHEST:COUNT"
    parts = given.split(":")
    if len(parts) != 3:
        raise ArgumentError(argument, f"must look like {shape}, but is {given!r}.")
    low, high, count = (number(part, argument, given, shape) for part in parts)
    if count != round(count) or not 1 <= count <= 1e6:
        raise ArgumentError(argument, f"must end in a count from 1 to 1000000, but is {given!r}.")
    return low, high, int(count)


def number(value: str, argument: str, given: str, shape: str) -> float:
    """Parse one number of an option."""
    try:
        return float(value)
    except ValueError:
        raise ArgumentError(argument, f"must look like {shape}, but is {given!r}.") from None


def check_outputs(*paths: Path | None, read: str | None = None) -> None:
    """Validate output paths before any work.

    Args:
        *paths: output paths; None is ignored.
        read: an input path, which must not be overwritten.

    Raises:
        ValueError: a folder is missing or not writable, a path is a folder, or two paths are the same file.
    """
    seen = set()
    for path in (path for path in paths if path is not None):
        folder = path.parent
        if not folder.is_dir():
            raise ValueError(f"{path} cannot be written: there is no folder {folder}; create it first.")
        if not os.access(folder, os.W_OK):
            raise ValueError(f"{path} cannot be written: {folder} is not writable; choose another folder.")
        if path.is_dir():
            raise ValueError(f"{path} cannot be written: it is a folder; give the path of a file.")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} cannot be written: it is not a regular file; give the path of one.")
        if read is not None and path.resolve() == Path(read).resolve():
            raise ValueError(f"{path} cannot be written: it is the input table; give another path.")
        if path.resolve() in seen:
            raise ValueError(f"{path} is given twice; give every file its own path.")
        seen.add(path.resolve())
        try:
            # Only creating a file shows that it can be written: the disk may be full.
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}."):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"{path} cannot be written in {folder} ({reason}); choose another folder.") from None


def csv_text(columns: Mapping[str, Any]) -> str:
    """Columns as CSV text; numbers round-trip bit for bit.

    Args:
        columns: name to values, equally long.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return buffer.getvalue()


def enable_compilation_cache() -> None:
    """Enable the persistent compilation cache, or report on standard error why it is not available."""
    try:
        compilation_cache.configure()
    except OSError as error:
        print(f"jaxscale: {error}", file=sys.stderr)


def one_of(argument: str, given: str, known: Collection[str]) -> str:
    """The value of an option, if it is one of the known ones.

    Raises:
        ValueError: it is not.
    """
    if given not in known:
        raise ArgumentError(
            argument, f"must be one of {', '.join(known)}, but is {given!r}{did_you_mean(given, known)}."
        )
    return given
