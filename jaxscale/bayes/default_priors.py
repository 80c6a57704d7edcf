"""Default priors of a law as NumPyro distributions."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from jaxscale.bayes import priors
from jaxscale.bayes.build_model import check_types, model_of
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.noise.likelihood import Likelihood
from jaxscale.noise.likelihoods import of_response
from jaxscale.utils.errors import ArgumentError

if TYPE_CHECKING:
    import numpyro.distributions as dist


def default(
    law: Law | str,
    observations: Observations,
    *,
    likelihood: Likelihood | None = None,
    fixed: Mapping[str, float] | None = None,
    pooling: Mapping[str, str] | None = None,
) -> "dict[str, dist.Distribution]":
    """The default priors of :func:`jaxscale.posterior`.

    Log-normal for positive parameters (half-normal if the range starts at 0), Beta for fractions, else normal, with the
    law's declared range as central 95 %. They depend on the inputs, not on the responses. The prior of an amplitude is
    rescaled by ``r**alpha``, with r the size of the input relative to its typical size, unless ``priors`` has another.

    >>> jaxscale.priors.default("chinchilla", runs)["alpha"]  # doctest: +SKIP

    Args:
        law: a law, or the name of one in the catalogue.
        observations: the data.
        likelihood: likelihood of the responses; default: that of the law's response.
        fixed: values of parameters that are not inferred.
        pooling: parameter to "complete", "partial" or "none", as in the posterior.

    Returns:
        Name of every inferred parameter, including nuisance parameters, to its NumPyro distribution.

    Raises:
        DataError: the observations do not suit the law.
        TypeError: the observations or the likelihood have another type.
        ValueError: a name is unknown.
    """
    law = resolve(law)
    check_types(likelihood, [observations])
    with jax.enable_x64(True):
        model_likelihood, rows = (of_response(law.response) if likelihood is None else likelihood).bind(observations)
        model = model_of(law, prepare(law, rows), model_likelihood, fixed=fixed, pooling=pooling)
        return {name: prior.distribution for name, prior in model.priors.items()}


def lognormal(low: float, high: float) -> Any:
    """The log-normal distribution whose central 95 % lie between two positive numbers.

    >>> prior = lognormal(0.1, 0.6)
    >>> float(prior.loc), float(prior.scale)  # doctest: +ELLIPSIS
    (-1.406..., 0.457...)

    Args:
        low: the 2.5 % quantile.
        high: the 97.5 % quantile.

    Raises:
        ValueError: they are not positive and in order.
    """
    if not 0 < low < high < math.inf:
        raise ArgumentError("low", f"must lie between 0 and high, but low is {low!r} and high {high!r}.")
    with jax.enable_x64(True):
        return priors.lognormal(low, high).distribution
