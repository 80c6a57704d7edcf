"""Exponential growth, exponential approach to a level, and its generalisations."""

import math
from typing import Any

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    coefficient,
    exponent,
    floor,
    law,
    location,
    positive,
    positive_number,
    real,
)
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "curves"
TIME = Input("", low=-math.inf, typical=(0.0, 100.0))
ANYTHING = Response("", real)
LEVEL = (-1e5, 1e6)
RATE = (1e-5, 1e2)
STANDARD = "a standard form without a single source"


@law(
    inputs=dict(x=TIME),
    response=ANYTHING,
    b1=coefficient(range=LEVEL, meaning="level reached as x grows"),
    b2=positive_number(range=RATE, meaning="rate of the approach"),
    formula=r"y = b_1 \left(1 - e^{-b_2 x}\right)",
    either_sign="exp_offset",
    source=f"exponential saturation, {STANDARD}",
    affine=("b1",),
)
def exp_saturation(x, *, b1, b2):
    """A rise from 0 at ``x = 0`` that slows exponentially towards a level.

    ``y = b1 * (1 - exp(-b2 * x))``

    Data that stop before ``x = 1 / b2`` see a straight line and determine only the product ``b1 * b2``.

    Source: a standard form without a single source.
    """
    return -b1 * jnp.expm1(-b2 * x)


@law(
    inputs=dict(x=TIME),
    response=ANYTHING,
    b1=coefficient(range=LEVEL, meaning="level reached as x grows"),
    b2=positive_number(range=RATE, meaning="rate of the approach at x = 0"),
    m=positive_number(range=(0.05, 1e3), meaning="power with which the rest vanishes"),
    formula=r"y = b_1 \left(1 - \left(1 + \frac{b_2 x}{m}\right)^{-m}\right)",
    source=f"generalised saturation, {STANDARD}",
    affine=("b1",),
    checks=(Check(1.3469, at=dict(x=3.0), params=dict(b1=2.0, b2=0.5, m=2.0)),),
)
def generalized_saturation(x, *, b1, b2, m):
    """A rise from 0 at ``x = 0`` that approaches a level as a power of ``x``.

    ``y = b1 * (1 - (1 + b2 * x / m)**-m)`` for ``x >= 0``

    ``m = 1`` is the curve of Michaelis and Menten and ``m -> inf`` exponential saturation; data that stop before the
    knee hardly determine ``m``.

    Source: a standard form without a single source.
    """
    return -b1 * jnp.expm1(-m * jnp.log1p(b2 * x / m))


@law(
    inputs=dict(x=TIME),
    response=ANYTHING,
    c=floor(real, range=(-1e6, 1e6), meaning="level reached as x grows"),
    a=coefficient(range=LEVEL, meaning="distance from that level at x = 0"),
    b=positive_number(range=RATE, meaning="rate of the approach"),
    formula=r"y = c + a e^{-b x}",
    either_sign="exp_offset",
    source=f"exponential decay towards a level, {STANDARD}",
    affine=("c", "a"),
)
def exp_decay_floor(x, *, c, a, b):
    """An exponential approach to a level, from above or below.

    ``y = c + a * exp(-b * x)``

    With ``a < 0`` the curve rises. As ``b`` goes to 0 it is a straight line, and ``a`` and ``c`` become one.

    Source: a standard form without a single source.
    """
    return c + a * jnp.exp(-b * x)


@law(
    inputs=dict(x=Input("")),
    response=ANYTHING,
    c=floor(real, range=(-1e6, 1e6), meaning="level reached as x grows"),
    a=coefficient(range=LEVEL, meaning="distance from that level at x = 0"),
    t0=location("x", meaning="place at which 1/e of the distance is left"),
    beta=exponent(range=(0.01, 2.0), meaning="stretching"),
    formula=r"y = c + a e^{-(x/t_0)^{\beta}}",
    source=f"the stretched exponential, {STANDARD}",
    affine=("c", "a"),
)
def stretched_exp(x, *, c, a, t0, beta):
    """Stretched (``beta < 1``) or compressed (``beta > 1``) exponential approach to a level.

    ``y = c + a * exp(-(x / t0)**beta)`` with ``0 < beta < 2``

    The part already gone, ``1 - exp(-(x / t0)**beta)``, is the growth curve of Weibull and Janoschek.

    Source: a standard form without a single source.
    """
    return c + a * jnp.exp(-((x / t0) ** beta))


