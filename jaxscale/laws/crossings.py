"""Maximum of several power laws."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxscale.law import Input, Law, Response, amplitude, exponent, law, positive, positive_number
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "curves"
X = Input("")
SOURCE = "the largest of several power laws, a standard form without a single source"


def _declarations(terms: int) -> dict[str, Any]:
    """The parameters of a number of power laws; later ones, which take over as x grows, are smaller at x = 1."""
    declared = {}
    for i in range(1, terms + 1):
        declared[f"a{i}"] = amplitude(x=f"b{i}", range=(10.0 ** (-3 - i), 1e9), meaning=f"term {i} at x = 1")
        declared[f"b{i}"] = exponent(meaning=f"power of term {i}, with its sign turned")
    return declared


def _log_terms(x: Numbers, params: dict[str, Numbers], terms: int) -> list[Numbers]:
    """The logarithm of each power law."""
    return [jnp.log(params[f"a{i}"]) - params[f"b{i}"] * jnp.log(x) for i in range(1, terms + 1)]


def _hard(count: int) -> Law:
    """The largest of the power laws, with ``count`` crossings."""
    terms = count + 1
    declared = _declarations(terms)

    def largest(x, **params):
        """Maximum of several power laws, with a corner at each crossing.

        ``y = max_i (a_i * x**-b_i)``

        The number in the name counts crossings: ``max_of_powers[1]`` has two power laws. A term that no data see as
        the largest is not identified, and the terms can swap: order them, ``b1 > b2 > ...``, when reading a fit.

        Source: a standard form without a single source.
        """
        log_y, *rest = _log_terms(x, params, terms)
        for other in rest:
            log_y = jnp.maximum(log_y, other)
        return jnp.exp(log_y)

    return law(
        name=f"max_of_powers{count}",
        inputs=dict(x=X),
        response=Response("", positive),
        formula=rf"y = \max_{{i=1,\ldots,{terms}}} a_i x^{{-b_i}}",
        source=SOURCE,
        decreasing=("x",),
        **declared,
    )(with_signature(largest, ["x"], declared))


def _smooth(count: int) -> Law:
    """The q-norm of the power laws, with ``count`` crossings."""
    terms = count + 1
    declared: dict[str, Any] = _declarations(terms) | dict(
        q=positive_number(range=(1.0, 50.0), meaning="sharpness of the crossings")
    )

    def norm(x, **params):
        """Smooth maximum of several power laws, with a rounded corner at each crossing.

        ``y = (sum_i (a_i * x**-b_i)**q)**(1 / q)`` with ``q > 1``

        ``q = 1`` is the sum and ``q -> inf`` the maximum; where two terms are equal the value is ``2**(1 / q)`` times
        either. The number in the name counts crossings: ``max_of_powers_smooth[1]`` has two power laws.

        Source: a standard form without a single source.
        """
        q = params["q"]
        return jnp.exp(jax.nn.logsumexp(jnp.stack([q * term for term in _log_terms(x, params, terms)]), axis=0) / q)

    return law(
        name=f"max_of_powers_smooth{count}",
        inputs=dict(x=X),
        response=Response("", positive),
        formula=rf"y = \left(\sum_{{i=1}}^{terms} \left(a_i x^{{-b_i}}\right)^{{q}}\right)^{{1/q}}",
        source=SOURCE,
        decreasing=("x",),
        **declared,
    )(with_signature(norm, ["x"], declared))


max_of_powers = Family("max_of_powers", _hard, largest=4, listed=(1, 2))
max_of_powers_smooth = Family("max_of_powers_smooth", _smooth, largest=4, listed=(1, 2))
