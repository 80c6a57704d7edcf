"""Power laws in one input, for anything."""

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, location, positive, real


@law(
    inputs=dict(x=Input("")),
    response=Response("", positive),
    a=amplitude(x="-b", range=(1e-6, 1e9), meaning="value at x = 1"),
    b=exponent(real, range=(-5.0, 5.0), meaning="slope of log y in log x"),
    formula=r"y = a x^{b}",
    either_sign="power_law_offset",
    source="the power law, a standard form without a single source",
    affine=("a",),
)
def power_law(x, *, a, b):
    """Power law, a straight line in log-log axes.

    ``y = a * x**b``

    ``b`` may have either sign; a fit of linear residuals and a fit of log residuals differ.

    Source: a standard form without a single source.
    """
    return a * x**b


@law(
    inputs=dict(x=Input("")),
    response=Response("", positive),
    c=floor(meaning="level reached as x grows"),
    a=amplitude(x="b", range=(1e-6, 1e9), meaning="distance from the floor at x = 1"),
    b=exponent(),
    formula=r"y = c + a x^{-b}",
    either_sign="power_law_offset",
    source="the power law with a floor, a standard form without a single source",
    affine=("c", "a"),
)
def power_law_floor(x, *, c, a, b):
    """Power law with a floor.

    ``y = c + a * x**-b``

    As ``b`` goes to 0 the term ``a`` and the floor ``c`` become one: few points leave the floor open.

    Source: a standard form without a single source.
    """
    return c + a * x**-b


@law(
    inputs=dict(x=Input("")),
    response=Response("", real),
    c=floor(real, meaning="level reached as x grows"),
    a=amplitude(real, x="b", range=(-1e6, 1e6), meaning="distance from the floor at x + x0 = 1"),
    x0=location("x", real, range=(1e-3, 1e9), meaning="shift of x"),
    b=exponent(),
    formula=r"y = c + a (x + x_0)^{-b}",
    source="the shifted power law, a standard form without a single source",
    affine=("c", "a"),
    checks=(Check(0.2886, at=dict(x=1e5), params=dict(c=0.2, a=5.0, x0=1e3, b=0.35)),),
)
def shifted_power(x, *, c, a, x0, b):
    """Power law with a shift and a floor, which flattens below ``x0``.

    ``y = c + a * (x + x0)**-b`` for ``x > -x0``

    With ``c = 0`` this is the law of Zipf and Mandelbrot; ``a``, ``x0`` and ``b`` are strongly correlated.

    Source: a standard form without a single source.
    """
    return c + a * (x + x0) ** -b
