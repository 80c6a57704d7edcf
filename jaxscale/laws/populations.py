"""Population dynamics and early-warning signals of tipping points."""

import math

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    exponent,
    law,
    location,
    positive,
    positive_number,
    real,
    unit,
)

FAMILY = "sciences"
STOCK = Input("stock", typical=(0.1, 100.0))
NEXT = Response("stock", positive)
_ALLEE = dict(r=2.0, th=2.0, K=3.0)


@law(
    inputs=dict(x=STOCK),
    response=NEXT,
    r=positive_number(range=(0.01, 5.0), meaning="growth rate of a small stock"),
    K=location("x", range=(1.0, 1e3), meaning="stock that replaces itself"),
    formula=r"f(x) = x \exp\left(r \left(1 - x/K\right)\right)",
    source="Avoiding Tipping Points in Fisheries Management, Boettiger 2015",
)
def ricker(x, *, r, K):
    """Ricker model of a population with overcompensating density dependence.

    ``f = x * exp(r * (1 - x / K))``

    The stock ``K`` returns itself, with slope ``1 - r`` there: above ``r = 2`` it oscillates. The paper averages
    over forms, as criteria picked this one, which cannot tip, over ``allee_myers``, which can.

    Source: Boettiger 2015.
    """
    return x * jnp.exp(r * (1 - x / K))


@law(
    inputs=dict(x=STOCK),
    response=NEXT,
    r=amplitude(x="-th", range=(1e-2, 1e2), meaning="offspring per parent, for a small stock and th = 1"),
    th=exponent(range=(0.1, 5.0), meaning="power of the stock"),
    K=positive_number(range=(1e-2, 1e6), meaning="size of x**th at which crowding halves the return"),
    formula=r"f(x) = \frac{r x^{\theta}}{1 + x^{\theta}/K}",
    source="Avoiding Tipping Points in Fisheries Management, Boettiger 2015",
    affine=("r",),
    checks=(
        Check(0.5505, at=dict(x=0.5505), params=_ALLEE),
        Check(5.4495, at=dict(x=5.4495), params=_ALLEE),
    ),
)
def allee_myers(x, *, r, th, K):
    """Population model with an Allee effect: extinction below a threshold, saturation above it.

    ``f = r * x**th / (1 + x**th / K)``

    ``th = 1`` is the law of Beverton and Holt; a threshold needs ``th > 1``. ``K`` is in units of ``x**th``, not of
    the stock, and the saturated return is ``r * K``.

    Source: Boettiger 2015.
    """
    grown = x**th
    return r * grown / (1 + grown / K)


@law(
    inputs=dict(lam=Input("1/time", typical=(1e-3, 1e2))),
    response=Response("variance", positive),
    sigma=positive_number(range=(1e-3, 1e2), meaning="strength of the noise"),
    formula=r"Var = \frac{\sigma^2}{2 \lambda}",
    source="Early warning signals, Boettiger 2013",
    decreasing=("lam",),
    checks=(Check(0.04, at=dict(lam=0.5), params=dict(sigma=0.2)),),
)
def early_warning_ou_variance(lam, *, sigma):
    """Variance of an Ornstein-Uhlenbeck process, which rises before a tipping point.

    ``Var = sigma**2 / (2 * lam)``

    ``lam`` is the recovery rate of the Ornstein-Uhlenbeck process; near a fold it follows
    ``early_warning_ou_rate``, so that the variance grows as ``(mu_c - mu)**-0.5``.

    Source: Boettiger 2013.
    """
    return sigma**2 / (2 * lam)


@law(
    inputs=dict(dt=Input("time", typical=(0.05, 10.0))),
    response=Response("autocorrelation", unit),
    lam=positive_number(range=(1e-2, 1e1), meaning="recovery rate"),
    formula=r"AR_1 = e^{-\lambda\, \Delta t}",
    source="Early warning signals, Boettiger 2013",
    decreasing=("dt",),
    checks=(Check(0.6065, at=dict(dt=1.0), params=dict(lam=0.5)),),
)
def early_warning_ou_ar1(dt, *, lam):
    """Lag-one autocorrelation of an Ornstein-Uhlenbeck process, which rises before a tipping point.

    ``AR1 = exp(-lam * dt)``

    The process is sampled every ``dt``; its autocorrelation does not depend on the strength of the noise.

    Source: Boettiger 2013.
    """
    return jnp.exp(-lam * dt)


@law(
    inputs=dict(mu=Input("control", low=-math.inf, typical=(0.01, 5.0))),
    response=Response("1/time", real),
    l0=positive_number(range=(1e-3, 1e2), meaning="recovery rate at a distance of one"),
    mu_c=location("mu", real, range=(-2.0, 10.0), meaning="tipping point"),
    formula=r"\lambda = l_0 \sqrt{\mu_c - \mu} \text{ for } \mu < \mu_c,\quad \lambda = 0 \text{ otherwise}",
    source="Early warning signals, Boettiger 2013",
    affine=("l0",),
    decreasing=("mu",),
)
def early_warning_ou_rate(mu, *, l0, mu_c):
    """Recovery rate near a fold bifurcation, which vanishes as a square root at the tipping point.

    ``lam = l0 * sqrt(mu_c - mu)`` for ``mu < mu_c``, else ``0``

    Its square is a straight line in the control ``mu``. A likelihood ratio against a constant rate guards against
    warnings read into noise.

    Source: Boettiger 2013.
    """
    before = mu < mu_c
    return jnp.where(before, l0 * jnp.sqrt(jnp.where(before, mu_c - mu, 1.0)), 0.0)


@law(
    inputs=dict(M=Input("body mass", typical=(1e-3, 1e4))),
    response=Response("", positive),
    A0=amplitude(M="-k", range=(1e-6, 1e9), meaning="trait at a mass of one"),
    k=exponent(real, range=(-2.0, 2.0), meaning="slope of the log trait in log mass"),
    formula=r"A = A_0 M^{k}",
    source="Size and shape of terrestrial animals",
    affine=("A0",),
)
def allometry(M, *, A0, k):
    """A trait of an animal is a power of its body mass.

    ``A = A0 * M**k``

    Related species have related residuals: standard errors that take them as independent are too small.

    Source: Size and shape of terrestrial animals.
    """
    return A0 * M**k
