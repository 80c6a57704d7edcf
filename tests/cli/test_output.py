"""Exits of the uncertainty commands: errors before the fit, unreliable results, interruptions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
import typer

from jaxscale.cli import app, output
from jaxscale.fitting import fit
from jaxscale.prediction import forecast
from jaxscale.resampling import bootstrap
from jaxscale.utils.errors import Function, Reference, Setting, Subject
from jaxscale.utils.notices import Notice
from tests.commands import proportional, refused, remembering, rows, run, write

pytestmark = pytest.mark.usefixtures("with_example")
LAW = ("--law", "my_laws.py:my_law", "--noise", "squared", "--starts", 64)
COMMANDS = typer.main.get_command(app.app).commands  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("words", "expected_message"),
    [
        (
            ["profile", "--param", "alpha", "--fix", "alpha=0.34"],
            "Option --param names alpha, which --fix holds; leave out one of the two.",
        ),
        (
            ["bootstrap", "--resamples", 0],
            "Option --resamples must be a whole number of at least 2, but is 0.",
        ),
        (["bootstrap", "--cluster", "foo"], "Option --cluster must be 'run' or 'group', but is 'foo'."),
        (
            ["bootstrap", "--kind", "cluster"],
            "Option --cluster must name what the observations have, but they name no run: name their column with "
            "--run COLUMN.",
        ),
        (
            ["bootstrap", "--noise", "absolute", "--intervals", "studentised"],
            "Option --intervals must not be 'studentised' with absolute on log residuals, whose curvature says "
            "nothing of a refit's standard error; use --intervals bca.",
        ),
        (
            ["posterior", "--pool", "beta=none"],
            "Option --pool names 'beta', which is no free parameter of my_law; these are E, A, alpha.",
        ),
        (
            ["posterior", "--pool", "alpha=partial"],
            "runs.csv: pooling needs groups; name their column with --group COLUMN.",
        ),
        (
            ["posterior", "--prior", "alpha=Normal(0.3,0.1)", "--fix", "alpha=0.34"],
            "Option --prior names 'alpha', which is nothing that is inferred for my_law; inferred are E, A, scale.",
        ),
    ],
)
def test_invalid_options_are_reported_before_the_fit(
    words: list[Any], expected_message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = remembering(monkeypatch, fit=fit)
    command, *options = words
    assert refused(command, "runs.csv", *LAW, *options) == expected_message
    assert not seen


def test_too_few_rows_are_reported_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = remembering(monkeypatch, fit=fit)
    write("few.csv", rows(3))
    assert refused("bootstrap", "few.csv", *LAW) == (
        "Resampling needs more rows than free parameters, but there are 3 rows and 3 parameters; add rows or fix "
        "parameters."
    )
    assert not seen
    assert refused("bootstrap", "few.csv", *LAW, "--fix", "E=1.8") == "Enough."


def test_forecast_from_an_unreliable_fit_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forecast.fit
    notice = Notice("starts_disagree", "Only 1 of 8 starts ended here.")

    def marked(*given: Any, **settings: Any) -> Any:
        return replace(whole(*given, **settings), status="starts_disagree", notices=(notice,))

    monkeypatch.setattr(forecast, "fit", marked)
    words = ["forecast", "runs.csv", "--law", "my_laws.py:my_law", "--fix", "E=1.8", "--at", "N=7e10"]
    result = run(*words, "--json", "out.json")
    assert result.exit_code == 3
    assert result.stderr == "jaxscale: fitted, but starts disagree; see the notices of the report.\n"
    assert "starts_disagree: Only 1 of 8 starts" in result.stdout
    assert json.loads(Path("out.json").read_text())["status"] == "starts_disagree"


def test_forecast_hides_options_that_it_rejects() -> None:
    shown = run("forecast", "--help").stdout.split()
    hidden = "noise delta df scale starts polish noise-level checkpoint".split()
    assert not {f"--{name}" for name in hidden} & set(shown)
    assert {"--at", "--size", "--seed", "--fix", "--space"} <= set(shown)
    assert {f"--{name}" for name in hidden} <= set(run("bootstrap", "--help").stdout.split())
    words = ["forecast", "runs.csv", "--law", "my_laws.py:my_law", "--at", "N=7e10"]
    assert refused(*words, "--checkpoint", "parts") == (
        "Option --checkpoint must not be given to forecast, which has no checkpoint; leave it out."
    )


def test_unknown_inputs_are_reported_with_known_ones() -> None:
    expected_message = refused("forecast", "runs.csv", "--law", "my_laws.py:my_law", "--at", "X=3")
    assert expected_message == "my_law has no input 'X'; its inputs are N."


def test_interrupted_bootstrap_reports_finished_refits(monkeypatch: pytest.MonkeyPatch) -> None:
    refitted = bootstrap.refit_batch

    def stopped(*given: Any, **settings: Any) -> Any:
        lanes, settled = refitted(*given, **settings)
        return jax.tree.map(lambda leaf: leaf[..., :20], lanes), settled[:20]

    monkeypatch.setattr(bootstrap, "refit_batch", stopped)
    result = run("bootstrap", "runs.csv", *LAW, "--resamples", 30, "--json", "out.json")
    assert (result.exit_code, result.stderr) == (130, "jaxscale: interrupted; finished draws are kept.\n")
    assert "case bootstrap, 20 of 30 refits, all converged" in result.stdout
    output_json = json.loads(Path("out.json").read_text())
    assert (output_json["n_resamples"], output_json["finished"], output_json["ok"]) == (30, 20, True)
    assert output_json["notices"][-1]["message"] == "Resampling was interrupted; 20 of 30 refits finished."
    monkeypatch.setattr(
        bootstrap, "refit_batch", lambda *given, **settings: (refitted(*given)[0], refitted(*given)[1][:1])
    )
    result = run("bootstrap", "runs.csv", *LAW, "--resamples", 30)
    assert (result.exit_code, result.stderr) == (130, "jaxscale: interrupted; nothing was written\n")


def test_a_report_is_printed_even_where_its_file_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out.json")

    monkeypatch.setattr(output, "write_together", full)
    result = run("fit", "runs.csv", *LAW, "--json", "out.json")
    assert (result.exit_code, result.stderr) == (2, "jaxscale: out.json: No space left on device.\n")
    assert result.stdout.startswith("my_law fitted to runs.csv (99 of 99 rows)") and "Written" not in result.stdout


LINEAR = Setting("noise", "squared", (Setting("space", "linear"),))
COUNTS = Function("fit", (Setting("likelihood", "binomial", (Setting("trials"),)),))


@pytest.mark.parametrize(
    ("command", "part", "words"),
    [
        ("fit", Subject("seed"), "Option --seed"),
        ("fit", Subject("fixed"), "Option --fix"),
        ("fit", Subject("inputs"), "Option --input"),
        ("fit", Subject("pooling"), "Option --pool"),
        ("fit", Subject("bounds"), "Option --bound"),
        ("fit", Subject("noise_level"), "Option --noise-level"),
        ("fit", Subject("n_resamples"), "Option --resamples"),
        ("posterior", Subject("priors"), "Option --prior"),
        ("posterior", Subject("method"), "Option --method"),
        ("bootstrap", Subject("method"), "Option --intervals"),
        ("bootstrap", Subject("kind"), "Option --kind"),
        ("profile", Subject("params"), "Option --param"),
        ("simulate", Subject("budgets"), "Option --isoflop"),
        ("simulate", Subject("sizes_per_budget"), "Option --sizes"),
        ("profile", Subject("method"), "Argument method"),
        ("fit", Subject("observations"), "Argument observations"),
        ("simulate", Subject("law"), "Argument law"),
        (None, Subject("seed"), "Argument seed"),
        ("fit", Setting("group"), "--group COLUMN"),
        ("fit", Setting("where"), "--where FILTER"),
        ("fit", Setting("fixed"), "--fix NAME=NUMBER"),
        ("bootstrap", Setting("kind", "parametric"), "--kind parametric"),
        ("bootstrap", Setting("method", "bca"), "--intervals bca"),
        ("fit", Setting("inputs", {"N": "COLUMN"}), "--input N=COLUMN"),
        ("fit", Setting("allow_unidentified", True), "--allow-unidentified"),
        ("fit", LINEAR, "--noise squared --space linear"),
        ("forecast", Setting("space", "linear"), "--space linear"),
        ("posterior", Setting("n_resamples", 400), "n_resamples=400"),
        ("bootstrap", COUNTS, "jaxscale fit --likelihood binomial --trials COLUMN"),
        ("posterior", Function("bootstrap"), "jaxscale bootstrap"),
        ("fit", Function("laws.names()"), "jaxscale laws"),
    ],
)
def test_references_are_spelled_as_options_and_commands(command: str | None, part: Reference, words: str) -> None:
    assert output.in_shell(part, COMMANDS, command) == words


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("words", "code", "argument"),
    [
        (["fit", "runs.csv", *LAW, "--fix", "F=1"], "argument", "fixed"),
        (["fit", "nowhere.csv", *LAW], "data", None),
        (["fit", "runs.csv", *LAW, "--input", "N=params"], "data", None),
        (["fit", "runs.csv", *LAW, "--where", "N >"], "filter", "where"),
        (["fit", "runs.csv", *LAW, "--checkpoint", "."], "checkpoint", "checkpoint"),
        (["fit", "proportional.csv", "--law", "chinchilla"], "unidentified", None),
        (["fit", "runs.csv", "--law", "none.py:law"], "usage", "law"),
        (["posterior", "runs.csv", *LAW, "--pool", "alpha=partial"], "data", "group"),
        (["bootstrap", "runs.csv", *LAW, "--intervals", "t"], "argument", "method"),
        (["profile", "runs.csv", *LAW, "--param", "B"], "argument", "params"),
        (["forecast", "runs.csv", *LAW[:2]], "argument", "at"),
    ],
)
def test_errors_are_printed_as_json(words: list[Any], code: str, argument: str | None, named: bool) -> None:
    proportional("proportional.csv")
    before = sorted(Path().glob("*.*"))
    result = run(*words, "--json", *(["out.json"] if named else []))
    message = result.stderr.removeprefix("jaxscale: ").strip()
    assert json.loads(result.stdout) == dict(code=code, argument=argument, message=message, exit_status=2)
    assert result.exit_code == 2 and sorted(Path().glob("*.*")) == before


@pytest.mark.parametrize(
    ("words", "code", "argument"),
    [
        (["laws", "zzz"], "usage", "law"),
        (["laws", "--family", "zzz"], "usage", "family"),
        (["laws", "--plot", "all.png"], "argument", "plot"),
        (["check", "runs.csv", "--law", "chinchilla", "--fix", "E"], "argument", "fixed"),
        (["check", "nowhere.csv", "--law", "chinchilla"], "data", None),
        (["check", "runs.csv", "--law", "chinchilla", "--noise-level", "few"], "usage", "noise_level"),
        (["fit", "runs.csv", *LAW, "--seed", "-1"], "usage", "seed"),
        (["fit", "runs.csv", *LAW, "--nope"], "usage", None),
        (["fit", "runs.csv"], "usage", "law"),
        (["fit", *LAW], "usage", "table"),
        (["nothing"], "usage", None),
    ],
)
def test_usage_errors_are_printed_as_json(words: list[Any], code: str, argument: str | None) -> None:
    result = run(*words, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["code"], found["argument"], found["exit_status"]) == (2, code, argument, 2)
    assert found["message"] and result.stderr
    assert run(*words).stdout == ""


def test_a_file_that_cannot_be_written_is_reported_in_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out.json")

    monkeypatch.setattr(output, "write_together", full)
    *report, last = run("fit", "runs.csv", *LAW, "--json", "out.json").stdout.splitlines()
    assert report[0].startswith("my_law fitted to runs.csv")
    message = "out.json: No space left on device."
    assert json.loads(last) == dict(code="file", argument=None, message=message, exit_status=2)
