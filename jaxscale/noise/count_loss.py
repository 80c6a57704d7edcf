"""Negative log likelihood of counts as the loss of a fit."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Real

from jaxscale.noise.count_likelihoods import CountLikelihood
from jaxscale.noise.likelihood import Likelihood
from jaxscale.noise.loss import Loss
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import SPACES
from jaxscale.utils.arrays import Array, Numbers


class CountLoss(Loss):
    """Negative log probability of a count, ``-log p(y; law)``.

    It is a function of prediction and response, not of their difference: the engine calls :meth:`cost` and
    :meth:`derivatives` in place of ``value`` and ``slopes``. A nuisance parameter is fitted as the scale of the noise.

    Args:
        likelihood: the likelihood of the counts, bound to its columns.
    """

    name: ClassVar[str] = "counts"
    in_nats: ClassVar[bool] = True
    counts: ClassVar[bool] = True
    likelihood: CountLikelihood

    @property
    def columns(self) -> tuple[str, ...]:
        """Inputs that the likelihood needs in addition to those of the law."""
        return self.likelihood.columns

    @property
    def infers_scale(self) -> bool:
        """Whether the likelihood has a nuisance parameter."""
        return bool(self.likelihood.sites)

    @property
    def settings(self) -> dict[str, Any]:
        """Name of the likelihood and its column of trials."""
        return {"likelihood": self.likelihood.name} | dict(zip(("trials",), self.columns, strict=False))

    def describe(self, scale: float | None = None) -> str:
        """Description of the likelihood, with its fitted nuisance parameter.

        Args:
            scale: the nuisance parameter.
        """
        named = "" if scale is None else "".join(f" ({name} = {scale:.4g})" for name in self.likelihood.sites)
        return self.likelihood.describe() + named

    def initial_scale(self, mean: Float[Array, "*lane"]) -> Float[Array, "*lane"]:
        """Initial value of the nuisance parameter, in the shape of the mean absolute residuals."""
        return jnp.full_like(mean, next(iter(self.likelihood.sites.values())).initial)

    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Move responses off the ends of their range."""
        return self.likelihood.interior(response)

    def cost(
        self,
        m: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        log_scale: Numbers,
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Negative log probability ``-log p(y; m)`` of every row; infinite where m is not a valid mean.

        Args:
            m: predictions, shape (..., n).
            y: responses, shape (..., n).
            log_scale: logarithm of the nuisance parameter.
            data: columns of the likelihood, shape (n,).
        """
        inside = self._is_valid_mean(m)
        sites = {name: jnp.exp(log_scale) for name in self.likelihood.sites}
        columns = self._beside(m, data)
        cost = -self.likelihood.log_prob(sites, jnp.where(inside, m, self.likelihood.middle), y, columns)
        return jnp.where(inside, cost, jnp.inf)

    def derivatives(
        self,
        m: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        log_scale: Numbers,
        data: Mapping[str, Real[Array, "... row"]],
    ) -> tuple[Float[Array, "*lane row"], Float[Array, "*lane row"], Float[Array, "*lane row"]]:
        """First and second derivative of the cost in the prediction, and the inverse variance of the response.

        The last is the expected second derivative, which is positive (Fisher scoring).
        """

        def first(m: Float[Array, "*lane row"]) -> Float[Array, "*lane row"]:
            return _derivative(lambda m: self.cost(m, y, log_scale, data), m)

        limits = jnp.finfo(m.dtype)
        inside = jnp.where(self._is_valid_mean(m), m, self.likelihood.middle)
        inside = jnp.clip(inside, limits.tiny, self.likelihood.level.high - limits.eps)
        sites = {name: jnp.exp(log_scale) for name in self.likelihood.sites}
        return first(m), _derivative(first, m), 1 / self.likelihood.variance(sites, inside, self._beside(m, data))

    def statistic_unit(
        self, r: Float[np.ndarray, " row"], w: Float[np.ndarray, " row"], size: int
    ) -> tuple[float, float | None, str]:
        """1: the objective is a negative log likelihood."""
        return 1.0, None, "2 (f - f_min), chi-squared: the objective is minus a log-likelihood"

    def _beside(
        self, m: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> dict[str, Real[Array, "... row"]]:
        """The likelihood's columns with the axes of the predictions."""
        return {name: jnp.expand_dims(data[name], tuple(range(m.ndim - jnp.ndim(data[name])))) for name in self.columns}

    def _is_valid_mean(self, m: Float[Array, "*lane row"]) -> Bool[Array, "*lane row"]:
        return (m >= self.likelihood.level.low) & (m <= self.likelihood.level.high)

    def scale_derivatives(
        self,
        m: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        log_scale: Numbers,
        data: Mapping[str, Real[Array, "... row"]],
    ) -> tuple[Float[Array, "*lane row"], Float[Array, "*lane row"], Float[Array, "*lane row"]]:
        """First and second derivative of the cost in the log scale, and its mixed derivative with the prediction."""

        def once(m: Float[Array, "*lane row"], s: Numbers) -> Float[Array, "*lane row"]:
            return _derivative(lambda s: self.cost(m, y, s, data), s)

        return (
            once(m, log_scale),
            _derivative(lambda s: once(m, s), log_scale),
            _derivative(lambda m: once(m, log_scale), m),
        )


def _derivative(function: Callable[[Array], Array], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Derivative of an elementwise function."""
    return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def count_noise(likelihood: Likelihood) -> Noise:
    """Noise of a fit of counts."""
    assert isinstance(likelihood, CountLikelihood)
    return Noise(CountLoss(likelihood), SPACES["linear"])
