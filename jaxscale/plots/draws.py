"""Plots of draws: traces, pairs, intervals side by side, prediction bands and posterior predictive checks.

Figures are drawn without pyplot, as those of :mod:`jaxscale.plots.fit`, whose ``save`` writes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.law import positive
from jaxscale.noise import likelihoods
from jaxscale.noise.losses import SPACES
from jaxscale.plots.fit import _BACK, _BAND, _INK, _POINT, _input_label, _labelled, _log_axis, _response_name, _tidy
from jaxscale.results.draws import Draws, scalars
from jaxscale.utils.errors import did_you_mean
from jaxscale.utils.random import generator_of

_CHAINS = ("#2a6f97", "#e07a5f", "#81b29a", "#8d6a9f", "#c9a227", "#4f772d", "#b56576", "#5c677d")
_BAD = "#c1121f"
# Intervals that are drawn, wide ones first, with the strength of their colour.
LEVELS = ((0.9, 0.25), (0.5, 0.5))
# Draws that predictions are made from, and points of a cloud.
ENOUGH, POINTS = 4000, 2000


def trace(draws: Draws, names: Sequence[str] | None = None) -> Any:
    """How every number spreads and moves, one row each: the histogram of every chain, and the draws in their order.

    Chains that have mixed lie over each other on the left and look alike on the right. Draws that diverged have a
    mark at the bottom.

    Args:
        draws: of any method.
        names: what to draw; the free parameters and the nuisance unless given (the first 12 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: there is no such name.
    """
    values = _chosen(draws, names, 12)
    figure, panels = _figure((10.0, 0.5 + 1.5 * len(values)), len(values), 2, gridspec_kw={"width_ratios": [1, 2]})
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
            _tidy(axes)
        _few_ticks(left, False)
    panels[-1][1].set_xlabel("draw of the chain" if draws.chains > 1 else "draw")
    told = "independent draws" if draws.method != "nuts" else f"{draws.chains} chains, {diverged.sum()} divergences"
    figure.suptitle(f"{draws.law}, {draws.method}: {told}", fontsize=11, color=_INK)
    return _frozen(figure)


def pair(draws: Draws, names: Sequence[str] | None = None) -> Any:
    """Every number against every other, and their histograms on the diagonal; draws that diverged in red.

    Args:
        draws: of any method.
        names: what to draw; the free parameters unless given (the first 8 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: there is no such name.
    """
    values = _chosen(draws, draws.free if names is None else names, 8)
    n = len(values)
    figure, panels = _figure((1.2 + 1.7 * n, 0.8 + 1.6 * n), n, n, sharex="col")
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
                axes.hist(x, 40, color=_POINT, alpha=0.6)
                axes.set_yticks([])
            else:
                y = values[labels[i]]
                axes.scatter(x[::step], y[::step], s=3, color=_POINT, alpha=0.25, linewidths=0, rasterized=True)
                axes.scatter(x[diverged], y[diverged], s=12, color=_BAD, linewidths=0, zorder=4)
            _tidy(axes)
            _few_ticks(axes, i != j)
            outer = j == 0 and i > 0
            axes.tick_params(axis="both", labelbottom=i == n - 1, left=outer, labelleft=outer)
            if i == n - 1:
                axes.set_xlabel(labels[j])
            if j == 0 and i > 0:
                axes.set_ylabel(labels[i])
    told = f", {diverged.sum()} divergences" if draws.method == "nuts" else ""
    figure.suptitle(f"{draws.law}, {draws.method}: {len(draws)} draws{told}", fontsize=11, color=_INK)
    return _frozen(figure)


def forest(several: Mapping[str, Draws], names: Sequence[str] | None = None) -> Any:
    """Intervals of the same number from several methods or data sets, one panel a number: 50 % thick, 90 % thin.

    Args:
        several: what to call them, to draws.
        names: what to draw; every free parameter unless given (the first 12 numbers).

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: there is nothing to draw, or no such name.
    """
    if not several:
        raise ValueError("Argument several must not be empty.")
    known: dict[str, dict[str, np.ndarray]] = {}
    for label, draws in several.items():
        for name, values in _chosen(draws, draws.free if names is None else names, 12).items():
            known.setdefault(name, {})[label] = values
    columns = min(len(known), 4)
    rows = -(-len(known) // columns)
    size = (1.6 + 2.5 * columns, rows * (1.1 + 0.26 * len(several)))
    figure, panels = _figure(size, rows, columns, sharey=True)
    places = {label: -k for k, label in enumerate(several)}
    for axes, (name, found) in zip(panels.ravel(), known.items(), strict=False):
        for label, values in found.items():
            at, colour = places[label], _CHAINS[-places[label] % len(_CHAINS)]
            for (level, _), width in zip(LEVELS, (1.5, 5.0), strict=True):
                ends = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
                axes.plot(ends, [at, at], color=colour, linewidth=width, solid_capstyle="butt")
            axes.plot(np.median(values), at, "o", markersize=5, color="white", markeredgecolor=colour, zorder=3)
        _tidy(axes)
        axes.set_xlabel(name)
        axes.set_yticks(list(places.values()), list(places))
        axes.set_ylim(-len(several) + 0.4, 0.6)
        _few_ticks(axes, False)
    for axes in panels.ravel()[len(known) :]:
        axes.set_visible(False)
    laws = ", ".join(dict.fromkeys(draws.law for draws in several.values()))
    figure.suptitle(f"{laws}: median, 50 % and 90 % intervals", fontsize=11, color=_INK)
    return _frozen(figure)


def band(
    draws: Draws,
    observations: Observations,
    input: str,
    at: Mapping[str, Any] | None = None,
    *,
    to: float | None = None,
    group: int = 0,
    key: Any = 0,
) -> Any:
    """Bands of 50 % and 90 % for new responses along one input, as far as a forecast goes; below, about the median.

    Observations are moved to the other inputs' values by the law's median, in the space of the residuals: they show
    the residuals of all rows about the curve. Dashed lines hold 90 % of the law itself, without the scatter of single
    responses; without a model there are only these.

    Args:
        draws: of any method.
        observations: what to draw beside the bands.
        input: the input along the horizontal axis.
        at: the other inputs' values: numbers, or functions of the first input, such as ``lambda N: 20 * N``.
        to: where the bands end; ten times the largest observed input unless given.
        group: the group whose parameters and observations are drawn, where groups have their own.
        key: seed of the scatter.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: an input is unknown or missing, or ``to`` lies below the observations.
    """
    law = draws._law()
    at = dict(at or {})
    for name in (input, *at):
        if name not in law.inputs:
            what = "input" if name == input else "at"
            raise ValueError(
                f"Argument {what} names {name!r}, which is no input of {law.name}{did_you_mean(name, law.inputs)}"
            )
    missing = [name for name in law.inputs if name not in (input, *at)]
    if missing:
        raise ValueError(f"Argument at must give {', '.join(missing)}, which {law.name} needs beside {input}.")
    observations = prepare(law, observations)
    used = observations.weight > 0
    if observations.group is not None and any(values.ndim > 1 for values in draws.params.values()):
        used &= observations.group == group
    draws = _thinned(draws).of_group(group) if draws.groups else _thinned(draws)
    x = observations.inputs[input][used]
    end = float(10 * x.max() if to is None else to)
    if not end > x.min():
        raise ValueError(f"Argument to must lie above the smallest observed {input}, {x.min():g}, but is {end:g}.")
    log = x.min() > 0
    line = np.geomspace(x.min(), end, 100) if log else np.linspace(x.min(), end, 100)
    level = draws.predict(**_placed(law, input, line, at))
    space = "linear" if draws.scatter is None else draws.scatter.space
    forward, backward = _into(space), _BACK[space]
    rows = {name: observations.inputs[name][..., used] for name in law.inputs}
    here = forward(np.median(draws.predict(**rows), axis=0))
    there = forward(np.median(draws.predict(**_placed(law, input, x, at)), axis=0))
    moved = backward(forward(observations.response[used]) + there - here)

    new = None if draws.scatter is None else _new(draws, draws.scatter, level, line, observations, key)
    middle, centre = np.median(level, axis=0), forward(np.median(level, axis=0))
    factor = 100 if space == "log" else 1
    told = ", ".join(f"its {name}" if callable(value) else f"{name} = {value:.4g}" for name, value in at.items())
    figure, ((top,), (bottom,)) = _figure((7.5, 6.4), 2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    for axes, shown in ((top, lambda y, _: y), (bottom, lambda y, about: factor * (forward(y) - about))):
        if new is not None:
            for share, strength in LEVELS:
                low, high = shown(np.quantile(new, [0.5 - share / 2, 0.5 + share / 2], axis=0), centre)
                label = f"{100 * share:g} % of new responses"
                axes.fill_between(line, low, high, color=_POINT, alpha=strength, linewidth=0, label=label)
        axes.plot(line, shown(middle, centre), color=_INK, linewidth=1.2, label="median of the law")
        ends = shown(np.quantile(level, [0.05, 0.95], axis=0), centre)
        axes.plot(line, ends.T, "--", color=_INK, linewidth=0.8, label=["90 % of the law", None])
        label = f"observations, moved to {told}" if at else "observations"
        style: dict[str, Any] = {"s": 20, "color": "white", "edgecolors": _INK, "linewidths": 0.8, "zorder": 3}
        axes.scatter(x, shown(moved, there), label=label, **style)
        axes.axvline(x.max(), color=_BAND, linewidth=0.8, linestyle=":")
        _tidy(axes)
    if log:
        _log_axis(bottom.xaxis, line)
    if law.response.domain is positive and middle.max() > 1.5 * middle.min():
        _log_axis(top.yaxis, np.concatenate([middle, moved]))
    unit = {"log": "%", "logit": "logit", "linear": law.response.unit}[space]
    top.set_ylabel(_labelled(_response_name(observations), law.response.unit))
    bottom.set_ylabel(_labelled("above the median", unit))
    bottom.set_xlabel(_input_label(law, observations, input))
    top.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{draws.law}, {draws.method}", fontsize=11, color=_INK)
    return _frozen(figure)


def predictive(draws: Draws, *, key: Any = 0) -> Any:
    """Posterior predictive check: what was observed against what the model would replicate.

    Left, every row about the law's median in the space of the residuals, with the 50 % and 90 % intervals of its
    replicated responses. Right, the sorted observed residuals against the median of the sorted replicated ones, with
    the bands in which these lie: a curve that leaves them shows scatter of another shape than the likelihood's.

    Args:
        draws: of a posterior, with its model.
        key: seed of the replicated responses.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: the draws have no model.
    """
    if draws.model is None:
        raise ValueError(
            f"These draws ({draws.method}) have no model whose responses could be replicated; draw with posterior."
        )
    draws = _thinned(draws)
    model, generator = draws.model, generator_of(key)[1]
    used = np.asarray(model.data["weight"]) > 0
    sites = {**draws.params, **draws.nuisance}
    with jax.enable_x64(True):
        level = np.asarray(_levels(model, {name: sites[name] for name in model.shapes}))[:, used]
        data = {name: np.asarray(values)[used] for name, values in model.data.items()}
        new = likelihoods.replicated(model.likelihood, generator, draws.nuisance, level, data)
    forward, middle = _into(model.likelihood.space), np.median(level, axis=0)
    observed = forward(np.asarray(model.response)[used]) - forward(middle)
    new = forward(new) - forward(middle)
    logarithmic = model.likelihood.space == "log"
    observed, new = (100 * observed, 100 * new) if logarithmic else (observed, new)
    unit = {"log": "%", "logit": "logit", "linear": model.law.response.unit}[model.likelihood.space]

    figure, ((left, right),) = _figure((10.0, 4.4), 1, 2)
    order = np.argsort(middle, kind="stable")
    place = np.arange(1, len(order) + 1)
    ranked = np.sort(new, axis=1)
    expected = np.median(ranked, axis=0)
    for share, strength in LEVELS:
        ends = [0.5 - share / 2, 0.5 + share / 2]
        low, high = np.quantile(new[:, order], ends, axis=0)
        left.vlines(place, low, high, color=_POINT, alpha=strength + 0.1, linewidth=2.5, label=f"{100 * share:g} %")
        low, high = np.quantile(ranked, ends, axis=0)
        label = f"{100 * share:g} % of replicated"
        right.fill_between(expected, low, high, color=_POINT, alpha=strength, linewidth=0, label=label)
    left.plot(place, observed[order], "o", markersize=3.5, color=_INK, label="observed")
    right.plot(expected, expected, color=_INK, linewidth=0.8)
    right.plot(expected, np.sort(observed), "o", markersize=3.5, color=_INK, label="observed")
    left.set_xlabel("row, in the order of the law's value")
    left.set_ylabel(_labelled("response above the law", unit))
    right.set_xlabel(_labelled("sorted replicated residuals, median", unit))
    right.set_ylabel(_labelled("sorted observed residuals", unit))
    for axes in (left, right):
        _tidy(axes)
    left.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    right.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{draws.law}: {model.likelihood.describe()}", fontsize=11, color=_INK)
    return _frozen(figure)


def _into(space: str) -> Callable[[Any], np.ndarray]:
    """Responses to the space of the residuals, in float64."""

    def forward(y: Any) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(SPACES[space][1](np.asarray(y, float)))

    return forward


@jax.jit
def _levels(model: Any, sites: dict[str, Any]) -> Any:
    return jax.lax.map(model.level, sites, batch_size=256)


def _new(
    draws: Draws, scatter: likelihoods.Likelihood, level: np.ndarray, line: np.ndarray, rows: Observations, key: Any
) -> np.ndarray:
    """New responses along a line, each of a run of its own; counts have the observed trials' median."""
    data: dict[str, np.ndarray] = {"run": np.arange(len(line)), "group": np.zeros(len(line), int)}
    for name in scatter.columns:
        data[name] = np.full(len(line), round(float(np.median(rows.inputs[name]))))
    with jax.enable_x64(True):
        return likelihoods.replicated(scatter, generator_of(key)[1], draws.nuisance, level, data)


def _placed(law: Any, input: str, x: np.ndarray, at: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All inputs of a law where one has the values x and the others are as told."""
    own = {name: np.broadcast_to(np.asarray(v(x) if callable(v) else v, float), x.shape) for name, v in at.items()}
    return {name: x if name == input else own[name] for name in law.inputs}


def _thinned(draws: Draws) -> Draws:
    """At most :data:`ENOUGH` of the draws, evenly."""
    step = -(-len(draws) // ENOUGH)
    part = {
        field: {name: values[::step] for name, values in getattr(draws, field).items()}
        for field in ("params", "nuisance", "stats")
    }
    return replace(draws, chains=1, **part)


def _chosen(draws: Draws, names: Sequence[str] | None, most: int) -> dict[str, np.ndarray]:
    """The numbers to draw by label, each of shape (draws,)."""
    known = {**draws.params, **draws.nuisance}
    wanted = [*draws.free, *draws.nuisance] if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"Argument names holds {name!r}, which was not drawn{did_you_mean(name, known)}; there are "
                f"{', '.join(known)}."
            )
    found = [entry for name in wanted for entry in scalars(name, known[name])]
    if not found:
        raise ValueError("Argument names must name something that was drawn, but is empty.")
    return dict(found[:most])


def _figure(size: tuple[float, float], rows: int, columns: int, **settings: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def _frozen(figure: Any) -> Any:
    """The figure with its panels where they are, so that it is the same whenever it is written."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _few_ticks(axes: Any, both: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(3))
    if both:
        axes.yaxis.set_major_locator(MaxNLocator(3))
