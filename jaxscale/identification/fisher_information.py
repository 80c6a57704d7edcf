"""Information: what the rows of a design say about a law's parameters, and which rows would say more.

At given parameters the rows of ``J = d t(law) / d params``, divided by the expected noise, hold the
Fisher information ``J^T J``; only its triangular factor (QR) is kept, one for each parameter set.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxscale.law import Law, positive
from jaxscale.law.slopes import slopes
from jaxscale.noise import default
from jaxscale.utils.errors import UsageError

# An exponent with a larger expected standard error is not identified.
EXPONENT_LIMIT = 0.25
# A floor whose expected standard error exceeds this share of the smallest expected response is out of sight: its
# exponents then rest on the formula alone.
FLOOR_LIMIT = 0.125
# Inputs whose logs are correlated more than this move on one line.
TOGETHER = 0.999
# Singular values below this share of the largest are rounding noise.
RANK = 1e-12
# Components of a unit vector below this are rounding noise.
COMPONENT = 1e-6


class NotFiniteError(UsageError):
    """A law has no finite value and slope at any of the parameters at which a design is looked at."""

    code = "not_finite"


@dataclass(frozen=True)
class Information:
    """A design at several parameter sets.

    Args:
        law: the law.
        free: names of the free parameters.
        inputs: name to the values in the rows that count, shape (n,).
        sets: every parameter by name, each of shape (sets,).
        noise_level: expected noise as a share of the response.
        triangle: factor R of the information ``R^T R``, shape (sets, free, free).
        lowest: smallest expected response, shape (sets,).
        typical: median size of the expected responses, shape (sets,).
    """

    law: Law
    free: tuple[str, ...]
    inputs: dict[str, np.ndarray]
    sets: dict[str, np.ndarray]
    noise_level: float
    triangle: np.ndarray
    lowest: np.ndarray
    typical: np.ndarray

    @property
    def rows(self) -> int:
        """The number of rows that count."""
        return next(iter(self.inputs.values())).shape[-1]


def measure(
    law: Law,
    free: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    weight: np.ndarray,
    sets: Mapping[str, np.ndarray],
    noise_level: float,
) -> Information:
    """The information that rows hold about the free parameters.

    Args:
        law: the law.
        free: names of the free parameters.
        inputs: name to array of shape (n,).
        weight: shape (n,), all positive; only ratios matter.
        sets: every parameter by name, each of shape (sets,).
        noise_level: expected noise as a share of the response.

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
            f"Law {law.name} has no finite value and slope for these inputs at the parameters that were tried."
        )
    responses, slope = responses[good], slope[good]
    found = Information(
        law,
        tuple(free),
        dict(inputs),
        {name: np.asarray(values)[good] for name, values in sets.items()},
        noise_level,
        np.zeros((len(slope), len(free), len(free))),
        responses.min(axis=1),
        # Where most responses are zero the median is no size to measure noise by.
        np.maximum(np.median(np.abs(responses), axis=1), 1e-6 * np.max(np.abs(responses), axis=1)),
    )
    scaled = _in_noise(found, responses, slope) * np.sqrt(weight / weight.mean())[:, None]
    return replace(found, triangle=_triangle(np.concatenate([found.triangle, scaled], axis=1)))


def _in_noise(information: Information, responses: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Slopes in units of the expected noise: a share of each response, or of the typical one where it may be 0."""
    # In logs and in logits noise that is a share of the response divides the slope by the same number.
    relative = default(information.law.response).space.relative
    size = responses if relative else np.broadcast_to(information.typical[:, None], responses.shape)
    return slope / (information.noise_level * size[..., None])


def _triangle(rows: np.ndarray) -> np.ndarray:
    # Slopes of the law may differ by more than a double holds squares of.
    largest = np.max(np.abs(rows), axis=-2, keepdims=True)
    largest = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(np.linalg.qr(rows / largest, mode="r")) * largest


def spectrum(triangle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values and vectors of the column-scaled information, and standard errors.

    Args:
        triangle: shape (..., m, p) with m >= p.

    Returns:
        Values of shape (..., p), descending; vectors as rows, shape (..., p, p); standard errors of shape
        (..., p), infinite where a vector without information has a share in the parameter.
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


def excess(law: Law, free: Sequence[str], stderr: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    """Standard errors over what is allowed: above 1 the parameter is not identified.

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
    """Two inputs whose logs lie on one line, ``log second = slope * log first + ...``."""

    first: str
    second: str
    slope: float
    correlation: float
    parameters: tuple[str, ...]


def pairs(law: Law, free: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[Pair]:
    """Pairs of inputs that move together, with the free amplitudes and exponents that only curvature then separates.

    A pair has no parameters where nothing is at stake: one exponent for both inputs, a fixed exponent or
    amplitude, or another input that varies and may keep the terms apart.
    """
    powers = {key: kind.powers for key, kind in law.parameters.items() if kind.powers}
    inputs = {name: values for name, values in inputs.items() if not law.inputs[name].categories}
    declared = {name for entries in powers.values() for name, _ in entries}
    aside = any(name not in declared and not constant(values) for name, values in inputs.items())
    found = []
    for first, second in itertools.combinations(inputs, 2):
        x, y = inputs[first], inputs[second]
        if max(x.ndim, y.ndim) > 1 or constant(x) or constant(y) or min(x.min(), y.min()) <= 0:
            continue
        x, y = np.log(x), np.log(y)
        correlation = float(np.corrcoef(x, y)[0, 1])
        if abs(correlation) > TOGETHER:
            ones = {power: term for term, power in _free_terms(powers, free, first)}
            others = {power: term for term, power in _free_terms(powers, free, second)}
            separate = bool(ones and others and set(ones) != set(others)) and not aside
            names = {*ones, *ones.values(), *others, *others.values()} if separate else set()
            slope = float(np.sign(correlation) * y.std() / x.std())
            found.append(Pair(first, second, slope, correlation, tuple(name for name in free if name in names)))
    return found


def _free_terms(powers: Mapping[str, Any], free: Sequence[str], name: str) -> list[tuple[str, str]]:
    entries = [(term, power.lstrip("-")) for term, pairs in powers.items() for key, power in pairs if key == name]
    return [(term, power) for term, power in entries if term in free and power in free]


def constant(values: np.ndarray) -> bool:
    """Whether an input takes one value, up to rounding."""
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def distinct(values: np.ndarray) -> int:
    """How many values an input takes, where values within five percent of each other are one."""
    count, start = 0, -np.inf
    for value in np.sort(values):
        if count == 0 or value - start > 0.05 * abs(start):
            count, start = count + 1, value
    return count


def identified(information: Information) -> bool:
    """Whether no free parameter exceeds its limit and no two inputs move together at its cost."""
    stderr = spectrum(information.triangle)[2]
    over = excess(information.law, information.free, stderr, information.lowest)
    together = pairs(information.law, information.free, information.inputs)
    enough = information.rows >= len(information.free)
    return enough and bool(np.all(over <= 1)) and not any(pair.parameters for pair in together)
