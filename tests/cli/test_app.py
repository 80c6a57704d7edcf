"""The command line: output, files, errors and exit statuses."""

import ast
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxscale import designs, laws, simulate
from jaxscale.cli import lookup, parsing
from jaxscale.data.readers import read_table
from jaxscale.fitting import fit as fit_module
from jaxscale.results.fit import Fit
from jaxscale.utils import files
from jaxscale.utils.notices import CODES
from tests.commands import LAW_FILE, proportional, refused, remembering, rows, run, write

FAST = ("--starts", "256", "--resamples", "40")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in its own folder with the example sweep in runs.csv."""
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(parsing.csv_text(designs.example()))
    return tmp_path


def test_demo_fits_the_example_and_writes_three_files(folder: Path) -> None:
    (folder / "here").mkdir()
    result = run("demo", "--output", "here", "--seed", 1)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (folder / "here").iterdir()) == ["demo.csv", "demo.json", "demo.png"]
    assert result.stdout.startswith("chinchilla fitted to demo.csv (99 of 99 rows)")
    assert "simulated with known constants" in result.stdout
    assert f"Written: {Path('here/demo.csv')}, {Path('here/demo.json')}, {Path('here/demo.png')}" in result.stdout
    fit = Fit.load(folder / "here" / "demo.json")
    assert (fit.status, fit.provenance.seed, fit.provenance.data) == ("converged", 1, "demo.csv")
    assert fit.provenance.data_sha256 == read_table(folder / "here" / "demo.csv").sha256
    table = {name: column.astype(float) for name, column in read_table(folder / "here" / "demo.csv").columns.items()}
    for name, column in designs.example().items():
        assert np.array_equal(table[name], column)


def test_fit_command_writes_the_result_of_fit(folder: Path) -> None:
    result = run("fit", "runs.csv", "--law", "chinchilla", "--json", "out.json", "--plot", "out.png", *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("Written: out.json, out.png\n")
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    entries = json.loads(Path("out.json").read_text())
    assert {"law", "params", "stderr", "objective", "rows_read", "rows_used", "starts", "basins"} <= set(entries)
    assert {"notices", "status", "seed", "versions", "data_sha256", "certificate", "correlation"} <= set(entries)
    assert {"scored", "polished", "converged", "agree"} <= set(entries["starts"])
    fit = Fit.load(Path("out.json"))
    assert fit.to_json() == Path("out.json").read_text()
    assert f"{fit}\n\nWritten" in result.stdout
    observations = fit_module.Observations.from_table("runs.csv", inputs=["N", "D"], response="loss")
    assert fit_module.fit("chinchilla", observations, starts=256, n_resamples=40) == fit
    for words in (["runs.csv", "--json"], ["--json", "runs.csv"]):
        printed = run("fit", *words, "--law", "chinchilla", *FAST)
        assert (printed.exit_code, printed.stdout) == (0, fit.to_json())


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the arguments that the command passes to the library, which then raises an error."""
    return remembering(monkeypatch, fit=fit_module)


