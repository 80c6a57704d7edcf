"""Laplace approximation of a fit: draws from a Student-t about the optimum."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.engine.linearize import Linear, linearise, params_at
from jaxscale.engine.objective import evaluate
from jaxscale.fitting.standard_errors import robust_covariance
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.results.refit_problem import RefitProblem, refit_problem
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError, Function, UsageError
from jaxscale.utils.random import generator_of

_evaluate = compiled(evaluate, brief=True)


def laplace(fit: Fit, *, num_samples: int = 4000, seed: int = 0, observations: Observations | None = None) -> Draws:
    """Multivariate t approximation to the sampling distribution of the estimates, without priors (Laplace).

    ``z = z_hat + L e sqrt(v / chi^2_v)`` with standard normal e, in the centred coordinates of the fit, in which
    positive parameters are logarithms; v is the fit's degrees of freedom. ``L L'`` is ``s^2 H^-1`` with the Hessian H
    for squared error; the sandwich covariance for other losses, and where runs have several rows; the bootstrap
    covariance of the fit where curvature is not informative (an absolute loss, or a Huber loss with a delta far below
    the residuals).

    Args:
        fit: the fit.
        num_samples: number of draws, at least 2.
        seed: random seed.
        observations: the fitted observations, where the fit was read from a file.

    Returns:
        The draws; the scale of the noise is in ``nuisance`` where it was fitted.

    Raises:
        ValueError: an argument is invalid, the observations are missing or not those of the fit, or the optimum has no
            finite covariance.

    Source:
        Gelman et al., Bayesian Data Analysis, 3rd edition, 2013, chapters 4 and 14.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int | np.integer) or num_samples < 2:
        raise ArgumentError("num_samples", f"must be a whole number of at least 2, but is {num_samples!r}.")
    seed, generator = generator_of(seed)
    with jax.enable_x64(True):
        refit = refit_problem(fit, observations)
        linear: Linear = jax.tree.map(np.asarray, linearise(refit.problem, refit.z, refit.wide.response))
        covariance, freedom, how = _covariance(fit, refit, linear)
        size = np.sqrt(np.diag(covariance)) if np.all(np.isfinite(covariance)) else np.zeros(len(covariance))
        values = np.linalg.eigvalsh(covariance / np.outer(size, size)) if np.all(size > 0) else np.zeros(1)
        if freedom <= 0 or values.min() <= len(covariance) * np.finfo(float).eps:
            raise UsageError(
                f"The optimum of {fit.law} has no finite covariance; fix a parameter, add rows, or use ",
                Function("bootstrap"),
                ".",
            )
        lower = size[:, None] * np.linalg.cholesky(covariance / np.outer(size, size))
        e = lower @ generator.standard_normal((len(size), int(num_samples)))
        z = refit.z[:, None] + e * np.sqrt(freedom / generator.chisquare(freedom, int(num_samples)))
        params = jax.tree.map(np.asarray, params_at(refit.problem, z))
    free = len(refit.problem.free)
    return Draws(
        law=fit.law,
        params={name: np.broadcast_to(params[name], int(num_samples)) for name in refit.law.parameters},
        method="laplace",
        free=fit.free,
        nuisance={"scale": np.exp(z[free])} if refit.problem.noise.infers_scale else {},
        about={"covariance": how, "freedom": freedom, "seed": seed},
        observations=refit.observations,
    )


def _covariance(fit: Fit, refit: RefitProblem, linear: Linear) -> tuple[Float[np.ndarray, "size size"], int, str]:
    """Covariance of the coordinates, degrees of freedom, and the estimator."""
    problem, weight = refit.problem, refit.wide.weight
    used = np.flatnonzero(weight > 0)
    if not problem.noise.loss.curvature_describes(linear.residual[used], len(problem.free)):
        return _of_fit(fit, linear, problem.size)
    method = fit.errors.method
    if refit.clusters is None and (
        method in ("hc3", "known errors") or (problem.noise.loss.concomitant_scale and method != "none")
    ):
        return _of_fit(fit, linear, problem.size)
    delta = jnp.broadcast_to(jnp.asarray(problem.noise.loss.threshold, float), (1,))
    target = problem.noise.transform(jnp.asarray(refit.wide.response))
    local = _evaluate(problem, jnp.asarray(refit.z)[:, None], delta, target[None], jnp.asarray(weight)[None])
    exact = np.asarray(local.exact)[:, :, 0]
    if not problem.noise.loss.quadratic or refit.clusters is not None:
        change = np.eye(problem.size)
        covariance, freedom = robust_covariance(refit.optimum, exact, change, refit.clusters)
        return covariance, freedom, "sandwich" if refit.clusters is None else "cluster sandwich"
    freedom = len(used) - problem.size
    unit = 1 / np.sqrt(np.maximum(np.abs(np.diag(exact)), np.finfo(float).tiny))
    scaled = exact * np.outer(unit, unit)
    if freedom <= 0 or np.linalg.eigvalsh(scaled).min() <= problem.size * np.finfo(float).eps:
        return np.full_like(exact, np.inf), freedom, "inverse Hessian"
    variance = 2 * float(local.f[0]) / freedom
    return variance * np.linalg.inv(scaled) * np.outer(unit, unit), freedom, "inverse Hessian"


def _of_fit(fit: Fit, linear: Linear, size: int) -> tuple[Float[np.ndarray, "size size"], int, str]:
    """The covariance behind the fit's own standard errors, in the coordinates."""
    stderr, free = np.array([fit.stderr[name] for name in fit.free]), len(fit.free)
    if not np.all(np.isfinite(stderr)):
        raise UsageError(
            "The fit has no standard errors, which this noise needs resampling for; fit again with n_resamples=400, "
            "or use ",
            Function("bootstrap"),
            ".",
        )
    if fit.errors.at_bound:
        raise UsageError(
            f"A normal approximation is invalid at a bound, where {' and '.join(fit.errors.at_bound)} lies; use ",
            Function("bootstrap"),
            " or ",
            Function("posterior"),
            ".",
        )
    freedom = int(fit.errors.freedom)
    back = np.linalg.inv(np.asarray(linear.change)[:, :free] / stderr[:, None])
    covariance = np.zeros((size, size))
    covariance[:free, :free] = back @ np.asarray(fit.correlation) @ back.T
    if size > free:
        # The logarithm of a standard deviation has the variance 1 / (2 (n - p)).
        covariance[free, free] = 0.5 / max(freedom, 1)
    return covariance, freedom, fit.errors.method
