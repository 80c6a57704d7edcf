"""Responses of zero, which need linear residuals or counts."""

from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import DataError, Observations, likelihoods
from jaxscale.noise import squared
from tests.commands import run

# A logistic curve of level 1 by least squares: multi-start SciPy finds k .00729 and the midpoint 1074.4.
LEVEL = {"b1": 1.0}


@pytest.fixture(scope="module")
def shares(data: Path) -> Observations:
    return Observations.from_table(data / "reported" / "sigmoid_seven_points.csv", inputs=["x"], response="y")


def assert_right(params: dict) -> None:
    np.testing.assert_allclose(params["b3"], 0.00729, rtol=5e-4)
    np.testing.assert_allclose(params["b2"] / params["b3"], 1074.4, rtol=1e-4)


def test_linear_residuals_take_responses_of_zero(shares: Observations) -> None:
    found = jaxscale.fit("logistic3", shares, noise=squared(), fixed=LEVEL, allow_unidentified=True)
    assert found.status == "converged"
    assert_right(found.params)
    many = jaxscale.fit_many("logistic3", [shares], noise=squared(), fixed=LEVEL)
    assert_right({name: values[0] for name, values in many.params.items()})
    drawn = jaxscale.bootstrap(found, kind="residual", n_resamples=20)
    assert drawn.about["failed"] == 0
    np.testing.assert_allclose(np.median(drawn.params["b2"] / drawn.params["b3"]), 1074.4, rtol=0.03)


def test_later_methods_accept_responses_of_zero(shares: Observations) -> None:
    ahead = jaxscale.forecast(
        "logistic3", shares, at={"x": 1800.0}, space="linear", fixed=LEVEL, allow_unidentified=True
    )
    (row,) = ahead.params.values()
    level = 1 / (1 + np.exp(-0.0072885 * (1800 - 1074.355)))
    assert 0.9 * level < row["estimate"] < 1.1 * level and row["lower"] < level < row["upper"]
    with pytest.raises(DataError, match=r"or use linear residuals \(space='linear'\)"):
        jaxscale.forecast("logistic3", shares, at={"x": 1800.0}, fixed=LEVEL)


def test_a_level_starts_below_the_responses_also_where_one_is_zero(data: Path) -> None:
    rows = Observations.from_table(data / "reported" / "counts_with_zeros.csv", inputs=["x"], response="count")
    found = jaxscale.fit("exp_decay_floor", rows, noise=squared())
    assert found.status == "converged"
    np.testing.assert_allclose(2 * found.objective, 253104, rtol=1e-6)
    with pytest.raises(DataError, match=r"for log residuals of power_law_floor; correct them, or use linear"):
        jaxscale.fit("power_law_floor", rows)


def test_most_responses_may_be_zero() -> None:
    x = np.geomspace(1.0, 100.0, 16)
    y = np.where(x < 30.0, 0.0, 1.0) * x
    rows = Observations.from_table(dict(x=x, y=y), inputs=["x"], response="y")
    found = jaxscale.fit("power_law_floor", rows, noise=squared(), fixed={"b": 0.5}, allow_unidentified=True)
    assert np.isfinite(found.objective) and all(map(np.isfinite, found.params.values()))


def test_the_posterior_of_zeros_needs_linear_residuals_or_counts(shares: Observations) -> None:
    with pytest.raises(DataError, match=r"use a likelihood of linear residuals \(likelihood=normal\(space="):
        jaxscale.posterior("logistic3", shares, fixed=LEVEL)
    drawn = jaxscale.posterior("logistic3", shares, likelihood=likelihoods.normal("linear"), fixed=LEVEL)
    np.testing.assert_allclose(np.median(drawn.params["b2"] / drawn.params["b3"]), 1074.4, rtol=0.03)


def test_the_command_names_the_options_for_zeros(data: Path) -> None:
    table = str(data / "reported" / "sigmoid_seven_points.csv")
    result = run("fit", table, "--law", "logistic3", "--response", "y")
    assert result.exit_code == 2
    assert (
        "or use linear residuals (--noise squared --space linear) or, for proportions of counted trials"
        in result.stderr
    )
