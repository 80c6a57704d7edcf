"""Notices: what a person should know about a result, each with a code, a meaning and a cure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Something that does not stop the work but may change what the result means.

    Args:
        code: a key of :data:`CODES`.
        message: what was found, and where.
    """

    code: str
    message: str

    def __post_init__(self) -> None:
        """Refuse a code that nobody can look up."""
        if self.code not in CODES:
            raise ValueError(f"Argument code must be one of {', '.join(CODES)}, but is {self.code!r}.")


CODES: dict[str, tuple[str, str]] = {
    "duplicate_rows": (
        "Several rows have the same inputs and the same response, so a run may have been entered twice.",
        "Remove the copies; where they are repeated measurements of one run, name its column with run=.",
    ),
    "units": (
        "All values of an input are so small that the column is probably counted in another unit.",
        "Multiply the column so that it counts single units, for example parameters rather than billions.",
    ),
}
