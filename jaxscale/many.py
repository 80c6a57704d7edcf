"""Many fits of one law as one batch: data sets, fixed values, noise settings, weightings."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import kernel
from jaxscale.batch import Runner, descend, sizes
from jaxscale.coordinates import centre_of
from jaxscale.fitting import checked_fixed, generator_of, identity, law_of
from jaxscale.journal import Journal
from jaxscale.kernel import STATUS, Lanes
from jaxscale.law import Law
from jaxscale.noise import Noise, default
from jaxscale.objective import Problem
from jaxscale.observations import Observations, bucket, checked, padded
from jaxscale.preparation import prepare
from jaxscale.progress import ticking
from jaxscale.room import make_room
from jaxscale.search import tolerance
from jaxscale.starts import score

# A problem of which fewer polished starts agree than this share is searched again, with other starts.
AGREED = 0.25
# Problems whose starts are scored by one call: the smallest of these that holds all, or else the largest.
TOGETHER = (1, 8, 64)


@dataclass(frozen=True)
class Fits:
    """The answers of :func:`fit_many`, as arrays.

    Args:
        law: name of the law.
        axes: what the axes of the arrays are: of "data", "fixed", "noise", "weighting" those that were sequences.
        params: every parameter by name.
        objective: the minimised sums.
        status: codes of ``jaxscale.kernel.STATUS``; 1 and 2 (converged, flat) are good ends.
        agree: how many of the polished starts of a problem ended at its best objective, to 1e-6.
        polished: how many starts of each problem were polished.
        steps: iterations of the lane that each answer comes from.
    """

    law: str
    axes: tuple[str, ...]
    params: dict[str, np.ndarray]
    objective: np.ndarray
    status: np.ndarray
    agree: np.ndarray
    polished: np.ndarray
    steps: np.ndarray

    @property
    def ok(self) -> np.ndarray:
        """Which fits ended well."""
        return np.isin(self.status, (kernel.CONVERGED, kernel.FLAT))

    @property
    def messages(self) -> np.ndarray:
        """The status of every fit in a word."""
        return np.asarray(np.array([STATUS[code] for code in range(len(STATUS))])[self.status])


def fit_many(
    law: Law | str,
    observations: Observations | Sequence[Observations],
    *,
    noise: Noise | Sequence[Noise] | None = None,
    fixed: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
    weights: Any = None,
    starts: int = 256,
    polish: int = 8,
    key: Any = 0,
    mesh: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Fits:
    """Fit one law many times in one batch; whatever is a sequence becomes an axis of the answer.

    Every combination of data set, fixed values and noise setting is a problem with its own search: ``starts`` are
    scored, the best and some random ones polished, and problems of which few polished starts agree are searched
    again. Weightings (bootstrap counts, hold-outs, leave-one-out) are then refitted from their problem's optimum.
    A problem that cannot be fitted says so in its status and leaves the others as they are, to the last bit: what
    comes out for a data set and a noise does not depend on which others stand beside it in the sequences.

    Args:
        law: a law, or the name of one in the catalogue.
        observations: one data set or many; they may differ in length.
        noise: one noise, or many that differ in ``delta`` only.
        fixed: values of parameters that are not fitted, or a sequence of such: laws nested in one another.
        weights: factors on the rows' weights, shape (weightings, n), or a sequence of such, one for each data set.
        starts: how many starts to score for each problem.
        polish: how many of these to polish.
        key: seed (an integer or a JAX random key).
        mesh: a ``jax.sharding.Mesh`` over whose devices the work is spread.
        checkpoint: folder where finished parts are kept.
        progress: whether to show a progress bar; on a terminal unless given.

    Returns:
        The fits, with numbers in float64.

    Raises:
        DataError: some observations do not suit the law.
        ValueError: an argument is wrong.
    """
    law = law_of(law)
    make_room()
    sets = [observations] if isinstance(observations, Observations) else list(observations)
    strangers = [type(some).__name__ for some in sets if not isinstance(some, Observations)]
    if strangers:
        raise TypeError(
            "Argument observations must be Observations (make them with Observations.from_table) or a sequence of "
            f"them, but holds {strangers[0]}."
        )
    noises = list(noise) if isinstance(noise, Sequence) else [default(law.response) if noise is None else noise]
    nested = [fixed] if isinstance(fixed, Mapping) or fixed is None else list(fixed)
    values = [checked_fixed(law, some) for some in nested]
    _refuse(law, sets, noises, values, starts, polish)
    tables = _weightings(weights, sets, isinstance(observations, Observations))
    axes = {
        "data": not isinstance(observations, Observations),
        "fixed": isinstance(fixed, Sequence),
        "noise": isinstance(noise, Sequence),
        "weighting": weights is not None,
    }
    seed, generator = generator_of(key)
    shared = {name: v for name, v in values[0].items() if all(other.get(name) == v for other in values)}
    free = tuple(name for name in law.parameters if name not in shared)
    sets = [prepare(law, some) for some in sets]
    with jax.enable_x64(True):
        for some in sets:
            checked(law, some, free)
        journal = None
        if checkpoint is not None:
            settings = dict(seed=seed, starts=starts, polish=polish, sets=len(sets), nested=repr(values))
            journal = Journal(checkpoint, identity(law, (sets, noises, tables), repr(noises), {}) | settings)
        with ticking(f"fitting {law.name} to {len(sets)} data sets", progress) as ticker:
            alone = not (axes["data"] or axes["fixed"] or axes["noise"])
            batch = _Batch(law, free, shared, sets, values, noises, alone, Runner(mesh, journal, ticker))
            lanes, agree, polished = batch.searched(starts, polish, generator)
            if tables is not None:
                lanes = batch.refitted(lanes, tables)
            return batch.answer(lanes, agree, polished, axes, 1 if tables is None else len(tables[0]))


def _refuse(
    law: Law, sets: list[Observations], noises: list[Noise], values: list[dict[str, float]], starts: int, polish: int
) -> None:
    for name, given in (("observations", sets), ("noise", noises), ("fixed", values)):
        if not given:
            raise ValueError(f"Argument {name} must not be empty.")
    if any(len(some) == len(law.parameters) for some in values):
        raise ValueError("Argument fixed must leave a parameter to fit, but one of its entries fixes all.")
    first = noises[0]
    for other in noises:
        same = (other.loss, other.space) == (first.loss, first.space) and other.infers_scale == first.infers_scale
        if not same or not np.array_equal(other.df, first.df) or not np.array_equal(other.scale, first.scale):
            raise ValueError(
                f"Argument noise must hold noises that differ in delta only, but holds {first.describe()} and "
                f"{other.describe()}; call fit_many once for each."
            )
    if first.loss == "absolute":
        raise ValueError(
            "Argument noise must not be absolute, whose optimum is a vertex; use fit, or huber with a small delta."
        )
    for name, number in (("starts", starts), ("polish", polish)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"Argument {name} must be a positive number, but is {number!r}.")


def _weightings(weights: Any, sets: list[Observations], single: bool) -> list[np.ndarray] | None:
    """For every data set its weightings, shape (weightings, n)."""
    if weights is None:
        return None
    tables = [np.asarray(table, float) for table in ([weights] if single else weights)]
    if len(tables) != len(sets):
        raise ValueError(f"Argument weights must hold one table for each of the {len(sets)} data sets.")
    if any(table.shape[:1] == (0,) for table in tables):
        raise ValueError("Argument weights must not be empty.")
    for table, some in zip(tables, sets, strict=True):
        if table.ndim != 2 or table.shape[1] != len(some) or len(table) != len(tables[0]):
            raise ValueError(
                f"Argument weights must have shape (weightings, rows), but a table has {table.shape} for {len(some)} "
                "rows; all tables need as many weightings."
            )
        if not (np.all(np.isfinite(table)) and np.all(table >= 0) and np.all(table @ some.weight > 0)):
            raise ValueError(
                "Argument weights must be finite, not negative, and in each weighting positive for a row that has a "
                "weight."
            )
    return tables


@partial(jax.jit, static_argnames=("best", "random"))
def _starts(problem: Problem, delta: Any, u: Any, response: Any, weight: Any, best: int, random: int) -> Any:
    """For every problem the coordinates of its best starts and of the first, random ones, shape (problems, size, k)."""

    def one(part: Any) -> Any:
        (inputs, fixed, centre, held), delta, y, w = part
        noise = eqx.tree_at(lambda n: n.delta, problem.noise, delta)
        own = Problem(problem.law, problem.free, noise, inputs, fixed, centre, held=held)
        z, f = score(own, u, jnp.zeros_like(u), jnp.ones(u.shape[1:], bool), y, w)
        chosen = jax.lax.top_k(-f[random:], best)[1] + random
        return z[:, jnp.concatenate([chosen, jnp.arange(random)])]

    parts = (problem.inputs, problem.fixed, problem.centre, problem.held)
    return jax.lax.map(one, (parts, delta, response, weight))


@jax.jit
def _named(problem: Problem, z: Any) -> dict[str, Any]:
    return {name: jnp.broadcast_to(v, z.shape[1:]) for name, v in problem.params(z).items()}


class _Batch:
    """The problems of one call: data set, then fixed values, then noise, the last varying fastest."""

    def __init__(
        self,
        law: Law,
        free: tuple[str, ...],
        shared: dict[str, float],
        sets: list[Observations],
        values: list[dict[str, float]],
        noises: list[Noise],
        alone: bool,
        runner: Runner,
    ) -> None:
        self.law, self.free, self.runner, self.shape = law, free, runner, (len(sets), len(values), len(noises))
        self.alone = alone
        rows = bucket(max(map(len, sets)))
        wide = [padded(some, rows) for some in sets]
        which, nest, level = (index.ravel() for index in np.indices(self.shape))
        self.which = which
        self.response = np.stack([some.response for some in wide])
        self.weight = np.stack([some.weight for some in wide])
        centres = [centre_of(law, some.inputs, some.response, np) for some in sets]
        centre = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf, float) for leaf in leaves])[which], *centres)
        inputs = {name: np.stack([some.inputs[name] for some in wide])[which] for name in law.inputs}
        count = len(which)
        fixed = {name: np.full(count, value) for name, value in shared.items()}
        held = {}
        for name in sorted({name for some in values for name in some} - set(shared)):
            flags = np.array([name in some for some in values])[nest]
            held[name] = (flags, np.array([some.get(name, 1.0) for some in values], float)[nest])
        self.delta = np.array([float(noise.delta) for noise in noises])[level]
        self.problem = Problem(law, free, noises[0], inputs, fixed, centre, True, held)

    def searched(
        self, starts: int, polish: int, generator: np.random.Generator
    ) -> tuple[Lanes, np.ndarray, np.ndarray]:
        """The best lane of every problem, how many of its polished starts agree, and how many there were."""
        count = len(self.which)
        best = max(polish - polish // 4, 1)
        random = min(polish - best, starts - 1)
        best = min(best, starts - random)
        agree, polished = np.zeros(count, int), np.zeros(count, int)
        lanes: Lanes | None = None
        members = np.arange(count)
        for _ in range(2):
            u = generator.uniform(size=(len(self.free), starts))
            z = self._started(members, u, best, random)
            k = z.shape[-1]
            ended = self._descended(np.repeat(members, k), np.moveaxis(z, 0, 1).reshape(z.shape[1], -1))
            table = jax.tree.map(lambda a: a.reshape(*a.shape[:-1], len(members), k), ended)  # noqa: B023
            f = np.where(np.isfinite(table.local.f), table.local.f, np.inf)
            weight = self.weight[self.which[members]].sum(axis=1)
            top = _best(f, table.status, tolerance(self.problem.noise, f.min(axis=1), weight))
            chosen: Lanes = jax.tree.map(lambda a: np.take_along_axis(a, _fitting(top, a), -1)[..., 0], table)  # noqa: B023
            if lanes is None:
                lanes, known = chosen, np.full(len(members), np.inf)
            else:
                known = lanes.local.f[members]
                _replaced(lanes, members, chosen)
            floor = lanes.local.f[members]
            reach = floor + tolerance(self.problem.noise, floor, weight)
            # What agreed on an optimum that has since been bettered no longer counts.
            near = np.isfinite(f) & (f <= reach[:, None])
            agree[members] = np.where(known <= reach, agree[members], 0) + near.sum(axis=1)
            polished[members] += k
            members = np.flatnonzero((agree < np.maximum(AGREED * polished, 2)) & np.isfinite(lanes.local.f))
            if not len(members) or k == 1:
                break
        assert lanes is not None
        return lanes, agree, polished

    def _started(self, members: np.ndarray, u: np.ndarray, best: int, random: int) -> np.ndarray:
        parts = []
        together = next((count for count in TOGETHER if count >= len(members)), TOGETHER[-1])
        for first in range(0, len(members), together):
            some = np.resize(members[first : first + together], together)
            data = (self.response[self.which[some]], self.weight[self.which[some]])
            parts.append((self.problem.own(some), self.delta[some], u, *data))
        run = _with(best, random)
        return np.concatenate(self.runner(run, parts))[: len(members)]

    def _descended(self, members: np.ndarray, z: np.ndarray, weight: Any = None, **settings: Any) -> Lanes:
        """Lanes of some problems (by number) polished, each on its own data."""
        problem = self._alone() if self.alone else self.problem
        lanes = kernel.begin(problem, z, goal=self.delta[members], xp=np, **settings)
        return descend(
            self.runner,
            problem,
            z,
            lambda index: self.response[self.which[members[index]]],
            weight or (lambda index: self.weight[self.which[members[index]]]),
            lanes=lanes,
            member=members,
            rows=self.response.shape[1],
        )

    def _alone(self) -> Problem:
        """The only problem, its inputs shared by all lanes: they need be transformed but once."""
        whole = self.problem
        inputs, fixed, centre = jax.tree.map(lambda a: a[0], (whole.inputs, whole.fixed, whole.centre))
        return Problem(self.law, self.free, whole.noise, inputs, fixed, centre)

    def refitted(self, base: Lanes, tables: list[np.ndarray]) -> Lanes:
        """Every weighting of every problem, from the problem's optimum."""
        count = len(tables[0])
        members = np.repeat(np.arange(len(self.which)), count)
        extra = self.response.shape[1]
        factors = np.stack([np.pad(table, ((0, 0), (0, extra - table.shape[1]))) for table in tables])

        def weight(lanes: np.ndarray) -> Any:
            def of(index: np.ndarray) -> np.ndarray:
                sets = self.which[members[lanes[index]]]
                return self.weight[sets] * factors[sets, lanes[index] % count]

            return of

        z = base.z[:, members]
        every = np.arange(len(members))
        ended = self._descended(members, z, weight(every), direct=True, warm=True)
        failed = np.flatnonzero(~np.isin(ended.status, (kernel.CONVERGED, kernel.FLAT)))
        if len(failed):
            again = self._descended(members[failed], z[:, failed], weight(failed))
            _replaced(ended, failed, again)
        return ended

    def answer(
        self, lanes: Lanes, agree: np.ndarray, polished: np.ndarray, axes: dict[str, bool], weightings: int
    ) -> Fits:
        """The lanes as arrays over the axes that were asked for."""
        members = np.repeat(np.arange(len(self.which)), weightings)
        width = sizes(self.response.shape[1]).pool
        parts, count = [], len(members)
        for first in range(0, count, width):
            index = np.minimum(np.arange(first, first + width), count - 1)
            parts.append((self.problem.own(members[index]), lanes.z[:, index]))
        named = self.runner(_named, parts)
        whole = (*self.shape, weightings)
        kept = [k for k, wanted in enumerate(axes.values()) if wanted]
        shape = tuple(whole[k] for k in kept)
        params = {
            name: np.concatenate([part[name] for part in named])[:count].reshape(shape) for name in self.law.parameters
        }
        agree, polished = (np.repeat(table, weightings).reshape(shape) for table in (agree, polished))
        f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.nan)
        status, steps = lanes.status.reshape(shape), lanes.steps.reshape(shape)
        said = tuple(name for name, wanted in axes.items() if wanted)
        return Fits(self.law.name, said, params, f.reshape(shape), status, agree, polished, steps)


