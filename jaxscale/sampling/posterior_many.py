"""Posteriors of many data sets in one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxscale.bayes.build_model import model_of, refuse_types, room_of
from jaxscale.bayes.model import Model, stacked
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
from jaxscale.sampling.adaptive_sampler import COMPONENTS, NutsSettings, adaptive_sample, refuse
from jaxscale.sampling.densities import densities_of
from jaxscale.sampling.initial_values import located, nuisance_at
from jaxscale.sampling.posterior import Method, by_name, families
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
        nuisance: what was drawn beside them, the same.
        method: the method that each ended with.
        khat: shape of the tail of the importance weights; NaN where these were not used.
        ess: effective number of draws of the proposal; NaN for NUTS.
        rhat: largest R-hat; NaN where there are no chains.
        divergences: number of draws that diverged.
        chains: of those that NUTS sampled.
        models: what was sampled, stacked.
    """

    law: Law
    params: dict[str, np.ndarray]
    nuisance: dict[str, np.ndarray]
    method: np.ndarray
    khat: np.ndarray
    ess: np.ndarray
    rhat: np.ndarray
    divergences: np.ndarray
    chains: int
    models: Model

    def __len__(self) -> int:
        """The number of data sets."""
        return len(self.method)

    @property
    def ok(self) -> np.ndarray:
        """Which posteriors may be trusted: weights with a tame tail, or chains that mixed without divergences."""
        mixed = (self.rhat < 1.05) & (self.divergences < 0.01 * self.params[next(iter(self.params))].shape[1])
        return np.where(self.method == "nuts", mixed, ~(self.khat >= KHAT_LIMIT))


def posterior_many(
    law: Law | str,
    observations: Sequence[Observations],
    *,
    likelihood: Likelihood | None = None,
    priors: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    starts: Mapping[str, Any] | None = None,
    method: Method = "auto",
    num_chains: int = 4,
    num_samples: int = 250,
    num_warmup: int = 500,
    seed: int = 0,
    mesh: Any = None,
    checkpoint: Any = None,
    progress: bool | None = None,
) -> Posteriors:
    """Posteriors of one law on many data sets as one batch; see :func:`posterior`.

    Args:
        law: a law, or its name.
        observations: data sets; they may differ in length.
        likelihood: how responses scatter; that of the law's response unless given.
        priors: in place of the default ones, for all data sets.
        fixed: values of parameters that are not inferred.
        starts: parameters by name to climb from, each of shape (sets,); the best fits unless given.
        method: as for :func:`posterior`.
        num_chains: of NUTS.
        num_samples: of each chain.
        num_warmup: of each chain.
        seed: of the random numbers.
        mesh: devices to spread the work over.
        checkpoint: folder where finished parts are kept.
        progress: whether to show a progress bar.

    Raises:
        DataError: some observations do not suit the law.
        TypeError: the observations or the likelihood are of another type.
        ValueError: an argument is wrong.
    """
    law = resolve(law)
    refuse(method, num_chains, num_samples, num_warmup)
    if isinstance(observations, Observations):
        raise ArgumentTypeError("observations", "must be a sequence of Observations, but is a single one; write [it].")
    sets = list(observations)
    refuse_types(likelihood, sets)
    if not sets:
        raise ArgumentError("observations", "must not be empty.")
    chosen = likelihoods.of_response(law.response) if likelihood is None else likelihood
    for some in sets:
        chosen.check_unambiguous(some)
    bound = [chosen.bind(some) for some in sets]
    chosen, sets = bound[0][0], [some for _, some in bound]
    values = validate_fixed(law, fixed)
    seed, generator = generator_of(seed)
    if starts is None:
        at = fit_many(
            law, [chosen.surrogate_data(some) for some in sets], noise=chosen.surrogate, fixed=values, seed=seed
        )
        starts = at.params
    with jax.enable_x64(True):
        sets = [prepare(law, some) for some in sets]
        size = bucket(max(map(len, sets)))
        runs, most = (max(each) for each in zip(*map(room_of, sets), strict=True))
        models, places = [], []
        for k, some in enumerate(sets):
            model = model_of(law, some, chosen, given=priors, fixed=values, size=size, shared_runs=(runs, most))
            place = {name: float(starts[name][k]) for name in law.parameters}
            models.append(model)
            places.append((place, nuisance_at(model, place)))
        whole = stacked(models)
        every = bucket(len(sets))
        padded = jax.tree.map(lambda a: np.resize(a, (every, *a.shape[1:])), (whole, *stacked(places)))
        climbs = np.repeat(np.asarray(located(*padded))[: len(sets), None], COMPONENTS, axis=1)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, method=method, chains=num_chains, draws=num_samples, warmup=num_warmup)
            told_apart = settings | dict(priors=families(whole), pooling=whole.pooling)
            journal = Journal(checkpoint, identity(law, whole, chosen.describe(), values) | told_apart)
        with show_progress(f"{len(sets)} posteriors of {law.name}", progress) as ticker:
            densities = densities_of(Runner(mesh, journal, ticker), whole, climbs, generator)
            sampled = adaptive_sample(densities, method, NutsSettings(num_chains, num_samples, num_warmup))
        named = by_name(densities, sampled)
    nuisance = {name: v for name, v in named["sites"].items() if name not in named["params"]}
    return Posteriors(
        law,
        named["params"],
        nuisance,
        sampled.method,
        sampled.khat,
        sampled.ess,
        sampled.rhat,
        np.nan_to_num(sampled.stats["diverging"]).sum(axis=1).astype(int),
        num_chains,
        whole,
    )
