"""Errors that callers may catch: their message, the argument at fault and a code; and checks that share wording.

A message consists of parts: text, and references that a shell spells otherwise than Python. ``str`` of an error is the
sentence for Python; a command line calls :meth:`StructuredError.sentence` with its own spelling.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Subject:
    """The argument that a message is about, at its beginning: ``Argument level``."""

    name: str

    def __str__(self) -> str:
        """The words for Python."""
        return f"Argument {self.name}"


@dataclass(frozen=True)
class Setting:
    """A reference to an argument and its value: ``kind='wild'``, ``group=``, ``noise=squared(space='linear')``.

    Args:
        name: of the argument.
        value: of the argument, or the name of the function that makes it; any unless given.
        settings: arguments of that function, if there is one.
    """

    name: str
    value: Any = None
    settings: tuple["Setting", ...] = ()

    def __str__(self) -> str:
        """The words for Python."""
        if self.settings:
            return f"{self.name}={self.value}({', '.join(map(str, self.settings))})"
        return f"{self.name}={'' if self.value is None else repr(self.value)}"


@dataclass(frozen=True)
class Function:
    """A reference to a public function, and maybe arguments: ``jaxscale.bootstrap``, ``jaxscale.fit(starts=64)``."""

    name: str
    settings: tuple[Setting, ...] = ()

    def __str__(self) -> str:
        """The words for Python."""
        return f"jaxscale.{self.name}" + (f"({', '.join(map(str, self.settings))})" if self.settings else "")


Reference = Subject | Setting | Function


class StructuredError(Exception):
    """Mixin of all errors of jaxscale.

    Attributes:
        code: a word for programs, one for each class.
        argument: name of the argument at fault, where there is one.
    """

    code = "usage"
    argument: str | None = None

    def __init__(self, *parts: str | Reference, argument: str | None = None) -> None:
        super().__init__(*parts)
        if argument is not None:
            self.argument = argument

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """Text and references that make up the message."""
        return self.args

    def sentence(self, spell: Callable[[Reference], str] = str) -> str:
        """The message, with each reference spelled by a function."""
        return "".join(part if isinstance(part, str) else spell(part) for part in self.parts)

    def __str__(self) -> str:
        """The sentence for Python."""
        return self.sentence()


class _AboutArgument(StructuredError):
    """``ArgumentError("level", "must lie between 0 and 1.")`` says "Argument level must lie between 0 and 1."."""

    def __init__(self, argument: str, *parts: str | Reference) -> None:
        super().__init__(argument, *parts, argument=argument)

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """The message, which begins with the argument."""
        name, *rest = self.args
        return (Subject(name), " ", *rest)


class UsageError(StructuredError, ValueError):
    """A request that cannot be carried out."""


class ArgumentError(_AboutArgument, ValueError):
    """An argument has a value that it must not have."""

    code = "argument"


class ArgumentTypeError(_AboutArgument, TypeError):
    """An argument has a type that it must not have."""

    code = "type"


class DataError(UsageError):
    """Data that cannot be used as given; the message says what, where and what to do."""

    code = "data"


class LawError(UsageError):
    """A law was declared wrongly; the message names the law and the field."""

    code = "law"


class UnidentifiedError(UsageError):
    """The inputs cannot identify the law's parameters; ``design`` says which and what would cure it."""

    code = "unidentified"

    def __init__(self, design: Any) -> None:
        """Keep the design check that says so."""
        ValueError.__init__(self, design)
        self.design = design

    @property
    def parts(self) -> tuple[str | Reference, ...]:
        """What the design check says, and how to fit all the same."""
        return (f"{self.design.message} To fit all the same, add ", Setting("allow_unidentified", True), ".")


class NotUsableError(UsageError):
    """The draws are not to be acted on; the message says why and what to do."""

    code = "not_usable"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause naming the known words nearest to ``word``; empty where none is near."""
    lower = {entry.lower(): entry for entry in known}
    near = [repr(lower[entry]) for entry in difflib.get_close_matches(word.lower(), list(lower), n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
