"""Initial values of the mode search of a posterior: where the best fits lie in its coordinates."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.bayes.model import Model, stacked
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.law.derivatives import value
from jaxscale.noise.likelihood import Likelihood
from jaxscale.results.fit import Fit
from jaxscale.sampling.adaptive_sampler import COMPONENTS
from jaxscale.utils.compilation import compiled


def starts_at(model: Model, places: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Starts of the mode search, shape (components, size): coordinates of these parameters, the first repeated."""
    chosen = [places[k] if k < len(places) else places[0] for k in range(COMPONENTS)]
    nuisance = [nuisance_at(model, place) for place in chosen]
    wide = jax.tree.map(lambda a: np.broadcast_to(a, (COMPONENTS, *np.shape(a))), model)
    return np.asarray(
        located(wide, *stacked([(dict(place), own) for place, own in zip(chosen, nuisance, strict=True)]))
    )


@compiled(brief=True)
def located(model: Model, params: Any, nuisance: Any) -> Any:
    """Coordinates of parameters and nuisance by name, one set for each of the stacked models, shape (models, size)."""
    return jax.vmap(lambda m, p, n: m.placed(p, n))(model, params, nuisance)


def fitted_to(law: Law, observations: Observations, likelihood: Likelihood, fixed: dict[str, float], seed: int) -> Fit:
    """The fit of a law whose optimum starts the mode search."""
    return fit(
        law,
        likelihood.surrogate_data(observations),
        noise=likelihood.surrogate,
        fixed=fixed,
        seed=seed,
        n_resamples=0,
        allow_unidentified=True,
        progress=False,
    )


@compiled(brief=True)
def residuals_at(model: Model, params: dict[str, Any]) -> tuple[Any, Any]:
    """Residuals about the law at some parameters, and what they are taken from; shape (n,)."""
    transform = model.likelihood.space.forward
    level = jax.vmap(lambda row: value(model.law, row, params), in_axes=-1)(model.inputs)
    target = transform(model.response)
    return transform(level) - target, target


def nuisance_at(model: Model, place: Mapping[str, float]) -> dict[str, float]:
    """Initial values of the nuisance parameters."""
    values = {name: np.asarray(place[name], float) for name in model.law.parameters}
    used = model.data["weight"] > 0
    residual, target = (np.asarray(each)[used] for each in residuals_at(model, values))
    return model.likelihood.initial(residual, target, len(model.free))
