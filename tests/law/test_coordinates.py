"""Coordinates: round trips for every law, starts in the range of the data, and conditioning by centring."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import (
    Input,
    Law,
    Response,
    coefficient,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
    unit,
)
from jaxscale.law.coordinates import EXPONENTS, Centre, centre_of, draw, from_params, to_params, transformed_mask
from jaxscale.law.dimensions import dimensions
from tests.contracts.law_contracts import CATALOGUE, Contracts, assert_close

pytestmark = pytest.mark.usefixtures("x64")
LANES = 64


@law(
    inputs=dict(x=Input("", low=-np.inf)),
    response=Response("", unit),
    low=floor(real),
    share=fraction(),
    rate=positive_number(range=(0.0, 3.0)),
    debt=coefficient(range=(-1e-2, -1e-4)),
    centre=location("x", real),
    source="a test",
)
def every_other_kind(x, *, low, share, rate, debt, centre):
    """Kinds that no law of the catalogue declares in this way."""
    return low + share * jnp.tanh(rate * (x - centre)) + debt


@law(
    inputs=dict(x=Input("")),
    response=Response("", positive),
    height=coefficient(),
    tilt=coefficient(),
    coordinates=(
        lambda z, centre: {"height": z[0] - z[1] * centre.middle["x"], "tilt": z[1]},
        lambda params, centre: [params["height"] + params["tilt"] * centre.middle["x"], params["tilt"]],
    ),
    source="a test",
)
def own_coordinates(x, *, height, tilt):
    """A line in log x whose free coordinates are its height in the middle of the data, and its tilt."""
    return height + tilt * jnp.log(x)


@law(
    inputs=dict(x=Input("")),
    response=Response("", positive),
    height=coefficient(),
    power=coefficient(range=(-1e-2, -1e-4)),
    source="a test",
)
def bent(x, *, height, power):
    """A power whose range lies below 0."""
    return height * x**power


@law(
    inputs=dict(t=Input("")),
    response=Response("", positive),
    start=positive_number(),
    rate=positive_number(range=(0.1, 10.0)),
    debt=coefficient(range=(-1e-2, -1e-4)),
    source="a test",
)
def decay(t, *, start, rate, debt):
    """A rate in the unit of the input, and parameters in the unit of the response."""
    return start * jnp.exp(-rate * t) + debt


# A law without parameters has no coordinates.
LAWS = {name: law for name, law in CATALOGUE.items() if law.parameters}
LAWS |= {"every_other_kind": every_other_kind, "bent": bent, "decay": decay}
CONTRACTS = Contracts()
# Most rates of its starts make exponentials of thousands here; tests/laws/test_curves.py has coordinates of others.
BEYOND_DOUBLES = {"exp_offset"}


@functools.cache
def centre(law: Law, low: float = 2.0, high: float = 9.0) -> Centre:
    """The centre of a sweep over two decades of every input."""
    inputs = {name: (kind.lower or 10.0) * np.geomspace(10, 1e3, 12) for name, kind in law.inputs.items()}
    return centre_of(law, inputs, np.linspace(low, high, 12), np)


def drawn(law: Law, seed: int = 0, fixed: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    free = tuple(name for name in law.parameters if name not in (fixed or {}))
    u = np.random.default_rng(seed).uniform(1e-6, 1 - 1e-6, (len(free), LANES))
    params = draw(law, centre(law), free, list(map(jnp.asarray, u)), fixed or {})
    return {name: np.broadcast_to(np.asarray(value), LANES) for name, value in params.items()}


def test_the_centre_is_the_geometric_mean_where_the_input_is_positive() -> None:
    x = np.array([1.0, 10.0, 1e5])
    found = centre_of(laws.get("power_law"), {"x": x}, np.array([3.0, -5.0, 1.0]), np)
    assert found.middle["x"] == pytest.approx(np.log(100.0))
    assert (found.low["x"], found.high["x"]) == (1.0, 1e5)
    assert (found.response_low, found.response_high, found.response_size) == (-5.0, 3.0, 3.0)
    plain = centre_of(every_other_kind, {"x": np.array([-1.0, 0.0, 7.0])}, np.ones(3), np)
    assert plain.middle["x"] == pytest.approx(2.0)


def assert_round_trip(law: Law, params: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    free = tuple(name for name in law.parameters if name not in fixed)
    z = from_params(law, centre(law), free, params)
    assert len(z) == len(free)
    back = to_params(law, centre(law), free, z, fixed)
    assert list(back) == list(law.parameters)
    for name, value in params.items():
        assert_close(back[name], value, rtol=1e-10, err_msg=name)


@CONTRACTS.add
def published_parameters_survive_there_and_back(law: Law) -> None:
    for constants in law.published.values():
        assert_round_trip(law, constants, {})


@CONTRACTS.add
def drawn_parameters_survive_there_and_back(law: Law) -> None:
    if law.name not in BEYOND_DOUBLES:
        assert_round_trip(law, drawn(law), {})


@CONTRACTS.add
def coordinates_survive_there_and_back(law: Law) -> None:
    free = tuple(law.parameters)
    z = np.random.default_rng(1).uniform(-2.0, 2.0, (len(free), LANES))
    # Large exponents and tiny powers of scales overflow a double, so those of a drawn start are used.
    start = from_params(law, centre(law), free, drawn(law))
    z = np.stack(
        [np.asarray(start[k]) if law.parameters[name].kind == "exponent" else z[k] for k, name in enumerate(free)]
    )
    back = from_params(law, centre(law), free, to_params(law, centre(law), free, list(map(jnp.asarray, z)), {}))
    for k, name in enumerate(free):
        assert_close(back[k], z[k], rtol=1e-9, atol=1e-9, err_msg=name)


@CONTRACTS.add
def every_coordinate_lies_in_the_support(law: Law) -> None:
    free = tuple(law.parameters)
    z = np.random.default_rng(2).uniform(-8.0, 8.0, (len(free), 512))
    z[:, :2] = [-8.0, 8.0]
    params = to_params(law, centre(law), free, list(map(jnp.asarray, z)), {})
    leaning = {name for name, kind in law.parameters.items() if kind.powers}
    for name, kind in law.parameters.items():
        value = np.asarray(params[name])
        assert np.all((kind.support.low <= value) & (value <= kind.support.high)), name
        # Only a parameter that leans on an exponent can be too large or too small for a double.
        assert name in leaning or all(kind.support.contains(v) for v in value), name


@CONTRACTS.add
def every_coordinate_lies_inside_the_support_at_plausible_exponents(law: Law) -> None:
    free, start = tuple(law.parameters), drawn(law, 3)
    exponents = {name: start[name] for name, kind in law.parameters.items() if kind.kind == "exponent"}
    powers = {power.lstrip("-") for kind in law.parameters.values() for _, power in kind.powers}
    assert powers <= set(exponents)
    moved = tuple(name for name in free if name not in exponents)
    z = np.random.default_rng(3).uniform(-8.0, 8.0, (len(moved), LANES))
    # A scale is the exponent's inverse power of its term, so its exponent may not be tiny either.
    fixed = {
        name: np.maximum(value, 0.05) if law.parameters[name].support is positive else value
        for name, value in exponents.items()
    }
    params = to_params(law, centre(law), moved, list(map(jnp.asarray, z)), fixed)
    for name in moved:
        assert all(law.parameters[name].support.contains(v) for v in np.asarray(params[name])), name


@CONTRACTS.add
def a_start_lies_in_the_support_and_suits_the_data(law: Law) -> None:
    params, data = drawn(law, 4), centre(law)
    for name, kind in law.parameters.items():
        value, (low, high) = params[name], kind.range
        assert all(kind.support.contains(v) for v in value), name
        if kind.kind == "floor" and kind.support is positive:
            assert np.all(value < data.response_low), name
        elif kind.kind == "floor":
            assert np.all(np.abs(value - data.response_low) <= data.response_high - data.response_low), name
        elif kind.input is not None:
            assert np.all((data.low[kind.input] <= value) & (value <= data.high[kind.input])), name
        elif kind.powers:
            # An amplitude that is no part of the response has its own unit.
            shares = term(law, name, params, data) / (data.response_size * data.unit.get(name, 1.0))
            assert np.all(shares <= 1 + 1e-9), name
            assert kind.support is real or np.all(shares >= 1e-3 * (1 - 1e-9)), name
        elif name not in data.unit or kind.kind == "fraction":
            assert np.all((low <= value) & (value <= high)), name
        else:
            assert np.all(plausible(law, name, value, value / data.unit[name])), name


def plausible(law: Law, name: str, value: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Whether values lie in the range of a start, by their sizes in the data's own unit."""
    kind, exponents = law.parameters[name], dimensions(law)[name]
    low, high = kind.range
    if "response" in exponents:
        # Measured in the response's unit: 1e-3 to 10 of the responses, of the declared sign if there is one.
        sign = 1 if low >= 0 else -1 if high <= 0 else 0
        ends = (1e-3, 10.0) if sign else (-3.0, 3.0)
        return within(size * (sign or 1), *ends)
    if all(law.inputs[key].relative for key in exponents):
        return within(size, low, high)
    # What the range counts in is not said: it may be the data's own unit.
    return within(value, low, high) | within(size, *((1e-2, 1e2) if kind.support is positive else (-1e2, 1e2)))


