"""Curves in the shape of an S."""

import math

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.scipy.special import ndtr

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    location,
    positive,
    positive_number,
    real,
)

FAMILY = "curves"
X = Input("")
TIME = Input("", low=-math.inf, typical=(0.0, 100.0))
AXIS = Input("", low=-math.inf, typical=(-10.0, 10.0))
ANYTHING = Response("", real)
UPPER = (-1e5, 1e6)
LOWER = (-1e6, 1e6)
STANDARD = "a standard form without a single source"


@law(
    inputs=dict(x=TIME),
    response=Response("", positive),
    b1=positive_number(range=(1e-3, 1e6), meaning="level reached as x grows"),
    b2=coefficient(range=(-10.0, 10.0), meaning="log odds of the missing part at x = 0"),
    b3=positive_number(range=(1e-3, 10.0), meaning="rate of growth"),
    formula=r"y = \frac{b_1}{1 + e^{b_2 - b_3 x}}",
    source=f"the logistic curve, {STANDARD}",
    affine=("b1",),
)
def logistic3(x, *, b1, b2, b3):
    """Growth that begins exponentially and ends at a level.

    ``y = b1 / (1 + exp(b2 - b3 * x))``

    Half of the level is reached at ``x = b2 / b3``; data that stop before it leave ``b1`` open.

    Source: a standard form without a single source.
    """
    return b1 * jnp.exp(-jnp.logaddexp(0.0, b2 - b3 * x))


@law(
    inputs=dict(x=AXIS),
    response=ANYTHING,
    lo=floor(real, range=LOWER, meaning="level before the step"),
    hi=coefficient(range=UPPER, meaning="level after the step"),
    k=positive_number(range=(0.01, 1e2), meaning="steepness"),
    x0=location("x", real, range=(-1e3, 1e3), meaning="middle of the step"),
    formula=r"y = lo + \frac{hi - lo}{1 + e^{-k (x - x_0)}}",
    source=f"the logistic step, {STANDARD}",
    affine=("lo", "hi"),
)
def logistic4(x, *, lo, hi, k, x0):
    """A step from one level to another.

    ``y = lo + (hi - lo) / (1 + exp(-k * (x - x0)))``

    Given ``ln x`` it is ``hill``. The law does not enforce ``hi > lo``: the other order is a fall.

    Source: a standard form without a single source.
    """
    return lo + (hi - lo) * sigmoid(k * (x - x0))


@law(
    inputs=dict(x=X),
    response=ANYTHING,
    lo=floor(real, range=LOWER, meaning="level at x = 0"),
    hi=coefficient(range=UPPER, meaning="level reached as x grows"),
    x0=location("x", meaning="place of half the rise"),
    n=positive_number(range=(0.05, 20.0), meaning="steepness"),
    formula=r"y = lo + \frac{hi - lo}{1 + (x_0/x)^{n}}",
    source=f"the Hill curve, {STANDARD}",
    affine=("lo", "hi"),
)
def hill(x, *, lo, hi, x0, n):
    """A step from one level to another in the logarithm of ``x``.

    ``y = lo + (hi - lo) / (1 + (x0 / x)**n)``

    ``n = 1`` with ``lo = 0`` is the curve of Michaelis and Menten. The law does not enforce ``hi > lo``: the other
    order is a fall.

    Source: a standard form without a single source.
    """
    return lo + (hi - lo) * sigmoid(n * (jnp.log(x) - jnp.log(x0)))


@law(
    inputs=dict(x=TIME),
    response=Response("", positive),
    b1=positive_number(range=(1e-3, 1e6), meaning="level reached as x grows"),
    b2=coefficient(range=(-10.0, 10.0), meaning="place of the rise, in units of b3 * x"),
    b3=positive_number(range=(1e-3, 10.0), meaning="rate of growth"),
    b4=positive_number(range=(0.05, 20.0), meaning="asymmetry"),
    formula=r"y = \frac{b_1}{\left(1 + e^{b_2 - b_3 x}\right)^{1/b_4}}",
    source=f"the growth curve of Richards, {STANDARD}",
    affine=("b1",),
)
def richards(x, *, b1, b2, b3, b4):
    """Logistic growth whose halves need not mirror each other.

    ``y = b1 / (1 + exp(b2 - b3 * x))**(1 / b4)``

    ``b4 = 1`` is the logistic curve and ``b4 -> 0`` with ``b2 + ln(b4)`` for ``b2`` that of Gompertz; ``b2`` and
    ``b4`` are strongly correlated.

    Source: a standard form without a single source.
    """
    return b1 * jnp.exp(-jnp.logaddexp(0.0, b2 - b3 * x) / b4)


