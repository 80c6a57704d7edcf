"""Plots of profile likelihoods and contours."""

from typing import Any

import numpy as np

from jaxscale.plots.style import BAND, INK, POINT, new_panels, tidy
from jaxscale.profiling.contour import Contour
from jaxscale.profiling.profile import Profile


def plot_profile(profile: Profile) -> Any:
    """Plot profile likelihoods: the signed root of the statistic against the value, one panel per quantity.

    The dashed line is the Wald approximation; the band marks the threshold of the interval.

    Args:
        profile: from :func:`jaxscale.profile`.

    Returns:
        A matplotlib figure.
    """
    columns = min(len(profile.curves), 3)
    rows = -(-len(profile.curves) // columns)
    figure, panels = new_panels(rows, columns, (1.0 + 3.4 * columns, 0.8 + 2.9 * rows))
    for panel, (name, curve) in zip(panels, profile.curves.items(), strict=False):
        shown = np.isfinite(curve.root)
        values, root = curve.values[shown], curve.root[shown]
        straight = (values - curve.estimate) / curve.stderr
        ends = max(abs(root[0]), abs(root[-1]), 1.1 * profile.threshold)
        panel.axhspan(-profile.threshold, profile.threshold, color=BAND, alpha=0.2, linewidth=0)
        panel.plot(values, straight, color=BAND, linewidth=1.2, linestyle="--", label="standard error")
        panel.plot(values, root, color=POINT, linewidth=1.8, marker="o", markersize=3, label="profile")
        for end, side in ((curve.lower, -1), (curve.upper, 1)):
            if np.isfinite(end):
                panel.plot([end, end], [-1.15 * ends, side * profile.threshold], color=INK, linewidth=0.9)
        panel.plot(curve.estimate, 0, color=INK, marker="o", markersize=5)
        panel.set_ylim(-1.15 * ends, 1.15 * ends)
        panel.set_xlabel(name)
        tidy(panel)
    for panel in panels[len(profile.curves) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel("signed root of the statistic")
    panels[0].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{profile.law}: profiles with {100 * profile.level:g} % intervals", fontsize=11, color=INK)
    return figure


def plot_contour(contour: Contour) -> Any:
    """Plot profile likelihood contours of two parameters, the innermost darkest.

    Args:
        contour: from :func:`jaxscale.contour`.

    Returns:
        A matplotlib figure.
    """
    figure, (panel,) = new_panels(1, 1, (5.4, 4.6))
    shades = np.linspace(1.0, 0.4, len(contour.levels))[np.argsort(np.argsort(contour.levels))]
    for level, shade, polygon in zip(contour.levels, shades, contour.polygons, strict=True):
        closed = np.concatenate([polygon, polygon[:1]])
        panel.plot(*closed.T, color=POINT, alpha=shade, linewidth=1.8, label=f"{100 * level:g} %")
        if np.all(np.isfinite(polygon)):
            panel.fill(*closed.T, color=POINT, alpha=0.12, linewidth=0)
    panel.plot(*contour.estimate, color=INK, marker="o", markersize=5, linestyle="none", label="optimum")
    panel.set_xlabel(contour.names[0])
    panel.set_ylabel(contour.names[1])
    panel.legend(frameon=False, fontsize=9)
    tidy(panel)
    figure.suptitle(f"{contour.law}: contours of the profile likelihood", fontsize=11, color=INK)
    return figure
