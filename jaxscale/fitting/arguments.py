"""Arguments of a fit: the law, fixed values, starts and seed as they are used, and what identifies a run."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.engine.starts import Grid, Listed
from jaxscale.law import Law, LawError
from jaxscale.law.algebra import bound
from jaxscale.law.fixed_values import why_not
from jaxscale.utils.errors import did_you_mean


def identity(law: Law, data: Any, noise: str, values: Mapping[str, float]) -> dict[str, Any]:
    """What makes a run the one it is, for its checkpoint."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(data):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "law": law.name,
        "law_sha256": hashlib.sha256(law.code.encode()).hexdigest(),
        "data_sha256": digest.hexdigest(),
        "noise": noise,
        "fixed": dict(values),
        "versions": {name: number for name, number in versions().items() if name != "python"},
    }


def bounded(law: Law, bounds: Mapping[str, Sequence[float | int]]) -> Law:
    """A law some of whose parameters lie between bounds.

    Raises:
        ValueError: the law has no such parameter, or no value lies between its bounds.
    """
    try:
        ends: dict[str, Any] = dict(bounds)
        return bound(law, **ends)
    except LawError as error:
        raise ValueError(f"Argument bounds: {error}.") from None


def law_of(law: Law | str) -> Law:
    """A law, or the one in the catalogue that has this name."""
    if isinstance(law, Law):
        return law
    from jaxscale.laws import get

    return get(law)


def checked_fixed(law: Law, fixed: Mapping[str, Any] | None) -> dict[str, float]:
    """Fixed values as numbers, in the law's order; refuses unknown names and values beyond the ends of a support."""
    values = {name: float(value) for name, value in (fixed or {}).items()}
    for name in values:
        if name not in law.parameters:
            raise ValueError(
                f"Argument fixed names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}."
            )
    if wrong := why_not(law, values):
        raise ValueError(f"Argument fixed {wrong}.")
    return {name: values[name] for name in law.parameters if name in values}


def count_of(starts: Any) -> int:
    """The number of starts, checked."""
    if isinstance(starts, bool) or not isinstance(starts, int | np.integer) or starts < 1:
        raise ValueError(f"Argument starts must be a positive number or starts by name, but is {starts!r}.")
    return int(starts)


def explicit_starts(law: Law, starts: Mapping[str, Any], values: Mapping[str, float]) -> Grid | Listed:
    """Starts by name as a grid or equally long arrays, the fixed parameters among them."""
    axes = starts.axes if isinstance(starts, Grid) else starts
    given = {name: np.atleast_1d(np.asarray(value, float)) for name, value in axes.items()}
    for name in given:
        if name not in law.parameters:
            raise ValueError(
                f"Argument starts names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}."
            )
    missing = [name for name in law.parameters if name not in given and name not in values]
    if missing:
        raise ValueError(f"Argument starts must give every free parameter, but lacks {', '.join(missing)}.")
    lengths = {len(value) for value in given.values()} - {1}
    if isinstance(starts, Grid):
        lengths = set()
    if len(lengths) > 1 or any(value.ndim != 1 for value in given.values()):
        raise ValueError(f"Argument starts must hold equally long sequences, but their lengths are {sorted(lengths)}.")
    count = max(lengths, default=1)
    whole = {**given, **{name: np.asarray([value]) for name, value in values.items()}}
    for name, value in whole.items():
        support = law.parameters[name].support
        if name not in values and not np.all((value > support.low) & (value < support.high)):
            raise ValueError(f"Argument starts must keep {name} in its support ({support.name}), but does not.")
    if isinstance(starts, Grid):
        return Grid({name: whole[name] for name in [*given, *(name for name in values if name not in given)]})
    return Listed({name: np.broadcast_to(whole[name], (count,)) for name in law.parameters})


def generator_of(key: Any) -> tuple[int, np.random.Generator]:
    """A seed to report and a generator, from an integer or a JAX key."""
    if isinstance(key, int | np.integer):
        if key < 0:
            raise ValueError(f"Argument key must not be negative, but is {key!r}.")
        return int(key), np.random.default_rng(int(key))
    kind: Any = getattr(key, "dtype", float)
    typed = jnp.issubdtype(kind, jax.dtypes.prng_key)
    if not typed and not jnp.issubdtype(kind, np.integer):
        raise ValueError(f"Argument key must be a whole number or a JAX random key, but is {key!r}.")
    data = jax.random.key_data(key) if typed else key
    words = [int(word) for word in np.ravel(np.asarray(data))]
    seed = int("".join(f"{word:08x}" for word in words), 16)
    return seed, np.random.default_rng(seed)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("jaxscale", "jax", "jaxlib", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source"
    return found
