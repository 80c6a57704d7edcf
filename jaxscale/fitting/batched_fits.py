"""Batched multistart over many fits, with a second search where few starts agree."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree, Shaped

from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.engine import newton
from jaxscale.engine.descent import descend, sizes
from jaxscale.engine.multistart import tolerance
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.optimum import optimum_of
from jaxscale.engine.runner import Runner
from jaxscale.engine.starts import score
from jaxscale.fitting.standard_errors import Resampling, covariance_of
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise
from jaxscale.results.fits import Fits
from jaxscale.utils.arrays import Array, Number
from jaxscale.utils.compilation import compiled
from jaxscale.utils.padding import bucket

# A problem is searched again with new starts where a smaller share of its polished starts agree.
AGREED = 0.25
# Problems whose starts are scored in one call: the smallest of these that holds all, or else the largest.
TOGETHER = (1, 8, 64)
# On an accelerator they are scored in parallel, at most so many numbers at a time.
TOGETHER_ON_DEVICE, NUMBERS = (1, 64, 1024), 2**25


@compiled(static_argnames=("best", "random"))
def _starts(
    problem: Problem,
    delta: Float[Array, " problem"],
    u: Float[Array, "free start"],
    response: Float[Array, "problem row"],
    weight: Float[Array, "problem row"],
    best: int,
    random: int,
) -> Float[Array, "problem size kept"]:
    """Coordinates of the best starts and of the first, random starts per problem, shape (problems, size, k)."""

    def one(part: tuple[PyTree, Number, Float[Array, " row"], Float[Array, " row"]]) -> Float[Array, "size kept"]:
        (inputs, fixed, centre, held), delta, y, w = part
        noise = problem.noise.with_threshold(delta)
        own = Problem(problem.law, problem.free, noise, inputs, fixed, centre, held=held)
        z, f = score(own, u, jnp.zeros_like(u), jnp.ones(u.shape[1:], bool), y, w)
        top = jax.lax.top_k(-f[random:], best)[1] + random
        return z[:, jnp.concatenate([top, jnp.arange(random, dtype=top.dtype)])]

    parts = (problem.inputs, problem.fixed, problem.centre, problem.held)
    whole = (parts, delta, response, weight)
    if jax.default_backend() == "cpu":
        return jax.lax.map(one, whole)
    abreast = max(1, NUMBERS // (u.shape[1] * response.shape[1]))
    return jax.lax.map(one, whole, batch_size=min(abreast, len(response)))


@compiled
def _params_by_name(problem: Problem, z: Float[Array, "size lane"]) -> dict[str, Float[Array, " lane"]]:
    return {name: jnp.broadcast_to(v, z.shape[1:]) for name, v in problem.params(z).items()}


class Problems:
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
        self.alone, self.sets = alone, sets
        rows = bucket(max(map(len, sets)))
        wide = [pad(entry, rows) for entry in sets]
        which, nest, level = (index.ravel() for index in np.indices(self.shape))
        self.which = which
        self.response = np.stack([entry.response for entry in wide])
        self.weight = np.stack([entry.weight for entry in wide])
        centres = [centre_of(law, entry.inputs, entry.response, np) for entry in sets]
        centre = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf, float) for leaf in leaves])[which], *centres)
        inputs = {name: np.stack([entry.inputs[name] for entry in wide])[which] for name in law.inputs}
        count = len(which)
        fixed = {name: np.full(count, value) for name, value in shared.items()}
        held = {}
        for name in sorted({name for entry in values for name in entry} - set(shared)):
            flags = np.array([name in entry for entry in values])[nest]
            held[name] = (flags, np.array([entry.get(name, 1.0) for entry in values], float)[nest])
        self.delta = np.array([float(noise.loss.threshold) for noise in noises])[level]
        self.problem = Problem(law, free, noises[0], inputs, fixed, centre, True, held)

    def search(
        self, starts: int, polish: int, generator: np.random.Generator
    ) -> tuple[Lanes, Int[np.ndarray, " problem"], Int[np.ndarray, " problem"]]:
        """The best lane of every problem, its number of agreeing starts and of polished starts."""
        count = len(self.which)
        best = max(polish - polish // 4, 1)
        random = min(polish - best, starts - 1)
        best = min(best, starts - random)
        agree, polished = np.zeros(count, int), np.zeros(count, int)
        lanes: Lanes | None = None
        members = np.arange(count)
        for _ in range(2):
            u = generator.uniform(size=(len(self.free), starts))
            z = self._initial_coordinates(members, u, best, random)
            k = z.shape[-1]
            ended = self._descend(np.repeat(members, k), np.moveaxis(z, 0, 1).reshape(z.shape[1], -1))
            table = jax.tree.map(lambda a: a.reshape(*a.shape[:-1], len(members), k), ended)  # noqa: B023
            f = np.where(np.isfinite(table.local.f), table.local.f, np.inf)
            weight = self.weight[self.which[members]].sum(axis=1)
            top = _best(f, table.status, tolerance(self.problem.noise.loss, f.min(axis=1), weight))
            winners: Lanes = jax.tree.map(lambda a: np.take_along_axis(a, _gather_index(top, a), -1)[..., 0], table)  # noqa: B023
            if lanes is None:
                lanes, known = winners, np.full(len(members), np.inf)
            else:
                known = lanes.local.f[members]
                _replace_worse(lanes, members, winners)
            floor = lanes.local.f[members]
            reach = floor + tolerance(self.problem.noise.loss, floor, weight)
            # Starts that agreed on an optimum since improved upon no longer count.
            near = np.isfinite(f) & (f <= reach[:, None])
            agree[members] = np.where(known <= reach, agree[members], 0) + near.sum(axis=1)
            polished[members] += k
            members = np.flatnonzero((agree < np.maximum(AGREED * polished, 2)) & np.isfinite(lanes.local.f))
            if not len(members) or k == 1:
                break
        assert lanes is not None
        return lanes, agree, polished

    def _initial_coordinates(
        self, members: Int[np.ndarray, " member"], u: Float[np.ndarray, "free start"], best: int, random: int
    ) -> Float[np.ndarray, "member size kept"]:
        parts = []
        counts = TOGETHER if jax.default_backend() == "cpu" else TOGETHER_ON_DEVICE
        together = next((count for count in counts if count >= len(members)), counts[-1])
        for first in range(0, len(members), together):
            index = np.resize(members[first : first + together], together)
            data = (self.response[self.which[index]], self.weight[self.which[index]])
            parts.append((self.problem.own(index), self.delta[index], u, *data))
        run = _starts_program(best, random)
        return np.concatenate(self.runner(run, parts))[: len(members)]

    def _descend(
        self,
        members: Int[np.ndarray, " lane"],
        z: Float[np.ndarray, "size lane"],
        weight: Callable[[np.ndarray], np.ndarray] | None = None,
        **settings: bool,
    ) -> Lanes:
        """Polished lanes of the problems with the given indices, each on its own data."""
        problem = self._single_problem() if self.alone else self.problem
        lanes = newton.init_lanes(problem, z, goal=self.delta[members], xp=np, **settings)
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

    def _single_problem(self) -> Problem:
        """The single problem with inputs shared by all lanes, so that they are transformed only once."""
        whole = self.problem
        inputs, fixed, centre = jax.tree.map(lambda a: a[0], (whole.inputs, whole.fixed, whole.centre))
        return Problem(self.law, self.free, whole.noise, inputs, fixed, centre)

    def refit(self, base: Lanes, tables: list[Float[np.ndarray, "weighting _"]]) -> Lanes:
        """Refits of every problem with every weighting, started at the problem's optimum."""
        count = len(tables[0])
        members = np.repeat(np.arange(len(self.which)), count)
        extra = self.response.shape[1]
        factors = np.stack([np.pad(table, ((0, 0), (0, extra - table.shape[1]))) for table in tables])

        def weight(lanes: Int[np.ndarray, " lane"]) -> Callable[[np.ndarray], np.ndarray]:
            def of(index: Int[np.ndarray, " part"]) -> Float[np.ndarray, "part row"]:
                sets = self.which[members[lanes[index]]]
                return self.weight[sets] * factors[sets, lanes[index] % count]

            return of

        z = base.z[:, members]
        every = np.arange(len(members))
        ended = self._descend(members, z, weight(every), direct=True, warm=True)
        failed = np.flatnonzero(~np.isin(ended.status, (newton.CONVERGED, newton.FLAT)))
        if len(failed):
            retry = self._descend(members[failed], z[:, failed], weight(failed))
            _replace_worse(ended, failed, retry)
        return ended

    def results(
        self,
        lanes: Lanes,
        agree: Int[np.ndarray, " problem"],
        polished: Int[np.ndarray, " problem"],
        axes: dict[str, bool],
        tables: list[Float[np.ndarray, "weighting _"]] | None,
    ) -> Fits:
        """Results of the lanes as arrays over the requested axes."""
        weightings = 1 if tables is None else len(tables[0])
        members = np.repeat(np.arange(len(self.which)), weightings)
        count = len(members)
        width, parts = sizes(self.response.shape[1]).for_lanes(count).pool, []
        for first in range(0, count, width):
            index = np.minimum(np.arange(first, first + width), count - 1)
            parts.append((self.problem.own(members[index]), lanes.z[:, index]))
        values = self.runner(_params_by_name, parts)
        whole = (*self.shape, weightings)
        dims = [k for k, present in enumerate(axes.values()) if present]
        shape = tuple(whole[k] for k in dims)
        params = {
            name: np.concatenate([part[name] for part in values])[:count].reshape(shape) for name in self.law.parameters
        }
        agree, polished = (np.repeat(table, weightings).reshape(shape) for table in (agree, polished))
        f = np.where(np.isfinite(lanes.local.f), lanes.local.f, np.nan)
        status, steps = lanes.status.reshape(shape), lanes.steps.reshape(shape)
        names = tuple(name for name, present in axes.items() if present)
        fits = Fits(
            law=self.law,
            free=self.free,
            axes=names,
            params=params,
            objective=f.reshape(shape),
            status=status,
            agree=agree,
            polished=polished,
            steps=steps,
        )
        return replace(fits, solved=SolvedProblems(self, lanes, members, tables))

    def single(self, member: int) -> tuple[Problem, Int[np.ndarray, " size"]]:
        """One problem by itself, without the values that it holds fixed among its free parameters, and which are free.

        Args:
            member: number of the problem.

        Returns:
            The problem, and the places of its free parameters among the coordinates of all, shape (size,).
        """
        whole = self.problem
        held = {name: float(values[member]) for name, (flags, values) in (whole.held or {}).items() if flags[member]}
        inputs, fixed, centre = jax.tree.map(lambda a: a[member], (whole.inputs, whole.fixed, whole.centre))
        free = tuple(name for name in self.free if name not in held)
        noise = whole.noise.with_threshold(self.delta[member])
        fixed = fixed | {name: np.asarray(value) for name, value in held.items()}
        places = [k for k, name in enumerate(self.free) if name in free]
        places += range(len(self.free), len(self.free) + whole.noise.infers_scale)
        return Problem(self.law, free, noise, inputs, fixed, centre), np.array(places, int)


