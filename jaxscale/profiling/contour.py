"""Contours of the profile likelihood of two parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.runner import Runner
from jaxscale.law import Law
from jaxscale.profiling.likelihood_ratio import Ground, cluster_ratios, ground_of
from jaxscale.profiling.profile import METHOD
from jaxscale.profiling.ray_search import crossing, furthest, named_rays, values_on
from jaxscale.profiling.targets import named, wanted_of
from jaxscale.results.fit import Fit
from jaxscale.results.intervals import check_level
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice


@dataclass(frozen=True)
class Contour:
    """Where the statistic of two parameters, all others fitted, has some levels.

    Args:
        law: the law; its name where the fit was read from a file and the catalogue does not hold it.
        names: of the two parameters.
        levels: coverages.
        thresholds: of the statistic, one for each level.
        estimate: the two parameters at the optimum.
        polygons: shape (levels, points, 2), anticlockwise in the whitened plane; NaN where a ray does not end.
        about: how the statistic is made.
        notices: conditions that affect what the contours mean.
    """

    law: Law | str
    names: tuple[str, str]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    estimate: tuple[float, float]
    polygons: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every contour is closed."""
        return not self.notices

    def to_dict(self) -> dict[str, Any]:
        """The contours as plain numbers and lists."""
        return {
            "law": str(self.law),
            "method": METHOD,
            "names": list(self.names),
            "levels": list(self.levels),
            "thresholds": list(self.thresholds),
            "estimate": list(self.estimate),
            "polygons": self.polygons.tolist(),
            **self.about,
            "notices": [{"code": notice.code, "message": notice.message} for notice in self.notices],
        }


def contour(
    fit: Fit,
    params: Sequence[str] = ("alpha", "beta"),
    *,
    level: float | Sequence[float] = 0.9,
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
        params: two free parameters.
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
    wanted = wanted_of(fit, params)
    if len(wanted) != 2 or wanted[0] == wanted[1]:
        held = f"holds {', '.join(wanted)}" if wanted else "is empty"
        raise ArgumentError("params", f"must hold two different parameters, but {held}.")
    levels = tuple(float(one) for one in np.atleast_1d(np.asarray(level, float)))
    if not levels:
        raise ArgumentError("level", "must hold at least one number between 0 and 1, but is empty.")
    for one in levels:
        check_level(one)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 8:
        raise ArgumentError("points", f"must be a whole number of at least 8, but is {points!r}.")
    with jax.enable_x64(True):
        runner = Runner()
        ground = ground_of(runner, fit, observations)
        kind = named(runner, ground, wanted)
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


def _pair_quantile(ground: Ground, level: float) -> float:
    from scipy.special import fdtri

    return float(2 * fdtri(2, ground.freedom, level) if math.isfinite(ground.freedom) else -2 * np.log1p(-level))
