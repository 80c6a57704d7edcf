"""The search for the optimum: score many starts, polish few, and say what was met."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxscale import kernel
from jaxscale.batch import descend, place_starts, score_starts
from jaxscale.coordinates import curved
from jaxscale.kernel import Lanes, Problem
from jaxscale.starts import crossed, hypercube

# A given start is surrounded by neighbours up to this number of lanes.
NEIGHBOURS = 32
# Where this share of the first starts polished ends at one optimum, no more of them are.
EASY = 0.9


@dataclass(frozen=True)
class Basin:
    """A minimum that polished starts ended in."""

    objective: float
    count: int
    lane: int


@dataclass(frozen=True)
class Landscape:
    """What a search met: how many starts, how many ended well, where.

    ``agree`` counts, among the ``independent`` polished starts (drawn at random, whatever their
    score), those that ended at the best objective to 1e-6; ``agree_all`` counts all polished ones.
    """

    scored: int
    polished: int
    converged: int
    independent: int
    agree: int
    agree_all: int
    basins: tuple[Basin, ...]


@dataclass(frozen=True)
class Found:
    """The end of a search: polished lanes, the best of them, the landscape."""

    lanes: Lanes
    best: int
    landscape: Landscape


def _tolerance(problem: Problem, f: float, rows: float) -> float:
    """How far two objectives may differ and count as the same: 1e-6, relative (absolute per row for likelihoods)."""
    floor = rows * (1e2 * np.finfo(float).eps) ** 2
    return 1e-6 * (rows if problem.noise.loss == "student_t" else abs(f)) + floor


def _landscape(
    problem: Problem, lanes: Lanes, scored: int, independent: np.ndarray, weight: np.ndarray
) -> tuple[int, Landscape]:
    """The best lane, and what all lanes say together."""
    rows = float(np.sum(weight))
    f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)
    settled = np.isin(lanes.status, (kernel.CONVERGED, kernel.FLAT))
    best = int(np.argmin(np.where(settled, f, np.inf) if settled.any() else f))
    near = int(np.argmin(f))
    if f[near] < f[best] - _tolerance(problem, float(f[best]), rows):
        best = near
    tolerance = _tolerance(problem, float(f[best]), rows)
    # Among lanes that differ by rounding only, the one whose gradient is smallest has the most digits.
    tied = f <= f[best] + 1e-12 * abs(f[best]) + lanes.local.rounding[best]
    best = int(np.argmin(np.where(tied, lanes.decrement, np.inf))) if settled[best] else best
    agrees = f <= f[best] + tolerance
    basins: list[Basin] = []
    for lane in np.argsort(f, kind="stable"):
        if not settled[lane] and lane != best:
            continue
        if basins and f[lane] <= basins[-1].objective + tolerance:
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


def search(
    problem: Problem,
    response: np.ndarray,
    weight: np.ndarray,
    *,
    count: int = 4096,
    polished: int = 32,
    independent: int = 32,
    explicit: Mapping[str, np.ndarray] | None = None,
    generator: np.random.Generator,
    rounds: int = 3,
) -> Found:
    """Find the optimum: score, polish, and look again where few polished starts agree.

    Args:
        problem: law, inputs of shape (n,), noise.
        response: shape (n,).
        weight: shape (n,).
        count: starts scored in the first round.
        polished: promising starts polished in each round.
        independent: random starts polished besides, whatever their score.
        explicit: starts given by name, each of shape (starts,), instead of drawn ones.
        generator: the source of randomness.
        rounds: how often at most to look again.
    """
    if explicit is not None:
        lanes, flags, scored = _from_given(problem, response, weight, explicit, polished, independent, generator)
    else:
        lanes, flags, scored = _from_drawn(problem, response, weight, count, polished, independent, generator)
    best, landscape = _landscape(problem, lanes, scored, flags, weight)
    for _ in range(rounds):
        if landscape.agree_all >= landscape.polished // 4:
            break
        f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf)
        z, f = _more(problem, generator, lanes.z, f, count, response, weight)
        promising = lanes.z.shape[1] + np.argsort(f[lanes.z.shape[1] :], kind="stable")[:polished]
        lanes = _concatenated(lanes, descend(problem, z[:, promising], response, weight))
        lanes = _common_goal(problem, lanes, response, weight)
        flags = np.concatenate([flags, np.zeros(len(promising), bool)])
        scored += count
        best, landscape = _landscape(problem, lanes, scored, flags, weight)
    return Found(lanes, best, landscape)


def _from_drawn(
    problem: Problem,
    response: np.ndarray,
    weight: np.ndarray,
    count: int,
    polished: int,
    independent: int,
    generator: np.random.Generator,
) -> tuple[Any, np.ndarray, int]:
    """Polished lanes of drawn starts, which of them are the independent sample, and how many were scored."""
    dimensions = len(problem.free)
    random = generator.uniform(size=(dimensions, independent))
    u = np.concatenate([random, hypercube(generator, max(count // 2 - independent, 1), dimensions)], axis=1)
    z, f = score_starts(problem, u, np.zeros_like(u), np.ones(u.shape[1], bool), response, weight)
    # Half of the promising ones are drawn ones, which lie apart; children crowd around the best.
    chosen = [*(independent + np.argsort(f[independent:], kind="stable")[: polished // 2])]
    for _ in range(2 if count >= 64 else 0):
        z, f = _more(problem, generator, z, f, count // 4, response, weight)
    ranked = [lane for lane in np.argsort(f, kind="stable") if lane not in chosen and lane >= independent]
    promising = [*chosen, *ranked[: polished - len(chosen)]]
    # In two waves, of which an easy problem needs only the first.
    lanes, flags = None, np.zeros(0, bool)
    for wave in range(2):
        index = np.concatenate([np.arange(independent)[wave::2], promising[wave::2]]).astype(int)
        if not len(index):
            continue
        drawn = np.arange(len(index)) < len(range(wave, independent, 2))
        # Most promising and every other random start keep to their basin: the landscape shows more than the widest.
        direct = np.where(drawn, np.arange(len(index)) % 2 == 0, np.arange(len(index)) % 4 > 0)
        ended = descend(problem, z[:, index], response, weight, direct=direct)
        lanes = ended if lanes is None else _concatenated(lanes, ended)
        lanes, flags = _common_goal(problem, lanes, response, weight), np.concatenate([flags, drawn])
        landscape = _landscape(problem, lanes, z.shape[1], flags, weight)[1]
        if min(landscape.agree_all, landscape.converged) >= EASY * landscape.polished:
            break
    return lanes, flags, z.shape[1]


def _from_given(
    problem: Problem,
    response: np.ndarray,
    weight: np.ndarray,
    explicit: Mapping[str, np.ndarray],
    polished: int,
    independent: int,
    generator: np.random.Generator,
) -> tuple[Lanes, np.ndarray, int]:
    """The same for starts given by name: the promising and a random sample of the rest."""
    z, f = place_starts(problem, explicit, response, weight)
    chosen = np.argsort(f, kind="stable")[:polished]
    sample = generator.permutation(np.setdiff1d(np.arange(len(f)), chosen))[:independent]
    scored = len(f)
    z = z[:, np.concatenate([chosen, sample]).astype(int)]
    if 2 * z.shape[1] <= NEIGHBOURS:
        z = _surrounded(problem, z, generator, response, weight)
    elif len(sample):
        # As with drawn starts, the data set what they can; a crossed grid is mostly far from any fit.
        drawn = z[: len(problem.free), len(chosen) :]
        none = np.zeros(len(sample), bool)
        again, worth = score_starts(problem, np.full_like(drawn, 0.5), drawn, none, response, weight)
        z[:, len(chosen) :] = np.where(np.isfinite(worth), again, z[:, len(chosen) :])
    flags = np.arange(z.shape[1]) >= (len(chosen) if len(sample) else 0)
    return _polish(problem, z, response, weight), flags, scored


def _surrounded(
    problem: Problem, z: np.ndarray, generator: np.random.Generator, response: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Given starts, each also with its affine parameters set by the data, and neighbours that fill the batch."""
    free = z[: len(problem.free)]
    pick = np.arange(max(NEIGHBOURS - 2 * z.shape[1], 0)) % z.shape[1]
    step = np.where(np.asarray(curved(problem.law, problem.free))[:, None], 1.0, np.abs(free[:, pick]))
    near = free[:, pick] + 0.5 * step * generator.standard_normal((len(free), len(pick)))
    moved = np.concatenate([free, near], axis=1)
    none = np.zeros(moved.shape[1], bool)
    projected, worth = score_starts(problem, np.full_like(moved, 0.5), moved, none, response, weight)
    return np.concatenate([z, projected[:, np.isfinite(worth)]], axis=1)


