"""Where intervals were seen to hold what they claim: the designs that the coverage study supports.

Everything here was measured by ``python -m benchmarks.calibration coverage``; another run of it is the only reason to
change a number.
"""

from typing import Any

import numpy as np

from jaxscale.uncertainty.importance import EFFICIENT

# Measured 2026-11-25: nominal 90 % intervals, 100 to 300 simulated sweeps a cell, default priors, importance sampling
# of 4,096 proposals. Mean shares covered, over the parameters, the optimal size and the law's value further out: normal
# / Student-t (Wald intervals of the same sweeps); then the effective share of the proposals, median over the sweeps.
# Sweeps of a law and a design are shared by its quantities, so that a mean is uncertain by 2 to 3 points.
#                                        12 runs                    25 runs                    12 runs x 8, normal
#   accuracy_sigmoid_loss (4 parameters) 91 / 89 (94)  15 / 15 %    90 / 91 (91)  34 / 29 %
#   chinchilla (5)                       82 / 82 (89)   8 /  8 %    89 / 88 (91)  16 / 15 %    87 (51, by runs 96)  19 %
#   chinchilla_tied (4)                  82 / 84 (90)  13 / 12 %    91 / 91 (93)  32 / 28 %    89 (54, by runs 91)  53 %
#   compute_power_floor (3)              89 / 89 (92)  23 / 22 %    90 / 88 (90)  45 / 40 %    91 (54, by runs 90)  67 %
#   data_constrained (2 free)            90 / 90 (89)  64 / 56 %    86 / 86 (86)  80 / 74 %
#   exp_decay_floor (3)                  93 / 94 (92)  48 / 43 %    90 / 90 (90)  70 / 66 %
#   hill (4)                             95 / 94 (95)  31 / 28 %    88 / 89 (89)  59 / 56 %
#   kaplan_nd (4)                        87 / 86 (88)  24 / 22 %    88 / 87 (88)  54 / 50 %    91 (45, by runs 90)  59 %
#   qid_low_bit (4)                      86 / 86 (86)  32 / 27 %    92 / 90 (92)  59 / 55 %
#   routed_bilinear (4 free)             71 / 68 (91)   6 /  7 %    79 / 79 (90)  13 / 12 %    88 (48, by runs 93)  25 %
# chinchilla, 40 runs: Student-t noise with 3 df 91 / 91 (93), 19 %; scale twice as large in half of the runs 90 / 91
# (92), 23 / 17 %; scale the square of the level 88 / 87 (88), 21 %.
# What parts the cells that fall behind Wald intervals from the others is the effective share of the proposals: behind
# by 20 points at 6 %, 7 at 8 %, 8 to 11 at 13 %, 2 to 3 at 15 %, not at all above 25 %. k-hat was below 0.7 in most of
# them: it is blind to the arms of a bent ridge where no draw has landed. NUTS on 16 of the chinchilla sweeps of 12 runs
# gives intervals as wide as Wald's (1.01 times), where importance sampling gives 0.8 times; on 60 of
# routed_bilinear's of 12 runs it covers 90 % (83 to 97), where importance sampling covers 71 %. Since then proposals
# are wider, and the ladder goes on to NUTS below this share.
# The least number of runs for each inferred parameter: fewer were measured for chinchilla alone, which failed.
RUNS_PER_PARAMETER = 3.0
# The likelihoods that were measured, and those of them whose effects of runs were.
FAMILIES = ("normal", "student_t")
FAMILIES_OF_RUNS = ("normal",)
# The least number of runs where these have several rows: fewer say nothing of how much runs differ.
RUNS = 12
# The methods that were measured: NUTS on few sweeps only.
METHODS = ("importance", "nuts")


# A rank correlation of the size of residuals with the level is seen where it is as improbable as this by chance.
UNEVEN = 1e-3


def trend(residual: np.ndarray, level: np.ndarray) -> tuple[float, float]:
    """Rank correlation of the size of the residuals with the size of the level, and its p-value; (0, 1) of too few.

    Args:
        residual: shape (n,).
        level: the law's values or what rises with them, shape (n,).
    """
    from scipy import stats

    usable = np.isfinite(residual) & np.isfinite(level)
    size, level = np.abs(residual[usable]), level[usable]
    if len(size) < 8 or np.ptp(size) == 0 or np.ptp(level) == 0:
        return 0.0, 1.0
    found: Any = stats.spearmanr(size, level)
    return float(found.statistic), float(found.pvalue)


def checked(
    *,
    law: str,
    free: int,
    rows: int,
    family: str,
    method: str,
    runs: int | None = None,
    checkpoints: float = 1.0,
    efficiency: float | None = None,
    variant: str = "",
    uneven: tuple[float, float] = (0.0, 1.0),
) -> str:
    """Why intervals of a posterior were not seen to hold what they claim; empty where they were.

    Args:
        law: name of the law.
        free: number of its parameters that are inferred.
        rows: number of rows that count.
        family: of the likelihood (``Likelihood.family``).
        method: the rung that the posterior ended on.
        runs: number of runs, where a run has several rows; every row is its own run unless given.
        checkpoints: rows of each run, on average.
        efficiency: effective number of draws over the draws of the proposal, of importance sampling.
        variant: what else sets the posterior apart from those that were measured, in words.
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
    if variant:
        return f"{variant}: intervals of these were not measured."
    if family not in FAMILIES:
        return f"Intervals of a {family.replace('_', '-')} likelihood were not measured."
    if several and family not in FAMILIES_OF_RUNS:
        return f"A {family.replace('_', '-')} likelihood with an effect of each run was not measured."
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
            f"There are {count} runs for {free} inferred parameters of {law}; below {RUNS_PER_PARAMETER:g} for each, "
            "90 % intervals were seen to hold the truth less often than they claim."
        )
    return ""


def unmeasured(model: Any, rung: str, efficiency: float, seen: tuple[Any, Any] | None) -> str:
    """Why the intervals of a posterior were not seen to hold what they claim; empty where they were.

    Args:
        model: what was sampled (:class:`jaxscale.models.Model`).
        rung: that the posterior ended on.
        efficiency: effective number of draws over those of the proposal; NaN for NUTS.
        seen: residuals at the middle of the posterior and what they are taken from, in the likelihood's space, each of
            shape (n,); None where groups have their own.
    """
    chosen, used = model.likelihood, model.data["weight"] > 0
    rows, runs = int(used.sum()), len(np.unique(model.data["run"][used]))
    uneven = (0.0, 1.0)
    if seen is not None and chosen.scale_by == "constant" and chosen.family in FAMILIES:
        residual, target = (np.asarray(each)[used] for each in seen)
        level = residual + target
        uneven = trend(residual, np.abs(level) if chosen.space == "linear" else level)
    variant = ""
    if model.pooling:
        variant = "Pooled groups"
    elif chosen.censored:
        variant = "Censored responses"
    elif chosen.scale_by != "constant":
        variant = f"A scale by {chosen.scale_by}"
    return checked(
        law=model.law.name,
        free=len(model.free),
        rows=rows,
        family=chosen.family,
        method=rung,
        runs=runs if chosen.runs else None,
        checkpoints=rows / runs,
        efficiency=efficiency,
        variant=variant,
        uneven=uneven,
    )
