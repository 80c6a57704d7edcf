"""Optimum of a fit: search, certificate, basins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.engine.descent import Task
from jaxscale.engine.lad_vertex import vertex
from jaxscale.engine.linearize import linearise, params_at
from jaxscale.engine.multistart import SearchResult, search
from jaxscale.engine.objective import Problem
from jaxscale.engine.optimum import Optimum, optimum_of
from jaxscale.engine.runner import await_compiled, compile_ahead
from jaxscale.engine.starts import StartGrid, StartList
from jaxscale.fitting.convergence import CERTIFIED
from jaxscale.fitting.standard_errors import Resampling
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise
from jaxscale.results.parts import Basin, Landscape
from jaxscale.utils.padding import bucket

# The most basins that a fit lists.
LISTED = 12


@dataclass(frozen=True)
class Search:
    """How a search is made: starts that are scored and polished, or starts that are given."""

    count: int
    polish: int
    explicit: StartGrid | StartList | None


@dataclass(frozen=True)
class Solved:
    """The end of a search: optimum, Hessian of the objective, certificate, and the landscape that was met."""

    optimum: Optimum
    hessian: np.ndarray
    objective: float
    certificate: float
    found: SearchResult
    landscape: Landscape
    wide: Observations


def problem_of(
    law: Law, free: tuple[str, ...], values: Mapping[str, float], noise: Noise, rows: Observations
) -> tuple[Problem, Observations]:
    """The problem of a fit, and its rows padded to a size bucket."""
    wide = pad(rows, bucket(len(rows)))
    centre = centre_of(law, rows.inputs, noise.loss.interior(rows.response), np)
    fixed = {name: np.asarray(value, float) for name, value in values.items()}
    inputs = {name: wide.inputs[name] for name in (*law.inputs, *noise.loss.columns)}
    return Problem(law, free, noise, inputs, fixed, centre), wide


def optimise(problem: Problem, wide: Observations, resampling: Resampling, settings: Search) -> Solved:
    """Search for the optimum; inside ``jax.enable_x64(True)``."""
    task = Task(problem, wide.response, wide.weight, resampling.runner)
    task.prepare()
    compile_ahead(linearise, (problem, np.zeros(problem.size), wide.response))
    found = search(
        task,
        count=settings.count,
        polish=settings.polish,
        explicit=settings.explicit,
        generator=resampling.generator,
    )
    z, objective = np.asarray(found.lanes.z[:, found.best]), float(found.lanes.local.f[found.best])
    certificate, basins = _certificate(found), _basins(problem, found)
    if problem.noise.loss.vertex:
        z, objective, certificate = vertex(problem, z, wide.response, wide.weight)
        basins = _at_vertices(problem, found, wide)
    await_compiled(linearise, (problem, z, wide.response))
    optimum = optimum_of(problem, z, wide.response, wide.weight)
    hessian = np.asarray(found.lanes.local.exact)[..., found.best]
    return Solved(optimum, hessian, objective, certificate, found, _landscape(found, basins), wide)


def _certificate(found: SearchResult) -> float:
    """The further decrease that a Newton step promises, relative; 0 where that is lost in rounding."""
    local, promise = found.lanes.local, float(found.lanes.decrement[found.best])
    relative = promise / max(abs(float(local.f[found.best])), np.finfo(float).tiny)
    return 0.0 if relative > CERTIFIED and promise <= float(local.rounding[found.best]) else relative


def _landscape(found: SearchResult, basins: tuple[Basin, ...]) -> Landscape:
    """The starts and minima of a search, at most :data:`LISTED` of these."""
    met = found.landscape
    return Landscape(met.scored, met.polished, met.converged, met.independent, met.agree, met.agree_all, basins)


def _basins(problem: Problem, found: SearchResult) -> tuple[Basin, ...]:
    lanes = found.lanes
    return tuple(
        _basin(problem, np.asarray(lanes.z[:, basin.lane]), basin.objective, basin.count)
        for basin in found.landscape.basins[:LISTED]
    )


def _basin(problem: Problem, z: np.ndarray, objective: float, count: int) -> Basin:
    params = params_at(problem, z)
    named = {name: float(params[name]) for name in problem.law.parameters}
    return Basin(objective, count, named)


def _at_vertices(problem: Problem, found: SearchResult, wide: Observations) -> tuple[Basin, ...]:
    """The basins of an absolute loss, each at its exact vertex; the descent ended at a smoothed one."""
    ends = []
    for basin in found.landscape.basins[:LISTED]:
        z, objective, _ = vertex(problem, np.asarray(found.lanes.z[:, basin.lane]), wide.response, wide.weight)
        ends.append(_basin(problem, z, objective, basin.count))
    return tuple(sorted(ends, key=lambda end: end.objective))
