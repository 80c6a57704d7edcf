"""The uncertainty commands: output, files, errors and exit statuses."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxscale.cli import lookup
from jaxscale.data.observations import Observations
from jaxscale.prediction.forecast import forecast
from jaxscale.resampling import bootstrap
from jaxscale.results.draws import Draws
from jaxscale.results.intervals import Intervals
from jaxscale.sampling import posterior as sampling
from jaxscale.utils.notices import Notice
from tests.commands import proportional, refused, remembering, rows, run, write

pytestmark = pytest.mark.usefixtures("with_example")
LAW = ("--law", "my_laws.py:my_law", "--noise", "squared", "--starts", 64)
SMALL = ("--method", "importance", "--num-chains", 2, "--num-samples", 500)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the arguments that the command passes to the library, which then raises an error."""
    return remembering(monkeypatch, posterior=sampling, bootstrap=bootstrap)


def drawn(monkeypatch: pytest.MonkeyPatch, *notices: Notice, ok: bool = True, shape: Any = (200,)) -> None:
    """Replace the sampler by one that returns NUTS draws with notices."""
    values = np.random.default_rng(0).normal(0.3, 0.01, shape)
    about = {"chains": 2, "draws": 200, "divergences": 0, "steps": 6.8, "seed": 0, "seconds": 1.0, "priors": {}}
    made = Draws("my_law", {"alpha": values}, "nuts", ("alpha",), chains=2, about=about, notices=notices, ok=ok)
    monkeypatch.setattr(
        sampling,
        "posterior",
        lambda source, *_, **__: replace(made, observations=getattr(source, "observations", None)),
    )


def test_a_posterior_is_reported_and_written() -> None:
    words = ["posterior", "runs.csv", *LAW, *SMALL, "--level", 0.8, "--fix", "E=1.8", "--seed", 3]
    result = run(*words, "--json", "out.json", "--save", "out.nc")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "my_law given runs.csv (99 of 99 rows)"
    assert lines[3].startswith("Method         importance sampling (k-hat ")
    assert lines[4] == "Likelihood     normal on linear residuals"
    assert "80 % interval" in lines[6]
    assert "Fixed          E 1.8" in lines
    assert result.stdout.endswith("Written: out.json, out.nc\n")
    assert len(Draws.load("out.nc", law=lookup.find_law("my_laws.py"))) == 1000
    entries = json.loads(Path("out.json").read_text())
    assert set(entries["params"]) == {"A", "alpha", "scale"}
    assert set(entries["params"]["alpha"]) == {"estimate", "sd", "lower", "upper", "level"}
    assert (entries["method"], entries["divergences"], entries["notices"]) == ("importance", 0, [])
    assert entries["params"]["alpha"]["level"] == 0.8
    assert (entries["fixed"], entries["seed"], entries["ok"]) == ({"E": 1.8}, 3, True)
    assert entries["khat"] < 0.7 and entries["seconds"] > 0
    printed = run(*words, "--json")
    again = json.loads(printed.stdout)
    assert again["params"] == entries["params"]


def test_nuts_reports_its_diagnostics() -> None:
    words = ["--method", "nuts", "--num-chains", 2, "--num-samples", 250, "--num-warmup", 250, "--fix", "E=1.8"]
    result = run("posterior", "runs.csv", *LAW, *words, "--json", "-")
    entries = json.loads(result.stdout)
    assert entries["method"] == "nuts" and entries["khat"] is None
    assert {"estimate", "sd", "lower", "upper", "level", "rhat", "ess_bulk", "ess_tail"} == set(
        entries["params"]["alpha"]
    )
    assert entries["params"]["alpha"]["rhat"] < 1.1 and entries["params"]["alpha"]["ess_bulk"] > 50
    assert result.exit_code == (0 if entries["ok"] else 3)


