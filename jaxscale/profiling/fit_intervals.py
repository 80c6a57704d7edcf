"""Confidence intervals of a fit: Wald intervals from standard errors, or profile likelihood where these are inadequate.

A Wald interval is adequate while it is narrow on the unbounded scale (the logarithm of a positive parameter, the logit
of a fraction). At a bound the ends are those of the profile likelihood, scaled to agree with the standard error for
small changes; a wide interval is the hull of both.
"""

import math

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxscale.engine.bounds import at_bounds, bounded, interval_about, move_off_bounds, slope_of_unbounded, unbounded
from jaxscale.engine.descent import descend
from jaxscale.engine.optimum import optimum_of
from jaxscale.engine.runner import Runner
from jaxscale.fitting.sandwich import bread
from jaxscale.law import Support, real
from jaxscale.law.coordinates import from_params
from jaxscale.laws import resolve
from jaxscale.profiling.likelihood_ratio import hold_parameters, smooth
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import refit_problem

# With fewer degrees of freedom no interval is given.
FEWEST = 2
# The largest half width, on the log or logit scale, for which a Wald interval is used.
NARROW = 0.7
# Number of profiled values on each side, and their range on the log or logit scale.
POINTS, REACH = 18, 16.0


def intervals_of(fit: Fit, level: float) -> dict[str, tuple[float, float]]:
    """Confidence interval of every free parameter; NaN where there are too few degrees of freedom.

    Args:
        fit: the fit.
        level: coverage, between 0 and 1.
    """
    from scipy.special import ndtri, stdtrit

    freedom = fit.errors.freedom
    known = fit.errors.method == "known errors"
    if not (known or freedom >= FEWEST):
        return dict.fromkeys(fit.free, (math.nan, math.nan))
    t = float(ndtri(0.5 + level / 2) if known else stdtrit(freedom, 0.5 + level / 2))
    supports = _supports(fit)
    if fit.errors.percentiles:
        return _percentiles(fit, supports, t, float(ndtri(0.5 + level / 2)))
    wide = [name for name in fit.free if not _half(fit, supports[name], name, t) <= NARROW]
    doubtful = [name for name in wide if supports[name] is not real or not math.isfinite(fit.stderr[name])]
    ends = {name: interval_about(supports[name], fit.params[name], t * fit.stderr[name]) for name in fit.free}
    if (doubtful or _bound(fit)) and fit.observations is not None and np.isfinite([*fit.stderr.values()]).any():
        farther = profile_intervals(fit, t)
        ends = farther if _bound(fit) else {name: _hull(ends[name], farther[name]) for name in fit.free}
    return ends


def _supports(fit: Fit) -> dict[str, Support]:
    kinds = resolve(fit.law).parameters
    return {name: kinds[name].support for name in fit.free}


