"""Laws whose parameters may have either sign: what they contain, and the right values on data that need them."""

from pathlib import Path

import numpy as np
import pytest

from jaxscale import laws
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import positive, real
from jaxscale.law.coordinates import centre_of, from_params, to_params
from jaxscale.noise import squared
from jaxscale.reporting import law_page

pytestmark = pytest.mark.usefixtures("x64")
X = np.geomspace(0.1, 40.0, 9)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("power_law", dict(a=2.0, b=-0.4), dict(c=0.0, a=2.0, b=-0.4)),
        ("power_law_floor", dict(c=0.3, a=2.0, b=0.4), dict(c=0.3, a=2.0, b=-0.4)),
        ("power_law_cap", dict(c=0.9, a=0.5, b=0.4), dict(c=0.9, a=-0.5, b=-0.4)),
        ("exp_saturation", dict(b1=3.0, b2=0.2), dict(c=3.0, a=-3.0, b=-0.2)),
        ("exp_decay_floor", dict(c=-3.0, a=2.0, b=0.2), dict(c=-3.0, a=2.0, b=-0.2)),
        ("exp_growth", dict(a=3.0, b=0.2), dict(c=0.0, a=3.0, b=0.2)),
    ],
)
def test_a_law_names_the_one_that_contains_it_with_either_sign(name: str, given: dict, expected: dict) -> None:
    law = laws.get(name)
    assert law.either_sign is not None
    counterpart = laws.get(law.either_sign)
    np.testing.assert_allclose(counterpart(X, **expected), law(X, **given), rtol=1e-14, atol=1e-14)
    assert f"Any sign       {counterpart.name}, which contains this law" in law_page.page(law)
    assert law_page.facts(law)["either_sign"] == counterpart.name


def test_every_law_that_is_named_has_parameters_of_either_sign() -> None:
    named = {law.either_sign for law in laws.catalogue().values() if law.either_sign}
    assert named == {"power_law_offset", "exp_offset"}
    for name in named:
        law = laws.get(name)
        assert law.either_sign is None
        assert law.response.domain is real and all(kind.support is real for kind in law.parameters.values())


def test_a_power_law_with_a_negative_constant(data: Path) -> None:
    table = data / "reported" / "offset_of_either_sign.csv"
    rows = Observations.from_table(table, inputs={"x": "r"}, response="y")
    found = fit("power_law_offset", rows, noise=squared())
    assert found.status == "converged"
    for name, value in dict(c=-3.465, a=2.1655, b=-0.3481).items():
        np.testing.assert_allclose(found.params[name], value, rtol=2e-4)


def test_an_exponential_that_rises_from_a_constant(data: Path) -> None:
    table = data / "reported" / "rising_exponential.csv"
    rows = Observations.from_table(table, inputs={"x": "temperature"}, response="intensity")
    found = fit("exp_offset", rows, noise=squared())
    assert found.status == "converged"
    for name, value in dict(c=112.93, a=4.728e-19, b=0.15980).items():
        np.testing.assert_allclose(found.params[name], value, rtol=2e-4)


@pytest.mark.parametrize(
    "params", [dict(c=-3.0, a=2.0, b=0.2), dict(c=1e4, a=-1e4, b=-1e-4), dict(c=1.0, a=9.0, b=-6.0)]
)
def test_coordinates_of_an_exponential_are_its_values_at_the_ends_and_its_rate(params: dict) -> None:
    law, x = laws.get("exp_offset"), np.linspace(-2.0, 8.0, 11)
    centre = centre_of(law, {"x": x}, law(x, **params))
    z = from_params(law, centre, tuple(law.parameters), params)
    np.testing.assert_allclose(z, [law(-2.0, **params), law(8.0, **params), 10.0 * params["b"]], rtol=1e-12)
    again = to_params(law, centre, tuple(law.parameters), z, {})
    for name, given in params.items():
        np.testing.assert_allclose(again[name], given, rtol=1e-9)


def test_a_product_of_powers_is_a_plane_in_the_logarithms() -> None:
    draws = np.random.default_rng(0)
    N, D = np.exp(draws.uniform(10.0, 20.0, (2, 24)))
    y = 3e4 * N**-0.4 * D**0.2 * np.exp(0.1 * draws.standard_normal(24))
    rows = Observations.from_table(dict(N=N, D=D, y=y), inputs=dict(x1="N", x2="D"), response="y")
    found = fit("power_product2", rows, noise=squared("log"))
    columns = np.stack([np.ones(24), np.log(N), np.log(D)], axis=1)
    k, first, second = np.linalg.lstsq(columns, np.log(y), rcond=None)[0]
    assert found.status == "converged" and first < 0 < second
    np.testing.assert_allclose(
        [np.log(found.params["k"]), found.params["b1"], found.params["b2"]], [k, first, second], rtol=1e-8
    )


def test_products_of_powers_take_as_many_inputs_as_they_are_asked_for() -> None:
    assert laws.get("power_product3") is laws.get("power_product[3]") and laws.get("power_product1").name[-1] == "1"
    law = laws.get("power_product3")
    assert law.response.domain is positive
    value = law(2.0, 4.0, 0.5, k=3.0, b1=3.0, b2=-0.5, b3=2.0)
    np.testing.assert_allclose(value, 3.0, rtol=1e-14)