def test_a_likelihood_replaces_the_noise(handed: list[Any]) -> None:
    _, *body = rows()
    write("own.csv", [["N", "loss", "cut", "k"], *([r[0], r[2], str(i % 2), f"k{i % 3}"] for i, r in enumerate(body))])
    words = [
        "--law",
        "my_laws.py:my_law",
        "--likelihood",
        "student_t",
        "--df",
        5,
        "--censored",
        "cut",
        "--fix",
        "E=1.8",
    ]
    words += ["--group", "k", "--pool", "A=partial", "--prior", "alpha=TruncatedNormal(0.3, 0.1, low=0)"]
    assert (
        refused("posterior", "own.csv", *words, "--checkpoint", "kept", "--num-warmup", 250, "--seed", 2) == "Enough."
    )
    law, observations, settings = handed[0]
    assert law.name == "my_law" and observations.inputs["censored"].tolist() == [i % 2 for i in range(99)]
    assert settings.pop("likelihood").describe() == "student_t(df 5) on log residuals"
    prior = settings.pop("priors")["alpha"]
    assert float(prior.log_prob(0.3)) == pytest.approx(-math.log(0.1 * math.sqrt(2 * math.pi) * 0.99865), abs=1e-5)
    assert settings == {
        "pooling": {"A": "partial"},
        "fixed": {"E": 1.8},
        "method": "auto",
        "num_chains": 8,
        "num_samples": 1000,
        "num_warmup": 250,
        "seed": 2,
        "checkpoint": Path("kept/posterior"),
    }


@pytest.mark.parametrize("by", ["level", "group"])
def test_scale_by_level_or_group(by: str, handed: list[Any]) -> None:
    _, *body = rows()
    write("own.csv", [["N", "loss", "k"], *([row[0], row[2], f"k{i % 3}"] for i, row in enumerate(body))])
    words = ["--law", "my_laws.py:my_law", "--likelihood", "normal", "--scale-by", by]
    words += ["--group", "k"] if by == "group" else []
    assert refused("posterior", "own.csv", *words) == "Enough."
    entries = {"level": "a power of the level", "group": "for each group"}[by]
    assert handed[0][2]["likelihood"].describe().endswith(entries)


