"""What a person should know about an optimum: bounds, flat directions, starts that disagree."""

import numpy as np

from jaxscale import kernel
from jaxscale.adequacy import comparable
from jaxscale.kernel import STATUS
from jaxscale.law import positive, unit
from jaxscale.linear import Linear
from jaxscale.notices import Notice
from jaxscale.objective import Problem
from jaxscale.search import Found, Landscape

# An optimum is certified when one more Newton step promises less than this share of the objective.
CERTIFIED = 1e-8


def judged(
    problem: Problem,
    found: Found,
    linear: Linear,
    z: np.ndarray,
    certificate: float,
    weight: np.ndarray,
) -> tuple[list[Notice], str]:
    """What a person should know about the optimum, and the status of the fit."""
    notices = [*_bounds(problem, linear, z), *_flat(problem, linear, weight)]
    landscape = found.landscape
    lane = int(found.lanes.status[found.best])
    status = "converged"
    # Fewer agreeing starts than this leave open whether the best optimum is the global one.
    wanted = min(3, landscape.polished)
    if landscape.agree_all < max(wanted, landscape.polished // 20):
        status = "starts_disagree"
        said = f"only {landscape.agree_all} of {landscape.polished} polished starts ended at the best objective"
        notices.append(Notice("starts_disagree", said[0].upper() + said[1:] + "."))
    else:
        notices += _landscape(landscape, problem.noise.loss, int(np.sum(weight > 0)) - len(problem.free))
    if not certificate <= CERTIFIED and lane != kernel.FLAT:
        status = "not_converged"
        promise = f"{certificate:.1e}" if np.isfinite(certificate) else "an unknown amount"
        notices.append(Notice("not_converged", f"The descent ended as {STATUS[lane]}; a further step gains {promise}."))
    return notices, status


def _landscape(landscape: Landscape, loss: str, freedom: int) -> list[Notice]:
    """Independent starts that all ended elsewhere, and other minima near the best one."""
    notices, alone = [], landscape.agree == 0 and landscape.agree_all < landscape.polished // 4
    # Only promising starts agree then: they crowd around the best one scored, and say little of what else there is.
    if landscape.independent >= 8 and alone:
        said = f"None of the {landscape.independent} independent starts ended at the best objective"
        others = f"{landscape.agree_all} of all {landscape.polished} polished starts did"
        notices.append(Notice("independent_starts_disagree", f"{said}; {others}."))
    best, *others = landscape.basins
    near = [basin for basin in others if comparable(basin.objective, best.objective, loss, freedom)]
    if near:
        told = ", ".join(f"{basin.objective:.10g} ({basin.count})" for basin in near[:3])
        notices.append(Notice("other_basins", f"Polished starts also ended at objective {told}."))
    return notices


def _bounds(problem: Problem, linear: Linear, z: np.ndarray) -> list[Notice]:
    notices = []
    size = float(problem.centre.response_size) or 1.0
    for k, name in enumerate(problem.free):
        kind, value = problem.law.parameters[name], float(linear.params[name])
        low, high = kind.range
        gone = {
            "floor": kind.support is positive and value < 1e-6 * size,
            "amplitude": kind.support is positive and float(np.exp(z[k])) < 1e-6 * size,
            "exponent": kind.support is positive and value < 1e-4,
        }.get(kind.kind, kind.support is positive and value < 1e-3 * low)
        if gone or (kind.support is unit and min(value, 1 - value) < 1e-6):
            notices.append(Notice("at_bound", f"{name} = {value:.6g} has run to the edge of its support."))
        elif kind.declared and not low <= value <= high:
            notices.append(Notice("outside_range", f"{name} = {value:.6g} lies outside {low:g} to {high:g}."))
    return notices


def _flat(problem: Problem, linear: Linear, weight: np.ndarray) -> list[Notice]:
    """Directions in which the prediction does not move, by the smallest singular vector."""
    slope = linear.slope[weight > 0][:, : len(problem.free)]
    size = np.linalg.norm(slope, axis=0)
    still = [name for name, s in zip(problem.free, size, strict=True) if not s > 1e-9 * size.max()]
    if still:
        return [Notice("flat", f"The predictions do not depend on {', '.join(still)} at the optimum.")]
    _, values, vectors = np.linalg.svd(slope / size, full_matrices=False)
    if values[-1] > 1e-6 * values[0]:
        return []
    share = np.abs(vectors[-1])
    names = [name for name, s in zip(problem.free, share, strict=True) if s > 0.3 * share.max()]
    return [Notice("flat", f"{' and '.join(names)} trade off: the runs do not separate them.")]
