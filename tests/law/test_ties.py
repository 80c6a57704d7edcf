"""Ties on the command line and in names: ``--tie beta=alpha`` and files of such fits."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import Fit, LawError, Observations, laws
from jaxscale.law import algebra
from jaxscale.noise import squared
from tests.commands import refused, run

TIED = "chinchilla(beta=alpha)"


def test_a_tied_law_is_found_by_its_name() -> None:
    assert laws.get(TIED) is algebra.tie(laws.get("chinchilla"), beta="alpha")
    twice = algebra.tie(laws.get("sum_of_powers_floor"), a2="a1", b2="b1")
    assert twice.name == "sum_of_powers_floor(a2=a1, b2=b1)"
    assert laws.get(twice.name) is laws.get("sum_of_powers_floor(b2=b1,a2=a1)") is twice
    assert laws.get("bnsl[2](c2=c1)") is algebra.tie(laws.get("bnsl2"), c2="c1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chinchila(beta=alpha)", "Law 'chinchila' is not in the catalogue; nearest are chinchilla"),
        ("chinchilla(gamma=alpha)", "tie names 'gamma', which is no parameter of chinchilla"),
        ("chinchilla(E=1.7)", r"Law 'chinchilla\(E=1.7\)' is not in the catalogue"),
        ("chinchilla()", r"Law 'chinchilla\(\)' is not in the catalogue"),
    ],
)
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises((ValueError, LawError), match=message):
        laws.get(name)


@pytest.mark.usefixtures("with_example")
def test_the_command_ties_parameters_and_what_it_writes_is_read_again() -> None:
    words = ["fit", "runs.csv", "--law", "chinchilla", "--tie", "beta=alpha", "--noise", "squared"]
    result = run(*words, "--json", "out.json")
    assert result.exit_code == 0 and result.stdout.startswith("chinchilla(beta=alpha) fitted to runs.csv")
    saved = json.loads(Path("out.json").read_text())
    assert saved["law"] == TIED and list(saved["params"]) == ["E", "A", "alpha", "B"]
    rows = Observations.from_table("runs.csv", inputs=["N", "D"], response="loss")
    expected = jaxscale.fit(TIED, rows, noise=squared())
    np.testing.assert_allclose(list(saved["params"].values()), list(expected.params.values()), rtol=1e-9)
    read = Fit.load(Path("out.json"))
    assert read.predict(N=1e9, D=2e10) == expected.predict(N=1e9, D=2e10)
    refits = jaxscale.bootstrap(read, n_resamples=8, observations=rows)
    assert str(refits.law) == TIED and set(refits.params) == set(expected.params)
    refits.save("refits.nc")
    again = jaxscale.Draws.load("refits.nc")
    np.testing.assert_array_equal(again.predict(N=1e9, D=2e10), refits.predict(N=1e9, D=2e10))
    checked = run("check", "runs.csv", "--law", "chinchilla", "--tie", "beta=alpha")
    assert checked.exit_code == 0 and TIED in checked.stdout


@pytest.mark.usefixtures("with_example")
@pytest.mark.parametrize(
    ("tie", "message"),
    [
        ("gamma=alpha", "Option --tie names 'gamma', which is no parameter of chinchilla."),
        ("alpha", "Option --tie must look like NAME=OTHER, but is 'alpha'."),
    ],
)
def test_a_tie_that_does_not_suit_the_law_is_refused(tie: str, message: str) -> None:
    for command in ("fit", "posterior", "bootstrap", "profile", "check"):
        assert refused(command, "runs.csv", "--law", "chinchilla", "--tie", tie) == message