def within(value: np.ndarray, low: float, high: float) -> np.ndarray:
    slack = 1e-9 * max(abs(low), abs(high))
    return (low - slack <= value) & (value <= high + slack)


def term(law: Law, name: str, params: Mapping[str, Any], data: Centre) -> np.ndarray:
    """The size at the data's centre of the term that an amplitude or a scale stands in."""
    kind, logs = law.parameters[name], np.log(np.abs(params[name]))
    signed = [(data.middle[x], -params[b[1:]] if b.startswith("-") else params[b]) for x, b in kind.powers]
    if kind.kind == "scale":
        (middle, power) = signed[0]
        return np.exp((logs - middle) * power)
    return np.exp(logs - sum(middle * power for middle, power in signed))


def test_starts_fill_their_ranges() -> None:
    params, data = drawn(laws.get("chinchilla"), 5), centre(laws.get("chinchilla"))
    assert params["E"].min() < 0.1 * data.response_low and params["E"].max() > 0.9 * data.response_low
    shares = term(laws.get("chinchilla"), "A", params, data) / data.response_size
    assert shares.min() < 3e-3 and shares.max() > 0.3
    low, high = EXPONENTS
    assert np.all((low <= params["alpha"]) & (params["alpha"] <= high))
    assert params["alpha"].min() < 2 * low and params["alpha"].max() > high / 2


