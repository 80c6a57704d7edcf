"""Coordinates: transformation of parameters to a centred, unconstrained vector, and its inverse.

In ``A / N**alpha`` with N near 1e9 the parameters A and alpha are so strongly correlated that most descents
fail. The coordinate of A is therefore the log of the term at the centre of the data,
``log A - alpha * log N0``, which is nearly uncorrelated with alpha.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float, Real, Shaped

from jaxscale.law.declaration import Parameter, Support, positive, unit
from jaxscale.law.declare import Law
from jaxscale.law.dimensions import RESPONSE, dimensions, factors, scale_of
from jaxscale.utils.arrays import Array, Number, Numbers, Value

# Range of positive exponents of starts, as is common for scaling laws; beyond it the objective is flat.
EXPONENTS = (0.05, 1.5)
# Ranges of starts, in the unit of the data: of positive and of real parameters in the unit of the response, and of
# parameters whose declared range may refer to other sizes of the inputs.
LEVELS, COEFFICIENTS, PLAIN = (1e-3, 10.0), (-3.0, 3.0), (1e-2, 1e2)


class Centre(eqx.Module):
    """Location and scale of the data for coordinates and starts: a few numbers for each column."""

    middle: dict[str, Float[Value, "*lane"]]
    low: dict[str, Float[Value, "*lane"]]
    high: dict[str, Float[Value, "*lane"]]
    response_low: Float[Value, "*lane"]
    response_high: Float[Value, "*lane"]
    response_size: Float[Value, "*lane"]
    unit: dict[str, Float[Value, "*lane"]] = eqx.field(default_factory=dict)


def centre_of(
    law: Law,
    inputs: Mapping[str, Real[Array, "... row"]],
    response: Real[Array, " _"],
    xp: ModuleType = jnp,
    units: bool = True,
) -> Centre:
    """Compute the centre of the data: log geometric mean (or mean) and range of each input, range of the response.

    Args:
        law: the law of the inputs.
        inputs: name to array of shape (n,), in the law's raw units.
        response: shape (n,).
        xp: array library; NumPy outside of compiled programs.
        units: whether to compute the units of the parameters that have one.
    """
    middle, low, high = {}, {}, {}
    for name, kind in law.inputs.items():
        x = xp.asarray(inputs[name])
        middle[name] = xp.mean(xp.log(x)) if kind.low >= 0 else xp.mean(x)
        low[name], high[name] = xp.min(x), xp.max(x)
    y = xp.asarray(response)
    size = xp.median(xp.abs(y))
    # If most responses are zero their median is not a scale.
    size = xp.where(size > 0, size, xp.where(xp.max(xp.abs(y)) > 0, xp.max(xp.abs(y)), 1.0))
    units_by_name = units_of(law, {name: xp.asarray(inputs[name]) for name in law.inputs}, size, xp) if units else {}
    return Centre(middle, low, high, xp.min(y), xp.max(y), size, units_by_name)


def units_of(
    law: Law, inputs: Mapping[str, Real[Array, "... row"]], response: Number | None, xp: ModuleType
) -> dict[str, Float[Value, ""]]:
    """Units of the parameters at the scale of the data, for parameters that have a unit.

    The unit of a rate of x is the inverse of the scale of x. A parameter in the unit of the response is scaled by the
    response as well; for the others the scale is relative to the typical sizes of the law's inputs, for which declared
    ranges hold.

    Args:
        law: the law.
        inputs: name to array of shape (n,).
        response: scale of the responses, or None to ignore it.
        xp: array library.
    """
    units: dict[str, Any] = {}
    if response is not None:
        # Starts scale every term by the response, but these amplitudes are dimensionless factors.
        units |= dict.fromkeys(factors(law), 1 / response)
    for name, exponents in dimensions(law).items():
        plain = RESPONSE in exponents and response is not None
        size: Any = 1.0
        if RESPONSE in exponents and response is not None:
            size = response ** exponents[RESPONSE]
        for key, exponent in exponents.items():
            if key != RESPONSE:
                size = size * scale_of(law.inputs[key], inputs[key], plain, xp) ** exponent
        units[name] = size
    return units


def _shift(law: Law, kind: Parameter, params: Mapping[str, Numbers], centre: Centre) -> Float[Value, "..."]:
    """Shift ``sum_i exponent_i * log input_i`` at the centre, with the declared signs."""
    total = 0.0
    for name, power in kind.powers:
        sign = -1.0 if power.startswith("-") else 1.0
        total = total + sign * params[power.lstrip("-")] * centre.middle[name]
    return total


def _power(kind: Parameter, params: Mapping[str, Numbers]) -> Float[Value, "..."]:
    name = kind.powers[0][1]
    return -params[name[1:]] if name.startswith("-") else params[name]


def dependency_order(law: Law, names: Sequence[str]) -> list[str]:
    """Sort names so that parameters on which others depend (exponents) come first."""
    return sorted(names, key=lambda name: bool(law.parameters[name].powers))


def to_params(
    law: Law,
    centre: Centre,
    free: Sequence[str],
    z: Sequence[Numbers] | Float[Array, "size ..."],
    fixed: Mapping[str, Numbers],
    held: Mapping[str, tuple[Shaped[Value, "..."], Numbers]] = MappingProxyType({}),
) -> dict[str, Numbers]:
    """Convert coordinates of free parameters and values of fixed ones to parameters by name.

    Args:
        law: the law.
        centre: centre of the data from :func:`centre_of`.
        free: names of the free parameters, in the order of z.
        z: coordinates, indexed by ``z[k]`` (each a scalar or an array of lanes).
        fixed: values of the other parameters.
        held: flags and values of free parameters that keep a value where the flag is set.
    """
    if has_own_coordinates(law, free):
        return dict(law.coordinates[0](z, centre))  # pyright: ignore[reportOptionalSubscript]
    params = dict(fixed)
    place = {name: k for k, name in enumerate(free)}
    for name in dependency_order(law, free):
        params[name] = _hold(held, name, value_at(law, name, z[place[name]], params, centre))
    return {name: params[name] for name in law.parameters}


def has_own_coordinates(law: Law, free: Sequence[str]) -> bool:
    """Whether the law's own coordinates are used, which requires that all parameters are free."""
    return law.coordinates is not None and len(free) == len(law.parameters)


