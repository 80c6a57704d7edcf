"""Construction of a statistical model from law, observations, likelihood and priors."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np

from jaxscale.bayes import priors
from jaxscale.bayes.model import Model
from jaxscale.bayes.prior_density import StandardPrior
from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.fitting.arguments import POOLING
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of, has_own_coordinates
from jaxscale.noise import random_effects
from jaxscale.noise.likelihood import Likelihood, check_columns
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, DataError, Setting, did_you_mean
from jaxscale.utils.padding import bucket

# With at least so many rows per group on average, groups use the centred parameterisation.
MANY = 6


def model_of(
    law: Law,
    observations: Observations,
    likelihood: Likelihood,
    *,
    given: Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    pooling: Mapping[str, str] | None = None,
    size: int | None = None,
    shared_runs: tuple[int, int] | None = None,
) -> Model:
    """The statistical model of a law on observations; call it inside ``jax.enable_x64(True)``.

    Args:
        law: the law.
        observations: prepared for the law.
        likelihood: likelihood of the responses.
        given: priors in place of the default ones.
        fixed: values of parameters that are not inferred.
        pooling: parameter to "complete", "partial" or "none", over the groups.
        size: rows to pad to; default: a bucket.
        shared_runs: padded numbers of runs and of rows per run; see :func:`padded_run_sizes`.

    Raises:
        DataError: a column that the likelihood needs is missing or invalid, or there is no group or run where it
            needs one.
        ValueError: a name or a prior is unknown, a parameter is named like another inferred quantity, or a law with
            its own coordinates is pooled.
    """
    if observations.sigma is not None:
        raise ArgumentError(
            "observations",
            "must hold no known errors (sigma) for a posterior, which infers how far rows "
            "scatter; read them without sigma.",
        )
    fixed = dict(fixed or {})
    free = tuple(name for name in law.parameters if name not in fixed)
    likelihood, observations = likelihood.bind(observations)
    likelihood = _resolve_likelihood(law, observations, likelihood)
    pooled = _validate_pooling(law, free, observations, pooling or {})
    _check_names(law, likelihood, pooled)
    _check_standard_normals(law, likelihood, pooled, given or {})
    # Neither the centre nor a prior may depend on rows of weight 0.
    used_rows = observations.weight > 0
    seen = {name: values[..., used_rows] for name, values in observations.inputs.items()}
    wide = pad(_replace_unused_rows(observations), size or bucket(len(observations)))
    n = len(wide)
    run = np.arange(n) if wide.run is None else wide.run
    runs, most = shared_runs or padded_run_sizes(observations)
    groups = 1
    if observations.group is not None and (pooled or likelihood.by_group):
        groups = int(observations.group.max()) + 1
    group = np.zeros(n, int) if groups == 1 or wide.group is None else wide.group
    model = Model(
        law=law,
        free=free,
        likelihood=likelihood,
        pooling=pooled,
        groups=groups,
        runs=runs if likelihood.runs and not likelihood.marginal else 0,
        centred_groups=bool(pooled) and bool(np.sum(observations.weight > 0) >= MANY * groups),
        priors={},
        inputs={name: wide.inputs[name] for name in law.inputs},
        response=wide.response,
        data={"weight": wide.weight, "run": run, "group": group}
        | {name: wide.inputs[name] for name in likelihood.columns},
        places=random_effects.run_rows(run, wide.weight > 0, runs, most)
        if likelihood.marginal
        else np.zeros((0, 0), int),
        fixed={name: np.asarray(number, float) for name, number in fixed.items()},
        centre=centre_of(law, seen, likelihood.interior(observations.response[used_rows]), np),
    )
    used = {model.site(name): priors.default(law, name, seen) for name in free}
    for name, how in pooled:
        if how == "partial":
            used[f"{name}_spread"] = priors.spread(law.parameters[name])
            used[f"{name}_offset"] = StandardPrior.of("Normal", loc=0.0, scale=1.0)
    used |= priors.of_nuisance(likelihood)
    if model.runs:
        used["run_effect"] = StandardPrior.of("Normal", loc=0.0, scale=1.0)
    given = {model.site(name) if name in free else name: prior for name, prior in (given or {}).items()}
    supports = {model.site(name): law.parameters[name].support for name in free}
    used |= priors.validate(given, used, law.name, supports)
    rescaled = {
        model.site(name): {power: np.asarray(ratio, float) for power, ratio in moves.items()}
        for name in free
        if model.site(name) not in given and (moves := priors.rescaling(law, name, seen))
    }
    ordered = {name: used[name] for name in model.shapes}
    return eqx.tree_at(lambda m: (m.priors, m.rescaling), model, (ordered, rescaled))


def padded_run_sizes(observations: Observations) -> tuple[int, int]:
    """Padded numbers of runs and of rows per run, so that few sizes are compiled."""
    run = np.arange(len(observations)) if observations.run is None else observations.run
    most = random_effects.longest_run(run, np.ones(len(run), bool))
    return bucket(int(run.max()) + 1), most + most % 2


def check_types(likelihood: Any, sets: Sequence[Any]) -> None:
    """Validate the types of a likelihood (or None) and of data sets.

    Raises:
        TypeError: one has another type.
    """
    for data in sets:
        if not isinstance(data, Observations):
            raise ArgumentTypeError(
                "observations",
                f"must be Observations (make them with Observations.from_table), but is {type(data).__name__}.",
            )
    if not isinstance(likelihood, Likelihood | None):
        raise ArgumentTypeError(
            "likelihood",
            f"must be one of jaxscale.noise.likelihoods, such as likelihoods.normal(), but is {likelihood!r}.",
        )


def _replace_unused_rows(observations: Observations) -> Observations:
    """The observations with rows of weight 0 replaced by one of positive weight, so that they have no effect."""
    used = np.flatnonzero(observations.weight > 0)
    index = np.where(observations.weight > 0, np.arange(len(observations)), used[0])
    if np.array_equal(index, np.arange(len(observations))):
        return observations
    inputs = {name: values[..., index] for name, values in observations.inputs.items()}
    parts = (inputs, observations.response[index])
    return eqx.tree_at(lambda o: (o.inputs, o.response), observations, parts)


def _resolve_likelihood(law: Law, observations: Observations, likelihood: Likelihood) -> Likelihood:
    check_columns(likelihood, observations)
    if likelihood.by_group and observations.group is None:
        raise DataError(
            f"{observations.name}: a scale per group needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    if likelihood.runs and observations.run is None:
        raise DataError(
            f"{observations.name}: run effects need runs; name their column with ",
            Setting("run"),
            ".",
            argument="run",
        )
    likelihood.check(observations)
    if likelihood.runs is None:
        used = observations.weight > 0
        repeated = observations.run is not None and len(np.unique(observations.run[used])) < used.sum()
        return likelihood.with_runs(bool(repeated))
    return likelihood


def _validate_pooling(
    law: Law, free: tuple[str, ...], observations: Observations, pooling: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    for name, how in pooling.items():
        if name not in free:
            raise ArgumentError(
                "pooling",
                f"names {name!r}, which is no free parameter of {law.name}{did_you_mean(name, free)}; "
                f"these are {', '.join(free)}.",
            )
        if how not in POOLING:
            raise ArgumentError("pooling", f"must be complete, partial or none, but is {how!r} for {name}.")
    varying = tuple((name, how) for name in free if (how := pooling.get(name, "complete")) != "complete")
    if varying and observations.group is None:
        raise DataError(
            f"{observations.name}: pooling needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    if varying and has_own_coordinates(law, free):
        raise ArgumentError("pooling", f"must be empty for {law.name}, which has coordinates of its own.")
    for name, how in varying:
        if how == "partial" and observations.group is not None and not np.ptp(observations.group):
            raise DataError(
                f"{observations.name}: partial pooling of {name} needs at least two groups, but there is one; leave "
                f"{name} out of pooling."
            )
    return varying


def _check_names(law: Law, likelihood: Likelihood, pooled: tuple[tuple[str, str], ...]) -> None:
    """Reject parameters that share a name with a nuisance parameter."""
    owners = dict.fromkeys(priors.of_nuisance(likelihood), "the likelihood")
    if likelihood.runs:
        owners["run_effect"] = "the likelihood"
    for name, how in pooled:
        if how == "partial":
            owners |= dict.fromkeys((f"{name}_population", f"{name}_spread", f"{name}_offset"), "pooling")
    for name in law.parameters:
        if name in owners:
            raise ValueError(
                f"Parameter {name!r} of {law.name} has the name of a parameter of {owners[name]}; rename it: "
                f"jaxscale.rename(law, {name}={name + '_of_law'!r})."
            )


def _check_standard_normals(
    law: Law, likelihood: Likelihood, pooled: tuple[tuple[str, str], ...], given: Mapping[str, Any]
) -> None:
    """Reject priors of sites that are standard normal by construction: their scale is a parameter of its own."""
    widths = {f"{name}_offset": f"{name}_spread" for name, how in pooled if how == "partial"}
    if likelihood.runs:
        widths["run_effect"] = "run_ratio"
    for name in given:
        if name in widths:
            raise ArgumentError(
                "priors",
                f"must not name {name!r}, which is Normal(0, 1) by construction; give a prior of "
                f"{widths[name]!r}, the width of what it multiplies.",
            )
