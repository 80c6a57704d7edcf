"""Continual pre-training: loss on the new and on the old domain."""

import math

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    positive_number,
    real,
)

FAMILY = "transfer"
STEPS = Input("2e8 tokens", typical=(0.1, 1e3))
# Open below, as both may be 0: before the second phase, and at a constant rate.
RATE_SUM = Input("sum of learning rates", low=-math.inf, typical=(0.01, 5.0))
ANNEALING = Input("annealing area", low=-math.inf, typical=(1e-3, 0.5))
LOSS = Response("nat/token", real)
CHANGE = Response("nat/token", real)
GU = "CMR Scaling Law: Predicting Critical Mixture Ratios for Continual Pre-training of Language Models, Gu 2024"
WANG = "Learning Dynamics in Continual Pre-Training for Large Language Models, Wang 2025"
GENERAL = dict(L0=3.057, A=0.490, alpha=0.497, C1=0.299, C2=0.298, B=0.366, E=28.0, beta=0.189)
TARGET = dict(L0=3.024, A=0.412, alpha=0.677, C1=0.278, C2=0.324, B=-0.666, E=5662.0, beta=0.146)


@law(
    inputs=dict(T=STEPS),
    response=CHANGE,
    a1=amplitude(real, T="-s1", range=(-2.0, 1.0), meaning="size of the term at T = 1"),
    s1=exponent(real, range=(-1.5, 1.0), meaning="power of the training length"),
    b1=floor(real, range=(-1.0, 0.5), meaning="change where the term vanishes"),
    formula=r"\Delta L = a_1 T^{s_1} + b_1",
    source=GU,
    affine=("a1", "b1"),
)
def cmr_domain(T, *, a1, s1, b1):
    """Change of the loss on the new domain with the length of continual pre-training.

    ``dL = a1 * T**s1 + b1``

    After minus before, so a gain is negative; 20 billion tokens are ``T = 100``. Each share of domain data
    has its own fit.

    Source: Gu 2024.
    """
    return a1 * T**s1 + b1


@law(
    inputs=dict(T=STEPS),
    response=CHANGE,
    a2=amplitude(real, T="-s2", range=(-1.0, 2.0), meaning="size of the first term at T = 1"),
    s2=exponent(real, range=(-1.5, 1.0), meaning="power of the training length in the first term"),
    a3=amplitude(real, T="-s3", range=(-2.0, 1.0), meaning="size of the second term at T = 1"),
    s3=exponent(real, range=(-1.0, 1.5), meaning="power of the training length in the second term"),
    b2=floor(real, range=(-1.0, 0.5), meaning="change where both terms vanish"),
    formula=r"\Delta L = a_2 T^{s_2} + a_3 T^{s_3} + b_2",
    source=GU,
    affine=("a2", "a3", "b2"),
)
def cmr_general(T, *, a2, s2, a3, s3, b2):
    """Change of the loss on general text with the length of continual pre-training: a rise and a fall.

    ``dL = a2 * T**s2 + a3 * T**s3 + b2``

    ``a2`` and ``a3`` have opposite signs. The two terms can change places: order them, ``s2 < s3``, when
    reading a fit. After minus before; 20 billion tokens are ``T = 100``.

    Source: Gu 2024.
    """
    return a2 * T**s2 + a3 * T**s3 + b2


@law(
    inputs=dict(T=Input("2e8 tokens, or parameters", typical=(0.1, 1e3))),
    response=Response("share", real),
    a4=amplitude(real, T="-s4", range=(-1.0, 2.0), meaning="size of the term at T = 1"),
    s4=exponent(real, range=(-1.0, 1.5), meaning="power of the training length or of the parameters"),
    b3=floor(real, range=(-1.0, 1.5), meaning="share where the term vanishes"),
    formula=r"R = a_4 T^{s_4} + b_3",
    source=GU,
    affine=("a4", "b3"),
)
def cmr_ratio(T, *, a4, s4, b3):
    """The critical share of domain data against the length of continual pre-training or the model size.

    ``R = a4 * T**s4 + b3``

    The critical share is the largest at which the general loss rises by no more than a tolerance
    while the domain loss falls; read it off the fits of ``cmr_general`` and ``cmr_domain`` first.

    Source: Gu 2024.
    """
    return a4 * T**s4 + b3


