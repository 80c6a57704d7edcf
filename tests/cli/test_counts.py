"""Fits of counts on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import Observations, likelihoods
from tests.commands import refused, run, write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with counts of hits out of trials, and plain counts."""
    monkeypatch.chdir(tmp_path)
    x = np.geomspace(1.0, 1000.0, 16)
    generator = np.random.default_rng(0)
    y, tried = generator.poisson(3 * x**0.4), generator.integers(10, 90, 16)
    hits = generator.binomial(tried, 1 / (1 + 20 / x))
    table = np.stack([np.round(x, 6), y, tried, hits], axis=1).astype(str).tolist()
    write("counts.csv", [["x", "y", "tried", "hits"], *table])


def test_counts_are_fitted_as_in_python() -> None:
    words = ["fit", "counts.csv", "--law", "power_law", "--response", "y", "--likelihood", "poisson"]
    result = run(*words, "--starts", 128, "--json", "out.json")
    assert result.exit_code == 0, result.output
    assert "Likelihood     poisson counts" in result.stdout
    written = json.loads(Path("out.json").read_text())
    rows = Observations.from_table("counts.csv", inputs=["x"], response="y")
    fit = jaxscale.fit("power_law", rows, likelihood=likelihoods.poisson(), starts=128)
    assert written["noise"] == {"loss": "counts", "space": "linear", "likelihood": "poisson"}
    assert written["params"] == fit.params and written["uncertainty"]["method"] == "observed information"


def test_counts_with_trials_name_their_column() -> None:
    words = ["fit", "counts.csv", "--law", "hill", "--response", "hits", "--likelihood", "binomial"]
    words += ["--fix", "lo=0.001", "--fix", "hi=0.999", "--starts", "128"]
    result = run(*words, "--trials", "tried", "--json", "out.json", "--quiet")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out.json").read_text())["noise"]["trials"] == "trials"
    message = refused(*words)
    assert message == "Option --likelihood binomial needs the number of trials; name its column with --trials."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--likelihood", "normal"],
            "Option --likelihood must be one of counts for a fit, but is 'normal'; use --noise for residuals.",
        ),
        (
            ["--likelihood", "poisson", "--noise", "huber"],
            "Option --noise must not be given with --likelihood poisson; leave it out.",
        ),
        (
            ["--likelihood", "poisson", "--trials", "tried"],
            "Option --trials must not be given with --likelihood poisson; leave it out.",
        ),
        (["--trials", "tried"], "Option --trials needs a likelihood that uses it; see --likelihood."),
        (
            ["--likelihood", "poison"],
            "Option --likelihood must be one of beta_binomial, binomial, laplace, negative_binomial, normal, poisson, "
            "student_t, but is 'poison' (did you mean 'poisson'?).",
        ),
        (
            ["--likelihood", "poisson", "--response", "x"],
            "counts.csv, line 3: the response is 1.58489; counts must be non-negative integers for the "
            "likelihood poisson.",
        ),
    ],
)
def test_invalid_arguments_of_a_count_fit(words: list[str], message: str) -> None:
    given = ["fit", "counts.csv", "--law", "power_law", *([] if "--response" in words else ["--response", "y"])]
    assert refused(*given, *words) == message
