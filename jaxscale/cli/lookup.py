"""Lookup of the laws, tables, columns and series named by options."""

import importlib.util
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxscale import laws
from jaxscale.cli.parsing import assignments, number
from jaxscale.data import datasets
from jaxscale.data.observations import Observations
from jaxscale.data.readers import read_table
from jaxscale.data.series import label_of
from jaxscale.data.tables import Table
from jaxscale.law import Law, LawError
from jaxscale.utils.errors import ArgumentError, UsageError, did_you_mean


def find_law(name: str) -> Law:
    """A law of the catalogue, or one from a file: ``my_laws.py:my_law``.

    Args:
        name: name of a law, or file and name.

    Raises:
        ValueError: there is no such law, or its file raises an error, reported with file and line.
    """
    file, colon, law_name = name.rpartition(":")
    if not colon and name.endswith(".py"):
        file, law_name = name, ""
    if not file.endswith(".py"):
        return laws.get(name)
    declared = {value.name: value for value in vars(_module(Path(file))).values() if isinstance(value, Law)}
    if not declared:
        raise UsageError(f"{file} declares no law; decorate a function with jaxscale.law.", argument="law")
    if not law_name and len(declared) == 1:
        return next(iter(declared.values()))
    if law_name not in declared:
        what = f"no law {law_name!r}{did_you_mean(law_name, declared)}" if law_name else "several laws"
        raise UsageError(
            f"{file} declares {what}; name one as {file}:{next(iter(declared))} ({', '.join(declared)}).",
            argument="law",
        )
    return declared[law_name]


def apply_ties(law: Law, given: Sequence[str] | None) -> Law:
    """The law with parameters tied to others: ``["beta=alpha"]``.

    Args:
        law: the law.
        given: values of the option ``--tie``.

    Raises:
        ValueError: an entry is malformed, or the law has no such parameters.
    """
    from jaxscale.law import algebra

    ties = assignments(given, "tie", "NAME=OTHER")
    try:
        return algebra.tie(law, **ties) if ties else law
    except LawError as error:
        raise ArgumentError("tie", f"{str(error).removeprefix('tie ')}.") from None


def apply_bounds(law: Law, given: Sequence[str] | None) -> Law:
    """The law with bounds on parameters: ``["a=0:20", "b=0:"]``.

    Args:
        law: the law.
        given: values of the option ``--bound``; either end may be omitted.

    Raises:
        ValueError: an entry is malformed, or does not suit the law.
    """
    from jaxscale.law import algebra

    shape, ends = "NAME=LOW:HIGH", {}
    for name, text in assignments(given, "bounds", shape).items():
        low, colon, high = text.partition(":")
        if not colon:
            raise ArgumentError("bounds", f"must look like {shape}, but is {name}={text}.")
        ends[name] = (
            number(low, "bounds", f"{name}={text}", shape) if low.strip() else float("-inf"),
            number(high, "bounds", f"{name}={text}", shape) if high.strip() else float("inf"),
        )
    try:
        return algebra.bound(law, **ends) if ends else law
    except LawError as error:
        raise ArgumentError("bounds", f"{str(error).removeprefix('bound ')}.") from None


def find_laws(inputs: Sequence[str], family: str | None) -> list[Law]:
    """The laws of the catalogue with the given inputs and family, sorted by name.

    Args:
        inputs: names of inputs that a law must have.
        family: of the laws; default: any.

    Raises:
        ValueError: no law has such an input, there is no such family, or no law has both.
    """
    catalogue = list(laws.catalogue().values())
    families = sorted({law.family for law in catalogue})
    known = {name for law in catalogue for name in law.inputs}
    if family is not None and family not in families:
        near = did_you_mean(family, families)
        raise UsageError(f"There is no family {family!r}{near}; families are {', '.join(families)}.", argument="family")
    for name in inputs:
        if name not in known:
            raise UsageError(f"No law has an input {name!r}{did_you_mean(name, known)}.", argument="inputs")
    matches = [law for law in catalogue if family in (None, law.family) and set(inputs) <= set(law.inputs)]
    if not matches:
        raise UsageError(
            f"No law{f' of the family {family}' if family else ''} has the inputs {', '.join(inputs)}.",
            argument="inputs",
        )
    return matches


