"""The optimisation problem behind a fit, from which refits, profiles and posteriors continue."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.engine.objective import Problem
from jaxscale.engine.optimum import Optimum, optimum_of
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of, from_params
from jaxscale.laws import resolve
from jaxscale.noise.measurement_errors import weight_by_errors
from jaxscale.results.fit import Fit
from jaxscale.results.provenance import fingerprint
from jaxscale.utils.errors import ArgumentError, Setting, UsageError
from jaxscale.utils.padding import bucket


@dataclass(frozen=True)
class RefitProblem:
    """The optimisation problem of a fit and the coordinates of its optimum.

    Args:
        law: the law.
        problem: law, inputs of shape (n,), noise; n is a bucket.
        z: coordinates of the optimum, shape (size,).
        wide: the observations, padded to n rows with weight 0.
        observations: the observations without padding.
        clusters: codes of the runs, shape (n,), where a run has several rows; else None.
    """

    law: Law
    problem: Problem
    z: Float[np.ndarray, " size"]
    wide: Observations
    observations: Observations
    clusters: Int[np.ndarray, " row"] | None

    @property
    def optimum(self) -> Optimum:
        """The problem at its optimum, with derivatives there."""
        return optimum_of(self.problem, self.z, self.wide.response, self.wide.weight)


def observations_of(fit: Fit, observations: Observations | None = None) -> Observations:
    """The fitted observations.

    Raises:
        ValueError: the fit was read from a file and no observations were given, or not those of the fit.
    """
    rows = fit.observations if observations is None else observations
    if rows is None:
        raise UsageError(
            "A fit read from a file holds no observations; pass them as ",
            Setting("observations"),
            ".",
            argument="observations",
        )
    if not is_of(fit, rows):
        raise ArgumentError("observations", "must be those of the fit, but has other data or other rows.")
    return rows


def is_of(fit: Fit, rows: Observations) -> bool:
    """Whether these are the observations of a fit."""
    if fit.provenance.used_sha256:
        return fit.provenance.used_sha256 == fingerprint(resolve(fit.law), rows)
    # A file of an older version identifies only the table, its columns and the number of rows used.
    count = int(np.sum(rows.weight > 0))
    return (rows.sha256, count, dict(rows.columns)) == (
        fit.provenance.data_sha256,
        fit.rows_used,
        fit.provenance.columns,
    )


def refit_problem(fit: Fit, observations: Observations | None = None) -> RefitProblem:
    """The optimisation problem of a fit; call it inside ``jax.enable_x64(True)``.

    A fit in memory keeps it; for one read from a file it is rebuilt from the observations.

    Args:
        fit: the fit.
        observations: the fitted observations, where the fit was read from a file.

    Raises:
        ValueError: the observations are missing or not those of the fit.
    """
    rows = observations_of(fit, observations)
    if observations is None and fit.problem is not None and _is_that_of(fit):
        # The parameters of the fit may have been replaced.
        return replace(fit.problem, z=coordinates_of(fit.problem.problem, fit.params, fit.scale))
    law = resolve(fit.law)
    rows = weight_by_errors(prepare(law, rows), fit.noise)
    wide = pad(rows, bucket(len(rows)))
    centre = centre_of(law, rows.inputs, fit.noise.loss.interior(rows.response), np)
    fixed = {name: np.asarray(value, float) for name, value in fit.fixed.items()}
    inputs = {name: wide.inputs[name] for name in (*law.inputs, *fit.noise.loss.columns)}
    problem = Problem(law, fit.free, fit.noise, inputs, fixed, centre)
    used = wide.weight > 0
    clustered = wide.run is not None and len(np.unique(wide.run[used])) < used.sum()
    z = coordinates_of(problem, fit.params, fit.scale)
    return RefitProblem(law, problem, z, wide, rows, wide.run if clustered else None)


def _is_that_of(fit: Fit) -> bool:
    """Whether the stored problem still matches the fit, whose fields may have been replaced."""
    problem: Problem = fit.problem.problem
    fixed = {name: float(value) for name, value in problem.fixed.items()}
    return (problem.free, fixed, problem.noise.to_dict()) == (fit.free, fit.fixed, fit.noise.to_dict())


def coordinates_of(problem: Problem, params: Mapping[str, float], scale: float | None) -> Float[np.ndarray, " size"]:
    """Coordinates of parameter values, with the log scale of the noise where it is fitted, shape (size,).

    Args:
        problem: law, free parameters and the centre of the data.
        params: every parameter by name.
        scale: of the noise.
    """
    values = {name: jnp.asarray(value, float) for name, value in params.items()}
    z = from_params(problem.law, problem.centre, problem.free, values)
    return np.asarray(jnp.stack([*z, jnp.log(scale or jnp.nan)] if problem.noise.infers_scale else z))
