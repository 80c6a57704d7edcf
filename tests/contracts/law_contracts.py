"""Shared parts of the contracts of the catalogue: laws, evaluation points, and reports of failures."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import Law, between

CATALOGUE = laws.catalogue()
EVERY_LAW = pytest.mark.parametrize("law", CATALOGUE.values(), ids=CATALOGUE)
POINTS = 64
# Points are evaluated in batches of one shape, so that all laws use the same few compiled programs.
BATCH = 3

# Two NaN are no agreement.
assert_close = functools.partial(np.testing.assert_allclose, equal_nan=False)

Point = tuple[list[Any], dict[str, Any]]


class Contracts:
    """Checks that every law has to pass, each a function of a law."""

    def __init__(self) -> None:
        self.checks: list[Callable[[Law], None]] = []

    def add(self, check: Callable[[Law], None]) -> Callable[[Law], None]:
        """Add a check; a decorator."""
        self.checks.append(check)
        return check

    def assert_all(self, law: Law) -> None:
        """Run every check of a law and raise all failures together."""
        failures = []
        for check in self.checks:
            try:
                check(law)
            except Exception as error:
                error.add_note(f"contract of {law.name}: {check.__name__}")
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"law {law.name} breaks {len(failures)} of its contracts", failures)


@dataclass(frozen=True)
class Rows:
    """A law and its slopes at rows of its own."""

    inputs: list[Any]
    params: dict[str, Any]
    y: Any
    slopes: Any


def random_inputs(law: Law, draws: np.random.Generator, dtype: Any = np.float64) -> list[Any]:
    shares = draws.uniform(size=(len(law.inputs), POINTS))
    return [jnp.asarray(between(*kind.sizes, u), dtype) for kind, u in zip(law.inputs.values(), shares, strict=True)]


def random_params(law: Law, draws: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    # Ends are left out: a support is open, and the ranges of floors and fractions begin at its end.
    return {
        name: jnp.asarray(between(*kind.range, draws.uniform(0.001, 0.999, POINTS)), dtype)
        for name, kind in law.parameters.items()
    }


def random_point(law: Law, seed: int, dtype: Any = np.float64) -> Point:
    draws = np.random.default_rng(seed)
    return random_inputs(law, draws, dtype), random_params(law, draws, dtype)


def central_point(law: Law) -> Point:
    """Inputs in the middle of their sizes and typical parameters, in every row."""
    # The last input is the smallest, so that an input capped by another is away from its corner.
    shares = [0.4 + 0.1 * i / max(len(law.inputs) - 1, 1) for i in range(len(law.inputs))]
    inputs = [between(*kind.sizes, u) for kind, u in zip(law.inputs.values(), shares, strict=True)]
    return (
        [np.full(POINTS, number) for number in inputs],
        {name: np.full(POINTS, number) for name, number in law.typical.items()},
    )


def in_batches(function: Callable[[list[Any], dict[str, Any]], Any], points: Sequence[Point]) -> list[Any]:
    """A function of inputs and parameters at several points of POINTS rows each, evaluated together."""
    found = []
    for first in range(0, len(points), BATCH):
        group = [points[min(first + k, len(points) - 1)] for k in range(BATCH)]
        inputs, params = jax.tree.map(lambda *columns: jnp.asarray(np.concatenate(columns)), *group)
        # Operation by operation, those inside nested jit too: what is compiled serves the whole catalogue.
        with jax.disable_jit():
            result = jax.tree.map(np.asarray, function(inputs, params))
        found += [
            jax.tree.map(lambda leaf, k=k: leaf[k * POINTS : (k + 1) * POINTS], result)
            for k in range(min(BATCH, len(points) - first))
        ]
    return found


def values(law: Law, points: Sequence[Point]) -> list[np.ndarray]:
    """The law at several points."""
    return in_batches(lambda inputs, params: jnp.broadcast_to(law(*inputs, **params), BATCH * POINTS), points)


def with_slopes(law: Law, points: Sequence[Point]) -> list[Rows]:
    """The law and its slopes at several points."""

    def total(inputs: list[Any], params: dict[str, Any]) -> Any:
        y = jnp.broadcast_to(law(*inputs, **params), BATCH * POINTS)
        return jnp.sum(y), y

    def both(inputs: list[Any], params: dict[str, Any]) -> Any:
        (_, y), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(inputs, params)
        return y, slopes

    return [Rows(*point, *result) for point, result in zip(points, in_batches(both, points), strict=True)]


@functools.cache
def evaluated(law: Law) -> Mapping[str, Rows]:
    """A law and its slopes at random plausible rows, at its centre, and at the same inputs with published constants."""
    inputs, params = random_point(law, 1)
    points = {"": (inputs, params), "centre": central_point(law)} | {
        label: (inputs, {key: np.full(POINTS, number) for key, number in constants.items()})
        for label, constants in law.published.items()
    }
    return dict(zip(points, with_slopes(law, list(points.values())), strict=True))


def plausible(law: Law) -> Rows:
    """A law and its slopes at random plausible rows."""
    return evaluated(law)[""]