def test_counts_need_trials(handed: list[Any]) -> None:
    _, *body = rows()
    write("counts.csv", [["N", "hits", "tried"], *([row[0], str(i % 5 / 4), "4"] for i, row in enumerate(body))])
    words = ["--law", "my_laws.py:my_law", "--response", "hits", "--allow-unidentified"]
    refused("posterior", "counts.csv", *words, "--likelihood", "beta_binomial", "--trials", "tried")
    _, observations, settings = handed[0]
    assert set(observations.inputs["trials"].tolist()) == {4.0} and settings["likelihood"].trials == "trials"
    message = refused("posterior", "counts.csv", *words, "--likelihood", "binomial")
    assert message == "Option --likelihood binomial needs the number of trials; name its column with --trials."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--likelihood", "cauchy"], "Option --likelihood must be one of beta_binomial, binomial, laplace, "),
        (["--likelihood", "normal", "--noise", "huber"], "Option --noise must not be given with --likelihood normal"),
        (
            ["--likelihood", "normal", "--df", 3],
            "Option --df must not be given with --likelihood normal; leave it out.",
        ),
        (["--likelihood", "binomial", "--space", "log"], "Option --space must not be given with --likelihood binomial"),
        (["--scale-by", "level"], "Option --scale-by needs a likelihood that uses it; see --likelihood."),
        (["--likelihood", "normal", "--scale-by", "lever"], "Option --scale-by must be one of constant, level, group"),
        (
            ["--likelihood", "binomial", "--scale-by", "level"],
            "Option --scale-by must not be given with --likelihood binomial",
        ),
        (["--trials", "N"], "Option --trials needs a likelihood that uses it; see --likelihood."),
        (["--censored", "N"], "Option --censored needs a likelihood that uses it; see --likelihood."),
        (["--level", 1], "Option --level must lie between 0 and 1, but is 1.0."),
        (["--method", "mcmc"], "Option --method must be one of auto, importance, nuts, laplace, but is 'mcmc'."),
        (["--num-chains", 0], "Option --num-chains must be a positive number, but is 0."),
        (["--pool", "A"], "Option --pool must look like NAME=HOW, but is 'A'."),
        (["--pool", "A=partly"], "Option --pool must be one of complete, partial, none, but is 'partly'"),
        (["--prior", "alpha"], "Option --prior must look like NAME=DIST, but is 'alpha'."),
        (["--prior", "alpha=0.3"], "write a distribution and its numbers, such as alpha=Normal(0.3,0.1)."),
        (["--prior", "alpha=Normal(__import__('os'))"], "write a distribution and its numbers"),
        (["--prior", "alpha=Norma(0,1)"], "but NumPyro has no distribution 'Norma' (did you mean 'Normal'"),
        (["--prior", "alpha=enable_validation(1)"], "but NumPyro has no distribution 'enable_validation'"),
        (["--prior", "alpha=Normal(0.3,x)"], "but 'x' is not a number."),
        (["--prior", "alpha=Normal(0.3,-1)"], "which is not a distribution: "),
        (["--prior", "alpha=Normal(1,2,3,4,5)"], "but Normal takes loc, scale."),
        (["--prior", "alpha=Poisson(3)"], "but a parameter needs a distribution of real numbers."),
        (["--save", "out.h5"], "out.h5 does not end in .nc, as files of draws do; end it in .nc."),
        (
            ["--save", "nowhere/out.nc"],
            "nowhere/out.nc cannot be written: there is no folder nowhere; create it first.",
        ),
    ],
)
def test_invalid_posterior_options_are_reported_before_any_work(words: list[Any], message: str) -> None:
    assert message in refused("posterior", "runs.csv", "--law", "my_laws.py:my_law", *words)


def test_an_unidentified_design_is_refused_with_a_likelihood_too(handed: list[Any]) -> None:
    proportional()
    words = ["posterior", "bad.csv", "--law", "chinchilla", "--likelihood", "normal"]
    assert refused(*words).endswith("To fit anyway, add --allow-unidentified.")
    assert not handed
    assert refused(*words, "--allow-unidentified") == "Enough."


def test_unusable_draws_are_written_and_exit_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, Notice("not_mixed", "R-hat is above 1.01 for alpha 1.200."), ok=False)
    result = run("posterior", "runs.csv", *LAW, "--json", "out.json")
    assert result.exit_code == 3
    assert result.stderr == "jaxscale: sampled, but not usable; see the notices of the report.\n"
    assert "not_mixed: R-hat is above 1.01 for alpha 1.200." in result.stdout
    entries = json.loads(Path("out.json").read_text())
    assert entries["ok"] is False and entries["notices"][-1]["code"] == "not_mixed"


def test_draws_and_json_are_saved_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch)
    monkeypatch.setattr(Draws, "save", lambda _, path: path.write_bytes(b"netcdf"), raising=False)
    result = run("posterior", "runs.csv", *LAW, "--json", "out.json", "--save", "out.nc")
    assert result.exit_code == 0 and result.stdout.endswith("Written: out.json, out.nc\n")
    assert Path("out.nc").read_bytes() == b"netcdf"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "draws.nc")

    monkeypatch.setattr(Draws, "save", full)
    # The report is printed anyway.
    result = run("posterior", "runs.csv", *LAW, "--json", "none.json", "--save", "none.nc", "--quiet")
    assert (result.exit_code, result.stderr) == (2, "jaxscale: draws.nc: No space left on device.\n")
    assert result.stdout.startswith("my_law given runs.csv") and "Written" not in result.stdout
    assert not Path("none.json").exists()


