"""Exceptions that callers may catch, and parts of their messages."""

import difflib
from collections.abc import Iterable
from typing import Any


class DataError(ValueError):
    """Error in the data; the message says what, where and what to do."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Clause that suggests the known words closest to ``word``; empty if none is close."""
    lower = {entry.lower(): entry for entry in known}
    near = [repr(lower[entry]) for entry in difflib.get_close_matches(word.lower(), list(lower), n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


class LawError(ValueError):
    """Error in the declaration of a law; the message names the law and the field."""


class UnidentifiedError(ValueError):
    """Error of a design that does not identify the parameters; ``design`` is the design check with a remedy."""

    def __init__(self, design: Any) -> None:
        """Store the design check."""
        self.design = design
        super().__init__(f"{design.message} To fit anyway, set allow_unidentified.")


class NotUsableError(ValueError):
    """Error of draws that failed their diagnostics; the message says why and what to do."""
