"""Runs commands in a folder that holds the example as runs.csv."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from jaxscale import laws, simulate
from jaxscale.cli import app, parsing

LAW_FILE = '''
from jaxscale.law import Input, Response, amplitude, exponent, floor, law


@law(
    inputs=dict(N=Input("parameters")),
    response=Response("nat/token"),
    E=floor(), A=amplitude(N="alpha"), alpha=exponent(),
    source="a test",
)
def my_law(N, *, E, A, alpha):
    """A law of one's own."""
    return E + A / N**alpha
'''


def run(*words: Any) -> Result:
    return CliRunner().invoke(app.app, [str(word) for word in words])


def refused(*words: Any) -> str:
    """The message of a refused command, with ``--json`` as JSON too."""
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("jaxscale: ") and result.stderr.count("\n") == 1
    sentence = result.stderr.removeprefix("jaxscale: ").strip()
    if "--json" in words:
        assert result.stdout.count("\n") == 1 and json.loads(result.stdout)["message"] == sentence
    else:
        assert result.stdout == ""
    return sentence


def rows(count: int = 99) -> list[list[str]]:
    return [line.split(",") for line in Path("runs.csv").read_text().splitlines()[: count + 1]]


def write(path: str, lines: list[list[str]]) -> None:
    Path(path).write_text("\n".join(",".join(line) for line in lines) + "\n")


def proportional(path: str = "bad.csv") -> None:
    """Runs whose tokens are proportional to their parameters."""
    N = np.geomspace(1e7, 1e10, 99)
    law = laws.get("chinchilla")
    table = simulate(law, law.published["besiroglu2024"], {"N": N, "D": 20 * N})
    Path(path).write_text(parsing.csv_text(table))


def remembering(monkeypatch: pytest.MonkeyPatch, **modules: Any) -> list[Any]:
    """Arguments that a command passes to functions of modules (by name), which then raise."""
    seen: list[Any] = []

    def remembered(*given: Any, **settings: Any) -> None:
        seen.append((*given, settings))
        raise ValueError("Enough.")

    for name, module in modules.items():
        monkeypatch.setattr(module, name, remembered)
    return seen
