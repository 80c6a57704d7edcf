"""Posterior of a law's parameters, by importance sampling with NUTS as a fallback."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PyTree

from jaxscale.bayes.build_model import check_types, model_of
from jaxscale.bayes.model import Model, stack
from jaxscale.bayes.priors import exceeded_ranges
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.engine.runner import Runner
from jaxscale.law import Law
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import likelihoods
from jaxscale.noise.likelihoods import Likelihood
from jaxscale.results import mcmc_diagnostics
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.results.provenance import identity
from jaxscale.results.refit_problem import observations_of
from jaxscale.sampling.adaptive_sampler import COMPONENTS, NutsSettings, adaptive_sample, check_settings
from jaxscale.sampling.calibration_region import limitation_of
from jaxscale.sampling.densities import Densities, densities_of
from jaxscale.sampling.initial_values import (
    residuals_at,
    starts_at,
    surrogate_fit,
)
from jaxscale.sampling.sampler_result import SamplerResult
from jaxscale.utils.arrays import Array
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice
from jaxscale.utils.progress import show_progress
from jaxscale.utils.random import generator_of

Method = Literal["auto", "importance", "nuts", "laplace"]


def posterior(
    source: Fit | Law | str,
    observations: Observations | None = None,
    *,
    likelihood: Likelihood | None = None,
    priors: Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    pooling: Mapping[str, str] | None = None,
    method: Method = "auto",
    num_chains: int = 8,
    num_samples: int = 1000,
    num_warmup: int = 500,
    seed: int = 0,
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Draws:
    """Sample from the posterior of a law's parameters, ``p(theta) prod_i p(y_i | law(x_i; theta))^w_i`` normalised.

    Adaptive importance sampling with mixtures of t distributions and Pareto-smoothed weights, where these are reliable
    (k-hat < 0.7, relative effective sample size above 20 %); else NUTS, in coordinates whitened by the curvature at
    the mode. Chains with divergences are sampled again with smaller steps.

    Args:
        source: a fit, whose law, data, noise, fixed values and basins are used; or a law (or its name).
        observations: the data, with a law, or with a fit that was read from a file.
        likelihood: likelihood of the responses (:mod:`jaxscale.likelihoods`); default: that of the fit's noise or
            of the law's response: normal for squared error, else Student-t with inferred scale, and inferred degrees
            of freedom unless given (also for Huber and absolute loss). Rows of one run share a random effect.
        priors: parameter to NumPyro distribution, in place of the defaults (:func:`jaxscale.priors.default`).
        fixed: values of parameters that are not inferred, with a law.
        pooling: parameter to "complete" (one value, the default), "partial" (hierarchical, on the log or logit scale)
            or "none" (one value per group).
        method: "auto" is importance sampling with NUTS as a fallback; "importance", "nuts" or "laplace" is that method
            alone.
        num_chains: number of chains of NUTS; importance sampling returns as many draws as all chains together.
        num_samples: draws per chain after warm-up.
        num_warmup: warm-up draws per chain, which adapt the step size and the mass matrix (rounded up to a multiple of
            250).
        seed: random seed.
        mesh: a ``jax.sharding.Mesh`` of devices over which to spread the work.
        checkpoint: folder for finished parts; after an interruption the same call resumes there.
        progress: whether to show a progress bar; default: on a terminal.

    Returns:
        The draws, with the sampled model (``draws.model``; ``draws.model.numpyro()`` is its NumPyro program).

    Raises:
        DataError: the observations do not suit the law or the likelihood.
        TypeError: the observations or the likelihood have another type.
        ValueError: an argument is invalid.
    """
    check_settings(method, num_chains, num_samples, num_warmup)
    check_types(likelihood, () if observations is None else [observations])
    start_time = time.perf_counter()
    seed, generator = generator_of(seed)
    if isinstance(source, Fit):
        if fixed is not None:
            raise ArgumentError("fixed", "must not be given with a fit, whose own fixed values are taken.")
        fitted, suffix = source, ""
        observations = observations_of(source, observations)
        law = resolve(source.law)
        model_likelihood = likelihoods.of_noise(source.noise) if likelihood is None else likelihood
        if likelihood is None and not source.noise.loss.has_density:
            suffix = f" (in place of the {source.noise.loss.name} loss)"
        values = dict(source.fixed)
    else:
        law, suffix = resolve(source), ""
        if observations is None:
            raise ArgumentError("observations", "must be given with a law.")
        model_likelihood = likelihoods.of_response(law.response) if likelihood is None else likelihood
        values, fitted = validate_fixed(law, fixed), None
    model_likelihood.check_unambiguous(observations)
    model_likelihood, observations = model_likelihood.bind(observations)
    with jax.enable_x64(True):
        rows = prepare(law, observations)
        model = model_of(law, rows, model_likelihood, given=priors, fixed=values, pooling=pooling)
    # The model is built first, so that its errors come before the fit.
    fitted = fitted or surrogate_fit(law, observations, model_likelihood, values, seed)
    with jax.enable_x64(True):
        places = [fitted.params, *(basin.params for basin in fitted.landscape.basins[:COMPONENTS])]
        starts = starts_at(model, places)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, method=method, chains=num_chains, draws=num_samples, warmup=num_warmup)
            identifiers = settings | dict(priors=prior_families(model), pooling=model.pooling)
            journal = Journal(checkpoint, identity(law, model, model.likelihood.describe(), values) | identifiers)
        with show_progress(f"posterior of {law.name} given {observations.name}", progress) as ticker:
            single = stack([model])
            densities = densities_of(Runner(mesh, journal, ticker), single, starts[None], generator)
            sampled = adaptive_sample(densities, method, NutsSettings(num_chains, num_samples, num_warmup))
            values_by_name = jax.tree.map(lambda a: a[0], draws_by_name(densities, sampled))
    draws = _draws(model, values_by_name, sampled, law, observations, suffix, seed, time.perf_counter() - start_time)
    names = [name for name in model.free if name not in (priors or {}) and model.site(name) not in (priors or {})]
    return _with_range_notice(draws, law, names, rows.response[rows.weight > 0])


def _prior_text(model: Model, name: str) -> str:
    """Text of the prior of a site for reports; of an amplitude with its rescaling."""
    moves = [f"{np.exp(ratio):.3g}**{power}" for power, ratio in model.rescaling.get(name, {}).items()]
    return " * ".join([str(model.priors[name]), *moves])


def prior_families(model: Model) -> str:
    """The families of the priors as text, for a checkpoint."""
    # Without the addresses of functions, which differ between processes.
    return re.sub("0x[0-9a-f]+", "", str({name: prior.kind for name, prior in sorted(model.priors.items())}))


@compiled(brief=True)
def _sites_and_params(model: Model, x: Float[Array, "problem draw size"]) -> dict[str, PyTree]:
    """Sites, parameters, log prior and log determinant of the map for draws x, shape (models, draws, size)."""

    def one(m: Model, x: Float[Array, " size"]) -> dict[str, PyTree]:
        sites, bend = m.sites(x)
        return {
            "sites": sites,
            "params": {name: jnp.asarray(v) for name, v in m.parameters(sites).items()},
            "log_prior": m.log_prior(sites),
            "bend": jnp.asarray(bend),
        }

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(model, x)


def draws_by_name(densities: Densities, sampled: SamplerResult) -> dict[str, PyTree]:
    """Sites, parameters, log prior and log likelihood of every draw of every posterior."""
    every = np.arange(densities.count)
    values = densities.run(_sites_and_params, every, sampled.x)
    density = sampled.stats["log_density"]
    if np.isnan(density).any():
        density = densities.log_densities(every, sampled.x)
    # The log likelihood, the only expensive term, is the log density minus the other two.
    return values | {"log_likelihood": density - values["log_prior"] - values.pop("bend")}


def _with_range_notice(draws: Draws, law: Law, names: Sequence[str], response: Float[np.ndarray, " row"]) -> Draws:
    """The draws with a notice where responses lie outside the range behind a default prior."""
    beyond = exceeded_ranges(law, names, response)
    if not beyond:
        return draws
    size = f"Responses of size {np.median(np.abs(response)):.3g} lie outside the range declared for {', '.join(beyond)}"
    notice = Notice("prior_range", f"{size}, from which the default priors derive.")
    return replace(draws, notices=(*draws.notices, notice))


def _draws(
    model: Model,
    values_by_name: dict[str, Any],
    sampled: SamplerResult,
    law: Law,
    observations: Observations,
    suffix: str,
    seed: int,
    seconds: float,
) -> Draws:
    method = str(sampled.method[0])
    about: dict[str, Any] = {"likelihood": model.likelihood.describe() + suffix} | sampled.about(0)
    about |= {
        "priors": {name: _prior_text(model, name) for name in model.shapes},
        "draws": len(values_by_name["log_prior"]),
        "chains": sampled.chains if method == "nuts" else 1,
        "seed": seed,
        "seconds": seconds,
    }
    stats = {name: values[0] for name, values in sampled.stats.items() if method == "nuts" or name == "log_density"}
    if method == "laplace":
        stats = {}
    draws = Draws(
        law=law,
        params=values_by_name["params"],
        method=method,
        free=model.free,
        nuisance={
            name: values for name, values in values_by_name["sites"].items() if name not in values_by_name["params"]
        },
        chains=about["chains"],
        stats=stats | {"log_prior": values_by_name["log_prior"], "log_likelihood": values_by_name["log_likelihood"]},
        about=about,
        observations=observations,
        model=model,
    )
    notices, ok = mcmc_diagnostics.assess(draws)
    more, trusted = sampled.assess(0)
    with jax.enable_x64(True):
        middle = {name: np.median(np.asarray(values), axis=0) for name, values in values_by_name["params"].items()}
        residuals = None if model.pooling else residuals_at(model, middle)
    reason = limitation_of(model, method, float(sampled.share[0]), residuals)
    uncalibrated = [Notice("not_calibrated", f"Not calibrated for this design: {reason}")] if reason else []
    return replace(draws, notices=(*notices, *more, *uncalibrated), ok=ok and trusted)
