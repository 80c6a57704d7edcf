"""Simulate: sweeps of training runs drawn from a law whose constants are known.

>>> from jaxscale import laws
>>> params = laws.chinchilla.published["besiroglu2024"]
>>> table = simulate(laws.chinchilla, params, isoflop([1e19, 1e20, 1e21], 7), noise=0.005, seed=1)
>>> sorted(table), len(table["loss"])
(['D', 'N', 'loss'], 21)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.law import Law, positive, unit


def simulate(
    law: Law,
    params: Mapping[str, float],
    inputs: Mapping[str, Any],
    *,
    noise: float = 0.005,
    seed: int = 0,
    runs: Any = None,
    response: str = "loss",
) -> dict[str, np.ndarray]:
    """Draw responses from a law with noise, in float64.

    A positive response is ``law * exp(noise * e)`` with ``e`` standard normal; a response between 0
    and 1 gets its noise on the logit, a real one gets it added.

    Args:
        law: the law that is true.
        params: its parameters by name.
        inputs: input name to array of shape (..., n), in the law's raw units.
        noise: standard deviation of the noise.
        seed: of the noise; the same seed gives the same numbers.
        runs: labels of shape (n,); rows of one run share one draw of the noise. Every row is a
            run of its own where None.
        response: the name of the response's column.

    Returns:
        The inputs, the response and, where runs were given, ``run``: columns of n rows.

    Raises:
        ValueError: a parameter or input is missing or unknown, lengths differ, an input lies outside
            the law's interval, the law has no finite value, or the noise is negative.
    """
    columns = _columns(law, inputs)
    _same_names(law, "parameter", law.parameters, params)
    if not 0 <= noise < np.inf:
        raise ValueError(f"Argument noise must be zero or positive, but is {noise!r}.")
    if response in columns or response == "run":
        raise ValueError(f"Argument response must differ from the other columns, but is {response!r}.")
    count = next(iter(columns.values())).shape[-1]
    with jax.enable_x64(True):
        values = {name: float(value) for name, value in params.items()}
        exact = np.asarray(jax.vmap(lambda *row: law(*row, **values), in_axes=-1)(*columns.values()))
    if not np.all(np.isfinite(exact)):
        place = np.argmin(np.isfinite(exact)) + 1
        raise ValueError(f"Law {law.name} has no finite value in row {place} of the inputs.")
    draws = np.random.default_rng(seed)
    if runs is None:
        return {**columns, response: _noisy(law, exact, noise * draws.standard_normal(count))}
    labels = np.asarray(runs)
    if labels.shape != (count,):
        raise ValueError(f"Argument runs must hold one label for each of the {count} rows, but has {labels.shape}.")
    _, run = np.unique(labels, return_inverse=True)
    shared = noise * draws.standard_normal(run.max() + 1)
    return {**columns, response: _noisy(law, exact, shared[run]), "run": labels}


def grid(**axes: tuple[float, float, int]) -> dict[str, np.ndarray]:
    """Cross inputs that are evenly spaced in their logarithms: ``grid(N=(1e7, 1e9, 5), D=(1e9, 1e11, 4))``.

    Args:
        **axes: input name to (lowest, highest, number of values).

    Returns:
        Columns of as many rows as there are combinations.

    Raises:
        ValueError: an axis does not run from a positive number up.
    """
    points = []
    for name, (low, high, count) in axes.items():
        if not (0 < low <= high < np.inf and count >= 1):
            raise ValueError(
                f"Axis {name} must be (lowest, highest, count) with 0 < lowest <= highest and count >= 1, "
                f"but is {(low, high, count)}."
            )
        points.append(np.geomspace(low, high, count))
    crossed = np.meshgrid(*points, indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, crossed, strict=True)}


def isoflop(
    budgets: Sequence[float], sizes_per_budget: int, spread: float = 8.0, tokens_per_parameter: float = 20.0
) -> dict[str, np.ndarray]:
    """Model sizes and tokens that spend each budget exactly, ``6 N D = C``.

    Args:
        budgets: compute budgets in FLOPs.
        sizes_per_budget: number of model sizes at each budget, evenly spaced in log N.
        spread: the sizes run from the middle one divided by ``spread`` to the middle one times ``spread``.
        tokens_per_parameter: ratio D / N of the middle size.

    Returns:
        Columns ``N`` (parameters) and ``D`` (tokens), budget after budget.

    Raises:
        ValueError: a number is not positive, or the spread is below 1.
    """
    flops = np.asarray(budgets, float)
    if flops.ndim != 1 or flops.size == 0 or not np.all((flops > 0) & np.isfinite(flops)):
        raise ValueError(f"Argument budgets must list positive numbers of FLOPs, but is {budgets!r}.")
    if sizes_per_budget < 1:
        raise ValueError(f"Argument sizes_per_budget must be 1 or more, but is {sizes_per_budget!r}.")
    if not 1 <= spread < np.inf:
        raise ValueError(f"Argument spread must be 1 or more, but is {spread!r}.")
    if not 0 < tokens_per_parameter < np.inf:
        raise ValueError(f"Argument tokens_per_parameter must be positive, but is {tokens_per_parameter!r}.")
    middle = np.sqrt(flops / (6 * tokens_per_parameter))
    N = (middle[:, None] * np.geomspace(1 / spread, spread, sizes_per_budget)).ravel()
    return {"N": N, "D": np.repeat(flops, sizes_per_budget) / (6 * N)}


def example() -> dict[str, np.ndarray]:
    """A sweep to try things on: 99 runs at nine budgets, from the refitted Chinchilla law with 0.5 % noise.

    Returns:
        Columns ``N`` (parameters), ``D`` (tokens) and ``loss`` (nat/token).
    """
    from jaxscale.laws import get

    chinchilla = get("chinchilla")
    design = isoflop(np.geomspace(1e18, 1e22, 9).tolist(), 11)
    return simulate(chinchilla, chinchilla.published["besiroglu2024"], design, noise=0.005, seed=0)


def _columns(law: Law, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs as float64 columns in the law's order, checked."""
    _same_names(law, "input", law.inputs, inputs)
    columns = {name: np.asarray(inputs[name], float) for name in law.inputs}
    lengths = {name: column.shape[-1] if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"Inputs of {law.name} must be columns of one length of at least 1, but have {lengths}.")
    for name, column in columns.items():
        low, high = law.inputs[name].low, law.inputs[name].high
        if not np.all((column > low) & (column < high)):
            raise ValueError(f"Input {name} of {law.name} must lie between {low:g} and {high:g} in every row.")
    return columns


def _same_names(law: Law, what: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in given:
            raise ValueError(f"Law {law.name} needs the {what} {name}; its {what}s are {', '.join(wanted)}.")
    for name in given:
        if name not in wanted:
            raise ValueError(f"Law {law.name} has no {what} {name}; its {what}s are {', '.join(wanted)}.")


def _noisy(law: Law, exact: np.ndarray, noise: np.ndarray) -> np.ndarray:
    if law.response.domain is positive:
        return exact * np.exp(noise)
    if law.response.domain is unit:
        odds = np.exp(noise) * exact
        return odds / (odds + 1 - exact)
    return exact + noise
