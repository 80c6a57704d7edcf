"""Column labels of interval tables: means of draws, estimates, jackknife standard errors."""

import numpy as np
import pytest

import jaxscale
from jaxscale.resampling.jackknife import jackknife_stderr
from jaxscale.results.draws import Draws
from jaxscale.results.intervals import Intervals
from tests.lines import fitted, observed

ROW = {"estimate": 0.34, "sd": 0.01, "lower": 0.32, "upper": 0.36}


def head(shown: str) -> list[str]:
    return next(line for line in shown.splitlines() if line.startswith("Quantity")).split()[1:]


@pytest.mark.parametrize("method", ["case bootstrap", "laplace", "new group", "importance", "nuts"])
def test_mean_of_draws_is_labelled_mean(method: str) -> None:
    draws = Draws("chinchilla", {"alpha": np.linspace(0.3, 0.4, 50)}, method, ("alpha",), stats={})
    about = {"ess": 50.0, "khat": 0.1, "chains": 1, "draws": 50, "divergences": 0, "steps": 1.0, "from": "nuts"}
    shown = str(Intervals("chinchilla", method, 0.9, draws.intervals().params, about))
    assert head(shown)[:3] == ["mean", "sd", "90"]


@pytest.mark.parametrize("method", ["percentile of case bootstrap", "profile likelihood", "law with discrepancy"])
def test_intervals_of_an_estimate_are_labelled_estimate(method: str) -> None:
    assert head(str(Intervals("chinchilla", method, 0.9, {"alpha": ROW}))) == ["estimate", "sd", "90", "%", "interval"]


def test_a_jackknife_shows_the_standard_error_of_the_estimate() -> None:
    draws = jaxscale.jackknife(fitted(observed()))
    shown = str(draws)
    assert head(shown) == ["mean", "std.", "error"] and "interval" not in shown and "Stderr" not in shown
    line = next(line for line in shown.splitlines() if line.startswith("m "))
    assert float(line.split()[-1]) == pytest.approx(draws.about["stderr"]["m"], rel=5e-3)
    ratio = draws.intervals(quantity={"ratio": lambda p: p["m"] / p["c"]})
    line = next(line for line in str(ratio).splitlines() if line.startswith("ratio"))
    expected = float(jackknife_stderr(draws.derive(lambda p: p["m"] / p["c"])))
    assert float(line.split()[-1]) == pytest.approx(expected, rel=5e-3)
    assert str(Intervals("chinchilla", "jackknife", 0.9, {"alpha": ROW})).endswith("none")
