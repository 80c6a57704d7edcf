"""Known measurement errors: rows weighted by the inverse variance of what is known of each response."""

import dataclasses

import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.noise import Noise
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.notices import Notice

# Scatter beyond the stated errors is said where it would be so large by chance in one of a thousand data sets.
REJECTED = 1e-3


def weighted(observations: Observations, noise: Noise) -> Observations:
    """Observations whose weights hold the known errors, ``w / sigma_t^2`` with ``sigma_t`` in the noise's space.

    Args:
        observations: as they were read; those without errors are handed back.
        noise: squared error, in any space.

    Raises:
        ValueError: the noise is another.
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


def scatter(residual: np.ndarray, weight: np.ndarray, free: int) -> list[Notice]:
    """A notice where the residuals are larger than the known errors allow.

    Args:
        residual: shape (n,).
        weight: inverse variances, shape (n,).
        free: number of free parameters.
    """
    from scipy.special import chdtrc

    freedom, total = int(np.sum(weight > 0)) - free, float(np.sum(weight * residual**2))
    if freedom <= 0 or chdtrc(freedom, total) >= REJECTED:
        return []
    said = f"Residuals are {np.sqrt(total / freedom):.3g} times as large as the known errors say"
    counted = f"chi-squared {total:.4g} with {freedom} {'degree' if freedom == 1 else 'degrees'} of freedom"
    return [Notice("scatter_exceeds_errors", f"{said} ({counted}).")]
