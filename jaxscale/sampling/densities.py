"""Posterior densities of one structure with their modes: what every sampler draws from.

Models are stacked and handed to programs in parts of one fixed size, on the cores of this machine or over a mesh. One
compiled program serves a law and a bucket of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree, Shaped, UInt32

from jaxscale.engine.runner import Runner
from jaxscale.sampling import modes
from jaxscale.sampling.density_programs import LogDensity, curvatures, log_densities
from jaxscale.sampling.modes import Mode
from jaxscale.utils.arrays import Array

# Posteriors that one call of a program takes on: few on a core, whose cache holds no more, many on a device.
WIDTH = 8
DEVICE_WIDTH = 256
# Draws whose densities one call of a program computes.
BLOCK = 4096
# What a mode weighs in a mixture at least, relative to the best: its evidence is that of a normal approximation.
LEAST_WEIGHT = 0.02
# A mode so many nats below the best one, by its own evidence, is left out.
BELOW = 15.0
# Modes nearer than this, in the spreads of one of them, are copies of one.
DISTINCT = 0.1


@dataclass(frozen=True)
class Densities:
    """Posterior densities of one structure.

    Args:
        runner: where programs run.
        model: stacked models.
        mode: modes of every posterior, best first, shapes (posteriors, components, ...).
        log_weights: of the modes in a mixture, shape (posteriors, components); -inf for copies of another.
        generator: of all seeds.
    """

    runner: Runner
    model: LogDensity
    mode: Mode
    log_weights: Float[np.ndarray, "problem component"]
    generator: np.random.Generator

    @property
    def count(self) -> int:
        """How many posteriors there are."""
        return len(self.log_weights)

    @property
    def modes(self) -> Int[np.ndarray, " problem"]:
        """How many distinct modes each posterior has, shape (posteriors,)."""
        return np.isfinite(self.log_weights).sum(axis=1)

    def keys(self, count: int) -> UInt32[np.ndarray, "count 2"]:
        """New seeds, shape (count, 2)."""
        return self.generator.integers(2**32, size=(count, 2), dtype=np.uint32)

    def run(
        self,
        program: Callable[..., PyTree],
        members: Int[np.ndarray, " member"],
        *arrays: PyTree[Shaped[Array, "..."]],
        alone: bool = False,
    ) -> PyTree:
        """A program over the models of some places; see :class:`Runner` for ``alone``."""
        return _run(self.runner, self.model, _width(self.count), program, members, *arrays, alone=alone)

    def log_densities(
        self, members: Int[np.ndarray, " member"], x: Float[np.ndarray, "member draw size"]
    ) -> Float[np.ndarray, "member draw"]:
        """Log densities of draws of some posteriors, shape (members, draws, size), a block of draws at a time."""
        draws = x.shape[1]
        step = BLOCK if jax.default_backend() == "cpu" else -(-draws // BLOCK) * BLOCK
        blocks = np.minimum(np.arange(-(-draws // step) * step), draws - 1).reshape(-1, step)
        parts = [
            (own, x[group[:, None], block])
            for group, own in _grouped(self.model, members, _width(self.count))
            for block in blocks
        ]
        ends = replace(self.runner, alone=getattr(self.model, "alone", False))(log_densities, parts)
        rows = [np.concatenate(ends[k : k + len(blocks)], axis=1) for k in range(0, len(ends), len(blocks))]
        return np.concatenate(rows)[: len(members), :draws]


def densities_of(
    runner: Runner,
    model: LogDensity,
    starts: Float[np.ndarray, "problem component size"],
    generator: np.random.Generator,
) -> Densities:
    """Posterior densities with the modes that are found from some starts.

    Args:
        runner: where programs run.
        model: stacked models.
        starts: coordinates, shape (posteriors, components, size).
        generator: of all seeds.

    Raises:
        ValueError: a density is finite at none of its starts.
    """
    posteriors, components, size = starts.shape
    width = _width(posteriors) * components

    def curved(x: Float[np.ndarray, "place size"], places: Int[np.ndarray, " place"]) -> tuple[np.ndarray, ...]:
        return _run(runner, model, width, curvatures, places // components, x)

    found = modes.climbed(curved, starts.reshape(-1, size))
    found = jax.tree.map(lambda a: a.reshape(posteriors, components, *a.shape[1:]), found)
    if not np.isfinite(found.log_density).any(axis=1).all():
        raise ValueError(
            "The posterior density is nowhere finite about the fitted parameters: a prior or the likelihood "
            "excludes what the data say; give other priors, or leave out the rows that cannot be."
        )
    return Densities(runner, model, *_sorted(found), generator)


def _width(count: int) -> int:
    return min(WIDTH if jax.default_backend() == "cpu" else DEVICE_WIDTH, count)


def _run(
    runner: Runner,
    model: LogDensity,
    width: int,
    program: Callable[..., PyTree],
    members: Int[np.ndarray, " member"],
    *arrays: PyTree[Shaped[Array, "..."]],
    alone: bool = False,
) -> PyTree:
    parts = [
        (own, *jax.tree.map(lambda a: a[group], arrays))  # noqa: B023
        for group, own in _grouped(model, members, width)
    ]
    ends = replace(runner, alone=alone or getattr(model, "alone", False))(program, parts)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(members)], *ends)


def _grouped(
    model: LogDensity, members: Int[np.ndarray, " member"], width: int
) -> Iterator[tuple[np.ndarray, LogDensity]]:
    """Places in groups of one size with their models; the last place fills the last group."""
    count = len(members)
    places = np.minimum(np.arange(-(-count // width) * width), count - 1)
    for group in places.reshape(-1, width):
        yield group, jax.tree.map(lambda a: a[members[group]], model)  # noqa: B023


def _sorted(mode: Mode) -> tuple[Mode, Float[np.ndarray, "problem component"]]:
    """Modes by their evidence, best first, and the log weights of a mixture of them; copies of one weigh nothing."""
    evidence = _evidence(mode)
    order = np.argsort(-evidence, axis=1, kind="stable")
    pick = lambda a: np.take_along_axis(a, order.reshape(*order.shape, *[1] * (a.ndim - 2)), axis=1)  # noqa: E731
    mode = jax.tree.map(lambda a: pick(np.asarray(a)), mode)
    evidence = pick(evidence)
    relative = np.exp(evidence - evidence[:, :1])
    weight = np.where(_distinct(mode, evidence), np.maximum(relative, LEAST_WEIGHT), 0.0)
    with np.errstate(divide="ignore"):
        return mode, np.log(weight / weight.sum(axis=1, keepdims=True))


def _evidence(mode: Mode) -> Float[np.ndarray, "problem component"]:
    """Log evidence of the normal approximation at every mode, up to a constant; -inf where it is no number."""
    value = np.where(np.isfinite(mode.log_density), mode.log_density, -np.inf)
    diagonal = np.abs(np.diagonal(mode.root, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore"):
        evidence = value + np.log(diagonal).sum(axis=-1)
    return np.where(np.isnan(evidence), -np.inf, evidence)


def _distinct(mode: Mode, evidence: Float[np.ndarray, "problem component"]) -> Bool[np.ndarray, "problem component"]:
    """Which modes, best first, count and are copies of no better one."""
    distinct = evidence > evidence[:, :1] - BELOW
    distinct[:, 0] = True
    for k in range(1, evidence.shape[1]):
        for j in range(k):
            away = np.linalg.solve(mode.root[:, j], (mode.x[:, k] - mode.x[:, j])[..., None])[..., 0]
            distinct[:, k] &= np.abs(away).max(axis=1) > DISTINCT
    return distinct
