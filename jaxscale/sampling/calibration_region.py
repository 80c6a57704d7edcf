"""Designs for which a simulation study found posterior intervals to have nominal coverage.

All numbers come from ``python -m benchmarks.calibration coverage``; change them only after rerunning it.
"""

import numpy as np
from jaxtyping import Float

from jaxscale.bayes.model import Model
from jaxscale.noise.likelihood import Likelihood
from jaxscale.sampling.importance import EFFICIENT
from jaxscale.utils.arrays import Array

# The tables are in benchmarks/README.md. In short, for nominal 90 % intervals of ten laws, 1,000 simulated sweeps per
# cell, default priors, over the parameters, the optimal size and an extrapolated value: a Student-t posterior of 12,
# 25, 40 or 240 runs, or of 12 runs with 8 checkpoints each, covers 86 to 93 % in every cell, also under heavy tails
# and where half of the runs have twice the noise; NUTS, on 100 of the sweeps, the same within Monte Carlo error. The
# exception is a constant scale where the noise grows with the level: over a decade of levels the coverage of most
# quantities is 48 to 78 %, over less 74 % at worst; a scale by level has nominal coverage there.
# The fewest runs per inferred parameter: 12 for the five of chinchilla.
RUNS_PER_PARAMETER = 2.4
# Likelihood.calibrated states the studied likelihoods, also with run effects, and their scales.
# The fewest runs where these have several rows: fewer do not determine the variance between runs.
RUNS = 12
# The studied methods.
METHODS = ("importance", "nuts")
# Significance level of the rank correlation of absolute residuals with the level.
UNEVEN = 1e-3


def rank_correlation(residual: Float[np.ndarray, " row"], level: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Rank correlation of absolute residuals with the level, and its p-value; (0, 1) for too few rows.

    Args:
        residual: shape (n,).
        level: predictions or a monotone function of them, shape (n,).
    """
    usable = np.isfinite(residual) & np.isfinite(level)
    size, level = np.abs(residual[usable]), level[usable]
    if len(size) < 8 or np.ptp(size) == 0 or np.ptp(level) == 0:
        return 0.0, 1.0
    return _spearman(size, level)


def _spearman(x: Float[np.ndarray, " row"], y: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Spearman's rank correlation and its two-sided p-value by the t distribution.

    Equal to ``scipy.stats.spearmanr``, whose import takes most of a second.
    """
    from scipy.special import stdtr

    correlation = np.corrcoef(_ranks(x), _ranks(y))[1, 0]
    freedom = len(x) - 2
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt((freedom / ((correlation + 1) * (1 - correlation))).clip(0))
    return float(correlation), float(2 * stdtr(freedom, -abs(t)))


def _ranks(x: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Ranks from 1; ties have the mean of their ranks."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def limitation(
    *,
    law: str,
    free: int,
    rows: int,
    likelihood: Likelihood,
    method: str,
    runs: int | None = None,
    checkpoints: float = 1.0,
    efficiency: float | None = None,
    pooled: bool = False,
    uneven: tuple[float, float] = (0.0, 1.0),
) -> str:
    """Why a posterior lies outside the calibrated designs; empty where it lies inside.

    Args:
        law: name of the law.
        free: number of inferred parameters.
        rows: number of rows of positive weight.
        likelihood: likelihood of the responses.
        method: the sampling method of the draws.
        runs: number of runs, where a run has several rows; default: every row is a run.
        checkpoints: rows per run, on average.
        efficiency: relative effective sample size of importance sampling.
        pooled: whether groups have their own parameters.
        uneven: rank correlation of absolute residuals with the level and its p-value, under a constant scale.
    """
    several = runs is not None and checkpoints > 1
    count = runs if runs is not None and several else rows
    if method not in METHODS:
        return f"Intervals by {method} were not studied."
    if method == "importance" and efficiency is not None and efficiency < EFFICIENT:
        return (
            f"The effective sample size is {efficiency:.0%} of the proposal's draws; below {EFFICIENT:.0%}, intervals "
            "of importance sampling were too narrow."
        )
    variant = "Pooled groups" if pooled else variant_of(likelihood)
    if variant:
        return f"{variant}: intervals of these were not studied."
    if not likelihood.calibrated:
        return f"Intervals of a {likelihood.name.replace('_', '-')} likelihood were not studied."
    if several and count < RUNS:
        return f"There are {count} runs with several rows each, and fewer than {RUNS} were not studied."
    correlation, chance = uneven
    if chance < UNEVEN:
        return (
            f"The residuals are heteroscedastic: {'larger' if correlation > 0 else 'smaller'} where the level is high "
            f"(rank correlation {correlation:.2f}); a constant scale makes intervals too narrow, use scale_by='level'."
        )
    if count < RUNS_PER_PARAMETER * free and not several:
        return (
            f"There are {count} runs for {free} inferred parameters of {law}; fewer than {RUNS_PER_PARAMETER:g} per "
            "parameter were not studied."
        )
    return ""


def variant_of(likelihood: Likelihood) -> str:
    """The variant of a likelihood that was not studied, in words; empty where it was."""
    if likelihood.censored:
        return "Censored responses"
    if likelihood.scale_by == "constant":
        return ""
    if likelihood.scale_by not in likelihood.calibrated:
        return f"A scale by {likelihood.scale_by}"
    return f"A scale by {likelihood.scale_by} and run effects" if likelihood.runs else ""


def limitation_of(
    model: Model, method: str, efficiency: float, residuals: tuple[Float[Array, " row"], Float[Array, " row"]] | None
) -> str:
    """Why a sampled posterior lies outside the calibrated designs; empty where it lies inside.

    Args:
        model: the sampled model (:class:`jaxscale.bayes.model.Model`).
        method: the sampling method of the draws.
        efficiency: relative effective sample size of importance sampling; NaN where there was none.
        residuals: residuals at the posterior median and transformed responses, each of shape (n,); None where
            groups have their own parameters.
    """
    likelihood, used = model.likelihood, model.data["weight"] > 0
    rows, runs = int(used.sum()), len(np.unique(model.data["run"][used]))
    uneven = (0.0, 1.0)
    if residuals is not None and likelihood.scale_by == "constant" and likelihood.calibrated:
        residual, target = (np.asarray(each)[used] for each in residuals)
        level = residual + target
        uneven = rank_correlation(residual, level if likelihood.space.relative else np.abs(level))
    return limitation(
        law=model.law.name,
        free=len(model.free),
        rows=rows,
        likelihood=likelihood,
        method=method,
        runs=runs if likelihood.runs else None,
        checkpoints=rows / runs,
        efficiency=efficiency,
        pooled=bool(model.pooling),
        uneven=uneven,
    )
