"""Multistart optimisation: score many starts, polish the best and a random sample, and summarise the minima."""

from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.engine import newton
from jaxscale.engine.descent import Task
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.starts import StartGrid, StartList, crossover, hypercube
from jaxscale.law.coordinates import transformed_mask
from jaxscale.noise.loss import Loss
from jaxscale.utils.arrays import Numbers

# Few explicit starts are supplemented by neighbours up to this number of lanes.
NEIGHBOURS = 32
# Where this fraction of the first polished starts agrees on one optimum, no more are polished.
EASY = 0.9
# Starts that are scored at a time, and how many of the best are kept: memory does not grow with their number.
BLOCK = 65536
KEPT = 64


@dataclass(frozen=True)
class Basin:
    """A local minimum to which polished starts converged."""

    objective: float
    count: int
    lane: int


@dataclass(frozen=True)
class Landscape:
    """Summary of a multistart search: numbers of starts, agreement, and local minima.

    ``agree`` counts, among the ``independent`` polished starts (a random sample, irrespective of their
    scores), those that ended at the best objective to 1e-6; ``agree_all`` counts all polished ones.
    """

    scored: int
    polished: int
    converged: int
    independent: int
    agree: int
    agree_all: int
    basins: tuple[Basin, ...]


@dataclass(frozen=True)
class SearchResult:
    """Result of a multistart search: polished lanes, the index of the best, the landscape."""

    lanes: Lanes
    best: int
    landscape: Landscape


def tolerance(loss: Loss, f: Numbers, rows: Numbers) -> Numbers:
    """Tolerance within which two objectives count as equal: 1e-6, relative (absolute per row for likelihoods)."""
    slip = 1e2 * np.finfo(float).eps
    # A loss with a concomitant scale is linear in the residuals, a squared one quadratic.
    floor = rows * (slip if loss.concomitant_scale else slip**2)
    return 1e-6 * (rows if loss.in_nats else np.abs(f)) + floor


def _landscape(
    problem: Problem,
    lanes: Lanes,
    scored: int,
    independent: Bool[np.ndarray, " lane"],
    weight: Float[np.ndarray, " row"],
) -> tuple[int, Landscape]:
    """Index of the best lane, and the landscape of all lanes."""
    rows = float(np.sum(weight))
    f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)
    settled = np.isin(lanes.status, (newton.CONVERGED, newton.FLAT))
    best = int(np.argmin(np.where(settled, f, np.inf) if settled.any() else f))
    near = int(np.argmin(f))
    if f[near] < f[best] - tolerance(problem.noise.loss, f[best], rows):
        best = near
    reach = tolerance(problem.noise.loss, f[best], rows) + 4 * float(lanes.local.rounding[best])
    # Among lanes that differ by rounding only, the one with the smallest gradient is the most accurate.
    tied = f <= f[best] + 1e-12 * abs(f[best]) + lanes.local.rounding[best]
    best = int(np.argmin(np.where(tied, lanes.decrement, np.inf))) if settled[best] else best
    agrees = f <= f[best] + reach
    basins: list[Basin] = []
    for lane in np.argsort(f, kind="stable"):
        if not settled[lane] and lane != best:
            continue
        if basins and f[lane] <= basins[-1].objective + reach:
            last = basins[-1]
            basins[-1] = Basin(last.objective, last.count + 1, last.lane)
        else:
            basins.append(Basin(float(f[lane]), 1, int(lane)))
    return best, Landscape(
        scored=scored,
        polished=len(f),
        converged=int(settled.sum()),
        independent=int(independent.sum()),
        agree=int(agrees[independent].sum()),
        agree_all=int(agrees.sum()),
        basins=tuple(basins),
    )


@dataclass(frozen=True)
class Pool:
    """The best starts scored so far in order: coordinates, objectives, running numbers."""

    z: Float[np.ndarray, "size start"]
    f: Float[np.ndarray, " start"]
    number: Int[np.ndarray, " start"]

    def merge(
        self,
        z: Float[np.ndarray, "size start"],
        f: Float[np.ndarray, " start"],
        number: Int[np.ndarray, " start"],
        most: int,
    ) -> "Pool":
        """The best starts of this pool and the given ones."""
        f = np.concatenate([self.f, f])
        order = np.argsort(f, kind="stable")[:most]
        return Pool(
            np.concatenate([self.z, z], axis=1)[:, order], f[order], np.concatenate([self.number, number])[order]
        )


def _empty(size: int) -> Pool:
    return Pool(np.zeros((size, 0)), np.zeros(0), np.zeros(0, int))


