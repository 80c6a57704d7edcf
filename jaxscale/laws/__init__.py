"""Catalogue of laws: every file of this folder is part of it.

A file is imported when one of its laws is requested, all of them when the catalogue is.

>>> from jaxscale import laws
>>> laws.get("chinchilla") is laws.chinchilla
True
>>> laws.get("bnsl[2]") is laws.bnsl[2]
True
"""

import difflib
import importlib
import json
import pkgutil
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxscale.law import Law, LawError, algebra
from jaxscale.law.family import Family
from jaxscale.utils.errors import ArgumentError, Function, UsageError

__all__ = ["Family", "catalogue", "get", "law_of_file", "names", "resolve"]


def catalogue() -> dict[str, Law]:
    """All laws by name, sorted."""
    return dict(_everything()[0])


def names() -> list[str]:
    """Names of all laws, sorted."""
    return list(_everything()[0])


def get(name: str) -> Law:
    """Law by its name; members of a family are ``bnsl`` (one break), ``bnsl2`` and ``bnsl[2]``.

    A law of the catalogue with tied parameters is found by the name that :func:`jaxscale.tie` gives it,
    ``chinchilla(beta=alpha)``, so that what was saved of it can be read; one with bounds or with parameters of each
    group likewise.

    Raises:
        ValueError: no law has this name; the message holds the nearest names.
    """
    # Labels of groups may hold any character, so that they are read first.
    grouped = re.fullmatch(r"(.+?)\(([\w, ]+) by (\[.*\])\)", name)
    if grouped:
        return algebra.by_group(get(grouped[1]), json.loads(grouped[3]), re.split(", *", grouped[2]))
    tied = re.fullmatch(r"(.+)\(((?:[A-Za-z_]\w*=[A-Za-z_]\w*(?:, *)?)+)\)", name)
    if tied:
        return algebra.tie(get(tied[1]), **dict(each.split("=") for each in re.split(", *", tied[2])))
    bounded = re.fullmatch(r"(.+?)\(([^()]*<[^()]*)\)", name)
    if bounded:
        ends = [entry.split("<") for entry in re.split(", *", bounded[2])]
        bounds: dict[str, Any] = {key: (float(low), float(high)) for low, key, high in ends}
        return algebra.bound(get(bounded[1]), **bounds)
    at_hand = _in_its_file(name)
    if isinstance(at_hand, Law):
        return at_hand
    numbered = re.fullmatch(r"(\w*?)(?:(\d+)|\[(\d+)\])?", name)
    family = _in_its_file(numbered[1]) if numbered else None
    if numbered and isinstance(family, Family):
        return family[int(numbered[2] or numbered[3] or 1)]
    found, families = _everything()
    if name in found:
        return found[name]
    if numbered and numbered[1] in families:
        return families[numbered[1]][int(numbered[2] or numbered[3] or 1)]
    near = difflib.get_close_matches(name, found, n=3)
    hint = f"nearest are {', '.join(near)}; " if near else ""
    raise UsageError(
        f"Law {name!r} is not in the catalogue; {hint}", Function("laws.names()"), " lists all.", argument="law"
    )


def resolve(law: Law | str) -> Law:
    """A law, or the one in the catalogue that has this name."""
    return law if isinstance(law, Law) else get(law)


def law_of_file(name: str, law: Law | None, what: str) -> Law | str:
    """The law of a saved result: the one that is given, or the one of the catalogue; its name where there is neither.

    Args:
        name: as the file has it.
        law: the law that is given with the file.
        what: was saved, such as "fit".

    Raises:
        ValueError: the law that is given has another name.
    """
    if law is not None:
        if law.name != name:
            raise ArgumentError("law", f"is {law.name}, but the file holds the {what} of {name}.")
        return law
    try:
        return get(name)
    except ValueError:
        return name


def collect(modules: Iterable[ModuleType]) -> tuple[dict[str, Law], dict[str, Family]]:
    """Collect the laws and families of the modules, by name.

    Raises:
        LawError: two different laws have the same name; the message names both files.
    """
    found: dict[str, Law] = {}
    families: dict[str, Family] = {}
    files: dict[str, str] = {}
    for module in modules:
        file = Path(module.__file__ or module.__name__).name
        for value in list(vars(module).values()):
            if isinstance(value, Family):
                families[value.name] = value
            for law in _laws_of(value):
                if found.setdefault(law.name, law) is not law:
                    raise LawError(
                        f"law {law.name!r} is declared in {files[law.name]} and again in {file}; rename one of them"
                    )
                files.setdefault(law.name, file)
    return dict(sorted(found.items())), families


def _laws_of(value: Any) -> list[Law]:
    if isinstance(value, Family):
        return [value[count] for count in value.listed]
    return [value] if isinstance(value, Law) else []


@cache
def _everything() -> tuple[dict[str, Law], dict[str, Family]]:
    return collect(importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))


@cache
def _in_its_file(name: str) -> Law | Family | None:
    """Law or family whose name is that of its file; only that file is imported."""
    if not name.isidentifier():
        return None
    defined = re.compile(rf"^(?:def {name}\(|{name} = Family\()", re.MULTILINE)
    for file in sorted(Path(__path__[0]).glob("*.py")):
        if file.stem != "__init__" and defined.search(file.read_text(encoding="utf-8")):
            value = vars(importlib.import_module(f"{__name__}.{file.stem}")).get(name)
            if isinstance(value, Law | Family) and value.name == name:
                return value
    return None


def __getattr__(name: str) -> Any:
    """Law or family by attribute."""
    family = None if name.startswith("_") else _in_its_file(name)
    if isinstance(family, Family):
        return family
    try:
        return get(name)
    except ValueError as error:
        raise AttributeError(str(error)) from None


def __dir__() -> list[str]:
    """Names for completion: laws and functions."""
    return [*__all__, *names()]
