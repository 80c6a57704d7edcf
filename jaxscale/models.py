"""Models: a law, its likelihood and its priors as one density, in coordinates in which it can be sampled.

The coordinates of a law's parameters are those of a fit (centred, unconstrained); those of everything else are
NumPyro's for the support of its prior. A model is a tree of arrays: many of one structure are stacked and sampled as
one batch, and new data compile nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints

from jaxscale import likelihoods, priors
from jaxscale.coordinates import Centre, centre_of, coordinate_at, ordered, owned, value_at
from jaxscale.derivatives import value
from jaxscale.law import Law, positive, unit
from jaxscale.likelihoods import Likelihood
from jaxscale.observations import Observations, bucket, padded
from jaxscale.tables import DataError, did_you_mean

# Groups of so many rows or more, on average, are sampled by their own places.
MANY = 6
POOLING = ("complete", "partial", "none")


class Model(eqx.Module):
    """Everything that the density of parameters given data needs.

    Args:
        law: the law.
        free: names of the parameters that are inferred.
        likelihood: how responses scatter.
        pooling: for every parameter that groups do not share: (name, "partial" or "none").
        groups: number of groups, 1 where nothing is pooled.
        runs: number of effects of runs that are sampled, 0 where there are none or they are integrated out.
        apart: whether the coordinates of pooled groups are the groups' own places rather than their offsets: where
            groups have many rows their places are sharp, and offset and spread lie on a narrow ridge.
        priors: a distribution for every site.
        inputs: shape (..., n).
        response: shape (n,).
        data: ``weight``, ``run`` and ``group`` (codes), and the likelihood's own columns, shape (n,).
        fixed: values of the other parameters.
        centre: measured on the inputs.
    """

    law: Law = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    likelihood: Likelihood
    pooling: tuple[tuple[str, str], ...] = eqx.field(static=True)
    groups: int = eqx.field(static=True)
    runs: int = eqx.field(static=True)
    apart: bool = eqx.field(static=True)
    priors: dict[str, Any]
    inputs: dict[str, Any]
    response: Any
    data: dict[str, Any]
    fixed: dict[str, Any]
    centre: Centre

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The sites in the order of the coordinates, with their shapes."""
        pooled, sites = dict(self.pooling), {}
        for name in self.free:
            sites[self.site(name)] = (self.groups,) if pooled.get(name) == "none" else ()
        for name, how in self.pooling:
            if how == "partial":
                sites |= {f"{name}_spread": (), f"{name}_offset": (self.groups,)}
        for name in priors.of_nuisance(self.likelihood):
            sites[name] = (self.groups,) if name == "scale" and self.likelihood.scale_by == "group" else ()
        if self.runs:
            sites["run_effect"] = (self.runs,)
        return sites

    def site(self, name: str) -> str:
        """The site of a free parameter: that of the population where groups are pooled partially."""
        return f"{name}_population" if (name, "partial") in self.pooling else name

    @property
    def length(self) -> int:
        """The number of rows, padding included."""
        return self.response.shape[-1]

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def parts(self, x: Any) -> dict[str, Any]:
        """The coordinates of every site from the vector of all."""
        taken, place = {}, 0
        for name, shape in self.shapes.items():
            width = int(np.prod(shape))
            taken[name] = x[place : place + width].reshape(shape) if shape else x[place]
            place += width
        return taken

    def sites(self, x: Any) -> tuple[dict[str, Any], Any]:
        """Every site at coordinates x of shape (size,), and the log determinant of the map."""
        z = self.parts(x)
        found, total, central = {}, 0.0, {}
        if owned(self.law, self.free):
            vector = jnp.stack([z[name] for name in self.free])
            of = lambda v: dict(self.law.coordinates[0](v, self.centre))  # noqa: E731  # pyright: ignore
            found |= of(vector)
            jacobian = jax.jacfwd(lambda v: jnp.stack([of(v)[name] for name in self.free]))(vector)
            total += jnp.linalg.slogdet(jacobian)[1]
        else:
            central |= self.fixed
            leant_on = dict(self.fixed)
            for name in ordered(self.law, self.free):
                site = self.site(name)
                made, bend = self._mapped(name, z[site], leant_on if jnp.ndim(z[site]) else central)
                total += jnp.sum(bend)
                found[site] = leant_on[name] = made
                central[name] = jnp.mean(made) if jnp.ndim(made) else made
        for name in self.shapes:
            if name in found:
                continue
            change = biject_to(self.priors[name].support)
            found[name] = change(z[name])
            total += jnp.sum(change.log_abs_det_jacobian(z[name], found[name]))
            pooled = name.removesuffix("_offset")
            if self.apart and pooled != name:
                kind, spread = self.law.parameters[pooled], found[f"{pooled}_spread"]
                middle = coordinate_at(self.law, kind, found[f"{pooled}_population"], central, self.centre)
                found[name] = (z[name] - middle) / spread
                total -= self.groups * jnp.log(spread)
        return found, total

    def _mapped(self, name: str, z: Any, leant_on: Mapping[str, Any]) -> tuple[Any, Any]:
        """A parameter and its map's log derivative, from its coordinate."""
        kind, prior = self.law.parameters[name], self.priors[self.site(name)]
        if not _native(kind.support, prior):
            change = biject_to(prior.support)
            made = change(z)
            return made, change.log_abs_det_jacobian(z, made)
        at = lambda z: value_at(self.law, kind, z, leant_on, self.centre)  # noqa: E731
        made, slope = jax.jvp(at, (z,), (jnp.ones_like(z),))
        return made, jnp.log(jnp.abs(slope))

    def parameters(self, sites: Mapping[str, Any]) -> dict[str, Any]:
        """The law's parameters by name: numbers, or of shape (groups,) where groups have their own."""
        made = {**self.fixed, **{name: sites[self.site(name)] for name in self.free}}
        central = {name: jnp.mean(v) if jnp.ndim(v) else v for name, v in made.items()}
        pooled = dict(self.pooling)
        for name in ordered(self.law, [name for name in self.free if pooled.get(name) == "partial"]):
            kind = self.law.parameters[name]
            z = coordinate_at(self.law, kind, made[name], central, self.centre)
            apart = z + sites[f"{name}_spread"] * sites[f"{name}_offset"]
            made[name] = value_at(self.law, kind, apart, made, self.centre)
        return {name: made[name] for name in self.law.parameters}

    def level(self, sites: Mapping[str, Any]) -> Any:
        """The law for every row, shape (n,)."""
        params = {k: v[self.data["group"]] if jnp.ndim(v) else v for k, v in self.parameters(sites).items()}
        axes = {name: 0 if jnp.ndim(v) else None for name, v in params.items()}
        return jax.vmap(lambda row, p: value(self.law, row, p), in_axes=(-1, axes))(self.inputs, params)

    def log_prior(self, sites: Mapping[str, Any]) -> Any:
        """The log density of the priors at some sites."""
        return sum(jnp.sum(self.priors[name].log_prob(sites[name])) for name in self.shapes)

    def rows(self, sites: Mapping[str, Any]) -> Any:
        """Weighted log densities whose sum is the log likelihood: of rows, or of runs where these share an effect."""
        level = self.level(sites)
        if self.likelihood.marginal:
            return likelihoods.shared(self.likelihood, sites, level, self.response, self.data)
        weight = self.data["weight"]
        each = likelihoods.rows(self.likelihood, sites, level, self.response, self.data)
        return jnp.where(weight > 0, weight * each, 0.0)

    def log_density(self, x: Any) -> Any:
        """The log posterior density of the coordinates x, shape (size,), up to a constant; -inf where undefined."""
        sites, bend = self.sites(x)
        total = self.log_prior(sites) + jnp.sum(self.rows(sites)) + bend
        return jnp.where(jnp.isnan(total), -jnp.inf, total)

    def numpyro(self) -> Callable[[], None]:
        """The model as a NumPyro program: the same priors and likelihood, for SVI, other kernels or more plates."""

        def program() -> None:
            sites = {}
            for name, shape in self.shapes.items():
                prior = self.priors[name]
                sites[name] = numpyro.sample(name, prior.expand(list(shape)).to_event(len(shape)) if shape else prior)
            numpyro.deterministic("level", self.level(sites))
            numpyro.factor("log_likelihood", jnp.sum(self.rows(sites)))

        return program

    def located(self, params: Mapping[str, Any], nuisance: Mapping[str, Any]) -> np.ndarray:
        """Coordinates of some parameters (numbers by name) and nuisance, shape (size,); the groups' own are alike."""
        places = dict(params)
        if owned(self.law, self.free):
            vector = self.law.coordinates[1](places, self.centre)  # pyright: ignore[reportOptionalSubscript]
            z = {name: vector[k] for k, name in enumerate(self.free)}
        else:
            z = {}
            for name in self.free:
                kind, site = self.law.parameters[name], self.site(name)
                if _native(kind.support, self.priors[site]):
                    z[site] = coordinate_at(self.law, kind, places[name], places, self.centre)
                else:
                    z[site] = _inverted(self.priors[site], places[name])
        for name in self.shapes:
            if name in z:
                continue
            pooled = name.removesuffix("_offset")
            if self.apart and pooled != name:
                z[name] = coordinate_at(self.law, self.law.parameters[pooled], places[pooled], places, self.centre)
                continue
            start = nuisance.get(name, 0.0 if name.endswith(("_offset", "run_effect")) else 0.1)
            z[name] = _inverted(self.priors[name], start)
        parts = [np.broadcast_to(np.asarray(z[name], float), shape).ravel() for name, shape in self.shapes.items()]
        return np.concatenate(parts)

    def log_likelihood(self, sites: Mapping[str, Any]) -> np.ndarray:
        """Log densities of the responses for every draw, shape (draws, rows used), or (draws, runs used).

        They are densities of the responses themselves, whatever the space of the residuals: laws and likelihoods
        can be compared by them.

        Args:
            sites: what was drawn by name, leading axis (draws,).
        """
        weight = np.asarray(self.data["weight"])
        with jax.enable_x64(True):
            given = {name: jnp.asarray(sites[name]) for name in self.shapes}
            each = np.asarray(_rows_of(self, given))
            bend = np.zeros(len(weight))
            if self.likelihood.family not in likelihoods.COUNTS:
                bend = np.asarray(likelihoods.stretch(self.likelihood.space, jnp.asarray(self.response)))
            if self.likelihood.censored is not None:
                bend = np.where(np.asarray(self.data[self.likelihood.censored]) > 0, 0.0, bend)
        bend = np.where(weight > 0, weight * bend, 0.0)
        if not self.likelihood.marginal:
            return (each + bend)[:, weight > 0]
        codes = np.asarray(self.data["run"])
        return (each + np.bincount(codes, bend, len(weight)))[:, np.unique(codes[weight > 0])]


