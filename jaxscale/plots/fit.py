"""Plots: how well a law describes its data; the shape of a law; the profiles and contours of a fit.

Figures are drawn without pyplot, so no window opens and no backend is chosen for the caller.
"""

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.law import Law, positive
from jaxscale.law.curve import curve, is_wide
from jaxscale.laws import get
from jaxscale.noise.losses import SPACES
from jaxscale.profiling.contour import Contour
from jaxscale.profiling.profile import Profile
from jaxscale.results.fit import Fit
from jaxscale.utils.files import write_atomically

ENDINGS = ("png", "svg", "pdf")
_BACK = {"linear": lambda t: t, "log": np.exp, "logit": lambda t: 1 / (1 + np.exp(-t))}
_INK, _POINT, _BAND = "#222222", "#2a6f97", "#9aa5b1"


def plot(fit: Fit, observations: Observations) -> Any:
    """Draw a fit: responses against predictions (or against the only input), and residuals.

    Rows of weight 0 are left out. The band is twice the residuals' root mean square.

    Args:
        fit: the fit.
        observations: what it was fitted to.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: the observations lack an input of the law.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    law = fit.law_object or get(fit.law)
    observations = prepare(law, observations)
    used = observations.weight > 0
    inputs = {name: observations.inputs[name][..., used] for name in law.inputs if name in observations.inputs}
    y = observations.response[used]
    predicted = np.asarray(fit(**inputs))
    plain = [name for name in inputs if inputs[name].ndim == 1]
    ranked = sorted(plain, key=lambda name: -_spread(inputs[name]))
    residual = _transformed(fit, predicted) - _transformed(fit, y)

    figure = Figure(figsize=(10, 4.4), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    shade = ranked[min(1, len(ranked) - 1)]
    colour = inputs[shade] if len(inputs) > 1 else None
    if colour is None:
        _curve(left, fit, law, observations, inputs[ranked[0]], y)
    else:
        _agreement(left, fit, law, observations, predicted, y, colour)
    points = _residuals(right, fit, law, observations, ranked[0], inputs[ranked[0]], residual, colour)
    if colour is not None:
        bar = figure.colorbar(points, ax=[left, right], pad=0.01, aspect=30)
        bar.set_label(_input_label(law, observations, shade))
        bar.outline.set_visible(False)
    figure.suptitle(_title(fit), fontsize=11, color=_INK)
    # Every drawing would otherwise arrange the panels anew, from where the last one left them.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def plot_law(law: Law) -> Any:
    """Draw the shape of a law: the response along each input, the others in the middle of their sizes.

    Args:
        law: the law, at its typical constants.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(law.inputs), 3)
    rows = -(-len(law.inputs) // columns)
    figure = Figure(figsize=(1.0 + 3.6 * columns, 0.6 + 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    drawn = {name: curve(law, name) for name in law.inputs}
    wide = is_wide(np.concatenate([y for _, y in drawn.values()]))
    for panel, (name, (x, y)) in zip(panels, drawn.items(), strict=False):
        panel.plot(x, y, color=_POINT)
        panel.set_xscale("log" if x[0] > 0 else "linear")
        panel.set_yscale("log" if wide else "linear")
        unit = law.inputs[name].unit
        panel.set_xlabel(f"{name} ({unit})" if unit else name)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(drawn) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel(law.response.unit or "response")
    figure.suptitle(law.name, fontsize=11, color=_INK)
    return figure


def plot_profile(profile: Profile) -> Any:
    """Draw profiles, one panel a quantity: the signed root of the statistic against the value held.

    The dashed line is what the standard error alone would say; the band holds the interval.

    Args:
        profile: from :func:`jaxscale.profile`.

    Returns:
        A matplotlib figure.
    """
    columns = min(len(profile.curves), 3)
    rows = -(-len(profile.curves) // columns)
    figure, panels = _panels(rows, columns, (1.0 + 3.4 * columns, 0.8 + 2.9 * rows))
    for panel, (name, one) in zip(panels, profile.curves.items(), strict=False):
        shown = np.isfinite(one.root)
        values, root = one.values[shown], one.root[shown]
        straight = (values - one.estimate) / one.stderr
        ends = max(abs(root[0]), abs(root[-1]), 1.1 * profile.threshold)
        panel.axhspan(-profile.threshold, profile.threshold, color=_BAND, alpha=0.2, linewidth=0)
        panel.plot(values, straight, color=_BAND, linewidth=1.2, linestyle="--", label="standard error")
        panel.plot(values, root, color=_POINT, linewidth=1.8, marker="o", markersize=3, label="profile")
        for end, side in ((one.lower, -1), (one.upper, 1)):
            if np.isfinite(end):
                panel.plot([end, end], [-1.15 * ends, side * profile.threshold], color=_INK, linewidth=0.9)
        panel.plot(one.estimate, 0, color=_INK, marker="o", markersize=5)
        panel.set_ylim(-1.15 * ends, 1.15 * ends)
        panel.set_xlabel(name)
        _tidy(panel)
    for panel in panels[len(profile.curves) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel("signed root of the statistic")
    panels[0].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{profile.law}: profiles with {100 * profile.level:g} % intervals", fontsize=11, color=_INK)
    return figure


def plot_contour(contour: Contour) -> Any:
    """Draw the contours of two parameters around the optimum, the innermost darkest.

    Args:
        contour: from :func:`jaxscale.contour`.

    Returns:
        A matplotlib figure.
    """
    figure, (panel,) = _panels(1, 1, (5.4, 4.6))
    shades = np.linspace(1.0, 0.4, len(contour.levels))[np.argsort(np.argsort(contour.levels))]
    for level, shade, polygon in zip(contour.levels, shades, contour.polygons, strict=True):
        closed = np.concatenate([polygon, polygon[:1]])
        panel.plot(*closed.T, color=_POINT, alpha=shade, linewidth=1.8, label=f"{100 * level:g} %")
        if np.all(np.isfinite(polygon)):
            panel.fill(*closed.T, color=_POINT, alpha=0.12, linewidth=0)
    panel.plot(*contour.estimate, color=_INK, marker="o", markersize=5, linestyle="none", label="optimum")
    panel.set_xlabel(contour.names[0])
    panel.set_ylabel(contour.names[1])
    panel.legend(frameon=False, fontsize=9)
    _tidy(panel)
    figure.suptitle(f"{contour.law}: contours of the profile likelihood", fontsize=11, color=_INK)
    return figure


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure that belongs to no backend, and its panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def render(figure: Any, ending: str) -> bytes:
    """A figure as the bytes of a file; the same figure gives the same bytes.

    Args:
        figure: from :func:`plot`.
        ending: "png", "svg" or "pdf".
    """
    import matplotlib

    buffer = io.BytesIO()
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    with matplotlib.rc_context({"svg.hashsalt": "jaxscale"}):
        figure.savefig(buffer, format=ending, dpi=160, metadata=undated)
    return buffer.getvalue()


def save(figure: Any, path: str | Path) -> None:
    """Write a figure so that the file is there whole or not at all.

    Args:
        figure: from :func:`plot`.
        path: a file that ends in .png, .svg or .pdf.

    Raises:
        ValueError: the path has another ending.
    """
    write_atomically(path, render(figure, ending_of(path)))


def ending_of(path: str | Path) -> str:
    """The kind of file that a path asks for.

    Args:
        path: where a figure shall be written.

    Raises:
        ValueError: figures cannot be written in this kind.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise ValueError(f"{path} does not end in a kind of figure that can be drawn; end it in .png, .svg or .pdf.")
    return ending


def _spread(values: np.ndarray) -> float:
    """How far an input varies: in its logarithm where it has one."""
    low, high = values.min(), values.max()
    return float(np.log(high / low)) if low > 0 else float(np.log1p(high - low))


def _transformed(fit: Fit, y: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(SPACES[fit.noise["space"]][1](y))


def _title(fit: Fit) -> str:
    rms = _size(fit, fit.residuals["rms"])
    told = f"{fit.law} fitted to {fit.data}: {fit.rows_used} rows, root mean square residual {rms}"
    return told if fit.status == "converged" else f"{told} [{fit.status.replace('_', ' ')}]"


def _size(fit: Fit, value: float) -> str:
    return f"{100 * value:.2g} %" if fit.noise["space"] == "log" else f"{value:.2g}"


def _labelled(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _input_label(law: Law, observations: Observations, name: str) -> str:
    column = dict(observations.columns).get(name, name)
    return _labelled(name, law.inputs[name].unit or (column if column != name else ""))


def _response_name(observations: Observations) -> str:
    return dict(observations.columns).get("response", "response")


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def _log_axis(axis: Any, values: np.ndarray) -> None:
    """A log axis; within one decade its ticks are plain numbers at even steps."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    if values.max() < 12 * values.min():
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _scatter(axes: Any, x: np.ndarray, y: np.ndarray, colour: np.ndarray | None) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    style: dict[str, Any] = {"s": 26, "linewidths": 0.4, "edgecolors": "white", "zorder": 3}
    if colour is None:
        return axes.scatter(x, y, color=_POINT, **style)
    norm = (LogNorm if colour.min() > 0 else Normalize)(colour.min(), colour.max())
    return axes.scatter(x, y, c=colour, cmap="viridis", norm=norm, **style)


def _band(axes: Any, fit: Fit, x: np.ndarray, predicted: np.ndarray, label: str) -> None:
    """The prediction with twice the residuals' root mean square around it."""
    space, rms = fit.noise["space"], fit.residuals["rms"]
    middle = _transformed(fit, predicted)
    low, high = _BACK[space](middle - 2 * rms), _BACK[space](middle + 2 * rms)
    width = f"± {_size(fit, 2 * rms)}{' (logit)' if space == 'logit' else ''}"
    axes.fill_between(x, low, high, color=_BAND, alpha=0.3, linewidth=0, label=width)
    axes.plot(x, predicted, color=_INK, linewidth=1.2, label=label)
    axes.legend(frameon=False, fontsize=9)


def _agreement(
    axes: Any,
    fit: Fit,
    law: Law,
    observations: Observations,
    predicted: np.ndarray,
    y: np.ndarray,
    colour: np.ndarray,
) -> None:
    line = np.linspace(min(predicted.min(), y.min()), max(predicted.max(), y.max()), 200)
    _band(axes, fit, line, line, "prediction = observation")
    _scatter(axes, predicted, y, colour)
    name = _response_name(observations)
    axes.set_xlabel(_labelled(f"predicted {name}", law.response.unit))
    axes.set_ylabel(_labelled(f"observed {name}", law.response.unit))
    _tidy(axes)
    if law.response.domain is positive and line[-1] > 3 * line[0] > 0:
        _log_axis(axes.xaxis, line)
        _log_axis(axes.yaxis, line)


def _curve(axes: Any, fit: Fit, law: Law, observations: Observations, x: np.ndarray, y: np.ndarray) -> None:
    (name,) = law.inputs
    log = x.min() > 0 and x.max() > 3 * x.min()
    line = np.geomspace(x.min(), x.max(), 400) if log else np.linspace(x.min(), x.max(), 400)
    _band(axes, fit, line, np.asarray(fit(**{name: line})), fit.law)
    _scatter(axes, x, y, None)
    axes.set_xlabel(_input_label(law, observations, name))
    axes.set_ylabel(_labelled(_response_name(observations), law.response.unit))
    _tidy(axes)
    if log:
        _log_axis(axes.xaxis, x)
    if law.response.domain is positive and y.max() > 1.5 * y.min() > 0:
        _log_axis(axes.yaxis, y)


def _residuals(
    axes: Any,
    fit: Fit,
    law: Law,
    observations: Observations,
    name: str,
    x: np.ndarray,
    residual: np.ndarray,
    colour: np.ndarray | None,
) -> Any:
    space, rms = fit.noise["space"], fit.residuals["rms"]
    factor = 100.0 if space == "log" else 1.0
    axes.axhspan(-2 * factor * rms, 2 * factor * rms, color=_BAND, alpha=0.3, linewidth=0)
    axes.axhline(0, color=_INK, linewidth=1.2)
    points = _scatter(axes, x, factor * residual, colour)
    axes.set_xlabel(_input_label(law, observations, name))
    what = {
        "log": "prediction above observation (%)",
        "linear": _labelled("prediction minus observation", law.response.unit),
        "logit": "prediction minus observation (logit)",
    }
    axes.set_ylabel(what[space])
    _tidy(axes)
    if x.min() > 0 and x.max() > 3 * x.min():
        _log_axis(axes.xaxis, x)
    return points
