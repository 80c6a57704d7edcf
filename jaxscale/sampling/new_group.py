"""Posterior of a new group under partial pooling."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float, Int

from jaxscale.bayes import psis
from jaxscale.bayes.build_model import check_types, model_of
from jaxscale.bayes.model import Model
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.law.coordinates import coordinate_at, dependency_order, value_at
from jaxscale.results.draws import NO_MODEL, OF_ALL, Draws
from jaxscale.utils.arrays import Array, Numbers, RandomKey
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice
from jaxscale.utils.random import generator_of


def new_group(draws: Draws, observations: Observations | None = None, *, candidates: int = 16, seed: int = 0) -> Draws:
    """Parameters of a new group, given the population and, if any, the group's own runs.

    For every draw of the population, parameters of candidate groups are drawn, ``z ~ Normal(z_population, spread)`` in
    the parameter's coordinate, and weighted by the likelihood of the runs (Pareto-smoothed importance sampling).

    Args:
        draws: of a posterior with partial pooling.
        observations: runs of the new group; None for its prior predictive distribution.
        candidates: number of candidate groups per draw.
        seed: random seed.

    Returns:
        Draws of the group's parameters, as many as the given draws, for ``predict``.

    Raises:
        TypeError: the observations have another type.
        ValueError: ``candidates`` is not positive, the draws have no model or no partially pooled parameter, or a
            parameter or the scale of the noise is separate for each group.
    """
    model = draws.model
    if isinstance(candidates, bool) or not isinstance(candidates, int | np.integer) or candidates < 1:
        raise ArgumentError("candidates", f"must be a positive number, but is {candidates!r}.")
    check_types(None, () if observations is None else [observations])
    if model is None:
        raise ArgumentError("draws", f"must come from posterior, but these ({draws.method}) {NO_MODEL}.")
    if not isinstance(model, Model) or not any(how == "partial" for _, how in model.pooling):
        raise ArgumentError("draws", "must come from a posterior with partial pooling, but pools nothing so.")
    unpooled = [name for name, how in model.pooling if how == "none"]
    if unpooled or model.likelihood.by_group:
        raise ValueError(
            f"A new group has no prior of {', '.join(unpooled) or 'its scale'}, which is not pooled; pool it."
        )
    seed, _ = generator_of(seed)
    sites = {name: values for name, values in {**draws.nuisance, **draws.params}.items() if name in model.shapes}
    with jax.enable_x64(True):
        first, second = jr.split(jr.key(seed % 2**63))
        count = len(draws)
        params = _candidates(model, {k: jnp.asarray(v) for k, v in sites.items()}, first, candidates)
        nuisance = {name: np.repeat(v, candidates, axis=0) for name, v in draws.nuisance.items()}
        flat = {name: np.asarray(v).reshape(-1) for name, v in params.items()}
        notices, khat = draws.notices, -np.inf
        if observations is None:
            index = np.arange(count) * candidates
        else:
            rows = prepare(model.law, observations)
            own = model_of(model.law, rows, model.likelihood, fixed={k: float(v) for k, v in model.fixed.items()})
            own = eqx.tree_at(lambda m: m.centre, own, model.centre)
            given = {name: (flat | nuisance)[name] for name in own.shapes if name != "run_effect"}
            if "run_effect" in own.shapes:
                given["run_effect"] = np.random.default_rng(seed).standard_normal((count * candidates, own.runs))
            each = own.log_likelihood(given).sum(axis=1)
            log_weights, khat = psis.smooth(each)
            index = np.asarray(_resample(log_weights, second, count))
            if not khat < KHAT_LIMIT:
                message = f"k-hat of the new group's weights is {khat:.2f}, not below {KHAT_LIMIT}."
                notices = (*notices, Notice("heavy_weights", message))
    return replace(
        draws,
        params={name: values[index] for name, values in flat.items()},
        nuisance={name: v[index] for name, v in nuisance.items() if not name.endswith(OF_ALL)},
        method="new group",
        chains=1,
        stats={},
        about={"from": draws.method, "khat": khat, "draws": count},
        notices=notices,
        ok=draws.ok and khat < KHAT_LIMIT,
        observations=observations,
        model=None,
        likelihood=model.likelihood,
        group_names=(),
    )


@compiled(brief=True, static_argnames="count")
def _resample(log_weights: Float[Array, " candidate"], key: RandomKey, count: int) -> Int[Array, " draw"]:
    """Indices of equally weighted draws in random order."""
    return jr.permutation(key, psis.systematic(key, log_weights, count))


@compiled(static_argnames="candidates")
def _candidates(
    model: Model, sites: dict[str, Float[Array, "draw ..."]], key: RandomKey, candidates: int
) -> dict[str, Float[Array, "draw candidate"]]:
    """Parameters of candidate groups, shape (draws, candidates)."""
    pooled = dict(model.pooling)

    def one(sites: dict[str, Numbers], key: RandomKey) -> dict[str, Float[Array, " candidate"]]:
        params = {**model.fixed, **{name: sites[model.site(name)] for name in model.free}}
        central = dict(params)
        normals = jr.normal(key, (len(model.free), candidates), jnp.result_type(float))
        for k, name in enumerate(dependency_order(model.law, model.free)):
            if pooled.get(name) != "partial":
                continue
            z = coordinate_at(model.law, name, central[name], central, model.centre)
            z_group = z + sites[f"{name}_spread"] * normals[k]
            params[name] = value_at(model.law, name, z_group, params, model.centre)
        return {name: jnp.broadcast_to(params[name], (candidates,)) for name in model.law.parameters}

    keys = jr.split(key, len(next(iter(sites.values()))))
    return jax.vmap(one)(sites, keys)
