"""Plots of draws: trace plots, pair plots and forest plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxscale.plots.style import INK, LEVELS, POINT, few_ticks, freeze_layout, new_figure, tidy
from jaxscale.results.draws import Draws, scalars
from jaxscale.utils.errors import ArgumentError, did_you_mean

_CHAINS = ("#2a6f97", "#e07a5f", "#81b29a", "#8d6a9f", "#c9a227", "#4f772d", "#b56576", "#5c677d")
_BAD = "#c1121f"
# Most points of a scatter plot.
POINTS = 2000


def trace(draws: Draws, params: Sequence[str] | None = None) -> Any:
    """Trace plot: histograms by chain, and the draws in order, one row per quantity.

    Divergent draws are marked at the bottom.

    Args:
        draws: draws of any method.
        params: names to plot; default: the free and nuisance parameters (the first 12 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a name is unknown.
    """
    values = _select(draws, params, 12)
    figure, panels = new_figure((10.0, 0.5 + 1.5 * len(values)), len(values), 2, gridspec_kw={"width_ratios": [1, 2]})
    diverged = draws.stats.get("diverging", np.zeros(len(draws))).reshape(draws.chains, -1) > 0
    for (left, right), (name, several) in zip(panels, values.items(), strict=True):
        chains = several.reshape(draws.chains, -1)
        edges = np.histogram_bin_edges(several, 40)
        for k, chain in enumerate(chains):
            colour = _CHAINS[k % len(_CHAINS)]
            left.hist(chain, edges, density=True, histtype="step", color=colour, linewidth=1.1)
            right.plot(chain, color=colour, linewidth=0.5, alpha=0.8)
        where = np.flatnonzero(diverged.any(axis=0))
        right.plot(where, np.full(len(where), 0.02), "|", color=_BAD, transform=right.get_xaxis_transform(), zorder=5)
        left.set_xlabel(name)
        left.set_yticks([])
        right.set_ylabel(name)
        right.set_xlim(0, chains.shape[1])
        for axes in (left, right):
            tidy(axes)
        few_ticks(left, False)
    panels[-1][1].set_xlabel("draw of the chain" if draws.chains > 1 else "draw")
    description = (
        "independent draws" if draws.method != "nuts" else f"{draws.chains} chains, {diverged.sum()} divergences"
    )
    figure.suptitle(f"{draws.law}, {draws.method}: {description}", fontsize=11, color=INK)
    return freeze_layout(figure)


def pair(draws: Draws, params: Sequence[str] | None = None) -> Any:
    """Pair plot: scatter plots of all pairs of quantities, histograms on the diagonal, divergences in red.

    Args:
        draws: draws of any method.
        params: names to plot; default: the free parameters (the first 8 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a name is unknown.
    """
    values = _select(draws, draws.free if params is None else params, 8)
    n = len(values)
    figure, panels = new_figure((1.2 + 1.7 * n, 0.8 + 1.6 * n), n, n, sharex="col")
    diverged = draws.stats.get("diverging", np.zeros(len(draws))) > 0
    step = max(1, len(draws) // POINTS)
    labels = list(values)
    for i, row in enumerate(panels):
        for j, axes in enumerate(row):
            if j > i:
                axes.set_visible(False)
                continue
            x = values[labels[j]]
            if i == j:
                axes.hist(x, 40, color=POINT, alpha=0.6)
                axes.set_yticks([])
            else:
                y = values[labels[i]]
                axes.scatter(x[::step], y[::step], s=3, color=POINT, alpha=0.25, linewidths=0, rasterized=True)
                axes.scatter(x[diverged], y[diverged], s=12, color=_BAD, linewidths=0, zorder=4)
            tidy(axes)
            few_ticks(axes, i != j)
            outer = j == 0 and i > 0
            axes.tick_params(axis="both", labelbottom=i == n - 1, left=outer, labelleft=outer)
            if i == n - 1:
                axes.set_xlabel(labels[j])
            if j == 0 and i > 0:
                axes.set_ylabel(labels[i])
    suffix = f", {diverged.sum()} divergences" if draws.method == "nuts" else ""
    figure.suptitle(f"{draws.law}, {draws.method}: {len(draws)} draws{suffix}", fontsize=11, color=INK)
    return freeze_layout(figure)


def forest(several: Mapping[str, Draws], params: Sequence[str] | None = None) -> Any:
    """Forest plot: 50 % and 90 % intervals of several methods or data sets, one panel per quantity.

    Args:
        several: label to draws.
        params: names to plot; default: the free parameters (the first 12 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: there are no draws, or a name is unknown.
    """
    if not several:
        raise ArgumentError("several", "must not be empty.")
    known: dict[str, dict[str, np.ndarray]] = {}
    for label, draws in several.items():
        for name, values in _select(draws, draws.free if params is None else params, 12).items():
            known.setdefault(name, {})[label] = values
    columns = min(len(known), 4)
    rows = -(-len(known) // columns)
    size = (1.6 + 2.5 * columns, rows * (1.1 + 0.26 * len(several)))
    figure, panels = new_figure(size, rows, columns, sharey=True)
    places = {label: -k for k, label in enumerate(several)}
    for axes, (name, values_by_label) in zip(panels.ravel(), known.items(), strict=False):
        for label, values in values_by_label.items():
            at, colour = places[label], _CHAINS[-places[label] % len(_CHAINS)]
            for (level, _), width in zip(LEVELS, (1.5, 5.0), strict=True):
                ends = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
                axes.plot(ends, [at, at], color=colour, linewidth=width, solid_capstyle="butt")
            axes.plot(np.median(values), at, "o", markersize=5, color="white", markeredgecolor=colour, zorder=3)
        tidy(axes)
        axes.set_xlabel(name)
        axes.set_yticks(list(places.values()), list(places))
        axes.set_ylim(-len(several) + 0.4, 0.6)
        few_ticks(axes, False)
    for axes in panels.ravel()[len(known) :]:
        axes.set_visible(False)
    laws = ", ".join(dict.fromkeys(str(draws.law) for draws in several.values()))
    figure.suptitle(f"{laws}: median, 50 % and 90 % intervals", fontsize=11, color=INK)
    return freeze_layout(figure)


def _select(draws: Draws, names: Sequence[str] | None, most: int) -> dict[str, np.ndarray]:
    """The quantities to plot by label, each of shape (draws,)."""
    known = {**draws.params, **draws.nuisance}
    selection = [*draws.free, *draws.nuisance] if names is None else list(names)
    for name in selection:
        if name not in known:
            raise ArgumentError(
                "params",
                f"holds {name!r}, which was not drawn{did_you_mean(name, known)}; there are {', '.join(known)}.",
            )
    entries = [entry for name in selection for entry in scalars(name, known[name], draws.groups)]
    if not entries:
        raise ArgumentError("params", "must name something that was drawn, but is empty.")
    return dict(entries[:most])
