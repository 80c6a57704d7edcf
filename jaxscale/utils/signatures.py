"""Signatures of functions, parsed from source files without importing them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Argument:
    """An argument of a function.

    Args:
        name: name of the argument.
        help: its entry in the docstring, as one line.
    """

    name: str
    help: str


@cache
def constructors(folder: Path, returns: str) -> dict[str, tuple[Argument, ...]]:
    """Public functions of a folder that return a class, by name, with their arguments.

    The command line lists names and options with it, so that help does not import JAX.

    Args:
        folder: folder of Python files.
        returns: name of the class in the annotation.
    """
    functions = {}
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and _returns(node, returns):
                functions[node.name] = tuple(_arguments(node))
    return functions


def _returns(node: ast.FunctionDef, returns: str) -> bool:
    return isinstance(node.returns, ast.Name) and node.returns.id == returns


def _arguments(node: ast.FunctionDef) -> Iterator[Argument]:
    """Arguments of a function with their entries in the docstring."""
    section = re.search(r"\n *Args:\n(.*?)(?:\n *\n|\Z)", ast.get_docstring(node) or "", re.DOTALL)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    entry = {name: " ".join(text.split()) for name, text in entries}
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        yield Argument(argument.arg, entry.get(argument.arg, ""))
