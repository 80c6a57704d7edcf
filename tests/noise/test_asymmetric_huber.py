"""Asymmetric Huber loss: limits, optimum, and availability in all parts of the package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import jaxscale
from jaxscale import Fit, noise
from tests.commands import refused, run
from tests.lines import line


def frontier(failed: int = 6, rows: int = 30) -> jaxscale.Observations:
    """Runs on a line with little noise, some of which failed and lie above it."""
    generator = np.random.default_rng(0)
    x = np.linspace(0.0, 4.0, rows)
    y = 2.0 + 0.5 * x + 0.005 * generator.standard_normal(rows)
    y[:: rows // failed] += generator.uniform(0.3, 1.0, len(y[:: rows // failed]))
    return jaxscale.Observations.from_table({"x": x, "y": y}, inputs=["x"], response="y")


def fitted(over: float = 10.0, delta: float = 0.01, **more: Any) -> Fit:
    chosen = noise.huber(delta, "linear", over=over)
    return jaxscale.fit(line, frontier(), noise=chosen, starts=64, polish=8, progress=False, **more)


def cost(params: np.ndarray, over: float, delta: float) -> float:
    rows = frontier()
    r = params[0] + params[1] * rows.inputs["x"] - rows.response
    rho = np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2))
    return float(np.sum(np.where(r > 0, over, 1.0) * rho))


def test_with_a_factor_of_one_it_is_hubers_loss() -> None:
    assert (
        noise.huber(0.1, over=1).to_dict() == noise.huber(0.1).to_dict() == dict(loss="huber", space="log", delta=0.1)
    )


def test_the_optimum_is_that_of_a_direct_search() -> None:
    fit = fitted()
    best = min(
        (minimize(cost, [2.0, slope], args=(10.0, 0.01), method="Nelder-Mead", tol=1e-12) for slope in (0.3, 0.5)),
        key=lambda found: found.fun,
    )
    assert fit.objective == pytest.approx(best.fun, rel=1e-9)
    np.testing.assert_allclose(list(fit.params.values()), best.x, rtol=1e-4)


def test_with_a_small_threshold_the_law_is_a_quantile() -> None:
    x = np.ones(400)
    y = np.random.default_rng(1).standard_normal(400)
    rows = jaxscale.Observations.from_table({"x": np.arange(400.0), "y": y}, inputs=["x"], response="y")
    chosen = noise.huber(1e-4, "linear", over=3)
    fit = jaxscale.fit(line, rows, noise=chosen, fixed={"m": 0.0}, starts=64, n_resamples=0, progress=False)
    level = fit.predict(x=0.0)
    assert np.mean(y < level) == pytest.approx(1 / 4, abs=0.005) and len(x) == 400


def test_failed_runs_above_the_frontier_pull_little() -> None:
    rows = frontier()
    above = [np.mean(rows.response > fitted(over=over).predict(x=rows.inputs["x"])) for over in (1.0, 10.0)]
    # A tenth of the rows lie below a law whose predictions cost ten times as much above them.
    assert above[0] < 0.7 and 0.8 < above[1] < 1.0


def test_errors_bootstrap_profile_report_and_citation_have_it() -> None:
    fit = fitted()
    assert fit.errors.method == "sandwich" and all(0 < error < 0.1 for error in fit.stderr.values())
    assert "huber (delta = 0.01, over = 10) on linear residuals" in str(fit)
    assert "breckling1988quantiles" in jaxscale.citation(fit)
    refits = jaxscale.bootstrap(fit, n_resamples=40, progress=False)
    assert np.std(refits.params["m"]) == pytest.approx(fit.stderr["m"], rel=0.5)
    low, high = jaxscale.profile(fit, ["m"]).intervals()["m"]
    assert low < fit.params["m"] < high and high - low < 0.1
    # Where the threshold is far below the residuals, standard errors come from resamples.
    assert fitted(delta=1e-4, n_resamples=40).errors.method == "bootstrap"


def test_it_survives_a_file() -> None:
    fit = fitted()
    again = Fit.from_json(fit.to_json(), law=line)
    assert again == fit and again.noise.describe() == "huber(delta=0.01, over=10) on linear residuals"


def test_the_command_line_has_its_option(with_example: None) -> None:
    result = run("fit", "runs.csv", "--law", "chinchilla", "--delta", "0.01", "--noise", "huber", "--over", "10",
                 "--starts", "256", "--resamples", "0", "--json", "fit.json", "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(Path("fit.json").read_text())["noise"] == dict(loss="huber", space="log", delta=0.01, over=10.0)
    few = ("fit", "runs.csv", "--law", "chinchilla", "--noise", "huber", "--delta", "0.01")
    assert refused(*few, "--over", "0") == "Option --over must be positive and finite, but is '0'."
    assert refused(*few[:-2], "--delta", "scale", "--over", "2").endswith(
        "Option --over must be 1 where delta is 'scale', but is '2'; give delta a number."
    )


def test_a_factor_goes_with_huber_only() -> None:
    with pytest.raises(ValueError, match="Argument over must not be given with noise squared, but is 10"):
        noise.named("squared", over=10)