def _hold(held: Mapping[str, tuple[Shaped[Value, "..."], Numbers]], name: str, value: Numbers) -> Numbers:
    return jnp.where(held[name][0], held[name][1], value) if name in held else value


def value_at(law: Law, name: str, z: Numbers, params: Mapping[str, Numbers], centre: Centre) -> Numbers:
    """Value of a parameter from its coordinate, given the parameters that it depends on."""
    kind = law.parameters[name]
    if kind.support is unit:
        return 1.0 / (1.0 + jnp.exp(-z))
    if kind.support is positive:
        if kind.kind == "scale":
            return jnp.exp(centre.middle[kind.powers[0][0]] + z / _power(kind, params))
        if kind.kind == "location" and kind.input is not None and law.inputs[kind.input].low >= 0:
            return jnp.exp(z + centre.middle[kind.input])
        return jnp.exp(z + _shift(law, kind, params, centre))
    if kind.support.bounded:
        return _between_ends(kind.support, z)
    if kind.powers:
        return z * centre.response_size * jnp.exp(_shift(law, kind, params, centre))
    return z


def _between_ends(support: Support, z: Numbers) -> Numbers:
    """Value in a user-defined interval from an unconstrained number, by logit or logarithm."""
    low, high = support.low, support.high
    if math.isinf(high):
        return low + jnp.exp(z)
    return high - jnp.exp(-z) if math.isinf(low) else low + (high - low) / (1.0 + jnp.exp(-z))


def _from_ends(support: Support, value: Numbers) -> Numbers:
    """The inverse of :func:`_between_ends`."""
    low, high = support.low, support.high
    if math.isinf(high):
        return jnp.log(value - low)
    return -jnp.log(high - value) if math.isinf(low) else jnp.log(value - low) - jnp.log(high - value)


def has_relative_range(law: Law, name: str) -> bool:
    """Whether the declared range of a parameter applies in any unit of the inputs and the response.

    It does not for amplitudes, scales, locations and floors, which depend on the units or on the data.
    """
    kind = law.parameters[name]
    if kind.kind in ("amplitude", "scale", "location", "floor") or RESPONSE in dimensions(law).get(name, {}):
        return False
    return all(law.inputs[key].relative for key in dimensions(law).get(name, {}))


def from_params(law: Law, centre: Centre, free: Sequence[str], params: Mapping[str, Numbers]) -> list[Numbers]:
    """Coordinates of the free parameters in order, the inverse of :func:`to_params`."""
    if has_own_coordinates(law, free):
        z = law.coordinates[1](params, centre)  # pyright: ignore[reportOptionalSubscript]
        return [z[k] for k in range(len(free))]
    return [coordinate_at(law, name, params[name], params, centre) for name in free]


def coordinate_at(law: Law, name: str, value: Numbers, params: Mapping[str, Numbers], centre: Centre) -> Numbers:
    """Coordinate of a parameter, given the parameters that it depends on, the inverse of :func:`value_at`."""
    kind = law.parameters[name]
    if kind.support is unit:
        return jnp.log(value) - jnp.log1p(-value)
    if kind.support is positive:
        if kind.kind == "scale":
            return (jnp.log(value) - centre.middle[kind.powers[0][0]]) * _power(kind, params)
        if kind.kind == "location" and kind.input is not None and law.inputs[kind.input].low >= 0:
            return jnp.log(value) - centre.middle[kind.input]
        return jnp.log(value) - _shift(law, kind, params, centre)
    if kind.support.bounded:
        return _from_ends(kind.support, value)
    if kind.powers:
        return value / (centre.response_size * jnp.exp(_shift(law, kind, params, centre)))
    return value


