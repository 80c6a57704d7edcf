"""Root search along rays from the optimum: where the profile statistic reaches its threshold."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.engine.descent import descend
from jaxscale.engine.newton import CONVERGED, FLAT
from jaxscale.engine.runner import Runner
from jaxscale.law import Support, positive, unit
from jaxscale.profiling.constrained_newton import minimise_constrained
from jaxscale.profiling.likelihood_ratio import ProfileSetup, hold_parameters
from jaxscale.results.quantities import Quantity
from jaxscale.utils.arrays import Value

# Extent of the search: in standard errors, and as the logarithm of a factor.
FURTHEST = 1e3
FACTOR = float(np.log(1e12))
# Relative tolerance of the root statistic at its threshold; most iterations.
NEAR = 1e-9
MOST = 80

Hold = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def to_unbounded(support: Support, value: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """A parameter's value on the unbounded scale: its logarithm or logit where its support is bounded."""
    if support is positive:
        return np.log(value)
    return np.log(value) - np.log1p(-value) if support is unit else value


def from_unbounded(support: Support, value: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """The inverse of :func:`to_unbounded`."""
    if support is positive:
        return np.exp(value)
    return 1 / (1 + np.exp(-value)) if support is unit else value


def unbounded_slope(support: Support, value: float) -> float:
    """The derivative of :func:`to_unbounded`."""
    if support is positive:
        return 1 / value
    return 1 / (value * (1 - value)) if support is unit else 1.0


def search_limit(support: Support, error: float) -> float:
    """Extent of the search, in standard errors on the unbounded scale."""
    return FURTHEST if support not in (positive, unit) else min(FURTHEST, FACTOR / error)


@dataclass(frozen=True)
class Rays:
    """Rays along which quantities are held at values that depend on the distance x from the optimum.

    Args:
        setup: the optimum and the unit of the statistic.
        hold: maps indices of rays, distances and starts of shape (size, lanes) to coordinates and objectives.
        tangent: derivative of the coordinates in x at the optimum, shape (size, rays).
        unit: of the statistic, shape (rays,).
        limit: the largest x, shape (rays,).
    """

    setup: ProfileSetup
    hold: Hold
    tangent: Float[np.ndarray, "size ray"]
    unit: Float[np.ndarray, " ray"]
    limit: Float[np.ndarray, " ray"]

    def at(
        self,
        index: Int[np.ndarray, " place"],
        x: Float[np.ndarray, " place"],
        starts: list[Float[np.ndarray, "size place"]],
    ) -> tuple[Float[np.ndarray, "size place"], Float[np.ndarray, " place"]]:
        """Coordinates and statistics at given distances, each the best of several starts of shape (size, k)."""
        count, k = len(starts), len(index)
        z, f = self.hold(np.tile(index, count), np.tile(x, count), np.concatenate(starts, axis=1))
        table = np.where(np.isfinite(f), f, np.inf).reshape(count, k)
        best = np.argmin(table, axis=0)
        z = z.reshape(-1, count, k)[:, best, np.arange(k)]
        return z, 2 * (table[best, np.arange(k)] - self.setup.f) / self.unit[index]


def parameter_rays(
    runner: Runner,
    setup: ProfileSetup,
    steps: Float[np.ndarray, "ray free"],
    held: Bool[np.ndarray, "ray free"],
    units: Float[np.ndarray, " ray"],
    limit: Float[np.ndarray, " ray"],
) -> Rays:
    """Rays along which parameters are held.

    Args:
        runner: where it runs.
        setup: the optimum and the unit of the statistic.
        steps: derivative of the parameters in x on the unbounded scale, shape (rays, p).
        held: which parameters each ray holds, shape (rays, p).
        units: of the statistic, shape (rays,).
        limit: the largest x, shape (rays,).
    """
    problem, wide = setup.problem, setup.wide
    supports = [problem.law.parameters[name].support for name in problem.free]

    def hold(
        index: Int[np.ndarray, " lane"], x: Float[np.ndarray, " lane"], z: Float[np.ndarray, "size lane"]
    ) -> tuple[Float[np.ndarray, "size lane"], Float[np.ndarray, " lane"]]:
        lanes = hold_parameters(problem, held[index], values_on(setup, steps[index] * x[:, None]))
        ended = descend(runner, lanes, z, wide.response, wide.weight, direct=True, warm=True)
        failed = np.flatnonzero(~np.isin(ended.status, (CONVERGED, FLAT)))
        if len(failed):
            retry = descend(runner, lanes.own(failed), z[:, failed], wide.response, wide.weight)
            better = failed[(retry.local.f < ended.local.f[failed]) | ~np.isfinite(ended.local.f[failed])]
            use = np.isin(failed, better)
            ended.z[:, better], ended.local.f[better] = retry.z[:, use], retry.local.f[use]
        return ended.z, ended.local.f

    moved = np.zeros((len(setup.z), len(steps)))
    value = np.array([float(setup.linear.params[name]) for name in problem.free])
    slope = (
        setup.linear.change * np.array([unbounded_slope(s, v) for s, v in zip(supports, value, strict=True)])[:, None]
    )
    for ray, (step, which) in enumerate(zip(steps, held, strict=True)):
        a = slope[which]
        moved[:, ray] = setup.covariance @ a.T @ np.linalg.solve(a @ setup.covariance @ a.T, step[which])
    return Rays(setup, hold, moved, units, limit)


def values_on(setup: ProfileSetup, moved: Float[np.ndarray, "lane free"]) -> Float[np.ndarray, "lane free"]:
    """Values of the free parameters at given offsets from the optimum on the unbounded scale, shape (lanes, p)."""
    values = np.zeros_like(moved)
    for k, name in enumerate(setup.problem.free):
        support = setup.problem.law.parameters[name].support
        middle = to_unbounded(support, np.asarray(setup.linear.params[name]))
        values[:, k] = from_unbounded(support, middle + moved[:, k])
    return values


def derived_rays(
    runner: Runner,
    setup: ProfileSetup,
    of: tuple[Quantity, ...],
    middle: Float[np.ndarray, " quantity"],
    slope: Float[np.ndarray, "quantity size"],
    error: Float[np.ndarray, " quantity"],
    side: Float[np.ndarray, " ray"],
    which: Int[np.ndarray, " ray"],
    units: Float[np.ndarray, " ray"],
) -> Rays:
    """Rays along which derived quantities are held: ray r holds ``which[r]`` at ``middle + side * error * x``.

    Args:
        runner: where it runs.
        setup: the optimum and the unit of the statistic.
        of: the quantities.
        middle: their values at the optimum, shape (k,).
        slope: their derivatives in the coordinates, shape (k, size).
        error: their standard errors, shape (k,).
        side: -1 or 1, shape (rays,).
        which: shape (rays,).
        units: of the statistic, shape (rays,).
    """
    wide = setup.wide

    def hold(
        index: Int[np.ndarray, " lane"], x: Float[np.ndarray, " lane"], z: Float[np.ndarray, "size lane"]
    ) -> tuple[Float[np.ndarray, "size lane"], Float[np.ndarray, " lane"]]:
        k = which[index]
        goal = middle[k] + side[index] * error[k] * x
        return minimise_constrained(runner, setup.problem, of, z, k, goal, error[k], wide.response, wide.weight)

    toward = setup.covariance @ slope.T
    toward = toward / np.sum(slope.T * toward, axis=0) * error
    return Rays(setup, hold, toward[:, which] * side, units, np.full(len(side), FURTHEST))


def crossing(
    rays: Rays, threshold: Float[np.ndarray, " ray"]
) -> tuple[Float[np.ndarray, " ray"], Float[np.ndarray, "size ray"]]:
    """The distance on every ray at which the root statistic reaches its threshold.

    A bracketed secant search: the root statistic is nearly linear, so it takes few iterations. Each iteration refits
    all active rays in one batch, each from two starts.

    Args:
        rays: the rays.
        threshold: of the root statistic, shape (rays,).

    Returns:
        Distances, infinite where the threshold is not reached, and the coordinates there or at the last point.
    """
    count = len(threshold)
    low, low_root = np.zeros(count), np.zeros(count)
    high, high_root = np.full(count, np.inf), np.full(count, np.inf)
    low_z = np.repeat(rays.setup.z[:, None], count, axis=1)
    high_z = low_z.copy()
    last, last_root = low.copy(), low_root.copy()
    width, slow = high.copy(), np.zeros(count, int)
    x = np.minimum(threshold, rays.limit)
    distance, going = np.full(count, np.inf), np.ones(count, bool)
    for _ in range(MOST):
        k = np.flatnonzero(going)
        if not len(k):
            break
        ahead = low_z[:, k] + rays.tangent[:, k] * (x - low)[k]
        closed = np.isfinite(high_root[k])
        share = np.where(closed, (x - low)[k] / np.where(closed, (high - low)[k], 1.0), 0.0)
        z, statistic = rays.at(k, x[k], [ahead, low_z[:, k] + share * (high_z - low_z)[:, k]])
        root = np.sqrt(np.maximum(statistic, 0.0))
        below = root < threshold[k]
        up, down = k[below], k[~below]
        low[up], low_root[up], low_z[:, up] = x[up], root[below], z[:, below]
        high[down], high_root[down], high_z[:, down] = x[down], root[~below], z[:, ~below]
        near = np.abs(root - threshold[k]) <= NEAR * threshold[k]
        # A jump: the refit changes its basin there, or the objective is undefined beyond.
        jump = np.isfinite(high[k]) & (high[k] - low[k] <= 1e-10 * high[k])
        distance[k[near]] = x[k[near]]
        leaps = k[jump & ~near & np.isfinite(high_root[k])]
        distance[leaps] = high[leaps]
        going[k] = ~(near | jump | (below & (x[k] >= rays.limit[k])))
        with np.errstate(all="ignore"):
            secant = x[k] + (threshold[k] - root) * (x[k] - last[k]) / (root - last_root[k])
        last[k], last_root[k] = x[k], root
        bounded = np.isfinite(high[k])
        slow[k] = np.where(high[k] - low[k] <= 0.5 * width[k], 0, slow[k] + bounded)
        width[k] = np.where(slow[k] == 0, high[k] - low[k], width[k])
        inside = np.isfinite(secant) & (secant > low[k]) & (secant < high[k]) & (slow[k] < 3)
        middle = np.where(bounded, 0.5 * (low[k] + np.where(bounded, high[k], 0.0)), 4 * low[k])
        guess = np.where(inside, secant, middle)
        slow[k[slow[k] >= 3]] = 0
        x[k] = np.where(bounded, guess, np.clip(guess, 1.05 * low[k], np.minimum(4 * low[k], rays.limit[k])))
    ends = np.where(np.isfinite(high_root) & (np.abs(high_root - threshold) < np.abs(low_root - threshold)), 1, 0)
    return distance, np.where(ends, high_z, low_z)
