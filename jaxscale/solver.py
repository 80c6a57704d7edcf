"""The batched engine: score many starts, polish few, in chunks of one fixed width.

:func:`solve` is the pure door for somebody's jitted program. :func:`search` is what the front
doors use: the same programs in fixed-width chunks over all cores, lanes that have settled
leaving the batch, with the landscape of what was found.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from jaxscale import kernel
from jaxscale.coordinates import centre_of, curved
from jaxscale.kernel import Lanes, Problem
from jaxscale.law import Law
from jaxscale.noise import Noise, default
from jaxscale.starts import crossed, hypercube, placed, score

SCORED = 512
WIDTH = 32
ROUND = 16
LONGEST = 1000
# Lanes that take this many times the median number of iterations are given up once half have settled.
PATIENCE = 8
STATUS = {
    kernel.RUNNING: "max_steps",
    kernel.CONVERGED: "converged",
    kernel.FLAT: "flat",
    kernel.STALLED: "stalled",
    kernel.NONFINITE: "nonfinite",
}


@jax.jit
def _score(problem: Problem, u: Any, z: Any, drawn: Any, response: Any, weight: Any) -> Any:
    return score(problem, u, z, drawn, response, weight)


@jax.jit
def _place(problem: Problem, params: Any, response: Any, weight: Any) -> Any:
    return placed(problem, params, response, weight)


@jax.jit
def _advance(problem: Problem, lanes: Lanes, response: Any, weight: Any, steps: Any) -> Lanes:
    return kernel.advance(problem, lanes, response, weight, steps)


def _chunks(count: int, width: int) -> list[np.ndarray]:
    """Index arrays of one width that cover ``count`` lanes; the last repeats a lane."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return list(np.minimum(index, count - 1))


