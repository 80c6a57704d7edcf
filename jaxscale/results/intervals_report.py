"""Plain-text report of intervals, 80 columns wide."""

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

# Diagnostic columns of MCMC: R-hat, bulk and tail effective sample size.
_COLUMNS = {"rhat": ("R-hat", "{:.3f}"), "ess_bulk": ("ESS", "{:.0f}"), "ess_tail": ("tail", "{:.0f}")}
_KINDS = {
    "percentile": "percentile intervals",
    "basic": "basic intervals",
    "bca": "BCa intervals",
    "studentised": "studentised intervals",
}
# Methods that report the estimate itself; all others report the mean of draws.
_POINT_ESTIMATES = ("profile likelihood", "law with discrepancy")
# Entries that other lines of the report print, or that only the JSON file holds.
_PRINTED_ELSEWHERE = (
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
_LABELS = {"noise": "Noise", "without_stderr": "No std. error", "unit c": "Unit c", "variance ratio": "Ratios"}
_LABELS |= {"along": "Size", "discrepancy": "Discrepancy", "law_holds": "P(law holds)", "freedom": "Deg. freedom"}


def text(intervals: "Intervals", data: Observations | None = None) -> str:
    """Report of intervals: method, table, diagnostics and provenance.

    Args:
        intervals: the intervals.
        data: the fitted observations, named in the title where given.

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
            *(
                line
                for key in about
                if key not in _PRINTED_ELSEWHERE
                for line in item(_label(key), _format_value(about[key]))
            ),
        ],
        [line for notice in intervals.notices for line in notice_lines(notice.code, notice.message)],
        item("Provenance", ", ".join(_provenance(about))),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if any(block))


def _method(method: str, about: Mapping[str, Any]) -> str:
    """Description of the method and its diagnostics."""
    khat = f"k-hat {about['khat']:.2f}" if "khat" in about else ""
    if method == "importance":
        return f"importance sampling ({khat}, {about['ess']:,.0f} effective draws)"
    if method == "nuts":
        each = about["draws"] // about["chains"]
        summary = f"NUTS, {about['chains']} chains of {each:,} draws, {_count_noun(about['divergences'], 'divergence')}"
        before = f"; fallback from importance sampling: {about['fallback']}" if "fallback" in about else ""
        return f"{summary}, {about['steps']:.1f} steps per draw{before}"
    if method == "laplace":
        return "normal approximation at the mode" + (f" ({khat} as a proposal)" if khat else "")
    if method == "law with discrepancy":
        return "least squares with a smooth model discrepancy along the size, integrated out"
    if method == "new group":
        return f"new group, from draws by {about['from']}" + (f" ({khat})" if khat else "")
    kind, _, bootstrap = method.partition(" of ")
    if kind not in _KINDS:
        kind, bootstrap = "", method
    if "n_resamples" not in about or "failed" not in about:
        return method
    failed = f"{about['failed']} failed" if about["failed"] else "all converged"
    intervals = f"; {_KINDS[kind]}" if kind else ""
    if "left_out" in about:
        intervals += f" (acceleration from {about['left_out']} leave-one-{about['unit']}-out refits)"
    finished = f"{about['finished']:,} of " if "finished" in about else ""
    return f"{bootstrap}, {finished}{_count_noun(about['n_resamples'], 'refit')}, {failed}{intervals}"


def _table(intervals: "Intervals") -> list[str]:
    columns = [key for key in _COLUMNS if any(key in row for row in intervals.params.values())]
    kind = intervals.method.partition(" of ")[0]
    middle = "estimate" if kind in (*_KINDS, *_POINT_ESTIMATES) else "mean"
    # Jackknife refits lie far closer together than estimates do: only the standard error describes the estimate.
    left_out = intervals.method == "jackknife"
    spreads = ["std. error"] if left_out else ["sd", f"{100 * intervals.level:g} % interval"]
    head = ("Quantity", middle, *spreads, *(_COLUMNS[key][0] for key in columns))
    rows: list[tuple[str, ...]] = [head]
    for name, row in intervals.params.items():
        sd = _jackknife_stderr(intervals.about, row["sd"]) if left_out else row["sd"]
        extra = [_COLUMNS[key][1].format(row[key]) if math.isfinite(row.get(key, math.nan)) else "" for key in columns]
        ends = [] if left_out else [_ends(row["lower"], row["upper"], sd)]
        spread = number(sd, sd) if math.isfinite(sd) else "none"
        rows.append((name, number(row["estimate"], sd), spread, *ends, *extra))
    first, *lines = align(rows, "<" + ">" * (len(head) - 1))
    return [first, "-" * len(first), *lines]


def _jackknife_stderr(about: Mapping[str, Any], sd: float) -> float:
    """Jackknife standard error: ``(G - 1) / sqrt(G)`` times the standard deviation of the G refits."""
    count = about.get("n_resamples", 0) - about.get("failed", 0)
    return sd * (count - 1) / math.sqrt(count) if count > 1 else math.nan


def _ends(low: float, high: float, sd: float) -> str:
    """Text of an interval; an infinite end is open.

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
    """Lines of the priors: a single line, or one line per prior where that is too long."""
    entries = [f"{name} ~ {prior}" for name, prior in priors.items()]
    whole = item("Priors", "; ".join(entries)) if entries else []
    if len(whole) <= 1:
        return whole
    return [line for k, entry in enumerate(entries) for line in item("Priors" if k == 0 else "", entry)]


def _provenance(about: Mapping[str, Any]) -> list[str]:
    seed = [f"seed {about['seed']}"] if "seed" in about else []
    return seed + ([f"{about['seconds']:.3g} s"] if "seconds" in about else [])


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " ").capitalize())


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{str(key).replace('_', ' ')} {_format_value(entry)}" for key, entry in value.items())
    return str(value)


def _count_noun(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
