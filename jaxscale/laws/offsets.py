"""A power and an exponential on top of a constant, with parameters of either sign."""

import math
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Float

from jaxscale.law import Check, Input, Response, amplitude, coefficient, exponent, floor, law, real
from jaxscale.law.coordinates import Centre
from jaxscale.utils.arrays import Array, Numbers

FAMILY = "curves"
STANDARD = "a standard form without a single source"


@law(
    inputs=dict(x=Input("")),
    response=Response("", real),
    c=floor(real, range=(-1e6, 1e6), meaning="constant"),
    a=amplitude(real, x="-b", range=(-1e6, 1e6), meaning="term at x = 1"),
    b=exponent(real, range=(-5.0, 5.0), meaning="power of x"),
    formula=r"y = c + a x^{b}",
    source=f"the power law with a constant, {STANDARD}",
    affine=("c", "a"),
    checks=(Check(-1.75, at=dict(x=4.0), params=dict(c=-2.0, a=4.0, b=-2.0)),),
)
def power_law_offset(x, *, c, a, b):
    """A power law plus a constant, whose constant, factor and power may have either sign.

    ``y = c + a * x**b``

    With ``b < 0`` the constant is the level reached as ``x`` grows, and with ``b > 0`` the value at ``x = 0``.
    ``power_law_floor`` and ``power_law_cap`` are this law with signs that are known. As ``b`` goes to 0 it is a
    straight line in ``log(x)``, and ``a`` and ``c`` become one.

    Source: a standard form without a single source.
    """
    return c + a * x**b


def _to_params(z: Sequence[Numbers] | Float[Array, "size ..."], centre: Centre) -> dict[str, Numbers]:
    """Parameters from the values at both ends of the data, and the rate over their span."""
    low, span = centre.low["x"], centre.high["x"] - centre.low["x"]
    first, last, rate = z[0], z[1], z[2]
    term, b = (last - first) / jnp.expm1(rate), rate / span
    return dict(c=first - term, a=term * jnp.exp(-b * low), b=b)


def _from_params(params: Mapping[str, Numbers], centre: Centre) -> list[Numbers]:
    """The inverse of :func:`_to_params`."""
    first, last = (
        params["c"] + params["a"] * jnp.exp(params["b"] * end) for end in (centre.low["x"], centre.high["x"])
    )
    return [first, last, params["b"] * (centre.high["x"] - centre.low["x"])]


@law(
    inputs=dict(x=Input("", low=-math.inf, typical=(0.0, 100.0))),
    response=Response("", real),
    c=floor(real, range=(-1e6, 1e6), meaning="constant"),
    a=coefficient(range=(-1e6, 1e6), meaning="term at x = 0"),
    b=coefficient(range=(-0.5, 0.5), meaning="rate, positive for growth"),
    formula=r"y = c + a e^{b x}",
    source=f"the exponential with a constant, {STANDARD}",
    affine=("c", "a"),
    # The parameters trade off: a term far outside the data, or a straight line. The values at the ends do not.
    coordinates=(_to_params, _from_params),
    checks=(Check(5.0, at=dict(x=6.0), params=dict(c=-3.0, a=2.0, b=math.log(2) / 3)),),
)
def exp_offset(x, *, c, a, b):
    """An exponential plus a constant, whose constant, factor and rate may have either sign.

    ``y = c + a * exp(b * x)``

    With ``b > 0`` the curve leaves the constant exponentially, with ``b < 0`` it approaches it, as
    ``exp_decay_floor`` does. ``a`` is the term at ``x = 0``, which may lie far outside the data. As ``b`` goes to 0
    the curve is a straight line, and ``a`` and ``c`` become one.

    Source: a standard form without a single source.
    """
    return c + a * jnp.exp(b * x)