def test_fit_takes_columns_filter_weight_and_run(handed: list[Any]) -> None:
    _, *body = rows()
    header = ["params", "tokens", "nats", "w", "id", "kind"]
    write("named.csv", [header, *([*row, str(i % 2 + 1), f"r{i // 3}", f"k{i % 2}"] for i, row in enumerate(body))])
    words = ["--input", "N=params", "--input", "D=tokens", "--response", "nats", "--where", "params < 5e9"]
    words += ["--weight", "w", "--run", "id"]
    assert refused("fit", "named.csv", "--law", "chinchilla", *words) == "Enough."
    kept = [i for i, row in enumerate(body) if float(row[0]) < 5e9]
    law, observations, _ = handed[0]
    assert law is laws.get("chinchilla")
    assert dict(observations.columns) == {"N": "params", "D": "tokens", "response": "nats"}
    assert observations.inputs["N"].tolist() == [float(body[i][0]) for i in kept]
    assert observations.inputs["D"].tolist() == [float(body[i][1]) for i in kept]
    assert observations.response.tolist() == [float(body[i][2]) for i in kept]
    assert observations.weight.tolist() == [i % 2 + 1 for i in kept]
    assert len(set(observations.run.tolist())) == len({i // 3 for i in kept})
    assert observations.group is None
    assert (observations.rows_read, len(observations)) == (99, len(kept))


def test_fit_takes_its_settings(handed: list[Any]) -> None:
    words = [
        "--starts",
        77,
        "--seed",
        5,
        "--polish",
        16,
        "--checkpoint",
        "kept",
        "--resamples",
        9,
        "--errors",
        "hc3",
        "--noise-level",
        0.01,
        "--fix",
        "E=1.8",
        "--fix",
        "beta=0.4",
    ]
    refused("fit", "runs.csv", "--law", "chinchilla", *words, "--allow-unidentified")
    _, _, settings = handed[0]
    assert settings.pop("noise").describe() == "huber(delta=scale) on log residuals"
    assert settings == {
        "starts": 77,
        "seed": 5,
        "fixed": {"E": 1.8, "beta": 0.4},
        "polish": 16,
        "n_resamples": 9,
        "errors": "hc3",
        "noise_level": 0.01,
        "allow_unidentified": True,
        "checkpoint": Path("kept"),
        "pooling": {},
    }


def test_fit_takes_a_noise_with_its_settings(handed: list[Any]) -> None:
    refused("fit", "runs.csv", "--law", "chinchilla", "--delta", 0.01)
    refused("fit", "runs.csv", "--law", "chinchilla", "--noise", "student_t", "--df", 3, "--scale", 0.1)
    refused("fit", "runs.csv", "--law", "chinchilla", "--noise", "squared")
    refused("fit", "runs.csv", "--law", "chinchilla", "--noise", "squared", "--space", "log")
    refused("fit", "runs.csv", "--law", "chinchilla", "--delta", "scale", "--space", "linear")
    noises = [settings["noise"] for _, _, settings in handed]
    assert [noise.describe() for noise in noises] == [
        "huber(delta=0.01) on log residuals",
        "student_t(df=3, scale=0.1) on log residuals",
        "squared on linear residuals",
        "squared on log residuals",
        "huber(delta=scale) on linear residuals",
    ]


def test_fit_reads_a_public_data_set_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sets").mkdir()
    (folder / "runs.csv").rename(folder / "sets" / "mine.csv")
    monkeypatch.setenv("JAXSCALE_DATA", str(folder / "sets"))
    result = run("fit", "mine", "--law", "chinchilla", *FAST)
    assert result.exit_code == 0 and result.stdout.startswith("chinchilla fitted to mine.csv")
    assert "no data set 'mime' (did you mean 'mine'?)" in refused("fit", "mime", "--law", "chinchilla")


def test_law_from_a_file_is_fitted_and_read_back() -> None:
    Path("my_laws.py").write_text(LAW_FILE)
    words = ["--noise", "squared", "--starts", 64, "--fix", "E=1.8", "--quiet", "--json", "out.json"]
    result = run("fit", "runs.csv", "--law", "my_laws.py:my_law", *words)
    assert (result.exit_code, result.output) == (0, "")
    fit = Fit.load(Path("out.json"), law=lookup.find_law("my_laws.py"))
    assert (str(fit.law), fit.fixed, fit.free) == ("my_law", {"E": 1.8}, ("A", "alpha"))
    assert fit.predict(N=1e9) == 1.8 + fit.params["A"] / 1e9 ** fit.params["alpha"]
    assert "A law of one's own." in run("laws", "my_laws.py:my_law").stdout


def test_an_unidentified_design_is_refused_unless_allowed_and_then_recorded() -> None:
    proportional()
    expected_message = refused("fit", "bad.csv", "--law", "chinchilla", "--json", "out.json")
    assert "D is proportional to N" in expected_message
    assert expected_message.endswith("To fit anyway, add --allow-unidentified.")
    assert not Path("out.json").exists()
    result = run("fit", "bad.csv", "--law", "chinchilla", "--json", "out.json", "--allow-unidentified", *FAST)
    assert result.exit_code in (0, 3)
    entries = json.loads(Path("out.json").read_text())
    assert entries["design"]["allowed"] is True and entries["design"]["verdict"] == "not identified"
    assert "unidentified" in [warning["code"] for warning in entries["notices"]]


def test_unreliable_result_is_written_and_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    whole = fit_module.fit
    monkeypatch.setattr(fit_module, "fit", lambda *a, **k: replace(whole(*a, **k), status="starts_disagree"))
    result = run("fit", "runs.csv", "--law", "chinchilla", "--json", "out.json", *FAST)
    assert result.exit_code == 3
    assert result.stderr == "jaxscale: fitted, but starts disagree; see the notices of the report.\n"
    assert "starts disagree" in result.stdout
    assert Fit.load(Path("out.json")).status == "starts_disagree"


def test_an_interrupt_writes_nothing_and_exits_with_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "fit", interrupted)
    result = run("fit", "runs.csv", "--law", "chinchilla", "--json", "out.json")
    assert (result.exit_code, result.stderr) == (130, "jaxscale: interrupted; nothing was written\n")
    assert [path.name for path in folder.iterdir()] == ["runs.csv"]


def test_interrupt_reports_the_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "fit", interrupted)
    result = run("fit", "runs.csv", "--law", "chinchilla", "--checkpoint", "parts")
    message = "jaxscale: interrupted; finished parts are kept in parts: the same command goes on there\n"
    assert (result.exit_code, result.stderr) == (130, message)


