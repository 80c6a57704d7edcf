"""The catalogue of laws: every file of this folder is read at import, so a new law touches one file.

>>> from jaxscale import laws
>>> laws.get("chinchilla") is laws.chinchilla
True
>>> laws.get("bnsl[2]") is laws.bnsl[2]
True
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxscale.law import Law, LawError
from jaxscale.laws.family import Family

__all__ = ["Family", "catalogue", "get", "names"]


def catalogue() -> dict[str, Law]:
    """Every law by name, sorted."""
    return dict(_LAWS)


def names() -> list[str]:
    """The names of all laws, sorted."""
    return list(_LAWS)


def get(name: str) -> Law:
    """The law called ``name``; a family answers to ``bnsl`` (one break), ``bnsl2`` and ``bnsl[2]``.

    Raises:
        ValueError: no law has this name; the message holds the nearest names.
    """
    if name in _LAWS:
        return _LAWS[name]
    numbered = re.fullmatch(r"(\w*?)(?:(\d+)|\[(\d+)\])?", name)
    if numbered and numbered[1] in _FAMILIES:
        return _FAMILIES[numbered[1]][int(numbered[2] or numbered[3] or 1)]
    near = difflib.get_close_matches(name, _LAWS, n=3)
    hint = f"nearest are {', '.join(near)}; " if near else ""
    raise ValueError(f"Law {name!r} is not in the catalogue; {hint}jaxscale.laws.names() lists all.")


def collect(modules: Iterable[ModuleType]) -> tuple[dict[str, Law], dict[str, Family]]:
    """The laws and the families that the modules hold, by name.

    Raises:
        LawError: two different laws have one name; the message holds both files.
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


_LAWS, _FAMILIES = collect(
    importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
)
globals().update(_LAWS, **_FAMILIES)


def __getattr__(name: str) -> Any:
    """A law by attribute; reached only by names that are not in the catalogue."""
    try:
        return get(name)
    except ValueError as error:
        raise AttributeError(str(error)) from None
