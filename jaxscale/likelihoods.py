"""Likelihoods: how responses scatter about a law, for posteriors and for fits of counts."""

from jaxscale.noise.count_likelihoods import *  # noqa: F403
from jaxscale.noise.likelihood import Likelihood as Likelihood
from jaxscale.noise.likelihoods import MODULES
from jaxscale.noise.residual_likelihoods import *  # noqa: F403

globals().update({name: getattr(module, name) for module in MODULES for name in module.__all__})
