"""Curves in the logarithm of one input, and lines with a knee."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, coefficient, law, location, positive_number, real

FAMILY = "curves"
X = Input("")
ANYTHING = Response("", real)
LEVEL = (-1e5, 1e6)
SLOPE = (-1e5, 1e5)
STANDARD = "a standard form without a single source"
KNEE = dict(a=1.0, b=-0.1, c=-0.4, z0=5.0, s=0.3)


@law(
    inputs=dict(x=X),
    response=ANYTHING,
    a=coefficient(range=LEVEL, meaning="value at x = 1"),
    b=coefficient(range=SLOPE, meaning="rise for each factor e in x"),
    formula=r"y = a + b \ln x",
    source=f"the line in the logarithm, {STANDARD}",
    affine=("a", "b"),
)
def log_linear(x, *, a, b):
    """A straight line in the logarithm of ``x``.

    ``y = a + b * ln(x)``

    A doubling adds ``b * ln(2)``; the line has no bounds, so a bounded metric leaves it.

    Source: a standard form without a single source.
    """
    return a + b * jnp.log(x)


@law(
    inputs=dict(x=X),
    response=ANYTHING,
    a=coefficient(range=LEVEL, meaning="value at x = 1"),
    b=coefficient(range=SLOPE, meaning="slope in ln x at x = 1"),
    c=coefficient(range=SLOPE, meaning="curvature in ln x"),
    formula=r"y = a + b \ln x + c (\ln x)^2",
    source=f"the parabola in the logarithm, {STANDARD}",
    affine=("a", "b", "c"),
)
def log_quadratic(x, *, a, b, c):
    """A parabola in the logarithm of ``x``.

    ``y = a + b * ln(x) + c * ln(x)**2``

    The vertex lies at ``ln(x) = -b / (2 * c)``. With ``ln y`` as the response this is a power law whose exponent
    drifts, and with ``c > 0`` a U.

    Source: a standard form without a single source.
    """
    log_x = jnp.log(x)
    return a + log_x * (b + c * log_x)


@law(
    inputs=dict(z=Input("", low=-math.inf, typical=(0.0, 20.0))),
    response=ANYTHING,
    a=coefficient(range=LEVEL, meaning="value at z = 0 of the line before the knee"),
    b=coefficient(range=SLOPE, meaning="slope before the knee"),
    c=coefficient(range=SLOPE, meaning="change of slope at the knee"),
    z0=location("z", real, range=(-100.0, 100.0), meaning="place of the knee"),
    s=positive_number(range=(0.05, 5.0), meaning="width of the knee"),
    formula=r"y = a + b z + c s \ln\left(1 + e^{(z - z_0)/s}\right)",
    source=f"segmented regression with a smooth knee, {STANDARD}",
    affine=("a", "b", "c"),
    checks=(
        Check(0.41682, at=dict(z=5.0), params=KNEE),
        Check(-7.0, at=dict(z=20.0), params=KNEE),
    ),
)
def smooth_hinge(z, *, a, b, c, z0, s):
    """A line whose slope changes at a rounded knee.

    ``y = a + b * z + c * s * ln(1 + exp((z - z0) / s))``

    The slope is ``b`` before and ``b + c`` after the knee; ``s -> 0`` is the broken line
    ``a + b * z + c * max(z - z0, 0)``. Give ``ln x`` as ``z``, and ``ln y`` as the response, for breaks of power laws.

    Source: a standard form without a single source.
    """
    return a + b * z + c * s * jnp.logaddexp(0.0, (z - z0) / s)
