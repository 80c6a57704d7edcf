"""Design check: identifiability of the parameters from the inputs alone, before a fit.

The slopes of the law at plausible parameters, in its residual space, give the expected standard
errors at a stated noise level (the square root of the diagonal of the inverse Fisher information).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Real, Shaped

from jaxscale.engine.starts import hypercube
from jaxscale.identification.augment import suggest_runs
from jaxscale.identification.fisher_information import (
    RANK,
    Information,
    NotFiniteError,
    compute_information,
    excess,
    pairs,
    spectrum,
)
from jaxscale.identification.messages import design_message, format_input
from jaxscale.law import Law, positive, unit
from jaxscale.law.coordinates import Centre, centre_of, draw, from_params, to_params
from jaxscale.law.derivatives import check_traceable
from jaxscale.law.fixed_values import describe_invalid
from jaxscale.laws import resolve
from jaxscale.noise import default
from jaxscale.utils.arrays import Array, Number, Numbers, Value
from jaxscale.utils.errors import ArgumentError, did_you_mean

_DRAWN_SETS = 16
# Quantiles of a start's range that are used as parameter sets: terms of relevant size, exponents that are neither zero
# nor steep, and the middle half of all others.
_PLAUSIBLE = {"amplitude": (0.75, 0.95), "scale": (0.75, 0.95), "exponent": (0.5, 0.8)}
# Factor by which the check of a fit relaxes the limits of the check of a design: an exponent may have a standard error
# of 2, a floor one as large as the smallest response.
SLACK = 8.0
# Relative size above which components of the weakest direction are named.
_NAMED = 0.3


@dataclass(frozen=True)
class DesignCheck:
    """Result of a design check; print it for a report.

    Args:
        law: the law.
        rows: number of rows with positive weight.
        noise_level: assumed relative standard deviation of the noise.
        condition: condition number of the column-scaled Jacobian.
        stderr: expected standard error of every free parameter, infinite if the rows do not determine it.
        verdict: "identified" or "not identified".
        parameters: names of the parameters that are not identified.
        confounded: groups of parameters that trade off against each other.
        suggested_runs: runs to add (input name to value, a group by its label); empty if every parameter is identified.
        message: the verdict, its reasons and a remedy as text.
    """

    law: Law
    rows: int
    noise_level: float
    condition: float
    stderr: dict[str, float]
    verdict: Literal["identified", "not identified"]
    parameters: tuple[str, ...]
    confounded: tuple[tuple[str, ...], ...]
    suggested_runs: list[dict[str, Any]]
    message: str

    @property
    def ok(self) -> bool:
        """Whether the design identifies every parameter."""
        return self.verdict == "identified"

    def to_dict(self) -> dict[str, Any]:
        """The check as plain numbers, strings and lists."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"law": str(self.law)}

    def __str__(self) -> str:
        """The report, as plain text."""
        lines = [f"Design check of {self.law}: {self.verdict}"]
        lines.append(f"{self.rows} rows, noise {100 * self.noise_level:g} %, condition number {self.condition:.3g}")
        wide = max(len("parameter"), *map(len, self.stderr))
        lines += ["", f"{'parameter':{wide}}  {'expected stderr':>15}  verdict"]
        for name, value in self.stderr.items():
            verdict = "not identified" if name in self.parameters else "identified"
            lines.append(f"{name:{wide}}  {value:>15.4g}  {verdict}")
        if self.suggested_runs:
            inputs = list(self.suggested_runs[0])
            lines += ["", "Runs to add:", "  ".join(f"{name:>12}" for name in inputs)]
            lines += ["  ".join(f"{format_input(run[name]):>12}" for name in inputs) for run in self.suggested_runs]
        return "\n".join([*lines, "", self.message])


