"""Row filters such as ``params > 1e8 and split != "test"``.

The grammar, read by a small parser (nothing is evaluated as code)::

    either     = both ("or" both)*
    both       = simple ("and" simple)*
    simple     = "not" simple | "(" either ")" | comparison
    comparison = column ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=") literal

The name of a column with spaces or special characters is quoted by backticks; a literal is a number, a quoted
string, or (after ``==``, ``=`` and ``!=``) a bare word. An empty cell equals ``''`` and is neither smaller nor
larger than any number.
"""

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxscale.data.tables import Table, format_value, is_empty, number
from jaxscale.utils.errors import DataError

_TOKEN = re.compile(
    r"""\s*(?:(?P<column>`[^`]*`)|(?P<text>"[^"]*"|'[^']*')|(?P<operator>==|!=|<=|>=|=|<|>)"""
    r"""|(?P<parenthesis>[()])|(?P<word>[^\s()<>=!`'"]+))"""
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TRUTH = {"true": 1.0, "false": 0.0}
_DEEPEST = 50


class FilterError(DataError):
    """Error in a filter; the message shows the position."""

    code = "filter"
    argument = "where"


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def where(expression: str, table: Table) -> Bool[np.ndarray, " row"]:
    """Mask of the rows of a table that satisfy a filter.

    Args:
        expression: the filter, such as ``params > 1e8 and split != "test"``.
        table: the table to filter.

    Returns:
        One boolean for each row.

    Raises:
        FilterError: the filter has a syntax error, names an unknown column, compares text with ``<``,
            or keeps no row.
    """
    mask = _Parser(expression, table).parse()
    if not mask.any():
        raise FilterError(
            f"The filter {_quote(expression)} keeps none of the {len(table)} rows of {table.name}; relax it."
        )
    return mask


class _Parser:
    """Recursive-descent parser that evaluates each comparison as it is read."""

    def __init__(self, expression: str, table: Table) -> None:
        self.expression = expression
        self.shown = _quote(expression)
        self.table = table
        self.tokens = self._tokens()
        self.next = 0
        self.depth = 0

    def parse(self) -> Bool[np.ndarray, " row"]:
        mask = self._either()
        if self._peek().kind != "end":
            raise self._error("expected 'and', 'or' or the end")
        return mask

    def _tokens(self) -> list[_Token]:
        tokens, position = [], 0
        end = len(self.expression.rstrip())
        while position < end:
            match = _TOKEN.match(self.expression, position)
            if match is None or match.lastgroup is None:
                raise self._error("this cannot be read", _skip_space(self.expression, position))
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        return [*tokens, _Token("end", "", end)]

    def _peek(self) -> _Token:
        return self.tokens[self.next]

    def _take(self) -> _Token:
        token = self._peek()
        self.next += 1
        return token

    def _keyword(self, word: str) -> bool:
        token = self._peek()
        if token.kind != "word" or token.text.lower() != word:
            return False
        self.next += 1
        return True

    def _error(self, what: str, position: int | None = None) -> FilterError:
        at = self._peek().position if position is None else position
        rest = self.expression[at : at + 20]
        place = f"at position {at + 1}, before {rest!r}" if rest else "at its end"
        return FilterError(
            f"The filter {self.shown} is wrong {place}: {what}; write it like loss < 3 and split == 'train'."
        )

    def _either(self) -> Bool[np.ndarray, " row"]:
        mask = self._both()
        while self._keyword("or"):
            mask = mask | self._both()
        return mask

    def _both(self) -> Bool[np.ndarray, " row"]:
        mask = self._simple()
        while self._keyword("and"):
            mask = mask & self._simple()
        return mask

    def _simple(self) -> Bool[np.ndarray, " row"]:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error(f"nested more than {_DEEPEST} deep")
        if self._keyword("not"):
            mask = ~self._simple()
        elif self._peek().text == "(":
            self._take()
            mask = self._either()
            if self._peek().text != ")":
                raise self._error("expected ')'")
            self._take()
        else:
            mask = self._comparison()
        self.depth -= 1
        return mask

    def _comparison(self) -> Bool[np.ndarray, " row"]:
        column = self._column()
        if self._peek().kind != "operator":
            raise self._error("expected one of == != < <= > >=")
        sign = self._take().text
        literal = self._peek()
        if literal.kind not in ("word", "text") or literal.text.lower() in ("and", "or", "not"):
            raise self._error("expected a number or a text")
        self._take()
        value = number(literal.text) if literal.kind == "word" else None
        if value is not None and np.isfinite(value):
            return _against_number(self.table, column, sign, value)
        text = literal.text[1:-1] if literal.kind == "text" else literal.text
        return _against_text(self.table, column, sign, text)

    def _column(self) -> str:
        token = self._peek()
        if token.kind == "text":
            raise self._error("expected a column name, which is quoted by backticks rather than quotation marks")
        if token.kind not in ("word", "column") or token.text.lower() in ("and", "or", "not"):
            raise self._error("expected a column name")
        self._take()
        name = token.text.strip("`")
        try:
            self.table.column(name)
        except DataError as error:
            raise FilterError(f"The filter {self.shown} cannot be applied: {error}") from None
        return name


def _against_number(table: Table, column: str, sign: str, value: float) -> Bool[np.ndarray, " row"]:
    cells = table.column(column)
    if cells.dtype.kind in "biuf":
        return np.asarray(_COMPARE[sign](cells, value))
    parsed = [None if is_empty(cell) else number(cell) for cell in cells]
    if sign in ("<", "<=", ">", ">="):
        for i, (cell, entry) in enumerate(zip(cells, parsed, strict=True)):
            if entry is None and not is_empty(cell):
                raise FilterError(
                    f"{table.name}, column {column!r}, {table.position(i)}: {format_value(cell)} is not a number and "
                    f"cannot be compared by {sign}; use == or != with a text."
                )
    values = np.array([np.nan if entry is None else entry for entry in parsed], dtype=float)
    return np.asarray(_COMPARE[sign](values, value))


def _against_text(table: Table, column: str, sign: str, text: str) -> Bool[np.ndarray, " row"]:
    if sign in ("<", "<=", ">", ">="):
        raise FilterError(f"Column {column!r} cannot be compared with the text {text!r} by {sign}; use a number.")
    cells = table.column(column)
    if cells.dtype.kind not in "biuf":
        equal = np.array([("" if cell is None else str(cell).strip()) == text.strip() for cell in cells], dtype=bool)
    elif not text.strip():
        equal = np.isnan(cells.astype(float))
    else:
        value = _TRUTH.get(text.lower(), number(text))
        if value is None:
            raise FilterError(f"Column {column!r} of {table.name} holds numbers, not {text!r}; use a number.")
        equal = np.asarray(cells == value)
    return equal if sign != "!=" else ~equal


def _skip_space(text: str, position: int) -> int:
    return len(text) - len(text[position:].lstrip())


def _quote(expression: str) -> str:
    return repr(expression if len(expression) <= 100 else expression[:97] + "...")
