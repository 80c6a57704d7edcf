"""Invariance of results under changes of the unit of an input or of the response, for every law.

    python -m benchmarks.units                  the catalogue
    python -m benchmarks.units LAW LAW ...      the given laws

Each law is fitted to 24 simulated rows, then to the same rows with one input, or the response, multiplied by 1e-9,
1e-3, 1e3 and 1e9. Verdict, predictions, standard errors (1e-6 relative, in converted units) and notices should be
equal, except for notices that guess a unit. Inputs with a bounded interval are left out, and inputs whose unit the
law itself fixes (by a constant or a logarithm of the input in the formula) are counted.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import jaxscale
from jaxscale.law import Law
from jaxscale.law.dimensions import RESPONSE, absolute, dimensions, fixed_units
from jaxscale.noise import default

FACTORS = (1e-9, 1e-3, 1e3, 1e9)
ROWS, SCATTER = 24, 0.003
# Notices that guess a unit.
GUESSES = ("units", "outside_range")


@dataclass(frozen=True)
class Case:
    """One law in one unit, and the difference from the law in its own unit; empty if there is none."""

    law: str
    target: str
    factor: float
    fault: str


def sweep(law: Law, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Simulate rows at typical inputs and parameters of a law, with little noise; None if it is not defined there."""
    generator = np.random.default_rng(seed)
    columns = {}
    for name, kind in law.inputs.items():
        low, high = kind.sizes
        share = generator.permutation(np.linspace(0.03, 0.97, ROWS))
        if np.isfinite(kind.low) and np.isfinite(kind.high):
            columns[name] = kind.low + share * (kind.high - kind.low)
        elif kind.low >= 0:
            low = max(low, kind.low * 1.01, 1e-2)
            columns[name] = low * (high / low) ** share
        else:
            columns[name] = low + share * (high - low)
    space = default(law.response).space
    with np.errstate(all="ignore"):
        truth = np.array([float(law(*row, **law.typical)) for row in zip(*columns.values(), strict=True)])
        seen = np.asarray(space.forward(truth))
    if not np.all(np.isfinite(seen)) or np.ptp(seen) <= 1e-6 * np.max(np.abs(seen)):
        return None
    size = SCATTER * (1.0 if space.relative else np.std(seen))
    return columns, space.inverse(seen + size * generator.standard_normal(ROWS))


def fit_or_error(law: Law, columns: dict[str, np.ndarray], response: np.ndarray) -> "jaxscale.Fit | str":
    """The fit, or a description of its error."""
    table = {**columns, "the response": response}
    rows = jaxscale.Observations.from_table(table, inputs={name: name for name in columns}, response="the response")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return jaxscale.fit(law, rows, progress=False, n_resamples=0)
    except jaxscale.UnidentifiedError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def fault(law: Law, one: "jaxscale.Fit | str", other: "jaxscale.Fit | str", target: str, factor: float) -> str:
    """Short description of the difference between a fit and the fit in another unit."""
    if isinstance(one, str) or isinstance(other, str):
        reason = one if isinstance(one, str) else other
        return "" if one == other else f"verdict: {reason}"[:70]
    if one.status != other.status:
        return f"status {one.status}, {other.status}"
    scale = factor if target == RESPONSE else 1.0
    size = 1.0 if one.noise.space.relative else scale
    if not np.isclose(one.residuals.rms * size, other.residuals.rms, rtol=1e-6):
        return f"optimum: rms {one.residuals.rms * size:.6g}, {other.residuals.rms:.6g}"
    errors = [_errors(law, one, target, factor), _errors(law, other, target, 1.0)]
    for group, pair in zip(errors[0], zip(errors[0].values(), errors[1].values(), strict=True), strict=True):
        if not np.allclose(*pair, rtol=1e-6, atol=0.0, equal_nan=True):
            return f"errors of {group[0]}: {pair[0]}, {pair[1]}"[:90]
    codes = [sorted({n.code for n in fit.notices} - set(GUESSES)) for fit in (one, other)]
    return "" if codes[0] == codes[1] else f"notices {codes[0]}, {codes[1]}"


def _errors(law: Law, fit: "jaxscale.Fit", target: str, factor: float) -> dict[tuple, np.ndarray]:
    """Standard errors in another unit, sorted within equal declarations, since like terms may be swapped."""
    groups: dict[tuple, list[float]] = {}
    for name in fit.free:
        kind = law.parameters[name]
        if kind.powers or kind.kind == "scale":
            continue
        exponent = (
            1.0 if kind.kind == "floor" and target == RESPONSE else dimensions(law).get(name, {}).get(target, 0.0)
        )
        groups.setdefault((kind.kind, kind.range, exponent), []).append(fit.stderr[name] * factor**exponent)
    return {group: np.sort(values) for group, values in groups.items()}


def cases(law: Law) -> Iterator[Case]:
    """Cases of one law in all units."""
    rows = sweep(law)
    if rows is None:
        return
    columns, response = rows
    one = fit_or_error(law, columns, response)
    for name, kind in law.inputs.items():
        if np.isfinite(kind.high) or np.isfinite(kind.low) and kind.low != 0 or name in fixed_units(law):
            continue
        for factor in FACTORS:
            moved = {**columns, name: columns[name] * factor}
            yield Case(law.name, name, factor, fault(law, one, fit_or_error(law, moved, response), name, factor))
    if RESPONSE not in fixed_units(law) and law.response.domain.name != "unit":
        for factor in FACTORS:
            other = fit_or_error(law, columns, response * factor)
            yield Case(law.name, RESPONSE, factor, fault(law, one, other, RESPONSE, factor))


def main(names: list[str]) -> None:
    """Print the differences and the number of fits."""
    count, faults, without, kept = 0, [], [], 0
    for name in names or jaxscale.laws.names():
        law = jaxscale.laws.get(name)
        if not law.parameters:
            continue
        kept += len(absolute(law))
        done = list(cases(law))
        if not done:
            without.append(name)
        count += len(done)
        faults += [case for case in done if case.fault]
        for case in done:
            if case.fault:
                print(f"{case.law:28} {case.target:10} x {case.factor:<8g} {case.fault}", flush=True)
    laws = {case.law for case in faults}
    print(f"{count} fits in other units: {len(faults)} differ, of {len(laws)} laws.")
    print(f"{kept} parameters have an absolute range; {len(without)} laws have no other unit: {', '.join(without)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