def test_groups_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    head, *body = rows()
    write("own.csv", [[*head, "family"], *([*row, f"k{i % 2}"] for i, row in enumerate(body))])
    drawn(monkeypatch, shape=(200, 2))
    result = run("posterior", "own.csv", *LAW, "--where", "N > 2e7", "--group", "family", "--pool", "alpha=none")
    groups = [f"k{i % 2}" for i, row in enumerate(body) if float(row[0]) > 2e7]
    first, second = dict.fromkeys(groups)
    assert f"alpha[{first}]" in result.stdout and f"alpha[{second}]" in result.stdout


def test_interrupt_keeps_finished_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, Notice("interrupted", "Sampling was interrupted; 200 draws are kept."))
    result = run("posterior", "runs.csv", *LAW, "--json", "out.json", "--checkpoint", "parts")
    entries = "jaxscale: interrupted; finished draws are kept; the same command resumes from parts.\n"
    assert (result.exit_code, result.stderr) == (130, entries)
    assert json.loads(Path("out.json").read_text())["notices"][0]["code"] == "interrupted"

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "posterior", interrupted)
    result = run("posterior", "runs.csv", *LAW, "--checkpoint", "parts")
    entries = "jaxscale: interrupted; finished parts are kept in parts: the same command goes on there\n"
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", entries)
    result = run("posterior", "runs.csv", *LAW)
    assert (result.exit_code, result.stderr) == (130, "jaxscale: interrupted; nothing was written\n")


def test_a_bootstrap_is_reported_and_printed_as_json() -> None:
    words = ["bootstrap", "runs.csv", *LAW, "--resamples", 60, "--intervals", "bca"]
    result = run(*words)
    assert result.exit_code == 0, result.output
    message = (
        "Method case bootstrap, 60 refits, all converged; BCa intervals (acceleration from 99 leave-one-row-out refits)"
    )
    assert message in " ".join(result.stdout.split())
    assert "Fitted with    squared on linear residuals" in result.stdout
    assert "estimate" in result.stdout and "mean" not in result.stdout
    entries = json.loads(run(*words, "--json", "--quiet").stdout)
    assert entries["method"] == "bca of case bootstrap" and set(entries["params"]) == {"E", "A", "alpha"}
    assert {"estimate", "sd", "lower", "upper", "level"} <= set(entries["params"]["alpha"])
    assert entries["n_resamples"] == 60 and entries["seconds"] > 0 and entries["khat"] is None


def test_invalid_bootstrap_options_are_reported(handed: list[Any]) -> None:
    words = ["bootstrap", "runs.csv", *LAW]
    assert "Option --kind must be one of case, cluster, " in refused(*words, "--kind", "cases")
    assert "Option --intervals must be one of percentile, " in refused(*words, "--intervals", "bc")
    assert "Option --level must lie" in refused(*words, "--level", 2)
    by_run = ["--kind", "wild", "--cluster", "run", "--run", "N", "--resamples", 7, "--checkpoint", "kept"]
    assert refused(*words, *by_run) == "Enough."
    fitted, settings = handed[0]
    assert fitted.law.name == "my_law"
    assert settings == {
        "kind": "wild",
        "cluster": "run",
        "n_resamples": 7,
        "seed": 0,
        "checkpoint": Path("kept/bootstrap"),
    }


def test_a_profile_is_reported_for_the_parameters_that_were_named() -> None:
    result = run("profile", "runs.csv", *LAW, "--param", "alpha", "--level", 0.95, "--json")
    entries = json.loads(result.stdout)
    assert result.exit_code == 0 and list(entries["params"]) == ["alpha"] and entries["method"] == "profile likelihood"
    row = entries["params"]["alpha"]
    assert row["lower"] < row["estimate"] < row["upper"] and row["level"] == 0.95
    message = refused("profile", "runs.csv", *LAW, "--param", "alpa")
    assert message == "Option --param must be one of E, A, alpha, but is 'alpa' (did you mean 'alpha'?)."


