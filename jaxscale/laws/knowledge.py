"""Knowledge capacity of models."""

from jaxscale.law import Check, Input, Response, law, location, positive, positive_number

FAMILY = "downstream"
CAPACITY = "Physics of Language Models: Part 3.3, Knowledge Capacity Scaling Laws, Allen-Zhu 2024"


@law(
    inputs=dict(N=Input("parameters", lower=1e5)),
    response=Response("bits", positive),
    R=positive_number(range=(0.05, 20.0), unit="bits/parameter", meaning="capacity of a parameter"),
    formula=r"\mathrm{bits} = R N",
    source=CAPACITY,
    affine=("R",),
    published=dict(allenzhu2024=dict(R=2.0)),
    checks=(Check(1.4e10, at=dict(N=7e9), params="allenzhu2024"),),
)
def knowledge_bits(N, *, R):
    """Knowledge that a model stores, in proportion to its parameters.

    ``bits = R * N``

    The published capacity holds after about 1000 exposures to each fact, and at 8 bits as well; fewer
    exposures and 4 bits give less.

    Source: Allen-Zhu 2024.
    """
    return R * N


@law(
    inputs=dict(x=Input("exposures", typical=(10.0, 1e4))),
    response=Response("bits/parameter", positive),
    R_max=positive_number(range=(0.05, 20.0), unit="bits/parameter", meaning="capacity after endless exposure"),
    x0=location("x", range=(1.0, 1e4), unit="exposures", meaning="exposures that give half the capacity"),
    formula=r"R = R_{\max} \frac{x}{x + x_0}",
    source=f"{CAPACITY}; unconfirmed form",
    affine=("R_max",),
    checks=(
        Check(1.0, at=dict(x=100.0), params=dict(R_max=2.25, x0=125.0)),
        Check(2.0, at=dict(x=1000.0), params=dict(R_max=2.25, x0=125.0)),
    ),
)
def knowledge_exposure(x, *, R_max, x0):
    """Capacity of a parameter, which saturates as every fact is seen more often.

    ``R = R_max * x / (x + x0)``

    The paper gives about 1 bit at 100 exposures and 2 at 1000; the curve through both is a candidate
    of its own. Precision is no input: fit it per precision.

    Source: Allen-Zhu 2024; unconfirmed form.
    """
    return R_max / (1 + x0 / x)
