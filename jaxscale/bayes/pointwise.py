"""Pointwise log likelihood by row or run, and Pareto-smoothed importance weights of leave-out posteriors.

A unit is a row, or a run where its rows share a random effect, which is integrated out.
"""

import dataclasses
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from jaxscale.bayes.model import Model
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.noise import random_effects
from jaxscale.results.draws import Draws
from jaxscale.utils.errors import ArgumentError

# Nodes of the quadrature over a run effect, and iterations of the adaptive quadrature.
NODES, MOVES = 25, 6
# Laplace densities have kinks, for which Gaussian quadrature fails: equal steps over so many standard deviations on
# each side, accurate to 5e-4 nats wherever a kink lies.
STEPS, REACH = 401, 10.0
# Numbers held in memory at a time.
TOGETHER = 8_000_000
# The fewest draws whose tail can be smoothed: five in the tail.
LEAST = 25


def pointwise(model: Model, sites: dict[str, Float[np.ndarray, "draw ..."]]) -> Float[np.ndarray, "draw unit"]:
    """Pointwise log likelihood of every unit for every draw, shape (draws, units).

    A sampled run effect b is integrated out, ``log int prod_i p(y_i | theta, b) N(b; 0, 1) db``, by adaptive
    Gauss-Hermite quadrature; under Laplace residuals, whose density has kinks, by the trapezoidal rule with many
    nodes.

    Args:
        model: the sampled model (:class:`jaxscale.bayes.model.Model`).
        sites: draws by name, leading axis (draws,).

    Source: Merkle, Furr & Rabe-Hesketh 2019, doi:10.1007/s11336-019-09679-0.
    """
    if not model.runs:
        return model.log_likelihood(sites)
    used = np.asarray(model.data["weight"]) > 0
    first, codes = np.unique(np.asarray(model.data["run"])[used], return_inverse=True)
    belongs = (codes[:, None] == np.arange(len(first))).astype(float)
    draws = len(sites["run_effect"])
    block = max(1, TOGETHER // ((NODES if model.likelihood.differentiable else STEPS) * len(first)))
    parts = []
    for begin in range(0, draws, block):
        part = {name: values[begin : begin + block] for name, values in sites.items()}
        parts.append(_integrate_effects(model, part, first, belongs))
    return np.concatenate(parts)


def _integrate_effects(
    model: Model,
    sites: dict[str, Float[np.ndarray, "draw ..."]],
    runs: Int[np.ndarray, " run"],
    belongs: Float[np.ndarray, "row run"],
) -> Float[np.ndarray, "draw run"]:
    """Marginal log likelihood of the runs for a block of draws, shape (draws, runs).

    Args:
        model: the sampled model.
        sites: draws by name.
        runs: codes of the runs of positive weight.
        belongs: 1 where a row of positive weight belongs to a run, shape (rows, runs).
    """
    from scipy.special import logsumexp

    x, w = np.polynomial.hermite_e.hermegauss(NODES)
    log_w = np.log(w) + 0.5 * x * x
    shape = sites["run_effect"].shape
    middle, width = np.zeros((shape[0], len(runs))), np.ones((shape[0], len(runs)))

    def terms(x: Float[np.ndarray, " node"], log_w: Float[np.ndarray, " node"]) -> Float[np.ndarray, "node draw run"]:
        """Log terms of the quadrature, shape (nodes, draws, runs)."""
        logs = []
        for node, log_weight in zip(x, log_w, strict=True):
            effect = middle + node * width
            whole = np.zeros(shape)
            whole[:, runs] = effect
            density = model.log_likelihood({**sites, "run_effect": whole}) @ belongs
            prior = -0.5 * effect * effect - 0.5 * np.log(2 * np.pi)
            logs.append(density + prior + np.log(width) + log_weight)
        return np.stack(logs)

    total = middle
    for _ in range(MOVES):
        log_terms = terms(x, log_w)
        total = np.asarray(logsumexp(log_terms, axis=0))
        share = np.exp(log_terms - total)
        mean = np.einsum("kdr,k->dr", share, x)
        spread = np.sqrt(np.einsum("kdr,kdr->dr", share, (x[:, None, None] - mean) ** 2))
        middle, width = middle + mean * width, width * np.clip(spread, 0.3, 3.0)
    if model.likelihood.differentiable:
        return total
    steps = np.linspace(-REACH, REACH, STEPS)
    return np.asarray(logsumexp(terms(steps, np.full(STEPS, np.log(steps[1] - steps[0]))), axis=0))


def unit_labels(model: Model, observations: Observations | None) -> tuple[str, Int[np.ndarray, " unit"]]:
    """The unit of the pointwise log likelihood, "row" or "run", and the number of its (first) row, shape (units,)."""
    used = np.flatnonzero(np.asarray(model.data["weight"]) > 0)
    rows = used + 1
    if observations is not None and observations.rows:
        rows = np.asarray(observations.rows)[used]
    if not (model.runs or model.marginal):
        return "row", rows
    return "run", rows[np.unique(np.asarray(model.data["run"])[used], return_index=True)[1]]


def scoring_model(model: Model, observations: Observations) -> Model:
    """A sampled model with other row weights, for scoring of held-out rows.

    Args:
        model: of observations with held-out rows of weight 0.
        observations: the same rows with the weights of the score.

    Raises:
        ValueError: the model has other rows.
    """
    size = len(model.response)
    _, rows = model.likelihood.bind(prepare(model.law, observations))
    if size < len(rows):
        raise ArgumentError(
            "posterior",
            f"must draw given all {len(rows)} rows (those not to be seen have weight 0), but its model has {size}.",
        )
    wide = pad(rows, size)
    run = np.arange(size) if wide.run is None else wide.run
    group = np.zeros(size, int) if model.groups == 1 or wide.group is None else wide.group
    data = {"weight": wide.weight, "run": run, "group": group}
    data |= {name: wide.inputs[name] for name in model.likelihood.columns}
    inputs = {name: wide.inputs[name] for name in model.law.inputs}
    places = random_effects.run_rows(run, wide.weight > 0, *model.places.shape) if model.marginal else model.places
    return dataclasses.replace(model, inputs=inputs, response=wide.response, data=data, places=places)


def psis_weights(
    log_ratios: Float[np.ndarray, "draw column"], draws: Draws
) -> tuple[Float[np.ndarray, "draw column"], Float[np.ndarray, " column"]]:
    """Pareto-smoothed importance weights and their k-hat.

    Args:
        log_ratios: shape (draws, columns).
        draws: the draws; autocorrelation of chains enlarges the smoothed tail.

    Returns:
        Normalised log weights, shape (draws, columns), and k-hat, shape (columns,): minus infinity where all weights
        are equal, infinity where a ratio is not finite.

    Raises:
        ValueError: there are fewer than 25 draws.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, arXiv:1507.02646.
    """
    from arviz_stats.base.array import array_stats
    from scipy.special import logsumexp

    if len(log_ratios) < LEAST:
        raise ValueError(f"Weights need {LEAST} draws or more, but there are {len(log_ratios)}; draw more.")
    share, smooth = efficiency(draws), cast(Any, array_stats).psislw
    log_weights, khat = np.empty(log_ratios.shape), np.empty(log_ratios.shape[1])
    for k, column in enumerate(log_ratios.T):
        column = np.where(np.isnan(column), -np.inf, column)
        if column.max() == np.inf or np.isneginf(column.max()):
            log_weights[:, k], khat[k] = -np.log(len(column)), np.inf
        elif _equal_weights(column, share):
            log_weights[:, k] = column - logsumexp(column)
            khat[k] = -np.inf
        else:
            # Where one weight dominates, the tail has no width to divide by.
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                log_weights[:, k], khat[k] = smooth(column.max() - column, r_eff=share)
            if np.isnan(log_weights[:, k]).any() or not np.isfinite(khat[k]):
                log_weights[:, k], khat[k] = column - logsumexp(column), np.inf
    return log_weights, khat


def efficiency(draws: Draws) -> float:
    """Relative efficiency, the effective sample size per draw: below 1 for autocorrelated chains."""
    if draws.method != "nuts":
        return 1.0
    from arviz_stats.base.array import array_stats

    shares = []
    for name in draws.free:
        values = draws.params[name].reshape(draws.chains, len(draws) // draws.chains, -1)
        for k in range(values.shape[-1]):
            shares.append(float(np.asarray(array_stats.ess(values[..., k], method="mean", relative=True))))
    return float(np.clip(np.nanmean(shares), 1e-3, 1.0))


def _equal_weights(log_ratios: Float[np.ndarray, " draw"], share: float) -> bool:
    """Whether the largest weights are equal, so that there is no tail to fit."""
    n = len(log_ratios)
    tail = int(3 * np.sqrt(n / share)) if n * share > 225 else n // 5
    largest = np.partition(log_ratios, n - min(tail, n - 1) - 1)[n - min(tail, n - 1) - 1 :]
    return bool(np.ptp(largest) < 1e-12)
