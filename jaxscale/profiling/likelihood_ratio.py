"""What a rise of the objective means: the optimum of a fit, its curvature, and the unit of its statistic.

Every statistic of a held quantity is ``2 (f - f_min) / c``. Its square root is compared with a t quantile (or, where
the objective is a likelihood, a normal one); what differs from noise to noise is the unit c.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.descent import descend
from jaxscale.engine.linearize import Linear, linearise
from jaxscale.engine.newton import VERTEX
from jaxscale.engine.objective import Problem, loss, slopes
from jaxscale.engine.runner import Runner
from jaxscale.fitting.sandwich import sandwich
from jaxscale.law import Law
from jaxscale.law.coordinates import from_params
from jaxscale.noise.losses import TUNING, Noise, huber
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import Rebuilt, rebuilt

# The smallest curvature, in units of the largest, that still tells parameters apart.
FLAT = 1e-12


@dataclass(frozen=True)
class Ground:
    """The optimum that a profile rises from.

    Args:
        problem: law, inputs of shape (n,), noise.
        wide: what was fitted, n rows.
        z: coordinates of the optimum, shape (size,).
        f: the objective there.
        covariance: the inverse of the objective's curvature in the coordinates, shape (size, size).
        linear: predictions and derivatives there.
        unit: c, the unit of the statistic.
        freedom: degrees of freedom of the t quantiles; infinite for a likelihood.
        clusters: codes of the runs, shape (n,), where some run has several rows.
        about: in words, how the statistic is made.
        density: the mean of psi' where it comes from the density of the residuals at 0; else None.
    """

    problem: Problem
    wide: Observations
    z: np.ndarray
    f: float
    covariance: np.ndarray
    linear: Linear
    unit: float
    freedom: float
    clusters: np.ndarray | None
    about: dict[str, Any]
    density: float | None


@lru_cache(maxsize=256)
def _plain(law: Law) -> Law:
    """The law without coordinates of its own, in which single parameters cannot be held."""
    return law if law.coordinates is None else replace(law, coordinates=None)


def nested(problem: Problem, flags: np.ndarray, values: np.ndarray) -> Problem:
    """Lanes that hold some parameters each: flags and values of shape (lanes, free parameters)."""

    def spread(a: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(a, float), (len(flags), *np.shape(a)))

    inputs, fixed, centre = jax.tree.map(spread, (problem.inputs, problem.fixed, problem.centre))
    held = {name: (flags[:, k], values[:, k]) for k, name in enumerate(problem.free)}
    return Problem(problem.law, problem.free, problem.noise, inputs, fixed, centre, True, held)


def ground_of(runner: Runner, fit: Fit, observations: Observations | None) -> Ground:
    """The optimum of a fit, polished once more; inside ``jax.enable_x64(True)``.

    Raises:
        ValueError: there are no spare rows, the residuals are all zero, or the parameters are not identified.
    """
    again = rebuilt(fit, observations)
    problem, about = smooth(again)
    y, weight = again.wide.response, again.wide.weight
    used = weight > 0
    rows, size = int(used.sum()), len(problem.free)
    if rows <= size:
        raise ValueError(f"A profile needs more rows than free parameters, but {rows} rows fit {size}.")
    z = again.z
    if problem.law is not again.law:
        params = {name: jnp.asarray(value, float) for name, value in fit.params.items()}
        start = jnp.stack(from_params(problem.law, problem.centre, problem.free, params))
        z = np.concatenate([np.asarray(start), z[size:]])
    z = z[: problem.size]
    none = np.zeros((1, size), bool)
    lanes = descend(runner, nested(problem, none, 0.0 + none), z[:, None], y, weight, direct=True, warm=True)
    f, z = float(lanes.local.f[0]), lanes.z[:, 0]
    linear = jax.tree.map(np.asarray, linearise(problem, z, y))
    r, w = linear.residual[used], weight[used]
    density = None
    if problem.noise.loss == "student_t":
        unit, freedom = 1.0, np.inf
        about["statistic"] = "2 (f - f_min), chi-squared: the objective is minus a log-likelihood"
    else:
        freedom = float(rows - size)
        unit, density, said = _unit_of(problem.noise, r, w, size)
        if again.wide.sigma is not None:
            unit, freedom, said = 1.0, np.inf, "2 (S - S_min), chi-squared: the errors of the rows are known"
        about["statistic"] = said
    if not unit > 1e-28 * np.mean(w):
        raise ValueError("A profile needs residuals, but this fit goes through all of its rows.")
    about["unit c"] = unit
    x = linear.slope[used]
    curvature = [lanes.local.exact[..., 0], lanes.local.safe[..., 0]]
    if density is not None:
        curvature = [density * x.T @ (w[:, None] * x)]
    covariance = _inverse(curvature)
    if again.clusters is not None:
        freedom = float(len(np.unique(again.clusters[used])) - 1)
    return Ground(problem, again.wide, z, f, covariance, linear, unit, freedom, again.clusters, about, density)


def smooth(again: Rebuilt) -> tuple[Problem, dict[str, Any]]:
    """The problem with a loss that has slopes and no scale of its own to fit.

    An absolute loss is rounded off at its tip; Huber's keeps the threshold that it was fitted with.
    """
    law, about = _plain(again.law), {}
    problem = again.problem
    problem = Problem(law, problem.free, problem.noise, problem.inputs, problem.fixed, problem.centre)
    if problem.noise.adaptive:
        delta = TUNING * float(np.exp(again.problem.log_scale(again.z)))
        return eqx.tree_at(lambda s: s.noise, problem, huber(max(delta, 1e-300), problem.noise.space)), about
    if problem.noise.loss != "absolute":
        return problem, about
    linear = linearise(again.problem, again.z, again.wide.response)
    weight = again.wide.weight
    residual = np.where(weight > 0, np.abs(np.asarray(linear.residual)), 0.0)
    delta = VERTEX * float(np.sum(weight * residual) / np.sum(weight))
    if not delta > 0:
        raise ValueError("A profile needs residuals, but this fit goes through all of its rows.")
    about["loss"] = f"absolute, rounded off below {delta:.3g} ({100 * VERTEX:g} % of the mean absolute residual)"
    return eqx.tree_at(lambda s: s.noise, problem, huber(delta, problem.noise.space)), about


def _inverse(curvatures: list[np.ndarray]) -> np.ndarray:
    for hessian in curvatures:
        scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), np.finfo(float).tiny))
        scaled = hessian * np.outer(scale, scale)
        values = np.linalg.eigvalsh(scaled) if np.all(np.isfinite(scaled)) else np.array([np.nan])
        if values[0] > FLAT * values[-1]:
            return np.linalg.inv(scaled) * np.outer(scale, scale)
    raise ValueError(
        "A profile needs an optimum that determines the parameters, but the objective is flat there; fix one of "
        "them (fixed=...)."
    )


def _unit_of(noise: Noise, r: np.ndarray, w: np.ndarray, size: int) -> tuple[float, float | None, str]:
    """The unit ``c = E[psi^2] / E[psi']`` of a loss that is no likelihood, at its optimum.

    With squared error that is the variance of the residuals. With a Huber loss ``E[psi']`` is the share of the
    residuals inside delta; where few are, it is ``2 delta`` times the density of the residuals at 0, estimated from
    the share inside the bandwidth of Hall and Sheather (1988).

    Source: Hampel, Ronchetti, Rousseeuw and Stahel (1986), Robust Statistics, section 7.2; Koenker (2005), Quantile
    Regression, section 3.4.

    Args:
        noise: squared or Huber.
        r: residuals, shape (n,).
        w: weights, shape (n,).
        size: number of fitted parameters.

    Returns:
        c, the mean of psi' where it comes from the density, and how the statistic is made, in words.
    """
    n = len(r)
    delta = float(noise.delta)
    if not np.isfinite(delta):
        return float(np.sum(w * r * r) / (n - size)), None, "(n - p) (S - S_min) / S_min, F with 1 and n - p"
    psi = w * np.clip(r, -delta, delta)
    squares = float(np.sum(psi * psi) / (n - size))
    # The loss bends to as many small residuals as it has parameters: they say nothing of the density.
    spare = np.sort(np.abs(r))[size:]
    half = n ** (-1 / 3) * 1.959964 ** (2 / 3) * (1.5 / (2 * np.pi)) ** (1 / 3)
    place = int(np.clip(np.ceil(2 * half * len(spare)), 1, len(spare)))
    reach = float(spare[place - 1])
    if delta >= reach:
        inside = float(np.sum(w * (np.abs(r) <= delta)) / n)
        return squares / inside, None, "2 (f - f_min) / c with c = E[psi^2] / E[psi'] at the optimum (robust), t"
    density = delta / reach * place / len(spare)
    said = "2 (f - f_min) / c with c = E[psi^2] / (2 delta g), g the density of the residuals at 0 (robust), t"
    return squares / (density * float(np.mean(w))), density, said


def cluster_ratios(ground: Ground, slopes_of: np.ndarray) -> np.ndarray:
    """The cluster-robust covariance of some quantities in units of the plain one, shape (k, k).

    Args:
        ground: the optimum.
        slopes_of: the quantities' derivatives in the coordinates, shape (k, size).

    Returns:
        ``L^-1 V L^-T`` with V the cluster sandwich and ``L L'`` the plain covariance.
    """
    if ground.clusters is None:
        return np.eye(len(slopes_of))
    problem, linear, noise = ground.problem, ground.linear, ground.problem.noise
    used = ground.wide.weight > 0
    w, r, x = ground.wide.weight[used], linear.residual[used], linear.slope[used]
    s = float(problem.log_scale(ground.z))
    psi, bend, _ = (np.asarray(a) for a in slopes(noise, jnp.asarray(r), jnp.asarray(noise.delta, float), s))
    scores = (w * psi)[:, None] * x
    if noise.infers_scale:
        cost = jax.vmap(jax.grad(lambda s, r: loss(noise, r, jnp.inf, s)), in_axes=(None, 0))
        scores[:, -1] = w * np.asarray(cost(s, jnp.asarray(r)))
    bend = np.maximum(bend, 0) if ground.density is None else np.full(len(r), ground.density)
    shares = (w * bend)[:, None, None] * x[:, :, None] * x[:, None, :]
    hessian, codes = np.linalg.inv(ground.covariance), ground.clusters[used]
    robust, _ = sandwich(hessian, scores, slopes_of, codes, shares)
    if not np.all(np.isfinite(robust)):
        robust, _ = sandwich(hessian, scores, slopes_of, codes)
    lower = np.linalg.cholesky(ground.unit * slopes_of @ ground.covariance @ slopes_of.T)
    half = np.linalg.solve(lower, robust)
    return np.linalg.solve(lower, half.T).T
