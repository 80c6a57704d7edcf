"""Huber loss with a given threshold, with a threshold relative to a fitted scale, or asymmetric."""

import numpy as np

from jaxscale.noise.loss import validate_positive
from jaxscale.noise.losses.asymmetric_huber import AsymmetricHuber
from jaxscale.noise.losses.huber_with_scale import HuberWithScale
from jaxscale.noise.losses.symmetric_huber import Huber
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space, space_of
from jaxscale.utils.arrays import Numbers
from jaxscale.utils.errors import ArgumentError


def huber(delta: Numbers | str = 1e-3, space: str | Space = "log", over: Numbers | str = 1.0) -> Noise:
    """Huber loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta * (|r| - delta / 2)``.

    >>> huber(0.01).describe()
    'huber(delta=0.01) on log residuals'

    Args:
        delta: Huber threshold: a number in the unit of the residuals (0.001 unless given), or "scale" for 1.345 times
            the scale of the residuals, fitted jointly (Huber's proposal 2; the default of fits without a noise).
        space: residual space.
        over: Huber factor on the loss where the prediction exceeds the response; with 10 the law follows the lower
            envelope of the responses, which is robust to failed runs.

    Raises:
        ValueError: a setting is not positive, or ``over`` is given together with a fitted scale.

    Source:
        Huber, Robust estimation of a location parameter, 1964; Huber and Ronchetti, Robust Statistics, 2009, chapter 7.
    """
    factor, space = validate_positive("over", over), space_of(space)
    symmetric = isinstance(factor, np.ndarray) and bool(np.all(factor == 1))
    if isinstance(delta, str) and delta == "scale":
        if not symmetric:
            raise ArgumentError("over", f"must be 1 where delta is 'scale', but is {over!r}; give delta a number.")
        return Noise(HuberWithScale(), space)
    if isinstance(delta, str):
        delta = _number(delta)
    delta = validate_positive("delta", delta)
    return Noise(Huber(delta) if symmetric else AsymmetricHuber(delta, factor), space)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError("delta", f"must be a positive number or 'scale', but is {text!r}.") from None