def transformed_mask(law: Law, free: Sequence[str]) -> list[bool]:
    """Mask of log or logit coordinates, whose steps are limited."""
    return [not has_own_coordinates(law, free) and law.parameters[name].support.bounded for name in free]


def draw(
    law: Law,
    centre: Centre,
    free: Sequence[str],
    u: Sequence[Numbers] | Float[Array, "free ..."],
    fixed: Mapping[str, Numbers],
    held: Mapping[str, tuple[Shaped[Value, "..."], Numbers]] = MappingProxyType({}),
) -> dict[str, Numbers]:
    """Parameters of starts from uniform numbers, in plausible ranges scaled by the data.

    Floors are below the smallest response, amplitudes give terms of 1e-3 to 1 times the
    response at the centre of the data, and breaks are inside the data; the others fill their ranges.

    Args:
        law: the law.
        centre: centre of the data from :func:`centre_of`.
        free: names of the free parameters.
        u: uniform numbers in (0, 1), ``u[k]`` for the k-th free parameter.
        fixed: values of the other parameters.
        held: flags and values of free parameters that keep a value where the flag is set.
    """
    params = dict(fixed)
    place = {name: k for k, name in enumerate(free)}
    for name in dependency_order(law, free):
        params[name] = _hold(held, name, _draw(law, name, u[place[name]], params, centre))
    return params


def _draw(law: Law, name: str, u: Float[Value, "..."], params: Mapping[str, Numbers], centre: Centre) -> Numbers:
    """Plausible value of a parameter; if a user-defined interval excludes it, a value from the whole interval."""
    support = law.parameters[name].support
    value = _plausible(law, name, u, params, centre)
    if not support.bounded or support in (positive, unit):
        return value
    low, high = support.low, support.high
    size = jnp.maximum(jnp.abs(value), 1.0)
    width = high - low if math.isfinite(high - low) else size
    anywhere = low + u * width if math.isfinite(low) else high - u * width
    return jnp.where((value > low) & (value < high), value, anywhere)


def _plausible(law: Law, name: str, u: Float[Value, "..."], params: Mapping[str, Numbers], centre: Centre) -> Numbers:
    kind = law.parameters[name]
    low, high = kind.range
    size = centre.response_size
    if kind.kind == "exponent" and kind.support is positive:
        low, high = max(low, min(EXPONENTS[0], high / 2)), min(high, max(EXPONENTS[1], low * 2))
    if kind.kind == "floor":
        if kind.support is positive:
            return u * jnp.where(centre.response_low > 0, centre.response_low, size)
        return centre.response_low + (2 * u - 1) * (centre.response_high - centre.response_low)
    if kind.kind in ("amplitude", "scale") and kind.powers:
        size = size * centre.unit.get(name, 1.0)
        if kind.support is not positive:
            return (2 * u - 1) * size * jnp.exp(_shift(law, kind, params, centre))
        term = jnp.log(size) + (u - 1) * jnp.log(1e3)
        return value_at(law, name, term, params, centre)
    if kind.kind == "location" and kind.input is not None:
        first, last = centre.low[kind.input], centre.high[kind.input]
        if kind.support is positive and law.inputs[kind.input].low >= 0:
            return first * (last / first) ** u
        return first + u * (last - first)
    if name in centre.unit and kind.kind != "fraction":
        return _in_unit(law, name, u, centre.unit[name])
    return _between(kind, low, high, u)


def _in_unit(law: Law, name: str, u: Float[Value, "..."], unit: Numbers) -> Numbers:
    """Value relative to the unit of the data; half of the values relative to the declared unit if that is ambiguous."""
    kind, exponents = law.parameters[name], dimensions(law)[name]
    low, high = kind.range
    if RESPONSE in exponents:
        signed = -LEVELS[1], -LEVELS[0]
        ends = LEVELS if low >= 0 or kind.support is positive else signed if high <= 0 else COEFFICIENTS
        return _between(kind, *ends, u) * unit
    if all(law.inputs[key].relative for key in exponents):
        return _between(kind, low, high, u) * unit
    # The declaration does not give the sizes of the input for which the range holds: it may be those of the data.
    twice = 2 * u
    plain = _between(kind, *(PLAIN if kind.support is positive else (-PLAIN[1], PLAIN[1])), jnp.clip(twice - 1, 0, 1))
    return jnp.where(twice < 1, _between(kind, low, high, jnp.clip(twice, 0, 1)), plain * unit)


def _between(kind: Parameter, low: float, high: float, u: Float[Value, "..."]) -> Numbers:
    """Interpolate in a range, logarithmically if it is on one side of 0."""
    if low > 0 or high < 0:
        near, far = (low, high) if low > 0 else (high, low)
        return near * (far / near) ** u
    if kind.support is positive:
        return jnp.maximum(high * u, jnp.finfo(jnp.result_type(float)).tiny)
    return low + u * (high - low)