@dataclass(frozen=True)
class SolvedProblems:
    """Problems at their optima, for the standard errors of :class:`Fits`.

    Args:
        problems: of the call.
        lanes: one for each fit.
        members: number of the problem of each fit, shape (fits,).
        tables: for each data set its weightings, shape (weightings, n); None without weightings.
    """

    problems: Problems
    lanes: Lanes
    members: Int[np.ndarray, " fit"]
    tables: list[Float[np.ndarray, "weighting _"]] | None

    def standard_errors(self) -> tuple[dict[str, Float[np.ndarray, " fit"]], Float[np.ndarray, " fit"]]:
        """Standard errors of every parameter, shape (fits,), and degrees of freedom, shape (fits,).

        They are those of :func:`jaxscale.fit`; NaN where a fit takes them from resamples and for fixed parameters.
        """
        free = self.problems.free
        errors, freedom = np.full((len(free), len(self.members)), np.nan), np.zeros(len(self.members))
        with jax.enable_x64(True):
            for fit, member in enumerate(self.members):
                matrix, freedom[fit] = self._covariance(fit, int(member))
                names = [name for name in free if name in matrix]
                for name in names:
                    errors[free.index(name), fit] = matrix[name]
        return dict(zip(free, errors, strict=True)), freedom

    def _covariance(self, fit: int, member: int) -> tuple[dict[str, float], int]:
        """Standard errors of one fit by parameter, and its degrees of freedom."""
        problems = self.problems
        problem, places = problems.single(member)
        data = problems.which[member]
        weight = problems.weight[data]
        if self.tables is not None:
            table = self.tables[data][fit % len(self.tables[data])]
            weight = weight * np.pad(table, (0, len(weight) - len(table)))
        z, hessian = self.lanes.z[places, fit], np.asarray(self.lanes.local.exact)[..., fit][np.ix_(places, places)]
        optimum = optimum_of(problem, z, problems.response[data], weight)
        rows = problems.sets[data]
        none = Resampling(problems.runner, 0, np.random.default_rng(0))
        found = covariance_of(optimum, hessian, none, rows.run, rows.sigma is not None)
        with np.errstate(invalid="ignore"):
            return dict(zip(problem.free, np.sqrt(np.diag(found.matrix)), strict=True)), found.freedom


