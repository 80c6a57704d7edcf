"""Likelihood-ratio statistic of a profile: the optimum, its curvature, and the unit of the statistic.

The statistic of a held quantity is ``2 (f - f_min) / c``. Its square root is compared with a t quantile (a normal one
where the objective is a likelihood); the unit c depends on the noise.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from jaxscale.data.observations import Observations
from jaxscale.engine.descent import descend
from jaxscale.engine.linearize import Linear, linearise
from jaxscale.engine.objective import Problem
from jaxscale.engine.runner import Runner
from jaxscale.fitting.sandwich import sandwich
from jaxscale.law import Law
from jaxscale.law.coordinates import from_params
from jaxscale.noise.noise import Noise
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import RefitProblem, refit_problem
from jaxscale.utils.arrays import Value
from jaxscale.utils.errors import Setting, UsageError

# The smallest curvature, relative to the largest, at which parameters are identified.
FLAT = 1e-12


@dataclass(frozen=True)
class ProfileSetup:
    """The optimum of a fit, with curvature and unit of the likelihood-ratio statistic.

    Args:
        problem: law, inputs of shape (n,), noise.
        wide: the fitted observations, padded to n rows.
        z: coordinates of the optimum, shape (size,).
        f: the objective there.
        covariance: the inverse of the objective's curvature in the coordinates, shape (size, size).
        linear: predictions and derivatives there.
        unit: c, the unit of the statistic.
        freedom: degrees of freedom of the t quantiles; infinite for a likelihood.
        clusters: codes of the runs, shape (n,), where a run has several rows.
        about: definition of the statistic in words.
        density: the mean of psi' where it comes from the density of the residuals at 0; else None.
    """

    problem: Problem
    wide: Observations
    z: Float[np.ndarray, " size"]
    f: float
    covariance: Float[np.ndarray, "size size"]
    linear: Linear
    unit: float
    freedom: float
    clusters: Int[np.ndarray, " row"] | None
    about: dict[str, Any]
    density: float | None


@lru_cache(maxsize=256)
def _plain(law: Law) -> Law:
    """The law without its own coordinates, in which single parameters cannot be held."""
    return law if law.coordinates is None else replace(law, coordinates=None)


def hold_parameters(
    problem: Problem, flags: Bool[np.ndarray, "lane free"], values: Float[np.ndarray, "lane free"]
) -> Problem:
    """A problem whose lanes hold given parameters at given values, both of shape (lanes, free parameters)."""

    def spread(a: Real[Value, "..."]) -> Float[np.ndarray, "lane ..."]:
        return np.broadcast_to(np.asarray(a, float), (len(flags), *np.shape(a)))

    inputs, fixed, centre = jax.tree.map(spread, (problem.inputs, problem.fixed, problem.centre))
    held = {name: (flags[:, k], values[:, k]) for k, name in enumerate(problem.free)}
    return Problem(problem.law, problem.free, problem.noise, inputs, fixed, centre, True, held)


def profile_setup(runner: Runner, fit: Fit, observations: Observations | None) -> ProfileSetup:
    """The optimum of a fit, polished once more; call it inside ``jax.enable_x64(True)``.

    Raises:
        ValueError: there are no degrees of freedom, all residuals are zero, or the parameters are not identified.
    """
    refit = refit_problem(fit, observations)
    problem, about = smooth(refit)
    y, weight = refit.wide.response, refit.wide.weight
    used = weight > 0
    rows, size = int(used.sum()), len(problem.free)
    if rows <= size:
        raise ValueError(f"A profile needs more rows than free parameters, but there are {rows} rows for {size}.")
    z = refit.z
    if problem.law is not refit.law:
        params = {name: jnp.asarray(value, float) for name, value in fit.params.items()}
        start = jnp.stack(from_params(problem.law, problem.centre, problem.free, params))
        z = np.concatenate([np.asarray(start), z[size:]])
    z = z[: problem.size]
    none = np.zeros((1, size), bool)
    lanes = descend(runner, hold_parameters(problem, none, 0.0 + none), z[:, None], y, weight, direct=True, warm=True)
    f, z = float(lanes.local.f[0]), lanes.z[:, 0]
    linear = jax.tree.map(np.asarray, linearise(problem, z, y))
    r, w = linear.residual[used], weight[used]
    loss = problem.noise.loss
    freedom = np.inf if loss.in_nats else float(rows - size)
    unit, density, description = loss.statistic_unit(r, w, size)
    if refit.wide.sigma is not None:
        unit, freedom, description = 1.0, np.inf, "2 (S - S_min), chi-squared: the errors of the rows are known"
    about["statistic"] = description
    if not unit > 1e-28 * np.mean(w):
        raise ValueError("A profile needs nonzero residuals, but this fit interpolates all of its rows.")
    about["unit c"] = unit
    x = linear.slope[used]
    curvature = [lanes.local.exact[..., 0], lanes.local.safe[..., 0]]
    if density is not None:
        curvature = [density * x.T @ (w[:, None] * x)]
    covariance = _inverse(curvature)
    if refit.clusters is not None:
        freedom = float(len(np.unique(refit.clusters[used])) - 1)
    return ProfileSetup(problem, refit.wide, z, f, covariance, linear, unit, freedom, refit.clusters, about, density)


def smooth(refit: RefitProblem) -> tuple[Problem, dict[str, Any]]:
    """The problem with a differentiable loss of fixed scale.

    An absolute loss is smoothed at its kink; Huber's loss keeps its fitted threshold.
    """
    law, about = _plain(refit.law), {}
    problem = refit.problem
    problem = Problem(law, problem.free, problem.noise, problem.inputs, problem.fixed, problem.centre)
    mean = 0.0
    if problem.noise.loss.vertex:
        linear, weight = linearise(refit.problem, refit.z, refit.wide.response), refit.wide.weight
        residual = np.where(weight > 0, np.abs(np.asarray(linear.residual)), 0.0)
        mean = float(np.sum(weight * residual) / np.sum(weight))
    loss, description = problem.noise.loss.without_scale(float(refit.problem.log_scale(refit.z)), mean)
    if not loss.threshold > 0:
        raise ValueError("A profile needs nonzero residuals, but this fit interpolates all of its rows.")
    if description:
        about["loss"] = description
    return eqx.tree_at(lambda s: s.noise, problem, Noise(loss, problem.noise.space)), about


def _inverse(curvatures: list[Float[np.ndarray, "size size"]]) -> Float[np.ndarray, "size size"]:
    for hessian in curvatures:
        scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), np.finfo(float).tiny))
        scaled = hessian * np.outer(scale, scale)
        values = np.linalg.eigvalsh(scaled) if np.all(np.isfinite(scaled)) else np.array([np.nan])
        if values[0] > FLAT * values[-1]:
            return np.linalg.inv(scaled) * np.outer(scale, scale)
    raise UsageError(
        "A profile needs identified parameters, but the objective is flat at the optimum; fix one of them with ",
        Setting("fixed"),
        ".",
    )


def cluster_ratios(
    setup: ProfileSetup, slopes_of: Float[np.ndarray, "quantity size"]
) -> Float[np.ndarray, "quantity quantity"]:
    """Cluster-robust covariance of quantities relative to the model-based covariance, shape (k, k).

    Args:
        setup: the optimum and the unit of the statistic.
        slopes_of: the quantities' derivatives in the coordinates, shape (k, size).

    Returns:
        ``L^-1 V L^-T`` with V the cluster-robust and ``L L'`` the model-based covariance.
    """
    if setup.clusters is None:
        return np.eye(len(slopes_of))
    problem, linear, noise = setup.problem, setup.linear, setup.problem.noise
    used = setup.wide.weight > 0
    w, r, x = setup.wide.weight[used], linear.residual[used], linear.slope[used]
    s = float(problem.log_scale(setup.z))
    psi, bend, _ = (np.asarray(a) for a in noise.loss.slopes(np.asarray(r), noise.loss.threshold, s))
    scores = (w * psi)[:, None] * x
    if noise.infers_scale:
        cost = jax.vmap(jax.grad(lambda s, r: noise.loss.value(r, jnp.inf, s)), in_axes=(None, 0))
        scores[:, -1] = w * np.asarray(cost(s, jnp.asarray(r)))
    bend = np.maximum(bend, 0) if setup.density is None else np.full(len(r), setup.density)
    shares = (w * bend)[:, None, None] * x[:, :, None] * x[:, None, :]
    hessian, codes = np.linalg.inv(setup.covariance), setup.clusters[used]
    robust, _ = sandwich(hessian, scores, slopes_of, codes, shares)
    if not np.all(np.isfinite(robust)):
        robust, _ = sandwich(hessian, scores, slopes_of, codes)
    lower = np.linalg.cholesky(setup.unit * slopes_of @ setup.covariance @ slopes_of.T)
    half = np.linalg.solve(lower, robust)
    return np.linalg.solve(lower, half.T).T
