"""Curves whose slope changes at breaks."""

from typing import Any

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Law,
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
from jaxscale.law.family import Family, with_signature

FAMILY = "curves"


def _declarations(count: int) -> dict[str, Any]:
    """The parameters of a law with ``count`` breaks, in the paper's letters."""
    declared = dict(
        a=floor(meaning="level reached after the last break"),
        b=amplitude(x="c0", range=(1e-6, 1e9), meaning="distance from the floor at x = 1"),
        c0=exponent(real, range=(-1.0, 2.0), meaning="slope before the first break, with its sign turned"),
    )
    for i in range(1, count + 1):
        declared[f"c{i}"] = coefficient(range=(-2.0, 2.0), meaning=f"change of slope at break {i}")
        declared[f"d{i}"] = location("x", meaning=f"place of break {i}")
        declared[f"f{i}"] = positive_number(range=(0.05, 5.0), meaning=f"width of break {i} in log x")
    return declared


def _broken(count: int) -> Law:
    """The broken law with ``count`` breaks."""
    declared = _declarations(count)

    def broken(x, *, a, b, c0, **breaks):
        """A power law whose slope changes smoothly at one or more breaks, towards a floor.

        ``y = a + b * x**-c0 * prod_i (1 + (x / d_i)**(1 / f_i))**(-c_i * f_i)``

        In log-log axes, and above the floor, the slope is ``-c0`` before the first break and
        ``-(c0 + c1)`` after it, and so on. Order the breaks, ``d1 < d2 < ...``, when reading a fit:
        the law is the same whichever comes first.

        Source: Broken Neural Scaling Laws, Caballero 2022, arXiv:2210.14891.
        """
        # In logs, as (x / d)**(1 / f) overflows where the break is sharp.
        log_x = jnp.log(x)
        log_term = -c0 * log_x
        for i in range(1, count + 1):
            c, d, f = breaks[f"c{i}"], breaks[f"d{i}"], breaks[f"f{i}"]
            log_term = log_term - c * f * jnp.logaddexp(0.0, (log_x - jnp.log(d)) / f)
        return a + b * jnp.exp(log_term)

    one = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
    return law(
        name=f"bnsl{count}",
        inputs=dict(x=Input("")),
        response=Response("", positive),
        formula=rf"y = a + b x^{{-c_0}} \prod_{{i=1}}^{count} \left(1 + (x/d_i)^{{1/f_i}}\right)^{{-c_i f_i}}",
        source="Broken Neural Scaling Laws, Caballero 2022, arXiv:2210.14891",
        affine=("a", "b"),
        checks=(Check(1.2319, at=dict(x=1e6), params=one),) if count == 1 else (),
        **declared,
    )(with_signature(broken, ["x"], declared))


bnsl = Family("bnsl", _broken, largest=8, listed=(1, 2, 3))
