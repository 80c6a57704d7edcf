"""Augmentation of a design: runs that make a law identifiable."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxscale.identification.fisher_information import (
    RANK,
    Information,
    _standardise,
    _triangle,
    constant,
    excess,
    is_identified,
    spectrum,
)
from jaxscale.law import Law
from jaxscale.law.slopes import slopes

MOST_SUGGESTED_RUNS = 8


def suggest_runs(information: Information) -> tuple[list[dict[str, Any]], bool]:
    """Runs to add, best first, and whether they suffice; within the cost of the most expensive run if possible."""
    runs, enough = _suggest_by_index(information)
    for name, kind in information.law.inputs.items():
        if kind.categories:
            runs = [run | {name: kind.categories[int(run[name])]} for run in runs]
    return runs, enough


def _suggest_by_index(information: Information) -> tuple[list[dict[str, Any]], bool]:
    """As :func:`suggest_runs`, with categories as indices."""
    if any(values.ndim > 1 for values in information.inputs.values()):
        return [], False  # Inputs with several numbers in a row, such as a schedule, have no grid.
    candidates = _candidates(information)
    affordable = _cost(information.law, candidates) <= _cost(information.law, information.inputs).max() * (1 + 1e-9)
    runs, enough = _greedy(information, {name: values[affordable] for name, values in candidates.items()})
    return (runs, enough) if enough else _greedy(information, candidates)


def _cost(law: Law, inputs: Mapping[str, Float[np.ndarray, "... row"]]) -> Float[np.ndarray, "... row"]:
    """Cost of runs: the product of the positive inputs, proportional to compute for parameters and tokens."""
    columns = [values for name, values in inputs.items() if law.inputs[name].low >= 0]
    return np.prod(columns, axis=0) if columns else np.zeros(len(next(iter(inputs.values()))))


def _candidates(information: Information) -> dict[str, Float[np.ndarray, " row"]]:
    """Grid over the range of the inputs and a factor of four beyond, or a sample of it."""
    law, inputs = information.law, information.inputs
    inner = {1: 17, 2: 5, 3: 3}.get(len(inputs), 2)
    levels = [
        np.arange(len(law.inputs[name].categories), dtype=float)
        if law.inputs[name].categories
        else _levels(values, law.inputs[name].low, law.inputs[name].high, inner)
        for name, values in inputs.items()
    ]
    if len(levels) <= 3:
        crossed = np.array(list(itertools.product(*levels)))
    else:
        generator = np.random.default_rng(0)
        crossed = np.stack([generator.choice(level, 128) for level in levels], axis=1)
    return {name: crossed[:, k] for k, name in enumerate(inputs)}


def _levels(values: Float[np.ndarray, "... row"], low: float, high: float, inner: int) -> Float[np.ndarray, " level"]:
    first, last = values.min(), values.max()
    if low >= 0:
        spread = 4.0 if not constant(values) else 16.0
        points = [*np.geomspace(first, last, inner), first / 4, last * 4, first / spread, last * spread]
    else:
        span = (last - first) or max(abs(last), 1.0)
        points = [*np.linspace(first, last, inner), first - span, last + span]
    rounded = np.unique([float(f"{point:.3g}") for point in points])
    return rounded[(rounded > low) & (rounded < high)]


def _greedy(
    information: Information, candidates: Mapping[str, Float[np.ndarray, " row"]]
) -> tuple[list[dict[str, float]], bool]:
    runs: list[dict[str, float]] = []
    count = len(next(iter(candidates.values())))
    if not count:
        return runs, False
    law, free = information.law, information.free
    responses, slope = slopes(law, free, candidates, information.sets)
    usable = np.all(np.isfinite(slope), axis=(0, 2)) & np.all(np.isfinite(responses), axis=0)
    rows = np.where(usable[:, None], _standardise(information, responses, slope), 0.0)
    size = np.linalg.norm(np.concatenate([information.triangle, rows], axis=1), axis=1, keepdims=True)
    while not is_identified(information) and len(runs) < MOST_SUGGESTED_RUNS and usable.any():
        stacked = np.concatenate(
            [
                np.broadcast_to(information.triangle, (count, *information.triangle.shape)),
                rows.swapaxes(0, 1)[:, :, None],
            ],
            axis=-2,
        )
        lowest = np.minimum(information.lowest, responses.T)
        worst = excess(law, free, spectrum(stacked)[2], lowest).max(axis=-1)
        best = int(np.argmin(np.where(usable, worst, np.inf)))
        if not worst[best] <= 1:
            # If no single run suffices, add the one that increases the information most (D-optimality).
            best = int(np.argmax(np.where(usable, _volume(stacked / np.where(size > 0, size, 1.0)), -np.inf)))
        run = {name: float(values[best]) for name, values in candidates.items()}
        runs.append(run)
        usable[best] = False
        information = replace(
            information,
            inputs={name: np.append(values, run[name]) for name, values in information.inputs.items()},
            triangle=_triangle(stacked[best]),
            lowest=lowest[best],
        )
    return runs, is_identified(information)


def _volume(stacked: Float[np.ndarray, "*batch row free"]) -> Float[np.ndarray, "..."]:
    """Log determinant of the information, with singular values bounded away from zero."""
    values = np.linalg.svd(stacked, compute_uv=False)
    return np.median(np.sum(np.log(values + RANK), axis=-1), axis=-1)
