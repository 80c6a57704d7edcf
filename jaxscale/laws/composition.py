"""Composition of data and of skills: effects on losses, scores and optimal sizes."""

import math

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
from jaxscale.laws.data_mixtures import SHARE, numbered, power

FAMILY = "mixtures"
PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
FLOP = Input("FLOP", lower=1e12, typical=(1e16, 1e26))
LOSS = Response("nat/token", positive)
ROBERTS = "Compute Optimal Scaling of Skills: Knowledge vs Reasoning, Roberts 2025"


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, r=SHARE),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    eta=exponent(meaning="power of the share in the data term"),
    C=positive_number(range=(1e-4, 10.0), meaning="size of the term of the share"),
    eps=positive_number(range=(1e-3, 1.0), meaning="share that keeps the last term finite"),
    gamma=exponent(meaning="power of the share in its own term"),
    formula=r"L = E + \frac{A}{N^{\alpha}} + \frac{B r^{\eta}}{D^{\beta}} + \frac{C}{(r + \epsilon)^{\gamma}}",
    source="D-CPT Law: Domain-specific Continual Pre-Training Scaling Law for Large Language Models, Que 2024",
    affine=("E", "A", "B", "C"),
    decreasing=("N", "D"),
    checks=(
        Check(
            2.4949,
            at=dict(N=1e9, D=1e10, r=0.3),
            params=dict(E=1.5, A=400.0, alpha=0.34, B=400.0, beta=0.28, eta=0.1, C=0.05, eps=0.05, gamma=0.5),
        ),
    ),
)
def domain_cpt_ratio(N, D, r, *, E, A, alpha, B, beta, eta, C, eps, gamma):
    """Chinchilla for continued training on a mixture of a domain and general data.

    ``L = E + A / N**alpha + B * r**eta / D**beta + C / (r + eps)**gamma``

    ``L`` is the loss on the domain and ``r`` its share, from 0 to 1. The loss on general data follows
    the same law in the share ``1 - r``, with its own constants.

    Source: Que 2024.
    """
    return E + A / N**alpha + B * power(r, eta) / D**beta + C / (r + eps) ** gamma


@law(
    inputs=dict(
        L0=Input("performance at N0", low=-math.inf, typical=(0.5, 6.0)),
        L1=Input("performance at N1", low=-math.inf, typical=(0.5, 6.0)),
        N=Input("samples", typical=(1e2, 1e8)),
    ),
    response=Response("performance", real),
    N0=positive_number(range=(1e2, 3e3), unit="samples", meaning="smaller of the two known scales"),
    N1=positive_number(range=(3.2e3, 1e6), unit="samples", meaning="larger of the two known scales"),
    formula=r"L(N) = L_1 - (L_0 - L_1)\,\frac{\log(N/N_1)}{\log(N_1/N_0)}",
    source="Performance Scaling via Optimal Transport: Enabling Data Selection from Partially Revealed Sources, "
    "Kang 2023; unconfirmed form",
    checks=(
        Check(
            1.2534,
            at=dict(L0=9 - 0.7 * math.log(1e3), L1=9 - 0.7 * math.log(4e3), N=6.4e4),
            params=dict(N0=1e3, N1=4e3),
        ),
    ),
)
def ot_two_scale(L0, L1, N, *, N0, N1):
    """The performance of a mixture at any scale from its performance at two, along a line in log scale.

    ``L(N) = L1 - (L0 - L1) * log(N / N1) / log(N1 / N0)``

    Nothing is fitted: ``N0`` and ``N1`` are the scales at which ``L0`` and ``L1`` were measured or
    predicted for the mixture, so fix both. Exact where the performance is a line in ``log N``.

    Source: Kang 2023; unconfirmed form.
    """
    return L1 - (L0 - L1) * jnp.log(N / N1) / jnp.log(N1 / N0)


def _weights_of(count: int) -> dict[str, Input]:
    return numbered("w", count, SHARE)


