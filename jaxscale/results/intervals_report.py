"""Reports of intervals: what is known of each number, and how it was got, as plain text at 80 columns."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.results.fit_report import number
from jaxscale.utils.notices import notice_lines
from jaxscale.utils.text import WIDTH, align, item

if TYPE_CHECKING:
    from jaxscale.results.intervals import Intervals

# Further columns, where the method knows them: effective draws for the middle and for the tails. Short, for 80 columns.
_COLUMNS = {"rhat": ("R-hat", "{:.3f}"), "ess_bulk": ("ESS", "{:.0f}"), "ess_tail": ("tail", "{:.0f}")}
_KINDS = {
    "percentile": "percentile intervals",
    "basic": "basic intervals",
    "bca": "BCa intervals",
    "studentised": "studentised intervals",
}
# Methods whose first number is the estimate itself; all others hand over draws, and the number is their mean.
_ABOUT_THE_ESTIMATE = ("profile likelihood", "law and misfit")
# What the lines of a report say already, or what only the JSON file tells.
_TOLD = (
    *(
        "khat",
        "ess",
        "fallback",
        "divergences",
        "steps",
        "chains",
        "draws",
        "modes",
        "likelihood",
        "priors",
        "seed",
        "seconds",
    ),
    *("seed", "seconds", "kind", "unit", "n_resamples", "finished", "failed", "from", "left_out", "stderr", "status"),
)
_LABELS = {"noise": "Drawn noise", "without_stderr": "No std. error", "unit c": "Unit c", "variance ratio": "Ratios"}
_LABELS |= {"along": "Size", "misfit": "Misfit ratio", "law_holds": "P(law holds)", "freedom": "Deg. freedom"}


def text(intervals: "Intervals", data: Observations | None = None) -> str:
    """A table of intervals, how they were got and what a person should know of them.

    Args:
        intervals: the intervals.
        data: what they come from, where that is to be told.

    Returns:
        Lines of at most 80 columns (long names may take more), without a newline at the end.
    """
    about = intervals.about
    title = str(intervals.law)
    if data is not None:
        used = int(np.sum(data.weight > 0))
        title += f" given {data.name} ({used} of {data.rows_read or len(data)} rows)"
    likelihood = item("Likelihood", about["likelihood"]) if "likelihood" in about else []
    blocks = [
        [title, "=" * min(len(title), WIDTH)],
        [*item("Method", _method(intervals.method, about)), *likelihood],
        _table(intervals),
        [
            *_priors(about.get("priors", {})),
            *(item("Modes", f"{about['modes']}, sampled together") if about.get("modes", 1) > 1 else []),
            *(line for key in about if key not in _TOLD for line in item(_label(key), _said(about[key]))),
        ],
        [line for notice in intervals.notices for line in notice_lines(notice.code, notice.message)],
        item("Made with", ", ".join(_made(about))),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if any(block))


def _method(method: str, about: Mapping[str, Any]) -> str:
    """The way the intervals were got, in words."""
    khat = f"k-hat {about['khat']:.2f}" if "khat" in about else ""
    if method == "importance":
        return f"importance sampling ({khat}, {about['ess']:,.0f} effective draws)"
    if method == "nuts":
        each = about["draws"] // about["chains"]
        told = f"NUTS, {about['chains']} chains of {each:,} draws, {_counted(about['divergences'], 'divergence')}"
        before = f"; importance sampling was not trusted: {about['fallback']}" if "fallback" in about else ""
        return f"{told}, {about['steps']:.1f} steps a draw{before}"
    if method == "laplace":
        return "normal approximation at the mode" + (f" ({khat} as a proposal)" if khat else "")
    if method == "law and misfit":
        return "the law by least squares and a smooth misfit of it along the size, integrated out"
    if method == "new group":
        return f"new group, from draws by {about['from']}" + (f" ({khat})" if khat else "")
    kind, _, bootstrap = method.partition(" of ")
    if kind not in _KINDS:
        kind, bootstrap = "", method
    if "n_resamples" not in about or "failed" not in about:
        return method
    failed = f"{about['failed']} of them left out" if about["failed"] else "all settled"
    intervals = f"; {_KINDS[kind]}" if kind else ""
    if "left_out" in about:
        intervals += f" (corrected by {about['left_out']} refits without one {about['unit']} each)"
    some = f"{about['finished']:,} of " if "finished" in about else ""
    return f"{bootstrap}, {some}{_counted(about['n_resamples'], 'refit')}, {failed}{intervals}"


def _table(intervals: "Intervals") -> list[str]:
    columns = [key for key in _COLUMNS if any(key in row for row in intervals.params.values())]
    kind = intervals.method.partition(" of ")[0]
    middle = "estimate" if kind in (*_KINDS, *_ABOUT_THE_ESTIMATE) else "mean"
    # Refits without one unit each lie far closer together than estimates do: only the standard error is of these.
    left_out = intervals.method == "jackknife"
    spreads = ["std. error"] if left_out else ["sd", f"{100 * intervals.level:g} % interval"]
    head = ("Quantity", middle, *spreads, *(_COLUMNS[key][0] for key in columns))
    rows: list[tuple[str, ...]] = [head]
    for name, row in intervals.params.items():
        sd = _jackknifed(intervals.about, row["sd"]) if left_out else row["sd"]
        extra = [_COLUMNS[key][1].format(row[key]) if math.isfinite(row.get(key, math.nan)) else "" for key in columns]
        ends = [] if left_out else [_ends(row["lower"], row["upper"], sd)]
        spread = number(sd, sd) if math.isfinite(sd) else "none"
        rows.append((name, number(row["estimate"], sd), spread, *ends, *extra))
    first, *lines = align(rows, "<" + ">" * (len(head) - 1))
    return [first, "-" * len(first), *lines]


def _jackknifed(about: Mapping[str, Any], sd: float) -> float:
    """The jackknife's standard error: ``(G - 1) / sqrt(G)`` times the standard deviation of the G refits."""
    count = about.get("n_resamples", 0) - about.get("failed", 0)
    return sd * (count - 1) / math.sqrt(count) if count > 1 else math.nan


def _ends(low: float, high: float, sd: float) -> str:
    """An interval in words; an end that was not found is open.

    >>> _ends(0.1, 0.2, 0.01), _ends(0.3, math.inf, 0.1), _ends(-math.inf, 2.0, 1.0), _ends(math.nan, math.nan, 1.0)
    ('0.1000 to 0.2000', 'above 0.300', 'below 2.00', 'none')
    """
    if math.isnan(low) or math.isnan(high):
        return "none"
    if math.isinf(low) and math.isinf(high):
        return "open on both sides"
    if math.isinf(high):
        return f"above {number(low, sd)}"
    if math.isinf(low):
        return f"below {number(high, sd)}"
    return f"{number(low, sd)} to {number(high, sd)}"


def _priors(priors: Mapping[str, str]) -> list[str]:
    """Priors on one line, or one a line where that is too long."""
    entries = [f"{name} ~ {prior}" for name, prior in priors.items()]
    whole = item("Priors", "; ".join(entries)) if entries else []
    if len(whole) <= 1:
        return whole
    return [line for k, entry in enumerate(entries) for line in item("Priors" if k == 0 else "", entry)]


def _made(about: Mapping[str, Any]) -> list[str]:
    seed = [f"seed {about['seed']}"] if "seed" in about else []
    return seed + ([f"{about['seconds']:.3g} s"] if "seconds" in about else [])


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " ").capitalize())


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{str(key).replace('_', ' ')} {_said(entry)}" for key, entry in value.items())
    return str(value)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
