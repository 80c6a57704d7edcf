"""Look-up of laws, tables, columns and series that options name."""

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
        name: what the person typed.

    Raises:
        ValueError: there is no such law, or its file fails; the message holds file and line.
    """
    file, colon, wanted = name.rpartition(":")
    if not colon and name.endswith(".py"):
        file, wanted = name, ""
    if not file.endswith(".py"):
        return laws.get(name)
    declared = {value.name: value for value in vars(_module(Path(file))).values() if isinstance(value, Law)}
    if not declared:
        raise UsageError(f"{file} declares no law; decorate a function with jaxscale.law.", argument="law")
    if not wanted and len(declared) == 1:
        return next(iter(declared.values()))
    if wanted not in declared:
        what = f"no law {wanted!r}{did_you_mean(wanted, declared)}" if wanted else "several laws"
        raise UsageError(
            f"{file} declares {what}; name one as {file}:{next(iter(declared))} ({', '.join(declared)}).",
            argument="law",
        )
    return declared[wanted]


def tied(law: Law, given: Sequence[str] | None) -> Law:
    """A law in which some parameters equal others: ``["beta=alpha"]``.

    Args:
        law: the law.
        given: a parameter that goes and the one whose value it takes, as often as the person said.

    Raises:
        ValueError: an entry has another shape, or the law has no such parameters.
    """
    from jaxscale.law import algebra

    ties = assignments(given, "tie", "NAME=OTHER")
    try:
        return algebra.tie(law, **ties) if ties else law
    except LawError as error:
        raise ArgumentError("tie", f"{str(error).removeprefix('tie ')}.") from None


def bounded(law: Law, given: Sequence[str] | None) -> Law:
    """A law some of whose parameters lie between bounds: ``["a=0:20", "b=0:"]``.

    Args:
        law: the law.
        given: a parameter with its least and largest value, either of which may be left out; may be repeated.

    Raises:
        ValueError: an entry has another shape, or does not suit the law.
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
    """The laws of the catalogue that have some inputs and belong to a family, sorted by name.

    Args:
        inputs: names that a law must have among its inputs.
        family: what the laws are about; any unless given.

    Raises:
        ValueError: no law has such an input, there is no such family, or no law has both.
    """
    chosen = list(laws.catalogue().values())
    families = sorted({law.family for law in chosen})
    known = {name for law in chosen for name in law.inputs}
    if family is not None and family not in families:
        near = did_you_mean(family, families)
        raise UsageError(
            f"No law is of the family {family!r}{near}; families are {', '.join(families)}.", argument="family"
        )
    for name in inputs:
        if name not in known:
            raise UsageError(f"No law has an input {name!r}{did_you_mean(name, known)}.", argument="inputs")
    found = [law for law in chosen if family in (None, law.family) and set(inputs) <= set(law.inputs)]
    if not found:
        raise UsageError(
            f"No law{f' of the family {family}' if family else ''} has the inputs {', '.join(inputs)}.",
            argument="inputs",
        )
    return found


def _module(path: Path) -> Any:
    """Run a person's file as a module; whatever fails in it is told with its line."""
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
        name: what the person typed.

    Raises:
        DataError: there is neither, or it cannot be read.
    """
    path = Path(name)
    return datasets.load(name) if not path.suffix and not path.exists() else read_table(path)


def columns_of(law: Law, table: Table, given: Mapping[str, str], sources: bool = False) -> dict[str, str]:
    """The column of every input; one that is not given has the input's name.

    Args:
        law: the law.
        table: the table.
        given: input to column, as far as the person said.
        sources: whether inputs without a column are computed from others, such as a schedule.

    Raises:
        ValueError: an input is unknown, or has no column.
    """
    known = [*law.inputs, *(law.sources if sources else ())]
    for name in given:
        if name not in known:
            told = ", ".join(known)
            raise UsageError(
                f"{law.name} has no input {name!r}{did_you_mean(name, known)}; its inputs are {told}.",
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
    """``["schedule=rates.csv:run:lr"]`` as the sequences of an input by label: the values in the file's order.

    Args:
        law: the law.
        given: input, file and the file's columns of labels and of values, as often as the person said.

    Raises:
        ValueError: an entry has another shape, or the law computes nothing from such an input.
        DataError: a file cannot be read, lacks a column, or a cell is empty or no number.
    """
    shape = "INPUT=FILE.csv:LABEL_COLUMN:VALUE_COLUMN"
    found: dict[str, dict[str, np.ndarray]] = {}
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
        # Values are read as a response is, so that a bad cell is told with its column and row.
        read = Observations.from_table(table, inputs={key: parts[2]}, response=parts[2], run=parts[1])
        labels = dict.fromkeys(str(label_of(cell)) for cell in table.column(parts[1]))
        found[key] = {label: read.response[read.run == code] for code, label in enumerate(labels)}
    return found


def response_of(table: Table, given: str | None) -> str:
    """The column of the response: as given, else ``loss``.

    Args:
        table: the table.
        given: what the person said, if anything.

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