def _more(
    problem: Problem,
    generator: np.random.Generator,
    z: np.ndarray,
    f: np.ndarray,
    count: int,
    response: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Score children of the best starts and add them to the pool."""
    parents = z[: len(problem.free), np.argsort(f, kind="stable")[:64]]
    children = crossed(generator, parents, count)
    blank = np.full_like(children, 0.5)
    moved, worth = score_starts(problem, blank, children, np.zeros(count, bool), response, weight)
    return np.concatenate([z, moved], axis=1), np.concatenate([f, worth])


def _polish(problem: Problem, z: np.ndarray, response: np.ndarray, weight: np.ndarray, direct: Any = False) -> Lanes:
    return _common_goal(problem, descend(problem, z, response, weight, direct=direct), response, weight)


def _concatenated(one: Lanes, other: Lanes) -> Lanes:
    return jax.tree.map(lambda a, b: np.concatenate([a, b], axis=-1), one, other)


def _common_goal(problem: Problem, lanes: Lanes, response: np.ndarray, weight: np.ndarray) -> Lanes:
    """For absolute loss: bring all lanes to the smallest delta, so that their objectives compare."""
    if problem.noise.loss != "absolute":
        return lanes
    goal = np.min(lanes.goal[np.isfinite(lanes.goal)], initial=np.inf)
    again = eqx.tree_at(
        lambda s: (s.goal, s.delta, s.steps, s.status, s.decrement, s.still),
        lanes,
        (
            np.full_like(lanes.goal, goal),
            np.full_like(lanes.delta, goal),
            np.zeros_like(lanes.steps),
            np.where(lanes.status == kernel.NONFINITE, kernel.NONFINITE, kernel.RUNNING).astype(np.int32),
            np.full_like(lanes.decrement, np.inf),
            np.zeros_like(lanes.still),
        ),
    )
    return descend(problem, lanes.z, response, weight, lanes=again, longest=64)
