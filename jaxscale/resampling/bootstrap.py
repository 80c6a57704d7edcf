"""Bootstrap of a fit: case, cluster, residual, wild and parametric, as one batch of refits from the optimum."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from jaxscale.data.observations import Observations
from jaxscale.engine.bounds import move_off_bounds
from jaxscale.engine.linearize import Linear, linearise, params_at
from jaxscale.engine.newton import Lanes
from jaxscale.engine.runner import Runner
from jaxscale.fitting.refits import refit_batch
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
# Failed refits are not missing at random: above this share the tails of the draws are unreliable.
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
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Draws:
    """Bootstrap estimate of the sampling variability of a fit, all refits in one batch.

    - ``case``: rows drawn with replacement; whole runs where runs have several rows. Assumes independent rows
      (or runs), not equal variances.
    - ``cluster``: whole runs or groups drawn with replacement.
    - ``residual``: centred residuals times ``sqrt(n / (n - p))``, drawn with replacement, in the noise's space.
      Assumes independent, identically distributed noise.
    - ``wild``: every row keeps its own residual with a random sign, which the rows of a run share; valid under
      heteroscedasticity. Residuals are divided by ``sqrt(1 - h)`` with the leverage h; those of a run are
      ``sqrt((G - 1) / G) (I - H_gg)^-1 r_g``, so that for a linear law the refits have the covariance of the
      jackknife over runs (CR3).
    - ``parametric``: noise drawn from the fitted distribution, with a random effect per run where runs have several
      rows. For Huber and absolute losses the noise is a Student-t fitted to the residuals.

    Refits are local searches from the estimate, so that other minima are not explored. Failures are retried with damped
    steps; refits that still fail, and resamples with fewer distinct rows than free parameters, are left out and
    counted. An absolute loss is refitted in its smoothed form. An interruption (Ctrl-C) keeps the finished refits, with
    a notice.

    Args:
        fit: the fit.
        kind: the resampling scheme, see above.
        cluster: resampling unit, "run" or "group", of the cluster and wild bootstrap; default: runs where these have
            several rows.
        signs: of the wild bootstrap: "rademacher" (1 or -1), or "mammen" (keeps the skewness of the residuals; for
            squared error only, since other losses need signs of median 0).
        n_resamples: number of resamples, at least 2.
        seed: random seed.
        observations: the fitted observations, where the fit was read from a file.
        mesh: a ``jax.sharding.Mesh`` of devices over which to spread the refits.
        checkpoint: folder for finished parts; after an interruption the same call resumes there.
        progress: whether to show a progress bar after two seconds; default: on a terminal.

    Returns:
        The parameters of the converged refits. ``stats`` holds the objective and the index of each replicate;
        ``about`` the kind, the resampling unit (``unit``), ``n_resamples``, ``failed``, the seed and, after an
        interruption, the number of ``finished`` replicates.

    Raises:
        ValueError: an argument is invalid, the observations are missing, not those of the fit or no more than the
            free parameters, or fewer than two refits converged.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Wu, Annals of Statistics 14 (1986); MacKinnon,
        Nielsen and Webb, arXiv:2301.04527 (wild bootstraps of clusters).
    """
    check_arguments(kind, cluster, signs, n_resamples, fit.noise.loss)
    check_groups(fit, cluster)
    unit = unit_of(observations_of(fit, observations), fit.free, cluster, kind)
    seed, _ = generator_of(seed)
    with jax.enable_x64(True):
        refit = refit_problem(fit, observations)
        linear: Linear = jax.tree.map(np.asarray, linearise(refit.problem, refit.z, refit.wide.response))
        data = resamples(refit, linear, kind, unit, signs, n_resamples, seed)
        noise, journal = refit.problem.noise, None
        if checkpoint is not None:
            settings = dict(bootstrap=kind, by=unit, signs=signs, n_resamples=n_resamples, seed=seed)
            run_identity = identity(refit.law, (refit.observations, noise), noise.describe(), fit.fixed)
            journal = Journal(checkpoint, run_identity | settings)
        with show_progress(f"resampling {fit.law}", progress) as ticker:
            runner = Runner(mesh, journal, ticker)
            begin = move_off_bounds(refit.optimum)
            lanes, settled = refit_batch(
                runner, refit.problem, begin, data.response, data.weight, n_resamples, keep=True
            )
        about = {"kind": kind, "unit": unit, "n_resamples": n_resamples, "seed": seed} | data.about
        notices, finished = [], len(settled)
        if finished < n_resamples:
            if np.sum(settled) < 2:
                raise KeyboardInterrupt
            notices.append(
                Notice("interrupted", f"Resampling was interrupted; {finished} of {n_resamples} refits finished.")
            )
            about["finished"] = finished
        if kind == "residual" and refit.clusters is not None:
            notices.append(Notice("runs_ignored", "Residuals were drawn row by row, although runs have several rows."))
        name = {"case": "cluster", "wild": "wild cluster"}.get(kind, kind) if unit != "row" else kind
        return draws_of(fit, refit, lanes, settled, f"{name} bootstrap", about, notices)


def resamples(
    refit: RefitProblem, linear: Linear, kind: str, unit: str, signs: str, n_resamples: int, seed: int
) -> Resamples:
    """The resampled data sets of a bootstrap, reproducible by seed."""
    generator = np.random.default_rng(seed)
    codes = codes_of(refit.wide, unit)
    if kind in ("case", "cluster"):
        return schemes.cases(refit, codes, n_resamples, generator)
    if kind == "wild":
        return schemes.wild(refit, linear, codes, signs, n_resamples, generator)
    if kind == "residual":
        return schemes.residual(refit, linear, n_resamples, generator)
    return schemes.parametric(refit, linear, n_resamples, generator)


def unit_of(rows: Observations, free: Sequence[str], by: str | None, kind: str = "") -> str:
    """The resampling unit: "row", "run" or "group".

    Args:
        rows: the data.
        free: names of the fitted parameters.
        by: the requested unit; default: runs where these have several rows, else rows.
        kind: of the bootstrap.

    Raises:
        ValueError: the data have too few rows, no such units, or only one.
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


