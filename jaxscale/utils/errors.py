"""Errors that callers may catch, and checks that share their wording."""

import difflib
from collections.abc import Iterable
from typing import Any


class DataError(ValueError):
    """Data that cannot be used as given; the message says what, where and what to do."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause naming the known words nearest to ``word``; empty where none is near."""
    lower = {entry.lower(): entry for entry in known}
    near = [repr(lower[entry]) for entry in difflib.get_close_matches(word.lower(), list(lower), n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


class LawError(ValueError):
    """A law was declared wrongly; the message names the law and the field."""


class UnidentifiedError(ValueError):
    """The inputs cannot identify the law's parameters; ``design`` says which and what would cure it."""

    def __init__(self, design: Any) -> None:
        """Keep the design check that says so."""
        self.design = design
        super().__init__(f"{design.message} To fit all the same, allow it (allow_unidentified).")


class NotUsableError(ValueError):
    """The draws are not to be acted on; the message says why and what to do."""