@law(
    inputs=dict(x=TIME),
    response=Response("", positive),
    b1=positive_number(range=(1e-3, 1e6), meaning="level reached as x grows"),
    b2=coefficient(range=(-5.0, 6.0), meaning="place of the rise, in units of b3 * x"),
    b3=positive_number(range=(1e-3, 10.0), meaning="rate of growth"),
    formula=r"y = b_1 e^{-e^{b_2 - b_3 x}}",
    source=f"the growth curve of Gompertz, {STANDARD}",
    affine=("b1",),
)
def gompertz(x, *, b1, b2, b3):
    """Growth that is fastest early, when 1/e of the final level is reached.

    ``y = b1 * exp(-exp(b2 - b3 * x))``

    The inflection lies at ``x = b2 / b3``, where ``y = b1 / e``.

    Source: a standard form without a single source.
    """
    return b1 * jnp.exp(-jnp.exp(b2 - b3 * x))


@law(
    inputs=dict(x=X),
    response=ANYTHING,
    a=floor(real, range=LOWER, meaning="level at x = 0"),
    b=amplitude(x="d", range=(1e-6, 1e9), meaning="x**d at which half the way is made"),
    c=coefficient(range=UPPER, meaning="level reached as x grows"),
    d=exponent(range=(0.01, 20.0), meaning="steepness"),
    formula=r"y = \frac{a b + c x^{d}}{b + x^{d}}",
    source=f"the growth curve of Morgan, Mercer and Flodin, {STANDARD}",
    affine=("a", "c"),
)
def mmf(x, *, a, b, c, d):
    """A rise from one level to another by a power of ``x``.

    ``y = (a * b + c * x**d) / (b + x**d)``

    The curve is ``hill`` with ``b = x0**d``: half the way is made at ``x = b**(1 / d)``, so ``b`` and ``d`` are
    strongly correlated.

    Source: a standard form without a single source.
    """
    return a + (c - a) * sigmoid(d * jnp.log(x) - jnp.log(b))


@law(
    inputs=dict(x=AXIS),
    response=ANYTHING,
    lo=floor(real, range=LOWER, meaning="level before the step, the rate of guessing"),
    hi=coefficient(range=UPPER, meaning="level after the step"),
    x0=location("x", real, range=(-1e3, 1e3), meaning="middle of the step"),
    s=positive_number(range=(0.01, 1e2), meaning="width of the step"),
    formula=r"y = lo + (hi - lo)\, \Phi\left(\frac{x - x_0}{s}\right),\; "
    r"\Phi(z) = \frac{1 + \mathrm{erf}(z/\sqrt{2})}{2}",
    source=f"the cumulative normal as a psychometric curve, {STANDARD}",
    affine=("lo", "hi"),
    checks=(Check(0.8810, at=dict(x=2.5), params=dict(lo=0.25, hi=1.0, x0=2.0, s=0.5)),),
)
def probit_curve(x, *, lo, hi, x0, s):
    """A step from one level to another with the shape of the cumulative normal.

    ``y = lo + (hi - lo) * Phi((x - x0) / s)`` with ``Phi(z) = (1 + erf(z / sqrt(2))) / 2``

    It differs from ``logistic4`` with ``k = 1.702 / s`` by less than 1 % of ``hi - lo``, so data rarely distinguish the
    two. ``x`` may be a logarithm.

    Source: a standard form without a single source.
    """
    return lo + (hi - lo) * ndtr((x - x0) / s)
