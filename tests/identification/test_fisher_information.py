"""Numbers of the design check: expected standard errors and their scaling."""

import logging
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import laws
from jaxscale.data.designs import isoflop
from jaxscale.identification.identifiability import check
from jaxscale.law import Input, Response, amplitude, coefficient, exponent, law, positive, real, unit
from tests.designs import Design, by_ratio

CHINCHILLA = laws.get("chinchilla")
TRUTH = CHINCHILLA.published["besiroglu2024"]


@law(
    inputs=dict(x=Input("", low=-math.inf)),
    response=Response("", real),
    source="a textbook",
    a=coefficient(),
    b=coefficient(),
)
def line(x, *, a, b):
    """A straight line."""
    return a + b * x


@law(inputs=dict(x=Input("")), response=Response("", unit), source="a textbook", a=amplitude(x="b"), b=exponent())
def share(x, *, a, b):
    """A share that falls with x."""
    return a * x**-b / (1 + a * x**-b)


def test_four_sizes_at_two_ratios_have_the_known_standard_errors() -> None:
    found = check(CHINCHILLA, by_ratio(np.geomspace(6.6e6, 124e6, 4), [5, 80]), params=TRUTH)
    assert found.stderr["alpha"] == pytest.approx(0.0401, abs=5e-4)
    assert found.stderr["beta"] == pytest.approx(0.0111, abs=5e-4)


def test_standard_errors_are_those_of_the_inverse_information() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    N, D = design["N"], design["D"]
    n_term, d_term = TRUTH["A"] / N ** TRUTH["alpha"], TRUTH["B"] / D ** TRUTH["beta"]
    columns = [1 + 0 * N, n_term / TRUTH["A"], -n_term * np.log(N), d_term / TRUTH["B"], -d_term * np.log(D)]
    slope = np.stack(columns, axis=1) / (TRUTH["E"] + n_term + d_term)[:, None] / 0.02
    size = np.linalg.norm(slope, axis=0)
    expected = np.sqrt(np.diag(np.linalg.inv((slope / size).T @ (slope / size)))) / size
    found = check(CHINCHILLA, design, params=TRUTH, noise_level=0.02)
    np.testing.assert_allclose([found.stderr[name] for name in CHINCHILLA.parameters], expected, rtol=1e-8)
    assert found.condition == pytest.approx(np.linalg.cond(slope / size), rel=1e-9)


@settings(max_examples=10)
@given(st.floats(0.01, 100.0))
def test_the_noise_level_scales_the_standard_errors(factor: float) -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    plain, scaled = (check(CHINCHILLA, design, noise_level=0.005 * by) for by in (1.0, factor))
    assert scaled.condition == pytest.approx(plain.condition)
    assert scaled.stderr == pytest.approx({name: factor * value for name, value in plain.stderr.items()})


def test_much_noise_makes_a_good_design_bad() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    assert check(CHINCHILLA, design).verdict == "identified"
    assert check(CHINCHILLA, design, noise_level=0.2).verdict == "not identified"


def test_a_row_of_weight_zero_is_not_there() -> None:
    N = np.geomspace(1e7, 1e9, 8)
    lean = dict(N=N, D=20 * N)
    whole = {name: np.append(values, more) for (name, values), more in zip(lean.items(), (1e7, 1e11), strict=True)}
    weight = np.append(np.ones(8), 0.0)
    assert check(CHINCHILLA, whole, weight=weight) == check(CHINCHILLA, lean)


@settings(max_examples=10)
@given(st.floats(1e-3, 1e3))
def test_only_ratios_of_weights_matter(factor: float) -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    weight = np.linspace(1.0, 2.0, 15)
    plain, scaled = (check(CHINCHILLA, design, weight=by * weight) for by in (1.0, factor))
    assert scaled.stderr == pytest.approx(plain.stderr)
    assert plain.stderr != pytest.approx(check(CHINCHILLA, design).stderr, rel=1e-3)


def test_a_weight_of_two_counts_a_row_twice() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    twice = {name: np.append(values, values[:5]) for name, values in design.items()}
    weighted = check(CHINCHILLA, design, weight=np.repeat([2.0, 1.0, 1.0], 5))
    share = math.sqrt(20 / 15)
    expected = {name: value * share for name, value in check(CHINCHILLA, twice).stderr.items()}
    assert weighted.stderr == pytest.approx(expected)


def test_the_order_of_rows_does_not_matter() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    order = np.random.default_rng(1).permutation(15)
    shuffled = {name: values[order] for name, values in design.items()}
    assert check(CHINCHILLA, shuffled).stderr == pytest.approx(check(CHINCHILLA, design).stderr)


def test_what_the_rows_leave_open_is_infinite_and_the_rest_is_not() -> None:
    found = check(CHINCHILLA, dict(N=np.geomspace(1e7, 1e9, 6), D=np.full(6, 1e10)))
    assert {name for name, value in found.stderr.items() if math.isinf(value)} == {"E", "B", "beta"}
    assert found.condition == math.inf
    assert found.parameters == ("E", "B", "beta")
    assert found.confounded == (("E", "B", "beta"),)


def test_real_responses_and_shares() -> None:
    assert check(line, dict(x=np.linspace(-1.0, 1.0, 5))).verdict == "identified"
    still = check(line, dict(x=np.zeros(5)))
    assert still.parameters == ("b",)
    assert "the response does not depend on b" in still.message
    off = check(line, dict(x=np.full(5, 3.0)))
    assert off.parameters == ("a", "b") and off.confounded == (("a", "b"),)
    assert check(line, dict(x=np.append(np.full(5, 3.0), off.suggested_runs[0]["x"]))).verdict == "identified"
    assert check(share, dict(x=np.geomspace(1.0, 10.0, 5))).verdict == "identified"
    # A noise of 0.5 % of the share y moves its logit, here a - b log x, by 0.005 / (1 - y).
    x, params = np.geomspace(1.0, 10.0, 5), dict(a=0.5, b=0.4)
    y = 0.5 * x**-0.4 / (1 + 0.5 * x**-0.4)
    slope = np.stack([np.full(5, 1 / 0.5), -np.log(x)], axis=1) * (1 - y)[:, None] / 0.005
    expected = np.sqrt(np.diag(np.linalg.inv(slope.T @ slope)))
    assert list(check(share, dict(x=x), params=params).stderr.values()) == pytest.approx(expected.tolist())


def test_one_odd_parameter_set_decides_nothing() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    odd = {**TRUTH, "A": 1e-3}
    assert check(CHINCHILLA, design, params=odd).verdict == "not identified"
    assert check(CHINCHILLA, design, params=[odd, TRUTH, TRUTH]).verdict == "identified"


def test_a_second_design_of_the_same_size_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    @law(
        inputs=dict(x=Input("")), response=Response("", positive), source="a textbook", a=amplitude(x="b"), b=exponent()
    )
    def fresh(x, *, a, b):
        """A law without compiled programs."""
        return a * x**-b

    def compiled(design: Design) -> int:
        caplog.clear()
        with jax.log_compiles(True), caplog.at_level(logging.WARNING):
            check(fresh, design)
        return sum(record.message.startswith("Compiling") for record in caplog.records)

    assert compiled(dict(x=np.geomspace(1.0, 10.0, 5))) > 0
    assert compiled(dict(x=np.geomspace(2.0, 70.0, 13))) == 0


def test_the_default_precision_stays_what_it_was() -> None:
    check(CHINCHILLA, isoflop([1e19, 1e20, 1e21], 5))
    assert jax.numpy.ones(1).dtype == np.float32
