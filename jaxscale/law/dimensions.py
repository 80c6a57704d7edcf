"""Dimensional analysis of a law: how each parameter changes with the unit of an input or of the response.

A law ``f(x; theta)`` that does not fix the unit of its input satisfies ``f(c x; theta_k c^d_k) = c^e f(x; theta)``. The
exponents ``d_k`` follow from the law: Euler's identity ``x df/dx + sum_k d_k theta_k df/dtheta_k = 0`` (for the
response: ``sum_k d_k theta_k df/dtheta_k = f``) is linear in them, so that they are the least-squares solution for
slopes at a few points and parameters. If there is no solution the law fixes the unit, and declared ranges are absolute.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import jax
import numpy as np
from jaxtyping import Float

from jaxscale.law.algebra_builders import copies
from jaxscale.law.declaration import Input, unit
from jaxscale.law.declare import Law
from jaxscale.utils.arrays import Array, Value

RESPONSE = "response"
# Rows and parameter sets of the linear system: the smallest sizes that the design check compiles.
ROWS, SETS = 16, 16
# Relative step of the fourth-order difference in an input, and the relative tolerance of Euler's identity.
STEP, TOLERANCE = 1e-4, 1e-6
# Largest absolute exponent of a unit.
LARGEST = 4.0
_EXPONENTS: dict[Law, dict[str, dict[str, float]]] = {}
_FIXED: dict[Law, tuple[str, ...]] = {}
_FACTORS: dict[Law, tuple[str, ...]] = {}


def dimensions(law: Law) -> Mapping[str, Mapping[str, float]]:
    """Exponents of the units by parameter, then by input or "response"; zeros are omitted.

    They are computed only for rates, widths, coefficients and locations, and for amplitudes without declared powers.
    There are none for an input whose unit the law fixes.

    Args:
        law: the law.
    """
    if law not in _EXPONENTS:
        exponents_by_name: dict[str, dict[str, float]] = {}
        if any(_has_inferred_unit(law, name) for name in law.parameters):
            # In a thread of its own, so that values are concrete also while a program is traced.
            with ThreadPoolExecutor(1) as pool:
                exponents_by_name, _FIXED[law], _FACTORS[law] = pool.submit(_infer, law).result()
        places = {name: kind.input for name, kind in law.parameters.items() if kind.kind == "location" and kind.input}
        _EXPONENTS[law] = exponents_by_name | {name: {key: 1.0} for name, key in places.items()}
    return _EXPONENTS[law]


def fixed_units(law: Law) -> tuple[str, ...]:
    """Inputs whose unit the law fixes, and "response" if it fixes that of the response."""
    if law not in _FIXED:
        # In a thread of its own, so that values are concrete also while a program is traced.
        with ThreadPoolExecutor(1) as pool:
            _FIXED[law] = pool.submit(_infer, law).result()[1]
    return _FIXED[law]


def factors(law: Law) -> tuple[str, ...]:
    """Amplitudes of a power of an input that do not have the unit of the response."""
    dimensions(law)
    return _FACTORS.get(law, ())


def absolute(law: Law) -> tuple[str, ...]:
    """Parameters whose declared range is absolute, because the law fixes the unit of an input."""
    return tuple(
        name for name in law.parameters if set(fixed_units(law)) - {RESPONSE} and _has_inferred_unit(law, name)
    )


def _has_inferred_unit(law: Law, name: str) -> bool:
    kind = law.parameters[name]
    return kind.kind in ("positive_number", "coefficient") or (kind.kind == "amplitude" and not kind.powers)


def _infer(law: Law) -> tuple[dict[str, dict[str, float]], tuple[str, ...], tuple[str, ...]]:
    from jaxscale.law.slopes import slopes

    if copied := copies(law):
        assert law.recipe is not None
        exponents_by_name, fixed, plain = _infer(law.recipe[1][1][0])
        every = {
            each: exponents_by_name[key] for key, names in copied.items() if key in exponents_by_name for each in names
        }
        return every, fixed, tuple(each for key in plain for each in copied[key])
    try:
        with jax.enable_x64(True), np.errstate(all="ignore"):
            columns, sets = _sample(law)
            names = tuple(law.parameters)
            value, slope = slopes(law, names, columns, sets)
            moves = slope * np.stack([sets[name] for name in names], axis=-1)[:, None, :]
            changes = {name: _change(law, names, columns, sets, name) for name in law.inputs}
    except (ValueError, TypeError, FloatingPointError, ArithmeticError):
        return {}, (*law.inputs, RESPONSE), ()
    exponents_by_name: dict[str, dict[str, float]] = {}
    fixed, plain = [], ()
    for key, change in [*((name, -changes[name]) for name in law.inputs), (RESPONSE, value)]:
        known = np.zeros_like(value)
        for k, name in enumerate(names):
            kind = law.parameters[name]
            for input, power in kind.powers if kind.kind != "scale" else ():
                sign = -1.0 if power.startswith("-") else 1.0
                known += (sign * sets[power.lstrip("-")][:, None] if input == key else 0.0) * moves[:, :, k]
        exponents = _solve(names, moves, change - known, value)
        # A dimensionless parameter that would have to change with the unit fixes it.
        pure = any(exponents.get(name) for name in names if law.parameters[name].kind in ("fraction", "exponent"))
        if not exponents or pure:
            fixed.append(key)
            continue
        if key == RESPONSE:
            kinds = law.parameters
            plain = tuple(name for name in names if kinds[name].kind == "amplitude" and not exponents[name])
        for name, exponent in exponents.items():
            if exponent and _has_inferred_unit(law, name):
                exponents_by_name.setdefault(name, {})[key] = exponent
    return exponents_by_name, tuple(fixed), plain


def _solve(
    names: tuple[str, ...],
    moves: Float[np.ndarray, "set row param"],
    change: Float[np.ndarray, "set row"],
    value: Float[np.ndarray, "set row"],
) -> dict[str, float]:
    """Exponents that solve Euler's identity; empty if there is no solution."""
    table, goal, level = moves.reshape(-1, len(names)), change.ravel(), np.abs(value).ravel()
    weight = 1 / np.maximum(np.abs(table).max(axis=1) + np.abs(goal) + 1e-6 * level, np.finfo(float).tiny)
    good = np.isfinite(table).all(axis=1) & np.isfinite(goal) & np.isfinite(weight)
    if not good.any():
        return {}
    table, goal = table[good] * weight[good, None], goal[good] * weight[good]
    size = np.linalg.norm(table, axis=0)
    live = size > 1e-12
    exponents = np.zeros(len(names))
    for _ in names:
        exponents[:] = 0.0
        exponents[live] = np.linalg.lstsq(table[:, live] / size[live], goal, rcond=1e-8)[0] / size[live]
        if np.all(np.abs(exponents) <= LARGEST):
            break
        # Unidentified parameters have large exponents: solve for the others.
        live &= np.abs(exponents) <= LARGEST
    tidy = np.round(exponents * 12) / 12
    exponents = np.where(np.abs(tidy - exponents) < 1e-4, tidy, exponents)
    if np.linalg.norm(table @ exponents - goal) > TOLERANCE * max(np.linalg.norm(goal), 1e-3 * np.sqrt(len(goal))):
        return {}
    return dict(zip(names, exponents.tolist(), strict=True))


