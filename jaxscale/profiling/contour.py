"""Contours of the profile likelihood of two parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.engine.runner import Runner
from jaxscale.law import Law
from jaxscale.profiling.likelihood_ratio import ProfileSetup, cluster_ratios, profile_setup
from jaxscale.profiling.profile import METHOD
from jaxscale.profiling.ray_search import crossing, parameter_rays, search_limit, values_on
from jaxscale.profiling.targets import parameter_targets, validate_params
from jaxscale.results.fit import Fit
from jaxscale.results.intervals import check_level
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice


@dataclass(frozen=True)
class Contour:
    """Contours of the profile likelihood of two parameters.

    Args:
        law: the law; its name where the fit was read from a file and the catalogue does not hold it.
        names: names of the two parameters.
        levels: coverages.
        thresholds: of the statistic, one per level.
        estimate: the two parameters at the optimum.
        polygons: shape (levels, points, 2), anticlockwise in the whitened plane; NaN where a contour is open.
        about: definition of the statistic.
        notices: conditions that affect the interpretation of the contours.
    """

    law: Law | str
    names: tuple[str, str]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    estimate: tuple[float, float]
    polygons: Float[np.ndarray, "level point 2"]
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
    """Profile likelihood contours of two parameters, with all others refitted at every point.

    On each contour the statistic of :func:`profile` equals ``2 F(2, n - p)`` (chi-squared with 2 degrees of freedom
    for Student's t); where runs have several rows it is divided by the mean of the two generalised variance ratios
    (Rao and Scott 1984). Points lie on rays from the optimum, evenly spaced in the plane that whitens the covariance.

    Args:
        fit: the fit.
        params: two free parameters.
        level: coverages, between 0 and 1.
        points: number of rays.
        observations: the fitted observations, where the fit was read from a file.

    Returns:
        The contours, with numbers in float64.

    Raises:
        TypeError: fit is not a Fit.
        ValueError: an argument is invalid, or the fit cannot be profiled.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis, chapter 6; Rao and Scott (1984), Annals of
    Statistics 12.
    """
    names = validate_params(fit, params)
    if len(names) != 2 or names[0] == names[1]:
        held = f"holds {', '.join(names)}" if names else "is empty"
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
        setup = profile_setup(runner, fit, observations)
        targets = parameter_targets(runner, setup, names)
        unit = setup.unit * float(np.mean(np.diag(cluster_ratios(setup, targets.slope))))
        lower = np.linalg.cholesky(unit * targets.slope @ setup.covariance @ targets.slope.T)
        angle = 2 * np.pi * np.arange(points) / points
        directions = (lower @ np.stack([np.cos(angle), np.sin(angle)])).T
        rays = len(levels) * points
        place = [setup.problem.free.index(name) for name in names]
        steps, held = np.zeros((rays, len(setup.problem.free))), np.zeros((rays, len(setup.problem.free)), bool)
        steps[:, place], held[:, place] = np.tile(directions, (len(levels), 1)), True
        reach = (
            np.array([search_limit(*pair) for pair in zip(targets.supports, targets.error, strict=True)])
            * targets.error
        )
        limit = np.min(reach / np.maximum(np.abs(steps[:, place]), 1e-300), axis=1)
        thresholds = tuple(_pair_quantile(setup, one) for one in levels)
        lines = parameter_rays(runner, setup, steps, held, np.full(rays, unit), limit)
        x, _ = crossing(lines, np.repeat(np.sqrt(thresholds), points))
        ends = values_on(setup, steps * np.where(np.isfinite(x), x, 0.0)[:, None])[:, place]
    ends[~np.isfinite(x)] = np.nan
    polygons = ends.reshape(len(levels), points, 2)
    notices = [
        Notice(
            "open_profile", f"The contour of {' and '.join(names)} at level {one:g} is open in {open_rays} directions."
        )
        for one, open_rays in zip(levels, np.isnan(polygons[..., 0]).sum(axis=1), strict=True)
        if open_rays
    ]
    estimate = (float(setup.linear.params[names[0]]), float(setup.linear.params[names[1]]))
    pair = (names[0], names[1])
    return Contour(fit.law, pair, levels, thresholds, estimate, polygons, setup.about, tuple(notices))


def _pair_quantile(setup: ProfileSetup, level: float) -> float:
    from scipy.special import fdtri

    return float(2 * fdtri(2, setup.freedom, level) if math.isfinite(setup.freedom) else -2 * np.log1p(-level))
