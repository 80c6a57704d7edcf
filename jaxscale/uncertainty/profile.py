"""Profile likelihood: intervals and contours from refits that hold a parameter, a quantity, or two parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxscale.batch import Runner
from jaxscale.fitting import generator_of
from jaxscale.intervals import Intervals
from jaxscale.linear import params_at
from jaxscale.notices import Notice
from jaxscale.observations import Observations
from jaxscale.result import Fit
from jaxscale.tables import did_you_mean
from jaxscale.uncertainty.constrained import gradients_of
from jaxscale.uncertainty.rays import (
    Rays,
    crossing,
    derived_rays,
    furthest,
    named_rays,
    stretch,
    values_on,
)
from jaxscale.uncertainty.statistic import Ground, cluster_ratios, ground_of

METHOD = "profile likelihood"
# The grid goes beyond an end by this factor; where there is none, to so many thresholds.
BEYOND, OPEN = 1.25, 3.0
# A statistic below minus this is no rounding: the profile met a better optimum than the fit.
BETTER = -1e-2


@dataclass(frozen=True)
class Curve:
    """The profile of one quantity: what the statistic is where the quantity is held.

    Args:
        name: of the quantity.
        estimate: its value at the optimum.
        stderr: its standard error by the curvature there, in the scale of the statistic.
        values: where it was held, rising, shape (points,).
        statistic: the statistic there, shape (points,); infinite where the value cannot be reached.
        root: its square root with the side's sign, shape (points,): a straight line where the standard error is all.
        params: every parameter of the law along the profile, shape (points,).
        lower: lower end of the interval; minus infinity where the statistic stays below its threshold.
        upper: upper end; infinity likewise.
    """

    name: str
    estimate: float
    stderr: float
    values: np.ndarray
    statistic: np.ndarray
    root: np.ndarray
    params: dict[str, np.ndarray]
    lower: float
    upper: float


@dataclass(frozen=True)
class Profile:
    """The profiles of some quantities; ``profile["alpha"]`` is the :class:`Curve` of alpha.

    Args:
        law: identifier of the law.
        level: coverage of the intervals.
        threshold: of the statistic's root: the t quantile (or that of the normal distribution).
        curves: the profiles by name.
        about: how the statistic is made.
        notices: what a person should know.
    """

    law: str
    level: float
    threshold: float
    curves: dict[str, Curve]
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def __getitem__(self, name: str) -> Curve:
        """The profile of one quantity."""
        return self.curves[name]

    def __str__(self) -> str:
        """The table of the intervals."""
        return str(self.intervals())

    def intervals(self) -> Intervals:
        """The intervals, as every method gives them."""
        rows = {
            name: {"mean": curve.estimate, "sd": curve.stderr, "lower": curve.lower, "upper": curve.upper}
            for name, curve in self.curves.items()
        }
        return Intervals(self.law, METHOD, self.level, rows, self.about, self.notices)

    def to_dict(self) -> dict[str, Any]:
        """The intervals and the profiles as plain numbers and lists."""
        curves = {
            name: {
                "values": curve.values.tolist(),
                "statistic": curve.statistic.tolist(),
                "root": curve.root.tolist(),
                "params": {key: value.tolist() for key, value in curve.params.items()},
            }
            for name, curve in self.curves.items()
        }
        return {**self.intervals().to_dict(), "threshold": self.threshold, "curves": curves}


@dataclass(frozen=True)
class Contour:
    """Where the statistic of two parameters, all others fitted, has some levels.

    Args:
        law: identifier of the law.
        names: of the two parameters.
        levels: coverages.
        thresholds: of the statistic, one for each level.
        estimate: the two parameters at the optimum.
        polygons: shape (levels, points, 2), anticlockwise in the whitened plane; NaN where a ray does not end.
        about: how the statistic is made.
        notices: what a person should know.
    """

    law: str
    names: tuple[str, str]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    estimate: tuple[float, float]
    polygons: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The contours as plain numbers and lists."""
        return {
            "law": self.law,
            "method": METHOD,
            "names": list(self.names),
            "levels": list(self.levels),
            "thresholds": list(self.thresholds),
            "estimate": list(self.estimate),
            "polygons": self.polygons.tolist(),
            **self.about,
            "warnings": [{"code": notice.code, "message": notice.message} for notice in self.notices],
        }


