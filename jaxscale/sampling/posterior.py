"""Posteriors: what parameters are plausible after the data, by the cheapest method that can be trusted."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.bayes.build_model import model_of, refuse_types
from jaxscale.bayes.model import Model, stacked
from jaxscale.bayes.priors import too_narrow
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
from jaxscale.sampling.adaptive_sampler import COMPONENTS, NutsSettings, adaptive_sample, refuse
from jaxscale.sampling.calibration_region import unmeasured
from jaxscale.sampling.densities import Densities, densities_of
from jaxscale.sampling.initial_values import (
    fitted_to,
    residuals_at,
    starts_at,
)
from jaxscale.sampling.sampler_result import Sampled
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
    fixed: Mapping[str, Any] | None = None,
    pooling: Mapping[str, str] | None = None,
    method: Method = "auto",
    num_chains: int = 8,
    num_samples: int = 1000,
    num_warmup: int = 500,
    seed: int = 0,
    mesh: Any = None,
    checkpoint: Any = None,
    progress: bool | None = None,
) -> Draws:
    """Draw from the posterior of a law's parameters, ``p(theta | y) ~ p(theta) prod_i p(y_i | law(x_i; theta))``.

    Adaptive importance sampling by mixtures of t distributions, about the modes and then about its own draws, with
    Pareto-smoothed weights, is taken where these can be trusted (k-hat < 0.7, a fifth of the draws effective); else
    NUTS samples, in coordinates whitened by the curvature at the mode. Draws that diverge are sampled again with
    smaller steps.

    Args:
        source: a fit, whose law, data, noise, fixed values and basins are taken; or a law (or its name).
        observations: the data, with a law, or with a fit that was read from a file.
        likelihood: how responses scatter (:mod:`jaxscale.likelihoods`); that of the fit's noise unless given: normal
            for squared errors, else Student-t with scale and degrees of freedom inferred (a Huber or absolute loss is
            no density). Where a run has several rows, these share a random effect.
        priors: parameter to NumPyro distribution, in place of the defaults (:mod:`jaxscale.bayes.priors`).
        fixed: values of parameters that are not inferred, with a law.
        pooling: parameter to "complete" (groups share it, the default), "partial" or "none".
        method: "auto" is importance sampling, with NUTS where its weights are poor; "importance", "nuts" or "laplace"
            is that method alone.
        num_chains: of NUTS; importance sampling hands back as many draws as they would.
        num_samples: kept of each chain.
        num_warmup: draws of each chain that set the step size and the mass matrix (rounded up to a multiple of 250).
        seed: of the random numbers.
        mesh: a ``jax.sharding.Mesh`` over whose devices the work is spread.
        checkpoint: folder where finished parts are kept; the same call goes on there.
        progress: whether to show a progress bar; on a terminal unless given.

    Returns:
        The draws, with the model that was sampled (``draws.model``; ``draws.model.numpyro()`` is the same as a NumPyro
        program).

    Raises:
        DataError: the observations do not suit the law or the likelihood.
        TypeError: the observations or the likelihood are of another type.
        ValueError: an argument is wrong.
    """
    refuse(method, num_chains, num_samples, num_warmup)
    refuse_types(likelihood, () if observations is None else [observations])
    begun = time.perf_counter()
    seed, generator = generator_of(seed)
    if isinstance(source, Fit):
        if fixed is not None:
            raise ArgumentError("fixed", "must not be given with a fit, whose own fixed values are taken.")
        fitted, told = source, ""
        observations = observations_of(source, observations)
        law = resolve(source.law)
        chosen = likelihoods.of_noise(source.noise) if likelihood is None else likelihood
        if likelihood is None and not source.noise.loss.has_density:
            told = f" (in place of the {source.noise.loss.name} loss, which is no density)"
        values = dict(source.fixed)
    else:
        law, told = resolve(source), ""
        if observations is None:
            raise ArgumentError("observations", "must be given with a law.")
        chosen = likelihoods.of_response(law.response) if likelihood is None else likelihood
        values, fitted = validate_fixed(law, fixed), None
    chosen.check_unambiguous(observations)
    chosen, observations = chosen.bind(observations)
    with jax.enable_x64(True):
        rows = prepare(law, observations)
        model = model_of(law, rows, chosen, given=priors, fixed=values, pooling=pooling)
    # What is wrong with the model is said before anything is fitted.
    fitted = fitted or fitted_to(law, observations, chosen, values, seed)
    with jax.enable_x64(True):
        places = [fitted.params, *(basin.params for basin in fitted.landscape.basins[:COMPONENTS])]
        starts = starts_at(model, places)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, method=method, chains=num_chains, draws=num_samples, warmup=num_warmup)
            told_apart = settings | dict(priors=families(model), pooling=model.pooling)
            journal = Journal(checkpoint, identity(law, model, model.likelihood.describe(), values) | told_apart)
        with show_progress(f"posterior of {law.name} given {observations.name}", progress) as ticker:
            lone = stacked([model])
            densities = densities_of(Runner(mesh, journal, ticker), lone, starts[None], generator)
            sampled = adaptive_sample(densities, method, NutsSettings(num_chains, num_samples, num_warmup))
            named = jax.tree.map(lambda a: a[0], by_name(densities, sampled))
    found = _draws(model, named, sampled, law, observations, told, seed, time.perf_counter() - begun)
    names = [name for name in model.free if name not in (priors or {}) and model.site(name) not in (priors or {})]
    return _with_ranges(found, law, names, rows.response[rows.weight > 0])


def _prior_text(model: Model, name: str) -> str:
    """The prior of a site as a report prints it; of an amplitude with what its unit moves it by."""
    moves = [f"{np.exp(ratio):.3g}**{power}" for power, ratio in model.rescaled.get(name, {}).items()]
    return " * ".join([str(model.priors[name]), *moves])


def families(model: Model) -> str:
    """What the numbers inside of the priors do not tell: their kinds, for a checkpoint."""
    # The same in every process: without the addresses of functions.
    return re.sub("0x[0-9a-f]+", "", str({name: prior.kind for name, prior in sorted(model.priors.items())}))


@compiled(brief=True)
def _named(model: Model, x: Any) -> dict[str, Any]:
    """Sites and parameters by name, log prior and the map's log slope for draws x, shape (models, draws, size)."""

    def one(m: Model, x: Any) -> dict[str, Any]:
        sites, bend = m.sites(x)
        return {
            "sites": sites,
            "params": {name: jnp.asarray(v) for name, v in m.parameters(sites).items()},
            "log_prior": m.log_prior(sites),
            "bend": jnp.asarray(bend),
        }

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(model, x)


