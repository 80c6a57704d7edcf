"""Parameters fixed at an end of their support: a floor or an exponent of 0, a fraction of 0 or 1."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import LawError, Observations, laws
from jaxscale.law import algebra
from jaxscale.law.fixed_values import describe_invalid
from jaxscale.noise import squared
from tests.commands import refused, run

N = np.geomspace(1e6, 1e9, 16)
LOG = squared("log")


@pytest.fixture(scope="module")
def runs() -> Observations:
    loss = 40.0 * N**-0.2 * np.exp(0.01 * np.random.default_rng(0).standard_normal(16))
    return Observations.from_table(dict(x=N, loss=loss), inputs=["x"], response="loss")


@pytest.fixture(scope="module")
def line(runs: Observations) -> np.ndarray:
    """Exponent and log amplitude of the power law without a floor, by linear regression."""
    return np.polyfit(np.log(N), np.log(runs.response), 1)


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("chinchilla", dict(E=0.0), None),
        ("chinchilla", dict(E=0.0, alpha=0.0, A=0.0), None),
        ("chinchilla", dict(E=-1e-9), "must keep E in its support (positive), but sets it to -1e-09"),
        ("chinchilla", dict(A=np.inf), "must keep A in its support (positive), but sets it to inf"),
        ("chinchilla", dict(E=np.nan), "must keep E in its support (positive), but sets it to nan"),
        ("kaplan_single", dict(alpha=0.0), "sets alpha to 0, where kaplan_single does not depend on X_c; fix X_c too"),
        ("kaplan_single", dict(alpha=0.0, X_c=1e13), None),
        (
            "chinchilla_optimum_n",
            dict(alpha=0.0, beta=0.0),
            "sets alpha to 0 and beta to 0, an end of the support where chinchilla_optimum_n is not finite; choose a "
            "value inside",
        ),
        ("power_law_offset", dict(b=0.0), None),
    ],
)
def test_ends_of_a_support_are_allowed_where_the_law_is_finite(name: str, values: dict, wrong: str | None) -> None:
    assert describe_invalid(laws.get(name), values) == wrong


def test_a_fraction_may_be_fixed_at_both_ends() -> None:
    law = laws.get("accuracy_sigmoid_loss")
    assert describe_invalid(law, {"b": 0.0}) is None and describe_invalid(law, {"b": 1.0}) is None
    assert describe_invalid(laws.get("multifractal_tau"), {"p": 1.0}) is not None


def test_a_fit_without_a_floor_is_the_power_law(runs: Observations, line: np.ndarray) -> None:
    found = jaxscale.fit("power_law_floor", runs, noise=LOG, fixed={"c": 0})
    assert found.status == "converged" and found.fixed == {"c": 0.0}
    np.testing.assert_allclose([-found.params["b"], np.log(found.params["a"])], line, rtol=1e-8)
    assert jaxscale.check(laws.get("power_law_floor"), {"x": N}, fixed={"c": 0.0}).verdict == "identified"
    again = jaxscale.Fit.from_json(found.to_json())
    assert again.fixed == {"c": 0.0}
    profiled = jaxscale.profile(found, ["b"], level=0.9)["b"]
    assert profiled.lower < found.params["b"] < profiled.upper
    refits = jaxscale.bootstrap(found, n_resamples=20)
    assert refits.about["failed"] == 0 and np.all(refits.params["c"] == 0.0)


def test_starts_by_name_go_with_a_value_at_an_end(runs: Observations, line: np.ndarray) -> None:
    found = jaxscale.fit("power_law_floor", runs, noise=LOG, fixed={"c": 0}, starts=dict(a=[30.0], b=[0.3]))
    np.testing.assert_allclose(-found.params["b"], line[0], rtol=1e-8)


def test_nested_laws_may_be_held_at_an_end(runs: Observations, line: np.ndarray) -> None:
    many = jaxscale.fit_many("power_law_floor", runs, noise=LOG, fixed=[{"c": 0.0}, {}, {"c": 0.1}])
    assert many.params["c"][0] == 0.0 and many.params["c"][2] == 0.1
    np.testing.assert_allclose(-many.params["b"][0], line[0], rtol=1e-6)
    assert np.all(many.objective[0] >= many.objective[1] * (1 - 1e-9))


def test_a_posterior_without_a_floor(runs: Observations, line: np.ndarray) -> None:
    drawn = jaxscale.posterior("power_law_floor", runs, likelihood=jaxscale.likelihoods.normal("log"), fixed={"c": 0.0})
    assert np.all(drawn.params["c"] == 0.0)
    np.testing.assert_allclose(-np.median(drawn.params["b"]), line[0], atol=5e-3)


def test_the_solver_takes_a_value_at_an_end(runs: Observations, line: np.ndarray, x64: None) -> None:
    found = jaxscale.solve(laws.get("power_law_floor"), {"x": N}, runs.response, noise=LOG, fixed={"c": 0.0}, starts=32)
    np.testing.assert_allclose(-found.params["b"], line[0], rtol=1e-6)


def test_laws_are_made_with_values_at_an_end() -> None:
    law = algebra.fix(laws.get("chinchilla"), E=0.0)
    np.testing.assert_allclose(law(1e9, 2e10, A=400.0, alpha=0.3, B=400.0, beta=0.3), 400 * (1e-9**0.3 + 2e10**-0.3))
    with pytest.raises(LawError, match=r"^fix of kaplan_single sets alpha to 0, where kaplan_single does not"):
        algebra.fix(laws.get("kaplan_single"), alpha=0.0)


@pytest.mark.usefixtures("with_example")
def test_the_command_takes_the_end_of_a_support() -> None:
    words = ["fit", "runs.csv", "--law", "my_laws.py:my_law", "--allow-unidentified", "--json", "out.json"]
    assert run(*words, "--fix", "E=0").exit_code in (0, 3)
    assert json.loads(Path("out.json").read_text())["fixed"] == {"E": 0.0}
    message = refused(*words, "--fix", "E=-1")
    assert message == "Option --fix must keep E in its support (positive), but sets it to -1.0."
