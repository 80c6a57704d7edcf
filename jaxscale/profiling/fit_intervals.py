"""Intervals of a fit's parameters: by standard errors where these say enough, else by the profile likelihood.

A standard error says enough while its interval, taken where the parameter has no bounds (the logarithm of a positive
number, the logit of a fraction), is narrow. At a bound the ends are those values at which the profiled objective rises
by as much as the standard error says for small changes; where an interval spans a factor, the farther ends of both.
"""

import math

import jax
import numpy as np

from jaxscale.engine.bounds import at_bounds, bounded, interval_about, move_off_bounds, slope_of_unbounded, unbounded
from jaxscale.engine.descent import descend
from jaxscale.engine.optimum import optimum_of
from jaxscale.engine.runner import Runner
from jaxscale.fitting.sandwich import bread
from jaxscale.law import Support, real
from jaxscale.law.coordinates import from_params
from jaxscale.laws import resolve
from jaxscale.profiling.likelihood_ratio import nested, smooth
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import refit_problem

# With fewer degrees of freedom no interval is given.
FEWEST = 2
# The largest half width, in the logarithm or the logit, for which a standard error says enough.
NARROW = 0.7
# Values on either side at which the objective is profiled, and how far they reach in the logarithm or the logit.
POINTS, REACH = 18, 16.0


def intervals_of(fit: Fit, level: float) -> dict[str, tuple[float, float]]:
    """Lower and upper end of every free parameter's interval; NaN where there are too few degrees of freedom.

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
        farther = profiled(fit, t)
        ends = farther if _bound(fit) else {name: _hull(ends[name], farther[name]) for name in fit.free}
    return ends


def _supports(fit: Fit) -> dict[str, Support]:
    kinds = resolve(fit.law).parameters
    return {name: kinds[name].support for name in fit.free}


def _hull(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The shortest interval that holds two; of few rows that determine little each alone holds the truth too rarely."""
    return (min(one[0], other[0]), max(one[1], other[1])) if all(map(math.isfinite, one)) else other


def _bound(fit: Fit) -> bool:
    return bool(fit.errors.at_bound)


def _half(fit: Fit, support: Support, name: str, t: float) -> float:
    """Half the width of an interval where the parameter has no bounds."""
    return t * fit.stderr[name] * slope_of_unbounded(support, fit.params[name])


def _percentiles(fit: Fit, supports: dict[str, Support], t: float, z: float) -> dict[str, tuple[float, float]]:
    """Percentiles of the resamples, drawn out about the estimate as t quantiles are longer than normal ones."""
    from scipy.special import ndtri

    kept, ends = fit.errors.percentiles, {}
    places = ndtri(np.array(fit.errors.shares))
    for name in fit.free:
        values = unbounded(supports[name], np.array(kept[name]))
        middle = float(unbounded(supports[name], fit.params[name]))
        found = np.interp([-z, z], places, values)
        if math.isfinite(middle) and np.all(np.isfinite(found)):
            found = middle + (found - middle) * max(t / z, 1.0)
        low, high = bounded(supports[name], found)
        ends[name] = (float(low), float(high))
    return ends


def profiled(fit: Fit, t: float) -> dict[str, tuple[float, float]]:
    """Ends where the profiled objective has risen by ``t^2 / 2`` units.

    Args:
        fit: the fit, with its observations.
        t: quantile that the root of the rise is compared with.
    """
    supports = _supports(fit)
    sides = [(name, sign) for name in fit.free for sign in (-1, 1)]
    with jax.enable_x64(True):
        profile = _Profile(fit, supports)
        if not np.isfinite(profile.unit).all():
            return {}
        tables = [profile.values(name, sign) for name, sign in sides]
        found = _crossings(fit, profile, sides, tables, t, beyond=False)
        # Once more close by: between two values the logarithm of the rise is not quite straight.
        inside = [side for side in sides if side in found]
        middle = [fit.params[name] for name, _ in inside]
        closer = [m + (found[side] - m) * np.array([0.95, 1.05]) for m, side in zip(middle, inside, strict=True)]
        found |= _crossings(fit, profile, inside, closer, t, beyond=True)
    ends = {}
    for name, support in supports.items():
        low, high = found.get((name, -1), support.low), found.get((name, 1), support.high)
        ends[name] = (max(low, support.low), min(high, support.high))
    return ends


