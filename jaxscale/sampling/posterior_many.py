"""Posteriors of many data sets in one batch."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int, Shaped

from jaxscale.bayes.build_model import check_types, model_of, padded_run_sizes
from jaxscale.bayes.model import Model, stack
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.engine.runner import Runner
from jaxscale.fitting.fit_many import fit_many
from jaxscale.law import Law
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import likelihoods
from jaxscale.noise.likelihoods import Likelihood
from jaxscale.results.provenance import identity
from jaxscale.sampling.adaptive_sampler import COMPONENTS, NutsSettings, adaptive_sample, check_settings
from jaxscale.sampling.densities import densities_of
from jaxscale.sampling.initial_values import coordinates_of, nuisance_at
from jaxscale.sampling.posterior import Method, draws_by_name, prior_families
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError
from jaxscale.utils.padding import bucket
from jaxscale.utils.progress import show_progress
from jaxscale.utils.random import generator_of


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of one law on many data sets, as arrays with a leading axis of data sets.

    Args:
        law: the law.
        params: every parameter by name, shape (sets, draws) or (sets, draws, groups).
        nuisance: nuisance parameters, of the same shapes.
        method: the sampling method of each.
        khat: k-hat of the importance weights; NaN where these were not used.
        ess: effective sample size of the importance weights; NaN for NUTS.
        rhat: largest R-hat; NaN where there are no chains.
        divergences: number of divergent draws.
        chains: number of chains of NUTS.
        models: the sampled models, stacked.
    """

    law: Law
    params: dict[str, Float[np.ndarray, "problem draw ..."]]
    nuisance: dict[str, Float[np.ndarray, "problem draw ..."]]
    method: Shaped[np.ndarray, " problem"]
    khat: Float[np.ndarray, " problem"]
    ess: Float[np.ndarray, " problem"]
    rhat: Float[np.ndarray, " problem"]
    divergences: Int[np.ndarray, " problem"]
    chains: int
    models: Model

    def __len__(self) -> int:
        """The number of data sets."""
        return len(self.method)

    @property
    def ok(self) -> Bool[np.ndarray, " problem"]:
        """Which posteriors are usable: k-hat below its limit, or mixed chains with few divergences."""
        mixed = (self.rhat < 1.05) & (self.divergences < 0.01 * self.params[next(iter(self.params))].shape[1])
        return np.where(self.method == "nuts", mixed, ~(self.khat >= KHAT_LIMIT))


def posterior_many(
    law: Law | str,
    observations: Sequence[Observations],
    *,
    likelihood: Likelihood | None = None,
    priors: Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: Mapping[str, Any] | None = None,
    method: Method = "auto",
    num_chains: int = 4,
    num_samples: int = 250,
    num_warmup: int = 500,
    seed: int = 0,
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Posteriors:
    """Sample the posteriors of one law on many data sets as one batch; see :func:`posterior`.

    Args:
        law: a law, or its name.
        observations: data sets; they may differ in length.
        likelihood: likelihood of the responses; default: that of the law's response.
        priors: in place of the default ones, for all data sets.
        fixed: values of parameters that are not inferred.
        starts: initial values of the mode search by parameter, each of shape (sets,); default: the best fits.
        method: as in :func:`posterior`.
        num_chains: number of chains of NUTS.
        num_samples: draws per chain after warm-up.
        num_warmup: warm-up draws per chain.
        seed: random seed.
        mesh: devices over which to spread the work.
        checkpoint: folder for finished parts.
        progress: whether to show a progress bar.

    Raises:
        DataError: observations do not suit the law.
        TypeError: the observations or the likelihood have another type.
        ValueError: an argument is invalid.
    """
    law = resolve(law)
    check_settings(method, num_chains, num_samples, num_warmup)
    if isinstance(observations, Observations):
        raise ArgumentTypeError("observations", "must be a sequence of Observations, but is a single one; write [it].")
    sets = list(observations)
    check_types(likelihood, sets)
    if not sets:
        raise ArgumentError("observations", "must not be empty.")
    model_likelihood = likelihoods.of_response(law.response) if likelihood is None else likelihood
    for data in sets:
        model_likelihood.check_unambiguous(data)
    bound = [model_likelihood.bind(data) for data in sets]
    model_likelihood, sets = bound[0][0], [data for _, data in bound]
    values = validate_fixed(law, fixed)
    seed, generator = generator_of(seed)
    if starts is None:
        at = fit_many(
            law,
            [model_likelihood.surrogate_data(data) for data in sets],
            noise=model_likelihood.surrogate,
            fixed=values,
            seed=seed,
        )
        starts = at.params
    with jax.enable_x64(True):
        sets = [prepare(law, data) for data in sets]
        size = bucket(max(map(len, sets)))
        runs, most = (max(each) for each in zip(*map(padded_run_sizes, sets), strict=True))
        models, places = [], []
        for k, data in enumerate(sets):
            model = model_of(
                law, data, model_likelihood, given=priors, fixed=values, size=size, shared_runs=(runs, most)
            )
            place = {name: float(starts[name][k]) for name in law.parameters}
            models.append(model)
            places.append((place, nuisance_at(model, place)))
        whole = stack(models)
        every = bucket(len(sets))
        padded = jax.tree.map(lambda a: np.resize(a, (every, *a.shape[1:])), (whole, *stack(places)))
        climbs = np.repeat(np.asarray(coordinates_of(*padded))[: len(sets), None], COMPONENTS, axis=1)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, method=method, chains=num_chains, draws=num_samples, warmup=num_warmup)
            identifiers = settings | dict(priors=prior_families(whole), pooling=whole.pooling)
            journal = Journal(checkpoint, identity(law, whole, model_likelihood.describe(), values) | identifiers)
        with show_progress(f"{len(sets)} posteriors of {law.name}", progress) as ticker:
            densities = densities_of(Runner(mesh, journal, ticker), whole, climbs, generator)
            sampled = adaptive_sample(densities, method, NutsSettings(num_chains, num_samples, num_warmup))
        values_by_name = draws_by_name(densities, sampled)
    nuisance = {name: v for name, v in values_by_name["sites"].items() if name not in values_by_name["params"]}
    return Posteriors(
        law,
        values_by_name["params"],
        nuisance,
        sampled.method,
        sampled.khat,
        sampled.ess,
        sampled.rhat,
        np.nan_to_num(sampled.stats["diverging"]).sum(axis=1).astype(int),
        num_chains,
        whole,
    )