def check_groups(fit: Fit, by: str | None) -> None:
    """Reject resampling of whole groups where each has its own parameters.

    Raises:
        ValueError: it is requested.
    """
    law = resolve(fit.law)
    if by == "group" and "group" in law.inputs:
        raise ArgumentError(
            "cluster",
            f"must not be 'group' for {law.name}: a resample without a group does not determine the "
            "parameters of that group; leave it out.",
        )


def codes_of(rows: Observations, unit: str) -> Int[np.ndarray, " row"] | None:
    """Codes of the resampling units of the rows; None where every row is a unit.

    Raises:
        ValueError: the observations have no such units, or only one.
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


def check_arguments(kind: str, by: str | None, signs: str, n_resamples: int | np.integer, loss: Loss) -> None:
    """Validate arguments of a bootstrap that do not depend on the data.

    Args:
        kind: as in :func:`bootstrap`.
        by: the argument ``cluster`` of :func:`bootstrap`.
        signs: as in :func:`bootstrap`.
        n_resamples: as in :func:`bootstrap`.
        loss: that of the fit.

    Raises:
        ValueError: one of them is invalid.
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


def draws_of(
    fit: Fit,
    refit: RefitProblem,
    lanes: Lanes,
    settled: Bool[np.ndarray, " resample"],
    method: str,
    about: dict[str, Any],
    notices: list[Notice],
    ok: bool = True,
) -> Draws:
    """The converged refits as draws."""
    count, failed = len(settled), int(np.sum(~settled))
    if count - failed < 2:
        raise ValueError(
            f"Only {count - failed} of {count} refits of {fit.law} converged; fix a parameter or use a simpler law."
        )
    if failed:
        notices = [*notices, Notice("resamples_failed", f"{failed} of {count} refits ({method}) did not converge.")]
    params = jax.tree.map(np.asarray, params_at(refit.problem, lanes.z))
    free = len(refit.problem.free)
    scale = {"scale": np.exp(lanes.z[free][settled])} if refit.problem.noise.infers_scale else {}
    return Draws(
        law=fit.law,
        params={name: np.broadcast_to(params[name], count)[settled] for name in refit.law.parameters},
        method=method,
        free=fit.free,
        nuisance=scale,
        stats={"objective": np.asarray(lanes.local.f)[settled], "replicate": np.flatnonzero(settled)},
        about=about | {"failed": failed},
        notices=tuple(notices),
        ok=ok and failed <= FAILED * count,
        observations=refit.observations,
    )
