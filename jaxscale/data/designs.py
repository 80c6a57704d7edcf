"""Designs of sweeps: grids, isoFLOP designs, and an example data set."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxscale.costs import flops_6nd
from jaxscale.data.simulation import simulate
from jaxscale.utils.errors import ArgumentError


def grid(**axes: tuple[float, float, int]) -> dict[str, Float[np.ndarray, " row"]]:
    """Full factorial design with logarithmic spacing: ``grid(N=(1e7, 1e9, 5), D=(1e9, 1e11, 4))``.

    Args:
        **axes: input name to (lowest, highest, number of values).

    Returns:
        Columns with one row for each combination.

    Raises:
        ValueError: the values of an axis are not positive or not ascending.
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
) -> dict[str, Float[np.ndarray, " row"]]:
    """IsoFLOP design: model sizes and tokens at each compute budget, ``6 N D = C``.

    Args:
        budgets: compute budgets in FLOPs.
        sizes_per_budget: number of model sizes at each budget, evenly spaced in log N.
        spread: ratio of the largest size to the middle one, and of the middle one to the smallest.
        tokens_per_parameter: ratio D / N of the middle size.

    Returns:
        Columns ``N`` (parameters) and ``D`` (tokens), ordered by budget.

    Raises:
        ValueError: a number is not positive, or the spread is below 1.
    """
    flops = np.asarray(budgets, float)
    if flops.ndim != 1 or flops.size == 0 or not np.all((flops > 0) & np.isfinite(flops)):
        raise ArgumentError("budgets", f"must list positive numbers of FLOPs, but is {budgets!r}.")
    if sizes_per_budget < 1:
        raise ArgumentError("sizes_per_budget", f"must be 1 or more, but is {sizes_per_budget!r}.")
    if not 1 <= spread < np.inf:
        raise ArgumentError("spread", f"must be 1 or more, but is {spread!r}.")
    if not 0 < tokens_per_parameter < np.inf:
        raise ArgumentError("tokens_per_parameter", f"must be positive, but is {tokens_per_parameter!r}.")
    middle = np.sqrt(flops / flops_6nd(1, tokens_per_parameter))
    N = (middle[:, None] * np.geomspace(1 / spread, spread, sizes_per_budget)).ravel()
    return {"N": N, "D": np.repeat(flops, sizes_per_budget) / flops_6nd(N, 1)}


def example() -> dict[str, Float[np.ndarray, " row"]]:
    """Example data: 99 simulated runs at nine budgets, from the refitted Chinchilla law with 0.5 % noise.

    Returns:
        Columns ``N`` (parameters), ``D`` (tokens) and ``loss`` (nat/token).
    """
    from jaxscale.laws import get

    chinchilla = get("chinchilla")
    design = isoflop(np.geomspace(1e18, 1e22, 9).tolist(), 11)
    return simulate(chinchilla, chinchilla.published["besiroglu2024"], design, noise=0.005, seed=0)