def search(
    task: Task,
    *,
    count: int = 4096,
    polish: int = 64,
    explicit: StartGrid | StartList | None = None,
    generator: np.random.Generator,
    rounds: int = 3,
) -> SearchResult:
    """Find the optimum: score and polish starts, and repeat where few polished starts agree.

    Args:
        task: the problem, its data and its runner.
        count: starts scored in the first round.
        polish: starts polished in the first round: half by their scores, half at random irrespective of these.
        explicit: starts given by name instead of random ones; all are polished as given where ``polish`` allows.
        generator: random generator.
        rounds: maximum number of further rounds.
    """
    if explicit is not None:
        lanes, flags, scored = _polish_explicit(task, explicit, polish, generator)
    else:
        lanes, flags, scored = _polish_random(task, count, polish, generator)
    best, landscape = _landscape(task.problem, lanes, scored, flags, task.weight)
    for _ in range(rounds):
        if landscape.agree_all >= landscape.polished // 4:
            break
        f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)
        ended = _empty(task.problem.size).merge(lanes.z, f, np.arange(len(f)), KEPT)
        children = _add_children(task, generator, ended, count, len(f), max(polish // 2, 1))
        fresh = children.z[:, children.number >= len(f)][:, : max(polish // 2, 1)]
        lanes = _polish_to_common_threshold(task, _concatenate(lanes, task.descend(fresh)))
        flags = np.concatenate([flags, np.zeros(fresh.shape[1], bool)])
        scored += count
        best, landscape = _landscape(task.problem, lanes, scored, flags, task.weight)
    return SearchResult(lanes, best, landscape)


def _polish_random(
    task: Task, count: int, polish: int, generator: np.random.Generator
) -> tuple[Lanes, Bool[np.ndarray, " lane"], int]:
    """Polished lanes of random starts, a mask of the independent sample, and the number of scored starts.

    The search has two waves; an easy problem needs only the first, which is small.
    """
    first = min(count, max(count // 8, 64))
    lanes, flags = _wave(task, first, polish - polish // 2, generator, children=False)
    landscape = _landscape(task.problem, lanes, first, flags, task.weight)[1]
    if min(landscape.agree_all, landscape.converged) >= EASY * landscape.polished or polish == 1 or first == count:
        return lanes, flags, first
    more, others = _wave(task, count - first, polish // 2, generator, children=count >= 64)
    return _polish_to_common_threshold(task, _concatenate(lanes, more)), np.concatenate([flags, others]), count


def _wave(
    task: Task, count: int, polish: int, generator: np.random.Generator, children: bool
) -> tuple[Lanes, Bool[np.ndarray, " lane"]]:
    """Score random starts and polish the best and an independent sample; returns the lanes and a mask of the sample."""
    independent, polished = polish // 2, polish - polish // 2
    dimensions = len(task.problem.free)
    random = generator.uniform(size=(dimensions, min(independent, count - 1)))
    pool, sample = _empty(task.problem.size), np.zeros((task.problem.size, 0))
    drawn, number = count // 2 if children else count, 0
    keep = max(KEPT, polished)
    while number < drawn:
        size = min(drawn - number, BLOCK)
        first = random.shape[1] if number == 0 else 0
        u = hypercube(generator, max(size - first, 1), dimensions)
        whole = np.concatenate([random, u], axis=1) if first else u
        z, f = task.score(whole, np.zeros_like(whole), np.ones(whole.shape[1], bool))
        sample = z[:, :first] if first else sample
        pool = pool.merge(z[:, first:], f[first:], number + np.arange(first, whole.shape[1]), keep)
        number += whole.shape[1]
    # Half of the best are random starts, which lie far apart; children lie close to the best of these.
    numbers, promising = pool.number[: polished // 2], pool.z[:, : polished // 2]
    for _ in range(2 if children else 0):
        grown = (count - drawn) // 2
        pool = _add_children(task, generator, pool, grown, number, keep)
        number += grown
    rest = pool.z[:, ~np.isin(pool.number, numbers)][:, : polished - promising.shape[1]]
    z = np.concatenate([sample, promising, rest], axis=1)
    flags = np.arange(z.shape[1]) < sample.shape[1]
    # Most of the best and every other random start keep to their basin: otherwise only the widest basin would be found.
    direct = np.where(flags, np.arange(z.shape[1]) % 2 == 0, np.arange(z.shape[1]) % 4 > 0)
    return _polish_to_common_threshold(task, task.descend(z, direct=direct)), flags


def _polish_explicit(
    task: Task, explicit: StartGrid | StartList, polish: int, generator: np.random.Generator
) -> tuple[Lanes, Bool[np.ndarray, " lane"], int]:
    """As :func:`_polish_random` for explicit starts: the best and a random sample of the others."""
    count = explicit.size
    polished = polish - polish // 2 if polish < count else count
    picked = np.sort(generator.choice(count, min(polish, count), replace=False))
    pool, sampled = _empty(task.problem.size), []
    for first in range(0, count, BLOCK):
        index = np.arange(first, min(first + BLOCK, count))
        z, f = task.place(explicit.take(index))
        pool = pool.merge(z, f, index, polished)
        sampled.append(z[:, picked[(picked >= first) & (picked < first + len(index))] - first])
    # The sample is as large as all that is polished, so that enough is left without the best.
    others = np.flatnonzero(~np.isin(picked, pool.number))
    sample = np.concatenate(sampled, axis=1)[:, generator.permutation(others)[: min(polish, count) - polished]]
    z = pool.z
    if polish >= count:
        sample = sample[:, :0]
        if 2 * count <= NEIGHBOURS:
            z = _add_neighbours(task, z, generator)
    if sample.shape[1]:
        # As with random starts, affine parameters are projected; most points of a grid are far from any optimum.
        drawn = sample[: len(task.problem.free)]
        again, worth = task.score(np.full_like(drawn, 0.5), drawn, np.zeros(drawn.shape[1], bool))
        sample = np.where(np.isfinite(worth), again, sample)
    whole = np.concatenate([z, sample], axis=1)
    flags = np.arange(whole.shape[1]) >= (z.shape[1] if sample.shape[1] else 0)
    return _polish_to_common_threshold(task, task.descend(whole)), flags, count


def _add_neighbours(
    task: Task, z: Float[np.ndarray, "size start"], generator: np.random.Generator
) -> Float[np.ndarray, "size lane"]:
    """Explicit starts, the same with affine parameters projected, and neighbours that fill the batch."""
    problem = task.problem
    free = z[: len(problem.free)]
    pick = np.arange(max(NEIGHBOURS - 2 * z.shape[1], 0)) % z.shape[1]
    step = np.where(np.asarray(transformed_mask(problem.law, problem.free))[:, None], 1.0, np.abs(free[:, pick]))
    near = free[:, pick] + 0.5 * step * generator.standard_normal((len(free), len(pick)))
    moved = np.concatenate([free, near], axis=1)
    projected, worth = task.score(np.full_like(moved, 0.5), moved, np.zeros(moved.shape[1], bool))
    return np.concatenate([z, projected[:, np.isfinite(worth)]], axis=1)


def _add_children(task: Task, generator: np.random.Generator, pool: Pool, count: int, number: int, most: int) -> Pool:
    """The pool with scored children of its best starts, numbered from ``number`` on."""
    parents = pool.z[: len(task.problem.free), :KEPT]
    grown = pool
    for first in range(0, count, BLOCK):
        children = crossover(generator, parents, min(BLOCK, count - first))
        blank = np.full_like(children, 0.5)
        z, f = task.score(blank, children, np.zeros(children.shape[1], bool))
        grown = grown.merge(z, f, number + first + np.arange(children.shape[1]), most + len(pool.f))
    return grown


def _concatenate(one: Lanes, other: Lanes) -> Lanes:
    return jax.tree.map(lambda a, b: np.concatenate([a, b], axis=-1), one, other)


def _polish_to_common_threshold(task: Task, lanes: Lanes) -> Lanes:
    """For an absolute loss, polish all lanes to the smallest delta, so that their objectives are comparable."""
    if not task.problem.noise.loss.vertex:
        return lanes
    goal = np.min(lanes.goal[np.isfinite(lanes.goal)], initial=np.inf)
    again = eqx.tree_at(
        lambda s: (s.goal, s.delta, s.steps, s.status, s.decrement, s.still),
        lanes,
        (
            np.full_like(lanes.goal, goal),
            np.full_like(lanes.delta, goal),
            np.zeros_like(lanes.steps),
            np.where(lanes.status == newton.NONFINITE, newton.NONFINITE, newton.RUNNING).astype(np.int32),
            np.full_like(lanes.decrement, np.inf),
            np.zeros_like(lanes.still),
        ),
    )
    return task.descend(lanes.z, lanes=again, longest=64)


# Minima whose likelihood ratio to the best one is below exp(-25), about 1e-11, are not listed.
NATS = 25.0


def comparable(objective: float, best: float, loss: Loss, freedom: int) -> bool:
    """Whether the likelihood of a local minimum is comparable to that of the best one.

    The objective of a Student-t likelihood is in nats. All others scale with the residuals, whose size is estimated:
    with d degrees of freedom, ``d (f / f_best - 1) / 2`` is the log likelihood ratio of squared errors.

    Args:
        objective: objective of the minimum.
        best: objective of the best minimum.
        loss: loss of the fit.
        freedom: degrees of freedom, rows less free parameters.
    """
    reach = NATS if loss.in_nats else 2 * NATS / max(freedom, 1) * abs(best)
    return objective <= best + reach