def test_larger_runs_are_forecast() -> None:
    words = ["forecast", "runs.csv", "--law", "my_laws.py:my_law", "--fix", "E=1.8"]
    result = run(*words, "--at", "N=7e10,4e11", "--level", 0.8, "--json", "out.json")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "my_law given runs.csv (99 of 99 rows)"
    assert lines[3].startswith("Method         least squares with a smooth model discrepancy")
    assert "80 % interval" in lines[6] and [line.split("  ")[0] for line in lines[8:10]] == ["N = 7e+10", "N = 4e+11"]
    assert "Size           N" in lines and "Fixed          E 1.8" in lines
    assert any(line.startswith("P(law holds)   0.") for line in lines)
    entries = json.loads(Path("out.json").read_text())
    law, data = lookup.find_law("my_laws.py"), Observations.from_table("runs.csv", inputs=["N"], response="loss")
    there = forecast(law, data, at={"N": [7e10, 4e11]}, level=0.8, fixed={"E": 1.8})
    assert entries["params"] == {name: {**row, "level": 0.8} for name, row in there.params.items()}
    assert (entries["law_holds"], entries["method"]) == (there.about["law_holds"], "law with discrepancy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Option --at must give the inputs of the new runs: --at N=...."),
        (["--at", "N=7e10,x"], "Option --at must look like NAME=NUMBER or NAME=NUMBER,NUMBER, but is 'N=7e10,x'."),
        (["--at", "N"], "Option --at must look like NAME=NUMBER or NAME=NUMBER,NUMBER, but is 'N'."),
        (["--at", "N=-1"], "Option --at must keep N above 0, but holds -1."),
        (
            ["--at", "N=1e10", "--size", "M"],
            "Option --size names 'M', which is no input of my_law; its inputs are N.",
        ),
        (
            ["--at", "N=1e10", "--noise-level", 0.1],
            "Option --noise-level must not be given to forecast, which fits by least squares from its own starts; "
            "leave it out.",
        ),
    ],
)
def test_invalid_forecast_options_are_reported(words: list[Any], message: str) -> None:
    assert refused("forecast", "runs.csv", "--law", "my_laws.py:my_law", *words) == message


def test_help_lists_commands_and_options() -> None:
    shown = run("--help").stdout
    assert all(f" {name} " in shown for name in ("posterior", "bootstrap", "profile"))
    shown = run("posterior", "--help").stdout
    assert all(option in shown for option in ("--prior", "--pool", "--likelihood", "--save", "--checkpoint", "--where"))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from jaxscale.cli import app; "
        "CliRunner().invoke(app.app, ['posterior', '--help']); "
        "print([name for name in ('numpyro', 'arviz_stats', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


TABLE = {"alpha": {"estimate": 0.34, "sd": 0.01, "lower": 0.32, "upper": 0.36}}


def test_report_describes_the_sampling_method() -> None:
    about = {
        "chains": 8,
        "draws": 8000,
        "divergences": 1,
        "steps": 6.8,
        "modes": 2,
        "seed": 0,
        "fallback": "k-hat 0.93",
    }
    rows = {"alpha": TABLE["alpha"] | {"rhat": 1.001, "ess_bulk": 4321.0, "ess_tail": 3210.0}}
    shown = " ".join(str(Intervals("chinchilla", "nuts", 0.9, rows, about)).split())
    assert "NUTS, 8 chains of 1,000 draws, 1 divergence, 6.8 steps per draw; fallback from" in shown
    assert "fallback from importance sampling: k-hat 0.93" in shown
    assert "R-hat ESS tail" in shown and "1.001 4321 3210" in shown and "Modes 2, sampled together" in shown
    laplace = Intervals("chinchilla", "laplace", 0.9, TABLE, {"khat": 0.4, "modes": 1})
    assert "normal approximation at the mode (k-hat 0.40 as a proposal)" in str(laplace)
    assert "Modes" not in str(laplace)
    assert "Method         jackknife" in str(Intervals("chinchilla", "jackknife", 0.9, TABLE))


