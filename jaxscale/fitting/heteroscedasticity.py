"""Test of heteroscedasticity: regression of squared residuals on prediction, inputs and leverage."""

import numpy as np
from jaxtyping import Float

from jaxscale.engine.optimum import Optimum
from jaxscale.fitting.sandwich import bread

# Fewest degrees of freedom, below which the test has little power and HC3 is unstable; significance level.
FEWEST, REJECTED = 15, 0.01


def heteroscedasticity_test(optimum: Optimum, residual: Float[np.ndarray, " row"]) -> str:
    """Koenker's studentised Breusch-Pagan test: its result in words where it rejects homoscedasticity, else empty.

    ``n R^2`` of the regression of the squared residuals on the prediction, the inputs (logarithms where these are
    positive) and the leverages is chi-squared under homoscedasticity.

    Source:
        Koenker, Journal of Econometrics 17 (1981).

    Args:
        optimum: the problem at its optimum.
        residual: shape (n,).
    """
    weight, used, rows = optimum.weight, optimum.used, optimum.rows
    if optimum.freedom < FEWEST:
        return ""
    from scipy.special import chdtrc

    squares = (weight * np.asarray(residual) ** 2)[used]
    goal = squares - squares.mean()
    total = float(goal @ goal)
    if not (np.isfinite(total) and total > 0):
        return ""
    table = _regressors(optimum)[used]
    table = table - table.mean(axis=0)
    size = np.linalg.norm(table, axis=0)
    left, values, _ = np.linalg.svd(table[:, size > 0] / size[size > 0], full_matrices=False)
    basis = left[:, values > 1e-6 * values.max(initial=0.0)]
    share = float(np.sum((basis.T @ goal) ** 2)) / total
    p = float(chdtrc(basis.shape[1], rows * share)) if basis.shape[1] else 1.0
    if p >= REJECTED:
        return ""
    p_text = f"p = {p:.2g}" if p >= 1e-6 else "p < 1e-6"
    return f"the residuals are heteroscedastic (Breusch-Pagan-Koenker test: {p_text})"


def _regressors(optimum: Optimum) -> Float[np.ndarray, "row column"]:
    """Regressors of the variance, shape (n, k)."""
    problem, linear, weight = optimum.problem, optimum.linear, optimum.weight
    columns = [np.asarray(problem.noise.transform(np.asarray(linear.prediction)))]
    columns += [bread(np.asarray(linear.jacobian), weight)[2]]
    for name, kind in problem.law.inputs.items():
        x = np.asarray(problem.inputs[name], float)
        if kind.categories:
            columns += [(x == place).astype(float) for place in range(1, len(kind.categories))]
        elif x.ndim == 1:
            columns.append(np.log(x) if kind.low >= 0 else x)
    table = np.stack(columns, axis=1)
    return np.where(np.isfinite(table), table, 0.0)
