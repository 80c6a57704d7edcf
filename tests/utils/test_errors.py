"""Errors: messages of parts, the argument at fault, the code."""

import ast
import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import jaxscale
from jaxscale.data.filters import FilterError
from jaxscale.identification.fisher_information import NotFiniteError
from jaxscale.utils.checkpoint import JournalError
from jaxscale.utils.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    Function,
    LawError,
    NotUsableError,
    Setting,
    StructuredError,
    UnidentifiedError,
    UsageError,
)


@pytest.mark.parametrize(
    ("reference", "python"),
    [
        (Setting("group"), "group="),
        (Setting("kind", "bca"), "kind='bca'"),
        (Setting("n_resamples", 400), "n_resamples=400"),
        (Setting("inputs", {"N": "COLUMN"}), "inputs={'N': 'COLUMN'}"),
        (Setting("noise", "squared", (Setting("space", "linear"),)), "noise=squared(space='linear')"),
        (Function("bootstrap"), "jaxscale.bootstrap"),
        (Function("fit", (Setting("likelihood", "binomial", (Setting("trials"),)),)), None),
    ],
)
def test_references_read_as_python(reference: Any, python: str | None) -> None:
    assert str(reference) == (python or "jaxscale.fit(likelihood=binomial(trials=))")


def test_a_message_joins_its_parts() -> None:
    error = ArgumentError("kind", "must not be 'wild' here; use ", Setting("kind", "case"), ".")
    assert str(error) == "Argument kind must not be 'wild' here; use kind='case'."
    spelled = error.sentence(lambda part: f"<{part.name}>")
    assert spelled == "<kind> must not be 'wild' here; use <kind>."


@pytest.mark.parametrize(
    ("error", "code", "argument", "base"),
    [
        (ArgumentError("level", "must lie between 0 and 1."), "argument", "level", ValueError),
        (ArgumentTypeError("at", "must give inputs."), "type", "at", TypeError),
        (UsageError("A profile needs residuals."), "usage", None, ValueError),
        (DataError("a.csv is empty."), "data", None, ValueError),
        (DataError("a.csv needs groups; use ", Setting("group"), ".", argument="group"), "data", "group", ValueError),
        (FilterError("The filter keeps no row."), "filter", "where", DataError),
        (LawError("law 'a' has no source"), "law", None, ValueError),
        (NotUsableError("These draws are not to be acted on."), "not_usable", None, ValueError),
        (NotFiniteError("Law a has no finite value."), "not_finite", None, ValueError),
        (JournalError("Checkpoint a is a file."), "checkpoint", "checkpoint", ValueError),
    ],
)
def test_an_error_has_a_code_and_an_argument_and_survives_copies(
    error: Any, code: str, argument: str | None, base: type[Exception]
) -> None:
    for each in (error, copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(each, StructuredError) and isinstance(each, base) and type(each) is type(error)
        assert (each.code, each.argument, each.parts, str(each)) == (code, argument, error.parts, str(error))


def test_an_unidentified_design_says_how_to_fit_anyway() -> None:
    design = jaxscale.check(jaxscale.laws.get("chinchilla"), {"N": [1e8, 1e9, 1e10], "D": [2e9, 2e10, 2e11]})
    error = UnidentifiedError(design)
    assert str(error) == f"{design.message} To fit anyway, add allow_unidentified=True."
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.argument, str(again)) == ("unidentified", None, str(error))
    assert again.design.message == design.message


def test_each_error_has_a_code_of_its_own() -> None:
    classes = [each for each in _below(StructuredError) if not each.__name__.startswith("_")]
    codes = [each.code for each in classes]
    assert len(set(codes)) == len(codes), sorted(codes)


def test_messages_about_arguments_carry_the_name_as_data() -> None:
    plain = []
    for file in Path(jaxscale.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ValueError", "TypeError", "DataError"):
                text = ast.unparse(node.args[0]).lstrip("f\"'") if node.args else ""
                if text.startswith(("Argument", "Option")):
                    plain.append(f"{file.name}:{node.lineno}: {text}")
    assert not plain


def _below(base: type[Any]) -> list[type[Any]]:
    return [each for child in base.__subclasses__() for each in (child, *_below(child))]