@jax.jit
def _rows_of(model: Model, sites: dict[str, Any]) -> Any:
    return jax.lax.map(model.rows, sites, batch_size=256)


def _native(support: Any, prior: Any) -> bool:
    """Whether a prior leaves the parameter's own support as it is, so that its own coordinate serves."""
    known = prior.support
    if support is positive:
        return known in (constraints.positive, constraints.nonnegative, constraints.real)
    if support is unit:
        return known in (constraints.unit_interval, constraints.real)
    return known is constraints.real


def _inverted(prior: dist.Distribution, start: Any) -> Any:
    """The coordinate of a number, moved inside the prior's support where it lies outside."""
    inside = jnp.asarray(start, float)
    if not bool(jnp.all(prior.support(inside))):  # pyright: ignore[reportOptionalCall]
        inside = jnp.broadcast_to(jnp.asarray(prior.mean, float), jnp.shape(inside))
    return biject_to(prior.support).inv(inside)


def model_of(
    law: Law,
    observations: Observations,
    likelihood: Likelihood,
    *,
    given: Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    pooling: Mapping[str, str] | None = None,
    size: int | None = None,
    shared_runs: int | None = None,
) -> Model:
    """The model of a law on observations, inside ``jax.enable_x64(True)``.

    Args:
        law: the law.
        observations: prepared for the law.
        likelihood: how responses scatter.
        given: priors in place of the default ones.
        fixed: values of parameters that are not inferred.
        pooling: parameter to "complete", "partial" or "none", over the groups.
        size: rows to pad to; a bucket unless given.
        shared_runs: how many effects of runs to keep place for; as many as a bucket holds unless given.

    Raises:
        DataError: a column that the likelihood needs is missing, or there is no group or run where it needs one.
        ValueError: a name or a prior is unknown, or a law with its own coordinates is pooled.
    """
    fixed = dict(fixed or {})
    free = tuple(name for name in law.parameters if name not in fixed)
    likelihood = _resolved(law, observations, likelihood)
    pooled = _pooled(law, free, observations, pooling or {})
    # Neither the centre nor a prior may depend on rows that do not count.
    used_rows = observations.weight > 0
    seen = {name: values[..., used_rows] for name, values in observations.inputs.items()}
    wide = padded(_silenced(observations), size or bucket(len(observations)))
    n = len(wide)
    run = np.arange(n) if wide.run is None else wide.run
    count = int(run.max()) + 1 if likelihood.runs and not likelihood.marginal else 0
    groups = 1
    if observations.group is not None and (pooled or likelihood.scale_by == "group"):
        groups = int(observations.group.max()) + 1
    group = np.zeros(n, int) if groups == 1 or wide.group is None else wide.group
    made = Model(
        law=law,
        free=free,
        likelihood=likelihood,
        pooling=pooled,
        groups=groups,
        runs=(shared_runs or bucket(count)) if count else 0,
        apart=bool(pooled) and bool(np.sum(observations.weight > 0) >= MANY * groups),
        priors={},
        inputs={name: wide.inputs[name] for name in law.inputs},
        response=wide.response,
        data={"weight": wide.weight, "run": run, "group": group}
        | {name: wide.inputs[name] for name in likelihood.columns},
        fixed={name: np.asarray(number, float) for name, number in fixed.items()},
        centre=centre_of(law, seen, _inside(likelihood, observations.response[used_rows]), np),
    )
    used = {made.site(name): priors.default(law, name, seen) for name in free}
    for name, how in pooled:
        if how == "partial":
            used[f"{name}_spread"] = priors.spread(law.parameters[name])
            used[f"{name}_offset"] = dist.Normal(np.asarray(0.0), np.asarray(1.0))
    used |= priors.of_nuisance(likelihood)
    if made.runs:
        used["run_effect"] = dist.Normal(np.asarray(0.0), np.asarray(1.0))
    given = {made.site(name) if name in free else name: prior for name, prior in (given or {}).items()}
    used |= priors.checked(given, used, law.name)
    return eqx.tree_at(lambda m: m.priors, made, {name: used[name] for name in made.shapes})