def test_a_floor_is_drawn_below_the_middle_response_where_the_smallest_is_not_positive() -> None:
    law = laws.get("power_law_floor")
    u = jnp.full((3, 1), 0.25)
    found = centre(law, -1.0, 1.0)
    params = draw(law, found, tuple(law.parameters), u, {})
    assert float(params["c"][0]) == pytest.approx(0.25 * found.response_size)


def test_the_size_of_responses_is_that_of_the_largest_where_most_are_zero() -> None:
    y = np.array([0.0, 0.0, 0.0, 8.0])
    assert centre_of(laws.get("power_law"), {"x": np.array([1.0, 2.0, 3.0, 4.0])}, y, np).response_size == 8.0


def test_ranges_on_one_side_of_zero_are_filled_in_logs() -> None:
    u = jnp.asarray([[0.0, 0.5, 1.0]])
    params = draw(bent, centre(bent), ("power",), u, {})
    assert_close(params["power"], [-1e-4, -1e-3, -1e-2])
    # In the response's own unit of 5.5 where the parameter is measured in that of the response.
    params = draw(decay, centre(decay), ("debt",), u, {})
    assert_close(params["debt"], [-5.5e-3, -5.5e-1, -5.5e1])


def test_a_rate_is_drawn_in_the_inverse_unit_of_its_input() -> None:
    u = jnp.asarray([[0.25, 0.75]])
    small, large = (centre_of(decay, {"t": size * np.geomspace(10, 1e3, 12)}, np.ones(12), np) for size in (1.0, 1e6))
    first, second = (draw(decay, data, ("rate",), u, {})["rate"] for data in (small, large))
    # Half of the starts are in the declared range, half relative to the input's geometric mean of 100.
    assert_close(first, [np.sqrt(0.1 * 10), np.sqrt(1e-2 * 1e2) / 100])
    assert_close(second, [np.sqrt(0.1 * 10), np.sqrt(1e-2 * 1e2) / 1e8])