def profile(
    fit: Fit,
    names: Sequence[str] | None = None,
    *,
    of: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
    level: float = 0.9,
    points: int = 21,
    observations: Observations | None = None,
    key: Any = 0,
) -> Profile:
    """Profile likelihood of parameters and derived quantities: refit all else with the quantity held at a value.

    The statistic is ``2 (f(held) - f_min) / c``, and an interval holds the values whose root of it is below a
    quantile. Squared error: c is the residual variance, which makes it the F form ``(n - p) (S - S_min) / S_min``
    with the t quantile. Student's t: c is 1, with the quantile of the normal distribution. Huber and absolute losses
    are no likelihoods: ``c = E[psi^2] / E[psi']``, estimated at the optimum, with the t quantile. Where runs repeat,
    c is multiplied by the quantity's cluster-robust variance over its plain one, and the t quantile has one degree of
    freedom fewer than runs.

    >>> profile(fit, of={"a": lambda p: p["beta"] / (p["alpha"] + p["beta"])})  # doctest: +SKIP

    Args:
        fit: the fit.
        names: free parameters to profile; all of them unless given.
        of: derived quantities: name to function of the parameters by name that returns one number, by operations of
            JAX. The same function object compiles once.
        level: coverage of the intervals, between 0 and 1.
        points: values at which each quantity is held, the estimate among them.
        observations: what was fitted, where the fit was read from a file.
        key: seed of the scattered starts that every refit has beside those from its neighbours.

    Returns:
        The profiles, with numbers in float64.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is wrong, or the fit leaves nothing to profile.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis, chapter 6; for robust losses Hampel, Ronchetti,
    Rousseeuw and Stahel (1986), Robust Statistics, section 7.2.
    """
    wanted = _wanted(fit, names)
    derived = _derived(of, wanted)
    if not wanted and not derived:
        raise ValueError("Arguments names and of must name something to profile, but both are empty.")
    _checked(level)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 5:
        raise ValueError(f"Argument points must be a whole number of at least 5, but is {points!r}.")
    _, generator = generator_of(key)
    with jax.enable_x64(True):
        runner = Runner()
        ground = ground_of(runner, fit, observations)
        threshold = _root_quantile(ground, level)
        kinds = [_named(runner, ground, wanted)] if wanted else []
        kinds += [_computed(runner, ground, derived)] if derived else []
        curves, notices = {}, []
        for kind in kinds:
            found, said = _curves(kind, threshold, int(points), generator, fit)
            curves, notices = curves | found, notices + said
        about = dict(ground.about)
        if ground.clusters is not None:
            ratios = {name: float(ratio) for kind in kinds for name, ratio in zip(kind.names, kind.ratio, strict=True)}
            about["clusters"] = "statistic divided by cluster-robust over plain variance"
            about["variance ratio"] = ratios
        if math.isfinite(ground.freedom):
            about["freedom"] = int(ground.freedom)
    return Profile(fit.law, float(level), threshold, curves, about, tuple(notices))


