"""Exceptions with structured messages: the argument at fault, a code, and references to other arguments.

A message consists of parts: text, and references, which Python and the command line spell differently. ``str`` of an
error is the message for Python; the command line calls :meth:`StructuredError.sentence` with its own spelling.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Subject:
    """The argument at the start of a message: ``Argument level``."""

    name: str

    def __str__(self) -> str:
        """Spelling in Python."""
        return f"Argument {self.name}"


@dataclass(frozen=True)
class Setting:
    """A reference to an argument and its value: ``kind='wild'``, ``group=``, ``noise=squared(space='linear')``.

    Args:
        name: name of the argument.
        value: its value, or the name of the function that returns it; None for any value.
        settings: arguments of that function, if there is one.
    """

    name: str
    value: Any = None
    settings: tuple["Setting", ...] = ()

    def __str__(self) -> str:
        """Spelling in Python."""
        if self.settings:
            return f"{self.name}={self.value}({', '.join(map(str, self.settings))})"
        return f"{self.name}={'' if self.value is None else repr(self.value)}"


@dataclass(frozen=True)
class Function:
    """A reference to a public function with optional arguments: ``jaxscale.bootstrap``, ``jaxscale.fit(starts=64)``."""

    name: str
    settings: tuple[Setting, ...] = ()

    def __str__(self) -> str:
        """Spelling in Python."""
        return f"jaxscale.{self.name}" + (f"({', '.join(map(str, self.settings))})" if self.settings else "")


Reference = Subject | Setting | Function


class StructuredError(Exception):
    """Mixin of all errors of jaxscale.

    Attributes:
        code: identifier of the class for programs.
        argument: name of the argument at fault, if there is one.
    """

    code = "usage"
    argument: str | None = None

    def __init__(self, *parts: str | Reference, argument: str | None = None) -> None:
        super().__init__(*parts)
        if argument is not None:
            self.argument = argument

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """Text and references of the message."""
        return self.args

    def sentence(self, spell: Callable[[Reference], str] = str) -> str:
        """Message with each reference spelled by a function."""
        return "".join(part if isinstance(part, str) else spell(part) for part in self.parts)

    def __str__(self) -> str:
        """Message for Python."""
        return self.sentence()


class _AboutArgument(StructuredError):
    """``ArgumentError("level", "must lie between 0 and 1.")`` reads "Argument level must lie between 0 and 1."."""

    def __init__(self, argument: str, *parts: str | Reference) -> None:
        super().__init__(argument, *parts, argument=argument)

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """Parts of the message, which starts with the argument."""
        name, *rest = self.args
        return (Subject(name), " ", *rest)


class UsageError(StructuredError, ValueError):
    """Error of a request that cannot be carried out."""


class ArgumentError(_AboutArgument, ValueError):
    """Error of an argument with an invalid value."""

    code = "argument"


class ArgumentTypeError(_AboutArgument, TypeError):
    """Error of an argument with an invalid type."""

    code = "type"


class DataError(UsageError):
    """Error in the data; the message says what, where and what to do."""

    code = "data"


class LawError(UsageError):
    """Error in the declaration of a law; the message names the law and the field."""

    code = "law"


class UnidentifiedError(UsageError):
    """Error of a design that does not identify the parameters; ``design`` is the design check with a remedy."""

    code = "unidentified"

    def __init__(self, design: Any) -> None:
        """Store the design check."""
        ValueError.__init__(self, design)
        self.design = design

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """Message of the design check, and how to fit anyway."""
        return (f"{self.design.message} To fit anyway, add ", Setting("allow_unidentified", True), ".")


class NotUsableError(UsageError):
    """Error of draws that failed their diagnostics; the message says why and what to do."""

    code = "not_usable"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Clause that suggests the known words closest to ``word``; empty if none is close."""
    lower = {entry.lower(): entry for entry in known}
    near = [repr(lower[entry]) for entry in difflib.get_close_matches(word.lower(), list(lower), n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
