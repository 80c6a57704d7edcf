"""Plain-text report of a fit, 80 columns wide."""

import math
from collections.abc import Mapping

import numpy as np

from jaxscale.engine.multistart import comparable
from jaxscale.noise.count_loss import CountLoss
from jaxscale.results.fit import Fit
from jaxscale.results.fit_file import noise_entries
from jaxscale.results.parts import Design, Landscape
from jaxscale.utils.notices import notice_lines
from jaxscale.utils.text import WIDTH, align, item

# Coverage of the intervals in the report.
LEVEL = 0.9
# Correlations above this absolute value are listed; the largest number listed.
_STRONG, _LISTED = 0.9, 10
# An interval whose ends have a ratio above this is reported as undetermined.
_UNDETERMINED = 1e30
# Entries of a noise that are not printed as settings.
_UNPRINTED = ("loss", "space", "scale_fitted")


def text(fit: Fit) -> str:
    """Report of a fit: data, goodness of fit, estimates with uncertainty, diagnostics and provenance.

    Args:
        fit: the fit.

    Returns:
        Lines of at most 80 columns (long names may take more), without a newline at the end.
    """
    title = f"{fit.law} fitted to {fit.provenance.data} ({fit.rows_used} of {fit.rows_read} rows)"
    blocks = [
        [title, "=" * min(len(title), WIDTH)],
        [
            *item("Status", fit.status.replace("_", " ")),
            *item("Likelihood" if fit.noise.loss.counts else "Noise", _noise(fit)),
            *item(
                "Objective", f"{fit.objective:.7g} (predicted relative decrease {_predicted_decrease(fit.certificate)})"
            ),
            *item("Residuals", _residuals(fit)),
            *item("R^2", _r2(fit)),
        ],
        _parameters(fit),
        [
            *item("Std. errors", _method(fit)),
            *item("Correlations", _correlations(fit)),
            *item("Starts", _starts(fit.landscape)),
            *item("Other basins", _basins(fit)),
            *item("Design check", _design(fit.design)),
        ],
        [line for notice in fit.notices for line in notice_lines(notice.code, notice.message)],
        [
            *item("Data", f"{_columns(fit.provenance.columns)}; sha256 {fit.provenance.data_sha256[:12]}"),
            *item(
                "Provenance",
                f"seed {fit.provenance.seed}; " + ", ".join(f"{k} {v}" for k, v in fit.provenance.versions.items()),
            ),
        ],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def constants(fit: Fit, truth: Mapping[str, float]) -> str:
    """Table of true and fitted constants, with their difference in standard errors.

    Args:
        fit: the fit.
        truth: the constants that generated the data, by name.
    """
    rows = [("Parameter", "true", "fitted", "error")]
    for name in fit.free:
        error = fit.stderr[name]
        off = (fit.params[name] - truth[name]) / error if error > 0 else math.nan
        rows.append((name, f"{truth[name]:g}", number(fit.params[name], error), f"{off:+.1f} std. errors"))
    return "\n".join(align(rows, "<>>>"))


def number(value: float, error: float = math.nan) -> str:
    """A number rounded to the significant digits of its standard error, plus two.

    >>> number(575.5281, 53.6238), number(1.834245, 0.007442), number(6.4e13, 1.2e12), number(0.25)
    ('575.5', '1.83424', '6.400e+13', '0.25')

    Args:
        value: the number.
        error: its standard error; six digits where there is none.
    """
    if not math.isfinite(value) or not (math.isfinite(error) and error > 0):
        return f"{value:.6g}"
    place = math.floor(math.log10(abs(value))) if value else math.floor(math.log10(error))
    digits = min(max(place - math.floor(math.log10(error)) + 3, 3), 12)
    if -5 < place < 7:
        return f"{value:.{max(digits - place - 1, 0)}f}"
    return f"{value:.{digits - 1}e}"


def _noise(fit: Fit) -> str:
    if isinstance(fit.noise.loss, CountLoss):
        return fit.noise.loss.describe(fit.scale)
    entries = {key: value for key, value in noise_entries(fit.noise, fit.scale).items() if key not in _UNPRINTED}
    settings = ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in entries.items()
    )
    return f"{fit.noise.loss.name}{f' ({settings})' if settings else ''} on {fit.noise.space.label}"


def _predicted_decrease(certificate: float) -> str:
    if not math.isfinite(certificate):
        return "unknown"
    bounds = (1e-12, 1e-10, 1e-8)
    below = next((bound for bound in bounds if certificate < bound), None)
    return f"{certificate:.2g}" if below is None else f"below {below:g}"


def _residuals(fit: Fit) -> str:
    residuals, space = fit.residuals, fit.noise.space

    def size(value: float) -> str:
        return _percent(value) if space.percent else f"{abs(value):.4g}"

    side = "above" if residuals.largest > 0 else "below"
    where = f" (in {space}s)" if space.relative and not space.percent else ""
    return (
        f"{size(residuals.rms)} root mean square, {size(residuals.median)} median absolute{where}; "
        f"largest in {residuals.row_unit} {residuals.largest_row}: prediction {size(residuals.largest)} {side} the "
        "response"
    )


def _percent(residual: float) -> str:
    """Relative error of a prediction in percent, from the difference of logarithms."""
    share = 100 * abs(math.expm1(min(residual, 700.0)))
    if share > 1e6:
        return "over 1000000 %"
    return f"{share:.3g} %" if share < 1000 else f"{share:.0f} %"


