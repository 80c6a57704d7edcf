"""Least absolute deviations: the exact vertex of a fit by sequential linear programming."""

import numpy as np
from jaxtyping import Float

from jaxscale.engine.linearize import linearise
from jaxscale.engine.objective import Problem


def vertex(
    problem: Problem,
    z: Float[np.ndarray, " size"],
    response: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
    most: int = 60,
) -> tuple[Float[np.ndarray, " size"], float, float]:
    """Exact minimum of the absolute loss near z, by linear programmes in a trust region.

    Args:
        problem: law, inputs, noise.
        z: coordinates near a minimum, shape (size,).
        response: shape (n,).
        weight: shape (n,).
        most: maximum number of linear programmes.

    Returns:
        Coordinates, objective ``sum w |r|``, and the relative decrease that the last programme predicted.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    rows = np.flatnonzero(weight > 0)
    w = weight[rows]

    def at(z: Float[np.ndarray, " size"]) -> tuple[Float[np.ndarray, " used"], Float[np.ndarray, "used size"], float]:
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