def _inside(likelihood: Likelihood, response: np.ndarray) -> np.ndarray:
    """Responses as the centre may see them: shares of counts off their ends."""
    return np.clip(response, 1e-3, 1 - 1e-3) if likelihood.family in likelihoods.COUNTS else response


def _silenced(observations: Observations) -> Observations:
    """The observations with a row that counts in place of those of weight 0: what these hold must not matter."""
    used = np.flatnonzero(observations.weight > 0)
    index = np.where(observations.weight > 0, np.arange(len(observations)), used[0])
    if np.array_equal(index, np.arange(len(observations))):
        return observations
    inputs = {name: values[..., index] for name, values in observations.inputs.items()}
    parts = (inputs, observations.response[index])
    return eqx.tree_at(lambda o: (o.inputs, o.response), observations, parts)


def _resolved(law: Law, observations: Observations, likelihood: Likelihood) -> Likelihood:
    for name in likelihood.columns:
        if name not in observations.inputs:
            raise DataError(
                f"{observations.name}: the likelihood needs the input {name!r}; map it to a column beside the law's "
                f"own: inputs={{..., {name!r}: column}}."
            )
    if likelihood.scale_by == "group" and observations.group is None:
        raise DataError(f"{observations.name}: a scale for each group needs groups; name their column with group=.")
    if likelihood.runs and observations.run is None:
        raise DataError(f"{observations.name}: an effect of each run needs runs; name their column with run=.")
    if likelihood.trials is not None:
        counts = observations.inputs[likelihood.trials]
        hits = counts * observations.response
        if np.any(counts < 1) or np.any(np.abs(hits - np.round(hits)) > 1e-6 * np.maximum(counts, 1)):
            raise DataError(
                f"{observations.name}: with counts the response must be successes divided by trials "
                f"({likelihood.trials}), but some row has no whole number of them."
            )
    if likelihood.runs is None:
        used = observations.weight > 0
        repeated = observations.run is not None and len(np.unique(observations.run[used])) < used.sum()
        return _with_runs(likelihood, bool(repeated))
    return likelihood


