"""Parameters at a bound of their support, and starts from which a refit can leave the bound."""

import math

import numpy as np
from jaxtyping import Float

from jaxscale.engine.optimum import Optimum
from jaxscale.law import Support, positive, real
from jaxscale.law.coordinates import coordinate_at, has_own_coordinates
from jaxscale.utils.arrays import Value

# Relative size below which a term, a floor or a fraction counts as zero.
NEGLIGIBLE = 1e-6
# An exponent below the first counts as zero, and a rate below the second, relative to its plausible range.
ZERO_EXPONENT, ZERO_RATE = 1e-4, 1e-3
# Relative size at which a refit starts: near the bound, but large enough to change the objective.
RESTART_SIZE = 1e-3


def at_bounds(optimum: Optimum) -> dict[str, float]:
    """Free parameters at a bound of their support, by name, with that bound.

    Args:
        optimum: the problem at its optimum.
    """
    law, free = optimum.problem.law, optimum.problem.free
    if has_own_coordinates(law, free):
        return {}
    return {name: end for name in free if (end := _bound_reached(optimum, name)) is not None}


def _effect(optimum: Optimum, name: str) -> float:
    """Largest contribution of a term to a residual, relative to the response."""
    problem, linear = optimum.problem, optimum.linear
    slope = np.asarray(linear.jacobian)[optimum.used, problem.free.index(name)]
    level = (float(problem.centre.response_size) or 1.0) if not problem.noise.space.relative else 1.0
    return float(np.max(np.abs(slope), initial=0.0)) * abs(float(linear.params[name])) / level


def _bound_reached(optimum: Optimum, name: str) -> float | None:
    """The bound that a parameter has reached, or None."""
    problem, linear = optimum.problem, optimum.linear
    kind, value = problem.law.parameters[name], float(linear.params[name])
    low, high = kind.support.low, kind.support.high
    if kind.support is positive:
        if kind.kind in ("floor", "amplitude"):
            vanished = _effect(optimum, name) < NEGLIGIBLE
        elif kind.kind == "exponent":
            vanished = value < ZERO_EXPONENT
        elif kind.kind in ("scale", "location"):
            vanished = False
        else:
            small = value < ZERO_RATE * kind.range[0] * float(problem.centre.unit.get(name, 1.0))
            vanished = small and _effect(optimum, name) < NEGLIGIBLE
        return 0.0 if vanished else None
    width = high - low if np.isfinite(high - low) else max(abs(low) if np.isfinite(low) else abs(high), abs(value))
    if np.isfinite(low) and value - low <= NEGLIGIBLE * width:
        return low
    return high if np.isfinite(high) and high - value <= NEGLIGIBLE * width else None


def move_off_bounds(optimum: Optimum) -> Float[np.ndarray, " size"]:
    """Coordinates of the optimum with parameters at a bound moved inside, as starts of a refit.

    Args:
        optimum: the problem at its optimum.
    """
    problem, linear, z = optimum.problem, optimum.linear, optimum.z
    moved = np.array(z, float)
    for name in at_bounds(optimum):
        kind, place = problem.law.parameters[name], problem.free.index(name)
        if kind.support is not positive:
            moved[place] = float(np.clip(z[place], np.log(RESTART_SIZE), -np.log(RESTART_SIZE)))
        elif kind.kind in ("floor", "amplitude"):
            # The effect of a small term is proportional to it.
            effect = max(_effect(optimum, name), 1e-300)
            moved[place] = float(z[place]) + np.log(RESTART_SIZE / effect)
        else:
            start = 10 * ZERO_EXPONENT
            if kind.kind != "exponent":
                start = kind.range[0] * float(problem.centre.unit.get(name, 1.0)) or RESTART_SIZE
            params = {key: np.asarray(value) for key, value in linear.params.items()}
            moved[place] = float(coordinate_at(problem.law, name, start, params, problem.centre))
    return moved


def unbounded(support: Support, value: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """Transform values to the real line: the logarithm of a positive number, the logit of a fraction."""
    low, high = support.low, support.high
    with np.errstate(divide="ignore"):
        if np.isfinite(low) and np.isfinite(high):
            return np.log(value - low) - np.log(high - value)
        if np.isfinite(low):
            return np.log(value - low)
        return -np.log(high - value) if np.isfinite(high) else np.asarray(value)


def slope_of_unbounded(support: Support, value: float) -> float:
    """The slope of :func:`unbounded` at a value."""
    if support is real:
        return 0.0
    low, high = support.low, support.high
    if math.isfinite(low) and math.isfinite(high):
        return (high - low) / max((value - low) * (high - value), 1e-300)
    return 1 / max(value - low if math.isfinite(low) else high - value, 1e-300)


def bounded(support: Support, place: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """The inverse of :func:`unbounded`."""
    low, high = support.low, support.high
    with np.errstate(over="ignore"):
        if math.isfinite(low) and math.isfinite(high):
            return low + (high - low) / (1 + np.exp(-place))
        if math.isfinite(low):
            return low + np.exp(place)
        return high - np.exp(-place) if math.isfinite(high) else place


def interval_about(support: Support, value: float, half: float) -> tuple[float, float]:
    """The interval of a half width about a value, taken where the parameter has no bounds; NaN for half NaN."""
    if not math.isfinite(half):
        return math.nan, math.nan
    place, wide = float(unbounded(support, value)), half * (slope_of_unbounded(support, value) or 1.0)
    if not (math.isfinite(place) and wide < 700):
        # At the bound itself: what the standard error reaches inside of the support.
        return max(support.low, value - half), min(support.high, value + half)
    return float(bounded(support, place - wide)), float(bounded(support, place + wide))
