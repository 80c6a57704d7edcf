"""Search of ``solve``: one problem by lanes in lock step, a batch of problems by a pool of lanes.

Under ``vmap`` lanes in lock step would run until the slowest lane of all problems has stopped. The ``vmap`` rule
therefore puts the lanes of all problems into pools (:func:`jaxscale.engine.descent.run_pool`), whose size does not
depend on the batch, so that the result of a problem does not depend on the others.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Bool, Float, Int, PyTree, Shaped

from jaxscale.engine import newton
from jaxscale.engine.descent import run_pool, sizes
from jaxscale.engine.lbfgs import minimize_lbfgs
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.starts import evaluate_params, score
from jaxscale.law import Law
from jaxscale.law.coordinates import Centre
from jaxscale.noise import Noise
from jaxscale.utils.arrays import Array, RandomKey, Value

T = TypeVar("T")
# The random key of the starts, or starts by name.
Initial = RandomKey | dict[str, Float[Array, "*#start"]]

# Starts that are polished, and the number of lanes that must agree on the lowest objective to end the descent.
POLISHED, ENOUGH = 16, 3
# Lanes of each problem in a batch that run first; the others run where fewer than ENOUGH of these agree.
FIRST = 8


@lru_cache(maxsize=64)
def make_search(starts: int, method: str, longest: int) -> Callable[..., tuple[Array, Array, Array]]:
    """Search with static settings: ``search(problem, response, weight, initial)``.

    It returns coordinates, objective and status of the best lane.

    Args:
        starts: number of random starts to score; 0 where ``initial`` holds starts in place of a key.
        method: optimiser of the lanes.
        longest: maximum number of iterations of a lane.
    """

    def one(
        problem: Problem, y: Float[Array, " row"], w: Float[Array, " row"], initial: Initial
    ) -> tuple[Float[Array, " size"], Float[Array, ""], Int[Array, ""]]:
        return _search_one(problem, y, w, initial, starts, method, longest)

    search: Any = jax.custom_batching.custom_vmap(one)

    @search.def_vmap
    def _(
        size: int, batched: Sequence[PyTree], problem: Problem, *data: PyTree[Shaped[Array, "..."]]
    ) -> tuple[PyTree, tuple[bool, bool, bool]]:
        if method == "lbfgs" or problem.noise.loss.vertex or any(jax.tree.leaves(batched[0].noise)):
            return _vmap_batched(one, size, batched, problem, *data), (True, True, True)
        parts = lambda p: (p.inputs, p.centre, p.fixed)  # noqa: E731
        whole = _broadcast(size, (parts(problem), *data), (parts(batched[0]), *batched[1:]))
        many = _make_batch_search(problem.law, problem.free, problem.reweighted, starts, longest)
        return many(problem.noise, *whole), (True, True, True)

    return search


@lru_cache(maxsize=256)
def _make_batch_search(
    law: Law, free: tuple[str, ...], reweighted: bool, starts: int, longest: int
) -> Callable[..., tuple[Array, Array, Array]]:
    """Search of a batch of problems: every argument but the noise has a leading axis of problems."""

    def all_of(
        noise: Noise,
        own: tuple[dict[str, Float[Array, "problem ..."]], Centre, dict[str, Float[Array, " problem"]]],
        y: Float[Array, "problem row"],
        w: Float[Array, "problem row"],
        initial: PyTree[Shaped[Array, "problem ..."]],
    ) -> tuple[Float[Array, "problem size"], Float[Array, " problem"], Int[Array, " problem"]]:
        def start(
            part: tuple[PyTree, Float[Array, " row"], Float[Array, " row"], Initial],
        ) -> Float[Array, "size lane"]:
            (inputs, centre, fixed), y, w, initial = part
            return _initial_coordinates(Problem(law, free, noise, inputs, fixed, centre), y, w, initial, starts)

        count, n = y.shape
        parallel = max(1, sizes(n).parallel // max(starts, 1))
        z = jax.lax.map(start, (own, y, w, initial), batch_size=None if parallel == 1 else min(parallel, count))
        lanes = z.shape[2]
        size = sizes(n).for_lanes(count * lanes)
        together = min(max(1, size.pool // min(FIRST, lanes)), count)
        places = jnp.arange(-(-count // together) * together).reshape(-1, together)

        def part(
            place: Int[Array, " together"],
        ) -> tuple[Float[Array, "together size"], Float[Array, " together"], Int[Array, " together"]]:
            index = jnp.minimum(place, count - 1)
            inputs, centre, fixed = jax.tree.map(lambda a: jnp.repeat(a[index], lanes, axis=0), own)
            problem = Problem(law, free, noise, inputs, fixed, centre, True, reweighted=reweighted)
            response, weight = (jnp.repeat(a[index], lanes, axis=0) for a in (y, w))
            starts = jnp.moveaxis(z[index], 1, 0).reshape(z.shape[1], -1)
            pool = newton.init_lanes(problem, starts, direct=jnp.tile(_direct_mask(lanes), together))
            early = jnp.tile(jnp.arange(lanes) < FIRST, together)
            real = jnp.repeat(place < count, lanes)

            def wave(k: Int[Value, ""], pool: Lanes) -> Lanes:
                late = (
                    jnp.repeat(~jax.vmap(_has_agreement)(*_by_problem((pool.local.f, pool.status), lanes)), lanes)
                    & ~early
                )
                run = real & jnp.where(k == 0, early, late)
                status = jnp.where(run, newton.RUNNING, jnp.where(k == 0, newton.FLAT, pool.status))
                pool = eqx.tree_at(lambda s: s.status, pool, status.astype(jnp.int32))
                return run_pool(problem, pool, response, weight, longest, min(size.width, len(run)))

            pool = jax.lax.fori_loop(0, 1 if lanes <= FIRST else 2, wave, pool)
            f, status = _by_problem((pool.local.f, pool.status), lanes)
            best = jnp.arange(together) * lanes + jax.vmap(_best)(f, status)
            return pool.z[:, best].T, _finite(pool.local.f[best]), pool.status[best]

        result = jax.lax.map(part, places)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], result)

    many: Any = jax.custom_batching.custom_vmap(all_of)

    @many.def_vmap
    def _(
        size: int, batched: Sequence[PyTree], noise: Noise, *data: PyTree[Shaped[Array, "..."]]
    ) -> tuple[PyTree, tuple[bool, bool, bool]]:
        if any(jax.tree.leaves(batched[0])):
            return _vmap_batched(all_of, size, batched, noise, *data), (True, True, True)
        whole = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), _broadcast(size, data, tuple(batched[1:])))
        result = many(noise, *whole)
        return jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), result), (True, True, True)

    return many


def _vmap_batched(
    function: Callable[..., T], size: int, batched: Sequence[PyTree], *data: PyTree[Shaped[Array, "..."]]
) -> T:
    """Apply ``vmap`` to a function over the batched arguments."""
    axes = jax.tree.map(lambda mapped: 0 if mapped else None, tuple(batched))
    return jax.vmap(function, in_axes=axes, axis_size=size)(*data)


def _broadcast(size: int, data: T, batched: PyTree) -> T:
    """Broadcast the data to a leading axis of problems."""
    return jax.tree.map(lambda a, mapped: a if mapped else jnp.broadcast_to(a, (size, *a.shape)), data, batched)


def _by_problem(arrays: T, lanes: int) -> T:
    return jax.tree.map(lambda a: a.reshape(-1, lanes), arrays)


def _initial_coordinates(
    problem: Problem, y: Float[Array, " row"], w: Float[Array, " row"], initial: Initial, starts: int
) -> Float[Array, "size lane"]:
    """Initial coordinates of the lanes, shape (size, lanes): explicit starts, or the best of random ones."""
    if isinstance(initial, Mapping):
        given = {name: jnp.atleast_1d(value) for name, value in {**problem.fixed, **initial}.items()}
        lanes = max(len(value) for value in given.values())
        return evaluate_params(
            problem, {name: jnp.broadcast_to(value, (lanes,)) for name, value in given.items()}, y, w
        )[0]
    u = jr.uniform(initial, (len(problem.free), starts), y.dtype, 1e-6, 1 - 1e-6)
    z, f = score(problem, u, jnp.zeros_like(u), jnp.ones((starts,), bool), y, w)
    return z[:, jnp.argsort(f)[: min(POLISHED, starts)]]


def _direct_mask(lanes: int) -> Bool[Array, " lane"]:
    """Mask of lanes that keep to the basin they start in; the others start with a large threshold."""
    return jnp.arange(lanes) % 4 > 0


def _finite(f: Float[Array, "*lane"]) -> Float[Array, "*lane"]:
    return jnp.where(jnp.isfinite(f), f, jnp.inf)


def _has_agreement(f: Float[Array, " lane"], status: Int[Array, " lane"]) -> Bool[Array, ""]:
    """Whether enough lanes of a problem have converged to the lowest objective."""
    return jnp.sum((status == newton.CONVERGED) & newton.lowest(_finite(f))) >= ENOUGH


def _best(f: Float[Array, " lane"], status: Int[Array, " lane"]) -> Int[Array, ""]:
    """Index of the lowest lane; among lanes that differ by rounding only, one that has converged."""
    f = _finite(f)
    ended = (status == newton.CONVERGED) & newton.lowest(f)
    return jnp.argmin(jnp.where(ended | ~jnp.any(ended), f, jnp.inf))


def _search_one(
    problem: Problem,
    y: Float[Array, " row"],
    w: Float[Array, " row"],
    initial: Initial,
    starts: int,
    method: str,
    longest: int,
) -> tuple[Float[Array, " size"], Float[Array, ""], Int[Array, ""]]:
    """Coordinates, objective and status of the best lane of one problem."""
    z = _initial_coordinates(problem, y, w, initial, starts)
    wide = jnp.broadcast_to(y, (z.shape[1], y.shape[0]))
    heavy = jnp.broadcast_to(w, wide.shape)
    lanes = newton.init_lanes(problem, z, direct=_direct_mask(z.shape[1]))
    if method == "lbfgs":
        lanes = newton.init_lanes(problem, minimize_lbfgs(problem, z, y, w, longest), direct=True, warm=True)
    lanes = newton.advance(problem, lanes, wide, heavy, longest, ENOUGH)
    best = _best(lanes.local.f, lanes.status)
    z, objective = lanes.z[:, best], _finite(lanes.local.f[best])
    if problem.noise.loss.vertex:
        z, objective = _refine_vertex(problem, lanes, best, y, w, longest)
    return z, objective, lanes.status[best]


def _refine_vertex(
    problem: Problem, lanes: Lanes, best: Int[Array, ""], y: Float[Array, " row"], w: Float[Array, " row"], longest: int
) -> tuple[Float[Array, " size"], Float[Array, ""]]:
    """Vertex of an absolute loss from its smoothed minimum: shrink delta, then Newton steps on the active rows."""
    lane = jax.tree.map(lambda a: a[..., best][..., None], lanes)

    def shrink(lane: Lanes, share: Float[Array, ""]) -> tuple[Lanes, None]:
        goal = share * lane.local.spread / jnp.sum(w)
        again = newton.init_lanes(problem, lane.z, warm=True)
        start = eqx.tree_at(lambda s: (s.goal, s.delta), again, (goal, goal))
        return newton.advance(problem, start, y[None], w[None], longest // 4), None

    lane, _ = jax.lax.scan(shrink, lane, jnp.asarray([1e-2, 1e-3, 1e-4, 1e-5], y.dtype))

    def residuals(z: Float[Array, " size"]) -> Float[Array, " row"]:
        fitted = jax.vmap(problem.predict, in_axes=(None, -1))(z, problem.inputs)
        return problem.noise.transform(fitted) - problem.noise.transform(y)

    def cost(z: Float[Array, " size"]) -> Float[Array, ""]:
        return jnp.sum(w * jnp.abs(residuals(z)))

    z = lane.z[:, 0]
    # At a vertex as many rows are fitted exactly as there are parameters: those with the smallest residuals.
    active = jnp.argsort(jnp.where(w > 0, jnp.abs(residuals(z)), jnp.inf))[: z.shape[0]]
    corner = z
    for _ in range(4):
        slope = jax.jacfwd(residuals)(corner)[active]
        corner = corner - jnp.linalg.solve(slope, residuals(corner)[active])
    z = jnp.where(cost(corner) <= cost(z), corner, z)
    return z, cost(z)
