"""Comparison of models by expected log predictive density.

Log predictive densities are those of the responses in their own unit, so models with different residual spaces can be
compared.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.prediction.cross_validation import Elpd, standard_error
from jaxscale.prediction.stacking import comparable, stacking
from jaxscale.utils.text import aligned, wrapped


@dataclass(frozen=True)
class Comparison:
    """Models sorted by expected log predictive density, the best first.

    Args:
        unit: "row" or "run".
        count: the number of units.
        rows: name to ``elpd``, ``se``, ``difference`` from the best, its standard error ``se_difference``, ``p_loo``,
            ``bad`` (number of units with k-hat above 0.7) and stacking ``weight``.
    """

    unit: str
    count: int
    rows: dict[str, dict[str, float]]

    def __str__(self) -> str:
        """The table, 80 columns wide."""
        cells = [("Model", "elpd", "difference", "std. error", "p_loo", "weight", "bad k-hat")]
        for name, row in self.rows.items():
            p_loo = f"{row['p_loo']:.1f}" if math.isfinite(row["p_loo"]) else ""
            numbers = (f"{row['elpd']:.1f}", f"{row['difference']:.1f}", f"{row['se_difference']:.1f}", p_loo)
            cells.append((name, *numbers, f"{row['weight']:.2f}", f"{row['bad']:.0f}"))
        head, *lines = aligned(cells, "<>>>>>>")
        said = f"elpd in nats over {self.count} {self.unit}s; differences from the best model."
        return "\n".join([head, "-" * len(head), *lines, "", *wrapped(said)])


def compare(elpds: Mapping[str, Elpd]) -> Comparison:
    """Compare models by expected log predictive density, with paired differences and standard errors.

    ``se = sqrt(n var(pointwise difference))``; with fewer than a hundred units, or differences below about 4 nats,
    it is too small by up to a factor of two.

    Args:
        elpds: name to log predictive densities, by the same method for the same units.

    Raises:
        ValueError: there is no model, or the models are not comparable.

    Source: Vehtari, Gelman & Gabry 2017; Sivula, Magnusson, Matamoros & Vehtari 2025, doi:10.1214/25-BA1569.
    """
    comparable(elpds)
    weights = stacking(elpds)
    best = max(elpds.values(), key=lambda elpd: elpd.elpd)
    rows = {}
    for name, elpd in sorted(elpds.items(), key=lambda pair: -pair[1].elpd):
        apart = elpd.pointwise - best.pointwise
        rows[name] = {
            "elpd": elpd.elpd,
            "se": elpd.se,
            "difference": float(apart.sum()),
            "se_difference": standard_error(apart),
            "p_loo": elpd.p_loo,
            "bad": float(np.sum(elpd.khat > KHAT_LIMIT)),
            "weight": weights[name],
        }
    return Comparison(best.unit, len(best), rows)
