"""Response of materials to temperature and stress."""

import math

import jax.numpy as jnp

from jaxscale.law import Input, Response, coefficient, law, positive, positive_number, real

FAMILY = "sciences"


@law(
    inputs=dict(x=Input("temperature", low=-math.inf, typical=(500.0, 2000.0))),
    response=Response("", positive),
    a=positive_number(range=(1e-20, 1e20), meaning="value at infinite temperature"),
    b=coefficient(range=(-2e4, 2e4), meaning="barrier as a temperature, negative where the value rises with x"),
    x0=coefficient(range=(-450.0, 450.0), meaning="shift of temperature"),
    formula=r"y = a e^{b/(x + x_0)}",
    source="the laws of Arrhenius and of Vogel, Fulcher and Tammann, a standard form without a single source",
    affine=("a",),
)
def vogel_fulcher(x, *, a, b, x0):
    """Vogel-Fulcher-Tammann law of thermal activation, with a divergence at a finite temperature.

    ``y = a * exp(b / (x + x0))`` for ``x > -x0``

    ``x0 = 0`` is the law of Arrhenius, where ``b`` is the activation energy over the gas constant: a viscosity has
    ``b > 0``, a rate ``b < 0``. ``a`` spans many orders of magnitude and is strongly correlated with ``b``: fit logs.

    Source: a standard form without a single source.
    """
    return a * jnp.exp(b / (x + x0))


@law(
    inputs=dict(
        x1=Input("time", low=-math.inf, typical=(1.0, 100.0)),
        x2=Input("stress", low=-math.inf, typical=(0.0, 10.0)),
    ),
    response=Response("log", real),
    b1=coefficient(range=(-1e2, 1e3), meaning="logarithm of the strength at time 0"),
    b2=positive_number(range=(1e-10, 1e2), meaning="loss of log strength per unit time at zero stress"),
    b3=coefficient(range=(-2.0, 2.0), meaning="fall of the log rate with stress, negative where stress speeds it up"),
    formula=r"\ln y = b_1 - b_2 x_1 e^{-b_3 x_2}",
    source="degradation under stress over time, a standard form, problem Nelson of the NIST Statistical Reference "
    "Datasets",
    affine=("b1", "b2"),
    decreasing=("x1",),
)
def two_input_decay(x1, x2, *, b1, b2, b3):
    """The logarithm of strength falls in proportion to time, at a rate set by stress.

    ``ln(y) = b1 - b2 * x1 * exp(-b3 * x2)``

    The law gives ``ln(y)``: take the logarithm of the response first. Shift and scale ``x2`` to about 1, as ``b2``
    and ``b3`` are strongly correlated.

    Source: a standard form; NIST Statistical Reference Datasets, problem Nelson.
    """
    return b1 - b2 * x1 * jnp.exp(-b3 * x2)