_PROGRAMS: dict[tuple[int, int], Any] = {}


def _starts_program(best: int, random: int) -> Callable[..., Array]:
    """:func:`_starts` with its static arguments bound, cached so that equal arguments give the same object."""
    if (best, random) not in _PROGRAMS:
        program = partial(_starts, best=best, random=random)
        program.__name__ = f"_starts_{best}_{random}"  # pyright: ignore[reportAttributeAccessIssue]
        _PROGRAMS[best, random] = program
    return _PROGRAMS[best, random]


def _best(
    f: Float[np.ndarray, "problem lane"],
    status: Int[np.ndarray, "problem lane"],
    tolerance: Float[np.ndarray, " problem"],
) -> Int[np.ndarray, " problem"]:
    """Index of the best lane of every problem, shape (problems,); among ties one that converged."""
    settled = np.where(np.isin(status, (newton.CONVERGED, newton.FLAT)), f, np.inf)
    tied = settled.min(axis=1) <= f.min(axis=1) + tolerance
    return np.where(tied, settled.argmin(axis=1), f.argmin(axis=1))


def _replace_worse(lanes: Lanes, place: Int[np.ndarray, " lane"], others: Lanes) -> None:
    """Replace lanes in place by others with a lower objective."""
    known = lanes.local.f[place]
    better = others.local.f < np.where(np.isfinite(known), known, np.inf)
    for old, new in zip(jax.tree.leaves(lanes), jax.tree.leaves(others), strict=True):
        old[..., place] = np.where(better, new, old[..., place])


def _gather_index(
    top: Int[np.ndarray, " problem"], array: Shaped[np.ndarray, "... problem lane"]
) -> Int[np.ndarray, "... problem 1"]:
    """Indices for ``take_along_axis`` along the last axis of an array of any rank."""
    return np.broadcast_to(top[:, None], (*array.shape[:-1], 1))
