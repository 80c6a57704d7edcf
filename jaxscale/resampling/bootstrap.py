"""Resampling a fit: six bootstraps and the jackknife, each one batch of refits from the optimum."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.bounds import move_off_bounds
from jaxscale.engine.linearize import Linear, linearise, params_at
from jaxscale.engine.newton import Lanes
from jaxscale.engine.runner import Runner
from jaxscale.fitting.refits import refitted
from jaxscale.laws import resolve
from jaxscale.noise.loss import Loss
from jaxscale.resampling import schemes
from jaxscale.resampling.schemes import SIGNS, Resamples
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.results.provenance import identity
from jaxscale.results.refit_problem import RefitProblem, observations_of, refit_problem
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.errors import ArgumentError, Setting
from jaxscale.utils.notices import Notice
from jaxscale.utils.progress import show_progress
from jaxscale.utils.random import generator_of

KINDS = ("case", "cluster", "residual", "wild", "parametric")
UNITS = ("row", "run", "group")
# Refits that fail are not a random choice: with more than this share of them, the tails of the draws are missing.
FAILED = 0.05


def bootstrap(
    fit: Fit,
    *,
    kind: str = "case",
    cluster: str | None = None,
    signs: str = "rademacher",
    n_resamples: int = 1000,
    seed: int = 0,
    observations: Observations | None = None,
    mesh: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Draws:
    """Refit resampled data from the optimum, all in one batch.

    - ``case``: rows drawn with replacement; whole runs where runs repeat. Assumes nothing of the noise.
    - ``cluster``: whole runs or groups drawn with replacement.
    - ``residual``: centred residuals, ``sqrt(n / (n - p))`` times as large, drawn anew for every row, in the noise's
      space. Assumes noise of one distribution, independent from row to row.
    - ``wild``: every row keeps its own residual, with a random sign; whole runs share a sign where runs repeat. Bears
      noise that differs from row to row. Residuals are divided by ``sqrt(1 - h)`` with the leverage h; those of a run
      are ``sqrt((G - 1) / G) (I - H_gg)^-1 r_g``, so that for a linear law the refits have the covariance of the
      jackknife over runs (CR3).
    - ``parametric``: noise drawn from the fitted noise; with a random effect of the run where runs repeat. For Huber's
      and absolute loss, which are no likelihoods, from a Student-t fitted to the residuals.

    Refits keep to the basin of the optimum. Those that do not settle try again with careful steps; what then still
    fails is left out and counted, and so are resamples with fewer distinct rows than free parameters. An absolute loss
    is refitted by its smoothed descent. An interruption (Ctrl-C) keeps the refits that are finished, with a notice.

    Args:
        fit: the fit.
        kind: how data are resampled, see above.
        cluster: what is kept together, "run" or "group", for the kinds cluster and wild; runs where they repeat unless
            given.
        signs: of the wild bootstrap: "rademacher" (1 or -1), or "mammen" (keeps the skewness of the residuals; for
            squared error only, since other losses need signs of median 0).
        n_resamples: number of resamples, at least 2.
        seed: of the random numbers.
        observations: what was fitted, where the fit was read from a file.
        mesh: a ``jax.sharding.Mesh`` over whose devices the refits are spread.
        checkpoint: folder where finished parts are kept; the same call goes on there after an interruption.
        progress: whether to show a progress bar after two seconds; on a terminal unless given.

    Returns:
        The parameters of the refits that settled. ``stats`` tells the objective and the number of each replicate;
        ``about`` the kind, what was kept together (``unit``), ``n_resamples``, ``failed``, the seed and, after an
        interruption, how many replicates are ``finished``.

    Raises:
        ValueError: an argument is wrong, the observations are missing, others or no more than the free
            parameters, or no refit settled.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Wu, Annals of Statistics 14 (1986); MacKinnon,
        Nielsen and Webb, arXiv:2301.04527 (wild bootstraps of clusters).
    """
    refuse(kind, cluster, signs, n_resamples, fit.noise.loss)
    refuse_groups(fit, cluster)
    unit = unit_of(observations_of(fit, observations), fit.free, cluster, kind)
    seed, _ = generator_of(seed)
    with jax.enable_x64(True):
        again = refit_problem(fit, observations)
        linear: Linear = jax.tree.map(np.asarray, linearise(again.problem, again.z, again.wide.response))
        some = resamples(again, linear, kind, unit, signs, n_resamples, seed)
        noise, journal = again.problem.noise, None
        if checkpoint is not None:
            settings = dict(bootstrap=kind, by=unit, signs=signs, n_resamples=n_resamples, seed=seed)
            told = identity(again.law, (again.observations, noise), noise.describe(), fit.fixed)
            journal = Journal(checkpoint, told | settings)
        with show_progress(f"resampling {fit.law}", progress) as ticker:
            runner = Runner(mesh, journal, ticker)
            begin = move_off_bounds(again.optimum)
            lanes, settled = refitted(runner, again.problem, begin, some.response, some.weight, n_resamples, keep=True)
        about = {"kind": kind, "unit": unit, "n_resamples": n_resamples, "seed": seed} | some.about
        notices, finished = [], len(settled)
        if finished < n_resamples:
            if np.sum(settled) < 2:
                raise KeyboardInterrupt
            notices.append(
                Notice("interrupted", f"Resampling was interrupted; {finished} of {n_resamples} refits are kept.")
            )
            about["finished"] = finished
        if kind == "residual" and again.clusters is not None:
            notices.append(Notice("runs_ignored", "Residuals were drawn row by row, although runs have several rows."))
        name = {"case": "cluster", "wild": "wild cluster"}.get(kind, kind) if unit != "row" else kind
        return drawn(fit, again, lanes, settled, f"{name} bootstrap", about, notices)


def resamples(
    again: RefitProblem, linear: Linear, kind: str, unit: str, signs: str, n_resamples: int, seed: int
) -> Resamples:
    """The data sets of a bootstrap: the same for the same seed."""
    generator = np.random.default_rng(seed)
    codes = codes_of(again.wide, unit)
    if kind in ("case", "cluster"):
        return schemes.cases(again, codes, n_resamples, generator)
    if kind == "wild":
        return schemes.wild(again, linear, codes, signs, n_resamples, generator)
    if kind == "residual":
        return schemes.residual(again, linear, n_resamples, generator)
    return schemes.parametric(again, linear, n_resamples, generator)


def unit_of(rows: Observations, free: Sequence[str], by: str | None, kind: str = "") -> str:
    """What is kept together: "row", "run" or "group".

    Args:
        rows: the data.
        free: names of the fitted parameters.
        by: what is asked for; runs where these repeat, else rows, unless given.
        kind: of the bootstrap.

    Raises:
        ValueError: the data have too few rows, name no such units, or only one.
    """
    used = rows.weight > 0
    if np.sum(used) <= len(free):
        raise ValueError(
            f"Resampling needs more rows than free parameters, but there are {np.sum(used)} rows and {len(free)} "
            "parameters; add rows or fix parameters."
        )
    repeated = rows.run is not None and len(np.unique(rows.run[used])) < np.sum(used)
    unit = "row" if kind == "residual" else by or ("run" if kind == "cluster" or repeated else "row")
    codes_of(rows, unit)
    return unit


def refuse_groups(fit: Fit, by: str | None) -> None:
    """Refuse to resample whole groups where each has parameters of its own.

    Raises:
        ValueError: it is asked for.
    """
    law = resolve(fit.law)
    if by == "group" and "group" in law.inputs:
        raise ArgumentError(
            "cluster",
            f"must not be 'group' for {law.name}: a resample without a group does not determine the "
            "parameters of that group; leave it out.",
        )


def codes_of(rows: Observations, unit: str) -> np.ndarray | None:
    """Codes of the units of the rows; None where every row is one.

    Raises:
        ValueError: the observations name no such units, or only one.
    """
    if unit == "row":
        return None
    codes = rows.run if unit == "run" else rows.group
    if codes is None:
        raise ArgumentError(
            "cluster",
            f"must name what the observations have, but they name no {unit}: name their column with ",
            Setting(unit),
            ".",
        )
    if len(np.unique(codes[rows.weight > 0])) < 2:
        raise ArgumentError("cluster", f"is {unit!r}, but all rows belong to one {unit}; at least two are needed.")
    return codes


def refuse(kind: str, by: str | None, signs: str, n_resamples: Any, loss: Loss) -> None:
    """Refuse arguments of a bootstrap that are wrong whatever the data.

    Args:
        kind: as of :func:`bootstrap`.
        by: likewise.
        signs: likewise.
        n_resamples: likewise.
        loss: that of the fit.

    Raises:
        ValueError: one of them is wrong.
    """
    if kind not in KINDS:
        raise ArgumentError("kind", f"must be one of {', '.join(KINDS)}, but is {kind!r}.")
    if by is not None and by not in UNITS[1:]:
        raise ArgumentError("cluster", f"must be 'run' or 'group', but is {by!r}.")
    if by is not None and kind not in ("cluster", "wild"):
        raise ArgumentError("cluster", f"must be given with kind 'cluster' or 'wild' only, but kind is {kind!r}.")
    if signs not in SIGNS:
        raise ArgumentError("signs", f"must be one of {', '.join(SIGNS)}, but is {signs!r}.")
    if kind == "wild" and signs != "rademacher" and not loss.quadratic:
        raise ArgumentError(
            "signs",
            f"must be 'rademacher' with {loss.name} noise, whose optimum would be biased by "
            f"signs of a median other than 0, but is {signs!r}.",
        )
    if loss.counts and kind not in ("case", "cluster"):
        raise ArgumentError("kind", f"must be 'case' or 'cluster' for a fit of counts, but is {kind!r}.")
    if isinstance(n_resamples, bool) or not isinstance(n_resamples, int | np.integer) or n_resamples < 2:
        raise ArgumentError("n_resamples", f"must be a whole number of at least 2, but is {n_resamples!r}.")


def drawn(
    fit: Fit,
    again: RefitProblem,
    lanes: Lanes,
    settled: np.ndarray,
    method: str,
    about: dict[str, Any],
    notices: list[Notice],
    ok: bool = True,
) -> Draws:
    """The refits that settled as draws."""
    count, failed = len(settled), int(np.sum(~settled))
    if count - failed < 2:
        raise ValueError(
            f"Only {count - failed} of {count} refits of {fit.law} settled; fix a parameter or use a simpler law."
        )
    if failed:
        notices = [*notices, Notice("resamples_failed", f"{failed} of {count} refits ({method}) did not settle.")]
    named = jax.tree.map(np.asarray, params_at(again.problem, lanes.z))
    free = len(again.problem.free)
    scale = {"scale": np.exp(lanes.z[free][settled])} if again.problem.noise.infers_scale else {}
    return Draws(
        law=fit.law,
        params={name: np.broadcast_to(named[name], count)[settled] for name in again.law.parameters},
        method=method,
        free=fit.free,
        nuisance=scale,
        stats={"objective": np.asarray(lanes.local.f)[settled], "replicate": np.flatnonzero(settled)},
        about=about | {"failed": failed},
        notices=tuple(notices),
        ok=ok and failed <= FAILED * count,
        observations=again.observations,
    )
