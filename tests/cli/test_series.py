"""The command line with schedules: series from a separate file."""

from pathlib import Path

import numpy as np
import pytest

from jaxscale import laws, noise
from jaxscale.cli import lookup, parsing
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.laws.schedules import annealing_sums
from jaxscale.results.fit import Fit
from tests.commands import refused, run

TRUE = dict(L0=2.7, A=0.5, alpha=0.5, C=0.4)
RATES = {
    "constant": np.full(4000, 3e-4),
    "linear": 3e-4 * np.linspace(1.0, 0.1, 4000),
    "step": np.where(np.arange(4000) < 2000, 3e-4, 1e-4),
}
SERIES = "schedule=rates.csv:run:lr"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses along three schedules in curves.csv, the schedules in rates.csv."""
    monkeypatch.chdir(tmp_path)
    steps = np.arange(100, 4000, 150)
    losses = []
    for rates in RATES.values():
        sums = annealing_sums(steps, rates)
        losses.append(TRUE["L0"] + TRUE["A"] * sums["S1"] ** -TRUE["alpha"] - TRUE["C"] * sums["S2"])
    curves = dict(
        step=np.tile(steps, len(RATES)),
        schedule=np.repeat(list(RATES), len(steps)),
        loss=np.concatenate(losses),
    )
    schedules = dict(run=np.repeat(list(RATES), 4000), lr=np.concatenate(list(RATES.values())))
    Path("curves.csv").write_text(parsing.csv_text(curves))
    Path("rates.csv").write_text(parsing.csv_text(schedules))


def test_a_schedule_law_is_fitted_from_files() -> None:
    words = ["--series", SERIES, "--noise", "squared", "--starts", 64, "--resamples", 0, "--json", "out.json"]
    result = run("fit", "curves.csv", "--law", "lr_annealing", *words)
    assert result.exit_code == 0, result.output
    found = Fit.load(Path("out.json"))
    assert found.params == pytest.approx(TRUE, rel=1e-6)
    observations = Observations.from_table(
        "curves.csv", inputs=["step", "schedule"], response="loss", series=dict(schedule=RATES)
    )
    assert fit("lr_annealing", observations, noise=noise.squared(), starts=64, n_resamples=0) == found


def test_sequences_keep_the_order_of_their_file() -> None:
    mixed = dict(run=np.array(["b", "a", "b", "a"]), lr=np.array([1.0, 2.0, 3.0, 4.0]))
    Path("rates.csv").write_text(parsing.csv_text(mixed))
    found = lookup.series_of(laws.get("lr_annealing"), [SERIES])["schedule"]
    assert {label: values.tolist() for label, values in found.items()} == {"b": [1.0, 3.0], "a": [2.0, 4.0]}


REFUSED = {
    "shape": (
        ["schedule=rates.csv"],
        "Option --series must look like INPUT=FILE.csv:LABEL_COLUMN:VALUE_COLUMN, but is 'schedule=rates.csv'.",
    ),
    "input": (
        ["schedul=rates.csv:run:lr"],
        "lr_annealing takes no series 'schedul' (did you mean 'schedule'?); it takes step, schedule.",
    ),
    "twice": ([SERIES, SERIES], "Option --series gives schedule twice; give it once."),
    "file": (["schedule=none.csv:run:lr"], "none.csv"),
    "column": (["schedule=rates.csv:run:rate"], "rate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_series_that_cannot_be_read_are_refused(case: str) -> None:
    entries, words = REFUSED[case]
    given = [word for entry in entries for word in ("--series", entry)]
    assert words in refused("fit", "curves.csv", "--law", "lr_annealing", *given)


def test_invalid_cells_and_unknown_labels_are_reported() -> None:
    Path("rates.csv").write_text("run,lr\nlinear,3e-4\nlinear,x\n")
    message = refused("fit", "curves.csv", "--law", "lr_annealing", "--series", SERIES)
    assert "rates.csv, column 'lr', line 3: 'x' is not a number" in message
    Path("rates.csv").write_text("run,lr\nlinear,3e-4\n")
    message = refused("fit", "curves.csv", "--law", "lr_annealing", "--series", SERIES)
    assert "curves.csv, column 'schedule', line 2: there is no series 'constant'" in message


def test_law_without_sources_rejects_series() -> None:
    message = refused("fit", "curves.csv", "--law", "chinchilla", "--series", SERIES)
    assert message == "chinchilla takes no series 'schedule'; it takes none; leave out --series."


def test_source_without_a_column_is_reported() -> None:
    Path("curves.csv").write_text("when,schedule,loss\n1,linear,3.0\n")
    message = refused("fit", "curves.csv", "--law", "lr_annealing", "--series", SERIES)
    assert message.startswith("lr_annealing needs the input step, and curves.csv has no column of that name;")