_PROGRAMS: dict[tuple[int, int], Any] = {}


def _with(best: int, random: int) -> Any:
    """The program of :func:`_starts` with its static numbers set, the same object for the same numbers."""
    if (best, random) not in _PROGRAMS:
        program = partial(_starts, best=best, random=random)
        program.__name__ = f"_starts_{best}_{random}"  # pyright: ignore[reportAttributeAccessIssue]
        _PROGRAMS[best, random] = program
    return _PROGRAMS[best, random]


def _best(f: np.ndarray, status: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """The best lane of every problem, shape (problems,); among lanes that tie one that ended well."""
    settled = np.where(np.isin(status, (kernel.CONVERGED, kernel.FLAT)), f, np.inf)
    tied = settled.min(axis=1) <= f.min(axis=1) + tolerance
    return np.where(tied, settled.argmin(axis=1), f.argmin(axis=1))


def _replaced(lanes: Lanes, place: np.ndarray, others: Lanes) -> None:
    """Put other lanes in the place of those that they better."""
    known = lanes.local.f[place]
    better = others.local.f < np.where(np.isfinite(known), known, np.inf)
    for old, new in zip(jax.tree.leaves(lanes), jax.tree.leaves(others), strict=True):
        old[..., place] = np.where(better, new, old[..., place])


def _fitting(top: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Indices along the last axis of an array of any rank."""
    return np.broadcast_to(top[:, None], (*array.shape[:-1], 1))
