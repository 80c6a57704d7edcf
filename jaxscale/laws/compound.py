"""Compound scaling: depth, width and resolution grown together."""

import math
from typing import Any

from jaxscale.law import Check, Input, Response, fraction, law, positive, positive_number

FAMILY = "architecture"
MULTIPLIER = Response("multiplier", positive)
PHI = Input("compound coefficient", low=-math.inf, typical=(0.0, 8.0))
FACTOR = Input("factor of FLOPs", typical=(1.0, 1e3))
TAN = "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan 2019, arXiv:1905.11946"
DOLLAR = "Fast and Accurate Model Scaling, Dollar 2021"
EFFICIENTNET = dict(alpha=1.2, beta=1.1, gamma=1.15)


def _base(of: str) -> Any:
    return positive_number(range=(1.01, 2.0), meaning=f"factor of the {of} at phi = 1")


@law(
    inputs=dict(phi=PHI),
    response=MULTIPLIER,
    alpha=_base("depth"),
    formula=r"d = \alpha^{\phi}",
    source=TAN,
    published=dict(tan2019=dict(alpha=1.2)),
)
def efficientnet_compound_d(phi, *, alpha):
    """Depth multiplier of a network at a compound coefficient.

    ``d = alpha**phi``

    Goes with ``efficientnet_compound_w`` and ``efficientnet_compound_r``; the bases come
    from a search at ``phi = 1``.

    Source: Tan 2019, arXiv:1905.11946.
    """
    return alpha**phi


@law(
    inputs=dict(phi=PHI),
    response=MULTIPLIER,
    beta=_base("width"),
    formula=r"w = \beta^{\phi}",
    source=TAN,
    published=dict(tan2019=dict(beta=1.1)),
)
def efficientnet_compound_w(phi, *, beta):
    """Width multiplier of a network at a compound coefficient.

    ``w = beta**phi``

    Goes with ``efficientnet_compound_d`` and ``efficientnet_compound_r``.

    Source: Tan 2019, arXiv:1905.11946.
    """
    return beta**phi


@law(
    inputs=dict(phi=PHI),
    response=MULTIPLIER,
    gamma=_base("resolution"),
    formula=r"r = \gamma^{\phi}",
    source=TAN,
    published=dict(tan2019=dict(gamma=1.15)),
)
def efficientnet_compound_r(phi, *, gamma):
    """Resolution multiplier of a network at a compound coefficient.

    ``r = gamma**phi``

    Goes with ``efficientnet_compound_d`` and ``efficientnet_compound_w``.

    Source: Tan 2019, arXiv:1905.11946.
    """
    return gamma**phi


@law(
    inputs=dict(phi=PHI),
    response=MULTIPLIER,
    alpha=_base("depth"),
    beta=_base("width"),
    gamma=_base("resolution"),
    formula=r"\frac{F}{F_0} = \left(\alpha \beta^2 \gamma^2\right)^{\phi}",
    source=TAN,
    published=dict(tan2019=EFFICIENTNET),
    checks=(
        Check(1.9203, at=dict(phi=1.0), params="tan2019"),
        Check(13.60, at=dict(phi=4.0), params="tan2019"),
    ),
)
def efficientnet_compound_f(phi, *, alpha, beta, gamma):
    """FLOPs multiplier of a network at a compound coefficient.

    ``F / F_0 = (alpha * beta**2 * gamma**2)**phi``

    The search asks for about 2 in the bracket and the rounded bases give 1.92. FLOPs alone leave only
    the product of the bases determined.

    Source: Tan 2019, arXiv:1905.11946.
    """
    return (alpha * beta**2 * gamma**2) ** phi


@law(
    inputs=dict(s=FACTOR),
    response=MULTIPLIER,
    e_d=fraction(meaning="share of the FLOPs that goes into depth"),
    formula=r"d = s^{e_d}",
    source=DOLLAR,
)
def fast_compound_d(s, *, e_d):
    """Depth multiplier of a network with s times the FLOPs.

    ``d = s**e_d``

    The shares of depth, width and resolution add to 1. The fast family gives width the share ``alpha``
    and depth and resolution ``(1 - alpha) / 2`` each.

    Source: Dollar 2021.
    """
    return s**e_d


@law(
    inputs=dict(s=FACTOR),
    response=MULTIPLIER,
    e_w=fraction(meaning="share of the FLOPs that goes into width"),
    formula=r"w = s^{e_w/2}",
    source=DOLLAR,
)
def fast_compound_w(s, *, e_w):
    """Width multiplier of a network with s times the FLOPs.

    ``w = s**(e_w / 2)``

    FLOPs rise with the square of the width. The shares of depth, width and resolution add to 1.

    Source: Dollar 2021.
    """
    return s ** (e_w / 2)


@law(
    inputs=dict(s=FACTOR),
    response=MULTIPLIER,
    e_r=fraction(meaning="share of the FLOPs that goes into resolution"),
    formula=r"r = s^{e_r/2}",
    source=DOLLAR,
)
def fast_compound_r(s, *, e_r):
    """Resolution multiplier of a network with s times the FLOPs.

    ``r = s**(e_r / 2)``

    FLOPs rise with the square of the resolution. The shares of depth, width and resolution add to 1.

    Source: Dollar 2021.
    """
    return s ** (e_r / 2)


@law(
    inputs=dict(s=FACTOR),
    response=MULTIPLIER,
    e_w=fraction(meaning="share of the FLOPs that goes into width"),
    formula=r"a = s^{e_d + e_w/2 + e_r} = s^{1 - e_w/2}",
    source=DOLLAR,
)
def fast_compound_a(s, *, e_w):
    """Activation multiplier of a network with s times the FLOPs.

    ``a = s**(e_d + e_w / 2 + e_r)``, which is ``s**(1 - e_w / 2)`` as the shares add to 1

    All into width gives ``sqrt(s)``, none of it gives ``s``: this decides how fast the network runs.

    Source: Dollar 2021.
    """
    return s ** (1 - e_w / 2)