def _hull(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The hull of two intervals; with few rows of little information each alone has too low a coverage."""
    return (min(one[0], other[0]), max(one[1], other[1])) if all(map(math.isfinite, one)) else other


def _bound(fit: Fit) -> bool:
    return bool(fit.errors.at_bound)


def _half(fit: Fit, support: Support, name: str, t: float) -> float:
    """Half the width of a Wald interval on the unbounded scale."""
    return t * fit.stderr[name] * slope_of_unbounded(support, fit.params[name])


def _percentiles(fit: Fit, supports: dict[str, Support], t: float, z: float) -> dict[str, tuple[float, float]]:
    """Percentile intervals, widened about the estimate by the ratio of t to normal quantiles."""
    from scipy.special import ndtri

    percentiles, ends = fit.errors.percentiles, {}
    places = ndtri(np.array(fit.errors.shares))
    for name in fit.free:
        values = unbounded(supports[name], np.array(percentiles[name]))
        middle = float(unbounded(supports[name], fit.params[name]))
        ends_on_scale = np.interp([-z, z], places, values)
        if math.isfinite(middle) and np.all(np.isfinite(ends_on_scale)):
            ends_on_scale = middle + (ends_on_scale - middle) * max(t / z, 1.0)
        low, high = bounded(supports[name], ends_on_scale)
        ends[name] = (float(low), float(high))
    return ends


def profile_intervals(fit: Fit, t: float) -> dict[str, tuple[float, float]]:
    """Profile likelihood intervals: ends where the profiled objective has risen by ``t^2 / 2`` units.

    Args:
        fit: the fit, with its observations.
        t: quantile of the signed root statistic.
    """
    supports = _supports(fit)
    sides = [(name, sign) for name in fit.free for sign in (-1, 1)]
    with jax.enable_x64(True):
        profile = _Profile(fit, supports)
        if not np.isfinite(profile.unit).all():
            return {}
        tables = [profile.values(name, sign) for name, sign in sides]
        crossings = _crossings(fit, profile, sides, tables, t, beyond=False)
        # Refine close by: between two values the logarithm of the rise is not exactly linear.
        inside = [side for side in sides if side in crossings]
        middle = [fit.params[name] for name, _ in inside]
        closer = [m + (crossings[side] - m) * np.array([0.95, 1.05]) for m, side in zip(middle, inside, strict=True)]
        crossings |= _crossings(fit, profile, inside, closer, t, beyond=True)
    ends = {}
    for name, support in supports.items():
        low, high = crossings.get((name, -1), support.low), crossings.get((name, 1), support.high)
        ends[name] = (max(low, support.low), min(high, support.high))
    return ends


def _crossings(
    fit: Fit,
    profile: "_Profile",
    sides: list[tuple[str, int]],
    tables: list[Float[np.ndarray, " _"]],
    t: float,
    beyond: bool,
) -> dict[tuple[str, int], float]:
    """The value on each side at which the root statistic equals t; sides on which it stays below are left out."""
    if not sides:
        return {}
    rises = profile.rises(sides, tables)
    ends = {
        side: _crossing(fit.params[side[0]], table, rise, t, beyond)
        for side, table, rise in zip(sides, tables, rises, strict=True)
    }
    return {side: end for side, end in ends.items() if end is not None}


class _Profile:
    """Profile of the objective of a fit, with one parameter held at a time."""

    def __init__(self, fit: Fit, supports: dict[str, Support]) -> None:
        self.fit, self.supports = fit, supports
        refit = refit_problem(fit, None)
        self.problem, _ = smooth(refit)
        self.wide = refit.wide
        params = {name: np.asarray(value, float) for name, value in fit.params.items()}
        at = np.array([float(v) for v in from_params(self.problem.law, self.problem.centre, fit.free, params)])
        at = np.concatenate([at, refit.z[len(at) : self.problem.size]])
        # A parameter at a bound may have an infinite coordinate.
        at = np.nan_to_num(at, neginf=-700.0, posinf=700.0)
        weight = self.wide.weight
        optimum = optimum_of(self.problem, at, self.wide.response, weight)
        linear = optimum.linear
        self.bounds, self.z = at_bounds(optimum), move_off_bounds(optimum)
        root, undetermined, _ = bread(linear.jacobian * self._bend(linear.residual)[:, None], weight)
        plain = np.sum(root**2, axis=1)
        errors = np.array([fit.stderr[name] for name in fit.free])
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = np.where(undetermined | ~np.isfinite(errors), np.nan, errors**2 / plain)
        fine = np.isfinite(unit) & (unit > 0)
        # Without a finite standard error a rise of the objective has no scale, so there is no profile.
        self.unit = np.where(fine, unit, np.median(unit[fine]) if fine.any() else np.nan)
        if self.problem.noise.loss.counts and refit.clusters is None:
            # The objective is minus the log likelihood.
            self.unit = np.ones(len(fit.free))
        none = np.zeros((1, len(fit.free)), bool)
        self.lowest = float(self._descend(none, 0.0 + none, self.z[:, None])[1][0])

    def _bend(self, residual: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """The square root of the curvature of each row's loss."""
        loss = self.problem.noise.loss
        if not np.isfinite(float(loss.threshold)):
            return np.ones(len(residual))
        return np.sqrt(np.asarray(loss.slopes(residual, loss.threshold, loss.log_scale)[1], float))

    def values(self, name: str, sign: int) -> Float[np.ndarray, " point"]:
        """Values of a parameter on one side of its estimate, nearest first; none beyond a bound."""
        value, error, support = self.fit.params[name], self.fit.stderr[name], self.supports[name]
        error = error if math.isfinite(error) else max(abs(value), 1e-3)
        end = support.high if sign > 0 else support.low
        if self.bounds.get(name) == end:
            return np.zeros(0)
        if math.isinf(end):
            steps = error * np.geomspace(0.1, 300.0, POINTS)
            return value + sign * steps
        place = float(unbounded(support, value))
        slope = min(max(error * slope_of_unbounded(support, value), 1e-3), 3.0)
        return np.asarray(bounded(support, place + sign * np.geomspace(0.1 * slope, REACH, POINTS)))

    def rises(
        self, sides: list[tuple[str, int]], tables: list[Float[np.ndarray, " _"]]
    ) -> list[Float[np.ndarray, " _"]]:
        """Root statistics for arrays of values of one parameter each."""
        places = np.repeat([self.fit.free.index(name) for name, _ in sides], list(map(len, tables)))
        side = np.repeat(np.arange(len(sides)), list(map(len, tables)))
        flags = places[:, None] == np.arange(len(self.fit.free))
        values = np.where(flags, np.concatenate(tables)[:, None], 0.0)
        z, f = self._descend(flags, values, np.repeat(self.z[:, None], len(places), axis=1))
        for step in (-1, 1):
            # Repeat from the optima of the neighbours on the same side: a descent may end in a worse minimum.
            other = np.clip(np.arange(len(places)) + step, 0, len(places) - 1)
            other = np.where(side[other] == side, other, np.arange(len(places)))
            retry, g = self._descend(flags, values, self._inside(z[:, other]))
            z, f = np.where(g < f, retry, z), np.minimum(f, g)
        rise = np.sqrt(np.maximum(2 * (f - self.lowest) / self.unit[places], 0.0))
        return [rise[side == k] for k in range(len(sides))]

    def _inside(self, z: Float[np.ndarray, "size lane"]) -> Float[np.ndarray, "size lane"]:
        """Coordinates with parameters at a bound moved off it, so that they can leave it."""
        at_bound = np.array([name in self.bounds for name in self.fit.free] + [False] * (len(z) - len(self.fit.free)))
        return np.where(at_bound[:, None], self.z[:, None], z)

    def _descend(
        self,
        flags: Bool[np.ndarray, "lane free"],
        values: Float[np.ndarray, "lane free"],
        start: Float[np.ndarray, "size lane"],
    ) -> tuple[Float[np.ndarray, "size lane"], Float[np.ndarray, " lane"]]:
        """Coordinates and minimum of the objective of every lane with its parameters held; infinite where undefined."""
        problem = hold_parameters(self.problem, flags, values)
        lanes = descend(Runner(), problem, start, self.wide.response, self.wide.weight, direct=True)
        return np.asarray(lanes.z), np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)


def _crossing(
    value: float, table: Float[np.ndarray, " point"], rise: Float[np.ndarray, " point"], t: float, beyond: bool = False
) -> float | None:
    """The value at which the root statistic is t, by log-log interpolation; None where it stays below."""
    fine = np.isfinite(rise) & (rise > 0)
    far, rise = np.abs(table[fine] - value), np.maximum.accumulate(rise[fine])
    if len(rise) < 2 or (not beyond and rise[-1] < t):
        return None
    k = int(np.clip(np.searchsorted(rise, t), 1, len(rise) - 1))
    with np.errstate(divide="ignore"):
        (a, b), (x, y) = np.log(rise[k - 1 : k + 1]), np.log(far[k - 1 : k + 1])
    if not (b > a and math.isfinite(x)):
        return None
    return float(value + np.sign(table[fine][0] - value) * np.exp(x + (math.log(t) - a) / (b - a) * (y - x)))
