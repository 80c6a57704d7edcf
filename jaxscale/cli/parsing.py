"""Console: what the commands share, from arguments to files that are written all or none."""

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
    """``["N=params"]`` as ``{"N": "params"}``.

    Args:
        given: what an option that may be repeated was given.
        argument: its name in the library.
        shape: what it should look like, for messages.

    Raises:
        ValueError: an entry has another shape, or names something twice.
    """
    found: dict[str, str] = {}
    for entry in given or ():
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (name and equals and value):
            raise ArgumentError(argument, f"must look like {shape}, but is {entry!r}.")
        if name in found:
            raise ArgumentError(argument, f"gives {name} twice; give it once.")
        found[name] = value
    return found


def numbers(given: Sequence[str] | None, argument: str) -> dict[str, float]:
    """``["A=400"]`` as ``{"A": 400.0}``.

    Args:
        given: what an option that may be repeated was given.
        argument: its name in the library.

    Raises:
        ValueError: an entry has another shape, or its value is no number.
    """
    return {
        name: number(value, argument, f"{name}={value}", "NAME=NUMBER")
        for name, value in assignments(given, argument, "NAME=NUMBER").items()
    }


def lists(given: Sequence[str] | None, argument: str) -> dict[str, list[float]]:
    """``["N=7e10,4e11"]`` as ``{"N": [7e10, 4e11]}``; arguments and errors as of :func:`numbers`."""
    shape = "NAME=NUMBER or NAME=NUMBER,NUMBER"
    return {
        name: [number(each, argument, f"{name}={text}", shape) for each in text.split(",")]
        for name, text in assignments(given, argument, shape).items()
    }


def axis(given: str, argument: str) -> tuple[float, float, int]:
    """``"1e7:1e9:5"`` as ``(1e7, 1e9, 5)``.

    Args:
        given: lowest value, highest value and count.
        argument: the option's name in the library.

    Raises:
        ValueError: it has another shape.
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
    """One number of an option."""
    try:
        return float(value)
    except ValueError:
        raise ArgumentError(argument, f"must look like {shape}, but is {given!r}.") from None


def check_outputs(*paths: Path | None, read: str | None = None) -> None:
    """Refuse, before any work, a path that could not be written after it.

    Args:
        *paths: where results shall go; None where they shall not.
        read: a path that is read and must not be overwritten.

    Raises:
        ValueError: a folder is missing or locked, a path is a folder, or two paths are one file.
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
            raise ValueError(f"{path} cannot be written: it is no ordinary file; give the path of one.")
        if read is not None and path.resolve() == Path(read).resolve():
            raise ValueError(f"{path} cannot be written: it is the table that is read; give another path.")
        if path.resolve() in seen:
            raise ValueError(f"{path} is named twice; give every file a path of its own.")
        seen.add(path.resolve())
        try:
            # Only a file that was made shows that one can be: folders may be full, or no place for files at all.
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}."):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"{path} cannot be written: {folder} takes no file ({reason}); choose another.") from None


def csv_text(columns: Mapping[str, Any]) -> str:
    """Columns as CSV; numbers are written so that they are read back bit for bit.

    Args:
        columns: name to values, equally long.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return buffer.getvalue()


def enable_compilation_cache() -> None:
    """Keep compiled programs for the next command, or say on standard error why that cannot be."""
    try:
        compilation_cache.configure()
    except OSError as error:
        print(f"jaxscale: {error}", file=sys.stderr)


def one_of(argument: str, given: str, known: Collection[str]) -> str:
    """What an option was given, where that is known.

    Raises:
        ValueError: it is not.
    """
    if given not in known:
        raise ArgumentError(
            argument, f"must be one of {', '.join(known)}, but is {given!r}{did_you_mean(given, known)}."
        )
    return given
