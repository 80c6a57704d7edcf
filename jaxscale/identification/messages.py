"""Messages of a design check: verdict, reasons, expected standard errors, and runs to add."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxscale.identification.fisher_information import (
    EXPONENT_LIMIT,
    FLOOR_LIMIT,
    Information,
    Pair,
    constant,
    distinct,
    pairs,
)
from jaxscale.law import Law

# Tolerance within which two inputs with a power of 1 or -1 are called proportional or on one budget.
_SAME_POWER = 0.05


def design_message(
    information: Information,
    expected: Mapping[str, float],
    parameters: Sequence[str],
    confounded: Sequence[Sequence[str]],
    runs: Sequence[Mapping[str, Any]],
    enough: bool,
) -> str:
    """Verdict of a design check with reasons, expected standard errors and advice, as text."""
    rows = f"{information.rows} {'row' if information.rows == 1 else 'rows'}"
    if not parameters:
        verdict = f"The inputs of the {rows} identify every free parameter of {information.law.name}."
        return f"{verdict} {_expectations(information, expected)}"
    verdict = f"The inputs of the {rows} do not identify {_and(parameters)} of {information.law.name}"
    reasons = "; ".join(_reasons(information, parameters, confounded))
    return f"{verdict}: {reasons}. {_expectations(information, expected)} {_advice(runs, enough, parameters)}"


def _reasons(information: Information, parameters: Sequence[str], confounded: Sequence[Sequence[str]]) -> list[str]:
    """Reasons why parameters are not identified, from the inputs first and from trade-offs last."""
    law, free = information.law, information.free
    inputs = {name: values for name, values in information.inputs.items() if not law.inputs[name].categories}
    reasons = []
    if information.rows < len(free):
        reasons.append(f"the rows are fewer than the {len(free)} free parameters")
    rest = {name for name in parameters if not any(name in _parameters_of(law, key) for key in inputs)}
    for name, values in inputs.items():
        concerned = set(_parameters_of(law, name) or rest) & set(parameters)
        levels = distinct(values) if values.ndim == 1 else len(values.T)
        if concerned and levels <= 2:
            reasons.append(_few(name, values, levels))
    for pair in pairs(law, free, inputs):
        if all(set(_parameters_of(law, name)) & set(parameters) for name in (pair.first, pair.second)):
            reasons.append(_line(pair, inputs))
        if pair.parameters:
            reasons.append(f"only curvature separates their terms (log-correlation {pair.correlation:.5f})")
    silent = [name for k, name in enumerate(free) if not np.any(information.triangle[:, :, k])]
    if silent:
        reasons.append(f"the response does not depend on {_and(silent)}")
    floors = [name for name in parameters if law.parameters[name].kind == "floor"]
    if floors and not reasons:
        spans = [f"{name} runs from {values.min():.3g} to {values.max():.3g}" for name, values in inputs.items()]
        reasons.append(f"the rows are too far from the asymptote to determine the floor {_and(floors)} ({_and(spans)})")
    if information.rows >= len(free):
        reasons += [f"{_and(names)} trade off against each other" for names in confounded]
    return reasons or [f"the inputs vary too little to determine {_and(parameters)}"]


def _parameters_of(law: Law, name: str) -> list[str]:
    """Parameters whose declaration refers to an input."""
    names = [key for key, kind in law.parameters.items() if kind.input == name]
    for key, kind in law.parameters.items():
        names += [entry for named, power in kind.powers if named == name for entry in (key, power.lstrip("-"))]
    return names


def _few(name: str, values: Float[np.ndarray, "... row"], levels: int) -> str:
    middle = f"{np.median(values):.3g}"
    if constant(values):
        return f"{name} takes one value ({middle})"
    return f"{name} hardly varies around {middle}" if levels == 1 else f"{name} takes only two values"


def _line(pair: Pair, inputs: Mapping[str, Float[np.ndarray, "... row"]]) -> str:
    first, second = inputs[pair.first], inputs[pair.second]
    if abs(pair.slope - 1) < _SAME_POWER:
        return f"{pair.second} is proportional to {pair.first} ({pair.second} / {pair.first} = {_span(second / first)})"
    if abs(pair.slope + 1) < _SAME_POWER:
        return f"all rows lie on one budget ({pair.first} * {pair.second} = {_span(first * second)})"
    return f"{pair.second} follows {pair.first} as {pair.first}**{pair.slope:.3g}"


def _span(values: Float[np.ndarray, "... row"]) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"


def _expectations(information: Information, expected: Mapping[str, float]) -> str:
    law, level = information.law, f"{100 * information.noise_level:g} %"
    kinds = {"exponent": f"at most {EXPONENT_LIMIT:g}", "floor": f"at most {FLOOR_LIMIT:g} of the smallest response"}
    listed = []
    for kind, limit in kinds.items():
        names = [name for name in expected if law.parameters[name].kind == kind]
        if names:
            listed.append(f"{_and([f'{name} {expected[name]:.3g}' for name in names])} ({limit})")
    if not listed:
        listed = [_and([f"{name} {value:.3g}" for name, value in expected.items()])]
    return f"Expected standard errors at {level} noise: {'; '.join(listed)}."


def format_input(value: float | str) -> str:
    """Format the value of an input: three digits of a number, or a label."""
    return value if isinstance(value, str) else f"{value:.3g}"


def _advice(runs: Sequence[Mapping[str, Any]], enough: bool, parameters: Sequence[str]) -> str:
    fix = f"fix {parameters[0] if len(parameters) == 1 else 'some of ' + _and(parameters)}"
    if not runs:
        return f"No run within a factor of four of these inputs would help, so {fix}."
    text = "; ".join(", ".join(f"{name}={format_input(value)}" for name, value in run.items()) for run in runs)
    if enough:
        return f"Add runs such as {text}, or {fix}."
    return f"Runs such as {text} would help but not suffice, so {fix} too."


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
