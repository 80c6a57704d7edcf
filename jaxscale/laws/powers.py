"""Power laws with a ceiling, a shift, a cutoff or a second term."""

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
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
STANDARD = "a standard form without a single source"


@law(
    inputs=dict(x=X),
    response=Response("", real),
    c=positive_number(range=(1e-3, 1e6), meaning="level reached as x grows"),
    a=amplitude(x="b", range=(1e-6, 1e9), meaning="distance below the ceiling at x = 1"),
    b=exponent(meaning="power with which the distance falls"),
    formula=r"y = c - a x^{-b}",
    either_sign="power_law_offset",
    source=f"the power law below a ceiling, {STANDARD}",
    affine=("c", "a"),
)
def power_law_cap(x, *, c, a, b):
    """Power law with a ceiling.

    ``y = c - a * x**-b``

    A bounded metric needs ``c <= 1``, which the law does not enforce; below ``x = (a / c)**(1 / b)`` it is negative.

    Source: a standard form without a single source.
    """
    return c - a * x**-b


@law(
    inputs=dict(x=X),
    response=Response("", positive),
    a1=amplitude(x="-b1", range=(1e-6, 1e9), meaning="first term at x = 1"),
    b1=exponent(real, range=(-2.0, 1.5), meaning="power of the first term, the smaller one"),
    a2=amplitude(x="-b2", range=(1e-6, 1e9), meaning="second term at x = 1"),
    b2=exponent(real, range=(-1.5, 2.0), meaning="power of the second term, the larger one"),
    formula=r"y = a_1 x^{b_1} + a_2 x^{b_2}",
    source=f"the sum of two powers, {STANDARD}",
    affine=("a1", "a2"),
)
def sum_of_powers(x, *, a1, b1, a2, b2):
    """Sum of two power laws.

    ``y = a1 * x**b1 + a2 * x**b2``

    With ``b1 < 0 < b2`` the curve is a U with one minimum. The terms can swap: order them, ``b1 < b2``, when
    reading a fit.

    Source: a standard form without a single source.
    """
    return a1 * x**b1 + a2 * x**b2


@law(
    inputs=dict(x=X),
    response=Response("", positive),
    c=floor(meaning="level added to both terms"),
    a1=amplitude(x="-b1", range=(1e-6, 1e9), meaning="first term at x = 1"),
    b1=exponent(real, range=(-2.0, 1.5), meaning="power of the first term, the smaller one"),
    a2=amplitude(x="-b2", range=(1e-6, 1e9), meaning="second term at x = 1"),
    b2=exponent(real, range=(-1.5, 2.0), meaning="power of the second term, the larger one"),
    formula=r"y = c + a_1 x^{b_1} + a_2 x^{b_2}",
    source=f"the sum of two powers and a constant, {STANDARD}",
    affine=("c", "a1", "a2"),
)
def sum_of_powers_floor(x, *, c, a1, b1, a2, b2):
    """Sum of two power laws and a level.

    ``y = c + a1 * x**b1 + a2 * x**b2``

    A term whose power nears 0 is one with ``c``. The terms can swap: order them, ``b1 < b2``, when reading a fit.

    Source: a standard form without a single source.
    """
    return c + a1 * x**b1 + a2 * x**b2


@law(
    inputs=dict(x=Input("examples", typical=(10.0, 1e9))),
    response=Response("error", positive),
    b=amplitude(x="c", range=(1e-6, 1e9), meaning="distance from the floor at x = 1"),
    g=positive_number(range=(1e-12, 1e-1), unit="1/examples", meaning="rest of 1/x that no data remove"),
    c=exponent(meaning="power of the examples"),
    e_inf=floor(meaning="error left once the shifted power is 0"),
    formula=r"\mathrm{err} = b \left(\frac{1}{x} + g\right)^{c} + e_\infty",
    source="Revisiting Neural Scaling Laws in Language and Vision, Alabdulmohsin 2022, arXiv:2209.06640",
    affine=("b", "e_inf"),
    decreasing=("x",),
)
def shifted_power_data(x, *, b, g, c, e_inf):
    """The error falls as a power of the examples until a shift of ``1/x`` stops it.

    ``err = b * (1 / x + g)**c + e_inf``

    The curve ends at ``b * g**c + e_inf``: ``g`` alone makes a floor, so ``g`` and ``e_inf`` are confounded unless
    the data show how the curve flattens.

    Source: Alabdulmohsin 2022, arXiv:2209.06640.
    """
    return b * (1 / x + g) ** c + e_inf


@law(
    inputs=dict(x=Input("", typical=(1e-2, 1e2))),
    response=Response("", positive),
    a=amplitude(x="b", range=(1e-6, 1e9), meaning="value at x = 1 without the cutoff"),
    b=exponent(real, range=(-3.0, 3.0), meaning="power before the cutoff, with its sign turned"),
    x_c=location("x", range=(1.0, 1e6), meaning="place of the exponential cutoff"),
    formula=r"y = a x^{-b} e^{-x/x_c}",
    source=f"the power law with an exponential cutoff, {STANDARD}",
    affine=("a",),
    checks=(
        Check(0.07358, at=dict(x=100.0), params=dict(a=2.0, b=0.5, x_c=100.0)),
        Check(4.8721, at=dict(x=6.0), params=dict(a=1.0, b=-2.0, x_c=3.0)),
    ),
)
def power_cutoff(x, *, a, b, x_c):
    """Power law with an exponential cutoff.

    ``y = a * x**-b * exp(-x / x_c)``

    With ``b < 0`` the curve rises and falls, with its peak at ``x = -b * x_c``.

    Source: a standard form without a single source.
    """
    # One exponential: far beyond the cutoff a large power would meet a small exponential.
    return a * jnp.exp(-b * jnp.log(x) - x / x_c)
