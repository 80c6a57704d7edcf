"""Examples in docstrings, and tables of laws in the documents."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import jaxscale
from jaxscale import designs
from tests.conftest import CHECKOUT
from tests.write_laws import documents

MODULES = sorted(found.name for found in pkgutil.walk_packages(jaxscale.__path__, "jaxscale."))


@pytest.mark.parametrize("name", ["jaxscale", *(name for name in MODULES if not name.endswith("__main__"))])
def test_docstring_examples(name: str) -> None:
    """Examples run with the defaults of JAX."""
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_there_are_examples() -> None:
    assert doctest.testmod(importlib.import_module("jaxscale.law.declare")).attempted > 0


@pytest.mark.parametrize(("path", "text"), documents().items(), ids=lambda part: getattr(part, "name", ""))
def test_the_tables_of_laws_are_fresh(path: Path, text: str) -> None:
    assert path.read_text() == text, f"{path.name} is stale: run python tests/write_laws.py"


def python_blocks(path: Path) -> list[str]:
    """The Python examples of a document."""
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_guide_to_comparison_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_blocks(CHECKOUT / "docs" / "comparison.md"):
        exec(block, names)
    assert Path("contour.png").read_bytes().startswith(b"\x89PNG")


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the text, on the example sweep; the data that it takes for granted are made here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxscale, "enable_compilation_cache", lambda: None)
    table = designs.example()
    rows = len(table["loss"])
    columns = {"params": table["N"], "tokens": table["D"], "run_id": np.arange(rows), "family": np.arange(rows) % 2}
    pd.DataFrame({**table, **columns}).to_csv("runs.csv", index=False)
    score = np.linspace(-3, 3, 30)
    correct = np.random.default_rng(0).binomial(50, 0.2 + 0.7 / (1 + np.exp(-2 * score)))
    (score_name,) = jaxscale.laws.get("logistic4").inputs
    counts = {score_name: score, "questions": np.full(30, 50), "correct": correct}
    names: dict[str, object] = {
        "jax": jax,
        "N": np.asarray(table["N"], np.float32),
        "D": np.asarray(table["D"], np.float32),
        "loss": np.asarray(table["loss"], np.float32),
        "tasks": jaxscale.Observations.from_table(counts, inputs=[score_name, "questions"], response="correct"),
        "other_runs": jaxscale.Observations.from_table("runs.csv", inputs=["N", "D"], response="loss"),
        "counts": np.random.default_rng(0).multinomial(rows, np.ones(rows) / rows, size=3),
    }
    for block in python_blocks(CHECKOUT / "README.md"):
        exec(block, names)
    assert isinstance(names["fit"], jaxscale.Fit) and isinstance(names["draws"], jaxscale.Draws)
