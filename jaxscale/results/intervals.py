"""Intervals: how sure each number is, by whatever method; one table for all of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxscale.utils.files import nulls
from jaxscale.utils.notices import Notice


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
        from jaxscale.results.intervals_report import text

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