def contour(
    fit: Fit,
    names: Sequence[str] = ("alpha", "beta"),
    *,
    level: float | Sequence[float] = (0.5, 0.9),
    points: int = 32,
    observations: Observations | None = None,
) -> Contour:
    """Contours of the profile statistic of two parameters: refit all others with both held.

    The statistic of :func:`profile` reaches ``2 F(2, n - p)`` (chi-squared with 2 degrees of freedom for Student's
    t) on each contour; where runs repeat it is divided by the mean of the two generalised variance ratios (Rao and
    Scott 1984). Every point lies on a ray from the optimum; rays are even in the plane in which the covariance is
    round.

    Args:
        fit: the fit.
        names: two free parameters.
        level: coverages, between 0 and 1.
        points: rays.
        observations: what was fitted, where the fit was read from a file.

    Returns:
        The contours, with numbers in float64.

    Raises:
        TypeError: fit is not a Fit.
        ValueError: an argument is wrong, or the fit leaves nothing to profile.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis, chapter 6; Rao and Scott (1984), Annals of
    Statistics 12.
    """
    first, *others = wanted = _wanted(fit, names)
    if len(wanted) != 2 or first in others:
        raise ValueError(f"Argument names must hold two different parameters, but holds {', '.join(wanted)}.")
    levels = tuple(float(one) for one in np.atleast_1d(np.asarray(level, float)))
    if not levels:
        raise ValueError("Argument level must hold at least one number between 0 and 1, but is empty.")
    for one in levels:
        _checked(one)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 8:
        raise ValueError(f"Argument points must be a whole number of at least 8, but is {points!r}.")
    with jax.enable_x64(True):
        runner = Runner()
        ground = ground_of(runner, fit, observations)
        kind = _named(runner, ground, wanted)
        unit = ground.unit * float(np.mean(np.diag(cluster_ratios(ground, kind.slope))))
        lower = np.linalg.cholesky(unit * kind.slope @ ground.covariance @ kind.slope.T)
        angle = 2 * np.pi * np.arange(points) / points
        directions = (lower @ np.stack([np.cos(angle), np.sin(angle)])).T
        rays = len(levels) * points
        place = [ground.problem.free.index(name) for name in wanted]
        steps, held = np.zeros((rays, len(ground.problem.free))), np.zeros((rays, len(ground.problem.free)), bool)
        steps[:, place], held[:, place] = np.tile(directions, (len(levels), 1)), True
        reach = np.array([furthest(*pair) for pair in zip(kind.supports, kind.error, strict=True)]) * kind.error
        limit = np.min(reach / np.maximum(np.abs(steps[:, place]), 1e-300), axis=1)
        thresholds = tuple(_pair_quantile(ground, one) for one in levels)
        lines = named_rays(runner, ground, steps, held, np.full(rays, unit), limit)
        x, _ = crossing(lines, np.repeat(np.sqrt(thresholds), points))
        ends = values_on(ground, steps * np.where(np.isfinite(x), x, 0.0)[:, None])[:, place]
    ends[~np.isfinite(x)] = np.nan
    polygons = ends.reshape(len(levels), points, 2)
    notices = [
        Notice("open_profile", f"The contour of {' and '.join(wanted)} at level {one:g} is open in {gone} directions.")
        for one, gone in zip(levels, np.isnan(polygons[..., 0]).sum(axis=1), strict=True)
        if gone
    ]
    estimate = (float(ground.linear.params[wanted[0]]), float(ground.linear.params[wanted[1]]))
    pair = (wanted[0], wanted[1])
    return Contour(fit.law, pair, levels, thresholds, estimate, polygons, ground.about, tuple(notices))


@dataclass(frozen=True)
class _Kind:
    """Quantities that are profiled together, two rays each: the lower side first."""

    names: tuple[str, ...]
    middle: np.ndarray
    slope: np.ndarray
    error: np.ndarray
    stderr: np.ndarray
    ratio: np.ndarray
    supports: tuple[Any, ...]
    rays: Rays
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _sides(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(count), 2), np.tile([-1.0, 1.0], count)


def _ratio(ground: Ground, slope: np.ndarray) -> np.ndarray:
    """Each quantity's cluster-robust variance in units of its plain one, shape (k,)."""
    return np.array([float(cluster_ratios(ground, one[None])[0, 0]) for one in slope])


