"""Observations: a table's columns as validated float64 arrays, ready for a fit.

Everything here is NumPy; a bad cell is refused with its column, its row as the person sees it, its
value and what to do about it. :func:`checked` adds what only a law can know.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from jaxscale.data import filters
from jaxscale.data.series import known_series, label_of, places
from jaxscale.data.tables import Table, is_empty, number, read_table, shown
from jaxscale.law import Input, Law, unit
from jaxscale.noise.losses import SPACES, Space, default
from jaxscale.utils.errors import DataError
from jaxscale.utils.notices import Notice
from jaxscale.utils.padding import widened

# Units in which columns often count parameters, tokens and operations, and what makes single ones of them.
_LARGER_UNITS = {"millions": "1e6", "billions": "1e9"}


class Observations(eqx.Module):
    """What was measured: inputs, response and weight, one entry a row.

    Args:
        inputs: the law's inputs by name, shape (n,), or (several, n) where a row holds several numbers.
        response: what the law predicts, shape (n,).
        weight: multiplies the loss of its row, shape (n,); 0 leaves the row out.
        run: codes 0..R-1 of the run a row belongs to, or None.
        group: codes 0..G-1 of the group a row belongs to, or None.
        sigma: known standard errors of the responses, in their unit, shape (n,), or None.
        series: what is long and shared by many rows, such as the learning rates of a run: stored once for each
            run, while the input of that name holds the place in this list, shape (n,).
        columns: (input name or "response", column name) pairs, for messages.
        rows: numbers of the rows in the table, as ``row_unit`` counts them.
        rows_read: rows of the table before filtering.
        name: what messages call the table.
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

    def __len__(self) -> int:
        """The number of rows, padding included."""
        return len(self.response)

    def position(self, index: int | np.integer) -> str:
        """Where a row stands in its table, as messages say it: "line 7" of a text file, "row 6" of a data frame."""
        return f"{self.row_unit} {self.rows[index] if self.rows else index + 1}"

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
        """Read the columns that are used, in the rows that are kept.

        Args:
            source: anything :func:`jaxscale.data.tables.read_table` reads.
            inputs: law input to column, or a list of columns named like the inputs.
            response: column of the response.
            where: which rows to keep, such as ``"params > 1e8 and split == 'train'"``.
            weight: column of weights; all 1 unless given.
            run: column that names the run of a row.
            group: column that names the group of a row.
            sigma: column of known standard errors of the responses, in their unit.
            series: input to the sequences that its column names, such as
                ``dict(schedule={"cosine": rates, "constant": others})`` with one learning rate a step.

        Returns:
            The observations, in float64.

        Raises:
            DataError: a column is missing, a cell that is used is no finite number, a weight is
                negative, all weights are zero, no row is left, or a series is missing or no sequence of numbers.
        """
        table = read_table(source)
        named = _named(inputs)
        kept = np.flatnonzero(filters.where(where, table)) if where is not None else np.arange(len(table))
        wanted = {**named, "response": response, **({"weight": weight} if weight is not None else {})}
        if sigma is not None:
            wanted["sigma"] = sigma
        numbers: dict[str, np.ndarray] = {}
        complaints: list[str] = []
        known = known_series(series or {}, named)
        stored: dict[str, tuple[np.ndarray, ...]] = {}
        for key, column in wanted.items():
            if key in known:
                numbers[key], stored[key], found = places(table, column, kept, known[key])
            else:
                numbers[key], found = _numbers(table, column, kept)
            complaints += found
        if weight is not None:
            complaints += _negative(table, weight, kept, numbers["weight"])
        if sigma is not None:
            errors = numbers["sigma"]
            complaints += [
                f"column {sigma!r}, {table.position(kept[i])}: the standard error {errors[i]:g} is not positive"
                for i in np.flatnonzero(errors <= 0)
            ]
        codes = {}
        for key, column in (("run", run), ("group", group)):
            codes[key], found = _codes(table, column, kept) if column is not None else (None, [])
            complaints += found
        _refuse(table.name, complaints)
        if weight is not None and not numbers["weight"].any():
            raise DataError(f"{table.name}, column {weight!r}: all weights are zero; give some row a positive weight.")
        return cls(
            inputs={key: numbers[key] for key in named},
            response=numbers["response"],
            weight=numbers.get("weight", np.ones(len(kept))),
            run=codes["run"],
            group=codes["group"],
            sigma=numbers.get("sigma"),
            series=stored,
            columns=(*named.items(), ("response", response)),
            rows=tuple(table.rows[kept].tolist()),
            rows_read=len(table),
            name=table.name,
            sha256=table.sha256,
            row_unit=table.row_unit,
        )