def test_system_error_is_reported_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out.csv")

    monkeypatch.setattr(files, "write_together", full)
    expected_message = refused("simulate", "chinchilla", "--isoflop", "1e18:1e19:2", "--output", "out.csv")
    assert expected_message == "out.csv: No space left on device."


def test_check_needs_no_response_and_prints_the_verdict() -> None:
    write("plan.csv", [row[:2] for row in rows()])
    good = run("check", "plan.csv", "--law", "chinchilla")
    assert good.exit_code == 0 and good.stdout.startswith("Design check of chinchilla: identified")
    proportional()
    bad = run("check", "bad.csv", "--law", "chinchilla", "--json")
    entries = json.loads(bad.stdout)
    assert bad.exit_code == 2 and entries["verdict"] == "not identified"
    assert entries["suggested_runs"] and set(entries["suggested_runs"][0]) == {"N", "D"}
    fixed = run(
        "check", "bad.csv", "--law", "chinchilla", "--json", "--fix", "beta=0.37", "--fix", "B=2000", "--fix", "E=1.8"
    )
    assert fixed.exit_code == 0 and set(json.loads(fixed.stdout)["stderr"]) == {"A", "alpha"}


def test_check_takes_columns_filter_and_noise_level() -> None:
    write("plan.csv", [["params", "tokens"], *(row[:2] for row in rows()[1:])])
    words = ["--input", "N=params", "--input", "D=tokens", "--where", "params < 5e9", "--json"]
    low, high = (
        json.loads(run("check", "plan.csv", "--law", "chinchilla", *words, "--noise-level", level).stdout)
        for level in (0.001, 0.01)
    )
    assert low["rows"] == sum(float(row[0]) < 5e9 for row in rows()[1:])
    assert high["stderr"]["alpha"] == pytest.approx(10 * low["stderr"]["alpha"], rel=1e-9)


def test_simulate_command_agrees_with_simulate() -> None:
    words = [
        "simulate",
        "chinchilla",
        "--input",
        "N=1e7:1e9:3",
        "--input",
        "D=1e9:1e11:4",
        "--noise",
        0.01,
        "--seed",
        7,
    ]
    printed = run(*words)
    assert printed.exit_code == 0
    written = run(*words, "--output", "out.csv")
    assert (written.exit_code, written.stdout, written.stderr) == (0, "", "Written: out.csv\n")
    assert Path("out.csv").read_text() == printed.stdout
    law = laws.get("chinchilla")
    design = designs.grid(N=(1e7, 1e9, 3), D=(1e9, 1e11, 4))
    table = simulate(law, law.published["besiroglu2024"], design, noise=0.01, seed=7)
    assert printed.stdout == parsing.csv_text(table)


def test_simulate_takes_budgets_published_sets_and_single_constants() -> None:
    words = ["--published", "hoffmann2022", "--param", "E=2", "--isoflop", "1e18:1e20:3", "--sizes", 4, "--noise", 0]
    result = run("simulate", "chinchilla", *words)
    law = laws.get("chinchilla")
    params = {**law.published["hoffmann2022"], "E": 2.0}
    table = simulate(law, params, designs.isoflop([1e18, 1e19, 1e20], 4), noise=0.0)
    assert result.stdout == parsing.csv_text(table)


def test_laws_lists_and_shows_them() -> None:
    listed = run("laws").stdout
    assert all(f"\n{name} (" in listed for name in laws.names())
    assert listed.endswith(f"\n\nListed: {len(laws.names())}. For one law: jaxscale laws LAW.\n")
    facts = json.loads(run("laws", "--json").stdout)
    assert [entry["law"] for entry in facts] == laws.names()
    assert json.loads(run("laws", "chinchilla", "--json").stdout) == facts[laws.names().index("chinchilla")]
    assert run("laws", "bnsl[2]").stdout.startswith("bnsl2\n")
    assert "Law 'nope' is not in the catalogue" in refused("laws", "nope")


def test_laws_are_found_by_input_and_family() -> None:
    def named(*words: str) -> list[str]:
        return [entry["law"] for entry in json.loads(run("laws", *words, "--json").stdout)]

    of_both = [name for name, law in laws.catalogue().items() if {"N", "D"} <= set(law.inputs)]
    assert named("--input", "D", "--input", "N") == of_both
    moe = named("--input", "N", "--input", "D", "--family", "moe")
    assert "joint_moe" in moe and moe == [name for name in of_both if laws.get(name).family == "moe"]
    assert run("laws", "--family", "moe").stdout.count("\njoint_moe (N, D, E): ") == 1
    assert "No law has an input 'tokenz'" in refused("laws", "--input", "tokenz")
    assert "There is no family 'mo' (did you mean 'moe'?); families are " in refused("laws", "--family", "mo")
    assert refused("laws", "--family", "moe", "--input", "k").endswith("No law of the family moe has the inputs k.")
    assert "omit them to show chinchilla" in refused("laws", "chinchilla", "--family", "moe")


