"""MCMC diagnostics: R-hat, effective sample size, divergences and E-BFMI."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Float

from jaxscale.utils.arrays import Array
from jaxscale.utils.compilation import compiled
from jaxscale.utils.notices import Notice

# R-hat and effective sample size: the limits for a notice, and those beyond which draws are not usable.
MIXED, UNMIXED = 1.01, 1.05
ENOUGH, TOO_FEW = 400, 100
ENERGETIC = 0.3


def convergence(chains: Float[np.ndarray, "chain draw"]) -> dict[str, float]:
    """Rank-normalised split R-hat, bulk and tail effective sample size of one quantity, shape (chains, draws)."""
    import arviz_stats.base as base

    array_stats: Any = base.array_stats  # pyright: ignore[reportPrivateImportUsage]
    if np.ptp(chains) == 0 or chains.shape[1] < 4:
        return {"rhat": float("nan"), "ess_bulk": float("nan"), "ess_tail": float("nan")}
    return {
        "rhat": float(array_stats.rhat(chains)),
        "ess_bulk": float(array_stats.ess(chains, method="bulk")),
        "ess_tail": float(array_stats.ess(chains, method="tail", prob=(0.05, 0.95))),
    }


def ebfmi(energy: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, " chain"]:
    """Energy Bayesian fraction of missing information (E-BFMI) per chain, ``mean (E_i - E_(i-1))^2 / var E``.

    NaN where a chain has one draw or a constant energy.

    Args:
        energy: shape (chains, draws).
    """
    if energy.shape[1] < 2:
        return np.full(len(energy), np.nan)
    change = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return change / np.var(energy, axis=1)


@compiled
def _rhats(x: Float[Array, "chain draw ..."]) -> Float[Array, " quantity"]:
    """Rank-normalised split R-hat (the larger of bulk and tail), shape (...,), from shape (chains, draws, ...)."""
    half = x.shape[1] // 2
    split = jnp.concatenate([x[:, :half], x[:, -half:]])

    def one(values: Float[Array, "chain draw"]) -> Float[Array, ""]:
        def scores(v: Float[Array, "chain draw"]) -> Float[Array, "chain draw"]:
            ranks = jnp.argsort(jnp.argsort(v.ravel())).reshape(v.shape).astype(v.dtype) + 1.0
            return ndtri((ranks - 0.375) / (v.size + 0.25))

        def plain(v: Float[Array, "chain draw"]) -> Float[Array, ""]:
            n = v.shape[1]
            within = jnp.mean(jnp.var(v, axis=1, ddof=1))
            between = jnp.var(jnp.mean(v, axis=1), ddof=1)
            return jnp.sqrt((n - 1) / n + between / within)

        folded = jnp.abs(values - jnp.median(values))
        return jnp.maximum(plain(scores(values)), plain(scores(folded)))

    flat = split.reshape(*split.shape[:2], -1)
    return jax.lax.map(lambda k: one(flat[:, :, k]), jnp.arange(flat.shape[2]))


def largest_rhat(x: Float[np.ndarray, "problem chain draw size"]) -> Float[np.ndarray, " problem"]:
    """The largest R-hat over the coordinates of every posterior, from draws of shape (posteriors, chains, draws, size).

    Equal to ArviZ's value except for ties (which continuous draws do not have), and vectorised over posteriors. NaN
    where chains have fewer than four draws.
    """
    if x.shape[2] < 4:
        return np.full(len(x), np.nan)
    return np.array([np.max(np.asarray(_rhats(each))) for each in x])


def assess(draws: Any) -> tuple[tuple[Notice, ...], bool]:
    """Notices on posterior draws, and whether the draws are usable.

    NUTS draws are checked for convergence and effective sample size, draws of other methods for their number.

    Args:
        draws: a :class:`jaxscale.results.draws.Draws`.
    """
    if draws.method != "nuts":
        return _assess_number(draws)
    rows = draws.intervals().params
    notices, ok = [], True
    # NaN counts as a failure: comparisons with it are false, and NumPy's extremes propagate it.
    worst = {name: row["rhat"] for name, row in rows.items() if not row["rhat"] <= MIXED}
    if worst:
        notices.append(Notice("not_mixed", f"R-hat is above {MIXED} for {_worst(worst, 3, -1)}."))
        ok = bool(np.max([*worst.values()]) <= UNMIXED)
    few = {name: float(np.min([row["ess_bulk"], row["ess_tail"]])) for name, row in rows.items()}
    few = {name: value for name, value in few.items() if not value >= ENOUGH}
    if few:
        notices.append(Notice("few_draws", f"The effective sample size is below {ENOUGH} for {_worst(few, 0, 1)}."))
        ok = ok and bool(np.min([*few.values()]) >= TOO_FEW)
    count = int(np.sum(draws.stats["diverging"]))
    if count:
        notices.append(Notice("divergences", f"{count} of {len(draws)} draws diverged."))
        ok = ok and count <= 0.01 * len(draws)
    energy = ebfmi(draws.stats["energy"].reshape(draws.chains, -1))
    if energy.min() < ENERGETIC:
        notices.append(Notice("low_energy", f"E-BFMI is {energy.min():.2f} in the worst chain, below {ENERGETIC}."))
    return tuple(notices), bool(ok)


def _assess_number(draws: Any) -> tuple[tuple[Notice, ...], bool]:
    """Notices on the number of independent draws and the effective sample size of importance weights."""
    ess = draws.about.get("ess", np.inf)
    if len(draws) < TOO_FEW:
        return (Notice("few_draws", f"There are {len(draws)} draws, fewer than {TOO_FEW}."),), False
    if not ess >= TOO_FEW:
        message = f"The effective sample size of the importance weights is {ess:.0f}, below {TOO_FEW}."
        return (Notice("few_draws", message),), False
    return (), True


def _worst(values: dict[str, float], digits: int, sign: int) -> str:
    """The four worst values by name, unknown ones first."""
    worst = sorted(values.items(), key=lambda pair: (not np.isnan(pair[1]), sign * pair[1]))[:4]
    return ", ".join(f"{name} (unknown)" if np.isnan(value) else f"{name} {value:.{digits}f}" for name, value in worst)
