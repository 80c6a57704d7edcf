"""Building a model: from a law, observations and what a person says of them to arrays and distributions."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np

from jaxscale.bayes import priors
from jaxscale.bayes.model import Model
from jaxscale.bayes.prior_density import Standard
from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.fitting.arguments import POOLING
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of, has_own_coordinates
from jaxscale.noise import random_effects
from jaxscale.noise.likelihood import Likelihood, check_columns
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, DataError, Setting, did_you_mean
from jaxscale.utils.padding import bucket

# Groups of so many rows or more, on average, are sampled by their own places.
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
    """The model of a law on observations, inside ``jax.enable_x64(True)``.

    Args:
        law: the law.
        observations: prepared for the law.
        likelihood: how responses scatter.
        given: priors in place of the default ones.
        fixed: values of parameters that are not inferred.
        pooling: parameter to "complete", "partial" or "none", over the groups.
        size: rows to pad to; a bucket unless given.
        shared_runs: how many runs there is room for, and how many rows of each; see :func:`room_of`.

    Raises:
        DataError: a column that the likelihood needs is missing or holds something else, or there is no group or run
            where it needs one.
        ValueError: a name or a prior is unknown, a parameter is named like something else that is inferred, or a law
            with its own coordinates is pooled.
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
    likelihood = _resolved(law, observations, likelihood)
    pooled = _pooled(law, free, observations, pooling or {})
    _refuse_names(law, likelihood, pooled)
    _refuse_standard(law, likelihood, pooled, given or {})
    # Neither the centre nor a prior may depend on rows that do not count.
    used_rows = observations.weight > 0
    seen = {name: values[..., used_rows] for name, values in observations.inputs.items()}
    wide = pad(_silenced(observations), size or bucket(len(observations)))
    n = len(wide)
    run = np.arange(n) if wide.run is None else wide.run
    runs, most = shared_runs or room_of(observations)
    groups = 1
    if observations.group is not None and (pooled or likelihood.by_group):
        groups = int(observations.group.max()) + 1
    group = np.zeros(n, int) if groups == 1 or wide.group is None else wide.group
    made = Model(
        law=law,
        free=free,
        likelihood=likelihood,
        pooling=pooled,
        groups=groups,
        runs=runs if likelihood.runs and not likelihood.marginal else 0,
        apart=bool(pooled) and bool(np.sum(observations.weight > 0) >= MANY * groups),
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
    used = {made.site(name): priors.default(law, name, seen) for name in free}
    for name, how in pooled:
        if how == "partial":
            used[f"{name}_spread"] = priors.spread(law.parameters[name])
            used[f"{name}_offset"] = Standard.of("Normal", loc=0.0, scale=1.0)
    used |= priors.of_nuisance(likelihood)
    if made.runs:
        used["run_effect"] = Standard.of("Normal", loc=0.0, scale=1.0)
    given = {made.site(name) if name in free else name: prior for name, prior in (given or {}).items()}
    supports = {made.site(name): law.parameters[name].support for name in free}
    used |= priors.checked(given, used, law.name, supports)
    rescaled = {
        made.site(name): {power: np.asarray(ratio, float) for power, ratio in moves.items()}
        for name in free
        if made.site(name) not in given and (moves := priors.rescaled(law, name, seen))
    }
    ordered = {name: used[name] for name in made.shapes}
    return eqx.tree_at(lambda m: (m.priors, m.rescaled), made, (ordered, rescaled))


def room_of(observations: Observations) -> tuple[int, int]:
    """Room for the runs of some observations: how many, and how many rows of each, so that few sizes are compiled."""
    run = np.arange(len(observations)) if observations.run is None else observations.run
    most = random_effects.longest_run(run, np.ones(len(run), bool))
    return bucket(int(run.max()) + 1), most + most % 2


def refuse_types(likelihood: Any, sets: Sequence[Any]) -> None:
    """Refuse what is no likelihood (or None), and data sets that are no observations.

    Raises:
        TypeError: something is of another type.
    """
    for some in sets:
        if not isinstance(some, Observations):
            raise ArgumentTypeError(
                "observations",
                f"must be Observations (make them with Observations.from_table), but is {type(some).__name__}.",
            )
    if not isinstance(likelihood, Likelihood | None):
        raise ArgumentTypeError(
            "likelihood",
            f"must be one of jaxscale.noise.likelihoods, such as likelihoods.normal(), but is {likelihood!r}.",
        )


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
    check_columns(likelihood, observations)
    if likelihood.by_group and observations.group is None:
        raise DataError(
            f"{observations.name}: a scale for each group needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    if likelihood.runs and observations.run is None:
        raise DataError(
            f"{observations.name}: an effect of each run needs runs; name their column with ",
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


def _pooled(
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
    apart = tuple((name, how) for name in free if (how := pooling.get(name, "complete")) != "complete")
    if apart and observations.group is None:
        raise DataError(
            f"{observations.name}: pooling needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    if apart and has_own_coordinates(law, free):
        raise ArgumentError("pooling", f"must be empty for {law.name}, which has coordinates of its own.")
    for name, how in apart:
        if how == "partial" and observations.group is not None and not np.ptp(observations.group):
            raise DataError(
                f"{observations.name}: partial pooling of {name} needs at least two groups, but there is one; leave "
                f"{name} out of pooling."
            )
    return apart


def _refuse_names(law: Law, likelihood: Likelihood, pooled: tuple[tuple[str, str], ...]) -> None:
    """Refuse a parameter that is named like something that is inferred beside the law."""
    beside = dict.fromkeys(priors.of_nuisance(likelihood), "the likelihood")
    if likelihood.runs:
        beside["run_effect"] = "the likelihood"
    for name, how in pooled:
        if how == "partial":
            beside |= dict.fromkeys((f"{name}_population", f"{name}_spread", f"{name}_offset"), "pooling")
    for name in law.parameters:
        if name in beside:
            raise ValueError(
                f"Parameter {name!r} of {law.name} has the name of something that {beside[name]} infers; rename it: "
                f"jaxscale.rename(law, {name}={name + '_of_law'!r})."
            )


def _refuse_standard(
    law: Law, likelihood: Likelihood, pooled: tuple[tuple[str, str], ...], given: Mapping[str, Any]
) -> None:
    """Refuse priors of what is standard normal by construction: its width is a parameter of its own."""
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