def _with_runs(likelihood: Likelihood, runs: bool) -> Likelihood:
    kept = {field: getattr(likelihood, field) for field in ("family", "space", "df", "scale_by", "trials", "censored")}
    return Likelihood(**kept, runs=runs)


def _pooled(
    law: Law, free: tuple[str, ...], observations: Observations, pooling: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    for name, how in pooling.items():
        if name not in free:
            raise ValueError(
                f"Argument pooling names {name!r}, which is no free parameter of {law.name}{did_you_mean(name, free)}; "
                f"these are {', '.join(free)}."
            )
        if how not in POOLING:
            raise ValueError(f"Argument pooling must be complete, partial or none, but is {how!r} for {name}.")
    apart = tuple((name, how) for name in free if (how := pooling.get(name, "complete")) != "complete")
    if apart and observations.group is None:
        raise DataError(f"{observations.name}: pooling needs groups; name their column with group=.")
    if apart and owned(law, free):
        raise ValueError(f"Argument pooling must be empty for {law.name}, which has coordinates of its own.")
    return apart


def stacked(models: list[Any]) -> Any:
    """Models of one structure as one tree whose arrays have a leading axis of models."""
    return jax.tree.map(
        lambda *leaves: np.stack(
            [np.asarray(leaf, float) if np.asarray(leaf).dtype.kind == "f" else np.asarray(leaf) for leaf in leaves]
        ),
        *models,
    )
