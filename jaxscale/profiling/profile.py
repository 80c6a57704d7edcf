"""Profile likelihood of parameters and derived quantities, and its confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.engine.linearize import params_at
from jaxscale.engine.runner import Runner
from jaxscale.law import Law
from jaxscale.profiling.likelihood_ratio import ProfileSetup, hold_parameters, profile_setup
from jaxscale.profiling.ray_search import crossing
from jaxscale.profiling.targets import Targets, derived_targets, parameter_targets, validate_derived, validate_params
from jaxscale.results.fit import Fit
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.quantities import Quantities
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice
from jaxscale.utils.random import generator_of

METHOD = "profile likelihood"
# Extent of the grid: a factor beyond an end of the interval, or a multiple of the threshold where there is none.
BEYOND, OPEN = 1.25, 3.0
# Most passes in which all points are refitted from their neighbours.
PASSES = 4
# A statistic below this is not a rounding error: the profile found a better optimum than the fit.
BETTER = -1e-2

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """The profile likelihood of one quantity.

    Args:
        name: of the quantity.
        estimate: its value at the optimum.
        stderr: its standard error from the curvature at the optimum, on the scale of the statistic.
        values: values at which it is held, increasing, shape (points,).
        statistic: the likelihood-ratio statistic, shape (points,); infinite where the value cannot be reached.
        root: the signed root of the statistic, shape (points,); linear where the Wald approximation is exact.
        params: every parameter of the law along the profile, shape (points,).
        lower: lower end of the interval; minus infinity where the statistic stays below its threshold.
        upper: upper end; infinity likewise.
    """

    name: str
    estimate: float
    stderr: float
    values: Float[np.ndarray, " point"]
    statistic: Float[np.ndarray, " point"]
    root: Float[np.ndarray, " point"]
    params: dict[str, Float[np.ndarray, " point"]]
    lower: float
    upper: float


@dataclass(frozen=True)
class Profile:
    """Profile likelihoods by name; ``profile["alpha"]`` is the :class:`Curve` of alpha.

    Args:
        law: the law; its name where the fit was read from a file and the catalogue does not hold it.
        level: coverage of the intervals.
        threshold: of the signed root statistic: a t quantile (or a normal one).
        curves: the profiles by name.
        about: definition of the statistic.
        notices: conditions that affect the interpretation of the intervals.
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
        """The report of the intervals."""
        return str(self.intervals())

    @property
    def ok(self) -> bool:
        """Whether no profile found a lower objective than the fit's."""
        return not any(notice.code == "not_converged" for notice in self.notices)

    def intervals(self, level: float | None = None) -> Intervals:
        """The intervals of the level at which the profile was computed.

        Args:
            level: that level; another level needs another profile.

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
        """A pandas data frame with one row per point of each profile: quantity, value, statistic, signed root."""
        import pandas as pd

        columns = {
            name: pd.DataFrame({"value": curve.values, "statistic": curve.statistic, "root": curve.root})
            for name, curve in self.curves.items()
        }
        return pd.concat(columns, names=["quantity", "point"])

    def to_dict(self) -> dict[str, Any]:
        """The intervals and the profiles as plain numbers and lists, for JSON."""
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
    """Profile likelihood of parameters and derived quantities: all else is refitted with the quantity held at a value.

    The statistic is ``2 (f(held) - f_min) / c``, and an interval holds the values whose signed root statistic is within
    plus or minus a quantile. Squared error: c is the residual variance, which gives the F form
    ``(n - p) (S - S_min) / S_min`` with a t quantile. Student's t: c is 1, with a normal quantile. Huber and absolute
    losses are M-estimators: ``c = E[psi^2] / E[psi']``, estimated at the optimum, with a t quantile. Where runs have
    several rows, c is multiplied by the ratio of the quantity's cluster-robust to its model-based variance, and the t
    quantile has one degree of freedom fewer than there are runs.

    >>> profile(fit, quantity={"a": lambda p: p["beta"] / (p["alpha"] + p["beta"])})  # doctest: +SKIP

    Args:
        fit: the fit.
        params: free parameters to profile; default: all of them.
        quantity: derived quantities: a JAX function of the parameters (name to value) that returns one number, or a
            mapping of names to such functions. The same function object compiles once.
        level: coverage of the intervals, between 0 and 1.
        points: number of values at which each quantity is held, including the estimate.
        observations: the fitted observations, where the fit was read from a file.
        seed: of the random starts that every refit has in addition to those from its neighbours.

    Returns:
        The profiles, with numbers in float64.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is invalid, or the fit cannot be profiled.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis, chapter 6; for robust losses Hampel, Ronchetti,
    Rousseeuw and Stahel (1986), Robust Statistics, section 7.2.
    """
    names = validate_params(fit, params)
    derived = validate_derived(quantity, names)
    if not names and not derived:
        raise ArgumentError("params", "or quantity must name something to profile, but both are empty.")
    check_level(level)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 5:
        raise ArgumentError("points", f"must be a whole number of at least 5, but is {points!r}.")
    _, generator = generator_of(seed)
    with jax.enable_x64(True):
        runner = Runner()
        setup = profile_setup(runner, fit, observations)
        threshold = _root_quantile(setup, level)
        targets_list = [parameter_targets(runner, setup, names)] if names else []
        targets_list += [derived_targets(runner, setup, derived)] if derived else []
        curves, notices = {}, []
        for targets in targets_list:
            more_curves, more_notices = _curves(targets, threshold, int(points), generator)
            curves, notices = curves | more_curves, notices + more_notices
        curves = {name: _at_bound(fit, name, curve, observations, threshold) for name, curve in curves.items()}
        about = dict(setup.about)
        if setup.clusters is not None:
            ratios = {
                name: float(ratio)
                for targets in targets_list
                for name, ratio in zip(targets.names, targets.ratio, strict=True)
            }
            about["clusters"] = "statistic divided by the ratio of cluster-robust to model-based variance"
            about["variance ratio"] = ratios
        if math.isfinite(setup.freedom):
            about["freedom"] = int(setup.freedom)
    return Profile(fit.law, float(level), threshold, curves, about, tuple(notices))


def _at_bound(fit: Fit, name: str, curve: Curve, observations: Observations | None, threshold: float) -> Curve:
    """The curve of a parameter at a bound, whose coordinate on the unbounded scale is infinite."""
    if name not in fit.errors.at_bound:
        return curve
    from jaxscale.profiling.fit_intervals import profile_intervals

    whole = fit if fit.observations is not None else replace(fit, observations=observations)
    lower, upper = profile_intervals(whole, threshold)[name]
    return replace(curve, lower=lower, upper=upper)


def _curves(
    targets: Targets, threshold: float, points: int, generator: np.random.Generator
) -> tuple[dict[str, Curve], list[Notice]]:
    """Ends of all intervals, then all grid points of all quantities as lanes of one batch."""
    rays, setup = targets.rays, targets.rays.setup
    count = len(rays.unit)
    ends, z_ends = crossing(rays, np.full(count, threshold))
    at_end = targets.values(np.arange(count), np.where(np.isfinite(ends), ends, 0.0))
    closed = np.isfinite(ends)
    sizes = np.where(np.arange(count) % 2 == 0, (points - 1) // 2, points - 1 - (points - 1) // 2)
    reach = np.minimum(np.where(closed, BEYOND * np.where(closed, ends, 0.0), OPEN * threshold), rays.limit)
    ray = np.repeat(np.arange(count), sizes)
    step = np.concatenate([np.arange(1, size + 1) for size in sizes])
    x = reach[ray] * step / sizes[ray]
    middle = setup.z[:, None]
    secant = np.where(closed, (z_ends - middle) / np.where(closed, ends, 1.0), rays.tangent)
    guess = middle + secant[:, ray] * x
    spread = np.linalg.cholesky(setup.unit * setup.covariance)
    scattered = guess + 0.5 * spread @ generator.standard_normal(guess.shape)
    z, statistic = rays.at(ray, x, [guess, scattered])
    # Then restart from the neighbours' optima while that helps: a point must not stay in a worse basin than these.
    for _ in range(PASSES):
        inner = np.where(step > 1, np.roll(z, 1, axis=1), middle)
        outer = np.where(step < sizes[ray], np.roll(z, -1, axis=1), z)
        retry, lower = rays.at(ray, x, [inner, outer])
        better = lower < statistic
        helped = np.any(lower < statistic - 1e-6 * threshold**2)
        z, statistic = np.where(better, retry, z), np.where(better, lower, statistic)
        if not helped:
            break
    held = targets.values(ray, x)
    curves: dict[str, Curve] = {}
    notices: list[Notice] = []
    for k, name in enumerate(targets.names):
        left, right = np.flatnonzero(ray == 2 * k)[::-1], np.flatnonzero(ray == 2 * k + 1)
        order = np.concatenate([left, right])
        centre = len(left)
        rise = np.insert(statistic[order], centre, 0.0)
        sign = np.repeat([-1.0, 0.0, 1.0], [centre, 1, len(right)])
        own = np.insert(z[:, order], centre, setup.z, axis=1)
        whole = np.insert(held[order], centre, targets.middle[k])
        params = _named_values(setup, own, whole, name if targets.supports else None)
        low, high = (float(at_end[2 * k + s]) if closed[2 * k + s] else [-np.inf, np.inf][s] for s in range(2))
        middle_value, error = float(targets.middle[k]), float(targets.stderr[k])
        root = sign * np.sqrt(np.maximum(rise, 0.0))
        curves[name] = Curve(name, middle_value, error, whole, np.maximum(rise, 0.0), root, params, low, high)
        open_sides = [
            side for side, there in zip(("below", "above"), closed[2 * k : 2 * k + 2], strict=True) if not there
        ]
        if open_sides:
            message = f"The profile of {name} does not reach its threshold {' or '.join(open_sides)} the estimate."
            notices.append(Notice("open_profile", message))
        if np.min(rise) < BETTER:
            message = f"The profile of {name} found a lower objective than the fit: fit again with more starts."
            notices.append(Notice("not_converged", message))
    return curves, notices


def _named_values(
    setup: ProfileSetup, z: Float[np.ndarray, "size point"], values: Float[np.ndarray, " point"], held: str | None
) -> dict[str, Float[np.ndarray, " point"]]:
    """All parameters along a profile of one parameter (held) or of a derived quantity, shape (points,)."""
    problem = setup.problem
    if held is not None:
        # A held parameter keeps the coordinate of its start; those of the others depend on its value.
        k = problem.free.index(held)
        flags, table = np.zeros((z.shape[1], len(problem.free)), bool), np.ones((z.shape[1], len(problem.free)))
        flags[:, k], table[:, k] = True, values
        problem = hold_parameters(problem, flags, table)
    params = params_at(problem, z)
    return {name: np.array(np.broadcast_to(params[name], z.shape[1])) for name in problem.law.parameters}


def _root_quantile(setup: ProfileSetup, level: float) -> float:
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + level / 2
    return float(stdtrit(setup.freedom, tail) if math.isfinite(setup.freedom) else ndtri(tail))
