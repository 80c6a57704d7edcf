"""Confidence or credible intervals of parameters and derived quantities."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxscale.law import Law
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.files import replace_nonfinite
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Intervals(Mapping[str, tuple[float, float]]):
    """Intervals of parameters or derived quantities; ``intervals["alpha"]`` is (lower, upper).

    Args:
        law: the law; its name where the catalogue does not hold it.
        method: how they were computed, such as "nuts" or "bca of case bootstrap".
        level: nominal coverage, between 0 and 1.
        params: name to ``estimate``, ``sd``, ``lower``, ``upper``, and further columns of the method, such as ``rhat``.
            The estimate of draws is their mean.
        about: settings and diagnostics of the method, such as ``khat`` or ``divergences``.
        notices: conditions of the data or the method that affect the interpretation of the intervals.
        ok: whether the intervals can be used; False where a fit or a sampler did not converge.
    """

    law: Law | str
    method: str
    level: float
    params: dict[str, dict[str, float]]
    about: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    ok: bool = True

    def __getitem__(self, name: str) -> tuple[float, float]:
        """Lower and upper end."""
        return self.params[name]["lower"], self.params[name]["upper"]

    def __iter__(self) -> Iterator[str]:
        """The names of the quantities."""
        return iter(self.params)

    def __len__(self) -> int:
        """The number of quantities."""
        return len(self.params)

    def __str__(self) -> str:
        """The report: a table of intervals with the method and its diagnostics."""
        from jaxscale.results.intervals_report import text

        return text(self)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with one row per quantity: estimate, sd, lower, upper, and further columns."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.params, orient="index").rename_axis("quantity")

    def to_json(self) -> str:
        """The intervals as JSON text; NaN becomes null."""
        return json.dumps(replace_nonfinite(self.to_dict()), indent=2, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The intervals as a dictionary of plain numbers, for JSON, the entries of ``about`` among them."""
        return {
            "law": str(self.law),
            "method": self.method,
            "params": {name: {**row, "level": self.level} for name, row in self.params.items()},
            **self.about,
            "ok": self.ok,
            "notices": [{"code": notice.code, "message": notice.message} for notice in self.notices],
        }


def check_level(level: float) -> None:
    """Validate a coverage level.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise ArgumentError("level", f"must lie between 0 and 1, but is {level!r}.")
