"""Jackknife: refits without one row, run or group."""

from typing import Any

import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.bounds import move_off_bounds
from jaxscale.engine.runner import Runner
from jaxscale.fitting.refits import refitted
from jaxscale.resampling.bootstrap import UNITS, codes_of, drawn, refuse_groups, unit_of
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import observations_of, refit_problem
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice


def jackknife(fit: Fit, *, cluster: str | None = None, observations: Observations | None = None) -> Draws:
    """Refit without one row, run or group at a time, all in one batch.

    The standard error of any quantity q is ``sqrt((G - 1) / G * sum_g (q_g - mean q)^2)`` over the G refits: see
    :func:`jackknife_stderr`. For an absolute loss, or Huber's with a delta far below the residuals, whose optimum
    jumps from vertex to vertex, the jackknife is not consistent; use :func:`bootstrap`.

    Args:
        fit: the fit.
        cluster: "row", "run" or "group"; rows, or whole runs where runs repeat, unless given.
        observations: what was fitted, where the fit was read from a file.

    Returns:
        One draw for every unit left out, in order: ``stats["left_out"]`` tells the row's place among the observations
        (from 0, rows of weight 0 counted too; such rows are not left out), or the code of the run or group.
        ``about["stderr"]`` holds the standard errors of the free parameters. Such draws lie far closer together than
        estimates do, so they are marked as not usable.

    Raises:
        ValueError: an argument is wrong, the observations are missing, others or no more than the free
            parameters, or fewer than two refits settled.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11.
    """
    if cluster is not None and cluster not in UNITS:
        raise ArgumentError("cluster", f"must be one of {', '.join(UNITS)}, but is {cluster!r}.")
    refuse_groups(fit, cluster)
    unit = unit_of(observations_of(fit, observations), fit.free, cluster)
    with jax.enable_x64(True):
        again = refit_problem(fit, observations)
        used = np.flatnonzero(again.wide.weight > 0)
        codes = codes_of(again.wide, unit)
        labels, place = np.unique(used if codes is None else codes[used], return_inverse=True)
        weight = np.repeat(again.wide.weight[None], len(labels), axis=0)
        weight[place, used] = 0.0
        begin = move_off_bounds(again.optimum)
        lanes, settled = refitted(Runner(), again.problem, begin, again.wide.response, weight, len(labels))
        notice = Notice("leave_one_out", f"The draws are refits without one {unit} each, not draws of the estimate.")
        about: dict[str, Any] = {"unit": unit, "n_resamples": len(labels)}
        draws = drawn(fit, again, lanes, settled, "jackknife", about, [notice], ok=False)
        draws.stats["left_out"] = labels[settled]
        del draws.stats["replicate"]
        draws.about["stderr"] = {name: float(jackknife_stderr(draws.params[name])) for name in fit.free}
    return draws


def jackknife_stderr(values: np.ndarray) -> Any:
    """``sqrt((G - 1) / G * sum_g (q_g - mean q)^2)`` over the first axis.

    Args:
        values: a quantity for every unit left out, such as ``jackknife(fit).derive(of)``, shape (units, ...).
    """
    count = len(values)
    return np.sqrt((count - 1) / count * np.sum((values - values.mean(axis=0)) ** 2, axis=0))
