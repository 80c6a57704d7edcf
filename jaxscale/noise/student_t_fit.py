"""Maximum likelihood fit of a Student-t distribution about zero."""

import numpy as np
from jaxtyping import Float

LARGEST_DF = 200.0


def student_t_fit(u: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Maximum likelihood degrees of freedom (1 to :data:`LARGEST_DF`) and scale of a Student-t distribution about 0.

    Args:
        u: shape (n,).
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln

    unit = max(float(np.median(np.abs(u))), float(np.finfo(float).tiny))

    def cost(x: Float[np.ndarray, " 2"]) -> float:
        df, s = np.exp(x)
        constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df) - np.log(s)
        return -float(len(u) * constant - (df + 1) / 2 * np.sum(np.log1p((u / unit / s) ** 2 / df)))

    bounds = [(0.0, np.log(LARGEST_DF)), (-20.0, 20.0)]
    ends = [minimize(cost, [np.log(df), 0.3], bounds=bounds, method="L-BFGS-B") for df in (2.0, 10.0)]
    df, s = np.exp(min(ends, key=lambda end: end.fun).x)
    return float(df), float(unit * s)
