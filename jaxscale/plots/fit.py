"""Plot of a fit: predictions and residuals."""

from typing import Any

import numpy as np

from jaxscale.data.features import decode_categories, prepare
from jaxscale.data.observations import Observations
from jaxscale.law import Law, positive
from jaxscale.laws import resolve
from jaxscale.plots.style import (
    BAND,
    INK,
    input_label,
    log_axis,
    response_name,
    scatter,
    spread,
    tidy,
    with_unit,
)
from jaxscale.results.fit import Fit


def plot(fit: Fit, observations: Observations) -> Any:
    """Plot a fit: responses against predictions (or against the only input), and residuals.

    Rows of weight 0 are left out. The band is plus or minus
    twice the root mean square of the residuals, not a confidence interval.

    Args:
        fit: the fit.
        observations: the fitted observations.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: the observations lack an input of the law.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    law = resolve(fit.law)
    observations = prepare(law, observations)
    used = observations.weight > 0
    inputs = {name: observations.inputs[name][..., used] for name in law.inputs if name in observations.inputs}
    y = observations.response[used]
    predicted = np.asarray(fit.predict(**decode_categories(law, inputs)))
    plain = [name for name in inputs if inputs[name].ndim == 1]
    ranked = sorted(plain, key=lambda name: (bool(law.inputs[name].categories), -spread(inputs[name])))
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
        bar.set_label(input_label(law, observations, shade))
        bar.outline.set_visible(False)
        if labels := law.inputs[shade].categories:
            bar.set_ticks(list(range(len(labels))), labels=labels)
    figure.suptitle(_title(fit), fontsize=11, color=INK)
    # Fix the layout, so that every rendering is the same.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _transformed(fit: Fit, y: np.ndarray) -> np.ndarray:
    return np.asarray(fit.noise.space.forward(np.asarray(y, float)))


def _title(fit: Fit) -> str:
    rms = _size(fit, fit.residuals.rms)
    title = f"{fit.law} fitted to {fit.provenance.data}: {fit.rows_used} rows, root mean square residual {rms}"
    return title if fit.status == "converged" else f"{title} [{fit.status.replace('_', ' ')}]"


def _size(fit: Fit, value: float) -> str:
    return f"{100 * value:.2g} %" if fit.noise.space.percent else f"{value:.2g}"


def _band(axes: Any, fit: Fit, x: np.ndarray, predicted: np.ndarray, label: str) -> None:
    """The prediction with a band of twice the root mean square of the residuals."""
    space, rms = fit.noise.space, fit.residuals.rms
    middle = _transformed(fit, predicted)
    low, high = space.inverse(middle - 2 * rms), space.inverse(middle + 2 * rms)
    width = f"± {_size(fit, 2 * rms)}{f' ({space})' if space.relative and not space.percent else ''}"
    axes.fill_between(x, low, high, color=BAND, alpha=0.3, linewidth=0, label=width)
    axes.plot(x, predicted, color=INK, linewidth=1.2, label=label)
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
    scatter(axes, predicted, y, colour)
    name = response_name(observations)
    axes.set_xlabel(with_unit(f"predicted {name}", law.response.unit))
    axes.set_ylabel(with_unit(f"observed {name}", law.response.unit))
    tidy(axes)
    if law.response.domain is positive and line[-1] > 3 * line[0] > 0:
        log_axis(axes.xaxis, line)
        log_axis(axes.yaxis, line)


def _curve(axes: Any, fit: Fit, law: Law, observations: Observations, x: np.ndarray, y: np.ndarray) -> None:
    (name,) = law.inputs
    log = x.min() > 0 and x.max() > 3 * x.min()
    line = np.geomspace(x.min(), x.max(), 400) if log else np.linspace(x.min(), x.max(), 400)
    _band(axes, fit, line, np.asarray(fit.predict(**{name: line})), str(fit.law))
    scatter(axes, x, y, None)
    axes.set_xlabel(input_label(law, observations, name))
    axes.set_ylabel(with_unit(response_name(observations), law.response.unit))
    tidy(axes)
    if log:
        log_axis(axes.xaxis, x)
    if law.response.domain is positive and y.max() > 1.5 * y.min() > 0:
        log_axis(axes.yaxis, y)


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
    space, rms = fit.noise.space, fit.residuals.rms
    factor = space.factor
    axes.axhspan(-2 * factor * rms, 2 * factor * rms, color=BAND, alpha=0.3, linewidth=0)
    axes.axhline(0, color=INK, linewidth=1.2)
    points = scatter(axes, x, factor * residual, colour)
    axes.set_xlabel(input_label(law, observations, name))
    sides = "above" if space.percent else "minus"
    axes.set_ylabel(with_unit(f"prediction {sides} observation", space.unit(law.response.unit)))
    tidy(axes)
    if x.min() > 0 and x.max() > 3 * x.min():
        log_axis(axes.xaxis, x)
    return points
