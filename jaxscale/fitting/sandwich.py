"""Covariance estimators from the curvature at the optimum: classical, HC3 and sandwich.

An undetermined direction makes only the variances of its parameters infinite.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

# Components of an undetermined direction above this are not rounding errors.
COMPONENT = 1e-6


def bread(
    jacobian: Float[np.ndarray, "row free"], weight: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, "free rank"], Bool[np.ndarray, " free"], Float[np.ndarray, " row"]]:
    """The inverse of ``J' W J`` by singular value decomposition; normal equations would square the condition number.

    Args:
        jacobian: residuals' derivative in the parameters, shape (n, p).
        weight: shape (n,); rows of weight 0 do not count.

    Returns:
        A root R with ``(J' W J)^-1 = R R'``, shape (p, p), without directions of no information; which parameters
        those directions involve, shape (p,); leverages, shape (n,), 0 for rows of weight 0.
    """
    matrix = jacobian * np.sqrt(weight)[:, None]
    matrix = np.where(weight[:, None] > 0, matrix, 0.0)
    size = np.linalg.norm(matrix, axis=0)
    lost = ~((size > 0) & np.isfinite(size))
    scaled = np.where(lost, 0.0, matrix / np.where(lost, 1.0, size))
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    known = values > max(np.sum(weight > 0), matrix.shape[1]) * np.finfo(float).eps * values.max(initial=0.0)
    if len(values) < matrix.shape[1]:
        return np.zeros((matrix.shape[1],) * 2), np.ones(matrix.shape[1], bool), np.ones(len(weight))
    lost |= np.any(~known[:, None] & (np.abs(right) > COMPONENT), axis=0)
    root = (right[known].T / values[known]) / np.where(size > 0, size, 1.0)[:, None]
    return root, lost, np.sum(left[:, known] ** 2, axis=1)


def classical(
    jacobian: Float[np.ndarray, "row free"], residual: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, "free free"], int]:
    """Covariance of least squares, ``s^2 (J' W J)^-1`` with ``s^2 = sum w r^2 / (n - p)``.

    Args:
        jacobian: residuals' derivative in the parameters, shape (n, p).
        residual: shape (n,).
        weight: shape (n,); rows of weight 0 do not count.

    Returns:
        Covariance of shape (p, p), infinite for parameters that the rows do not determine, and n - p.
    """
    used = weight > 0
    freedom = int(used.sum()) - jacobian.shape[1]
    if freedom <= 0:
        return np.full((jacobian.shape[1],) * 2, np.inf), freedom
    root, lost, _ = bread(jacobian, weight)
    variance = np.sum(weight[used] * residual[used] ** 2) / freedom
    return mark_infinite(variance * root @ root.T, lost), freedom


def hc3(
    jacobian: Float[np.ndarray, "row free"], residual: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, "free free"], int]:
    """Heteroscedasticity-consistent covariance of least squares (HC3), with ``r_i / (1 - h_i)`` in place of the noise.

    Args:
        jacobian: residuals' derivative in the parameters, shape (n, p).
        residual: shape (n,).
        weight: shape (n,); rows of weight 0 do not count.

    Returns:
        Covariance of shape (p, p), infinite for parameters that the rows do not determine, and n - p.

    Source:
        MacKinnon and White, Journal of Econometrics 29 (1985).
    """
    used = weight > 0
    freedom = int(used.sum()) - jacobian.shape[1]
    if freedom <= 0:
        return np.full((jacobian.shape[1],) * 2, np.inf), freedom
    root, lost, leverage = bread(jacobian, weight)
    # A row of leverage 1 has a residual of zero.
    noise = residual / np.where(leverage < 1 - 1e-10, 1 - leverage, 1.0)
    scores = (weight * np.where(used, noise, 0.0))[:, None] * np.where(used[:, None], jacobian, 0.0)
    moves = scores @ root @ root.T
    return mark_infinite(moves.T @ moves, lost), freedom


def mark_infinite(
    covariance: Float[np.ndarray, "free free"], lost: Bool[np.ndarray, " free"]
) -> Float[np.ndarray, "free free"]:
    """A covariance with infinite entries for the given parameters."""
    return np.where(lost[:, None] | lost, np.inf, covariance)


def sandwich(
    hessian: Float[np.ndarray, "size size"],
    scores: Float[np.ndarray, "row size"],
    change: Float[np.ndarray, "quantity size"],
    run: Int[np.ndarray, " row"] | None,
    bend: Float[np.ndarray, "row size size"] | None = None,
) -> tuple[Float[np.ndarray, "quantity quantity"], int]:
    """Sandwich covariance ``H^-1 (sum s s') H^-1``; with runs cluster-robust, from scores summed within runs.

    With ``bend`` each run is left out in turn instead, ``d_g = (H - H_g)^-1 s_g``, and the covariance is
    ``(G - 1) / G * sum d_g d_g'`` (the cluster jackknife, CR3): with few runs the plain sums are too small.

    Args:
        hessian: of the objective in the coordinates, shape (q, q).
        scores: gradient of every used row's loss in the coordinates, shape (n, q).
        change: derivative of the parameters in the coordinates, shape (p, q).
        run: codes of the rows' runs, shape (n,), or None for independent rows.
        bend: every row's share of the Hessian, shape (n, q, q).

    Returns:
        Covariance of shape (p, p), infinite for parameters that the rows do not determine, and the degrees of freedom
        of its t quantiles (runs - 1, or n - q).
    """
    rows, size = scores.shape
    codes = np.arange(rows) if run is None else np.unique(run, return_inverse=True)[1]
    groups = int(codes.max()) + 1
    freedom = rows - size if run is None else groups - 1
    unit = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), np.finfo(float).tiny))
    scaled = hessian * np.outer(unit, unit)
    if freedom <= 0 or not np.all(np.isfinite(scaled)):
        return np.full((len(change), len(change)), np.inf), freedom
    values, vectors = np.linalg.eigh(scaled)
    rounding = size * np.finfo(float).eps * values[-1]
    if values[0] < -rounding:
        return np.full((len(change), len(change)), np.inf), freedom
    known = values > rounding
    sums = np.zeros((groups, size))
    np.add.at(sums, codes, scores * unit)
    factor = rows / max(rows - size, 1)
    inverse: np.ndarray = (vectors[:, known] / values[known]) @ vectors[:, known].T
    moves = sums @ inverse
    if run is not None:
        factor = groups / max(groups - 1, 1) * (rows - 1) / max(rows - size, 1)
        if bend is not None and known.all():
            shares = np.zeros((groups, size, size))
            np.add.at(shares, codes, bend * np.outer(unit, unit))
            matrices, factor = scaled - shares, (groups - 1) / groups
            if np.linalg.eigvalsh(matrices).min() <= size * np.finfo(float).eps * values[-1]:
                # Without one of the runs the parameters are not identified at all.
                return np.full((len(change), len(change)), np.inf), freedom
            moves = np.linalg.solve(matrices, sums[:, :, None])[:, :, 0]
    moves = moves @ (change * unit).T
    moved = np.abs((change * unit) @ vectors[:, ~known]) if not known.all() else np.zeros((len(change), 1))
    lost = np.any(moved > COMPONENT * np.linalg.norm(change * unit, axis=1, keepdims=True), axis=1)
    return mark_infinite(factor * moves.T @ moves, lost), freedom
