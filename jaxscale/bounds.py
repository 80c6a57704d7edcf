"""Parameters at a bound: which end of their support an optimum ran to, and how a refit can leave it again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxscale.coordinates import coordinate_at, owned
from jaxscale.law import Support, positive
from jaxscale.objective import Problem

# A term, a floor or a share below this part of what it could be has vanished.
GONE = 1e-6
# An exponent below this, and a rate below this part of its plausible range.
STEADY, SLOW = 1e-4, 1e-3
# Where a refit begins: near the bound, but where the objective still feels the parameter.
LIFTED = 1e-3


def at_bounds(problem: Problem, params: Mapping[str, Any], z: Any) -> dict[str, float]:
    """The free parameters that have run to an end of their support, and that end.

    Args:
        problem: law, free parameters and the centre of the data.
        params: every parameter at the optimum.
        z: coordinates of the optimum, shape (size,).
    """
    if owned(problem.law, problem.free):
        return {}
    return {
        name: end
        for k, name in enumerate(problem.free)
        if (end := _end(problem, name, float(params[name]), float(z[k]))) is not None
    }


def _end(problem: Problem, name: str, value: float, z: float) -> float | None:
    """The end of the support that a parameter has run to, if it has."""
    kind, centre = problem.law.parameters[name], problem.centre
    low, high = kind.support.low, kind.support.high
    size = float(centre.response_size) or 1.0
    if kind.support is positive:
        gone = {
            "floor": value < GONE * size,
            "amplitude": float(np.exp(np.clip(z, -700, 700))) < GONE * size,
            "exponent": value < STEADY,
            "scale": False,
            "location": False,
        }.get(kind.kind, value < SLOW * kind.range[0] * float(centre.unit.get(name, 1.0)))
        return 0.0 if gone else None
    width = high - low if np.isfinite(high - low) else max(abs(low) if np.isfinite(low) else abs(high), abs(value))
    if np.isfinite(low) and value - low <= GONE * width:
        return low
    return high if np.isfinite(high) and high - value <= GONE * width else None


def lifted(problem: Problem, params: Mapping[str, Any], z: np.ndarray) -> np.ndarray:
    """Coordinates of the optimum in which what ran to a bound is moved a little inside, so that a refit can leave it.

    Args:
        problem: law, free parameters and the centre of the data.
        params: every parameter at the optimum.
        z: coordinates of the optimum, shape (size,).
    """
    moved = np.array(z, float)
    for name in at_bounds(problem, params, z):
        kind, place = problem.law.parameters[name], problem.free.index(name)
        size = float(problem.centre.response_size) or 1.0
        inside = {"floor": LIFTED * size, "exponent": 10 * STEADY}
        if kind.support is positive and kind.kind in inside:
            moved[place] = float(coordinate_at(problem.law, name, inside[kind.kind], dict(params), problem.centre))
        elif kind.support is positive and kind.kind == "amplitude":
            moved[place] = float(np.log(LIFTED * size))
        elif kind.support is positive:
            start = kind.range[0] * float(problem.centre.unit.get(name, 1.0)) or LIFTED
            moved[place] = float(coordinate_at(problem.law, name, start, dict(params), problem.centre))
        else:
            moved[place] = float(np.clip(z[place], np.log(LIFTED), -np.log(LIFTED)))
    return moved


def unbounded(support: Support, value: Any) -> Any:
    """Values of a parameter where it has no bounds: the logarithm of a positive number, the logit of a fraction."""
    low, high = support.low, support.high
    with np.errstate(divide="ignore"):
        if np.isfinite(low) and np.isfinite(high):
            return np.log(value - low) - np.log(high - value)
        if np.isfinite(low):
            return np.log(value - low)
        return -np.log(high - value) if np.isfinite(high) else np.asarray(value)
