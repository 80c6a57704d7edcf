"""Known measurement errors: inverse-variance weights and a goodness-of-fit test."""

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxscale.data.observations import Observations
from jaxscale.noise import Noise
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice

# Significance level of the chi-squared test of the residuals against the known errors.
SIGNIFICANCE = 1e-3


def weight_by_errors(observations: Observations, noise: Noise) -> Observations:
    """Multiply weights by inverse variances, ``w / sigma_t^2`` with ``sigma_t`` in the noise's space.

    Args:
        observations: observations; returned unchanged if they have no known errors.
        noise: squared error, in any space.

    Raises:
        ValueError: the noise is not squared error.
    """
    if observations.sigma is None:
        return observations
    if not noise.loss.quadratic:
        raise ArgumentError(
            "noise",
            f"must be squared error where every row has a known error (sigma), but is "
            f"{noise.describe()}; leave it out.",
        )
    y = observations.response
    errors = observations.sigma * noise.space.derivative(y)
    return dataclasses.replace(observations, weight=observations.weight / errors**2)


def scatter_notice(residual: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], free: int) -> list[Notice]:
    """Notice if the residuals are larger than the known errors allow (chi-squared test).

    Args:
        residual: shape (n,).
        weight: inverse variances, shape (n,).
        free: number of free parameters.
    """
    from scipy.special import chdtrc

    freedom, total = int(np.sum(weight > 0)) - free, float(np.sum(weight * residual**2))
    if freedom <= 0 or chdtrc(freedom, total) >= SIGNIFICANCE:
        return []
    message = f"Residuals are {np.sqrt(total / freedom):.3g} times as large as the known errors imply"
    counted = f"chi-squared {total:.4g} with {freedom} {'degree' if freedom == 1 else 'degrees'} of freedom"
    return [Notice("scatter_exceeds_errors", f"{message} ({counted}).")]
