"""Speed-up by parallel devices."""

from jaxscale.law import Check, Input, Response, fraction, law, positive

FAMILY = "sciences"
DEVICES = Input("devices", typical=(1.0, 1e5))
_PARALLEL = fraction(meaning="share of the work that runs in parallel")
_SOURCE = (
    "Amdahl's law, a standard form; Optimizing Distributed Training on Frontier for Large Language Models, Dash 2023"
)


@law(
    inputs=dict(p=DEVICES),
    response=Response("", positive),
    f=_PARALLEL,
    formula=r"S = \frac{1}{(1 - f) + f/p}",
    source=_SOURCE,
    checks=(Check(15.42, at=dict(p=64.0), params=dict(f=0.95)),),
)
def amdahl(p, *, f):
    """The speed-up of a fixed job is capped by its serial part.

    ``S = 1 / ((1 - f) + f / p)``

    It never exceeds ``1 / (1 - f)``; for a job that grows with the devices see ``amdahl_gustafson``.

    Source: a standard form; Dash 2023.
    """
    return 1 / ((1 - f) + f / p)


@law(
    inputs=dict(p=DEVICES),
    response=Response("", positive),
    f=_PARALLEL,
    formula=r"\frac{T_1}{p T_p} = \frac{1}{p (1 - f) + f}",
    source=_SOURCE,
    decreasing=("p",),
)
def amdahl_efficiency(p, *, f):
    """The share of the devices that a fixed job keeps busy falls as they are added.

    ``T_1 / (p * T_p) = 1 / (p * (1 - f) + f)``

    The speed-up of ``amdahl`` per device.

    Source: a standard form; Dash 2023.
    """
    return 1 / (p * (1 - f) + f)


@law(
    inputs=dict(p=DEVICES),
    response=Response("", positive),
    f=_PARALLEL,
    formula=r"S = (1 - f) + f p",
    source="Gustafson's law, a standard form; "
    "Optimizing Distributed Training on Frontier for Large Language Models, Dash 2023",
    affine=("f",),
    checks=(Check(60.85, at=dict(p=64.0), params=dict(f=0.95)),),
)
def amdahl_gustafson(p, *, f):
    """The speed-up of a job that grows with the devices has no cap.

    ``S = (1 - f) + f * p``

    ``f`` is the parallel share of the time on many devices here, and of the time on one device in ``amdahl``.

    Source: a standard form; Dash 2023.
    """
    return (1 - f) + f * p
