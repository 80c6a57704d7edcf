"""The certified NIST problems: digits from both published starts, standard errors, and search without starts."""

from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale.data.observations import Observations
from tests import nist

DIGITS, MEDIAN = 9.5, 10.5


@pytest.fixture(scope="module")
def fits(data: Path) -> dict[tuple[str, str], tuple[nist.Problem, jaxscale.Fit]]:
    """Fits of every problem from both published starts and from a search within its ranges."""
    found = {}
    for name in nist.FORMS:
        problem = nist.problem(data, name)
        table = {**problem.inputs, "y": problem.response}
        observations = Observations.from_table(table, inputs=list(problem.inputs), response="y")
        for label, starts in (("first", problem.starts[0]), ("second", problem.starts[1]), ("none", 4096)):
            # Allowed: the design check judges exponents of scaling laws; these problems have their own.
            # Certified standard errors are classical.
            fit = jaxscale.fit(problem.law, observations, starts=starts, errors="classical", allow_unidentified=True)
            found[name, label] = (problem, fit)
    return found


@pytest.mark.parametrize("label", ["first", "second", "none"])
def test_all_problems_solved(fits, label):
    digits = {name: p.digits(f.params) for (name, where), (p, f) in fits.items() if where == label}
    assert len(digits) == 20
    assert min(digits.values()) >= DIGITS, digits
    assert np.median(list(digits.values())) >= MEDIAN, digits


def test_residual_sum_of_squares(fits):
    for (name, _), (problem, fit) in fits.items():
        if name != "Lanczos1":  # Its residuals are rounding noise.
            assert 2 * fit.objective == pytest.approx(problem.rss, rel=1e-9), name


def test_standard_errors(fits):
    for (name, label), (problem, fit) in fits.items():
        if name == "Lanczos1" or label == "none":
            continue
        assert fit.errors.method == "classical"
        mine, theirs = problem.aligned(fit.params, fit.stderr), problem.aligned(problem.certified, problem.stderr)
        worst = max(abs(mine[key] / theirs[key] - 1) for key in theirs)
        assert worst < 1e-6, (name, label, worst)


def test_certified_and_settled(fits):
    for key, (_, fit) in fits.items():
        assert fit.certificate < 1e-8, key
        assert fit.landscape.agree_all >= 2 and fit.status == "converged", (key, fit.status, fit.starts)
