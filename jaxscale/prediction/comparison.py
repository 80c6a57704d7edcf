"""Comparison of models by expected log predictive density.

Log predictive densities are those of the responses in their own unit, so models with different residual spaces can be
compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.noise.likelihood import Likelihood
from jaxscale.prediction.cross_validation import Elpd, loo, standard_error
from jaxscale.prediction.stacking import comparable, stacking
from jaxscale.sampling.posterior import posterior
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError
from jaxscale.utils.text import align, wrap


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
        head, *lines = align(cells, "<>>>>>>")
        note = f"elpd in nats over {self.count} {self.unit}s; differences from the best model."
        return "\n".join([head, "-" * len(head), *lines, "", *wrap(note)])


def compare(
    models: Mapping[str, Elpd] | Sequence[Law | str],
    observations: Observations | None = None,
    *,
    likelihood: Likelihood | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare models by leave-one-out log predictive densities, with paired differences and their standard errors.

    ``se = sqrt(n var(pointwise difference))``; with fewer than a hundred units, or differences below about 4 nats,
    it is too small by up to a factor of two.

    >>> jaxscale.compare(["chinchilla", "kaplan"], runs)  # doctest: +SKIP
    >>> jaxscale.compare({"one": jaxscale.loo(draws), "other": jaxscale.loo(others)})  # doctest: +SKIP

    Args:
        models: laws, or names of laws in the catalogue, whose posteriors are sampled here; or name to log predictive
            densities, by the same method for the same units.
        observations: the data of the laws.
        likelihood: likelihood of the responses, for all laws; default: that of each law's response.
        seed: of the posteriors' random numbers.

    Returns:
        The comparison, one row per model.

    Raises:
        NotUsableError: the posterior of a law did not converge.
        TypeError: a model is neither a law nor a log predictive density.
        ValueError: there is no model, the models are not comparable, or the observations of laws are missing.

    Source: Vehtari, Gelman & Gabry 2017; Sivula, Magnusson, Matamoros & Vehtari 2025, doi:10.1214/25-BA1569.
    """
    elpds = _elpds_of(models, observations, likelihood, seed)
    comparable(elpds, "models")
    weights = stacking(elpds)
    best = max(elpds.values(), key=lambda elpd: elpd.elpd)
    rows = {}
    for name, elpd in sorted(elpds.items(), key=lambda pair: -pair[1].elpd):
        difference = elpd.pointwise - best.pointwise
        rows[name] = {
            "elpd": elpd.elpd,
            "se": elpd.se,
            "difference": float(difference.sum()),
            "se_difference": standard_error(difference),
            "p_loo": elpd.p_loo,
            "bad": float(np.sum(elpd.khat > KHAT_LIMIT)),
            "weight": weights[name],
        }
    return Comparison(best.unit, len(best), rows)


def _elpds_of(
    models: Mapping[str, Elpd] | Sequence[Law | str],
    observations: Observations | None,
    likelihood: Likelihood | None,
    seed: int,
) -> Mapping[str, Elpd]:
    """Log predictive densities by name: those that are given, or those of the posteriors of laws."""
    if isinstance(models, Mapping):
        if observations is not None or likelihood is not None:
            raise ArgumentError("observations", "must be given with laws only, and so must a likelihood.")
        return models
    if isinstance(models, str | Law):
        raise ArgumentTypeError("models", f"must be a sequence of laws, but is one law; write [{str(models)!r}, ...].")
    if wrong := [type(model).__name__ for model in models if not isinstance(model, str | Law)]:
        raise ArgumentTypeError("models", f"must hold laws or map names to what loo returned, but holds {wrong[0]}.")
    if observations is None:
        raise ArgumentError("observations", "must be given with laws.")
    laws = [resolve(law) for law in models]
    names = [law.name for law in laws]
    if len(set(names)) < len(names):
        raise ArgumentError("models", f"must hold different laws, but holds {', '.join(names)}.")
    draws = (posterior(law, observations, likelihood=likelihood, seed=seed) for law in laws)
    return {name: loo(each) for name, each in zip(names, draws, strict=True)}
