"""Sums of cycles."""

import math
from typing import Any

import jax.numpy as jnp

from jaxscale.law import Input, Law, Response, coefficient, law, positive_number, real
from jaxscale.law.family import Family, with_signature

FAMILY = "curves"


def _declarations(count: int) -> dict[str, Any]:
    """The parameters of a level and a number of cycles."""
    declared: dict[str, Any] = dict(b1=coefficient(range=(-1e5, 1e6), meaning="level about which the cycles swing"))
    for i in range(1, count + 1):
        declared[f"p{i}"] = coefficient(range=(-1e5, 1e5), meaning=f"cosine part of cycle {i}")
        declared[f"q{i}"] = coefficient(range=(-1e5, 1e5), meaning=f"sine part of cycle {i}")
        declared[f"T{i}"] = positive_number(range=(1.0, 1e3), meaning=f"period of cycle {i}")
    return declared


def _cycles(count: int) -> Law:
    """The sum of ``count`` cycles."""
    declared = _declarations(count)

    def cycles(x, **params):
        """Cycles of several periods about a level.

        ``y = b1 + sum_i (p_i * cos(2 * pi * x / T_i) + q_i * sin(2 * pi * x / T_i))``

        The fit has many optima in the periods: fix those that are known, start the rest from a periodogram, and
        note that periods below two steps are aliased. Cycles can swap.

        Source: a standard form without a single source.
        """
        y = params["b1"]
        for i in range(1, count + 1):
            angle = 2 * jnp.pi * x / params[f"T{i}"]
            y = y + params[f"p{i}"] * jnp.cos(angle) + params[f"q{i}"] * jnp.sin(angle)
        return y

    return law(
        name=f"sinusoids{count}",
        inputs=dict(x=Input("", low=-math.inf, typical=(0.0, 100.0))),
        response=Response("", real),
        formula=rf"y = b_1 + \sum_{{i=1}}^{count} \left(p_i \cos\frac{{2 \pi x}}{{T_i}} "
        r"+ q_i \sin\frac{2 \pi x}{T_i}\right)",
        source="the sum of sinusoids, a standard form without a single source",
        affine=tuple(name for name in declared if not name.startswith("T")),
        **declared,
    )(with_signature(cycles, ["x"], declared))


sinusoids = Family("sinusoids", _cycles, largest=6, listed=(1, 2, 3))
