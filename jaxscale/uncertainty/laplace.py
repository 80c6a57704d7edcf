"""Standard errors from the curvature at the optimum: classical and sandwich."""

import numpy as np


def classical(jacobian: np.ndarray, residual: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, int]:
    """Covariance of least squares, ``s^2 (J' W J)^-1`` with ``s^2 = sum w r^2 / (n - p)``.

    By a QR of the column-scaled Jacobian: normal equations would square its condition.

    Args:
        jacobian: residuals' derivative in the parameters, shape (n, p).
        residual: shape (n,).
        weight: shape (n,); rows of weight 0 do not count.

    Returns:
        Covariance of shape (p, p), infinite where the Jacobian has no full rank, and n - p.
    """
    used = weight > 0
    root = np.sqrt(weight[used])
    matrix = jacobian[used] * root[:, None]
    rows, columns = matrix.shape
    freedom = rows - columns
    scale = np.linalg.norm(matrix, axis=0)
    if freedom <= 0 or not np.all(scale > 0) or not np.all(np.isfinite(scale)):
        return np.full((columns, columns), np.inf), freedom
    triangle = np.linalg.qr(matrix / scale, mode="r")
    diagonal = np.abs(np.diag(triangle))
    if diagonal.min() <= rows * np.finfo(float).eps * diagonal.max():
        return np.full((columns, columns), np.inf), freedom
    inverse = np.linalg.solve(triangle, np.eye(columns)) / scale[:, None]
    variance = np.sum((root * residual[used]) ** 2) / freedom
    return variance * inverse @ inverse.T, freedom


def sandwich(
    hessian: np.ndarray,
    scores: np.ndarray,
    change: np.ndarray,
    run: np.ndarray | None,
    bend: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Robust covariance ``H^-1 (sum s s') H^-1``, scores summed within runs where these repeat.

    With ``bend`` each run is left out in turn instead, ``d_g = (H - H_g)^-1 s_g``, and the covariance is
    ``(G - 1) / G * sum d_g d_g'``: with few runs the plain sums are too small (the jackknife, "CR3").

    Args:
        hessian: of the objective in the coordinates, shape (q, q).
        scores: gradient of every used row's loss in the coordinates, shape (n, q).
        change: derivative of the parameters in the coordinates, shape (p, q).
        run: codes of the rows' runs, shape (n,), or None for independent rows.
        bend: every row's share of the Hessian, shape (n, q, q).

    Returns:
        Covariance of shape (p, p) and the degrees of freedom of its t quantiles (runs - 1, or n - q).
    """
    rows, size = scores.shape
    codes = np.arange(rows) if run is None else np.unique(run, return_inverse=True)[1]
    groups = int(codes.max()) + 1
    freedom = rows - size if run is None else groups - 1
    unit = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), np.finfo(float).tiny))
    scaled = hessian * np.outer(unit, unit)
    values = np.linalg.eigvalsh(scaled)
    if freedom <= 0 or values[0] <= size * np.finfo(float).eps * values[-1]:
        return np.full((len(change), len(change)), np.inf), freedom
    sums = np.zeros((groups, size))
    np.add.at(sums, codes, scores * unit)
    matrices, factor = np.broadcast_to(scaled, (groups, size, size)), rows / max(rows - size, 1)
    if run is not None:
        factor = groups / max(groups - 1, 1) * (rows - 1) / max(rows - size, 1)
        if bend is not None:
            shares = np.zeros((groups, size, size))
            np.add.at(shares, codes, bend * np.outer(unit, unit))
            matrices, factor = scaled - shares, (groups - 1) / groups
            if np.linalg.eigvalsh(matrices).min() <= size * np.finfo(float).eps * values[-1]:
                # Without one of the runs the parameters are not identified at all.
                return np.full((len(change), len(change)), np.inf), freedom
    moves = np.linalg.solve(matrices, sums[:, :, None])[:, :, 0] @ (change * unit).T
    return factor * moves.T @ moves, freedom
