"""Plots of predictions from draws: prediction bands and posterior predictive checks."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import decode_categories, prepare
from jaxscale.data.observations import Observations
from jaxscale.law import positive
from jaxscale.laws import resolve
from jaxscale.noise.likelihood import Likelihood, replicate
from jaxscale.noise.spaces import SPACES, Space
from jaxscale.plots.style import (
    BAND,
    INK,
    LEVELS,
    POINT,
    freeze_layout,
    input_label,
    log_axis,
    new_figure,
    response_name,
    thin,
    tidy,
    with_unit,
)
from jaxscale.results.draws import Draws
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError, did_you_mean
from jaxscale.utils.random import generator_of


def band(
    draws: Draws,
    observations: Observations,
    input: str,
    at: Mapping[str, Any] | None = None,
    *,
    to: float | None = None,
    group: str | int | None = None,
    seed: int = 0,
) -> Any:
    """Prediction bands of 50 % and 90 % along one input; in the lower panel, relative to the median.

    Points are observations adjusted to the given values of the other inputs with the median prediction, in the residual
    space. Dashed lines: 90 % interval of the law without noise, the only one if the draws have no model of the noise.

    Args:
        draws: draws of any method.
        observations: observations to plot.
        input: the input on the horizontal axis.
        at: values of the other inputs: numbers, or functions of the first input, such as ``lambda N: 20 * N``.
        to: end of the bands; default: ten times the largest observed input.
        group: label of the group to plot, where groups have their own parameters; default: the first.
        seed: of the simulated noise.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: an input is unknown or missing, or ``to`` lies below the observations.
    """
    law = resolve(draws.law)
    at = dict(at or {})
    for name in (input, *at):
        if name not in law.inputs:
            what = "input" if name == input else "at"
            raise ArgumentError(
                what, f"names {name!r}, which is no input of {law.name}{did_you_mean(name, law.inputs)}"
            )
    missing = [name for name in law.inputs if name not in (input, *at)]
    if missing:
        raise ArgumentError("at", f"must give {', '.join(missing)}, which {law.name} needs beside {input}.")
    observations = prepare(law, observations)
    used = observations.weight > 0
    if draws.groups:
        group = draws.groups[0] if group is None else group
        if observations.group is not None and any(values.ndim > 1 for values in draws.params.values()):
            used &= np.array(observations.groups)[observations.group] == str(group)
    draws = thin(draws).of_group(str(group)) if draws.groups else thin(draws)
    x = observations.inputs[input][used]
    end = float(10 * x.max() if to is None else to)
    if not end > x.min():
        raise ArgumentError("to", f"must lie above the smallest observed {input}, {x.min():g}, but is {end:g}.")
    log = x.min() > 0
    line = np.geomspace(x.min(), end, 100) if log else np.linspace(x.min(), end, 100)
    level = draws.predict(**_inputs_at(law, input, line, at))
    space = SPACES["linear"] if draws.scatter is None else draws.scatter.space
    forward, backward = _transform(space), space.inverse
    rows = {name: observations.inputs[name][..., used] for name in law.inputs}
    here = forward(np.median(draws.predict(**decode_categories(law, rows)), axis=0))
    there = forward(np.median(draws.predict(**_inputs_at(law, input, x, at)), axis=0))
    moved = backward(forward(observations.response[used]) + there - here)

    new = None if draws.scatter is None else _simulate(draws, draws.scatter, level, line, observations, seed)
    middle, centre = np.median(level, axis=0), forward(np.median(level, axis=0))
    factor = space.factor
    fixed_inputs = ", ".join(
        f"its {name}" if callable(value) else f"{name} = {_number(value)}" for name, value in at.items()
    )
    figure, ((top,), (bottom,)) = new_figure((7.5, 6.4), 2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    for axes, shown in ((top, lambda y, _: y), (bottom, lambda y, about: factor * (forward(y) - about))):
        if new is not None:
            for share, strength in LEVELS:
                low, high = shown(np.quantile(new, [0.5 - share / 2, 0.5 + share / 2], axis=0), centre)
                label = f"{100 * share:g} % of new responses"
                axes.fill_between(line, low, high, color=POINT, alpha=strength, linewidth=0, label=label)
        axes.plot(line, shown(middle, centre), color=INK, linewidth=1.2, label="median of the law")
        ends = shown(np.quantile(level, [0.05, 0.95], axis=0), centre)
        axes.plot(line, ends.T, "--", color=INK, linewidth=0.8, label=["90 % of the law", None])
        label = f"observations, moved to {fixed_inputs}" if at else "observations"
        style: dict[str, Any] = {"s": 20, "color": "white", "edgecolors": INK, "linewidths": 0.8, "zorder": 3}
        axes.scatter(x, shown(moved, there), label=label, **style)
        axes.axvline(x.max(), color=BAND, linewidth=0.8, linestyle=":")
        tidy(axes)
    if log:
        log_axis(bottom.xaxis, line)
    if law.response.domain is positive and middle.max() > 1.5 * middle.min():
        log_axis(top.yaxis, np.concatenate([middle, moved]))
    unit = space.unit(law.response.unit)
    top.set_ylabel(with_unit(response_name(observations), law.response.unit))
    bottom.set_ylabel(with_unit("above the median", unit))
    bottom.set_xlabel(input_label(law, observations, input))
    top.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{draws.law}, {draws.method}", fontsize=11, color=INK)
    return freeze_layout(figure)


def predictive(draws: Draws, *, seed: int = 0) -> Any:
    """Posterior predictive check: observed against replicated responses.

    Left, the residual of every row about the median of the law, with 50 % and 90 % intervals of replicated responses.
    Right, a quantile-quantile plot: sorted observed residuals against the median of sorted replicated ones, with
    their bands; observations outside the bands contradict the likelihood.

    Args:
        draws: posterior draws with their model.
        seed: of the replicated responses.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: the draws have no model.
    """
    if draws.model is None:
        raise ValueError(
            f"These draws ({draws.method}) have no model to replicate responses; sample them with posterior."
        )
    draws = thin(draws)
    model = draws.model
    used = np.asarray(model.data["weight"]) > 0
    sites = {**draws.params, **draws.nuisance}
    with jax.enable_x64(True):
        level = np.asarray(_levels(model, {name: sites[name] for name in model.shapes}))[:, used]
        data = {name: np.asarray(values)[used] for name, values in model.data.items()}
        new = replicate(model.likelihood, generator_of(seed)[0], draws.nuisance, level, data)
    space = model.likelihood.space
    forward, middle = _transform(space), np.median(level, axis=0)
    observed = forward(np.asarray(model.response)[used]) - forward(middle)
    new = forward(new) - forward(middle)
    observed, new = space.factor * observed, space.factor * new
    unit = space.unit(model.law.response.unit)

    figure, ((left, right),) = new_figure((10.0, 4.4), 1, 2)
    order = np.argsort(middle, kind="stable")
    place = np.arange(1, len(order) + 1)
    ranked = np.sort(new, axis=1)
    expected = np.median(ranked, axis=0)
    for share, strength in LEVELS:
        ends = [0.5 - share / 2, 0.5 + share / 2]
        low, high = np.quantile(new[:, order], ends, axis=0)
        left.vlines(place, low, high, color=POINT, alpha=strength + 0.1, linewidth=2.5, label=f"{100 * share:g} %")
        low, high = np.quantile(ranked, ends, axis=0)
        label = f"{100 * share:g} % of replicated"
        right.fill_between(expected, low, high, color=POINT, alpha=strength, linewidth=0, label=label)
    left.plot(place, observed[order], "o", markersize=3.5, color=INK, label="observed")
    right.plot(expected, expected, color=INK, linewidth=0.8)
    right.plot(expected, np.sort(observed), "o", markersize=3.5, color=INK, label="observed")
    left.set_xlabel("row, in the order of the law's value")
    left.set_ylabel(with_unit("response above the law", unit))
    right.set_xlabel(with_unit("sorted replicated residuals, median", unit))
    right.set_ylabel(with_unit("sorted observed residuals", unit))
    for axes in (left, right):
        tidy(axes)
    left.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    right.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{draws.law}: {model.likelihood.describe()}", fontsize=11, color=INK)
    return freeze_layout(figure)


def _transform(space: Space) -> Callable[[Any], np.ndarray]:
    """The transform of responses to the residual space, in float64."""

    def forward(y: Any) -> np.ndarray:
        return np.asarray(space.forward(np.asarray(y, float)))

    return forward


@compiled
def _levels(model: Any, sites: dict[str, Any]) -> Any:
    return jax.lax.map(model.level, sites, batch_size=256)


def _simulate(
    draws: Draws, scatter: Likelihood, level: np.ndarray, line: np.ndarray, rows: Observations, key: Any
) -> np.ndarray:
    """Simulated responses along a line, each from a separate run; counts have the median number of trials."""
    data: dict[str, np.ndarray] = {"run": np.arange(len(line)), "group": np.zeros(len(line), int)}
    for name in scatter.columns:
        data[name] = np.full(len(line), round(float(np.median(rows.inputs[name]))))
    return replicate(scatter, generator_of(key)[0], draws.nuisance, level, data)


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _inputs_at(law: Any, input: str, x: np.ndarray, at: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All inputs of a law: one has the values x, the others those of ``at``."""
    own = {name: np.broadcast_to(np.asarray(v(x) if callable(v) else v), x.shape) for name, v in at.items()}
    return {name: x if name == input else own[name] for name in law.inputs}