@law(
    inputs=dict(
        S1_pt=Input("sum of learning rates", typical=(0.05, 20.0)), S1_cpt=RATE_SUM, S2_pt=ANNEALING, S2_cpt=ANNEALING
    ),
    response=LOSS,
    L0=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(S1_pt="alpha", range=(1e-3, 10.0), meaning="size of the term of the learning rates' sum"),
    alpha=exponent(meaning="power of the learning rates' sum"),
    C1=positive_number(range=(0.01, 5.0), meaning="loss removed by annealing in the first phase"),
    C2=positive_number(range=(0.01, 5.0), meaning="loss removed by annealing in the second phase"),
    B=coefficient(range=(-2.0, 1.5), meaning="shift of the loss that the new data bring in the end"),
    E=positive_number(range=(0.1, 1e5), meaning="how fast the shift sets in"),
    beta=exponent(meaning="power by which the shift sets in"),
    formula=r"L = L_0 + A \left(S_1^{pt} + S_1^{cpt}\right)^{-\alpha} - C_1 S_2^{pt} - C_2 S_2^{cpt}"
    r" + B \left(1 - (1 + E\, S_1^{cpt})^{-\beta}\right)",
    source=WANG,
    affine=("L0", "A", "C1", "C2", "B"),
    published=dict(wang2025_general=GENERAL, wang2025_target=TARGET),
    checks=(
        Check(3.2130, at=dict(S1_pt=10.0, S1_cpt=0.0, S2_pt=0.0, S2_cpt=0.0), params="wang2025_general"),
        Check(3.3781, at=dict(S1_pt=10.0, S1_cpt=1.0, S2_pt=0.0, S2_cpt=0.0), params="wang2025_general"),
        Check(3.1107, at=dict(S1_pt=10.0, S1_cpt=0.0, S2_pt=0.0, S2_cpt=0.0), params="wang2025_target"),
        Check(2.6279, at=dict(S1_pt=10.0, S1_cpt=1.0, S2_pt=0.0, S2_cpt=0.0), params="wang2025_target"),
    ),
)
def cpt_dynamics(S1_pt, S1_cpt, S2_pt, S2_cpt, *, L0, A, alpha, C1, C2, B, E, beta):
    """Loss along continual pre-training: the old curve continues while the new data shift it.

    ``L = L0 + A * (S1_pt + S1_cpt)**-alpha - C1 * S2_pt - C2 * S2_cpt + B * (1 - (1 + E * S1_cpt)**-beta)``

    ``S1`` sums the learning rates of a phase and ``S2`` its annealing; in the second phase both start from 0.
    ``B`` is positive on the old data and negative on the new. Where the first phase never changes, ``L0``,
    ``A``, ``alpha`` and ``C1`` are not all identified.

    Source: Wang 2025.
    """
    shift = -jnp.expm1(-beta * jnp.log1p(E * S1_cpt))
    return L0 + A * (S1_pt + S1_cpt) ** -alpha - C1 * S2_pt - C2 * S2_cpt + B * shift


@law(
    inputs=dict(L_pt=Input("nat/token", typical=(1.5, 5.0)), L_cpt=Input("nat/token", typical=(1.5, 5.0))),
    response=LOSS,
    w1=coefficient(range=(-0.5, 1.5), meaning="weight of the loss on the old data"),
    w2=coefficient(range=(-0.5, 1.5), meaning="weight of the loss on the new data"),
    formula=r"L = w_1 L_{pt} + w_2 L_{cpt}",
    source=WANG,
    affine=("w1", "w2"),
    published=dict(wang2025_c4=dict(w1=0.152, w2=0.867)),
    checks=(Check(2.5, at=dict(L_pt=2.5, L_cpt=3.0), params=dict(w1=1.0, w2=0.0)),),
)
def cpt_ood_mix(L_pt, L_cpt, *, w1, w2):
    """Loss on a third data set is a mix of the losses on the old and the new data.

    ``L = w1 * L_pt + w2 * L_cpt``

    The weights need not sum to 1 and may be negative.

    Source: Wang 2025.
    """
    return w1 * L_pt + w2 * L_cpt
