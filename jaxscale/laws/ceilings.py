"""Error curves that start at a ceiling and end at a floor."""

import jax
import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, positive, positive_number, real
from jaxscale.law.root_finding import bracketed_root

FAMILY = "curves"
CLOSED = dict(e_inf=0.1, e_0=1.0, alpha=1.0, b=10.0, c=-0.5)


@law(
    inputs=dict(x=Input("samples, parameters or FLOPs")),
    response=Response("error", positive),
    e_inf=floor(range=(0.0, 0.5), meaning="error reached as x grows"),
    e_0=positive_number(range=(0.5, 20.0), meaning="error of a guess, reached as x goes to 0"),
    alpha=exponent(range=(0.01, 3.0), meaning="power of the distance to the ceiling"),
    b=amplitude(x="-c", range=(1e-3, 1e9), meaning="the left side at x = 1"),
    c=exponent(real, range=(-2.0, -0.01), meaning="slope of the left side in log-log axes"),
    formula=r"\frac{\mathrm{err} - e_\infty}{(e_0 - \mathrm{err})^{\alpha}} = b\, x^{c}",
    source="Revisiting Neural Scaling Laws in Language and Vision, Alabdulmohsin 2022, arXiv:2209.06640",
    decreasing=("x",),
    checks=(
        Check(0.9182, at=dict(x=1.0), params=CLOSED),
        Check(0.55, at=dict(x=100.0), params=CLOSED, rtol=5e-3),
        Check(0.1089, at=dict(x=1e6), params=CLOSED),
    ),
)
def implicit_sigmoid_power(x, *, e_inf, e_0, alpha, b, c):
    """Error that falls from a ceiling as a power of ``x`` to a floor.

    ``(err - e_inf) / (e_0 - err)**alpha = b * x**c`` with ``c < 0`` and ``e_inf < err < e_0``

    The equation is implicit in the error; there is exactly one solution. As ``alpha`` goes to 0 the ceiling
    ``e_0`` vanishes and the power law with a floor remains; with ``alpha = 1`` the curve is a logistic in
    ``log x``. Needs ``e_0 > e_inf``.

    Source: Alabdulmohsin 2022.
    """
    # With err = e_inf + (e_0 - e_inf) * sigmoid(u) the left side is smooth in u and spans all sizes.
    log_span = jnp.log(e_0 - e_inf)
    target = jnp.log(b) + c * jnp.log(x) - (1 - alpha) * log_span

    def excess(u):
        return -jnp.logaddexp(0.0, -u) + alpha * jnp.logaddexp(0.0, u) - target

    low = jnp.minimum(0.0, target - alpha * jnp.log(2.0))
    high = jnp.maximum(0.0, (target + jnp.log(2.0)) / jnp.maximum(alpha, 1e-12))
    return e_inf + (e_0 - e_inf) * jax.nn.sigmoid(bracketed_root(excess, low, high))