def test_the_shape_of_a_law_is_drawn_into_a_file() -> None:
    result = run("laws", "chinchilla", "--plot", "shape.png")
    assert result.exit_code == 0 and result.stdout == run("laws", "chinchilla").stdout
    assert Path("shape.png").read_bytes().startswith(b"\x89PNG")
    assert "Option --plot needs the name of a law" in refused("laws", "--plot", "all.png")
    assert "end it in .png, .svg or .pdf" in refused("laws", "chinchilla", "--plot", "shape.doc")


def test_a_law_without_parameters_has_nothing_to_fit() -> None:
    write("n.csv", [["n", "loss"], *([str(n), str(n / 100)] for n in range(2, 30))])
    expected = "best_of_n_kl has no parameters to fit; call it for its values."
    assert refused("fit", "n.csv", "--law", "best_of_n_kl") == expected
    assert (
        refused("check", "n.csv", "--law", "best_of_n_kl")
        == "best_of_n_kl has no parameters, so there is nothing to identify."
    )


def test_notices_lists_every_code() -> None:
    result = run("notices")
    assert result.exit_code == 0
    assert all(f"{code}: " in result.stdout for code in CODES)


def test_version_and_help() -> None:
    assert run("--version").stdout == f"jaxscale {importlib.metadata.version('jaxscale')}\n"
    shown = run("--help").stdout
    assert all(f" {name} " in shown for name in ("demo", "laws", "simulate", "check", "fit", "notices"))


def test_help_and_mistyped_options_import_no_numerical_library(folder: Path) -> None:
    """Each of these libraries takes longer to import than the answer to print."""
    program = """
import contextlib, io, sys
from jaxscale.cli.app import app
heavy = ("jax", "jaxlib", "numpy", "scipy", "equinox", "numpyro", "matplotlib")
names = [each.callback.__name__ if each.name is None else each.name for each in app.registered_commands]
answered = {}
for words in (["--help"], [], ["--version"], ["notices"], ["fitt"], ["fit", "--nope"], ["fit", "runs.csv"],
              *([name, "--help"] for name in names)):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            app(words, prog_name="jaxscale")
        except SystemExit as end:
            answered[" ".join(words)] = end.code
    assert out.getvalue() or err.getvalue(), words
    assert not [name for name in heavy if name in sys.modules], (words, [name for name in heavy if name in sys.modules])
print(answered)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    statuses = ast.literal_eval(done.stdout)
    refused = {"", "fitt", "fit --nope", "fit runs.csv"}
    commands = "demo laws simulate check notices fit posterior bootstrap profile forecast".split()
    assert set(statuses) == {"--help", "--version", "notices", *refused, *(f"{name} --help" for name in commands)}
    assert {words for words, status in statuses.items() if status == 2} == refused
    assert {status for words, status in statuses.items() if words not in refused} == {0}


def test_process_reports_errors_without_a_traceback(folder: Path) -> None:
    words = [sys.executable, "-W", "error", "-m", "jaxscale", "fit", "runs.csv", "--law", "nope", "--json", "out.json"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert json.loads(done.stdout)["code"] == "usage"
    assert done.stderr.startswith("jaxscale: Law 'nope' is not in the catalogue") and done.stderr.count("\n") == 1
    assert not Path("out.json").exists()


def test_a_process_fits_and_prints_plain_text(folder: Path) -> None:
    words = [sys.executable, "-W", "error", "-m", "jaxscale", "fit", "runs.csv", "--law", "chinchilla", *FAST]
    done = subprocess.run([*words, "--json", "out.json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("chinchilla fitted to runs.csv (99 of 99 rows)")
    assert Fit.load(Path("out.json")).status == "converged"
    assert "\x1b" not in done.stdout


def test_closed_pipe_causes_no_traceback(folder: Path) -> None:
    words = [sys.executable, "-m", "jaxscale", "simulate", "chinchilla", "--isoflop", "1e18:1e20:100", "--sizes", "100"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in done.stderr


def test_fit_gives_each_group_its_own_exponent() -> None:
    _, *body = rows()
    write("own.csv", [["N", "loss", "k"], *([row[0], row[2], f"k{i % 2}"] for i, row in enumerate(body))])
    words = ["--law", "power_law_floor", "--input", "x=N", "--group", "k", "--pool", "b=none", "--starts", 64]
    result = run("fit", "own.csv", *words, "--json", "fit.json", "--plot", "fit.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith('power_law_floor(b by ["k0", "k1"]) fitted to own.csv (99 of 99 rows)')
    assert "b[k1]" in result.stdout and "group = k" in result.stdout
    assert set(json.loads(Path("fit.json").read_text())["params"]) == {"c", "a", "b[k0]", "b[k1]"}
