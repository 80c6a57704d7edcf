"""Coordinates: from parameters by name to a centred, unconstrained vector, and back.

``A / N**alpha`` with N near 1e9 couples A and alpha so tightly that most descents die on the
way. The engine moves in the log of the term's size at the centre of the data instead,
``log A - alpha * log N0``, where A and alpha are nearly independent.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jaxscale.law import Law, Parameter, positive, unit

# Positive exponents of starts lie here: the field's start box. Beyond it valleys are flat and descents long.
EXPONENTS = (0.05, 1.5)


class Centre(eqx.Module):
    """What the coordinates and the starts need to know of the data: a few numbers per column."""

    middle: dict[str, Any]
    low: dict[str, Any]
    high: dict[str, Any]
    response_low: Any
    response_high: Any
    response_size: Any


def centre_of(law: Law, inputs: Mapping[str, Any], response: Any, xp: Any = jnp) -> Centre:
    """Measure the data: per input its log geometric mean (or mean) and range; the response's range.

    Args:
        law: the law whose inputs these are.
        inputs: name to array of shape (n,), in the law's raw units.
        response: shape (n,).
        xp: the array library; NumPy at the front doors, where nothing need be compiled for it.
    """
    middle, low, high = {}, {}, {}
    for name, kind in law.inputs.items():
        x = xp.asarray(inputs[name])
        middle[name] = xp.mean(xp.log(x)) if kind.low >= 0 else xp.mean(x)
        low[name], high[name] = xp.min(x), xp.max(x)
    y = xp.asarray(response)
    middling, mean = xp.median(xp.abs(y)), xp.mean(xp.abs(y))
    # Half of the responses may be 0.
    return Centre(middle, low, high, xp.min(y), xp.max(y), xp.where(middling > 0, middling, mean))


def _shift(law: Law, kind: Parameter, params: Mapping[str, Any], centre: Centre) -> Any:
    """``sum_i exponent_i * log input_i`` at the centre, with the declared signs."""
    total = 0.0
    for name, power in kind.powers:
        sign = -1.0 if power.startswith("-") else 1.0
        total = total + sign * params[power.lstrip("-")] * centre.middle[name]
    return total


def _power(kind: Parameter, params: Mapping[str, Any]) -> Any:
    name = kind.powers[0][1]
    return -params[name[1:]] if name.startswith("-") else params[name]


def ordered(law: Law, names: Sequence[str]) -> list[str]:
    """Names with the parameters others lean on (exponents) first."""
    return sorted(names, key=lambda name: bool(law.parameters[name].powers))


def to_params(
    law: Law,
    centre: Centre,
    free: Sequence[str],
    z: Any,
    fixed: Mapping[str, Any],
    held: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Parameters by name from the coordinates of the free ones and the values of the fixed ones.

    Args:
        law: the law.
        centre: measured by :func:`centre_of`.
        free: names of the free parameters, in the order of z.
        z: coordinates, indexed by ``z[k]`` (each a scalar or an array of lanes).
        fixed: values of the other parameters.
        held: flags and values of free parameters that keep a value where the flag is set.
    """
    if owned(law, free):
        return dict(law.coordinates[0](z, centre))  # pyright: ignore[reportOptionalSubscript]
    params = dict(fixed)
    place = {name: k for k, name in enumerate(free)}
    for name in ordered(law, free):
        params[name] = _kept(held, name, value_at(law, law.parameters[name], z[place[name]], params, centre))
    return {name: params[name] for name in law.parameters}


def owned(law: Law, free: Sequence[str]) -> bool:
    """Whether the law's own coordinates are used: they speak of all parameters at once."""
    return law.coordinates is not None and len(free) == len(law.parameters)


def _kept(held: Mapping[str, tuple[Any, Any]], name: str, value: Any) -> Any:
    return jnp.where(held[name][0], held[name][1], value) if name in held else value


