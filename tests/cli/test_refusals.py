"""Errors of the command line: one sentence, exit status 2, and no file."""

from pathlib import Path

import pytest

from jaxscale import designs
from jaxscale.cli import parsing
from tests.commands import refused, rows, run, write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in its own folder with the example sweep in runs.csv."""
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(parsing.csv_text(designs.example()))
    return tmp_path


@pytest.mark.parametrize(
    "column, cell, message",
    [
        (0, "", "bad.csv, column 'N', line 4: the cell is empty"),
        (0, "nan", "column 'N', line 4: nan is not a number"),
        (1, "inf", "column 'D', line 4: inf is infinite"),
        (1, "12 billion", "column 'D', line 4: '12 billion' is not a number"),
        (0, "0", "column 'N' (input N), line 4: 0 must be above 0 for chinchilla"),
        (1, "-3", "column 'D' (input D), line 4: -3 must be above 0 for chinchilla"),
        (2, "0", "column 'loss' (the response), line 4: 0 must be above 0 for log residuals of chinchilla; correct"),
        (2, "3,5", "bad.csv, line 4: 4 cells under a header of 3"),
    ],
)
def test_invalid_cell_is_reported_and_nothing_is_written(folder: Path, column: int, cell: str, message: str) -> None:
    lines = rows()
    lines[3][column] = cell
    write("bad.csv", lines)
    before = sorted(folder.iterdir())
    assert message in refused("fit", "bad.csv", "--law", "chinchilla", "--json", "out.json", "--plot", "out.png")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "bad.csv is empty"),
        ("N,D,loss\n", "bad.csv"),
        ("N,D,loss\n1e8,1e9,3\n1e9,1e10,2.5\n", "bad.csv has 2 rows with positive weight, but chinchilla has 5 free"),
        ("N,D,loss\n" + "".join(f"{i}e8,1e9,{3 - i / 10}\n" for i in range(1, 9)), "the input D is 1e+09 in every row"),
        ("N,D,loss\n" + "".join(f"{i}e8,{i * i}e9,3\n" for i in range(1, 9)), "the response is 3 in every row"),
        ("N,D,N\n1,2,3\n", "the header names column 'N' 2 times"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(content: str, message: str) -> None:
    Path("bad.csv").write_text(content)
    assert message in refused("fit", "bad.csv", "--law", "chinchilla", "--response", "loss", "--json", "out.json")
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["runs.csv", "--law", "zzz"], "Law 'zzz' is not in the catalogue; jaxscale laws lists all."),
        (["nowhere.csv"], "There is no file nowhere.csv"),
        (["runs.csv", "--law", "chinchila"], "Law 'chinchila' is not in the catalogue; nearest are chinchilla"),
        (["runs.csv", "--law", "none.py:law"], "There is no file none.py; check the path."),
        (["runs.csv", "--law", "power_law"], "name its column with --input x=COLUMN (columns are N, D, loss)."),
        (["runs.csv", "--input", "M=N"], "chinchilla has no input 'M'"),
        (["runs.csv", "--input", "N=params"], "runs.csv has no column 'params'"),
        (["runs.csv", "--input", "N"], "Option --input must look like NAME=COLUMN, but is 'N'."),
        (["runs.csv", "--input", "N=N", "--input", "N=D"], "Option --input gives N twice; give it once."),
        (["runs.csv", "--response", "nats"], "runs.csv has no column 'nats'"),
        (["runs.csv", "--where", "N >"], "The filter 'N >' is wrong at its end"),
        (["runs.csv", "--json", "/proc/out.json"], "/proc/out.json cannot be written in /proc ("),
        (["runs.csv", "--plot", "/dev/null"], "/dev/null cannot be written: it is not a regular file"),
        (["runs.csv", "--where", "N > 1e30"], "keeps none of the 99 rows"),
        (["runs.csv", "--weight", "w"], "runs.csv has no column 'w'"),
        (["runs.csv", "--noise", "gauss"], "Option --noise must be one of absolute, huber, squared, student_t"),
        (["runs.csv", "--space", "cube"], "Option --space must be one of linear, log, logit"),
        (["runs.csv", "--delta", "-1"], "Option --delta must be positive and finite"),
        (["runs.csv", "--noise", "squared", "--delta", "1"], "Option --delta must not be given with noise squared"),
        (["runs.csv", "--starts", "0"], "Option --starts must be a positive number"),
        (["runs.csv", "--polish", "0"], "Option --polish must be at least 1, but is 0."),
        (["runs.csv", "--resamples", "1"], "Option --resamples must be 0 or at least 2, but is 1."),
        (["runs.csv", "--checkpoint", "runs.csv"], "Checkpoint runs.csv is a file; give a folder."),
        (["runs.csv", "--checkpoint", "."], "Checkpoint . is not empty and holds no run.json; give an empty folder."),
        (["runs.csv", "--noise-level", "0"], "Option --noise-level must be positive"),
        (["runs.csv", "--fix", "E=high"], "Option --fix must look like NAME=NUMBER, but is 'E=high'."),
        (["runs.csv", "--fix", "F=1"], "which is no parameter of chinchilla"),
        (["runs.csv", "--fix", "E=-1"], "Option --fix must keep E in its support (positive)"),
        (
            ["runs.csv", "--json", "no/out.json"],
            "no/out.json cannot be written: there is no folder no; create it first.",
        ),
        (["runs.csv", "--json", "runs.csv"], "runs.csv cannot be written: it is the input table"),
        (["runs.csv", "--json", "."], "cannot be written: it is a folder; give the path of a file."),
        (
            ["runs.csv", "--json", "a.png", "--plot", "./a.png"],
            "a.png is given twice; give every file its own path.",
        ),
        (["runs.csv", "--plot", "a.jpg"], "a.jpg does not end in a supported figure format"),
    ],
)
def test_a_wrong_argument_is_refused_before_any_work(folder: Path, words: list[str], message: str) -> None:
    law = [] if "--law" in words else ["--law", "chinchilla"]
    assert message in refused("fit", *words, *law)
    assert [path.name for path in folder.iterdir()] == ["runs.csv"]


def test_a_response_must_be_named_unless_it_is_called_loss() -> None:
    write("other.csv", [["N", "D", "nats"], *rows()[1:]])
    assert refused("fit", "other.csv", "--law", "chinchilla").startswith(
        "other.csv has no column 'loss'; name the resp"
    )


@pytest.mark.parametrize("words", [["--nope"], ["--seed", "-1"], ["--resamples", "few"], ["--starts", "many"]])
def test_an_unknown_option_or_a_value_out_of_range_is_refused(words: list[str]) -> None:
    result = run("fit", "runs.csv", "--law", "chinchilla", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words[0] in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["chinchilla"],
            "Give the design either with --input NAME=LOWEST:HIGHEST:COUNT per input or with --isoflop.",
        ),
        (["chinchilla", "--isoflop", "1e18:1e20"], "Option --isoflop must look like LOWEST:HIGHEST:COUNT"),
        (["chinchilla", "--isoflop", "0:1e20:3"], "Option --isoflop must run from a positive number up"),
        (["chinchilla", "--isoflop", "1:2:2.5"], "must end in a count from 1 to 1000000"),
        (["chinchilla", "--isoflop", "1:2:x"], "Option --isoflop must look like LOWEST:HIGHEST:COUNT"),
        (["chinchilla", "--input", "N=1e8:1e9:3"], "Law chinchilla needs the input D"),
        (["chinchilla", "--input", "N=1e9:1e8:3"], "Axis N must be (lowest, highest, count)"),
        (["chinchilla", "--isoflop", "1e18:1e20:3", "--published", "hofmann2022"], "did you mean 'hoffmann2022'?"),
        (["power_law", "--input", "x=1:9:3"], "Law power_law needs the parameter a"),
        (["power_law", "--input", "x=1:9:3", "--published", "p"], "no published set 'p'; it has none; give --param."),
        (["chinchilla", "--isoflop", "1e18:1e20:3", "--noise", "-1"], "Option --noise must be zero or positive"),
    ],
)
def test_a_design_that_cannot_be_simulated_is_refused(folder: Path, words: list[str], message: str) -> None:
    assert message in refused("simulate", *words, "--output", "out.csv")
    assert not Path("out.csv").exists()
