"""Priors of a posterior: the defaults for a law and data, and a log-normal distribution from its 95 % range."""

from jaxscale.bayes.default_priors import default as default
from jaxscale.bayes.default_priors import lognormal as lognormal