def test_the_free_coordinate_of_an_amplitude_is_the_log_of_its_term() -> None:
    chinchilla = laws.get("chinchilla")
    data, params = centre(chinchilla), dict(chinchilla.published["hoffmann2022"])
    z = from_params(chinchilla, data, ("A", "B"), params)
    assert_close(np.exp(z), [term(chinchilla, name, params, data) for name in ("A", "B")])


@CONTRACTS.add
def fixed_parameters_stay_and_the_others_lean_on_them(law: Law) -> None:
    whole = drawn(law, 6)
    for name in law.parameters:
        fixed = {name: whole[name]}
        started = drawn(law, 7, fixed)
        np.testing.assert_array_equal(started[name], whole[name])
        if len(law.parameters) > 1:
            assert_round_trip(law, {**started, **fixed}, fixed)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_law_keeps_its_contracts_of_coordinates(law: Law) -> None:
    CONTRACTS.assert_all(law)


def test_log_and_logit_coordinates_are_marked() -> None:
    assert transformed_mask(laws.get("bnsl1"), ("a", "b", "c0", "c1", "d1", "f1")) == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert transformed_mask(every_other_kind, ("share", "rate", "debt")) == [True, True, False]
    assert transformed_mask(own_coordinates, ("height", "tilt")) == [False, False]


def test_a_law_may_bring_its_own_coordinates() -> None:
    params = dict(height=2.0, tilt=-0.3)
    assert_round_trip(own_coordinates, params, {})
    z = from_params(own_coordinates, centre(own_coordinates), ("height", "tilt"), params)
    assert z[0] == pytest.approx(2.0 - 0.3 * np.log(1e3))


def squared_condition(f: Any, at: Any) -> float:
    """The condition number of the Gauss-Newton matrix of a vector function."""
    return float(np.linalg.cond(np.asarray(jax.jacfwd(f)(jnp.asarray(at, float))))) ** 2


@pytest.mark.parametrize("name", laws.get("chinchilla").published)
def test_centring_makes_the_problem_well_conditioned(name: str) -> None:
    chinchilla = laws.get("chinchilla")
    N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(5e7, 2e10, 6), np.geomspace(1e9, 5e11, 6)))
    free, params = tuple(chinchilla.parameters), dict(chinchilla.published[name])
    data = centre_of(chinchilla, dict(N=N, D=D), chinchilla(N, D, **params), np)

    def logs(by_name: Mapping[str, Any]) -> Any:
        return jnp.log(chinchilla(N, D, **by_name))

    values = np.array([params[key] for key in free])
    centred = squared_condition(
        lambda z: logs(to_params(chinchilla, data, free, z, {})), from_params(chinchilla, data, free, params)
    )
    plain = squared_condition(lambda v: logs(dict(zip(free, v, strict=True))), values)
    in_logs = squared_condition(lambda v: logs(dict(zip(free, jnp.exp(v), strict=True))), np.log(values))
    assert centred < 1e4
    assert plain >= 1e4 * centred
    # Logarithms without a centre make up for the parameters' sizes, not for what couples them.
    assert in_logs >= 50 * centred
