"""Fit one law many times as one batch, over data sets, fixed values, noise settings and weights."""

import os
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Real

from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.data.validation import validate
from jaxscale.engine.runner import Runner
from jaxscale.fitting.batched_fits import Fits, Problems
from jaxscale.law import Law
from jaxscale.law.derivatives import check_traceable
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import Noise, default, squared
from jaxscale.noise.measurement_errors import weight_by_errors
from jaxscale.results.provenance import identity
from jaxscale.utils.arrays import Array
from jaxscale.utils.checkpoint import Journal
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError
from jaxscale.utils.progress import show_progress
from jaxscale.utils.random import generator_of


def fit_many(
    law: Law | str,
    observations: Observations | Sequence[Observations],
    *,
    noise: Noise | Sequence[Noise] | None = None,
    fixed: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
    weight: Real[Array, "..."] | Sequence[Real[Array, "..."]] | None = None,
    starts: int = 256,
    polish: int = 8,
    seed: int = 0,
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Fits:
    """Fit one law many times in one batch; every argument that is a sequence becomes an axis of the result.

    Every combination of data set, fixed values and noise setting is a problem with its own search: ``starts`` are
    scored, the best and a random sample polished, and problems with few agreeing starts are searched again.
    Weightings (bootstrap counts, hold-out, leave-one-out) are then refitted from the problem's optimum. Results of a
    problem do not depend on the other problems of the batch, bit for bit; a failed one is marked by its status.

    Args:
        law: a law, or the name of one in the catalogue.
        observations: one data set or many; they may differ in length.
        noise: one noise, or many that differ in ``delta`` only.
        fixed: values of parameters that are not fitted, or a sequence of these, for nested laws.
        weight: factors on the rows' weights, shape (weightings, n), or a sequence of these, one per data set.
        starts: number of starts to score per problem.
        polish: number of starts to polish per problem.
        seed: random seed.
        mesh: a ``jax.sharding.Mesh`` of devices over which to spread the work.
        checkpoint: folder for finished parts.
        progress: whether to show a progress bar; default: on a terminal.

    Returns:
        The fits, with numbers in float64.

    Raises:
        DataError: observations do not suit the law.
        ValueError: an argument is invalid.
    """
    law = resolve(law)
    sets = [observations] if isinstance(observations, Observations) else list(observations)
    wrong_types = [type(entry).__name__ for entry in sets if not isinstance(entry, Observations)]
    if wrong_types:
        raise ArgumentTypeError(
            "observations",
            "must be Observations (make them with Observations.from_table) or a sequence of "
            f"them, but holds {wrong_types[0]}.",
        )
    usual = default(law.response)
    if any(entry.sigma is not None for entry in sets):
        usual = squared(usual.space)
    noises = list(noise) if isinstance(noise, Sequence) else [usual if noise is None else noise]
    nested = [fixed] if isinstance(fixed, Mapping) or fixed is None else list(fixed)
    values = [validate_fixed(law, entry) for entry in nested]
    _check_arguments(law, sets, noises, values, starts, polish)
    tables = _weightings(weight, sets, isinstance(observations, Observations))
    axes = {
        "data": not isinstance(observations, Observations),
        "fixed": isinstance(fixed, Sequence),
        "noise": isinstance(noise, Sequence),
        "weight": weight is not None,
    }
    seed, generator = generator_of(seed)
    shared = {name: v for name, v in values[0].items() if all(other.get(name) == v for other in values)}
    free = tuple(name for name in law.parameters if name not in shared)
    sets = [prepare(law, entry) for entry in sets]
    check_traceable(law, sets[0].inputs)
    with jax.enable_x64(True):
        for entry in sets:
            validate(law, entry, free, noises[0].space)
        sets = [weight_by_errors(entry, noises[0]) for entry in sets]
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, starts=starts, polish=polish, sets=len(sets), nested=repr(values))
            journal = Journal(checkpoint, identity(law, (sets, noises, tables), repr(noises), {}) | settings)
        with show_progress(f"fitting {law.name} to {len(sets)} data sets", progress) as ticker:
            single = not (axes["data"] or axes["fixed"] or axes["noise"])
            problems = Problems(law, free, shared, sets, values, noises, single, Runner(mesh, journal, ticker))
            lanes, agree, polished = problems.search(starts, polish, generator)
            if tables is not None:
                lanes = problems.refit(lanes, tables)
            return problems.results(lanes, agree, polished, axes, tables)


def _check_arguments(
    law: Law, sets: list[Observations], noises: list[Noise], values: list[dict[str, float]], starts: int, polish: int
) -> None:
    for name, given in (("observations", sets), ("noise", noises), ("fixed", values)):
        if not given:
            raise ArgumentError(name, "must not be empty.")
    if any(len(entry) == len(law.parameters) for entry in values):
        raise ArgumentError("fixed", "must leave a parameter to fit, but one of its entries fixes all.")
    first = noises[0]
    for other in noises:
        if not eqx.tree_equal(other.with_threshold(1.0), first.with_threshold(1.0)):
            raise ArgumentError(
                "noise",
                f"must hold noises that differ in delta only, but holds {first.describe()} and "
                f"{other.describe()}; call fit_many once for each.",
            )
    if first.loss.vertex:
        raise ArgumentError(
            "noise", "must not be absolute, whose optimum is a vertex; use fit, or huber with a small delta."
        )
    for name, number in (("starts", starts), ("polish", polish)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ArgumentError(name, f"must be a positive number, but is {number!r}.")


def _weightings(
    weights: Real[Array, "..."] | Sequence[Real[Array, "..."]] | None,
    sets: list[Observations],
    single: bool,
) -> list[Float[np.ndarray, "weighting _"]] | None:
    """Weightings per data set, each of shape (weightings, n)."""
    if weights is None:
        return None
    tables = [np.asarray(table, float) for table in ([weights] if single else weights)]
    if len(tables) != len(sets):
        raise ArgumentError("weight", f"must hold one table for each of the {len(sets)} data sets.")
    if any(table.shape[:1] == (0,) for table in tables):
        raise ArgumentError("weight", "must not be empty.")
    for table, data in zip(tables, sets, strict=True):
        if table.ndim != 2 or table.shape[1] != len(data) or len(table) != len(tables[0]):
            raise ArgumentError(
                "weight",
                f"must have shape (weightings, rows), but a table has {table.shape} for {len(data)} "
                "rows; all tables need as many weightings.",
            )
        if not (np.all(np.isfinite(table)) and np.all(table >= 0) and np.all(table @ data.weight > 0)):
            raise ArgumentError(
                "weight", "must be finite, not negative, and in each weighting positive for a row that has a weight."
            )
    return tables