def check(
    law: Law | str,
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    *,
    fixed: Mapping[str, float] | None = None,
    noise_level: float = 0.005,
    weight: Real[Array, " row"] | Sequence[Number] | None = None,
    params: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
) -> DesignCheck:
    """Check from the inputs alone whether a design identifies the parameters of a law.

    ``stderr = sqrt(diag((J^T J)^-1))`` with ``J`` the slopes of ``t(law)`` over the expected noise.

    A parameter is not identified if it is an exponent with an expected standard error above 0.25, or a floor with
    one above an eighth of the smallest expected response, if the rows do not determine it at all, or if it belongs
    to terms of two collinear inputs (log-correlation above 0.999), which only curvature could separate.

    Args:
        law: the law to be fitted, or its name in the catalogue.
        inputs: name to array of shape (n,), or (several, n) where a row holds several numbers; raw units.
        fixed: values of parameters that will not be fitted.
        noise_level: expected relative standard deviation of the noise.
        weight: shape (n,); rows of weight 0 are ignored. All 1 by default.
        params: one or several parameter sets at which to compute the information. By default the published ones or,
            if the law has none or an input seems to be in another unit, plausible ones. Several sets are combined by
            the median.

    Returns:
        The check, in float64.

    Raises:
        LawError: the law raises an error; the message gives the line.
        ValueError: an argument is wrong, or the law has no finite slope at any parameter set.
    """
    law = resolve(law)
    return _check(law, inputs, fixed, noise_level, weight, params, published=True)


def check_in_any_unit(
    law: Law,
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    fixed: Mapping[str, float],
    noise_level: float,
    weight: Real[Array, " row"] | Sequence[Number] | None,
) -> DesignCheck | None:
    """Design check before a fit, at plausible parameters for inputs in any unit.

    Args:
        law: the law to be fitted, or its name in the catalogue.
        inputs: name to array of shape (n,), or (several, n).
        fixed: values of parameters that will not be fitted.
        noise_level: expected relative standard deviation of the noise.
        weight: shape (n,).

    Returns:
        The check; None if the law has no finite value and slope at any of the parameter sets.
    """
    try:
        return _check(law, inputs, fixed, noise_level, weight, None, published=False)
    except NotFiniteError:
        return None


def check_at(
    law: Law,
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    fixed: Mapping[str, float],
    weight: Float[np.ndarray, " row"],
    params: Mapping[str, float],
    prediction: Float[np.ndarray, " row"],
    response: Float[np.ndarray, " row"],
    noise_level: float,
) -> DesignCheck | None:
    """Design check of a fit, at the fitted parameters and the observed scatter.

    Args:
        law: the law that was fitted.
        inputs: name to array of shape (n,), or (several, n).
        fixed: values of parameters that were not fitted.
        weight: shape (n,).
        params: every parameter.
        prediction: shape (n,).
        response: shape (n,).
        noise_level: noise level to assume without residual degrees of freedom.

    Returns:
        The check; None if the law has no finite slope at the parameters.
    """
    used = weight > 0
    spare = int(used.sum()) - (len(law.parameters) - len(fixed))
    if spare > 0:
        size = np.abs(prediction[used])
        relative = default(law.response).space.relative
        share = (response - prediction)[used] / (size if relative else max(float(np.median(size)), 1e-300))
        noise_level = max(float(np.sqrt(np.sum(share**2) / spare)), 1e-12)
    try:
        # Passed as sets, since a parameter at a bound is outside its open support.
        sets = {name: np.array([float(params[name])]) for name in law.parameters}
        return _check(law, inputs, fixed, noise_level, weight, None, published=False, sets=sets, slack=SLACK)
    except NotFiniteError:
        return None


def _check(
    law: Law,
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    fixed: Mapping[str, float] | None,
    noise_level: float,
    weight: Real[Array, " row"] | Sequence[Number] | None,
    params: Mapping[str, float] | Sequence[Mapping[str, float]] | None,
    published: bool,
    sets: dict[str, Real[np.ndarray, " set"]] | None = None,
    slack: float = 1.0,
) -> DesignCheck:
    columns, weights = _columns(law, inputs, weight)
    if not 0 < noise_level < np.inf:
        raise ArgumentError("noise_level", f"must be positive and finite, but is {noise_level!r}.")
    values = _check_values(law, "fixed", fixed or {})
    free = tuple(name for name in law.parameters if name not in values)
    if not law.parameters:
        raise ValueError(f"{law.name} has no parameters, so there is nothing to identify.")
    if not free:
        raise ArgumentError("fixed", f"must leave a parameter free, but fixes all of {', '.join(values)}.")
    check_traceable(law, columns)
    with np.errstate(all="ignore"):
        if params is not None:
            sets = _stack_params(law, params, values)
        sets = sets or _default_sets(law, columns, values, published)
        return _assess(compute_information(law, free, columns, weights, sets, noise_level), slack)


