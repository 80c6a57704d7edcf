"""Adequacy of a fit: goodness of fit against a constant, degrees of freedom, precision of the parameters."""

import math
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.engine.linearize import Linear
from jaxscale.law import positive
from jaxscale.law.coordinates import COEFFICIENTS, units_of
from jaxscale.laws import resolve
from jaxscale.results.fit import LOGARITHMIC, Fit
from jaxscale.results.parts import Residuals
from jaxscale.utils.notices import Notice

# The trimmed R^2 leaves out one row in so many: a robust loss may ignore outliers.
_OUTLYING = 20
# Relative tolerance within which a constant fits as well as the law.
_SAME = 1e-9
# Notices that name parameters whose standard errors are not meaningful.
_NAMING = ("at_bound", "flat")


def residuals_of(observations: Observations, linear: Linear) -> Residuals:
    """Summary of the residuals in the noise's space, with R^2 in the space of the response.

    Args:
        observations: n rows, not padded.
        linear: predictions at the optimum, at least n rows.
    """
    used = np.flatnonzero(observations.weight > 0)
    r, y, w = linear.residual[used], observations.response[used], observations.weight[used]
    worst = int(used[np.argmax(np.abs(r))])
    missed = y - linear.prediction[used]
    near = np.argsort(np.abs(missed), kind="stable")[: len(used) - len(used) // _OUTLYING]
    return Residuals(
        rms=float(np.sqrt(np.mean(r**2))),
        median=float(np.median(np.abs(r))),
        largest=float(linear.residual[worst]),
        largest_row=int(observations.rows[worst]) if observations.rows else worst + 1,
        row_unit=observations.row_unit,
        r2=_r2(y, missed, w),
        r2_trimmed=_r2(y[near], missed[near], w[near]),
    )


def _r2(y: Float[np.ndarray, " row"], missed: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]) -> float:
    spread = float(np.sum(weight * (y - np.average(y, weights=weight)) ** 2))
    value = 1 - float(np.sum(weight * missed**2)) / spread if spread > 0 else math.nan
    return value if math.isfinite(value) else math.nan


def assess(fit: Fit) -> tuple[list[Notice], str]:
    """Notices on whether a fit describes its data, and its status.

    Args:
        fit: a fit with its law and observations; a status of failed convergence is kept.

    Returns:
        Further notices, and "worse_than_constant" or "no_degrees_of_freedom" in place of "converged".
    """
    few, worse, poor = _freedom(fit), _against_constant(fit), _poorly_determined(fit)
    status = fit.status
    for notice in (*worse, *few):
        if status == "converged" and notice.code in ("worse_than_constant", "no_degrees_of_freedom"):
            status = notice.code
    return [*worse, *few, *poor], status


def _freedom(fit: Fit) -> list[Notice]:
    rows, count, freedom = fit.rows_used, len(fit.free), fit.errors.freedom
    if rows <= count:
        message = (
            f"{rows} rows and {count} free parameters: the fit interpolates the rows whether or not the law holds."
        )
        return [Notice("no_degrees_of_freedom", message)]
    if freedom >= 2:
        return []
    if fit.errors.method == "known errors":
        return []
    reason = fit.errors.reason
    if fit.errors.method == "none" and reason:
        return [Notice("few_degrees_of_freedom", f"{reason[0].upper()}{reason[1:]}: there are no standard errors.")]
    clustered = fit.errors.method.startswith("cluster")
    runs = f"{freedom + 1} {'run' if freedom == 0 else 'runs'}"
    what = runs if clustered else f"{rows} rows and {count} free parameters"
    leave = "leaves" if clustered and freedom == 0 else "leave"
    left = {0: "no degree", 1: "one degree"}.get(freedom, "no degree")
    message = f"{what[0].upper()}{what[1:]} {leave} {left} of freedom for standard errors; there are no intervals."
    return [Notice("few_degrees_of_freedom", message)]


def _against_constant(fit: Fit) -> list[Notice]:
    r2, trimmed, rows, noise = fit.residuals.r2, fit.residuals.r2_trimmed, fit.observations, fit.noise
    # A robust loss ignores outliers by design, and they alone can make R^2 negative.
    if r2 < 0 and trimmed > 0.5 and not noise.loss.quadratic:
        count = fit.rows_used // _OUTLYING
        which = "the row" if count == 1 else f"the {count} rows"
        message = f"R^2 is {r2:.3g}, but {trimmed:.3g} without {which} farthest from the law."
        return [Notice("outlying_rows", message)]
    if r2 < 0:
        message = f"R^2 is {r2:.3g}: the mean of the responses fits them better than the law."
        return [Notice("worse_than_constant", message)]
    # The likelihood of a count depends on its number of trials, so there is no common constant.
    if rows is None or noise.loss.counts:
        return []
    used = rows.weight > 0
    target, scale = noise.space.forward(rows.response[used]), fit.scale or 1.0
    constant = noise.loss.of_constant(target, rows.weight[used], math.log(scale), len(fit.free))
    if fit.objective < constant - _SAME * abs(constant):
        return []
    message = f"The objective, {fit.objective:.6g}, is not below that of a constant, {constant:.6g}."
    return [Notice("worse_than_constant", message)]


def _poorly_determined(fit: Fit) -> list[Notice]:
    prose = " ".join(notice.message for notice in fit.notices if notice.code in _NAMING)
    poor, units = [], _units(fit)
    for name in fit.free:
        value, error = fit.params[name], fit.stderr[name]
        mention = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prose)
        if math.isfinite(error) and not mention and error > _coarse(fit, name, units):
            poor.append(f"{name} = {value:.4g} has a standard error of {error:.3g}")
    return [Notice("poorly_determined", f"{'; '.join(poor)}.")] if poor else []


def _units(fit: Fit) -> dict[str, float]:
    """Natural units of the parameters, from the data."""
    rows, law = fit.observations, resolve(fit.law)
    if rows is None or any(name not in rows.inputs for name in law.inputs):
        return {}
    used = rows.weight > 0
    inputs = {name: rows.inputs[name][..., used] for name in law.inputs}
    size = float(np.median(np.abs(rows.response[used]))) or 1.0
    return {name: float(unit) for name, unit in units_of(law, inputs, size, np).items()}


def _coarse(fit: Fit, name: str, units: Mapping[str, float]) -> float:
    """The standard error above which a parameter counts as poorly determined."""
    kind, value = resolve(fit.law).parameters[name], fit.params[name]
    if kind.support.low > -math.inf and kind.support.high < math.inf:
        return (kind.support.high - kind.support.low) / 2
    if kind.support is positive:
        # Intervals of parameters that span decades are on the log scale: one standard error is a factor of ten.
        return value * (math.log(10) if kind.kind in LOGARITHMIC else 1.0)
    # A real parameter may be 0, so the scale is not its value but the range of the responses or inputs it relates to.
    rows = fit.observations
    if kind.kind == "exponent":
        return 1.0
    if rows is not None and kind.kind in ("floor", "amplitude") and not kind.powers:
        return float(np.ptp(rows.response[rows.weight > 0]))
    if rows is not None and kind.kind == "location" and kind.input is not None:
        return float(np.ptp(rows.inputs[kind.input]))
    if kind.powers:
        # Its unit depends on an exponent.
        return 10 * abs(value)
    if rows is not None and name in units:
        return (COEFFICIENTS[1] - COEFFICIENTS[0]) * units[name]
    return kind.range[1] - kind.range[0] if kind.declared else math.inf
