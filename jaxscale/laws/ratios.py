"""Ratios: a polynomial over a polynomial, an exponential over a line."""

import math
from typing import Any

import jax.numpy as jnp

from jaxscale.law import Input, Law, Response, coefficient, law, positive, positive_number, real
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "curves"


def _declarations(degree: int) -> dict[str, Any]:
    """The coefficients of two polynomials; the plausible denominators are positive on 0 to 1."""
    declared = {f"b{i}": coefficient(range=(-1e5, 1e6), meaning=f"numerator, power {i}") for i in range(degree + 1)}
    for j in range(1, degree + 1):
        declared[f"c{j}"] = coefficient(range=(-1 / (degree + 1), 20.0), meaning=f"denominator, power {j}")
    return declared


def _polynomial(x: Numbers, coefficients: list[Numbers]) -> Numbers:
    """A polynomial from its coefficients, lowest power first."""
    total = coefficients[-1]
    for value in reversed(coefficients[:-1]):
        total = value + x * total
    return total


def _ratio(degree: int) -> Law:
    """Two polynomials of one degree."""
    declared = _declarations(degree)

    def ratio(x, **params):
        """A polynomial over a polynomial of the same degree.

        ``y = (b0 + b1 * x + ...) / (1 + c1 * x + ...)``

        The denominator must be positive on the data, which the law does not enforce. Scale ``x`` to about 1 first:
        the starts take its powers to be of one size. A numerator or denominator of lower degree has zeros fixed.

        Source: a standard form without a single source.
        """
        top = _polynomial(x, [params[f"b{i}"] for i in range(degree + 1)])
        return top / _polynomial(x, [1.0, *(params[f"c{j}"] for j in range(1, degree + 1))])

    return law(
        name=f"rational{degree}",
        inputs=dict(x=Input("", low=-math.inf, typical=(0.0, 1.0))),
        response=Response("", real),
        formula=rf"y = \frac{{\sum_{{i=0}}^{degree} b_i x^i}}{{1 + \sum_{{j=1}}^{degree} c_j x^j}}",
        source="the rational function, a standard form without a single source",
        affine=tuple(f"b{i}" for i in range(degree + 1)),
        **declared,
    )(with_signature(ratio, ["x"], declared))


rational = Family("rational", _ratio, largest=5, listed=(1, 2, 3))


@law(
    inputs=dict(x=Input("", low=-math.inf, typical=(0.0, 10.0))),
    response=Response("", positive),
    b1=positive_number(range=(1e-3, 10.0), meaning="rate of the exponential"),
    b2=positive_number(range=(1e-4, 1e4), meaning="line at x = 0"),
    b3=positive_number(range=(1e-4, 1e4), meaning="slope of the line"),
    formula=r"y = \frac{e^{-b_1 x}}{b_2 + b_3 x}",
    source="the exponential over a line, a standard form, problem Chwirut2 of the NIST Statistical Reference Datasets",
    decreasing=("x",),
)
def exp_over_linear(x, *, b1, b2, b3):
    """An exponential divided by a line, as in the calibration of ultrasound against distance.

    ``y = exp(-b1 * x) / (b2 + b3 * x)`` for ``x > -b2 / b3``

    The value at ``x = 0`` is ``1 / b2``; far out the exponential decides, unless ``b1`` is 0.

    Source: a standard form; NIST Statistical Reference Datasets, problem Chwirut2.
    """
    return jnp.exp(-b1 * x) / (b2 + b3 * x)
