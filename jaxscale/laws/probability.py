"""Probabilities of rare and of almost certain events, kept strictly between 0 and 1."""

import jax.numpy as jnp

from jaxscale.utils.arrays import Numbers

# exp(-34) is the smallest distance from 1 that a double resolves well; exp(-exp(6.5)) is still above 0.
LEAST_LOG, LARGEST_LOG = -34.0, 6.5


def exp_minus_exp(u: Numbers) -> Numbers:
    """``exp(-exp(u))``, held strictly inside (0, 1), where a logit needs it."""
    return jnp.exp(-jnp.exp(jnp.clip(u, LEAST_LOG, LARGEST_LOG)))


def one_of_many(p: Numbers, k: Numbers) -> Numbers:
    """``1 - (1 - p)**k``, the chance of at least one success in k draws, held strictly below 1."""
    # A p of exactly 1 would make the logarithm, and with it the gradient, infinite.
    log_failure = k * jnp.log1p(-jnp.minimum(p, 1 - 2.0**-52))
    return -jnp.expm1(jnp.maximum(log_failure, LEAST_LOG))
