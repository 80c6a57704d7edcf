"""Jackknife: leave-one-out refits over rows, runs or groups."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.engine.bounds import move_off_bounds
from jaxscale.engine.runner import Runner
from jaxscale.fitting.refits import refit_batch
from jaxscale.resampling.bootstrap import UNITS, check_groups, codes_of, draws_of, unit_of
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import observations_of, refit_problem
from jaxscale.utils.arrays import Value
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice


def jackknife(fit: Fit, *, cluster: str | None = None, observations: Observations | None = None) -> Draws:
    """Jackknife of a fit: refits without one row, run or group at a time, all in one batch.

    The standard error of a quantity q is ``sqrt((G - 1) / G * sum_g (q_g - mean q)^2)`` over the G refits: see
    :func:`jackknife_stderr`. The jackknife is not consistent for an absolute loss, or Huber's with a delta far below
    the residuals, whose optimum jumps between vertices; use :func:`bootstrap`.

    Args:
        fit: the fit.
        cluster: "row", "run" or "group"; default: runs where these have several rows, else rows.
        observations: the fitted observations, where the fit was read from a file.

    Returns:
        One draw per unit left out, in order: ``stats["left_out"]`` is the index of the row among the observations
        (from 0, counting rows of weight 0, which are not left out), or the code of the run or group.
        ``about["stderr"]`` holds the standard errors of the free parameters. Jackknife draws have a much smaller
        variance than estimates do, so ``ok`` is False.

    Raises:
        ValueError: an argument is invalid, the observations are missing, not those of the fit or no more than the
            free parameters, or fewer than two refits converged.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11.
    """
    if cluster is not None and cluster not in UNITS:
        raise ArgumentError("cluster", f"must be one of {', '.join(UNITS)}, but is {cluster!r}.")
    check_groups(fit, cluster)
    unit = unit_of(observations_of(fit, observations), fit.free, cluster)
    with jax.enable_x64(True):
        refit = refit_problem(fit, observations)
        used = np.flatnonzero(refit.wide.weight > 0)
        codes = codes_of(refit.wide, unit)
        labels, place = np.unique(used if codes is None else codes[used], return_inverse=True)
        weight = np.repeat(refit.wide.weight[None], len(labels), axis=0)
        weight[place, used] = 0.0
        begin = move_off_bounds(refit.optimum)
        lanes, settled = refit_batch(Runner(), refit.problem, begin, refit.wide.response, weight, len(labels))
        notice = Notice("leave_one_out", f"The draws are leave-one-{unit}-out refits, not draws of the estimate.")
        about: dict[str, Any] = {"unit": unit, "n_resamples": len(labels)}
        draws = draws_of(fit, refit, lanes, settled, "jackknife", about, [notice], ok=False)
        draws.stats["left_out"] = labels[settled]
        del draws.stats["replicate"]
        draws.about["stderr"] = {name: float(jackknife_stderr(draws.params[name])) for name in fit.free}
    return draws


def jackknife_stderr(values: Float[np.ndarray, "unit ..."]) -> Float[Value, "..."]:
    """Jackknife standard error ``sqrt((G - 1) / G * sum_g (q_g - mean q)^2)`` over the first axis.

    Args:
        values: a quantity per unit left out, such as ``jackknife(fit).derive(quantity)``, shape (units, ...).
    """
    count = len(values)
    return np.sqrt((count - 1) / count * np.sum((values - values.mean(axis=0)) ** 2, axis=0))
