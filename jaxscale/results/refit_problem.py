"""A fit as the problem it solved: what refits, profiles and posteriors go on from."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.data.padding import padded
from jaxscale.engine.objective import Problem
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of, from_params
from jaxscale.noise.losses import Noise, named
from jaxscale.noise.measurement_errors import weighted
from jaxscale.results.fit import Fit
from jaxscale.results.provenance import fingerprint
from jaxscale.utils.padding import bucket


@dataclass(frozen=True)
class Rebuilt:
    """The problem of a fit and the place of its optimum.

    Args:
        law: the law.
        problem: law, inputs of shape (n,), noise; n is a bucket.
        z: coordinates of the optimum, shape (size,).
        wide: the observations, padded to n rows with weight 0.
        observations: the observations as they are.
        clusters: codes of the runs, shape (n,), where some run has several rows; else None.
    """

    law: Law
    problem: Problem
    z: np.ndarray
    wide: Observations
    observations: Observations
    clusters: np.ndarray | None


def noise_of(fit: Fit) -> Noise:
    """The noise that was fitted with."""
    told, settings = fit.noise, {}
    if told["loss"] == "huber":
        settings["delta"] = told["delta"]  # a number, or "scale"
    if told["loss"] == "student_t":
        settings |= {"df": told["df"], "scale": None if told["scale_fitted"] else told["scale"]}
    return named(told["loss"], told["space"], **settings)


def observations_of(fit: Fit, observations: Observations | None = None) -> Observations:
    """What was fitted.

    Raises:
        ValueError: the fit was read from a file and no observations were given, or these are others.
    """
    rows = fit.observations if observations is None else observations
    if rows is None:
        raise ValueError("A fit read from a file holds no observations; hand them over as observations=...")
    if not is_of(fit, rows):
        raise ValueError("Argument observations must be those of the fit, but has other data or other rows.")
    return rows


def is_of(fit: Fit, rows: Observations) -> bool:
    """Whether a fit was made to these observations."""
    if fit.used_sha256:
        return fit.used_sha256 == fingerprint(fit._law(), rows)  # pyright: ignore[reportPrivateUsage]
    # A file of an older version tells only the table, its columns and how many rows counted.
    count = int(np.sum(rows.weight > 0))
    return (rows.sha256, count, dict(rows.columns)) == (fit.data_sha256, fit.rows_used, fit.columns)


def rebuilt(fit: Fit, observations: Observations | None = None) -> Rebuilt:
    """The problem that a fit solved; inside ``jax.enable_x64(True)``.

    Args:
        fit: the fit.
        observations: what was fitted, where the fit was read from a file.

    Raises:
        ValueError: the observations are missing or others.
    """
    law = fit._law()  # pyright: ignore[reportPrivateUsage]
    rows = prepare(law, observations_of(fit, observations))
    noise = noise_of(fit)
    rows = weighted(rows, noise)
    wide = padded(rows, bucket(len(rows)))
    centre = centre_of(law, rows.inputs, rows.response, np)
    fixed = {name: np.asarray(value, float) for name, value in fit.fixed.items()}
    inputs = {name: wide.inputs[name] for name in law.inputs}
    problem = Problem(law, fit.free, noise, inputs, fixed, centre)
    params = {name: jnp.asarray(value, float) for name, value in fit.params.items()}
    z = from_params(law, centre, fit.free, params)
    if noise.infers_scale:
        z = [*z, jnp.log(fit.noise["scale"])]
    used = wide.weight > 0
    clustered = wide.run is not None and len(np.unique(wide.run[used])) < used.sum()
    return Rebuilt(law, problem, np.asarray(jnp.stack(z)), wide, rows, wide.run if clustered else None)