def test_report_prints_long_priors_one_per_line() -> None:
    priors = {name: "LogNormal(-1.956, 1.352)" for name in ("alpha", "beta", "gamma")}
    about = {"priors": priors, "likelihood": "normal on log residuals", "seed": 4, "seconds": 2.5, "khat": 0.1}
    intervals = Intervals("chinchilla", "importance", 0.9, TABLE, about | {"ess": 12140.4})
    lines = str(intervals).splitlines()
    assert "Method         importance sampling (k-hat 0.10, 12,140 effective draws)" in lines
    first = lines.index("Priors         alpha ~ LogNormal(-1.956, 1.352)")
    assert lines[first + 1] == "               beta ~ LogNormal(-1.956, 1.352)"
    assert "Provenance     seed 4, 2.5 s" in lines and max(map(len, lines)) <= 80
    short = replace(intervals, about={**intervals.about, "priors": {"a": "Normal(0, 1)", "b": "Beta(1, 1)"}})
    assert "Priors         a ~ Normal(0, 1); b ~ Beta(1, 1)" in str(short).splitlines()


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        (0.32, 0.36, "0.3200 to 0.3600"),
        (0.32, math.inf, "above 0.3200"),
        (-math.inf, 0.36, "below 0.3600"),
        (-math.inf, math.inf, "open on both sides"),
        (math.nan, math.nan, "none"),
    ],
)
def test_infinite_interval_end_is_open(lower: float, upper: float, message: str) -> None:
    rows = {"alpha": TABLE["alpha"] | {"lower": lower, "upper": upper}}
    shown = str(Intervals("chinchilla", "profile likelihood", 0.9, rows))
    assert shown.splitlines()[-1].endswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *(
            (
                [command],
                "Option --group needs --pool NAME=none, for parameters that groups do not share; add it or leave out "
                "--group.",
            )
            for command in ("fit", "profile")
        ),
        (
            ["forecast"],
            "Option --group must not be given to forecast, which fits one set of parameters to all rows; choose a "
            "group with --where.",
        ),
        (
            ["bootstrap", "--kind", "cluster"],
            "Option --group needs --cluster group, which resamples whole groups, or --pool NAME=none, for parameters "
            "that groups do not share; add it or leave out --group.",
        ),
        (
            ["profile", "--pool", "alpha=none", "--param", "alpha"],
            "Option --param must be one of E, A, alpha[k0], "
            "alpha[k1], alpha[k2], but is 'alpha' (did you mean 'alpha[k2]' or 'alpha[k1]' or 'alpha[k0]'?).",
        ),
        (
            ["bootstrap", "--pool", "alpha=partial"],
            "Option --group needs --cluster group, which resamples whole groups, or --pool NAME=none, for parameters "
            "that groups do not share; add it or leave out --group.",
        ),
        (
            ["fit", "--pool", "alpha=none", "--pool", "A=partial"],
            "Option --pool must be complete or none in a fit, but is partial for A; use jaxscale posterior, which "
            "pools partially.",
        ),
        (["fit", "--pool", "alpha=own"], "Option --pool must be one of complete, partial, none, but is 'own'."),
        (
            ["posterior", "--pool", "alpha=partial", "--likelihood", "normal", "--scale-by", "group"],
            "Enough.",
        ),
        (
            ["posterior", "--scale-by", "level", "--likelihood", "normal"],
            "Option --group needs --pool NAME=partial or NAME=none, for parameters that groups do not share, or "
            "--scale-by group, for a noise scale per group; add one of them or leave out --group.",
        ),
    ],
)
def test_unused_groups_are_reported(words: list[Any], message: str, handed: list[Any]) -> None:
    _, *body = rows()
    write("own.csv", [["N", "loss", "k"], *([row[0], row[2], f"k{i % 3}"] for i, row in enumerate(body))])
    command, *more = words
    assert refused(command, "own.csv", "--law", "my_laws.py:my_law", "--group", "k", *more) == message