def _module(path: Path) -> Any:
    """Import a user's file as a module; errors are reported with their line."""
    if not path.is_file():
        raise UsageError(f"There is no file {path}; check the path.", argument="law")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be read as Python.", argument="law")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}; correct this line.", argument="law") from None
    except (Exception, SystemExit) as error:
        own = path.resolve()
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == own]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise UsageError(f"{where}: {type(error).__name__}: {error}", argument="law") from None
    return module


def find_table(name: str) -> Table:
    """A table from a file, or a public data set where no such file exists.

    Args:
        name: path of a file, or name of a data set.

    Raises:
        DataError: there is neither, or it cannot be read.
    """
    path = Path(name)
    return datasets.load(name) if not path.suffix and not path.exists() else read_table(path)


def columns_of(law: Law, table: Table, given: Mapping[str, str], sources: bool = False) -> dict[str, str]:
    """The column of every input; default: the column of the same name.

    Args:
        law: the law.
        table: the table.
        given: input to column, where specified.
        sources: whether inputs without a column are computed from others, such as a schedule.

    Raises:
        ValueError: an input is unknown, or has no column.
    """
    known = [*law.inputs, *(law.sources if sources else ())]
    for name in given:
        if name not in known:
            names = ", ".join(known)
            raise UsageError(
                f"{law.name} has no input {name!r}{did_you_mean(name, known)}; its inputs are {names}.",
                argument="inputs",
            )
    there = [name for name in law.inputs if name in given or name in table.columns]
    needed = dict.fromkeys([*there, *law.sources]) if sources else law.inputs
    for name in needed:
        if name not in given and name not in table.columns:
            shown = ", ".join(list(table.columns)[:12]) + (", ..." if len(table.columns) > 12 else "")
            raise UsageError(
                f"{law.name} needs the input {name}, and {table.name} has no column of that name; "
                f"name its column with --input {name}=COLUMN (columns are {shown}).",
                argument="inputs",
            )
    return {name: given.get(name, name) for name in needed}


def series_of(law: Law, given: Sequence[str] | None) -> dict[str, dict[str, np.ndarray]]:
    """Sequences of an input by label, from ``["schedule=rates.csv:run:lr"]``, in the order of the file.

    Args:
        law: the law.
        given: values of the option ``--series``: input, file, and its columns of labels and of values.

    Raises:
        ValueError: an entry is malformed, or the law does not use such an input.
        DataError: a file cannot be read, lacks a column, or a cell is empty or not a number.
    """
    shape = "INPUT=FILE.csv:LABEL_COLUMN:VALUE_COLUMN"
    series: dict[str, dict[str, np.ndarray]] = {}
    for key, entry in assignments(given, "series", shape).items():
        if key not in law.sources:
            takes = f"it takes {', '.join(law.sources)}" if law.sources else "it takes none; leave out --series"
            raise UsageError(
                f"{law.name} takes no series {key!r}{did_you_mean(key, law.sources)}; {takes}.", argument="series"
            )
        parts = [part.strip() for part in entry.rsplit(":", 2)]
        if len(parts) != 3 or not all(parts):
            raise ArgumentError("series", f"must look like {shape}, but is {f'{key}={entry}'!r}.")
        table = find_table(parts[0])
        # Values are read as a response, so that an invalid cell is reported with its column and row.
        read = Observations.from_table(table, inputs={key: parts[2]}, response=parts[2], run=parts[1])
        labels = dict.fromkeys(str(label_of(cell)) for cell in table.column(parts[1]))
        series[key] = {label: read.response[read.run == code] for code, label in enumerate(labels)}
    return series


def response_of(table: Table, given: str | None) -> str:
    """The column of the response; default: ``loss``.

    Args:
        table: the table.
        given: value of the option ``--response``.

    Raises:
        ValueError: nothing was given and there is no column ``loss``.
    """
    if given is None and "loss" not in table.columns:
        shown = ", ".join(list(table.columns)[:12]) + (", ..." if len(table.columns) > 12 else "")
        raise UsageError(
            f"{table.name} has no column 'loss'; name the response with --response (columns are {shown}).",
            argument="response",
        )
    return given or "loss"