def _crossings(
    fit: Fit, profile: "_Profile", sides: list[tuple[str, int]], tables: list[np.ndarray], t: float, beyond: bool
) -> dict[tuple[str, int], float]:
    """By side, where the root of the rise is t; none for a side on which it stays below."""
    if not sides:
        return {}
    rises = profile.rises(sides, tables)
    ends = {
        side: _crossing(fit.params[side[0]], table, rise, t, beyond)
        for side, table, rise in zip(sides, tables, rises, strict=True)
    }
    return {side: end for side, end in ends.items() if end is not None}


class _Profile:
    """The problem of a fit with one parameter held at a time."""

    def __init__(self, fit: Fit, supports: dict[str, Support]) -> None:
        self.fit, self.supports = fit, supports
        again = refit_problem(fit, None)
        self.problem, _ = smooth(again)
        self.wide = again.wide
        params = {name: np.asarray(value, float) for name, value in fit.params.items()}
        at = np.array([float(v) for v in from_params(self.problem.law, self.problem.centre, fit.free, params)])
        at = np.concatenate([at, again.z[len(at) : self.problem.size]])
        # What vanished may have no finite coordinate at all.
        at = np.nan_to_num(at, neginf=-700.0, posinf=700.0)
        weight = self.wide.weight
        optimum = optimum_of(self.problem, at, self.wide.response, weight)
        linear = optimum.linear
        self.bounds, self.z = at_bounds(optimum), move_off_bounds(optimum)
        root, lost, _ = bread(linear.jacobian * self._bend(linear.residual)[:, None], weight)
        plain = np.sum(root**2, axis=1)
        errors = np.array([fit.stderr[name] for name in fit.free])
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = np.where(lost | ~np.isfinite(errors), np.nan, errors**2 / plain)
        fine = np.isfinite(unit) & (unit > 0)
        # Where no parameter tells what a rise of the objective means there is no profile.
        self.unit = np.where(fine, unit, np.median(unit[fine]) if fine.any() else np.nan)
        if self.problem.noise.loss.counts and again.clusters is None:
            # The objective is minus the log likelihood.
            self.unit = np.ones(len(fit.free))
        none = np.zeros((1, len(fit.free)), bool)
        self.lowest = float(self._descended(none, 0.0 + none, self.z[:, None])[1][0])

    def _bend(self, residual: np.ndarray) -> np.ndarray:
        """The root of each row's curvature."""
        loss = self.problem.noise.loss
        if not np.isfinite(float(loss.threshold)):
            return np.ones(len(residual))
        return np.sqrt(np.asarray(loss.slopes(residual, loss.threshold, loss.log_scale)[1], float))

    def values(self, name: str, sign: int) -> np.ndarray:
        """Values of a parameter on one side of its estimate, the nearest first; none beyond a bound."""
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

    def rises(self, sides: list[tuple[str, int]], tables: list[np.ndarray]) -> list[np.ndarray]:
        """Roots of the rise of the objective in units of the noise, for tables of values of one parameter each."""
        places = np.repeat([self.fit.free.index(name) for name, _ in sides], list(map(len, tables)))
        side = np.repeat(np.arange(len(sides)), list(map(len, tables)))
        flags = places[:, None] == np.arange(len(self.fit.free))
        values = np.where(flags, np.concatenate(tables)[:, None], 0.0)
        z, f = self._descended(flags, values, np.repeat(self.z[:, None], len(places), axis=1))
        for step in (-1, 1):
            # Once more from the ends of the neighbours on the same side: a descent may end in a worse minimum.
            other = np.clip(np.arange(len(places)) + step, 0, len(places) - 1)
            other = np.where(side[other] == side, other, np.arange(len(places)))
            again, g = self._descended(flags, values, self._inside(z[:, other]))
            z, f = np.where(g < f, again, z), np.minimum(f, g)
        rise = np.sqrt(np.maximum(2 * (f - self.lowest) / self.unit[places], 0.0))
        return [rise[side == k] for k in range(len(sides))]

    def _inside(self, z: np.ndarray) -> np.ndarray:
        """Coordinates in which what ran to a bound can leave it again."""
        ran = np.array([name in self.bounds for name in self.fit.free] + [False] * (len(z) - len(self.fit.free)))
        return np.where(ran[:, None], self.z[:, None], z)

    def _descended(self, flags: np.ndarray, values: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every lane with its parameters held: coordinates and the least objective, infinite where there is none."""
        problem = nested(self.problem, flags, values)
        lanes = descend(Runner(), problem, start, self.wide.response, self.wide.weight, direct=True)
        return np.asarray(lanes.z), np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)


def _crossing(value: float, table: np.ndarray, rise: np.ndarray, t: float, beyond: bool = False) -> float | None:
    """Where the rise is t, by straight lines in the logarithms of distance and rise; None where it stays below."""
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