def _sample(law: Law) -> tuple[dict[str, Float[np.ndarray, " row"]], dict[str, Float[np.ndarray, " set"]]]:
    """Random inputs in their typical ranges and plausible parameters, in the law's units."""
    from jaxscale.law.coordinates import centre_of, draw

    generator = np.random.default_rng(0)
    columns = {name: _places(kind, generator) for name, kind in law.inputs.items()}
    response = np.array([0.3, 0.5, 0.7] if law.response.domain is unit else [0.5, 1.0, 2.0])
    centre = centre_of(law, columns, np.resize(response, ROWS), np, units=False)
    u = generator.uniform(0.03, 0.97, (len(law.parameters), SETS))
    drawn = draw(law, centre, tuple(law.parameters), u, {})
    return columns, {name: np.broadcast_to(np.asarray(drawn[name], float), (SETS,)) for name in law.parameters}


def _places(kind: Input, generator: np.random.Generator) -> Float[np.ndarray, " row"]:
    low, high = kind.sizes
    share = generator.uniform(0.05, 0.95, ROWS)
    if np.isfinite(kind.low) and np.isfinite(kind.high):
        return kind.low + share * (kind.high - kind.low)
    if not np.isfinite(kind.low):
        return low + share * (high - low)
    low = max(low, kind.low + 1e-3, 1e-2)
    return low * (high / low) ** share


def _change(
    law: Law,
    names: tuple[str, ...],
    columns: dict[str, Float[np.ndarray, " row"]],
    sets: dict[str, Float[np.ndarray, " set"]],
    name: str,
) -> Float[np.ndarray, "set row"]:
    """Logarithmic derivative ``x df/dx`` in one input, by a fourth-order finite difference."""
    from jaxscale.law.slopes import slopes

    def at(steps: int) -> Float[np.ndarray, "set row"]:
        return slopes(law, names, {**columns, name: columns[name] * np.exp(steps * STEP)}, sets)[0]

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)


def scale_of(kind: Input, values: Float[Array, "... row"], plain: bool, xp: ModuleType) -> Float[Value, ""]:
    """Scale of an input: the geometric mean of its values, or their range if they may be negative.

    Args:
        kind: the input.
        values: values in rows with positive weight, shape (n,).
        plain: whether the scale is absolute rather than relative to the typical size of the input.
        xp: array library.
    """
    low, high = kind.sizes if kind.relative else (1.0, 1.0)
    if kind.low >= 0:
        usual = 1.0 if plain else float(np.sqrt(max(low, 1e-6 * high) * high))
        return xp.exp(xp.mean(xp.log(values))) / usual
    usual = 1.0 if plain or high <= low else high - low
    spread = xp.max(values) - xp.min(values)
    return xp.where(spread > 0, spread, 1.0) / usual
