"""Convergence diagnostics of an optimum: active bounds, flat directions, disagreeing starts."""

import numpy as np

from jaxscale.engine import newton
from jaxscale.engine.bounds import at_bounds
from jaxscale.engine.multistart import Landscape, SearchResult, comparable
from jaxscale.engine.newton import STATUS
from jaxscale.engine.optimum import Optimum
from jaxscale.law.coordinates import has_relative_range, units_of
from jaxscale.noise.loss import Loss
from jaxscale.utils.notices import Notice

# An optimum is certified when the predicted relative decrease of one more Newton step is below this.
CERTIFIED = 1e-8


def convergence(optimum: Optimum, result: SearchResult, certificate: float) -> tuple[list[Notice], str]:
    """Notices on the optimum of a search, and the status of the fit.

    Args:
        optimum: the problem at its optimum.
        result: the search that ended there.
        certificate: predicted decrease of a further Newton step, relative to the objective.
    """
    notices = [*_bounds(optimum), *_flat(optimum)]
    landscape = result.landscape
    lane = int(result.lanes.status[result.best])
    status = "converged"
    # With fewer agreeing starts the best optimum may not be global.
    least = min(3, landscape.polished)
    if landscape.agree_all < max(least, landscape.polished // 20):
        status = "starts_disagree"
        message = f"only {landscape.agree_all} of {landscape.polished} polished starts ended at the best objective"
        notices.append(Notice("starts_disagree", message[0].upper() + message[1:] + "."))
    else:
        notices += _landscape(landscape, optimum.problem.noise.loss, optimum.freedom)
    if not certificate <= CERTIFIED and lane != newton.FLAT:
        status = "not_converged"
        decrement = f"{certificate:.1e}" if np.isfinite(certificate) else "unknown"
        message = (
            f"The descent ended as {STATUS[lane]}; the predicted relative decrease of a further step is {decrement}."
        )
        notices.append(Notice("not_converged", message))
    return notices, status


def _landscape(landscape: Landscape, loss: Loss, freedom: int) -> list[Notice]:
    """Notices on independent starts that all ended elsewhere, and on other minima near the best one."""
    notices, disagree = [], landscape.agree == 0 and landscape.agree_all < landscape.polished // 4
    # Then only the best-scored starts agree, which lie close together and explore little.
    if landscape.independent >= 8 and disagree:
        message = f"None of the {landscape.independent} independent starts ended at the best objective"
        others = f"{landscape.agree_all} of all {landscape.polished} polished starts did"
        notices.append(Notice("independent_starts_disagree", f"{message}; {others}."))
    best, *others = landscape.basins
    near = [basin for basin in others if comparable(basin.objective, best.objective, loss, freedom)]
    if near:
        objectives = ", ".join(f"{basin.objective:.10g} ({basin.count})" for basin in near[:3])
        notices.append(Notice("other_basins", f"Polished starts also ended at objective {objectives}."))
    return notices


def _bounds(optimum: Optimum) -> list[Notice]:
    """Notices on parameters at a bound of their support or outside their declared range."""
    problem, linear, used = optimum.problem, optimum.linear, optimum.used
    ends = at_bounds(optimum)
    inputs = {name: np.asarray(problem.inputs[name])[..., used] for name in problem.law.inputs}
    units = units_of(problem.law, inputs, None, np)
    notices = []
    for name in problem.free:
        kind, value = problem.law.parameters[name], float(linear.params[name])
        if name in ends:
            other = problem.law.either_sign
            sign = f"; {other} allows the other sign" if other and ends[name] == 0 else ""
            notices.append(Notice("at_bound", f"{name} is at {ends[name]:g}, the bound of its support{sign}."))
        elif kind.declared and has_relative_range(problem.law, name):
            low, high = (end * float(units.get(name, 1.0)) for end in kind.range)
            # Converting a bound to another unit rounds it.
            slack = 1e-9 * max(abs(low), abs(high))
            if not low - slack <= value <= high + slack:
                notices.append(Notice("outside_range", f"{name} = {value:.6g} lies outside {low:.3g} to {high:.3g}."))
    return notices


def _flat(optimum: Optimum) -> list[Notice]:
    """Notice on a direction in which predictions are flat, from the smallest singular vector of the Jacobian.

    Columns of the Jacobian are normalised, so the result does not depend on units. Parameters at a bound are left out:
    they have their own notice.
    """
    problem, linear, used = optimum.problem, optimum.linear, optimum.used
    ends = at_bounds(optimum)
    names = [name for name in problem.free if name not in ends]
    if not names:
        return []
    columns = [k for k, name in enumerate(problem.free) if name in names]
    slope = linear.jacobian[used][:, columns]
    size = np.linalg.norm(slope, axis=0)
    # A column counts as 0 where neither the parameter's value nor its unit changes the prediction.
    units = [max(abs(float(linear.params[name])), float(problem.centre.unit.get(name, 1.0))) for name in names]
    level = np.linalg.norm(np.asarray(problem.noise.transform(linear.prediction))[used]) + 1.0
    still = [name for name, s, u in zip(names, size, units, strict=True) if not s * u > 1e-13 * level]
    if still:
        return [Notice("flat", f"The predictions do not depend on {', '.join(still)} at the optimum.")]
    _, values, vectors = np.linalg.svd(slope / size, full_matrices=False)
    if values[-1] > 1e-6 * values[0]:
        return []
    share = np.abs(vectors[-1])
    parameters = [name for name, s in zip(names, share, strict=True) if s > 0.3 * share.max()]
    return [Notice("flat", f"{' and '.join(parameters)} trade off: the runs do not separate them.")]