def _skill_isoflop(count: int) -> Law:
    """The parabolas of ``count`` skills and their weighted sum."""
    inputs = dict(N=PARAMETERS, **_weights_of(count))
    declared = {
        **numbered("E", count, floor(unit="nat/token", meaning="least loss of a skill at this budget")),
        **numbered("c", count, positive_number(range=(1e-3, 1.0), meaning="curvature of a skill in log parameters")),
        **numbered("N", count, location("N", range=(1e5, 1e13), unit="parameters", meaning="best size for a skill")),
    }

    def skill_isoflop(N, *w, **skills):
        """At a fixed budget the loss of every skill is a parabola in log size, and so is their weighted sum.

        ``L = sum_k w_k * (E_k + c_k * log(N / N_k)**2)``

        With one weight of 1 and the others 0 this is one skill. In powers of ``log N`` a skill reads
        ``a + b * log N + c * (log N)**2`` with ``N_k = exp(-b / (2 * c))`` and ``E_k = a - b**2 / (4 * c)``.
        Weights add to 1.

        Source: Roberts 2025.
        """
        skill = [(skills[f"E{i}"], skills[f"c{i}"], skills[f"N{i}"]) for i in range(1, count + 1)]
        return sum(share * (E + c * jnp.log(N / best) ** 2) for share, (E, c, best) in zip(w, skill, strict=True))

    return law(
        name=f"skill_isoflop{count}",
        inputs=inputs,
        response=LOSS,
        formula=rf"L = \sum_{{k=1}}^{{{count}}} w_k\left(E_k + c_k \log^2\frac{{N}}{{N_k}}\right)",
        source=ROBERTS,
        affine=tuple(name for name in declared if name[0] in "Ec"),
        **declared,
    )(with_signature(skill_isoflop, inputs, declared))


def _skill_isoflop_optimum(count: int) -> Law:
    """The best size for ``count`` weighted skills."""
    inputs = _weights_of(count)
    declared = {
        **numbered("c", count, positive_number(range=(1e-3, 1.0), meaning="curvature of a skill in log parameters")),
        **numbered("N", count, positive_number(range=(1e5, 1e13), unit="parameters", meaning="best size for a skill")),
    }

    def skill_isoflop_optimum(*w, **skills):
        """The size at which a weighted sum of skills is best lies between the best sizes of the skills.

        ``N_opt = exp(sum_k w_k * c_k * log N_k / sum_k w_k * c_k)``

        The parameters are those of ``skill_isoflop`` at one budget; only ratios of the ``c_k`` matter
        here. Report how much ``N_opt`` changes with the weights: changes of up to half are reported.

        Source: Roberts 2025.
        """
        pull = [share * skills[f"c{i}"] for i, share in enumerate(w, 1)]
        return jnp.exp(sum(p * jnp.log(skills[f"N{i}"]) for i, p in enumerate(pull, 1)) / sum(pull))

    return law(
        name=f"skill_isoflop_optimum{count}",
        inputs=inputs,
        response=Response("parameters", positive),
        formula=rf"\log N_\mathrm{{opt}} = \frac{{\sum_{{k=1}}^{{{count}}} w_k c_k \log N_k}}{{\sum_k w_k c_k}}",
        source=ROBERTS,
        **declared,
    )(with_signature(skill_isoflop_optimum, inputs, declared))


@law(
    inputs=dict(C=FLOP),
    response=Response("parameters", positive),
    g=amplitude(C="-p", range=(1e-8, 1e4), meaning="best size at one FLOP"),
    p=exponent(range=(0.05, 1.5), meaning="power of the budget"),
    formula=r"N_{\mathrm{opt},k} = g_k C^{p_k}",
    source=ROBERTS,
    affine=("g",),
)
def skill_isoflop_n(C, *, g, p):
    """The best model size for one skill is a power of the budget.

    ``N_opt = g * C**p``

    Fit each skill on its own: both ``g`` and ``p`` differ between skills.

    Source: Roberts 2025.
    """
    return g * C**p


@law(
    inputs=dict(D=Input("fine-tuning samples", typical=(1e2, 1e6))),
    response=Response("score", real),
    a=coefficient(range=(-100.0, 120.0), meaning="score at one sample"),
    b=coefficient(range=(-10.0, 20.0), meaning="gain for each factor e of samples"),
    formula=r"y_k = a_k + b_k \log D_k",
    source="How Abilities in Large Language Models are Affected by Supervised Fine-tuning Data Composition, Dong 2023; "
    "Common 7B Language Models Already Possess Strong Math Capabilities, Li 2024; unconfirmed form",
    affine=("a", "b"),
)
def sft_ability_log(D, *, a, b):
    """The score of an ability is a line in the log of its fine-tuning samples.

    ``y = a + b * log(D)``

    One line for each ability; general abilities are reported to stop gaining near a thousand samples.
    The total amount is reported to matter and the ratio in the mixture not to.

    Source: Dong 2023; Li 2024; unconfirmed form.
    """
    return a + b * jnp.log(D)


skill_isoflop = Family("skill_isoflop", _skill_isoflop, largest=16, listed=(2, 3))
skill_isoflop_optimum = Family("skill_isoflop_optimum", _skill_isoflop_optimum, largest=16, listed=(2, 3))