def value_at(law: Law, kind: Parameter, z: Any, params: Mapping[str, Any], centre: Centre) -> Any:
    """A parameter at its coordinate, given the parameters that it leans on."""
    if kind.support is unit:
        return 1.0 / (1.0 + jnp.exp(-z))
    if kind.support is positive:
        if kind.kind == "scale":
            return jnp.exp(centre.middle[kind.powers[0][0]] + z / _power(kind, params))
        if kind.kind == "location" and kind.input is not None and law.inputs[kind.input].low >= 0:
            return jnp.exp(z + centre.middle[kind.input])
        return jnp.exp(z + _shift(law, kind, params, centre))
    if kind.powers:
        return z * centre.response_size * jnp.exp(_shift(law, kind, params, centre))
    return z


def from_params(law: Law, centre: Centre, free: Sequence[str], params: Mapping[str, Any]) -> list[Any]:
    """Coordinates of the free parameters, in their order: the inverse of :func:`to_params`."""
    if owned(law, free):
        z = law.coordinates[1](params, centre)  # pyright: ignore[reportOptionalSubscript]
        return [z[k] for k in range(len(free))]
    return [coordinate_at(law, law.parameters[name], params[name], params, centre) for name in free]


def coordinate_at(law: Law, kind: Parameter, value: Any, params: Mapping[str, Any], centre: Centre) -> Any:
    """The coordinate of a parameter, given the parameters that it leans on: the inverse of :func:`value_at`."""
    if kind.support is unit:
        return jnp.log(value) - jnp.log1p(-value)
    if kind.support is positive:
        if kind.kind == "scale":
            return (jnp.log(value) - centre.middle[kind.powers[0][0]]) * _power(kind, params)
        if kind.kind == "location" and kind.input is not None and law.inputs[kind.input].low >= 0:
            return jnp.log(value) - centre.middle[kind.input]
        return jnp.log(value) - _shift(law, kind, params, centre)
    if kind.powers:
        return value / (centre.response_size * jnp.exp(_shift(law, kind, params, centre)))
    return value


def curved(law: Law, free: Sequence[str]) -> list[bool]:
    """Which coordinates are logarithms (their steps are capped) rather than plain numbers."""
    return [not owned(law, free) and law.parameters[name].support in (positive, unit) for name in free]


def draw(
    law: Law,
    centre: Centre,
    free: Sequence[str],
    u: Any,
    fixed: Mapping[str, Any],
    held: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Parameters of a start from uniform numbers: plausible ranges, scaled by the data.

    Floors lie below the smallest response, every amplitude makes its term 1e-3 to 1 of the
    response at the data's centre, breaks lie inside the data; the rest fill their ranges.

    Args:
        law: the law.
        centre: measured by :func:`centre_of`.
        free: names of the free parameters.
        u: uniform numbers in (0, 1), ``u[k]`` for the k-th free parameter.
        fixed: values of the other parameters.
        held: flags and values of free parameters that keep a value where the flag is set.
    """
    params = dict(fixed)
    place = {name: k for k, name in enumerate(free)}
    for name in ordered(law, free):
        params[name] = _kept(held, name, _drawn(law, law.parameters[name], u[place[name]], params, centre))
    return params


def _drawn(law: Law, kind: Parameter, u: Any, params: Mapping[str, Any], centre: Centre) -> Any:
    low, high = kind.range
    size = centre.response_size
    if kind.kind == "exponent" and kind.support is positive:
        low, high = max(low, min(EXPONENTS[0], high / 2)), min(high, max(EXPONENTS[1], low * 2))
    if kind.kind == "floor":
        if kind.support is positive:
            return u * jnp.where(centre.response_low > 0, centre.response_low, size)
        return centre.response_low + (2 * u - 1) * (centre.response_high - centre.response_low)
    if kind.kind in ("amplitude", "scale") and kind.powers:
        if kind.support is not positive:
            return (2 * u - 1) * size * jnp.exp(_shift(law, kind, params, centre))
        term = jnp.log(size) + (u - 1) * jnp.log(1e3)
        return value_at(law, kind, term, params, centre)
    if kind.kind == "location" and kind.input is not None:
        first, last = centre.low[kind.input], centre.high[kind.input]
        if kind.support is positive and law.inputs[kind.input].low >= 0:
            return first * (last / first) ** u
        return first + u * (last - first)
    if low > 0 or high < 0:
        near, far = (low, high) if low > 0 else (high, low)
        return near * (far / near) ** u
    if kind.support is positive:
        return jnp.maximum(high * u, jnp.finfo(jnp.result_type(float)).tiny)
    return low + u * (high - low)