def _named(runner: Runner, ground: Ground, names: tuple[str, ...]) -> _Kind:
    free, kinds = ground.problem.free, ground.problem.law.parameters
    place = [free.index(name) for name in names]
    middle = np.array([float(ground.linear.params[name]) for name in names])
    supports = tuple(kinds[name].support for name in names)
    scale = np.array([stretch(support, value) for support, value in zip(supports, middle, strict=True)])
    slope = ground.linear.change[place] * scale[:, None]
    ratio = _ratio(ground, slope)
    error = np.sqrt(ground.unit * ratio * np.sum((slope @ ground.covariance) * slope, axis=1))
    which, side = _sides(len(names))
    steps, held = np.zeros((len(which), len(free))), np.zeros((len(which), len(free)), bool)
    column = np.array(place)[which]
    steps[np.arange(len(which)), column], held[np.arange(len(which)), column] = side * error[which], True
    limit = np.array([furthest(supports[k], error[k]) for k in which])
    rays = named_rays(runner, ground, steps, held, ground.unit * ratio[which], limit)

    def values(ray: np.ndarray, x: np.ndarray) -> np.ndarray:
        return values_on(ground, steps[ray] * x[:, None])[np.arange(len(ray)), column[ray]]

    return _Kind(names, middle, slope, error, error / scale, ratio, supports, rays, values)


def _computed(runner: Runner, ground: Ground, derived: dict[str, Callable[[dict[str, Any]], Any]]) -> _Kind:
    of = tuple(derived.values())
    params = {name: np.asarray(value) for name, value in ground.linear.params.items()}
    for name, function in derived.items():
        shape = np.shape(jax.eval_shape(function, params))
        if shape != ():
            raise ValueError(f"Argument of must give one number for {name}, but gives an array of shape {shape}.")
    middle, slope = (np.asarray(a) for a in gradients_of(of)(ground.problem, ground.z))
    ratio = np.ones(len(of))
    for k, name in enumerate(derived):
        if not (np.isfinite(middle[k]) and np.all(np.isfinite(slope[k])) and np.any(slope[k] != 0)):
            raise ValueError(
                f"Argument of must give for {name} a finite number that depends on the free parameters, but it is "
                f"{middle[k]:g} with derivatives of size {np.max(np.abs(slope[k])):g}."
            )
    ratio = _ratio(ground, slope)
    error = np.sqrt(ground.unit * ratio * np.sum((slope @ ground.covariance) * slope, axis=1))
    which, side = _sides(len(of))
    rays = derived_rays(runner, ground, of, middle, slope, error, side, which, ground.unit * ratio[which])

    def values(ray: np.ndarray, x: np.ndarray) -> np.ndarray:
        return middle[which[ray]] + side[ray] * error[which[ray]] * x

    return _Kind(tuple(derived), middle, slope, error, error, ratio, (), rays, values)


