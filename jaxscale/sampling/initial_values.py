"""Initial values of the mode search of a posterior, from the best fits."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float

from jaxscale.bayes.model import Model, stack
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.law.derivatives import value
from jaxscale.noise.likelihood import Likelihood
from jaxscale.results.fit import Fit
from jaxscale.sampling.adaptive_sampler import COMPONENTS
from jaxscale.utils.arrays import Array, Number
from jaxscale.utils.compilation import compiled


def starts_at(model: Model, places: Sequence[Mapping[str, float]]) -> Float[np.ndarray, "component size"]:
    """Starts of the mode search: coordinates of the given parameters, padded by the first, shape (components, size)."""
    points = [places[k] if k < len(places) else places[0] for k in range(COMPONENTS)]
    nuisance = [nuisance_at(model, place) for place in points]
    wide = jax.tree.map(lambda a: np.broadcast_to(a, (COMPONENTS, *np.shape(a))), model)
    return np.asarray(
        coordinates_of(wide, *stack([(dict(place), own) for place, own in zip(points, nuisance, strict=True)]))
    )


@compiled(brief=True)
def coordinates_of(
    model: Model, params: dict[str, Float[Array, " problem"]], nuisance: dict[str, Float[Array, " problem"]]
) -> Float[Array, "problem size"]:
    """Coordinates of parameters and nuisance parameters of every stacked model, shape (models, size)."""
    return jax.vmap(lambda m, p, n: m.coordinates_of(p, n))(model, params, nuisance)


def surrogate_fit(
    law: Law, observations: Observations, likelihood: Likelihood, fixed: dict[str, float], seed: int
) -> Fit:
    """The surrogate fit whose basins start the mode search."""
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
def residuals_at(model: Model, params: dict[str, Number]) -> tuple[Float[Array, " row"], Float[Array, " row"]]:
    """Residuals at given parameters and the transformed responses, both of shape (n,)."""
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
