"""Likelihoods of a posterior, or of a fit of counts: how responses scatter about a law."""

from jaxscale.noise.count_likelihoods import *  # noqa: F403
from jaxscale.noise.likelihood import Likelihood as Likelihood
from jaxscale.noise.residual_likelihoods import *  # noqa: F403
