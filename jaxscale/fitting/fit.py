"""Fit one law to one data set: global search, certified optimum, standard errors and provenance."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Real

from jaxscale.data.features import decode_categories, prepare
from jaxscale.data.observations import Observations
from jaxscale.data.validation import validate
from jaxscale.engine.bounds import at_bounds
from jaxscale.engine.optimum import Optimum
from jaxscale.engine.runner import Runner
from jaxscale.engine.starts import StartGrid
from jaxscale.fitting.adequacy import assess, residuals_of
from jaxscale.fitting.arguments import (
    check_settings,
    explicit_starts,
    noise_of_counts,
    number_of_starts,
    validate_law,
)
from jaxscale.fitting.convergence import convergence
from jaxscale.fitting.optimise import SearchOutcome, SearchSettings, optimise, problem_of
from jaxscale.fitting.standard_errors import (
    SHARES,
    Covariance,
    Errors,
    Resampling,
    clusters_of,
    covariance_of,
    scale_diverges,
)
from jaxscale.identification import identifiability
from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.noise import Noise, default, squared
from jaxscale.noise.count_loss import CountLoss
from jaxscale.noise.likelihood import Likelihood
from jaxscale.noise.measurement_errors import scatter_notice, weight_by_errors
from jaxscale.results.fit import Fit
from jaxscale.results.parts import Design, StandardErrors
from jaxscale.results.provenance import fingerprint, identity, provenance_of
from jaxscale.results.refit_problem import RefitProblem
from jaxscale.utils.arrays import Array, Number, Value
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.errors import UnidentifiedError
from jaxscale.utils.notices import Notice
from jaxscale.utils.progress import show_progress
from jaxscale.utils.random import generator_of


def fit(
    law: Law | str,
    observations: Observations,
    *,
    noise: Noise | None = None,
    likelihood: Likelihood | None = None,
    starts: int | Mapping[str, Real[Value, " _"] | Sequence[Number] | Number] = 4096,
    seed: int = 0,
    fixed: Mapping[str, Number] | None = None,
    bounds: Mapping[str, Sequence[float | int]] | None = None,
    pooling: Mapping[str, str] | None = None,
    polish: int = 64,
    n_resamples: int = 400,
    errors: Errors | None = None,
    noise_level: float = 0.005,
    allow_unidentified: bool = False,
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Fit:
    """Fit a law to observations by multistart optimisation, with standard errors and diagnostics.

    Minimises ``sum_i w_i * rho(t(law_i) - t(y_i))`` over the free parameters; with a likelihood of counts, minus the
    log likelihood ``sum_i w_i * log p(y_i; law_i)``, with standard errors from the observed information.

    Args:
        law: a law, or the name of one in the catalogue.
        observations: from :meth:`Observations.from_table`.
        noise: loss and residual space; default: Huber with a fitted scale on log residuals of positive responses, else
            squared on logit or linear residuals; squared where the observations have ``sigma``.
        likelihood: likelihood of counts, in place of the noise: ``likelihoods.poisson()``, ``binomial("trials")``,
            ...; the dispersion or concentration is fitted with the law (``fit.scale``).
        starts: number of starts to score (an easy problem stops after an eighth of them, a hard one may repeat the
            search up to three times), or explicit starts by name (numbers or equally long sequences; see
            :func:`start_grid` for a grid). The best and a random sample of them are polished; where few of these
            agree, the region between and around them is searched as well.
        seed: random seed of starts and resamples.
        fixed: values of parameters that are not fitted.
        bounds: lower and upper bounds of parameters, such as ``{"a": (0, 20)}``; either may be infinite.
        pooling: parameter to "complete" (one value for all groups, the default) or "none" (one value per group of the
            observations, named by its label, such as ``alpha[small]``).
        polish: number of starts polished at first, half of them the best and half random; an easy problem stops
            after the first half. If there are at most this many explicit starts, all are polished unchanged.
        n_resamples: bootstrap resamples, where the standard errors come from resampling; 0 for no standard errors then.
        errors: "classical" or "hc3" standard errors of least squares (and of Huber's loss with a fitted scale);
            default: HC3 where a test of the residuals rejects homoscedasticity at 1 %, with at least 15 degrees of
            freedom.
        noise_level: relative standard deviation of the noise assumed by the design check.
        allow_unidentified: fit even if the design check finds that parameters are not identified.
        mesh: a ``jax.sharding.Mesh`` of devices, of one process or several, over which to spread the work; results are
            bitwise identical for any number of devices and processes.
        checkpoint: folder for finished parts; after an interruption the same call resumes there, with bitwise
            identical results.
        progress: whether to show a progress bar after two seconds; default: on a terminal.

    Returns:
        The fit, with numbers in float64.

    Raises:
        DataError: the observations do not suit the law.
        UnidentifiedError: the inputs cannot identify the parameters and ``allow_unidentified`` is False.
        ValueError: an argument is invalid, or the checkpoint is damaged or belongs to another computation.
    """
    law, values = validate_law(law, observations, seed, fixed, bounds, pooling)
    check_settings(n_resamples, errors, polish)
    free = tuple(name for name in law.parameters if name not in values)
    if likelihood is not None:
        noise, observations = noise_of_counts(likelihood, noise, observations)
    if noise is None:
        noise = default(law.response)
        noise = noise if observations.sigma is None else squared(noise.space)
    with jax.enable_x64(True):
        read = prepare(law, observations)
        notices = validate(law, read, free, noise.space)
        design = identifiability.check_in_any_unit(law, read.inputs, values, noise_level, read.weight)
        if isinstance(noise.loss, CountLoss):
            noise.loss.likelihood.check(read)
        rows = weight_by_errors(read, noise)
        seed, generator = generator_of(seed)
        explicit = explicit_starts(law, starts, values) if isinstance(starts, Mapping) else None
        count = 4096 if explicit is not None else number_of_starts(starts)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, starts=count, given=explicit is not None, polish=polish, n_resamples=n_resamples)
            journal = Journal(checkpoint, identity(law, (rows, noise), noise.describe(), values) | settings)
        with show_progress(f"fitting {law.name} to {observations.name}", progress) as ticker:
            resampling = Resampling(Runner(mesh, journal, ticker), n_resamples, generator)
            problem, wide = problem_of(law, free, values, noise, rows)
            solved = optimise(problem, wide, resampling, SearchSettings(count, polish, explicit))
            covariance = covariance_of(
                solved.optimum, solved.hessian, resampling, rows.run, rows.sigma is not None, errors
            )
        fitted = _fit_of(solved, covariance, rows, values, seed, n_resamples, notices)
    if design is None or design.verdict != "identified":
        # The data may determine what the inputs alone do not.
        design = _check_at_optimum(fitted, noise_level) or design
    if read.sigma is not None:
        provenance = replace(fitted.provenance, used_sha256=fingerprint(law, read))
        fitted = replace(fitted, observations=read, provenance=provenance)
    return _with_design(fitted, design, allow_unidentified)


def _fit_of(
    solved: SearchOutcome,
    uncertainty: Covariance,
    rows: Observations,
    values: Mapping[str, float],
    seed: int,
    n_resamples: int,
    notices: list[Notice],
) -> Fit:
    """The result with standard errors, diagnostics and provenance."""
    optimum, covariance = solved.optimum, uncertainty.matrix
    problem, linear, n = optimum.problem, optimum.linear, len(rows)
    law, free, noise = problem.law, problem.free, problem.noise
    problems, status = convergence(optimum, solved.found, solved.certificate)
    problems += _undetermined(optimum, uncertainty)
    problems += _of_errors(solved, uncertainty, rows, n_resamples)
    params = {name: float(linear.params[name]) for name in law.parameters}
    scale = float(np.exp(optimum.log_scale)) if noise.loss.has_scale else None
    clusters = clusters_of(rows.run, optimum.weight)
    fitted = Fit(
        law=law,
        params=params,
        stderr={name: _finite(np.sqrt(covariance[k, k])) for k, name in enumerate(free)},
        correlation=_correlation(covariance),
        free=free,
        fixed=dict(values),
        noise=noise,
        scale=scale,
        objective=solved.objective,
        certificate=solved.certificate,
        errors=_errors(uncertainty, n_resamples, at_bounds(optimum)),
        residuals=residuals_of(rows, linear),
        landscape=solved.landscape,
        status=status,
        notices=tuple(notices + problems),
        design=None,
        provenance=provenance_of(law, rows, seed),
        rows_read=rows.rows_read or n,
        rows_used=optimum.rows,
        observations=rows,
        problem=RefitProblem(law, problem, optimum.z, solved.wide, rows, clusters),
    )
    more, status = assess(fitted)
    return replace(fitted, notices=(*fitted.notices, *more), status=status)


def _of_errors(solved: SearchOutcome, uncertainty: Covariance, rows: Observations, n_resamples: int) -> list[Notice]:
    """Notices on the dispersion of the residuals and on resamples."""
    optimum, notices = solved.optimum, []
    if scale_diverges(optimum, solved.hessian):
        noise = optimum.problem.noise.describe()
        message = f"The counts are not overdispersed: {noise} has an infinite dispersion or concentration."
        notices.append(Notice("no_overdispersion", message))
    if rows.sigma is not None:
        notices += scatter_notice(optimum.linear.residual[: len(rows)], rows.weight, len(optimum.problem.free))
    if uncertainty.failed:
        notices.append(
            Notice("resamples_failed", f"{uncertainty.failed} of {n_resamples} bootstrap refits did not converge.")
        )
    return notices


def _undetermined(optimum: Optimum, uncertainty: Covariance) -> list[Notice]:
    """A notice where the rows do not determine parameters."""
    law, params = optimum.problem.law, optimum.linear.params
    free, variances = optimum.problem.free, np.diag(uncertainty.matrix)
    undetermined = [name for name, variance in zip(free, variances, strict=True) if not np.isfinite(variance)]
    if not undetermined or uncertainty.method == "none":
        return []
    estimates = " and ".join(f"{name} = {float(params[name]):.3g}" for name in undetermined)
    sign = f"; {law.either_sign} allows parameters of either sign" if law.either_sign else ""
    message = f"The rows do not determine {estimates}: standard errors are infinite{sign}."
    return [Notice("not_determined", message)]


def _check_at_optimum(fitted: Fit, noise_level: float) -> identifiability.DesignCheck | None:
    """The design check at the fitted parameters and the observed noise level."""
    rows, law = fitted.observations, resolve(fitted.law)
    assert rows is not None
    with jax.enable_x64(True):
        inputs = decode_categories(law, {name: rows.inputs[name] for name in law.inputs})
        prediction = np.asarray(fitted.predict(**inputs), float)
        return identifiability.check_at(
            law, rows.inputs, fitted.fixed, rows.weight, fitted.params, prediction, rows.response, noise_level
        )


def _with_design(fitted: Fit, design: identifiability.DesignCheck | None, allowed: bool) -> Fit:
    """The fit with its design check, passed or overridden.

    Raises:
        UnidentifiedError: parameters are not identified, and that is not allowed.
    """
    if design is None:
        return fitted
    identified = design.verdict == "identified"
    if not (identified or allowed):
        raise UnidentifiedError(design)
    errors = {name: _finite(value) for name, value in design.stderr.items()}
    summary = Design(design.verdict, _finite(design.condition), design.noise_level, errors, not identified)
    notices = () if identified else (Notice("unidentified", design.message),)
    return replace(fitted, design=summary, notices=(*notices, *fitted.notices))


def start_grid(**axes: Real[Array, " _"] | Sequence[Number] | Number) -> StartGrid:
    """A full grid of starts: every combination of the given values, generated on demand.

    >>> fit(law, runs, starts=start_grid(E=[1.5, 2.0], A=[100, 1000], alpha=[0.2, 0.5]))  # doctest: +SKIP

    Args:
        **axes: values of every free parameter; the best starts and a random sample of them are polished.
    """
    return StartGrid(axes)


def _errors(uncertainty: Covariance, n_resamples: int, bounds: dict[str, float]) -> StandardErrors:
    """The method of the standard errors, with what intervals need in addition."""
    count = n_resamples if "bootstrap" in uncertainty.method else 0
    shares = SHARES if uncertainty.percentiles else ()
    return StandardErrors(
        uncertainty.method, uncertainty.freedom, count, uncertainty.reason, bounds, uncertainty.percentiles, shares
    )


def _finite(value: Number) -> float:
    return float(value) if np.isfinite(value) else float("nan")


def _correlation(covariance: Float[np.ndarray, "free free"]) -> tuple[tuple[float, ...], ...]:
    deviation = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        table = covariance / np.outer(deviation, deviation)
    return tuple(tuple(_finite(value) for value in row) for row in table)
