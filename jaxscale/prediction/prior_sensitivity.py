"""Sensitivity to priors: what a posterior owes to its priors, by scaling their power up and down."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxscale.bayes.pointwise import reweighed
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.law import Law
from jaxscale.results.draws import Draws, scalars
from jaxscale.utils.text import align, wrap

# The powers to which the prior and the likelihood are raised.
POWERS = (0.8, 1.25)
# Above this a quantity counts as sensitive: it moves by about a quarter of its standard deviation for each doubling.
SENSITIVE = 0.05
CONFLICT, STRONG = "prior-data conflict", "strong prior / weak likelihood"


@dataclass(frozen=True)
class PriorSensitivity:
    """How far every number moves when the power of the priors or of the likelihood is doubled, to first order.

    Args:
        law: the law, as of the draws.
        rows: name to ``prior`` and ``likelihood`` (distance for each doubling) and ``diagnosis`` ("" where there is
            nothing to say).
        khat: largest k-hat of the weights of "prior" and "likelihood"; above 0.7 their column is a rough guess.
    """

    law: Law | str
    rows: dict[str, dict[str, Any]]
    khat: dict[str, float]

    def __str__(self) -> str:
        """The table at 80 columns."""
        cells = [("Quantity", "prior", "likelihood", "diagnosis")]
        for name, row in self.rows.items():
            cells.append((name, f"{row['prior']:.3f}", f"{row['likelihood']:.3f}", row["diagnosis"]))
        head, *lines = align(cells, "<>><")
        said = f"Distance for each doubling of the power; above {SENSITIVE} a quantity is sensitive."
        rough = [part for part, khat in self.khat.items() if not khat <= KHAT_LIMIT]
        if rough:
            said += f" Rough for the {' and the '.join(rough)}: k-hat of the weights is above {KHAT_LIMIT}."
        return "\n".join([head, "-" * len(head), *lines, "", *wrap(said)])


def prior_sensitivity(draws: Draws) -> PriorSensitivity:
    """Power-scaling of the priors and of the likelihood by importance weights, without a refit.

    Draws are reweighed to ``p(theta)^a p(y | theta)`` and to ``p(theta) p(y | theta)^a`` for a = 0.8 and 1.25, and
    the cumulative Jensen-Shannon distance between each quantity before and after is divided by ``|log2 a|``. Where
    both exceed 0.05 the data contradict the priors ("prior-data conflict"); where only the priors' does, they say
    more than the data ("strong prior / weak likelihood"). Distributions of groups' and runs' effects are part of the
    model and stay as they are.

    Args:
        draws: of a posterior, with ``log_prior`` and ``log_likelihood`` among their stats.

    Raises:
        NotUsableError: the draws are not to be acted on.
        ValueError: the draws are of no posterior, or fewer than 25.

    Source: Kallioinen, Paananen, Buerkner & Vehtari 2024, doi:10.1007/s11222-023-10366-5.
    """
    for name in ("log_prior", "log_likelihood"):
        if name not in draws.stats:
            raise ValueError(
                f"These draws ({draws.method}) have no {name} among their stats, so their priors cannot be scaled; "
                f"draw them with posterior."
            )
    draws.require_ok()
    parts = {"prior": draws.stats["log_prior"] - _effects(draws), "likelihood": draws.stats["log_likelihood"]}
    several = {name: draws.params[name] for name in draws.free} | draws.nuisance
    rows: dict[str, dict[str, Any]] = {
        label: {} for name, values in several.items() for label, _ in scalars(name, values, draws.groups)
    }
    khats = {}
    for part, log_density in parts.items():
        ratios = np.stack([(power - 1) * log_density for power in POWERS], axis=1)
        log_weights, khat = reweighed(ratios, draws)
        khats[part] = float(khat.max())
        for name, values in several.items():
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


def distance(values: np.ndarray, weights: np.ndarray) -> float:
    """The cumulative Jensen-Shannon distance between draws and the same draws weighed, between 0 and 1.

    ``sqrt((CJS(P | Q) + CJS(Q | P)) / int (P + Q))`` with ``CJS(P | Q) = int P log2(2 P / (P + Q)) + (Q - P) / (2 ln
    2)`` over the distribution functions; the larger of that of the values and of their negatives.

    Args:
        values: shape (draws,).
        weights: that sum to one, shape (draws,).

    Source: Nguyen & Vreeken 2015, doi:10.1007/978-3-319-23525-7_11.
    """
    order = np.argsort(values)
    ordered, w = values[order], weights[order]
    gap = np.diff(ordered)
    if not gap.sum() > 0:
        return 0.0
    even = np.arange(1, len(values)) / len(values)
    scaled = np.minimum(np.cumsum(w)[:-1] / w.sum(), 1.0)
    # The distribution functions of the negatives, from the other end.
    return max(_apart(even, scaled, gap), _apart(1 - even, 1 - scaled, gap))


def _apart(p: np.ndarray, q: np.ndarray, gap: np.ndarray) -> float:
    middle = 0.5 * (p + q)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    return math.sqrt(max(float(terms @ gap), 0.0) / float((p + q) @ gap))


def _effects(draws: Draws) -> Any:
    """Log density of the effects of groups and runs, shape (draws,), which is no prior of a person's choice."""
    names = [name for name in draws.nuisance if name == "run_effect" or name.endswith("_offset")]
    total = np.zeros(len(draws))
    for name in names:
        values = draws.nuisance[name].reshape(len(draws), -1)
        total += np.sum(-0.5 * values * values - 0.5 * math.log(2 * math.pi), axis=1)
    return total
