"""Validation of observations against a law: inputs, responses, numbers of rows, units."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from jaxscale.data.observations import Observations, refuse_cells
from jaxscale.law import Input, Law, Support, unit
from jaxscale.utils.errors import DataError, Function, Reference, Setting
from jaxscale.utils.notices import Notice

# Units in which columns often count parameters, tokens and operations, with their conversion factors.
_LARGER_UNITS = {"millions": "1e6", "billions": "1e9"}
_LINEAR = Setting("noise", "squared", (Setting("space", "linear"),))


@runtime_checkable
class ResidualSpace(Protocol):
    """Protocol of a residual space (:class:`jaxscale.noise.Space`), as the check of responses needs it."""

    @property
    def name(self) -> str:
        """Name in messages."""
        ...

    @property
    def support(self) -> Support:
        """Support of the responses that have a residual."""
        ...


def validate(
    law: Law,
    observations: Observations,
    free: Sequence[str],
    space: ResidualSpace,
    linear: Setting = _LINEAR,
) -> list[Notice]:
    """Validate observations against a law: inputs, responses, number of rows, units.

    The residual space determines which responses are valid: positive ones for logarithms, those between 0 and 1 for
    logits, and any for linear residuals.

    Args:
        law: the law to be fitted.
        observations: the data.
        free: names of the parameters that are fitted; the others are fixed.
        space: residual space.
        linear: how the caller selects linear residuals, for messages.

    Returns:
        Notices about data that can be fitted but look suspicious.

    Raises:
        DataError: an input is missing or outside the law's domain, a response has no residual in the space, there are
            fewer rows than free parameters, or the response, or an input that a free parameter belongs to, is
            constant.
    """
    _check_inputs(law, observations)
    _check_response(law, observations, space, linear)
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
            f"map it to a column with ",
            Setting("inputs", {missing[0]: "COLUMN"}),
            ".",
            argument="inputs",
        )
    complaints = []
    for key, entry in law.inputs.items():
        complaints += _outside(observations, key, f"input {key}", observations.inputs[key], entry.low, entry.high)
    refuse_cells(observations.name, complaints, f" for {law.name}")


def _check_response(law: Law, observations: Observations, space: ResidualSpace, linear: Setting) -> None:
    domain, y = space.support, observations.response
    complaints = _outside(observations, "response", "the response", y, domain.low, domain.high)
    # Leaving such rows out would bias the fit: a proportion of 0 or a count of 0 is a valid result.
    they = "it" if len(complaints) == 1 else "them"
    remedy: list[str | Reference] = [f"correct {they}, or use linear residuals (", linear, ")"]
    if np.all((y >= 0) & (y <= 1)):
        counts = Function("fit", (Setting("likelihood", "binomial", (Setting("trials"),)),))
        remedy += [" or, for proportions of counted trials, the likelihood of counts (", counts, ")"]
    refuse_cells(observations.name, complaints, f" for {space.name} residuals of {law.name}", remedy)


def _outside(
    observations: Observations, key: str, what: str, values: Float[np.ndarray, "... row"], low: float, high: float
) -> list[str]:
    """Messages for rows with a value outside an open interval."""
    fine, complaints = (values > low) & (values < high), []
    for i in np.flatnonzero(~np.all(fine.reshape(-1, len(observations)), axis=0)):
        bad = np.atleast_1d(values[..., i])[~np.atleast_1d(fine[..., i])][0]
        side = f"above {low:g}" if not bad > low else f"below {high:g}"
        where = f"column {_column(observations, key)!r} ({what}), {observations.position(i)}"
        complaints.append(f"{where}: {bad:g} must be {side}")
    return complaints


def _constant(values: Float[np.ndarray, "... row"]) -> bool:
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
    # Inputs that no declaration names may be constant here: the design check decides.
    if not unidentified:
        return
    raise DataError(
        f"{observations.name}, column {_column(observations, key)!r}: the input {key} is "
        f"{observations.inputs[key][observations.weight > 0][0]:g} in every row, so the parameters "
        f"{', '.join(unidentified)} cannot be identified; add rows with another {key} or fix what depends on it."
    )


def _duplicates(law: Law, observations: Observations, used: Bool[np.ndarray, " row"]) -> list[Notice]:
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
    return [Notice("duplicate_rows", f"{observations.name}: {message}; remove them unless they are replicates.")]


def _units(law: Law, observations: Observations, used: Bool[np.ndarray, " row"]) -> list[Notice]:
    return [
        Notice("units", _unit_message(observations, key, entry, observations.inputs[key][used]))
        for key, entry in law.inputs.items()
        if used.any() and entry.lower > 0 and observations.inputs[key][used].max() < entry.lower
    ]


def _percents(law: Law, observations: Observations) -> list[Notice]:
    """Notice of responses that look like percentages where the law predicts a fraction."""
    largest = float(observations.response[observations.weight > 0].max())
    if law.response.domain is not unit or not 1.5 < largest <= 100:
        return []
    return [
        Notice(
            "units",
            f"{observations.name}, column {_column(observations, 'response')!r}: {law.name} predicts fractions between "
            f"0 and 1, but the largest is {largest:g}, which looks like percent; divide the column by 100 if so.",
        )
    ]


def _unit_message(observations: Observations, key: str, entry: Input, values: Float[np.ndarray, "... row"]) -> str:
    smallest, largest, (_, high) = float(values.min()), float(values.max()), entry.sizes
    # A unit is plausible if both the smallest and the largest value are then in the range of the law.
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
