"""Global optimisation of a fit: multistart search, certificate of the optimum, basins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

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
class SearchSettings:
    """Settings of a search: numbers of scored and polished starts, or explicit starts."""

    count: int
    polish: int
    explicit: StartGrid | StartList | None


@dataclass(frozen=True)
class SearchOutcome:
    """Result of a search: optimum, Hessian of the objective, certificate and basins."""

    optimum: Optimum
    hessian: Float[np.ndarray, "size size"]
    objective: float
    certificate: float
    found: SearchResult
    landscape: Landscape
    wide: Observations


def problem_of(
    law: Law, free: tuple[str, ...], values: Mapping[str, float], noise: Noise, rows: Observations
) -> tuple[Problem, Observations]:
    """The optimisation problem of a fit, and its rows padded to a size bucket."""
    wide = pad(rows, bucket(len(rows)))
    centre = centre_of(law, rows.inputs, noise.loss.interior(rows.response), np)
    fixed = {name: np.asarray(value, float) for name, value in values.items()}
    inputs = {name: wide.inputs[name] for name in (*law.inputs, *noise.loss.columns)}
    return Problem(law, free, noise, inputs, fixed, centre), wide


def optimise(problem: Problem, wide: Observations, resampling: Resampling, settings: SearchSettings) -> SearchOutcome:
    """Search for the optimum; call it inside ``jax.enable_x64(True)``."""
    task = Task(problem, wide.response, wide.weight, resampling.runner)
    task.prepare()
    compile_ahead(linearise, (problem, np.zeros(problem.size), wide.response))
    result = search(
        task,
        count=settings.count,
        polish=settings.polish,
        explicit=settings.explicit,
        generator=resampling.generator,
    )
    z, objective = np.asarray(result.lanes.z[:, result.best]), float(result.lanes.local.f[result.best])
    certificate, basins = _certificate(result), _basins(problem, result)
    if problem.noise.loss.vertex:
        z, objective, certificate = vertex(problem, z, wide.response, wide.weight)
        basins = _at_vertices(problem, result, wide)
    await_compiled(linearise, (problem, z, wide.response))
    optimum = optimum_of(problem, z, wide.response, wide.weight)
    hessian = np.asarray(result.lanes.local.exact)[..., result.best]
    return SearchOutcome(optimum, hessian, objective, certificate, result, _landscape(result, basins), wide)


def _certificate(result: SearchResult) -> float:
    """Predicted relative decrease of a further Newton step; 0 where it is below rounding error."""
    local, decrement = result.lanes.local, float(result.lanes.decrement[result.best])
    relative = decrement / max(abs(float(local.f[result.best])), np.finfo(float).tiny)
    return 0.0 if relative > CERTIFIED and decrement <= float(local.rounding[result.best]) else relative


def _landscape(result: SearchResult, basins: tuple[Basin, ...]) -> Landscape:
    """Starts and minima of a search, at most :data:`LISTED` minima."""
    landscape = result.landscape
    return Landscape(
        landscape.scored,
        landscape.polished,
        landscape.converged,
        landscape.independent,
        landscape.agree,
        landscape.agree_all,
        basins,
    )


def _basins(problem: Problem, result: SearchResult) -> tuple[Basin, ...]:
    lanes = result.lanes
    return tuple(
        _basin(problem, np.asarray(lanes.z[:, basin.lane]), basin.objective, basin.count)
        for basin in result.landscape.basins[:LISTED]
    )


def _basin(problem: Problem, z: Float[np.ndarray, " size"], objective: float, count: int) -> Basin:
    params = params_at(problem, z)
    values = {name: float(params[name]) for name in problem.law.parameters}
    return Basin(objective, count, values)


def _at_vertices(problem: Problem, result: SearchResult, wide: Observations) -> tuple[Basin, ...]:
    """The basins of an absolute loss at their exact vertices; the descent minimises a smoothed loss."""
    ends = []
    for basin in result.landscape.basins[:LISTED]:
        z, objective, _ = vertex(problem, np.asarray(result.lanes.z[:, basin.lane]), wide.response, wide.weight)
        ends.append(_basin(problem, z, objective, basin.count))
    return tuple(sorted(ends, key=lambda end: end.objective))
