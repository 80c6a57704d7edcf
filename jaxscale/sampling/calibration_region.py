"""Where intervals were seen to hold what they claim: the designs that the coverage study supports.

Everything here was measured by ``python -m benchmarks.calibration coverage``; another run of it is the only reason to
change a number.
"""

import numpy as np
from jaxtyping import Float

from jaxscale.bayes.model import Model
from jaxscale.noise.likelihood import Likelihood
from jaxscale.sampling.importance import EFFICIENT
from jaxscale.utils.arrays import Array

# The tables are in benchmarks/README.md. In short, nominal 90 % intervals of ten laws, 1,000 simulated sweeps a cell,
# default priors, over the parameters, the optimal size and the value further out: a Student-t posterior of 12, 25, 40
# or 240 runs, or of 12 runs with 8 checkpoints each, holds 86 to 93 % in every cell, also under heavy tails and where
# half of the runs scatter twice as much; NUTS, on 100 of the sweeps, the same within chance. What falls out of that is
# one scale where the scatter follows the level: over a decade of levels most quantities are held in 48 to 78 %, over
# less in 74 % at worst; a scale by level holds there.
# The least number of runs for each inferred parameter: 12 for the five of chinchilla.
RUNS_PER_PARAMETER = 2.4
# Which likelihoods were measured, also with effects of runs, and with which scales, says Likelihood.calibrated.
# The least number of runs where these have several rows: fewer say nothing of how much runs differ.
RUNS = 12
# The methods that were measured.
METHODS = ("importance", "nuts")
# A rank correlation of the size of residuals with the level is seen where it is as improbable as this by chance.
UNEVEN = 1e-3


def trend(residual: Float[np.ndarray, " row"], level: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Rank correlation of the size of the residuals with the size of the level, and its p-value; (0, 1) of too few.

    Args:
        residual: shape (n,).
        level: the law's values or what rises with them, shape (n,).
    """
    usable = np.isfinite(residual) & np.isfinite(level)
    size, level = np.abs(residual[usable]), level[usable]
    if len(size) < 8 or np.ptp(size) == 0 or np.ptp(level) == 0:
        return 0.0, 1.0
    return _spearman(size, level)


def _spearman(x: Float[np.ndarray, " row"], y: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Spearman's rank correlation and its two-sided p-value by the t distribution.

    The same as ``scipy.stats.spearmanr``, whose import would take most of a second.
    """
    from scipy.special import stdtr

    correlation = np.corrcoef(_ranks(x), _ranks(y))[1, 0]
    freedom = len(x) - 2
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt((freedom / ((correlation + 1) * (1 - correlation))).clip(0))
    return float(correlation), float(2 * stdtr(freedom, -abs(t)))


def _ranks(x: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def checked(
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
    """Why intervals of a posterior were not seen to hold what they claim; empty where they were.

    Args:
        law: name of the law.
        free: number of its parameters that are inferred.
        rows: number of rows that count.
        likelihood: how responses scatter.
        method: the method that the posterior ended with.
        runs: number of runs, where a run has several rows; every row is its own run unless given.
        checkpoints: rows of each run, on average.
        efficiency: effective number of draws over the draws of the proposal, of importance sampling.
        pooled: whether groups have parameters of their own.
        uneven: rank correlation of the size of residuals with the level and its p-value, of one scale for all rows.
    """
    several = runs is not None and checkpoints > 1
    count = runs if runs is not None and several else rows
    if method not in METHODS:
        return f"Intervals by {method} were not measured."
    if method == "importance" and efficiency is not None and efficiency < EFFICIENT:
        return (
            f"Only {efficiency:.0%} of the proposal's draws count; below {EFFICIENT:.0%}, intervals of importance "
            "sampling were seen to be too narrow."
        )
    variant = "Pooled groups" if pooled else variant_of(likelihood)
    if variant:
        return f"{variant}: intervals of these were not measured."
    if not likelihood.calibrated:
        return f"Intervals of a {likelihood.name.replace('_', '-')} likelihood were not measured."
    if several and count < RUNS:
        return f"There are {count} runs with several rows each, and fewer than {RUNS} were not measured."
    correlation, chance = uneven
    if chance < UNEVEN:
        return (
            f"Residuals scatter {'more' if correlation > 0 else 'less'} where the level is high (rank correlation "
            f"{correlation:.2f}); one scale for all was seen to make intervals too narrow, so take scale_by='level'."
        )
    if count < RUNS_PER_PARAMETER * free and not several:
        return (
            f"There are {count} runs for {free} inferred parameters of {law}; fewer than {RUNS_PER_PARAMETER:g} for "
            "each were not measured."
        )
    return ""


def variant_of(likelihood: Likelihood) -> str:
    """What sets a likelihood apart from those that were measured, in words; empty where nothing does."""
    if likelihood.censored:
        return "Censored responses"
    if likelihood.scale_by == "constant":
        return ""
    if likelihood.scale_by not in likelihood.calibrated:
        return f"A scale by {likelihood.scale_by}"
    return f"A scale by {likelihood.scale_by} and effects of runs" if likelihood.runs else ""


def unmeasured(
    model: Model, method: str, efficiency: float, seen: tuple[Float[Array, " row"], Float[Array, " row"]] | None
) -> str:
    """Why the intervals of a posterior were not seen to hold what they claim; empty where they were.

    Args:
        model: what was sampled (:class:`jaxscale.bayes.model.Model`).
        method: that the posterior ended with.
        efficiency: effective number of draws over those of the proposal; NaN for NUTS.
        seen: residuals at the middle of the posterior and what they are taken from, in the likelihood's space, each of
            shape (n,); None where groups have their own.
    """
    chosen, used = model.likelihood, model.data["weight"] > 0
    rows, runs = int(used.sum()), len(np.unique(model.data["run"][used]))
    uneven = (0.0, 1.0)
    if seen is not None and chosen.scale_by == "constant" and chosen.calibrated:
        residual, target = (np.asarray(each)[used] for each in seen)
        level = residual + target
        uneven = trend(residual, level if chosen.space.relative else np.abs(level))
    return checked(
        law=model.law.name,
        free=len(model.free),
        rows=rows,
        likelihood=chosen,
        method=method,
        runs=runs if chosen.runs else None,
        checkpoints=rows / runs,
        efficiency=efficiency,
        pooled=bool(model.pooling),
        uneven=uneven,
    )