def _columns(
    law: Law,
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    weight: Real[Array, " row"] | Sequence[Number] | None,
) -> tuple[dict[str, Float[np.ndarray, "... used"]], Float[np.ndarray, " used"]]:
    """Validated inputs and weights of the rows with positive weight."""
    for name in law.inputs:
        if name not in inputs:
            raise ValueError(f"Law {law.name} needs the input {name}; its inputs are {', '.join(law.inputs)}.")
    columns = {name: np.asarray(inputs[name], float) for name in law.inputs}
    shapes = {name: column.shape for name, column in columns.items()}
    lengths = {shape[-1:] for shape in shapes.values()}
    if len(lengths) > 1 or () in lengths:
        raise ValueError(f"Inputs of {law.name} must be columns of one length, but have shapes {shapes}.")
    n = next(iter(columns.values())).shape[-1]
    weights = np.ones(n) if weight is None else np.asarray(weight, float)
    if weights.shape != (n,) or not np.all((weights >= 0) & np.isfinite(weights)):
        raise ArgumentError("weight", f"must hold a finite number of at least 0 for each of the {n} rows.")
    used = weights > 0
    if not used.any():
        raise ArgumentError("inputs", "must hold at least one row with positive weight, but holds none.")
    columns = {name: column[..., used] for name, column in columns.items()}
    for name, column in columns.items():
        low, high = law.inputs[name].low, law.inputs[name].high
        if not np.all((column > low) & (column < high)):
            raise ValueError(f"Input {name} of {law.name} must lie between {low:g} and {high:g} in every row.")
    return columns, weights[used]


def _check_values(law: Law, argument: str, values: Mapping[str, float]) -> dict[str, float]:
    for name, value in values.items():
        if name not in law.parameters:
            hint = did_you_mean(name, law.parameters)
            raise ArgumentError(argument, f"names {name!r}, which is no parameter of {law.name}{hint}.")
        support = law.parameters[name].support
        if argument != "fixed" and not support.contains(float(value)):
            raise ArgumentError(argument, f"must keep {name} in its support ({support.name}), but sets it to {value}.")
    if argument == "fixed" and (wrong := describe_invalid(law, {name: float(value) for name, value in values.items()})):
        raise ArgumentError("fixed", f"{wrong}.")
    return {name: float(values[name]) for name in law.parameters if name in values}


def _stack_params(
    law: Law, params: Mapping[str, float] | Sequence[Mapping[str, float]], fixed: Mapping[str, float]
) -> dict[str, Float[np.ndarray, " set"]]:
    given = [params] if isinstance(params, Mapping) else list(params)
    if not given:
        raise ArgumentError("params", "must hold at least one parameter set, but is empty.")
    whole = [{**_check_values(law, "params", entry), **fixed} for entry in given]
    for entry in whole:
        missing = [name for name in law.parameters if name not in entry]
        if missing:
            raise ArgumentError("params", f"must give every free parameter, but lacks {', '.join(missing)}.")
    return {name: np.array([entry[name] for entry in whole]) for name in law.parameters}


def _default_sets(
    law: Law, columns: Mapping[str, Float[np.ndarray, "... row"]], fixed: Mapping[str, float], published: bool
) -> dict[str, Float[np.ndarray, " set"]]:
    """Published parameter sets, if requested and the units match, else random plausible ones; shape (sets,)."""
    with jax.enable_x64(True):
        centre = _centre(law, columns)
        # Published constants are not valid if a column is in another unit.
        units = all(columns[name].max() >= kind.lower for name, kind in law.inputs.items())
        if published and law.published and units:
            entries = [_with_fixed(law, centre, entry, fixed) for entry in law.published.values()]
            return {name: np.array([float(entry[name]) for entry in entries]) for name in law.parameters}
        known = {**fixed, **_places(law, columns, fixed)}
        free = tuple(name for name in law.parameters if name not in known)
        drawn = draw(law, centre, free, _uniform(law, free), known)
        return {name: np.broadcast_to(np.asarray(drawn[name], float), (_DRAWN_SETS,)) for name in law.parameters}


def _uniform(law: Law, free: Sequence[str]) -> Float[np.ndarray, "param set"]:
    """Uniform numbers for :func:`draw`, in the plausible quantiles of each range; shape (free, sets)."""
    u = hypercube(np.random.default_rng(0), _DRAWN_SETS, len(free))
    for k, name in enumerate(free):
        kind = law.parameters[name]
        low, high = _PLAUSIBLE.get(kind.kind, (0.25, 0.75))
        u[k] = low + (high - low) * u[k]
        if kind.kind == "coefficient" and kind.range[0] < 0 < kind.range[1]:
            # Near 0 a coefficient makes the parameters of its term appear unidentified.
            u[k] = np.where(u[k] < 0.5, u[k] - 0.2, u[k] + 0.2)
    return u


