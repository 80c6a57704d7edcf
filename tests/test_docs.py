"""Examples in docstrings, and tables of laws in the documents."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import jaxscale
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
