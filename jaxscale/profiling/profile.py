"""Profile likelihood: intervals from refits that hold a parameter or a quantity derived from the parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.linearize import params_at
from jaxscale.engine.runner import Runner
from jaxscale.law import Law
from jaxscale.profiling.likelihood_ratio import Ground, ground_of, nested
from jaxscale.profiling.ray_search import crossing
from jaxscale.profiling.targets import Kind, computed, derived_of, named, wanted_of
from jaxscale.results.fit import Fit
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.quantities import Quantities
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice
from jaxscale.utils.random import generator_of

METHOD = "profile likelihood"
# The grid goes beyond an end by this factor; where there is none, to so many thresholds.
BEYOND, OPEN = 1.25, 3.0
# The most times that all points are refitted from their neighbours.
PASSES = 4
# A statistic below minus this is no rounding: the profile met a better optimum than the fit.
BETTER = -1e-2

if TYPE_CHECKING:
    import pandas as pd


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
        law: the law; its name where the fit was read from a file and the catalogue does not hold it.
        level: coverage of the intervals.
        threshold: of the statistic's root: the t quantile (or that of the normal distribution).
        curves: the profiles by name.
        about: how the statistic is made.
        notices: conditions that affect what the intervals mean.
    """

    law: Law | str
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

    @property
    def ok(self) -> bool:
        """Whether no profile found a lower objective than the fit's."""
        return not any(notice.code == "not_converged" for notice in self.notices)

    def intervals(self, level: float | None = None) -> Intervals:
        """The intervals of the level at which the profile was computed.

        Args:
            level: that level; another one needs another profile.

        Raises:
            ValueError: the level is not that of the profile.
        """
        if level is not None and level != self.level:
            raise ArgumentError(
                "level", f"must be that of the profile, {self.level:g}, but is {level!r}; profile again with it."
            )
        rows = {
            name: {"estimate": curve.estimate, "sd": curve.stderr, "lower": curve.lower, "upper": curve.upper}
            for name, curve in self.curves.items()
        }
        return Intervals(self.law, METHOD, self.level, rows, self.about, self.notices, self.ok)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with a row for every point of every profile: quantity, value, statistic and its root."""
        import pandas as pd

        columns = {
            name: pd.DataFrame({"value": curve.values, "statistic": curve.statistic, "root": curve.root})
            for name, curve in self.curves.items()
        }
        return pd.concat(columns, names=["quantity", "point"])

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


def profile(
    fit: Fit,
    params: Sequence[str] | None = None,
    *,
    quantity: Quantities | None = None,
    level: float = 0.9,
    points: int = 21,
    observations: Observations | None = None,
    seed: int = 0,
) -> Profile:
    """Profile likelihood of parameters and derived quantities: refit all else with the quantity held at a value.

    The statistic is ``2 (f(held) - f_min) / c``, and an interval holds the values whose root of it is below a
    quantile. Squared error: c is the residual variance, which makes it the F form ``(n - p) (S - S_min) / S_min``
    with the t quantile. Student's t: c is 1, with the quantile of the normal distribution. Huber and absolute losses
    are no likelihoods: ``c = E[psi^2] / E[psi']``, estimated at the optimum, with the t quantile. Where runs repeat,
    c is multiplied by the quantity's cluster-robust variance over its plain one, and the t quantile has one degree of
    freedom fewer than runs.

    >>> profile(fit, quantity={"a": lambda p: p["beta"] / (p["alpha"] + p["beta"])})  # doctest: +SKIP

    Args:
        fit: the fit.
        params: free parameters to profile; all of them unless given.
        quantity: derived quantities: a function of the parameters by name that returns one number, by operations of
            JAX, or name to function. The same function object compiles once.
        level: coverage of the intervals, between 0 and 1.
        points: values at which each quantity is held, the estimate among them.
        observations: what was fitted, where the fit was read from a file.
        seed: of the scattered starts that every refit has beside those from its neighbours.

    Returns:
        The profiles, with numbers in float64.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is wrong, or the fit leaves nothing to profile.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis, chapter 6; for robust losses Hampel, Ronchetti,
    Rousseeuw and Stahel (1986), Robust Statistics, section 7.2.
    """
    wanted = wanted_of(fit, params)
    derived = derived_of(quantity, wanted)
    if not wanted and not derived:
        raise ArgumentError("params", "or quantity must name something to profile, but both are empty.")
    check_level(level)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 5:
        raise ArgumentError("points", f"must be a whole number of at least 5, but is {points!r}.")
    _, generator = generator_of(seed)
    with jax.enable_x64(True):
        runner = Runner()
        ground = ground_of(runner, fit, observations)
        threshold = _root_quantile(ground, level)
        kinds = [named(runner, ground, wanted)] if wanted else []
        kinds += [computed(runner, ground, derived)] if derived else []
        curves, notices = {}, []
        for kind in kinds:
            found, said = _curves(kind, threshold, int(points), generator)
            curves, notices = curves | found, notices + said
        curves = {name: _at_bound(fit, name, curve, observations, threshold) for name, curve in curves.items()}
        about = dict(ground.about)
        if ground.clusters is not None:
            ratios = {name: float(ratio) for kind in kinds for name, ratio in zip(kind.names, kind.ratio, strict=True)}
            about["clusters"] = "statistic divided by cluster-robust over plain variance"
            about["variance ratio"] = ratios
        if math.isfinite(ground.freedom):
            about["freedom"] = int(ground.freedom)
    return Profile(fit.law, float(level), threshold, curves, about, tuple(notices))


def _at_bound(fit: Fit, name: str, curve: Curve, observations: Observations | None, threshold: float) -> Curve:
    """The curve of a parameter that lies at a bound: on a scale without ends it lies infinitely far out."""
    if name not in fit.errors.at_bound:
        return curve
    from jaxscale.profiling.fit_intervals import profiled

    whole = fit if fit.observations is not None else replace(fit, observations=observations)
    lower, upper = profiled(whole, threshold)[name]
    return replace(curve, lower=lower, upper=upper)


def _curves(
    kind: Kind, threshold: float, points: int, generator: np.random.Generator
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
    # Then from the neighbours' ends, while that helps: a point must not stay in a worse basin than these.
    for _ in range(PASSES):
        inner = np.where(step > 1, np.roll(z, 1, axis=1), middle)
        outer = np.where(step < sizes[ray], np.roll(z, -1, axis=1), z)
        again, lower = rays.at(ray, x, [inner, outer])
        better = lower < statistic
        helped = np.any(lower < statistic - 1e-6 * threshold**2)
        z, statistic = np.where(better, again, z), np.where(better, lower, statistic)
        if not helped:
            break
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