def _parallel(run: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
    """``run`` over parts on all cores; every worker computes in the caller's precision."""
    x64 = jax.config.jax_enable_x64

    def inside(part: Any) -> Any:
        with jax.enable_x64(x64):
            return jax.tree.map(np.asarray, run(part))

    workers = min(len(parts), os.cpu_count() or 1)
    if workers <= 1:
        return [inside(part) for part in parts]
    first = inside(parts[0])  # Compile once, before the workers would each begin to.
    with ThreadPoolExecutor(workers) as pool:
        return [first, *pool.map(inside, parts[1:])]


def score_starts(
    problem: Problem, u: np.ndarray, z: np.ndarray, drawn: np.ndarray, response: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`jaxscale.starts.score` for any number of starts, in chunks."""

    def run(index: np.ndarray) -> Any:
        return _score(problem, u[:, index], z[:, index], drawn[index], response, weight)

    parts = _parallel(run, _chunks(u.shape[1], SCORED))
    return _joined(parts, u.shape[1])


def place_starts(
    problem: Problem, params: Mapping[str, np.ndarray], response: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and objectives of given starts, in chunks."""
    count = len(next(iter(params.values())))

    def run(index: np.ndarray) -> Any:
        return _place(problem, {name: value[index] for name, value in params.items()}, response, weight)

    return _joined(_parallel(run, _chunks(count, SCORED)), count)


def _joined(parts: list[Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    z = np.concatenate([part[0] for part in parts], axis=-1)[:, :count]
    return z, np.concatenate([part[1] for part in parts])[:count]


def descend(
    problem: Problem,
    z: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
    *,
    direct: Any = False,
    warm: bool = False,
    longest: int = LONGEST,
    lanes: Lanes | None = None,
) -> Lanes:
    """Polish every lane; lanes that have settled leave the batch.

    Args:
        problem: law, inputs, noise.
        z: starts, shape (size, lanes).
        response: shape (n,) or (n, lanes).
        weight: shape (n,) or (n, lanes).
        direct: lanes that keep to the basin they start in, see :func:`jaxscale.kernel.begin`.
        warm: the starts are near the optimum.
        longest: most iterations of a lane.
        lanes: states to go on from, in place of z.
    """
    if lanes is None:
        lanes = kernel.begin(problem, jnp.asarray(z), direct=jnp.asarray(direct), warm=warm)
    state = jax.tree.map(np.array, lanes)

    def column(data: np.ndarray, index: np.ndarray) -> np.ndarray:
        return data[:, index] if data.ndim == 2 else np.repeat(data[:, None], len(index), axis=1)

    for taken in range(0, longest, ROUND):
        running = np.flatnonzero(np.asarray(state.status) == kernel.RUNNING)
        if not len(running):
            break
        done = np.asarray(state.steps)[np.asarray(state.status) == kernel.CONVERGED]
        if len(done) >= max(WIDTH // 2, z.shape[1] // 2) and taken >= PATIENCE * np.median(done):
            break

        def run(index: np.ndarray) -> Any:
            part = jax.tree.map(lambda a: a[..., index], state)  # noqa: B023
            return _advance(problem, part, column(response, index), column(weight, index), ROUND)

        chunks = [running[index] for index in _chunks(len(running), WIDTH)]
        for index, part in zip(chunks, _parallel(run, chunks), strict=True):
            for whole, piece in zip(jax.tree.leaves(state), jax.tree.leaves(part), strict=True):
                whole[..., index] = piece
    return state


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


def _landscape(problem: Problem, lanes: Lanes, scored: int, independent: np.ndarray, rows: float) -> tuple[int, Landscape]:
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
    rows = float(np.sum(weight))
    if explicit is not None:
        z, f = place_starts(problem, explicit, response, weight)
        chosen = np.argsort(f, kind="stable")[:polished]
        rest = np.setdiff1d(np.arange(len(f)), chosen)
        sample = generator.permutation(rest)[:independent]
        z = z[:, np.concatenate([chosen, sample]).astype(int)]
        lanes = _polish(problem, _surrounded(problem, z, generator, response, weight), response, weight)
        given = np.ones(lanes.z.shape[1], bool)
        best, landscape = _landscape(problem, lanes, len(f), given, rows)
        return Found(lanes, best, landscape)

    dimensions = len(problem.free)
    sizes = problem.size
    random = generator.uniform(size=(dimensions, independent))
    u = np.concatenate([random, hypercube(generator, max(count // 2, 1), dimensions)], axis=1)
    z, f = score_starts(problem, u, np.zeros_like(u), np.ones(u.shape[1], bool), response, weight)
    ranked = independent + np.argsort(f[independent:], kind="stable")
    chosen = [*ranked[: polished // 2]]
    for _ in range(2):
        if count >= 64:
            z, f = _more(problem, generator, z, f, count // 4, response, weight)
    ranked = np.argsort(f, kind="stable")
    chosen += [lane for lane in ranked if lane not in chosen and lane >= independent][: polished - len(chosen)]
    index = np.concatenate([np.arange(independent), np.asarray(chosen, int)])
    flags = np.arange(len(index)) < independent
    lanes = _polish(problem, z[:, index], response, weight, direct=~flags & (np.arange(len(index)) % 2 == 0))
    scored = z.shape[1]
    for _ in range(rounds):
        best, landscape = _landscape(problem, lanes, scored, flags, rows)
        if landscape.agree_all >= landscape.polished // 4:
            break
        pool = np.concatenate([lanes.z, z], axis=1)
        worth = np.concatenate([np.where(np.isfinite(lanes.local.f), lanes.local.f, np.inf), f])
        parents = pool[:, np.argsort(worth, kind="stable")[:64]]
        pool, worth = _more(problem, generator, parents, np.full(parents.shape[1], np.inf), count, response, weight)
        scored += count
        better = pool[:, np.argsort(worth, kind="stable")[:polished]]
        lanes = _common_goal(problem, _concatenated(lanes, descend(problem, better, response, weight)), response, weight)
        flags = np.concatenate([flags, np.zeros(better.shape[1], bool)])
    best, landscape = _landscape(problem, lanes, scored, flags, rows)
    return Found(lanes, best, landscape)


def _surrounded(
    problem: Problem, z: np.ndarray, generator: np.random.Generator, response: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Given starts, each also with its affine parameters set by the data, and neighbours that fill the batch."""
    free = z[: len(problem.free)]
    pick = np.arange(max(WIDTH - 2 * z.shape[1], 0)) % z.shape[1]
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
        lambda s: (s.goal, s.delta, s.refresh, s.status, s.decrement, s.still),
        lanes,
        (
            np.full_like(lanes.goal, goal),
            np.full_like(lanes.delta, goal),
            np.ones_like(lanes.refresh),
            np.where(lanes.status == kernel.NONFINITE, kernel.NONFINITE, kernel.RUNNING).astype(np.int32),
            np.full_like(lanes.decrement, np.inf),
            np.zeros_like(lanes.still),
        ),
    )
    return descend(problem, lanes.z, response, weight, lanes=again, longest=64)


class Linear(eqx.Module):
    """The fit at one point: what reports, standard errors and the vertex step are made of.

    ``jacobian`` is that of the residuals in the free parameters (n, p), ``slope`` that in the
    coordinates (n, size), ``change`` the parameters' derivative in the coordinates (p, size).
    """

    params: dict[str, Any]
    prediction: Any
    residual: Any
    jacobian: Any
    slope: Any
    change: Any


@jax.jit
def linearise(problem: Problem, z: Any, response: Any) -> Linear:
    """Parameters, predictions, residuals and their derivatives at coordinates z of shape (size,)."""

    def of_params(free: Any, row: Any) -> Any:
        inputs = [row[name] for name in problem.law.inputs]
        return problem.noise.transform(problem.law(*inputs, **{**problem.fixed, **free}))

    def of_z(z: Any, row: Any) -> Any:
        return problem.noise.transform(problem.predict(z, row))

    def named(z: Any) -> Any:
        params = problem.params(z)
        return jnp.stack([params[name] for name in problem.free]) if problem.free else jnp.zeros((0,))

    params = problem.params(z)
    free = {name: params[name] for name in problem.free}
    slopes = jax.vmap(jax.jacfwd(of_params), in_axes=(None, 0))(free, problem.inputs)
    fitted = jax.vmap(of_z, in_axes=(None, 0))(z, problem.inputs)
    rows = jax.vmap(lambda row: problem.predict(z, row))(problem.inputs)
    return Linear(
        params=params,
        prediction=rows,
        residual=fitted - problem.noise.transform(response),
        jacobian=jnp.stack([slopes[name] for name in problem.free], axis=1),
        slope=jax.vmap(jax.jacfwd(of_z), in_axes=(None, 0))(z, problem.inputs),
        change=jax.jacfwd(named)(z),
    )


def vertex(
    problem: Problem, z: np.ndarray, response: np.ndarray, weight: np.ndarray, most: int = 60
) -> tuple[np.ndarray, float, float]:
    """The exact minimum of the absolute loss near z, by linear programmes on a shrinking box.

    Args:
        problem: law, inputs, noise.
        z: coordinates near a minimum, shape (size,).
        response: shape (n,).
        weight: shape (n,).
        most: most programmes.

    Returns:
        Coordinates, objective ``sum w |r|``, and the decrease that the last programme still promised, relative.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    rows = np.flatnonzero(weight > 0)
    w = weight[rows]

    def at(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        linear = linearise(problem, z, response)
        r = np.asarray(linear.residual)[rows]
        return r, np.asarray(linear.slope)[rows], float(np.sum(w * np.abs(r)))

    r, slope, f = at(z)
    box, promise = 0.1, np.inf
    for _ in range(most):
        # min sum w u  subject to  -u <= r + J d <= u  in the box; columns are (d, u).
        size = np.linalg.norm(slope, axis=0) + 1e-300
        scaled = csr_array(slope / size)
        minus = -eye_array(len(rows))
        bounds = [(-box * s, box * s) for s in size] + [(0, None)] * len(rows)
        programme = linprog(
            np.concatenate([np.zeros(len(size)), w]),
            A_ub=vstack([hstack([scaled, minus]), hstack([-scaled, minus])]).tocsr(),
            b_ub=np.concatenate([-r, r]),
            bounds=bounds,
            method="highs",
        )
        if programme.x is None:
            break
        d = programme.x[: len(size)] / size
        promise = max(f - float(np.sum(w * np.abs(r + slope @ d))), 0.0)
        there = at(z + d)
        if not promise > 1e-15 * f:
            break
        if there[2] < f:
            gain = f - there[2]
            z, (r, slope, f) = z + d, there
            box = box * 2 if gain > 0.75 * promise else box / 2 if gain < 0.25 * promise else box
        else:
            box /= 4
        if box < 1e-15:
            break
    return z, f, promise / max(f, np.finfo(float).tiny)


class Solution(eqx.Module):
    """The answer of :func:`solve`: parameters by name, objective, status code (see ``STATUS``)."""

    params: dict[str, Any]
    objective: Any
    status: Any


def solve(
    law: Law,
    inputs: Mapping[str, Any],
    response: Any,
    *,
    weight: Any = None,
    noise: Noise | None = None,
    starts: int | Mapping[str, Any] = 256,
    key: Any = None,
    fixed: Mapping[str, Any] | None = None,
) -> Solution:
    """Fit a law inside a jitted program: pure, no checks, arrays in and out.

    Args:
        law: the law.
        inputs: name to array of shape (n,), raw units.
        response: shape (n,); its dtype is the precision of the whole computation.
        weight: shape (n,); ones unless given; rows of weight 0 do not count.
        noise: the noise; that of the response's domain unless given.
        starts: how many random starts to score (the best 16 are polished), or starts by name,
            each of shape (starts,), all of which are polished.
        key: random key of the starts; ``jax.random.key(0)`` unless given.
        fixed: values of parameters that are not fitted.

    Returns:
        Parameters by name, the objective (a sum over rows), and the status of the best lane.
    """
    noise = default(law.response) if noise is None else noise
    y = jnp.asarray(response)
    dtype = jnp.result_type(y, jnp.float32)
    y = y.astype(dtype)
    columns = {name: jnp.asarray(inputs[name], dtype) for name in law.inputs}
    w = jnp.ones_like(y) if weight is None else jnp.broadcast_to(jnp.asarray(weight, dtype), y.shape)
    values = {name: jnp.asarray(value, dtype) for name, value in (fixed or {}).items()}
    free = tuple(name for name in law.parameters if name not in values)
    problem = Problem(law, free, noise, columns, values, centre_of(law, columns, y))
    if isinstance(starts, Mapping):
        given = {name: jnp.atleast_1d(jnp.asarray(value, dtype)) for name, value in {**values, **starts}.items()}
        lanes = max(len(value) for value in given.values())
        z, _ = placed(problem, {name: jnp.broadcast_to(value, (lanes,)) for name, value in given.items()}, y, w)
    else:
        u = jr.uniform(jr.key(0) if key is None else key, (len(free), starts), dtype, 1e-6, 1 - 1e-6)
        z, f = score(problem, u, jnp.zeros_like(u), jnp.ones((starts,), bool), y, w)
        z = z[:, jnp.argsort(f)[: min(16, starts)]]
    wide = jnp.broadcast_to(y[:, None], (y.shape[0], z.shape[1]))
    heavy = jnp.broadcast_to(w[:, None], wide.shape)
    lanes = kernel.advance(problem, kernel.begin(problem, z), wide, heavy, LONGEST)
    f = jnp.where(jnp.isfinite(lanes.local.f), lanes.local.f, jnp.inf)
    best = jnp.argmin(f)
    return Solution(problem.params(lanes.z[:, best]), f[best], lanes.status[best])
