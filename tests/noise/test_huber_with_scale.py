"""Huber loss with a fitted scale: estimating equations, limits, and agreement of all interfaces."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

import jaxscale
from jaxscale import noise
from jaxscale.noise import huber
from jaxscale.noise.losses.huber_with_scale import CONSISTENT, TUNING
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import refit_problem
from tests.lines import line


def observed(outliers: int = 0, rows: int = 20, scatter: float = 0.1) -> jaxscale.Observations:
    generator = np.random.default_rng(3)
    x = np.linspace(0.0, 4.0, rows)
    y = 2.0 + 0.5 * x + scatter * generator.standard_normal(rows)
    y[:outliers] += 3.0
    return jaxscale.Observations.from_table({"x": x, "y": y}, inputs=["x"], response="y")


def fitted(rows: jaxscale.Observations, delta: object = "scale") -> Fit:
    return jaxscale.fit(line, rows, noise=huber(delta, "linear"), starts=64, polish=8, progress=False)


def test_the_constant_is_the_mean_of_squared_scores_of_normal_noise() -> None:
    inside = norm.cdf(TUNING) - norm.cdf(-TUNING) - 2 * TUNING * norm.pdf(TUNING)
    assert pytest.approx(inside + 2 * TUNING**2 * norm.sf(TUNING), rel=1e-12) == CONSISTENT


@pytest.mark.parametrize("outliers", [0, 2])
def test_law_and_scale_solve_the_equations_of_proposal_two(outliers: int) -> None:
    rows = observed(outliers)
    fit = fitted(rows)
    s, x = fit.scale or np.nan, rows.inputs["x"]
    psi = np.clip((fit.predict(x=x) - rows.response) / s, -TUNING, TUNING)
    assert np.sum(psi**2) == pytest.approx((len(x) - 2) * CONSISTENT, rel=1e-9)
    np.testing.assert_allclose([psi.sum(), psi @ x], 0.0, atol=1e-8)


def test_outliers_have_little_influence() -> None:
    clean, dirty = fitted(observed()), fitted(observed(2))
    squares = jaxscale.fit(line, observed(2), noise=noise.squared(), starts=64, polish=8, progress=False)
    for name, value in clean.params.items():
        assert abs(dirty.params[name] - value) < 0.2 * abs(squares.params[name] - value)


def test_it_is_least_squares_with_few_degrees_of_freedom() -> None:
    rows = observed(rows=5)
    one, other = fitted(rows), jaxscale.fit(line, rows, noise=noise.squared(), starts=64, polish=8, progress=False)
    for name, value in other.params.items():
        assert one.params[name] == pytest.approx(value, rel=1e-6)
        assert one.stderr[name] == pytest.approx(other.stderr[name], rel=1e-6)
    assert one.errors.method == "classical"


def test_rows_without_noise_are_fitted_exactly() -> None:
    fit = fitted(observed(scatter=0.0))
    assert fit.status == "converged" and fit.scale is not None and fit.scale < 1e-12


def test_a_fit_survives_its_file_and_is_rebuilt() -> None:
    fit = fitted(observed(1))
    assert fit.noise.loss.settings["delta"] == "scale" and fit.noise.loss.concomitant_scale
    again = Fit.from_json(fit.to_json(), law=line)
    assert again.noise == fit.noise
    with jax.enable_x64(True):
        assert np.exp(refit_problem(fit).z[-1]) == pytest.approx(fit.scale, rel=1e-12)


def test_fit_many_agrees_with_fit() -> None:
    rows = observed(1)
    many = jaxscale.fit_many(line, [rows], noise=huber("scale", "linear"), starts=64)
    one = fitted(rows)
    for name, value in one.params.items():
        assert many.params[name][0] == pytest.approx(value, rel=1e-6)


def test_a_threshold_is_a_number_or_the_word_scale() -> None:
    with pytest.raises(ValueError, match="Argument delta must be a positive number or 'scale', but is 'auto'"):
        huber("auto")
    assert huber("scale").describe() == "huber(delta=scale) on log residuals"