def by_name(densities: Densities, sampled: Sampled) -> dict[str, Any]:
    """Sites, parameters, log prior and log likelihood of every draw of every posterior."""
    every = np.arange(densities.count)
    named = densities.run(_named, every, sampled.x)
    density = sampled.stats["log_density"]
    if np.isnan(density).any():
        density = densities.log_densities(every, sampled.x)
    # The log density is the sum of three, of which the likelihood alone takes time to compute.
    return named | {"log_likelihood": density - named["log_prior"] - named.pop("bend")}


def _with_ranges(draws: Draws, law: Law, names: Sequence[str], response: np.ndarray) -> Draws:
    """The draws with a notice where responses lie outside the range that a default prior was made from."""
    beyond = too_narrow(law, names, response)
    if not beyond:
        return draws
    size = f"Responses of size {np.median(np.abs(response)):.3g} lie outside the range declared for {', '.join(beyond)}"
    notice = Notice("prior_range", f"{size}, from which the default priors are made.")
    return replace(draws, notices=(*draws.notices, notice))


def _draws(
    model: Model,
    named: dict[str, Any],
    sampled: Sampled,
    law: Law,
    observations: Observations,
    told: str,
    seed: int,
    seconds: float,
) -> Draws:
    method = str(sampled.method[0])
    about: dict[str, Any] = {"likelihood": model.likelihood.describe() + told} | sampled.about(0)
    about |= {
        "priors": {name: _prior_text(model, name) for name in model.shapes},
        "draws": len(named["log_prior"]),
        "chains": sampled.chains if method == "nuts" else 1,
        "seed": seed,
        "seconds": seconds,
    }
    stats = {name: values[0] for name, values in sampled.stats.items() if method == "nuts" or name == "log_density"}
    if method == "laplace":
        stats = {}
    made = Draws(
        law=law,
        params=named["params"],
        method=method,
        free=model.free,
        nuisance={name: values for name, values in named["sites"].items() if name not in named["params"]},
        chains=about["chains"],
        stats=stats | {"log_prior": named["log_prior"], "log_likelihood": named["log_likelihood"]},
        about=about,
        observations=observations,
        model=model,
    )
    notices, ok = mcmc_diagnostics.judged(made)
    more, trusted = sampled.judged(0)
    with jax.enable_x64(True):
        middle = {name: np.median(np.asarray(values), axis=0) for name, values in named["params"].items()}
        seen = None if model.pooling else residuals_at(model, middle)
    reason = unmeasured(model, method, float(sampled.share[0]), seen)
    uncalibrated = [Notice("not_calibrated", f"Not calibrated for this design: {reason}")] if reason else []
    return replace(made, notices=(*notices, *more, *uncalibrated), ok=ok and trusted)