def _places(
    law: Law, columns: Mapping[str, Float[np.ndarray, "... row"]], fixed: Mapping[str, float]
) -> dict[str, Float[np.ndarray, "... place"]]:
    """Locations on the axis of a positive input, evenly spaced in its logarithm, so that breaks do not coincide."""
    by_input: dict[str, list[str]] = {}
    for name, kind in law.parameters.items():
        if kind.kind == "location" and kind.input is not None and law.inputs[kind.input].low >= 0 and name not in fixed:
            by_input.setdefault(kind.input, []).append(name)
    locations = {}
    for key, names in by_input.items():
        share = (np.arange(len(names))[:, None] + hypercube(np.random.default_rng(1), _DRAWN_SETS, len(names))) / len(
            names
        )
        low, high = columns[key].min(), columns[key].max()
        locations |= dict(zip(names, low * (high / low) ** (0.1 + 0.8 * share), strict=True))
    return locations


def _centre(law: Law, columns: Mapping[str, Float[np.ndarray, "... row"]]) -> Centre:
    """Centre of the inputs, with responses of size 1 (or 1/2 for fractions), since only relative sizes matter."""
    low, high = {positive: (0.5, 2.0), unit: (0.25, 0.75)}.get(law.response.domain, (-1.0, 1.0))
    return centre_of(law, columns, np.array([low, (low + high) / 2 if low > 0 else high, high]), np)


def _with_fixed(
    law: Law, centre: Centre, params: Mapping[str, float], fixed: Mapping[str, float]
) -> Mapping[str, Numbers]:
    """Replace values of a parameter set by fixed ones so that every term keeps its size at the centre of the inputs."""
    if not fixed:
        return params
    every = tuple(law.parameters)
    z = from_params(law, centre, every, params)
    if law.coordinates is not None:
        return to_params(law, centre, every, z, fixed)
    free = tuple(name for name in every if name not in fixed)
    return to_params(law, centre, free, [z[every.index(name)] for name in free], fixed)


def _assess(information: Information, slack: float) -> DesignCheck:
    law, free = information.law, information.free
    values, vectors, stderr = spectrum(information.triangle)
    over = excess(law, free, stderr, information.lowest)
    moving = {name for pair in pairs(law, free, information.inputs) for name in pair.parameters}
    parameters = tuple(name for k, name in enumerate(free) if over[k] > slack or name in moving)
    whole = values[:, -1] > RANK * values[:, 0]
    condition = np.where(whole, values[:, 0] / np.where(whole, values[:, -1], 1.0), np.inf)
    middle = int(np.argsort(condition, kind="stable")[len(condition) // 2])
    expected = dict(zip(free, np.median(stderr, axis=0).tolist(), strict=True))
    confounded = _confounded(free, values[middle], vectors[middle], parameters)
    runs, enough = suggest_runs(information) if parameters else ([], True)
    return DesignCheck(
        law=law,
        rows=information.rows,
        noise_level=float(information.noise_level),
        condition=float(np.median(condition)),
        stderr=expected,
        verdict="not identified" if parameters else "identified",
        parameters=parameters,
        confounded=confounded,
        suggested_runs=runs,
        message=design_message(information, expected, parameters, confounded, runs, enough),
    )


def _confounded(
    free: Sequence[str],
    values: Float[np.ndarray, " free"],
    vectors: Float[np.ndarray, "free free"],
    parameters: Sequence[str],
) -> tuple[tuple[str, ...], ...]:
    """Names of the parameters in the weakest direction of each parameter that is not identified."""
    spoiling = np.abs(vectors) / np.maximum(values, RANK * max(values[0], 1e-300))[:, None]
    weak = [int(np.argmax(spoiling[:, free.index(name)])) for name in parameters]
    shares = np.abs(vectors[list(dict.fromkeys(weak))])
    named = [tuple(name for name, s in zip(free, share, strict=True) if s > _NAMED * share.max()) for share in shares]
    whole = [names for names in named if len(names) > 1 and not any(set(names) < set(other) for other in named)]
    return tuple(dict.fromkeys(whole))
