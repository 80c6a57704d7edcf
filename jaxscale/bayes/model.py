"""Statistical model: the posterior density of a law, its likelihood and priors, in unconstrained coordinates.

The coordinates of a law's parameters are those of a fit (centred, unconstrained), rotated along the ridge of a floor
and its terms; those of other sites are unconstrained by the support of their prior. A model is a pytree of arrays:
models of one structure are stacked and sampled as one batch, and new data do not recompile.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.bayes.prior_density import Prior
from jaxscale.bayes.reparameterization import Ridge, from_ridge, ridge_of, to_ridge
from jaxscale.law import Law, Support, positive, unit
from jaxscale.law.coordinates import Centre, coordinate_at, dependency_order, has_own_coordinates, value_at
from jaxscale.law.derivatives import value
from jaxscale.noise.likelihood import Likelihood
from jaxscale.utils.arrays import Array, Number, Numbers
from jaxscale.utils.compilation import compiled

T = TypeVar("T")


class Model(eqx.Module):
    """The posterior density of a law's parameters given data.

    Args:
        law: the law.
        free: names of the inferred parameters.
        likelihood: likelihood of the responses.
        pooling: parameters without complete pooling: (name, "partial" or "none").
        groups: number of groups, 1 where nothing is pooled.
        runs: number of sampled run effects, 0 where there are none or they are integrated out.
        centred_groups: whether partially pooled groups have the centred parameterisation, not the non-centred one; with
            many rows per group the latter has a narrow ridge of offset and spread.
        priors: prior of every site.
        inputs: shape (..., n).
        response: shape (n,).
        data: ``weight``, ``run`` and ``group`` (codes), and the likelihood's own columns, shape (n,).
        places: indices of the rows of every run where run effects are integrated out, see
            :func:`.random_effects.places`.
        fixed: values of the other parameters.
        centre: centre of the inputs.
        rescaled: of amplitudes with default priors, the log ratio per exponent by which the prior rescales.
    """

    law: Law = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    likelihood: Likelihood
    pooling: tuple[tuple[str, str], ...] = eqx.field(static=True)
    groups: int = eqx.field(static=True)
    runs: int = eqx.field(static=True)
    centred_groups: bool = eqx.field(static=True)
    priors: dict[str, Prior]
    inputs: dict[str, Float[Array, "... row"]]
    response: Float[Array, "*problem row"]
    data: dict[str, Real[Array, "*problem row"]]
    places: Int[Array, "*problem run most"]
    fixed: dict[str, Float[Array, "*problem"]]
    centre: Centre
    rescaling: dict[str, dict[str, Float[Array, "*problem"]]] = eqx.field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the sites, in the order of the coordinates."""
        pooled, sites = dict(self.pooling), {}
        for name in self.free:
            sites[self.site(name)] = (self.groups,) if pooled.get(name) == "none" else ()
        for name, how in self.pooling:
            if how == "partial":
                sites |= {f"{name}_spread": (), f"{name}_offset": (self.groups,)}
        for name, site in self.likelihood.sites.items():
            sites[name] = (self.groups,) if site.by_group else ()
        if self.runs:
            sites["run_effect"] = (self.runs,)
        return sites

    def site(self, name: str) -> str:
        """The site of a free parameter: that of the population under partial pooling."""
        return f"{name}_population" if (name, "partial") in self.pooling else name

    @property
    def length(self) -> int:
        """The number of rows, padding included."""
        return self.response.shape[-1]

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def marginal(self) -> bool:
        """Whether run effects are integrated out."""
        return self.likelihood.marginal and not self.runs

    @property
    def ridge(self) -> Ridge | None:
        """The ridge of floor and terms, under complete pooling."""
        if self.pooling or has_own_coordinates(self.law, self.free):
            return None
        return ridge_of(self.law, self.free, lambda name: _native(positive, self.priors[name]))

    def parts(self, x: Float[Array, " size"]) -> dict[str, Float[Array, "..."]]:
        """The coordinates of every site from the vector of all coordinates."""
        blocks, place = {}, 0
        if self.ridge is not None:
            x = from_ridge(self.ridge, x)
        for name, shape in self.shapes.items():
            width = int(np.prod(shape))
            blocks[name] = x[place : place + width].reshape(shape) if shape else x[place]
            place += width
        return blocks

    def sites(self, x: Float[Array, " size"]) -> tuple[dict[str, Float[Array, "..."]], Float[Array, ""]]:
        """Values of the sites at coordinates x of shape (size,), and the log determinant of the map."""
        z = self.parts(x)
        values, total, central = {}, 0.0, {}
        if has_own_coordinates(self.law, self.free):
            vector = jnp.stack([z[name] for name in self.free])
            of = lambda v: dict(self.law.coordinates[0](v, self.centre))  # noqa: E731  # pyright: ignore
            values |= of(vector)
            jacobian = jax.jacfwd(lambda v: jnp.stack([of(v)[name] for name in self.free]))(vector)
            total += _log_volume(jacobian)
        else:
            central |= self.fixed
            context = dict(self.fixed)
            for name in dependency_order(self.law, self.free):
                site = self.site(name)
                param, bend = self._map(name, z[site], context if jnp.ndim(z[site]) else central)
                total += jnp.sum(bend)
                values[site] = context[name] = param
                central[name] = jnp.mean(param) if jnp.ndim(param) else param
        for name in self.shapes:
            if name in values:
                continue
            values[name], bend = self.priors[name].constrained(z[name])
            total += jnp.sum(bend)
            pooled = name.removesuffix("_offset")
            if self.centred_groups and pooled != name:
                spread = values[f"{pooled}_spread"]
                middle = coordinate_at(self.law, pooled, values[f"{pooled}_population"], central, self.centre)
                values[name] = (z[name] - middle) / spread
                total -= self.groups * jnp.log(spread)
        return values, total

    def _map(
        self, name: str, z: Float[Array, "*group"], context: Mapping[str, Numbers]
    ) -> tuple[Float[Array, "*group"], Float[Array, "*group"]]:
        """A parameter from its coordinate, and the log derivative of the map."""
        kind, prior = self.law.parameters[name], self.priors[self.site(name)]
        if not _native(kind.support, prior):
            return prior.constrained(z)
        at = lambda z: value_at(self.law, name, z, context, self.centre)  # noqa: E731
        param, slope = jax.jvp(at, (z,), (jnp.ones_like(z),))
        return param, jnp.log(jnp.abs(slope))

    def parameters(self, sites: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """The law's parameters by name: scalars, or of shape (groups,) where groups have their own."""
        params = {**self.fixed, **{name: sites[self.site(name)] for name in self.free}}
        central = {name: jnp.mean(v) if jnp.ndim(v) else v for name, v in params.items()}
        pooled = dict(self.pooling)
        for name in dependency_order(self.law, [name for name in self.free if pooled.get(name) == "partial"]):
            z = coordinate_at(self.law, name, params[name], central, self.centre)
            z_group = z + sites[f"{name}_spread"] * sites[f"{name}_offset"]
            params[name] = value_at(self.law, name, z_group, params, self.centre)
        return {name: params[name] for name in self.law.parameters}

    def level(self, sites: Mapping[str, Numbers]) -> Float[Array, " row"]:
        """Predictions of the law for every row, shape (n,)."""
        params = self.parameters(sites).items()
        return self.level_at({k: v[self.data["group"]] if jnp.ndim(v) else v for k, v in params})

    def level_at(self, params: Mapping[str, Numbers]) -> Float[Array, " row"]:
        """Predictions of the law for every row, shape (n,), at parameters that are scalars or of shape (n,)."""
        axes = {name: 0 if jnp.ndim(v) else None for name, v in params.items()}
        return jax.vmap(lambda row, p: value(self.law, row, p), in_axes=(-1, axes))(self.inputs, params)

    def log_prior(self, sites: Mapping[str, Numbers]) -> Float[Array, ""]:
        """The log prior density at values of the sites; -inf where a law's own coordinates leave a prior's support."""
        bounded = self.free if has_own_coordinates(self.law, self.free) else ()
        total = jnp.zeros(())
        for name in self.shapes:
            unit = self.unit(name, sites)
            density = self.priors[name].log_prob(sites[name] * jnp.exp(-unit)) - unit
            if name in bounded:
                density = jnp.where(self.priors[name].contains(sites[name]), density, -jnp.inf)
            total += jnp.sum(density)
        return total

    def unit(self, name: str, sites: Mapping[str, Numbers]) -> Numbers:
        """Logarithm of the unit of a site's prior: 0 except for amplitudes that rescale with the inputs."""
        total: Any = 0.0
        for power, ratio in self.rescaling.get(name, {}).items():
            value = self.fixed[power] if power in self.fixed else sites[self.site(power)]
            total = total + ratio * (value if jnp.ndim(value) == jnp.ndim(sites[name]) else jnp.mean(value))
        return total

    def rows(self, sites: Mapping[str, Numbers]) -> Float[Array, " unit"]:
        """Weighted log likelihoods of the rows, or of the runs where run effects are integrated out."""
        level = self.level(sites)
        if self.marginal:
            return self.likelihood.log_prob_of_runs(sites, level, self.response, self.data, self.places)
        weight = self.data["weight"]
        each = self.likelihood.log_prob(sites, level, self.response, self.data)
        return jnp.where(weight > 0, weight * each, 0.0)

    def log_density(self, x: Float[Array, " size"]) -> Float[Array, ""]:
        """Log posterior density at coordinates x of shape (size,), up to a constant; -inf where undefined."""
        sites, bend = self.sites(x)
        total = self.log_prior(sites) + jnp.sum(self.rows(sites)) + bend
        return jnp.where(jnp.isnan(total), -jnp.inf, total)

    @property
    def smooth(self) -> "Model":
        """A twice differentiable surrogate of the model, for its mode: Laplace residuals have a kink at 0."""
        return self if self.likelihood.differentiable else replace(self, likelihood=self.likelihood.smooth_surrogate())

    def numpyro(self) -> Callable[..., None]:
        """The model as a NumPyro program, for SVI, other kernels, more plates and predictive draws.

        Every inferred quantity is a sample site with its prior, those of groups and runs in the plates "group" and
        "run"; partially pooled parameters and "level", the predictions of the law, are deterministic sites. The rows
        of positive weight are the plate "row", in which "obs" is the observed site, with the density of the responses;
        where run effects are integrated out, "obs" is one event of all rows. Numbers are float64: run the program
        inside ``jax.enable_x64(True)``, and use one precision per process, since JAX does not run programs that were
        compiled for the other.

        Returns:
            ``program(response=..., **given)``. ``response=None`` samples "obs" instead of observing it, for
            :class:`numpyro.infer.Predictive`. A given site is not sampled: its value comes from the enclosing program,
            as a scalar or one number per row.

        Example:
            The exponents of two families of runs, with a hierarchical prior.

            >>> import jax, jaxscale, numpy as np, numpyro, numpyro.distributions as dist
            >>> from jaxscale.bayes.build_model import model_of
            >>> x, family = np.geomspace(1.0, 100.0, 8), np.arange(8) % 2
            >>> y = 2.0 * x ** (0.5 + 0.1 * family)
            >>> rows = jaxscale.Observations.from_table(dict(x=x, y=y), inputs=["x"], response="y")
            >>> with jax.enable_x64(True):
            ...     model = model_of(jaxscale.laws.power_law, rows, jaxscale.likelihoods.normal())
            ...     inner = model.numpyro()
            ...     def families():
            ...         mean = numpyro.sample("mean", dist.Normal(0.5, 0.2))
            ...         with numpyro.plate("family", 2):
            ...             b = numpyro.sample("b", dist.Normal(mean, 0.1))
            ...         inner(b=b[family])
            ...     drawn = numpyro.infer.Predictive(families, num_samples=5)(jax.random.key(0))
            >>> drawn["b"].shape, drawn["level"].shape
            ((5, 2), (5, 8))
        """
        from jaxscale.bayes.distribution import program

        return program(self)

    def coordinates_of(self, params: Mapping[str, Numbers], nuisance: Mapping[str, Numbers]) -> Float[Array, " size"]:
        """Coordinates of given parameters (scalars) and nuisance parameters, equal for all groups, shape (size,)."""
        places = {name: _off_bounds(self.law.parameters[name].support, v) for name, v in params.items()}
        places |= {name: move_inside(self.priors[self.site(name)], places[name]) for name in self.free}
        if has_own_coordinates(self.law, self.free):
            vector = self.law.coordinates[1](places, self.centre)  # pyright: ignore[reportOptionalSubscript]
            z = {name: vector[k] for k, name in enumerate(self.free)}
        else:
            z = {}
            for name in self.free:
                kind, site = self.law.parameters[name], self.site(name)
                if _native(kind.support, self.priors[site]):
                    z[site] = coordinate_at(self.law, name, places[name], places, self.centre)
                else:
                    z[site] = _coordinate(self.priors[site], places[name])
        for name in self.shapes:
            if name in z:
                continue
            pooled = name.removesuffix("_offset")
            if self.centred_groups and pooled != name:
                z[name] = coordinate_at(self.law, pooled, places[pooled], places, self.centre)
                continue
            start = nuisance.get(name, 0.0 if name.endswith(("_offset", "run_effect")) else 0.1)
            z[name] = _coordinate(self.priors[name], start)
        parts = [jnp.broadcast_to(jnp.asarray(z[name], float), shape).ravel() for name, shape in self.shapes.items()]
        coordinates = jnp.concatenate(parts)
        return coordinates if self.ridge is None else to_ridge(self.ridge, coordinates)

    def log_likelihood(self, sites: Mapping[str, Float[Array, "draw ..."]]) -> Float[np.ndarray, "draw unit"]:
        """Pointwise log likelihood of every draw, shape (draws, rows used), or (draws, runs used).

        These are densities of the responses in their own unit, regardless of the residual space, so that laws and
        likelihoods can be compared.

        Args:
            sites: draws by name, leading axis (draws,).
        """
        weight = np.asarray(self.data["weight"])
        with jax.enable_x64(True):
            given = {name: jnp.asarray(sites[name]) for name in self.shapes}
            each = np.asarray(_rows_of(self, given))
            bend = np.asarray(self.likelihood.log_jacobian(jnp.asarray(self.response), self.data))
        bend = np.where(weight > 0, weight * bend, 0.0)
        if not self.marginal:
            return (each + bend)[:, weight > 0]
        codes = np.asarray(self.data["run"])
        return (each + np.bincount(codes, bend, each.shape[1]))[:, np.unique(codes[weight > 0])]


@compiled
def _rows_of(model: Model, sites: dict[str, Float[Array, "draw ..."]]) -> Float[Array, "draw unit"]:
    return jax.lax.map(model.rows, sites, batch_size=256)


def _log_volume(matrix: Float[Array, "size size"]) -> Number:
    """Log absolute determinant by elimination with pivoting (see :class:`~jaxscale.engine.runner.Runner`)."""
    total = 0.0
    while len(matrix):
        place = jnp.argmax(jnp.abs(matrix[:, 0]))
        row = matrix[place]
        total += jnp.log(jnp.abs(row[0]))
        left = matrix - (matrix[:, 0] / row[0])[:, None] * row[None]
        # The first row replaces the eliminated one.
        matrix = jnp.where((jnp.arange(len(left)) == place)[:, None], left[0], left)[1:, 1:]
    return total


def _native(support: Support, prior: Prior) -> bool:
    """Whether a prior has the parameter's own support, so that its own coordinate can be used."""
    return prior.domain in {positive: ("positive", "real"), unit: ("unit", "real")}.get(support, ("real",))


def _off_bounds(support: Support, start: Numbers) -> Numbers:
    """An initial value with a finite coordinate: a fit may end at a bound of the unit interval."""
    return jnp.clip(start, 1e-3, 1 - 1e-3) if support is unit else start


def _coordinate(prior: Prior, start: Numbers) -> Numbers:
    """The coordinate of a value, moved inside the prior's support where it lies outside."""
    return prior.unconstrained(move_inside(prior, jnp.asarray(start, float)))


def move_inside(prior: Prior, value: Numbers) -> Numbers:
    """A value, moved slightly inside the prior's support where it lies outside."""
    low, high = prior.ends
    if low is None and high is None:
        return value
    # A small share of the interval, or of the scale of a half line.
    if low is not None and high is not None:
        step = 0.01 * (high - low)
    else:
        end: Any = low if high is None else high
        step = 0.01 * jnp.maximum(jnp.abs(value - end), jnp.abs(end))
    held = value if low is None else jnp.where(value > low, value, low + step)
    return held if high is None else jnp.where(held < high, held, high - step)


def stack(models: list[T]) -> T:
    """Models of one structure as one pytree with a leading axis of models."""
    return jax.tree.map(
        lambda *leaves: np.stack(
            [np.asarray(leaf, float) if np.asarray(leaf).dtype.kind == "f" else np.asarray(leaf) for leaf in leaves]
        ),
        *models,
    )
