"""Products of powers of several inputs."""

import math
from typing import Any

from jaxscale.law import Input, Law, Response, amplitude, exponent, law, positive, real
from jaxscale.law.family import Family, with_signature

FAMILY = "curves"


def _product(count: int) -> Law:
    """The product of powers of ``count`` inputs."""
    inputs = {f"x{i}": Input("", typical=(1e-2, 1e4)) for i in range(1, count + 1)}
    powers: dict[str, Any] = {f"x{i}": f"-b{i}" for i in range(1, count + 1)}
    declared: dict[str, Any] = dict(
        k=amplitude(range=(1e-6, 1e9), meaning="value where every input is 1", **powers)
    ) | {f"b{i}": exponent(real, range=(-2.0, 2.0), meaning=f"power of x{i}") for i in range(1, count + 1)}

    def product(*x, **params):
        """A product of powers of several inputs, of either sign: a plane in the logarithms.

        ``y = k * prod_i x_i**b_i``

        Whatever the inputs stand for, name their columns: ``k * N**a * D**b`` has ``x1`` for N and ``x2`` for D.
        With powers that add up to 1 it is the production function of Cobb and Douglas.

        Source: a standard form without a single source.
        """
        return params["k"] * math.prod(each ** params[f"b{i}"] for i, each in enumerate(x, 1))

    return law(
        name=f"power_product{count}",
        inputs=inputs,
        response=Response("", positive),
        formula=r"y = k " + " ".join(rf"x_{i}^{{b_{i}}}" for i in range(1, count + 1)),
        source="the product of powers, a standard form without a single source",
        affine=("k",),
        **declared,
    )(with_signature(product, inputs, declared))


power_product = Family("power_product", _product, largest=5, listed=(2, 3))
