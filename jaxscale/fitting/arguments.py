"""Validation of the arguments of a fit: law, fixed values, bounds, pooling, starts, likelihood."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.core as jax_core
import numpy as np
from jaxtyping import Real

from jaxscale.data.observations import Observations
from jaxscale.engine.starts import StartGrid, StartList
from jaxscale.fitting.standard_errors import Errors
from jaxscale.law import Law, LawError
from jaxscale.law.algebra import bound, by_group
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import Noise
from jaxscale.noise.count_likelihoods import CountLikelihood
from jaxscale.noise.count_loss import count_noise
from jaxscale.noise.likelihood import Likelihood, check_columns
from jaxscale.utils.arrays import Number, Value
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, DataError, Function, Setting, did_you_mean

# Pooling of a parameter over groups: one value for all, a hierarchical prior (posteriors only), or one value each.
POOLING = ("complete", "partial", "none")


def apply_bounds(law: Law, bounds: Mapping[str, Sequence[float | int]]) -> Law:
    """The law with bounds on parameters.

    Raises:
        ValueError: the law has no such parameter, or no value lies between its bounds.
    """
    try:
        ends: dict[str, Any] = dict(bounds)
        return bound(law, **ends)
    except LawError as error:
        raise ArgumentError("bounds", f"{str(error).removeprefix('bound ')}.") from None


def apply_pooling(
    law: Law, observations: Observations, pooling: Mapping[str, str], fixed: Mapping[str, Number] | None
) -> Law:
    """The law with one value per group of every parameter that is not pooled.

    Raises:
        ValueError: the law has no such parameter, one is fixed, or its pooling is not "complete" or "none".
        DataError: there are no groups, or a group has fewer rows than parameters of its own.
    """
    for name, how in pooling.items():
        if name not in law.parameters:
            raise ArgumentError(
                "pooling",
                f"names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}.",
            )
        if how == "partial":
            raise ArgumentError(
                "pooling",
                f"must be complete or none in a fit, but is partial for {name}; use ",
                Function("posterior"),
                ", which pools partially.",
            )
        if how not in POOLING:
            raise ArgumentError("pooling", f"must be complete or none, but is {how!r} for {name}.")
    own = [name for name in law.parameters if pooling.get(name) == "none"]
    for name in own:
        if name in (fixed or {}):
            raise ArgumentError("pooling", f"must leave out {name}, which is fixed.")
    if not own:
        return law
    if observations.group is None:
        raise DataError(
            f"{observations.name}: pooling needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    rows = np.bincount(observations.group, observations.weight > 0, len(observations.groups))
    for label, count in zip(observations.groups, rows.astype(int), strict=True):
        if count < len(own):
            raise DataError(
                f"{observations.name}: group {label!r} has {count} {'row' if count == 1 else 'rows'} with positive "
                f"weight for {len(own)} parameters of its own ({', '.join(own)}); leave the group out with ",
                Setting("where"),
                ", or let groups share parameters.",
                argument="where",
            )
    return by_group(law, observations.groups, own)


def number_of_starts(starts: Any) -> int:
    """The validated number of starts."""
    if isinstance(starts, bool) or not isinstance(starts, int | np.integer) or starts < 1:
        others = "" if isinstance(starts, int) else " or starts by name"
        raise ArgumentError("starts", f"must be a positive number{others}, but is {starts!r}.")
    return int(starts)


def explicit_starts(
    law: Law, starts: Mapping[str, Real[Value, " _"] | Sequence[Number] | Number], values: Mapping[str, float]
) -> StartGrid | StartList:
    """Explicit starts as a grid or equally long arrays, with the fixed parameters."""
    axes = starts.axes if isinstance(starts, StartGrid) else starts
    given = {name: np.atleast_1d(np.asarray(value, float)) for name, value in axes.items()}
    for name in given:
        if name not in law.parameters:
            raise ArgumentError(
                "starts",
                f"names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}.",
            )
    missing = [name for name in law.parameters if name not in given and name not in values]
    if missing:
        raise ArgumentError("starts", f"must give every free parameter, but lacks {', '.join(missing)}.")
    lengths = {len(value) for value in given.values()} - {1}
    if isinstance(starts, StartGrid):
        lengths = set()
    if len(lengths) > 1 or any(value.ndim != 1 for value in given.values()):
        raise ArgumentError("starts", f"must hold equally long sequences, but their lengths are {sorted(lengths)}.")
    count = max(lengths, default=1)
    whole = {**given, **{name: np.asarray([value]) for name, value in values.items()}}
    for name, value in whole.items():
        support = law.parameters[name].support
        if name not in values and not np.all((value > support.low) & (value < support.high)):
            raise ArgumentError("starts", f"must keep {name} in its support ({support.name}), but does not.")
    if isinstance(starts, StartGrid):
        return StartGrid({name: whole[name] for name in [*given, *(name for name in values if name not in given)]})
    return StartList({name: np.broadcast_to(whole[name], (count,)) for name in law.parameters})


def validate_law(
    law: Law | str,
    observations: Observations,
    key: int | np.integer,
    fixed: Mapping[str, Number] | None,
    bounds: Mapping[str, Sequence[float | int]] | None,
    pooling: Mapping[str, str] | None,
) -> tuple[Law, dict[str, float]]:
    """The validated law, with bounds and per-group parameters, and the values of its fixed parameters."""
    law = resolve(law)
    if not isinstance(observations, Observations):
        raise ArgumentTypeError(
            "observations",
            f"must be Observations (make them with Observations.from_table), but is {type(observations).__name__}.",
        )
    if any(isinstance(leaf, jax_core.Tracer) for leaf in jax.tree.leaves((observations, fixed, key))):
        raise TypeError("fit needs concrete numbers, but got a tracer; inside jit or grad use jaxscale.solve.")
    if bounds:
        both = set(bounds) & set(fixed or {})
        if both:
            raise ArgumentError("bounds", f"must leave out {sorted(both)[0]!r}, which is fixed.")
        law = apply_bounds(law, bounds)
    law = apply_pooling(law, observations, pooling or {}, fixed)
    values = validate_fixed(law, fixed)
    if not law.parameters:
        raise ValueError(f"{law.name} has no parameters to fit; call it for its values.")
    if len(values) == len(law.parameters):
        raise ArgumentError("fixed", f"must leave a parameter to fit, but fixes all of {', '.join(values)}.")
    return law, values


def noise_of_counts(
    likelihood: Likelihood, noise: Noise | None, observations: Observations
) -> tuple[Noise, Observations]:
    """The noise equivalent to a likelihood of counts, and the observations bound to it."""
    if not isinstance(likelihood, CountLikelihood):
        description = likelihood.describe() if isinstance(likelihood, Likelihood) else repr(likelihood)
        raise ArgumentError(
            "likelihood",
            "must be one of counts, such as likelihoods.poisson(), but is "
            f"{description}; fit residuals with noise=..., such as noise.squared('log').",
        )
    if noise is not None:
        raise ArgumentError("noise", "must not be given with a likelihood; leave out one of the two.")
    if observations.sigma is not None:
        raise ArgumentError("observations", "must hold no known errors (sigma) for counts; read them without sigma.")
    likelihood.check_unambiguous(observations)
    bound, observations = likelihood.bind(observations)
    check_columns(bound, observations)
    return count_noise(bound), observations


def check_settings(n_resamples: int, errors: Errors | None, polish: int) -> None:
    """Validate settings that do not depend on the data."""
    if n_resamples < 0 or n_resamples == 1:
        raise ArgumentError("n_resamples", f"must be 0 or at least 2, but is {n_resamples!r}.")
    if errors not in (None, "classical", "hc3"):
        raise ArgumentError("errors", f"must be classical or hc3, but is {errors!r}.")
    if polish < 1:
        raise ArgumentError("polish", f"must be at least 1, but is {polish!r}.")