@law(
    inputs=dict(x=Input("time", low=-math.inf, typical=(0.0, 100.0))),
    response=Response("", positive),
    a=positive_number(range=(1e-6, 1e9), meaning="value at x = 0"),
    b=coefficient(range=(-2.0, 2.0), meaning="rate of growth"),
    formula=r"y = a e^{b x}",
    either_sign="exp_offset",
    source=f"exponential growth, {STANDARD}",
    affine=("a",),
    checks=(Check(4.0, at=dict(x=14.0), params=dict(a=1.0, b=math.log(2) / 7)),),
)
def exp_growth(x, *, a, b):
    """Exponential growth or decay.

    ``y = a * exp(b * x)``

    The doubling time is ``ln(2) / b``. Count time from the data: from the year 0, ``a`` and ``b`` trade off.

    Source: a standard form without a single source.
    """
    return a * jnp.exp(b * x)


def _terms(count: int) -> dict[str, Any]:
    """The parameters of a number of exponentials."""
    declared = {}
    for i in range(1, count + 1):
        declared[f"a{i}"] = coefficient(range=LEVEL, meaning=f"term {i} at x = 0")
        declared[f"b{i}"] = positive_number(range=RATE, meaning=f"rate of term {i}")
    return declared


def _sum(x: Numbers, params: dict[str, Numbers], count: int) -> Numbers:
    """The sum of the exponentials."""
    return sum(params[f"a{i}"] * jnp.exp(-params[f"b{i}"] * x) for i in range(1, count + 1))


def _exponentials(count: int) -> Law:
    """The sum of ``count`` exponentials."""
    declared = _terms(count)

    def decay(x, **params):
        """Sum of exponential decays.

        ``y = sum_i a_i * exp(-b_i * x)``

        Ill-conditioned: rates closer than a factor of two are hard to distinguish. The terms can swap: order them,
        ``b1 < b2 < ...``, when reading a fit.

        Source: a standard form without a single source.
        """
        return _sum(x, params, count)

    return law(
        name=f"sum_of_exps{count}",
        inputs=dict(x=TIME),
        response=ANYTHING,
        formula=rf"y = \sum_{{i=1}}^{count} a_i e^{{-b_i x}}",
        source=f"the sum of exponentials, {STANDARD}",
        affine=tuple(f"a{i}" for i in range(1, count + 1)),
        **declared,
    )(with_signature(decay, ["x"], declared))


def _exponentials_floor(count: int) -> Law:
    """The sum of ``count`` exponentials and a constant."""
    declared: dict[str, Any] = dict(c=floor(real, range=(-1e6, 1e6), meaning="level reached as x grows")) | _terms(
        count
    )

    def decay(x, **params):
        """Sum of exponential decays and a level.

        ``y = c + sum_i a_i * exp(-b_i * x)``

        A slow term and the level ``c`` are hard to distinguish. The terms can swap: order them, ``b1 < b2 < ...``,
        when reading a fit.

        Source: a standard form without a single source.
        """
        return params["c"] + _sum(x, params, count)

    return law(
        name=f"sum_of_exps_floor{count}",
        inputs=dict(x=TIME),
        response=ANYTHING,
        formula=rf"y = c + \sum_{{i=1}}^{count} a_i e^{{-b_i x}}",
        source=f"the sum of exponentials and a constant, {STANDARD}",
        affine=("c", *(f"a{i}" for i in range(1, count + 1))),
        **declared,
    )(with_signature(decay, ["x"], declared))


sum_of_exps = Family("sum_of_exps", _exponentials, largest=5, listed=(2, 3))
sum_of_exps_floor = Family("sum_of_exps_floor", _exponentials_floor, largest=5, listed=(2, 3))
