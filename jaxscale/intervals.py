"""Intervals: how sure each number is, by whatever method; one table for all of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxscale.layout import aligned, item, wrapped
from jaxscale.notices import CODES, Notice
from jaxscale.result import nulls


@dataclass(frozen=True)
class Intervals:
    """An interval for every parameter or derived quantity; ``intervals["alpha"]`` is (lower, upper).

    Args:
        law: identifier of the law.
        method: how they were got, such as "nuts" or "bca of case bootstrap".
        level: nominal coverage, between 0 and 1.
        params: name to ``mean`` (or the estimate), ``sd``, ``lower``, ``upper``, and what else the method says of it,
            such as ``rhat``.
        about: what else there is to say, such as ``khat`` or ``divergences``.
        notices: what a person should know.
    """

    law: str
    method: str
    level: float
    params: dict[str, dict[str, float]]
    about: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def __getitem__(self, name: str) -> tuple[float, float]:
        """Lower and upper end."""
        return self.params[name]["lower"], self.params[name]["upper"]

    def __str__(self) -> str:
        """The table that every method prints."""
        return text(self)

    def to_json(self) -> str:
        """The intervals as JSON text; NaN becomes null."""
        return json.dumps(nulls(self.to_dict()), indent=2, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The intervals as plain numbers: ``params``, ``method``, ``warnings``, and what the method says of itself."""
        return {
            "law": self.law,
            "method": self.method,
            "params": {name: {**row, "level": self.level} for name, row in self.params.items()},
            **self.about,
            "warnings": [{"code": notice.code, "message": notice.message} for notice in self.notices],
        }


_COLUMNS = {"rhat": ("R-hat", "{:.3f}"), "ess_bulk": ("bulk ESS", "{:.0f}"), "ess_tail": ("tail ESS", "{:.0f}")}


def text(intervals: Intervals) -> str:
    """A table of intervals with what the method says of itself, at 80 columns."""
    from jaxscale.report import number

    columns = [key for key in _COLUMNS if any(key in row for row in intervals.params.values())]
    share = f"{100 * intervals.level:g} % interval"
    rows = [("Quantity", "mean", "sd", share, *(_COLUMNS[key][0] for key in columns))]
    for name, row in intervals.params.items():
        sd = row["sd"]
        low, high = row["lower"], row["upper"]
        told = f"{number(low, sd)} to {number(high, sd)}" if math.isfinite(low) and math.isfinite(high) else "none"
        extra = (_COLUMNS[key][1].format(row[key]) if math.isfinite(row.get(key, math.nan)) else "" for key in columns)
        rows.append((name, number(row["mean"], sd), number(sd, sd), told, *extra))
    head, *lines = aligned(rows, "<" + ">" * (len(rows[0]) - 1))
    blocks = [item("Method", intervals.method), [head, "-" * len(head), *lines]]
    about = [line for key, value in intervals.about.items() for line in item(key.capitalize(), _said(value))]
    notices = []
    for notice in intervals.notices:
        notices += wrapped(f"{notice.code}: {notice.message}", "", "  ")
        notices += wrapped(f"Cure: {CODES[notice.code][1]}", "  ")
    return "\n\n".join("\n".join(block) for block in [*blocks, about, notices] if block)


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_said(entry)}" for key, entry in value.items())
    return str(value)
