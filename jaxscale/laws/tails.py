"""Heavy-tailed distributions."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, law, positive, positive_number, scale

FAMILY = "sciences"
DEGREE = Input("links", typical=(1.0, 300.0))


@law(
    inputs=dict(x=Input("", low=-math.inf, typical=(-5.0, 5.0))),
    response=Response("", positive),
    A=positive_number(range=(1e-3, 1e3), meaning="density at zero"),
    q=positive_number(range=(1.001, 3.0), meaning="entropic index of the stationary state"),
    b=positive_number(range=(1e-2, 1e2), meaning="inverse squared width"),
    formula=r"p = A \left[1 + (q - 1) b x^2\right]^{-1/(q-1)}",
    source="Nonlinear Signatures in Solar Wind Proton Density; unconfirmed form",
    affine=("A",),
    checks=(Check(0.7788, at=dict(x=0.5), params=dict(A=1.0, q=1.0, b=1.0)),),
)
def q_triplet_density(x, *, A, q, b):
    """Density of a q-Gaussian distribution, with power-law tails.

    ``p = A * (1 + (q - 1) * b * x**2)**(-1 / (q - 1))`` for ``q > 1``, and ``A * exp(-b * x**2)`` at ``q = 1``

    The tail falls as ``x**(-2 / (q - 1))``. It is one of three laws for the three indices; the third,
    ``1 / (1 - q_sen) = 1 / a_min - 1 / a_max``, follows from the ends of the multifractal spectrum without a fit.

    Source: Nonlinear Signatures in Solar Wind Proton Density (unconfirmed form).
    """
    y, excess = b * x**2, q - 1
    bell = jnp.abs(excess) < 1e-6
    apart = jnp.where(bell, 1.0, excess)
    return A * jnp.exp(-jnp.where(bell, y - excess * y**2 / 2, jnp.log1p(apart * y) / apart))


@law(
    inputs=dict(tau=Input("time", typical=(1e-2, 1e4))),
    response=Response("", positive),
    A_C=positive_number(range=(1e-3, 1e3), meaning="correlation at a lag of one"),
    q_rel=positive_number(range=(1.2, 20.0), meaning="entropic index of relaxation"),
    formula=r"C = A_C\, \tau^{1/(1 - q_{rel})}",
    source="Nonlinear Signatures in Solar Wind Proton Density; unconfirmed form",
    affine=("A_C",),
    decreasing=("tau",),
)
def q_triplet_correlation(tau, *, A_C, q_rel):
    """Correlations relax as a power of the lag whose exponent is set by an entropic index.

    ``C = A_C * tau**(1 / (1 - q_rel))`` for ``q_rel > 1``

    The log-log slope is ``-1 / (q_rel - 1)``: the closer the index to one, the faster the decay.

    Source: Nonlinear Signatures in Solar Wind Proton Density (unconfirmed form).
    """
    return A_C * tau ** (1 / (1 - q_rel))


@law(
    inputs=dict(k=DEGREE),
    response=Response("", positive),
    c=amplitude(k="gamma", range=(1e-6, 1e6), meaning="share at one link"),
    gamma=exponent(range=(0.05, 5.0), meaning="power of the links, with its sign turned"),
    formula=r"P(k) = c\, k^{-\gamma}",
    source="Prediction for the 25th solar cycle using visibility graph and Hathaway function",
    affine=("c",),
    decreasing=("k",),
)
def degree_tail_power(k, *, c, gamma):
    """Power-law tail of a degree distribution.

    ``P(k) = c * k**-gamma``

    A straight line in log-log axes; compare with ``degree_tail_exponential``, which is one in semi-log axes.

    Source: Prediction for the 25th solar cycle using visibility graph and Hathaway function.
    """
    return c * k**-gamma


@law(
    inputs=dict(k=DEGREE),
    response=Response("", positive),
    c=positive_number(range=(1e-6, 1e6), meaning="share extrapolated to no link"),
    lam=positive_number(range=(1e-2, 2.0), meaning="decay per link"),
    formula=r"P(k) = c\, e^{-\lambda k}",
    source="Prediction for the 25th solar cycle using visibility graph and Hathaway function",
    affine=("c",),
    decreasing=("k",),
)
def degree_tail_exponential(k, *, c, lam):
    """Exponential tail of a degree distribution.

    ``P(k) = c * exp(-lam * k)``

    A straight line in semi-log axes, where ``degree_tail_power`` is one in log-log axes.

    Source: Prediction for the 25th solar cycle using visibility graph and Hathaway function.
    """
    return c * jnp.exp(-lam * k)


@law(
    inputs=dict(x=Input("", typical=(1.0, 1e5))),
    response=Response("", positive),
    a=exponent(range=(1.01, 6.0), meaning="power of the tail, with its sign turned"),
    x_min=scale(x="a", range=(1e-3, 1e3), meaning="where the tail begins"),
    formula=r"p = \frac{a - 1}{x_{min}} \left(\frac{x}{x_{min}}\right)^{-a} \text{ for } x \ge x_{min}",
    source="the Pareto density, a standard form without a single source",
    decreasing=("x",),
)
def tail_power_mle(x, *, a, x_min):
    """Density of a Pareto distribution.

    ``p = (a - 1) / x_min * (x / x_min)**-a`` for ``x >= x_min``, with ``a > 1``

    From the values themselves the most likely ``a`` is ``1 + n / sum(log(x / x_min))``; a fit of this density to
    a histogram is biased. Hold ``x_min`` fixed, where the tail's distance from a power is smallest.

    Source: a standard form without a single source.
    """
    return (a - 1) / x_min * (x / x_min) ** -a