def _named(inputs: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif isinstance(inputs, str):
        raise DataError(
            f"Argument inputs must be a mapping or a list of columns, but is {inputs!r}; write [{inputs!r}]."
        )
    else:
        named = {key: key for key in inputs}
    if not named:
        raise DataError("Argument inputs is empty; map at least one input of the law to a column.")
    for key in ("response", "weight", "sigma"):
        if key in named:
            raise DataError(f"Argument inputs names an input {key!r}, which is reserved; give the input another name.")
    return named


def _numbers(table: Table, column: str, kept: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The kept cells as float64, with one complaint for each cell that is no finite number."""
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
            return f"{shown(text)} is not a number (remove its {what})"
    return f"{shown(text)} is not a number"


def _negative(table: Table, column: str, kept: np.ndarray, values: np.ndarray) -> list[str]:
    negative = np.flatnonzero((values < 0) & np.isfinite(values))
    return [f"column {column!r}, {table.position(kept[i])}: the weight {values[i]:g} is negative" for i in negative]


def _codes(table: Table, column: str, kept: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Codes 0, 1, ... of the distinct cells in order of appearance."""
    labels = [label_of(cell) for cell in table.column(column)[kept]]
    order = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    empty = [i for i, label in enumerate(labels) if label is None]
    complaints = [f"column {column!r}, {table.position(kept[i])}: the cell is empty" for i in empty]
    return np.array([order[label] for label in labels], dtype=np.int64), complaints


def _refuse(name: str, complaints: Sequence[str], why: str = "", cure: str = "") -> None:
    if not complaints:
        return
    count = len(complaints)
    more = f"; and {count - 3} more, {count} bad cells in all" if count > 3 else ""
    usual = "correct it or leave its row out" if count == 1 else "correct them or leave their rows out"
    raise DataError(f"{name}, {'; '.join(complaints[:3])}{more}{why}; {cure or f'{usual} with where'}.")


def checked(
    law: Law,
    observations: Observations,
    free: Sequence[str],
    space: Space | None = None,
    linear: str = "noise=squared('linear')",
) -> list[Notice]:
    """Check what only a law can know about its observations.

    The space of the residuals decides which responses can be used: logarithms need positive ones, logits those
    between 0 and 1, and linear residuals take any.

    Args:
        law: the law to be fitted.
        observations: the data.
        free: names of the parameters that are fitted; the others are fixed.
        space: where residuals are taken; that of the law's response unless given.
        linear: how the caller is asked for linear residuals, for messages.

    Returns:
        Notices about data that can be fitted but look odd.

    Raises:
        DataError: an input is missing or outside the law's domain, a response has no residual in the space, there are
            fewer rows than free parameters, or the response, or an input that a free parameter belongs to, never
            varies.
    """
    _check_inputs(law, observations)
    _check_response(law, observations, space or default(law.response).space, linear)
    used = observations.weight > 0
    count = int(used.sum())
    if count < len(free):
        raise DataError(
            f"{observations.name} has {count} rows with positive weight, but {law.name} has {len(free)} free "
            f"parameters ({', '.join(free)}); add rows or fix parameters."
        )
    for key in law.inputs:
        values = observations.inputs[key]
        if free and values.ndim == 1 and _constant(values[used]):
            _refuse_constant(law, observations, key, free)
    if free and _constant(observations.response[used]):
        raise DataError(
            f"{observations.name}, column {_column(observations, 'response')!r}: the response is "
            f"{observations.response[used][0]:g} in every row, so no parameter can be identified; add rows that differ."
        )
    return [*_duplicates(law, observations, used), *_units(law, observations, used), *_percents(law, observations)]


def _column(observations: Observations, key: str) -> str:
    return dict(observations.columns).get(key, key)


def _check_inputs(law: Law, observations: Observations) -> None:
    missing = [key for key in law.inputs if key not in observations.inputs]
    if missing:
        given = ", ".join(observations.inputs)
        raise DataError(
            f"{observations.name}: {law.name} needs the input {missing[0]!r}, but only {given} is given; "
            f"map it to a column with inputs={{{missing[0]!r}: column}}."
        )
    complaints = []
    for key, entry in law.inputs.items():
        complaints += _outside(observations, key, f"input {key}", observations.inputs[key], entry.low, entry.high)
    _refuse(observations.name, complaints, f" for {law.name}")


def _check_response(law: Law, observations: Observations, space: Space, linear: str) -> None:
    domain, y = SPACES[space][0], observations.response
    complaints = _outside(observations, "response", "the response", y, domain.low, domain.high)
    # Leaving such rows out would bias the fit: a share of 0 or a count of 0 is a result like any other.
    cure = f"correct {'it' if len(complaints) == 1 else 'them'}, or take linear residuals ({linear})"
    if np.all((y >= 0) & (y <= 1)):
        cure += " or, for shares of counted trials, the likelihood of counts (likelihoods.binomial)"
    _refuse(observations.name, complaints, f" for {space} residuals of {law.name}", cure)


def _outside(observations: Observations, key: str, what: str, values: np.ndarray, low: float, high: float) -> list[str]:
    """One complaint for each row that holds a value outside an open interval."""
    fine, complaints = (values > low) & (values < high), []
    for i in np.flatnonzero(~np.all(fine.reshape(-1, len(observations)), axis=0)):
        bad = np.atleast_1d(values[..., i])[~np.atleast_1d(fine[..., i])][0]
        side = f"above {low:g}" if not bad > low else f"below {high:g}"
        where = f"column {_column(observations, key)!r} ({what}), {observations.position(i)}"
        complaints.append(f"{where}: {bad:g} must be {side}")
    return complaints


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max()) if len(values) else True


def _refuse_constant(law: Law, observations: Observations, key: str, free: Sequence[str]) -> None:
    declared: dict[str, None] = {}
    for name, parameter in law.parameters.items():
        if parameter.input == key:
            declared[name] = None
        for named, power in parameter.powers:
            if named == key:
                declared |= {name: None, power.removeprefix("-"): None}
    unidentified = [name for name in declared if name in free]
    # Whether an input that no declaration names may stay constant is for the design check to say.
    if not unidentified:
        return
    raise DataError(
        f"{observations.name}, column {_column(observations, key)!r}: the input {key} is "
        f"{observations.inputs[key][observations.weight > 0][0]:g} in every row, so the parameters "
        f"{', '.join(unidentified)} cannot be identified; add rows with another {key} or fix what depends on it."
    )


def _duplicates(law: Law, observations: Observations, used: np.ndarray) -> list[Notice]:
    values = np.vstack([*(observations.inputs[key] for key in law.inputs), observations.response]).T
    seen: set[bytes] = set()
    copies = []
    for i in np.flatnonzero(used):
        entry = values[i].tobytes()
        if entry in seen:
            copies.append(observations.rows[i] if observations.rows else int(i) + 1)
        seen.add(entry)
    if not copies:
        return []
    first = ", ".join(map(str, copies[:3])) + (", ..." if len(copies) > 3 else "")
    verb = "row repeats" if len(copies) == 1 else "rows repeat"
    where = observations.row_unit + ("" if len(copies) == 1 else "s")
    message = f"{len(copies)} {verb} the inputs and the response of an earlier one ({where} {first})"
    return [Notice("duplicate_rows", f"{observations.name}: {message}; remove them unless they were measured anew.")]


def _units(law: Law, observations: Observations, used: np.ndarray) -> list[Notice]:
    return [
        Notice("units", _unit_message(observations, key, entry, observations.inputs[key][used]))
        for key, entry in law.inputs.items()
        if used.any() and entry.lower > 0 and observations.inputs[key][used].max() < entry.lower
    ]


def _percents(law: Law, observations: Observations) -> list[Notice]:
    """A notice where responses of a law that predicts shares look like percents."""
    largest = float(observations.response[observations.weight > 0].max())
    if law.response.domain is not unit or not 1.5 < largest <= 100:
        return []
    return [
        Notice(
            "units",
            f"{observations.name}, column {_column(observations, 'response')!r}: {law.name} predicts shares between 0 "
            f"and 1, but the largest is {largest:g}, which looks like percent; divide the column by 100 if so.",
        )
    ]


def _unit_message(observations: Observations, key: str, entry: Input, values: np.ndarray) -> str:
    smallest, largest, (_, high) = float(values.min()), float(values.max()), entry.sizes
    # A column counts in a unit that puts both its smallest and its largest value where the law is used.
    fitting = [
        (word, factor)
        for word, factor in _LARGER_UNITS.items()
        if smallest * float(factor) >= entry.lower and largest * float(factor) <= high
    ]
    words, factors = " or ".join(word for word, _ in fitting), " or ".join(factor for _, factor in fitting)
    likely = f", which looks like {words}; multiply the column by {factors} if so" if fitting else "; check its unit"
    return (
        f"{observations.name}, column {_column(observations, key)!r}: all values of {key} are below "
        f"{entry.lower:g} {entry.unit} (the largest is {largest:g}){likely}."
    )


def padded(observations: Observations, size: int) -> Observations:
    """Pad to ``size`` rows by repeating the first row with weight 0.

    Args:
        observations: n rows.
        size: at least n.

    Returns:
        The same observations in arrays of length ``size``; every weighted sum stays what it was.

    Raises:
        ValueError: ``size`` is below the number of rows.
    """
    extra = size - len(observations)
    if extra < 0:
        raise ValueError(f"Argument size must be at least the number of rows {len(observations)}, but is {size}.")

    def maybe(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else widened(values, size)

    return dataclasses.replace(
        observations,
        inputs={key: widened(values, size) for key, values in observations.inputs.items()},
        response=widened(observations.response, size),
        weight=np.concatenate([observations.weight, np.zeros(extra)]),
        run=maybe(observations.run),
        group=maybe(observations.group),
        sigma=maybe(observations.sigma),
        rows=observations.rows + observations.rows[:1] * extra,
    )
