"""Initial values of the mode search of a posterior: where the best fits lie in its coordinates."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxscale.bayes.model import Model, stacked
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.law.derivatives import value
from jaxscale.noise import Noise, squared, student_t
from jaxscale.noise.likelihoods import COUNTS, Likelihood
from jaxscale.noise.spaces import space_of
from jaxscale.results.fit import Fit
from jaxscale.sampling.adaptive_sampler import COMPONENTS
from jaxscale.utils.compilation import compiled


def starts_at(model: Model, law: Law, places: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Starts of the mode search, shape (components, size): coordinates of these parameters, the first repeated."""
    chosen = [places[k] if k < len(places) else places[0] for k in range(COMPONENTS)]
    nuisance = [nuisance_at(model, law, place) for place in chosen]
    wide = jax.tree.map(lambda a: np.broadcast_to(a, (COMPONENTS, *np.shape(a))), model)
    return np.asarray(
        located(wide, *stacked([(dict(place), own) for place, own in zip(chosen, nuisance, strict=True)]))
    )


@compiled(brief=True)
def located(model: Model, params: Any, nuisance: Any) -> Any:
    """Coordinates of parameters and nuisance by name, one set for each of the stacked models, shape (models, size)."""
    return jax.vmap(lambda m, p, n: m.placed(p, n))(model, params, nuisance)


def noise_of_fit(likelihood: Likelihood) -> Noise:
    """The noise of the fit whose optimum starts the mode search."""
    if likelihood.family in COUNTS:
        return squared("logit")
    if likelihood.family == "normal" and likelihood.censored is None:
        return squared(likelihood.space)
    return student_t(4.0, space=likelihood.space)


def continuous(observations: Observations, likelihood: Likelihood) -> Observations:
    """Observations that a fit takes: counted shares off their ends, also where rows of weight 0 hold something else."""
    if likelihood.trials is None or likelihood.trials not in observations.inputs:
        return observations
    trials = np.maximum(observations.inputs[likelihood.trials], 1.0)
    shares = np.clip((observations.response * trials + 0.5) / (trials + 1), 1e-12, 1 - 1e-12)
    return eqx.tree_at(lambda o: o.response, observations, shares)


def fitted_to(law: Law, observations: Observations, likelihood: Likelihood, fixed: dict[str, float], seed: int) -> Fit:
    """The fit of a law whose optimum starts the mode search."""
    return fit(
        law,
        continuous(observations, likelihood),
        noise=noise_of_fit(likelihood),
        fixed=fixed,
        key=seed,
        replicates=0,
        allow_unidentified=True,
        progress=False,
    )


@compiled(brief=True)
def residuals_at(model: Model, params: dict[str, Any]) -> tuple[Any, Any]:
    """Residuals about the law at some parameters, and what they are taken from; shape (n,)."""
    transform = space_of(model.likelihood.space).forward
    level = jax.vmap(lambda row: value(model.law, row, params), in_axes=-1)(model.inputs)
    target = transform(model.response)
    return transform(level) - target, target


def nuisance_at(model: Model, law: Law, place: Mapping[str, float]) -> dict[str, float]:
    """Initial values of the nuisance parameters: scales as large as the residuals."""
    chosen = model.likelihood
    guess = {"df": 8.0, "run_ratio": 1.0, "power": 0.0, "concentration": 50.0}
    if chosen.family in COUNTS:
        return guess
    values = {name: np.asarray(place[name], float) for name in law.parameters}
    used = model.data["weight"] > 0
    r, target = (np.asarray(each)[used] for each in residuals_at(model, values))
    r = r[np.isfinite(r)]
    if not len(r):
        return {**guess, "scale": 0.1}
    freedom = max(len(r) - len(model.free), 1)
    size = np.sqrt(np.sum(r * r) / freedom) if chosen.family == "normal" else 1.4826 * np.median(np.abs(r))
    floor = 1e-9 + 1e-9 * np.abs(target).max()
    scale = float(max(size, floor))
    return {**guess, "scale": scale / np.sqrt(2.0) if model.likelihood.runs else scale}