def _r2(fit: Fit) -> str:
    """R^2, with enough digits to differ from 1."""
    value = fit.residuals.r2
    if fit.rows_used <= len(fit.free):
        return "not meaningful with as many free parameters as rows"
    if math.isnan(value):
        return "undefined"
    places = 4 if value < 0.99 else min(1 - math.floor(math.log10(max(1 - value, 1e-12))), 12)
    return f"{value:.{places}f}"


def _parameters(fit: Fit) -> list[str]:
    rows = [("Parameter", "value", "std. error", "relative", f"{100 * LEVEL:g} % interval")]
    ends = fit.intervals(LEVEL)
    for name, value in fit.params.items():
        if name not in fit.free:
            rows.append((name, f"{value:g}", "fixed", "", ""))
            continue
        error = fit.stderr[name]
        low, high = ends[name]
        known, bounds = math.isfinite(error), fit.errors.at_bound
        if name in bounds:
            rows.append(
                (name, f"{bounds[name]:g}", "at bound", "", _ends(low, high, value, max(abs(high - low), error)))
            )
            continue
        rows.append(
            (
                name,
                number(value, error),
                number(error, error) if known else "none",
                _relative(error / abs(value)) if known and value else "",
                _ends(low, high, value, error),
            )
        )
    head, *lines = align(rows, "<>>>>")
    return [head, "-" * len(head), *lines]


def _ends(low: float, high: float, value: float, error: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return "none"
    if math.isinf(high) or math.isinf(low) or (low > 0 and high / low > _UNDETERMINED):
        return "undetermined"
    # The standard error of an end far above the value is larger.
    wide = error * max(1.0, abs(high / value)) if value else error
    return f"{number(low, error)} to {number(high, wide)}"


def _relative(share: float) -> str:
    if share > 100:
        return "over 10000 %"
    if share < 1e-12:
        return "below 1e-10 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _method(fit: Fit) -> str:
    errors = fit.errors
    method, clustered, reason = errors.method.removeprefix("cluster "), "cluster" in errors.method, errors.reason
    if method == "none":
        return f"none, as {reason or 'no resamples were requested'}"
    how = {
        "classical": "classical (homoscedastic noise)",
        "hc3": f"HC3, as {reason}" if reason else "HC3 (heteroscedastic noise)",
        "known errors": "from the known errors of the rows",
        "observed information": "observed information (from the curvature of the likelihood)",
        "sandwich": "sandwich (from curvature and scores)",
        "bootstrap": f"middle 68 % of {errors.n_resamples} bootstrap resamples",
    }[method]
    runs = ", clustered by run" if clustered else ""
    freedom = errors.freedom
    if not any(math.isfinite(error) for error in fit.stderr.values()):
        return f"none, as {'there are no degrees of freedom' if freedom <= 0 else 'the parameters are not determined'}"
    if method == "known errors":
        return f"{how}; intervals by normal quantiles"
    if freedom < 2:
        return f"{how}{runs}; no intervals, with {'one degree' if freedom == 1 else 'no degree'} of freedom"
    by = "percentiles" if method == "bootstrap" else "t quantiles"
    if errors.at_bound and fit.observations is not None and method != "bootstrap":
        by = "the profile likelihood and t quantiles"
    return f"{how}{runs}; intervals by {by} with {freedom} degrees of freedom"


def _correlations(fit: Fit) -> str:
    table = np.asarray(fit.correlation)
    if not any(math.isfinite(error) for error in fit.stderr.values()):
        return "none"
    pairs = [(i, j) for i in range(len(fit.free)) for j in range(i)]
    strong = [(i, j) for i, j in pairs if abs(table[i, j]) > _STRONG]
    strong.sort(key=lambda pair: -abs(table[pair]))
    entries = [f"{fit.free[j]} and {fit.free[i]} {table[i, j]:+.3f}" for i, j in strong[:_LISTED]]
    if len(strong) > _LISTED:
        entries.append(f"and {len(strong) - _LISTED} more above {_STRONG} in absolute value")
    return "; ".join(entries) if entries else f"none above {_STRONG} in absolute value"


def _starts(starts: Landscape) -> str:
    return (
        f"{starts.scored} scored, {starts.polished} polished, {starts.converged} converged; "
        f"{starts.agree} of {starts.independent} independent starts reached this optimum"
    )


def _basins(fit: Fit) -> str:
    (first, *others), freedom = fit.landscape.basins, fit.rows_used - len(fit.free)
    near = [basin for basin in others if comparable(basin.objective, first.objective, fit.noise.loss, freedom)]
    entries = [
        f"objective {basin.objective:.7g} ({basin.count} {'start' if basin.count == 1 else 'starts'})"
        for basin in near[:3]
    ]
    if len(near) > 3:
        entries.append(f"and {len(near) - 3} more")
    far = len(others) - len(near)
    if far:
        return f"{'; '.join(entries) or 'none of comparable objective'}; {far} much worse"
    return "; ".join(entries) or "none"


def _design(design: Design | None) -> str:
    if design is None:
        return "none: the law has no finite derivative at the parameters"
    override = ", overridden" if design.allowed else ""
    return (
        f"{design.verdict}{override} (at {100 * design.noise_level:g} % noise; condition number {design.condition:.3g})"
    )


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {column}" for key, column in columns.items())
