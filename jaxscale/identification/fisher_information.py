"""Fisher information of a design about the parameters of a law.

At given parameters it is ``J^T J`` with ``J = d t(law) / d params`` divided by the expected noise; only its
triangular factor (QR) is kept, one for each parameter set.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from jaxscale.law import Law, positive
from jaxscale.law.slopes import slopes
from jaxscale.noise import default
from jaxscale.utils.errors import UsageError

# An exponent with a larger expected standard error is not identified.
EXPONENT_LIMIT = 0.25
# A floor whose expected standard error exceeds this fraction of the smallest expected response is not identified: the
# exponents would then depend on extrapolation.
FLOOR_LIMIT = 0.125
# Inputs whose logs have a larger absolute correlation are collinear.
COLLINEAR = 0.999
# Relative tolerance below which singular values are zero.
RANK = 1e-12
# Tolerance below which components of a unit vector are zero.
COMPONENT = 1e-6


class NotFiniteError(UsageError):
    """Error of a law that has no finite value and slope at any of the parameter sets."""

    code = "not_finite"


@dataclass(frozen=True)
class Information:
    """Fisher information of a design at several parameter sets.

    Args:
        law: the law.
        free: names of the free parameters.
        inputs: name to the values in rows with positive weight, shape (n,).
        sets: every parameter by name, each of shape (sets,).
        noise_level: expected relative standard deviation of the noise.
        triangle: factor R of the information ``R^T R``, shape (sets, free, free).
        lowest: smallest expected response, shape (sets,).
        typical: median size of the expected responses, shape (sets,).
    """

    law: Law
    free: tuple[str, ...]
    inputs: dict[str, Float[np.ndarray, "... row"]]
    sets: dict[str, Real[np.ndarray, " set"]]
    noise_level: float
    triangle: Float[np.ndarray, "set size free"]
    lowest: Float[np.ndarray, " set"]
    typical: Float[np.ndarray, " set"]

    @property
    def rows(self) -> int:
        """Number of rows with positive weight."""
        return next(iter(self.inputs.values())).shape[-1]


def compute_information(
    law: Law,
    free: Sequence[str],
    inputs: Mapping[str, Float[np.ndarray, "... row"]],
    weight: Float[np.ndarray, " row"],
    sets: Mapping[str, Real[np.ndarray, " set"]],
    noise_level: float,
) -> Information:
    """Compute the Fisher information of a design about the free parameters.

    Args:
        law: the law.
        free: names of the free parameters.
        inputs: name to array of shape (n,).
        weight: shape (n,), all positive; only ratios matter.
        sets: every parameter by name, each of shape (sets,).
        noise_level: expected relative standard deviation of the noise.

    Raises:
        NotFiniteError: the law has no finite value and slope at any of the sets.
    """
    responses, slope = slopes(law, free, inputs, sets)
    domain = law.response.domain
    good = np.all(np.isfinite(slope), axis=(1, 2)) & np.all(
        (responses > domain.low) & (responses < domain.high), axis=1
    )
    good &= np.any(responses != 0, axis=1)
    if not good.any():
        raise NotFiniteError(
            f"Law {law.name} has no finite value and slope for these inputs at any of the parameter sets."
        )
    responses, slope = responses[good], slope[good]
    information = Information(
        law,
        tuple(free),
        dict(inputs),
        {name: np.asarray(values)[good] for name, values in sets.items()},
        noise_level,
        np.zeros((len(slope), len(free), len(free))),
        responses.min(axis=1),
        # If most responses are zero the median is not a scale of the noise.
        np.maximum(np.median(np.abs(responses), axis=1), 1e-6 * np.max(np.abs(responses), axis=1)),
    )
    scaled = _standardise(information, responses, slope) * np.sqrt(weight / weight.mean())[:, None]
    return replace(information, triangle=_triangle(np.concatenate([information.triangle, scaled], axis=1)))


def _standardise(
    information: Information, responses: Float[np.ndarray, "set row"], slope: Float[np.ndarray, "set row free"]
) -> Float[np.ndarray, "set row free"]:
    """Slopes in units of the expected noise, relative to each response, or to the typical one if it may be 0."""
    # Relative noise divides the slope by the same number for log and logit residuals.
    relative = default(information.law.response).space.relative
    size = responses if relative else np.broadcast_to(information.typical[:, None], responses.shape)
    return slope / (information.noise_level * size[..., None])


def _triangle(rows: Float[np.ndarray, "set row free"]) -> Float[np.ndarray, "set size free"]:
    # Scaled, since squares of slopes may overflow.
    largest = np.max(np.abs(rows), axis=-2, keepdims=True)
    largest = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(np.linalg.qr(rows / largest, mode="r")) * largest


def spectrum(
    triangle: Float[np.ndarray, "*set size free"],
) -> tuple[Float[np.ndarray, "*set free"], Float[np.ndarray, "*set free free"], Float[np.ndarray, "*set free"]]:
    """Singular values and vectors of the column-scaled information, and standard errors.

    Args:
        triangle: shape (..., m, p) with m >= p.

    Returns:
        Values of shape (..., p), descending; vectors as rows, shape (..., p, p); standard errors of shape
        (..., p), infinite for parameters with a component in the null space.
    """
    # Squares of large slopes overflow.
    largest = np.max(np.abs(triangle), axis=-2, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    size = (np.linalg.norm(triangle / largest, axis=-2, keepdims=True) * largest)[..., 0, :]
    size = np.where(size > 0, size, 1.0)
    _, values, vectors = np.linalg.svd(triangle / size[..., None, :], full_matrices=False)
    null = values <= RANK * values[..., :1]
    inverse = np.where(null, 0.0, 1.0 / np.where(null, 1.0, values))
    stderr = np.sqrt(np.sum((vectors * inverse[..., None]) ** 2, axis=-2)) / size
    lost = np.any(null[..., None] & (np.abs(vectors) > COMPONENT), axis=-2)
    return values, vectors, np.where(lost, np.inf, stderr)


def excess(
    law: Law, free: Sequence[str], stderr: Float[np.ndarray, "... set free"], lowest: Float[np.ndarray, "... set"]
) -> Float[np.ndarray, "... free"]:
    """Standard errors relative to their limits: above 1 a parameter is not identified.

    Args:
        law: the law.
        free: names of the free parameters.
        stderr: shape (..., sets, free).
        lowest: smallest expected response, shape (..., sets).

    Returns:
        Medians over the sets, shape (..., free).
    """
    bends = any(law.parameters[name].kind == "exponent" for name in free)
    over = np.where(np.isfinite(stderr), 0.0, np.inf)
    for k, name in enumerate(free):
        kind = law.parameters[name]
        if kind.kind == "exponent":
            over[..., k] = stderr[..., k] / EXPONENT_LIMIT
        elif kind.kind == "floor" and kind.support is positive and bends:
            over[..., k] = stderr[..., k] / (FLOOR_LIMIT * lowest)
    return np.median(over, axis=-2)


@dataclass(frozen=True)
class Pair:
    """Two collinear inputs, ``log second = slope * log first + ...``."""

    first: str
    second: str
    slope: float
    correlation: float
    parameters: tuple[str, ...]


def pairs(law: Law, free: Sequence[str], inputs: Mapping[str, Float[np.ndarray, "... row"]]) -> list[Pair]:
    """Collinear pairs of inputs, with the free amplitudes and exponents that only curvature then separates.

    A pair has no parameters if these remain identified: one exponent for both inputs, a fixed exponent or
    amplitude, or another input that varies and may separate the terms.
    """
    powers = {key: kind.powers for key, kind in law.parameters.items() if kind.powers}
    inputs = {name: values for name, values in inputs.items() if not law.inputs[name].categories}
    declared = {name for entries in powers.values() for name, _ in entries}
    aside = any(name not in declared and not constant(values) for name, values in inputs.items())
    collinear = []
    for first, second in itertools.combinations(inputs, 2):
        x, y = inputs[first], inputs[second]
        if max(x.ndim, y.ndim) > 1 or constant(x) or constant(y) or min(x.min(), y.min()) <= 0:
            continue
        x, y = np.log(x), np.log(y)
        correlation = float(np.corrcoef(x, y)[0, 1])
        if abs(correlation) > COLLINEAR:
            ones = {power: term for term, power in _free_terms(powers, free, first)}
            others = {power: term for term, power in _free_terms(powers, free, second)}
            separate = bool(ones and others and set(ones) != set(others)) and not aside
            names = {*ones, *ones.values(), *others, *others.values()} if separate else set()
            slope = float(np.sign(correlation) * y.std() / x.std())
            collinear.append(Pair(first, second, slope, correlation, tuple(name for name in free if name in names)))
    return collinear


def _free_terms(powers: Mapping[str, Any], free: Sequence[str], name: str) -> list[tuple[str, str]]:
    entries = [(term, power.lstrip("-")) for term, pairs in powers.items() for key, power in pairs if key == name]
    return [(term, power) for term, power in entries if term in free and power in free]


def constant(values: Float[np.ndarray, "... row"]) -> bool:
    """Whether an input is constant up to rounding."""
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def distinct(values: Float[np.ndarray, "... row"]) -> int:
    """Number of distinct values of an input, up to five percent."""
    count, start = 0, -np.inf
    for value in np.sort(values):
        if count == 0 or value - start > 0.05 * abs(start):
            count, start = count + 1, value
    return count


def is_identified(information: Information) -> bool:
    """Whether every free parameter is within its limit and no collinear pair has parameters."""
    stderr = spectrum(information.triangle)[2]
    over = excess(information.law, information.free, stderr, information.lowest)
    together = pairs(information.law, information.free, information.inputs)
    enough = information.rows >= len(information.free)
    return enough and bool(np.all(over <= 1)) and not any(pair.parameters for pair in together)
