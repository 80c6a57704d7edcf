"""Statistical models as NumPyro programs, with one distribution that wraps any likelihood."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Float, Int, Real
from numpyro.distributions import constraints

from jaxscale.bayes.model import Model
from jaxscale.noise.likelihood import Likelihood
from jaxscale.noise.random_effects import run_rows
from jaxscale.utils.arrays import Array, Numbers, RandomKey
from jaxscale.utils.errors import ArgumentError


class Responses(dist.Distribution):
    """NumPyro distribution of the responses, ``y ~ likelihood(law, nuisance)``.

    Args:
        likelihood: likelihood of the responses.
        sites: its nuisance parameters by name.
        level: predictions of the law, shape (n,).
        data: ``weight``, ``run`` and ``group``, and the likelihood's own columns, shape (n,).
        rows: rows of each run, shape (runs, most), where run effects are integrated out: then all rows are one event;
            else every row is an element of a batch.
    """

    arg_constraints = {}
    pytree_data_fields = ("likelihood", "sites", "level", "data", "rows")

    def __init__(
        self,
        likelihood: Likelihood,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        data: Mapping[str, Real[Array, "... row"]],
        rows: Int[Array, "run most"] | None = None,
    ) -> None:
        self.likelihood, self.sites, self.level = likelihood, dict(sites), level
        self.data, self.rows = dict(data), rows
        shape = jnp.shape(level)
        super().__init__(*((shape, ()) if rows is None else ((), shape)))

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """The real numbers, one for each row."""
        return constraints.real if self.rows is None else constraints.real_vector

    def log_prob(self, value: Float[Array, " row"]) -> Float[Array, "..."]:
        """Log densities of the rows, shape (n,), or their joint density where run effects are integrated out."""
        bend = self.likelihood.log_jacobian(value, self.data)
        if self.rows is None:
            return self.likelihood.log_prob(self.sites, self.level, value, self.data) + bend
        each = self.likelihood.log_prob_of_runs(self.sites, self.level, value, self.data, self.rows)
        return jnp.sum(each) + jnp.sum(self.data["weight"] * bend)

    def sample(self, key: RandomKey, sample_shape: tuple[int, ...] = ()) -> Float[Array, "... row"]:
        """Simulated responses, shape (*sample_shape, n)."""
        draw = lambda key: self.likelihood.sample(key, self.sites, self.level, self.data)  # noqa: E731
        if not sample_shape:
            return draw(key)
        keys = jax.random.split(key, int(np.prod(sample_shape)))
        return jax.vmap(draw)(keys).reshape(*sample_shape, *jnp.shape(self.level))


def program(model: Model) -> Callable[..., None]:
    """A model as a NumPyro program, see :meth:`jaxscale.bayes.model.Model.numpyro`."""
    own = _without_padding(model)
    rows, weight = own.length, own.data["weight"]

    def run(response: Float[Array, " row"] | None = own.response, **given: Numbers) -> None:
        _check_given(own, given)
        sites = _sample_sites(own, given)
        level = numpyro.deterministic("level", own.level_at(_params_of_rows(own, sites, given)))
        responses = Responses(own.likelihood, sites, level, own.data, own.places if own.marginal else None)
        if own.marginal:
            numpyro.sample("obs", responses, obs=response)
            return
        with numpyro.plate("row", rows), numpyro.handlers.scale(scale=weight):
            numpyro.sample("obs", responses, obs=response)

    return run


def _without_padding(model: Model) -> Model:
    """The model restricted to rows of positive weight."""
    used = np.asarray(model.data["weight"]) > 0
    data = {name: np.asarray(values)[used] for name, values in model.data.items()}
    rows = model.places
    if model.marginal:
        rows = run_rows(data["run"], np.ones(len(data["run"]), bool), *model.places.shape)
    inputs = {name: np.asarray(values)[..., used] for name, values in model.inputs.items()}
    return replace(model, inputs=inputs, response=np.asarray(model.response)[used], data=data, places=rows)


def _sample_sites(model: Model, given: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """A sample site per inferred quantity that is not given; those of groups and runs in their plates."""
    sites: dict[str, Any] = {}
    # Amplitudes after the exponents that their priors depend on.
    for name, shape in sorted(model.shapes.items(), key=lambda pair: pair[0] in model.rescaling):
        if name in given:
            sites[name] = jnp.asarray(given[name])
        elif not shape:
            sites[name] = numpyro.sample(name, _prior(model, name, sites))
        else:
            with numpyro.plate("run" if name == "run_effect" else "group", shape[0]):
                sites[name] = numpyro.sample(name, _prior(model, name, sites))
    return sites


def _prior(model: Model, name: str, sites: Mapping[str, Numbers]) -> dist.Distribution:
    """The prior of a site; that of an amplitude is rescaled by powers of the units of its inputs."""
    prior = model.priors[name].distribution
    if name not in model.rescaling:
        return prior
    unit = jnp.exp(model.unit(name, {**sites, name: jnp.zeros(model.shapes[name])}))
    return dist.TransformedDistribution(prior, dist.transforms.AffineTransform(0.0, unit, prior.support))


def _params_of_rows(model: Model, sites: Mapping[str, Numbers], given: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """The law's parameters, scalars or one value per row; deterministic sites where partially pooled."""
    params = model.parameters(sites)
    for name, how in model.pooling:
        if how == "partial":
            numpyro.deterministic(name, params[name])
    own = {name for name in given if jnp.shape(given[name]) == (model.length,) and not model.shapes[name]}
    return {k: v if k in own or not jnp.ndim(v) else v[model.data["group"]] for k, v in params.items()}


def _check_given(model: Model, given: Mapping[str, Numbers]) -> None:
    """Validate the names and shapes of given values.

    Raises:
        ValueError: a name is not a site, or a value is neither a scalar nor one number per row.
    """
    for name, value in given.items():
        if name not in model.shapes:
            raise ArgumentError(
                name, f"is no site of the model of {model.law.name}; its sites are {', '.join(model.shapes)}."
            )
        if jnp.shape(value) not in {(), model.shapes[name], (model.length,)}:
            raise ArgumentError(
                name,
                f"must be a number or have shape {(model.length,)}, one number for each row, but has "
                f"shape {jnp.shape(value)}.",
            )
