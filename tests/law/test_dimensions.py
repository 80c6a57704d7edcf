"""Results do not depend on the unit of an input or of the response."""

import numpy as np
import pytest

import jaxscale
from benchmarks import units
from jaxscale import laws
from jaxscale.law.dimensions import RESPONSE, absolute, dimensions, fixed_units

LAWS = (
    "power_law power_law_floor chinchilla kaplan_single hill logistic3 logistic4 gompertz richards exp_decay_floor "
    "exp_growth exp_saturation stretched_exp gaussian_peaks1 rational1 mmf probit_curve log_linear smooth_hinge bnsl1"
).split()


@pytest.mark.parametrize("name", LAWS)
def test_a_fit_is_the_same_in_any_unit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "FACTORS", (1e-9, 1e9))
    done = list(units.cases(laws.get(name)))
    assert done
    assert [case for case in done if case.fault] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chinchilla", {}),
        ("exp_decay_floor", {"a": {RESPONSE: 1.0}, "b": {"x": -1.0}}),
        ("logistic4", {"hi": {RESPONSE: 1.0}, "k": {"x": -1.0}, "x0": {"x": 1.0}}),
        ("probit_curve", {"hi": {RESPONSE: 1.0}, "s": {"x": 1.0}, "x0": {"x": 1.0}}),
        (
            "rational2",
            {
                "b0": {RESPONSE: 1.0},
                "b1": {"x": -1.0, RESPONSE: 1.0},
                "b2": {"x": -2.0, RESPONSE: 1.0},
                "c1": {"x": -1.0},
                "c2": {"x": -2.0},
            },
        ),
    ],
)
def test_dimensions_follow_from_the_law(name: str, expected: dict) -> None:
    assert dict(dimensions(laws.get(name))) == expected


def test_a_law_with_a_constant_or_a_logarithm_fixes_the_unit() -> None:
    assert fixed_units(laws.get("log_linear")) == ("x",) and absolute(laws.get("log_linear")) == ("a", "b")
    assert fixed_units(laws.get("amdahl")) == ("p", RESPONSE)
    assert fixed_units(laws.get("logistic4")) == () == absolute(laws.get("logistic4"))


@pytest.mark.parametrize("name", ["exp_decay_floor", "gaussian_peaks1", "richards", "smooth_hinge"])
def test_a_law_scales_by_its_dimensions(name: str) -> None:
    law = laws.get(name)
    (key,) = law.inputs
    params, factor, x = law.typical, 7.0, np.linspace(*law.inputs[key].sizes, 9)
    moved = {k: v * factor ** dimensions(law).get(k, {}).get(key, 0.0) for k, v in params.items()}
    np.testing.assert_allclose(law(factor * x, **moved), law(x, **params), rtol=1e-5)


def test_a_posterior_is_the_same_in_any_unit_of_the_inputs() -> None:
    generator = np.random.default_rng(0)
    x = np.geomspace(1e18, 1e23, 14)
    y = (1.7 + 2e3 * x**-0.15) * np.exp(0.003 * generator.standard_normal(14))
    found = []
    for factor in (1.0, 1e-17):
        rows = jaxscale.Observations.from_table({"x": x * factor, "y": y}, inputs=["x"], response="y")
        draws = jaxscale.posterior("power_law_floor", rows, progress=False)
        found.append(
            [draws.intervals().params[name][end] for name in ("c", "b") for end in ("estimate", "lower", "upper")]
        )
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert "prior_range" not in {notice.code for notice in draws.notices}


def test_responses_outside_the_range_of_a_default_prior_give_a_notice() -> None:
    x = np.geomspace(1.0, 100.0, 12)
    y = 300 + 500 * x**-0.5 * (1 + 0.01 * np.sin(7 * x))
    rows = jaxscale.Observations.from_table({"x": x, "y": y}, inputs=["x"], response="y")
    draws = jaxscale.posterior("power_law_floor", rows, progress=False)
    (message,) = [notice.message for notice in draws.notices if notice.code == "prior_range"]
    assert "declared for c" in message