def _curves(
    kind: _Kind, threshold: float, points: int, generator: np.random.Generator, fit: Fit
) -> tuple[dict[str, Curve], list[Notice]]:
    """The ends of all intervals, then all grid points of all quantities as lanes of one batch."""
    rays, ground = kind.rays, kind.rays.ground
    count = len(rays.unit)
    ends, z_ends = crossing(rays, np.full(count, threshold))
    at_end = kind.values(np.arange(count), np.where(np.isfinite(ends), ends, 0.0))
    closed = np.isfinite(ends)
    sizes = np.where(np.arange(count) % 2 == 0, (points - 1) // 2, points - 1 - (points - 1) // 2)
    reach = np.minimum(np.where(closed, BEYOND * np.where(closed, ends, 0.0), OPEN * threshold), rays.limit)
    ray = np.repeat(np.arange(count), sizes)
    step = np.concatenate([np.arange(1, size + 1) for size in sizes])
    x = reach[ray] * step / sizes[ray]
    middle = ground.z[:, None]
    secant = np.where(closed, (z_ends - middle) / np.where(closed, ends, 1.0), rays.tangent)
    guess = middle + secant[:, ray] * x
    spread = np.linalg.cholesky(ground.unit * ground.covariance)
    scattered = guess + 0.5 * spread @ generator.standard_normal(guess.shape)
    z, statistic = rays.at(ray, x, [guess, scattered])
    # Once more from the neighbours' ends: a point must not stay in a worse basin than these.
    inner = np.where(step > 1, np.roll(z, 1, axis=1), middle)
    outer = np.where(step < sizes[ray], np.roll(z, -1, axis=1), z)
    again, lower = rays.at(ray, x, [inner, outer])
    better = lower < statistic
    z, statistic = np.where(better, again, z), np.where(better, lower, statistic)
    held = kind.values(ray, x)
    curves: dict[str, Curve] = {}
    notices: list[Notice] = []
    for k, name in enumerate(kind.names):
        left, right = np.flatnonzero(ray == 2 * k)[::-1], np.flatnonzero(ray == 2 * k + 1)
        order = np.concatenate([left, right])
        centre = len(left)
        rise = np.insert(statistic[order], centre, 0.0)
        sign = np.repeat([-1.0, 0.0, 1.0], [centre, 1, len(right)])
        own = np.insert(z[:, order], centre, ground.z, axis=1)
        whole = np.insert(held[order], centre, kind.middle[k])
        named = _named_values(ground, own, whole, name if kind.supports else None)
        low, high = (float(at_end[2 * k + s]) if closed[2 * k + s] else [-np.inf, np.inf][s] for s in range(2))
        middle_value, error = float(kind.middle[k]), float(kind.stderr[k])
        root = sign * np.sqrt(np.maximum(rise, 0.0))
        curves[name] = Curve(name, middle_value, error, whole, np.maximum(rise, 0.0), root, named, low, high)
        gone = [side for side, there in zip(("below", "above"), closed[2 * k : 2 * k + 2], strict=True) if not there]
        if gone:
            said = f"The profile of {name} does not reach its threshold {' or '.join(gone)} the estimate."
            notices.append(Notice("open_profile", said))
        if np.min(rise) < BETTER:
            said = f"The profile of {name} met a lower objective than the fit's: fit again with more starts."
            notices.append(Notice("not_converged", said))
    return curves, notices


def _named_values(ground: Ground, z: np.ndarray, values: np.ndarray, held: str | None) -> dict[str, np.ndarray]:
    """All parameters along a profile of one parameter (held) or of a derived quantity, shape (points,)."""
    problem = ground.problem
    if held is not None:
        # A held parameter keeps its start's coordinate; the others lean on its value.
        from jaxscale.uncertainty.statistic import nested

        k = problem.free.index(held)
        flags, table = np.zeros((z.shape[1], len(problem.free)), bool), np.ones((z.shape[1], len(problem.free)))
        flags[:, k], table[:, k] = True, values
        problem = nested(problem, flags, table)
    named = params_at(problem, z)
    return {name: np.array(np.broadcast_to(named[name], z.shape[1])) for name in problem.law.parameters}


def _root_quantile(ground: Ground, level: float) -> float:
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + level / 2
    return float(stdtrit(ground.freedom, tail) if math.isfinite(ground.freedom) else ndtri(tail))


def _pair_quantile(ground: Ground, level: float) -> float:
    from scipy.special import fdtri

    return float(2 * fdtri(2, ground.freedom, level) if math.isfinite(ground.freedom) else -2 * np.log1p(-level))


def _checked(level: Any) -> None:
    if not 0 < level < 1:
        raise ValueError(f"Argument level must lie between 0 and 1, but is {level!r}.")


def _wanted(fit: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    if not isinstance(fit, Fit):
        raise TypeError(f"Argument fit must be a Fit (make one with jaxscale.fit), but is {type(fit).__name__}.")
    if isinstance(names, str):
        raise TypeError(f"Argument names must be a sequence of names, but is the text {names!r}; write [{names!r}].")
    wanted = fit.free if names is None else tuple(names)
    for name in wanted:
        if name not in fit.free:
            fixed = " (it is fixed)" if name in fit.fixed else did_you_mean(name, fit.free)
            raise ValueError(
                f"Argument names names {name!r}, which is no free parameter of this fit{fixed}; these are "
                f"{', '.join(fit.free)}."
            )
    return wanted


def _derived(of: Any, wanted: tuple[str, ...]) -> dict[str, Callable[[dict[str, Any]], Any]]:
    derived = dict(of or {})
    for name, function in derived.items():
        if not callable(function):
            raise TypeError(f"Argument of must map names to functions of the parameters, but {name!r} maps to none.")
        if name in wanted:
            raise ValueError(f"Argument of names {name!r}, which names a parameter already; give it another name.")
    return derived
