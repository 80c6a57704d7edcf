"""Likelihoods of a posterior: how responses scatter about a law."""

from jaxscale.noise.likelihoods import Likelihood as Likelihood
from jaxscale.noise.likelihoods import beta_binomial as beta_binomial
from jaxscale.noise.likelihoods import binomial as binomial
from jaxscale.noise.likelihoods import laplace as laplace
from jaxscale.noise.likelihoods import normal as normal
from jaxscale.noise.likelihoods import student_t as student_t
