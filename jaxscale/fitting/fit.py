"""Fit one law to one data set: global search, certified optimum, standard errors and provenance."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.core as jax_core
import numpy as np

from jaxscale.data.features import named_categories, prepare
from jaxscale.data.observations import Observations
from jaxscale.data.padding import padded
from jaxscale.data.validation import checked
from jaxscale.engine.bounds import at_bounds
from jaxscale.engine.descent import Task
from jaxscale.engine.lad_vertex import vertex
from jaxscale.engine.linearize import linearise, params_at
from jaxscale.engine.multistart import Found, search
from jaxscale.engine.objective import Problem
from jaxscale.engine.optimum import Optimum, optimum_of
from jaxscale.engine.runner import Runner, await_compiled, compile_ahead
from jaxscale.engine.starts import Grid, Listed
from jaxscale.fitting.adequacy import assess, residuals_of
from jaxscale.fitting.arguments import bounded, count_of, explicit_starts, grouped
from jaxscale.fitting.convergence import CERTIFIED, convergence
from jaxscale.fitting.standard_errors import (
    SHARES,
    Covariance,
    Errors,
    Resampling,
    clusters_of,
    covariance_of,
    runs_away,
)
from jaxscale.identification import identifiability
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of
from jaxscale.law.fixed_values import checked_fixed
from jaxscale.laws import resolve
from jaxscale.noise import Noise, default, squared
from jaxscale.noise.count_likelihoods import CountLikelihood
from jaxscale.noise.count_loss import CountLoss, count_noise
from jaxscale.noise.likelihood import Likelihood, check_columns
from jaxscale.noise.measurement_errors import scatter, weighted
from jaxscale.results.fit import Fit
from jaxscale.results.parts import Basin, Design, Landscape, StandardErrors
from jaxscale.results.provenance import fingerprint, identity, provenance_of
from jaxscale.results.refit_problem import RefitProblem, coordinates_of
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.errors import UnidentifiedError
from jaxscale.utils.notices import Notice
from jaxscale.utils.padding import bucket
from jaxscale.utils.progress import ticking
from jaxscale.utils.random import generator_of

# The most basins that a fit lists.
LISTED = 12


def fit(
    law: Law | str,
    observations: Observations,
    *,
    noise: Noise | None = None,
    likelihood: Likelihood | None = None,
    starts: int | Mapping[str, Any] = 4096,
    key: Any = 0,
    fixed: Mapping[str, Any] | None = None,
    bounds: Mapping[str, Sequence[float | int]] | None = None,
    pooling: Mapping[str, str] | None = None,
    polish: int = 64,
    replicates: int = 400,
    errors: Errors | None = None,
    noise_level: float = 0.005,
    allow_unidentified: bool = False,
    mesh: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Fit:
    """Fit a law to observations: global search, certified optimum, standard errors, provenance.

    Minimises ``sum_i w_i * rho(t(law_i) - t(y_i))`` over the free parameters; with a likelihood of counts, minus the
    log likelihood ``sum_i w_i * log p(y_i; law_i)``, with standard errors from the observed information.

    Args:
        law: a law, or the name of one in the catalogue.
        observations: from :meth:`Observations.from_table`.
        noise: residual space and loss; that of the response's domain unless given.
        likelihood: of counts, in place of the noise: ``likelihoods.poisson()``, ``binomial("trials")``, ...; the
            dispersion or concentration is fitted with the law (``fit.scale``).
        starts: how many starts to score (an easy problem ends with an eighth of them, a hard one may look again up to
            three times), or starts by name (numbers or equally long sequences; see
            :func:`grid` for a crossed grid), of which the promising and a random sample are polished;
            where few of these agree, what lies between and around them is searched as well.
        key: seed (an integer or a JAX random key) of starts and resamples.
        fixed: values of parameters that are not fitted.
        bounds: least and largest value of parameters, such as ``{"a": (0, 20)}``; either may be infinite.
        pooling: parameter to "complete" (one for all groups, the default) or "none": one for every group of the
            observations, named by its label, such as ``alpha[small]``.
        polish: how many starts are polished at first, half of them promising and half drawn at random; an easy
            problem ends with the first half of them, and starts given by name are all polished, as they are, where
            this number allows it.
        replicates: bootstrap resamples, where the standard errors come from resampling; 0 for no standard errors then.
        errors: "classical" or "hc3" standard errors of least squares (and of Huber's loss with a fitted scale); unless
            given, HC3 where a test of the residuals rejects one variance for all rows at 1 %, with 15 or more spare
            rows.
        noise_level: noise assumed by the design check, relative to the response.
        allow_unidentified: fit although the design check says that parameters are not identified.
        mesh: a ``jax.sharding.Mesh`` over whose devices, of this process or of many, the work is spread; results are
            the same bits for any number of devices and processes.
        checkpoint: folder where finished parts are kept; the same call goes on there after an interruption and ends
            with the same bits.
        progress: whether to show a progress bar after two seconds; on a terminal unless given.

    Returns:
        The fit, with numbers in float64.

    Raises:
        DataError: the observations do not suit the law.
        UnidentifiedError: the inputs cannot identify the parameters and ``allow_unidentified`` is False.
        ValueError: an argument is wrong, or the checkpoint is damaged or another run's.
    """
    law, values = _checked_law(law, observations, key, fixed, bounds, pooling)
    _check_settings(replicates, errors, polish)
    free = tuple(name for name in law.parameters if name not in values)
    if likelihood is not None:
        noise, observations = _noise_of_counts(likelihood, noise, observations)
    if noise is None:
        noise = default(law.response)
        noise = noise if observations.sigma is None else squared(noise.space)
    with jax.enable_x64(True):
        read = prepare(law, observations)
        notices = checked(law, read, free, noise.space)
        design = identifiability.check_in_any_unit(law, read.inputs, values, noise_level, read.weight)
        if isinstance(noise.loss, CountLoss):
            noise.loss.likelihood.check(read)
        rows = weighted(read, noise)
        seed, generator = generator_of(key)
        explicit = explicit_starts(law, starts, values) if isinstance(starts, Mapping) else None
        count = 4096 if explicit is not None else count_of(starts)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, starts=count, given=explicit is not None, polish=polish, replicates=replicates)
            journal = Journal(checkpoint, identity(law, (rows, noise), noise.describe(), values) | settings)
        with ticking(f"fitting {law.name} to {observations.name}", progress) as ticker:
            resampling = Resampling(Runner(mesh, journal, ticker), replicates, generator)
            solved = _solved(law, free, values, noise, rows, resampling, count, polish, explicit)
            covariance = covariance_of(
                solved.optimum, solved.hessian, resampling, rows.run, rows.sigma is not None, errors
            )
        fitted = _described(solved, covariance, rows, values, seed, replicates, notices)
    if design is None or design.verdict != "identified":
        # What the inputs alone leave in doubt the data may determine all the same.
        design = _check_at_optimum(fitted, noise_level) or design
    if read.sigma is not None:
        provenance = replace(fitted.provenance, used_sha256=fingerprint(law, read))
        fitted = replace(fitted, observations=read, provenance=provenance)
    return _with_design(fitted, design, allow_unidentified)


def _checked_law(
    law: Law | str,
    observations: Observations,
    key: Any,
    fixed: Mapping[str, Any] | None,
    bounds: Mapping[str, Sequence[float | int]] | None,
    pooling: Mapping[str, str] | None,
) -> tuple[Law, dict[str, float]]:
    """The law, with bounds and groups of its parameters, and the values of those that are fixed."""
    law = resolve(law)
    if not isinstance(observations, Observations):
        raise TypeError(
            "Argument observations must be Observations (make them with Observations.from_table), "
            f"but is {type(observations).__name__}."
        )
    if any(isinstance(leaf, jax_core.Tracer) for leaf in jax.tree.leaves((observations, fixed, key))):
        raise TypeError("fit works on numbers, but was handed a tracer; inside jit or grad use jaxscale.solve.")
    if bounds:
        both = set(bounds) & set(fixed or {})
        if both:
            raise ValueError(f"Argument bounds must leave out {sorted(both)[0]!r}, which is fixed.")
        law = bounded(law, bounds)
    law = grouped(law, observations, pooling or {}, fixed)
    values = checked_fixed(law, fixed)
    if not law.parameters:
        raise ValueError(f"{law.name} has no parameters, so there is nothing to fit; call it for its values.")
    if len(values) == len(law.parameters):
        raise ValueError(f"Argument fixed must leave a parameter to fit, but fixes all of {', '.join(values)}.")
    return law, values


def _noise_of_counts(
    likelihood: Likelihood, noise: Noise | None, observations: Observations
) -> tuple[Noise, Observations]:
    """The noise that stands for a likelihood of counts, and the observations bound to it."""
    if not isinstance(likelihood, CountLikelihood):
        said = likelihood.describe() if isinstance(likelihood, Likelihood) else repr(likelihood)
        raise ValueError(
            "Argument likelihood must be one of counts, such as likelihoods.poisson(), but is "
            f"{said}; fit residuals with noise=..., such as noise.squared('log')."
        )
    if noise is not None:
        raise ValueError("Argument noise must not be given with a likelihood; leave out one of the two.")
    if observations.sigma is not None:
        raise ValueError("Argument observations must hold no known errors (sigma) for counts; read them without sigma.")
    likelihood.check_unambiguous(observations)
    bound, observations = likelihood.bind(observations)
    check_columns(bound, observations)
    return count_noise(bound), observations


def _check_settings(replicates: int, errors: Errors | None, polish: int) -> None:
    """Refuse settings that are wrong whatever the data."""
    if replicates < 0 or replicates == 1:
        raise ValueError(f"Argument replicates must be 0 or at least 2, but is {replicates!r}.")
    if errors not in (None, "classical", "hc3"):
        raise ValueError(f"Argument errors must be classical or hc3, but is {errors!r}.")
    if polish < 1:
        raise ValueError(f"Argument polish must be at least 1, but is {polish!r}.")


@dataclass(frozen=True)
class _Solved:
    """The end of a search: optimum, Hessian of the objective, certificate, and the landscape that was met."""

    optimum: Optimum
    hessian: np.ndarray
    objective: float
    certificate: float
    found: Found
    landscape: Landscape
    wide: Observations


def _solved(
    law: Law,
    free: tuple[str, ...],
    values: Mapping[str, float],
    noise: Noise,
    rows: Observations,
    resampling: Resampling,
    count: int,
    polish: int,
    explicit: Grid | Listed | None,
) -> _Solved:
    """Search for the optimum; inside ``jax.enable_x64(True)``."""
    wide = padded(rows, bucket(len(rows)))
    centre = centre_of(law, rows.inputs, noise.loss.interior(rows.response), np)
    fixed = {name: np.asarray(value, float) for name, value in values.items()}
    inputs = {name: wide.inputs[name] for name in (*law.inputs, *noise.loss.columns)}
    problem = Problem(law, free, noise, inputs, fixed, centre)
    task = Task(problem, wide.response, wide.weight, resampling.runner)
    task.prepare()
    compile_ahead(linearise, (problem, np.zeros(problem.size), wide.response))
    found = search(task, count=count, polish=polish, explicit=explicit, generator=resampling.generator)
    z, objective = np.asarray(found.lanes.z[:, found.best]), float(found.lanes.local.f[found.best])
    certificate, basins = _certificate(found), _basins(problem, found)
    if noise.loss.vertex:
        z, objective, certificate = vertex(problem, z, wide.response, wide.weight)
        basins = _at_vertices(problem, found, wide)
    await_compiled(linearise, (problem, z, wide.response))
    optimum = optimum_of(problem, z, wide.response, wide.weight)
    hessian = np.asarray(found.lanes.local.exact)[..., found.best]
    return _Solved(optimum, hessian, objective, certificate, found, _landscape(found, basins), wide)


def _described(
    solved: _Solved,
    sure: Covariance,
    rows: Observations,
    values: Mapping[str, float],
    seed: int,
    replicates: int,
    notices: list[Notice],
) -> Fit:
    """The fit with its errors, diagnostics and provenance."""
    optimum, covariance = solved.optimum, sure.matrix
    problem, linear, n = optimum.problem, optimum.linear, len(rows)
    law, free, noise = problem.law, problem.free, problem.noise
    problems, status = convergence(optimum, solved.found, solved.certificate)
    problems += _undetermined(optimum, sure)
    if runs_away(optimum, solved.hessian):
        said = f"The counts scatter no more than {noise.describe()} with an infinite dispersion or concentration."
        problems.append(Notice("no_overdispersion", said))
    if rows.sigma is not None:
        problems += scatter(linear.residual[:n], rows.weight, len(free))
    if sure.failed:
        problems.append(Notice("resamples_failed", f"{sure.failed} of {replicates} bootstrap refits did not settle."))
    params = {name: float(linear.params[name]) for name in law.parameters}
    scale = float(np.exp(optimum.log_scale)) if noise.loss.has_scale else None
    clusters = clusters_of(rows.run, optimum.weight)
    fitted = Fit(
        law=law.name,
        params=params,
        stderr={name: _finite(np.sqrt(covariance[k, k])) for k, name in enumerate(free)},
        correlation=_correlation(covariance),
        free=free,
        fixed=dict(values),
        noise=noise,
        scale=scale,
        objective=solved.objective,
        certificate=solved.certificate,
        errors=_errors(sure, replicates, at_bounds(optimum)),
        residuals=residuals_of(rows, linear),
        landscape=solved.landscape,
        status=status,
        notices=tuple(notices + problems),
        design=None,
        provenance=provenance_of(law, rows, seed),
        rows_read=rows.rows_read or n,
        rows_used=optimum.rows,
        law_object=law,
        observations=rows,
        problem=RefitProblem(law, problem, coordinates_of(problem, params, scale), solved.wide, rows, clusters),
    )
    more, status = assess(fitted)
    return replace(fitted, notices=(*fitted.notices, *more), status=status)


def _undetermined(optimum: Optimum, sure: Covariance) -> list[Notice]:
    """A notice where the rows do not determine parameters whose errors were asked for."""
    law, params = optimum.problem.law, optimum.linear.params
    free, variances = optimum.problem.free, np.diag(sure.matrix)
    lost = [name for name, variance in zip(free, variances, strict=True) if not np.isfinite(variance)]
    if not lost or sure.method == "none":
        return []
    told = " and ".join(f"{name} = {float(params[name]):.3g}" for name in lost)
    sign = f"; {law.either_sign} lets parameters have either sign" if law.either_sign else ""
    said = f"The rows do not determine {told}: standard errors have no bound{sign}."
    return [Notice("not_determined", said)]


def _check_at_optimum(fitted: Fit, noise_level: float) -> identifiability.DesignCheck | None:
    """The design check at the fitted parameters and the scatter that was seen."""
    rows, law = fitted.observations, fitted.law_object
    assert rows is not None and law is not None
    with jax.enable_x64(True):
        inputs = named_categories(law, {name: rows.inputs[name] for name in law.inputs})
        prediction = np.asarray(fitted(**inputs), float)
        return identifiability.check_at(
            law, rows.inputs, fitted.fixed, rows.weight, fitted.params, prediction, rows.response, noise_level
        )


def _with_design(fitted: Fit, design: identifiability.DesignCheck | None, allowed: bool) -> Fit:
    """The fit with the design check that it passed, or that was overridden.

    Raises:
        UnidentifiedError: the check says that parameters are not identified, and that is not allowed.
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


def grid(**axes: Sequence[float] | np.ndarray) -> Grid:
    """A crossed grid of starts, for ``fit(..., starts=grid(alpha=[0.2, 0.5], beta=[0.2, 0.5], ...))``.

    It is never laid out whole: millions of points take no memory.
    """
    return Grid(axes)


def _errors(sure: Covariance, replicates: int, bounds: dict[str, float]) -> StandardErrors:
    """How the standard errors were estimated, and what intervals need beside them."""
    count = replicates if "bootstrap" in sure.method else 0
    shares = SHARES if sure.percentiles else ()
    return StandardErrors(sure.method, sure.freedom, count, sure.reason, bounds, sure.percentiles, shares)


def _certificate(found: Found) -> float:
    """The further decrease that a Newton step promises, relative; 0 where that is lost in rounding."""
    local, promise = found.lanes.local, float(found.lanes.decrement[found.best])
    relative = promise / max(abs(float(local.f[found.best])), np.finfo(float).tiny)
    return 0.0 if relative > CERTIFIED and promise <= float(local.rounding[found.best]) else relative


def _finite(value: Any) -> float:
    return float(value) if np.isfinite(value) else float("nan")


def _correlation(covariance: np.ndarray) -> tuple[tuple[float, ...], ...]:
    deviation = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        table = covariance / np.outer(deviation, deviation)
    return tuple(tuple(_finite(value) for value in row) for row in table)


def _landscape(found: Found, basins: tuple[Basin, ...]) -> Landscape:
    """The starts and minima of a search, at most :data:`LISTED` of these."""
    met = found.landscape
    return Landscape(met.scored, met.polished, met.converged, met.independent, met.agree, met.agree_all, basins)


def _basins(problem: Problem, found: Found) -> tuple[Basin, ...]:
    lanes = found.lanes
    return tuple(
        _basin(problem, np.asarray(lanes.z[:, basin.lane]), basin.objective, basin.count)
        for basin in found.landscape.basins[:LISTED]
    )


def _basin(problem: Problem, z: np.ndarray, objective: float, count: int) -> Basin:
    params = params_at(problem, z)
    named = {name: float(params[name]) for name in problem.law.parameters}
    return Basin(objective, count, named)


def _at_vertices(problem: Problem, found: Found, wide: Observations) -> tuple[Basin, ...]:
    """The basins of an absolute loss, each at its exact vertex; the descent ended at a smoothed one."""
    ends = []
    for basin in found.landscape.basins[:LISTED]:
        z, objective, _ = vertex(problem, np.asarray(found.lanes.z[:, basin.lane]), wide.response, wide.weight)
        ends.append(_basin(problem, z, objective, basin.count))
    return tuple(sorted(ends, key=lambda end: end.objective))
