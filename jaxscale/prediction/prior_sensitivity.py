"""Prior sensitivity of a posterior by power-scaling of priors and likelihood."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxscale.bayes.pointwise import psis_weights
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.law import Law
from jaxscale.results.draws import Draws, scalars
from jaxscale.utils.text import align, wrap

# The powers to which the prior and the likelihood are raised.
POWERS = (0.8, 1.25)
# Threshold of sensitivity: a shift by about a quarter of the standard deviation per doubling.
SENSITIVE = 0.05
CONFLICT, STRONG = "prior-data conflict", "strong prior / weak likelihood"


@dataclass(frozen=True)
class PriorSensitivity:
    """Sensitivity of every quantity to a doubling of the power of the priors or of the likelihood, to first order.

    Args:
        law: the law of the draws.
        rows: name to ``prior`` and ``likelihood`` (distance per doubling) and ``diagnosis`` (may be empty).
        khat: largest k-hat of the weights of "prior" and "likelihood"; above 0.7 their column is unreliable.
    """

    law: Law | str
    rows: dict[str, dict[str, Any]]
    khat: dict[str, float]

    def __str__(self) -> str:
        """The table, 80 columns wide."""
        cells = [("Quantity", "prior", "likelihood", "diagnosis")]
        for name, row in self.rows.items():
            cells.append((name, f"{row['prior']:.3f}", f"{row['likelihood']:.3f}", row["diagnosis"]))
        head, *lines = align(cells, "<>><")
        note = f"Distance per doubling of the power; above {SENSITIVE} a quantity is sensitive."
        rough = [part for part, khat in self.khat.items() if not khat <= KHAT_LIMIT]
        if rough:
            note += f" Unreliable for the {' and the '.join(rough)}: k-hat of the weights is above {KHAT_LIMIT}."
        return "\n".join([head, "-" * len(head), *lines, "", *wrap(note)])


def prior_sensitivity(draws: Draws) -> PriorSensitivity:
    """Power-scaling sensitivity to the priors and the likelihood, by importance sampling without refitting.

    Draws are reweighted to ``p(theta)^a p(y | theta)`` and to ``p(theta) p(y | theta)^a`` for a = 0.8 and 1.25, and
    the cumulative Jensen-Shannon distance of each quantity before and after is divided by ``|log2 a|``. Where both
    exceed 0.05 the data contradict the priors ("prior-data conflict"); where only that of the priors does, these
    dominate the data ("strong prior / weak likelihood"). Distributions of group and run effects are part of the model
    and are not scaled.

    Args:
        draws: posterior draws, with ``log_prior`` and ``log_likelihood`` among their stats.

    Raises:
        NotUsableError: ``draws.ok`` is False.
        ValueError: the draws are not of a posterior, or fewer than 25.

    Source: Kallioinen, Paananen, Buerkner & Vehtari 2024, doi:10.1007/s11222-023-10366-5.
    """
    for name in ("log_prior", "log_likelihood"):
        if name not in draws.stats:
            raise ValueError(
                f"These draws ({draws.method}) have no {name} among their stats, so their priors cannot be scaled; "
                f"sample them with posterior."
            )
    draws.require_ok()
    parts = {"prior": draws.stats["log_prior"] - _effects(draws), "likelihood": draws.stats["log_likelihood"]}
    quantities = {name: draws.params[name] for name in draws.free} | draws.nuisance
    rows: dict[str, dict[str, Any]] = {
        label: {} for name, values in quantities.items() for label, _ in scalars(name, values, draws.groups)
    }
    khats = {}
    for part, log_density in parts.items():
        ratios = np.stack([(power - 1) * log_density for power in POWERS], axis=1)
        log_weights, khat = psis_weights(ratios, draws)
        khats[part] = float(khat.max())
        for name, values in quantities.items():
            for label, value in scalars(name, values, draws.groups):
                moved = [
                    distance(value, np.exp(lw)) / abs(math.log2(power))
                    for lw, power in zip(log_weights.T, POWERS, strict=True)
                ]
                rows[label][part] = float(np.mean(moved))
    for row in rows.values():
        strong, informed = row["prior"] > SENSITIVE, row["likelihood"] > SENSITIVE
        row["diagnosis"] = (CONFLICT if informed else STRONG) if strong else ""
    return PriorSensitivity(draws.law, rows, khats)


def distance(values: Float[np.ndarray, " draw"], weights: Float[np.ndarray, " draw"]) -> float:
    """Cumulative Jensen-Shannon distance between draws and the same draws with weights, between 0 and 1.

    ``sqrt((CJS(P | Q) + CJS(Q | P)) / int (P + Q))`` with ``CJS(P | Q) = int P log2(2 P / (P + Q)) + (Q - P) / (2 ln
    2)`` over the distribution functions; the larger of that of the values and of their negatives.

    Args:
        values: shape (draws,).
        weights: normalised, shape (draws,).

    Source: Nguyen & Vreeken 2015, doi:10.1007/978-3-319-23525-7_11.
    """
    order = np.argsort(values)
    ordered, w = values[order], weights[order]
    gap = np.diff(ordered)
    if not gap.sum() > 0:
        return 0.0
    even = np.arange(1, len(values)) / len(values)
    scaled = np.minimum(np.cumsum(w)[:-1] / w.sum(), 1.0)
    # The second distance uses the distribution functions of the negatives.
    return max(_one_sided_distance(even, scaled, gap), _one_sided_distance(1 - even, 1 - scaled, gap))


def _one_sided_distance(
    p: Float[np.ndarray, " place"], q: Float[np.ndarray, " place"], gap: Float[np.ndarray, " place"]
) -> float:
    middle = 0.5 * (p + q)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    return math.sqrt(max(float(terms @ gap), 0.0) / float((p + q) @ gap))


def _effects(draws: Draws) -> Float[np.ndarray, " draw"]:
    """Log density of group and run effects, shape (draws,), which are not user-specified priors."""
    names = [name for name in draws.nuisance if name == "run_effect" or name.endswith("_offset")]
    total = np.zeros(len(draws))
    for name in names:
        values = draws.nuisance[name].reshape(len(draws), -1)
        total += np.sum(-0.5 * values * values - 0.5 * math.log(2 * math.pi), axis=1)
    return total
