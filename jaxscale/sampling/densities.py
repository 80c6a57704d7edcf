"""Batched posterior densities of one structure, with their modes.

Models are stacked and passed to programs in parts of one fixed size, on the cores of this machine or over a mesh, so
that there is one compiled program per law and bucket of rows.
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

# Posteriors per call of a program: few on a CPU core, limited by its cache, many on an accelerator.
WIDTH = 8
DEVICE_WIDTH = 256
# Draws per call of a program.
BLOCK = 4096
# Least weight of a mode in the proposal, relative to the best: evidence by a normal approximation is uncertain.
LEAST_WEIGHT = 0.02
# Modes whose evidence is so many nats below the best are left out.
BELOW = 15.0
# Modes nearer than this, in standard deviations of one of them, are duplicates.
DISTINCT = 0.1


@dataclass(frozen=True)
class Densities:
    """A batch of posterior densities of one structure.

    Args:
        runner: where programs run.
        model: stacked models.
        mode: modes of every posterior, best first, shapes (posteriors, components, ...).
        log_weights: of the modes in a mixture, shape (posteriors, components); -inf for duplicates.
        generator: the random generator of all seeds.
    """

    runner: Runner
    model: LogDensity
    mode: Mode
    log_weights: Float[np.ndarray, "problem component"]
    generator: np.random.Generator

    @property
    def count(self) -> int:
        """The number of posteriors."""
        return len(self.log_weights)

    @property
    def modes(self) -> Int[np.ndarray, " problem"]:
        """The number of distinct modes of each posterior, shape (posteriors,)."""
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
        """Run a program over the models with the given indices; see :class:`Runner` for ``alone``."""
        return _run(self.runner, self.model, _width(self.count), program, members, *arrays, alone=alone)

    def log_densities(
        self, members: Int[np.ndarray, " member"], x: Float[np.ndarray, "member draw size"]
    ) -> Float[np.ndarray, "member draw"]:
        """Log densities of draws of the given posteriors, shape (members, draws, size), a block of draws at a time."""
        draws = x.shape[1]
        step = BLOCK if jax.default_backend() == "cpu" else -(-draws // BLOCK) * BLOCK
        blocks = np.minimum(np.arange(-(-draws // step) * step), draws - 1).reshape(-1, step)
        parts = [
            (own, x[group[:, None], block])
            for group, own in _groups(self.model, members, _width(self.count))
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
    """Posterior densities with their modes, from given starts.

    Args:
        runner: where programs run.
        model: stacked models.
        starts: coordinates, shape (posteriors, components, size).
        generator: the random generator of all seeds.

    Raises:
        ValueError: a density is not finite at any of its starts.
    """
    posteriors, components, size = starts.shape
    width = _width(posteriors) * components

    def curved(x: Float[np.ndarray, "place size"], places: Int[np.ndarray, " place"]) -> tuple[np.ndarray, ...]:
        return _run(runner, model, width, curvatures, places // components, x)

    mode = modes.find_modes(curved, starts.reshape(-1, size))
    mode = jax.tree.map(lambda a: a.reshape(posteriors, components, *a.shape[1:]), mode)
    if not np.isfinite(mode.log_density).any(axis=1).all():
        raise ValueError(
            "The posterior density is nowhere finite near the fitted parameters: a prior or the likelihood excludes "
            "the data; give other priors, or leave out the impossible rows."
        )
    return Densities(runner, model, *_sort(mode), generator)


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
        for group, own in _groups(model, members, width)
    ]
    ends = replace(runner, alone=alone or getattr(model, "alone", False))(program, parts)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(members)], *ends)


def _groups(
    model: LogDensity, members: Int[np.ndarray, " member"], width: int
) -> Iterator[tuple[np.ndarray, LogDensity]]:
    """Indices in groups of one size with their models; the last index pads the last group."""
    count = len(members)
    places = np.minimum(np.arange(-(-count // width) * width), count - 1)
    for group in places.reshape(-1, width):
        yield group, jax.tree.map(lambda a: a[members[group]], model)  # noqa: B023


def _sort(mode: Mode) -> tuple[Mode, Float[np.ndarray, "problem component"]]:
    """Modes sorted by evidence, best first, and the log weights of their mixture; duplicates have no weight."""
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
    """Log evidence of the normal approximation at every mode, up to a constant; -inf where undefined."""
    value = np.where(np.isfinite(mode.log_density), mode.log_density, -np.inf)
    diagonal = np.abs(np.diagonal(mode.root, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore"):
        evidence = value + np.log(diagonal).sum(axis=-1)
    return np.where(np.isnan(evidence), -np.inf, evidence)


def _distinct(mode: Mode, evidence: Float[np.ndarray, "problem component"]) -> Bool[np.ndarray, "problem component"]:
    """Which modes, best first, have enough evidence and are not duplicates of a better one."""
    distinct = evidence > evidence[:, :1] - BELOW
    distinct[:, 0] = True
    for k in range(1, evidence.shape[1]):
        for j in range(k):
            away = np.linalg.solve(mode.root[:, j], (mode.x[:, k] - mode.x[:, j])[..., None])[..., 0]
            distinct[:, k] &= np.abs(away).max(axis=1) > DISTINCT
    return distinct
