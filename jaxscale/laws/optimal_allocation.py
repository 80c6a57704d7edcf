"""Compute-optimal allocation: sizes, tokens, batches and steps."""

from typing import Any

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    law,
    positive,
    positive_number,
    real,
)
from jaxscale.utils.arrays import Numbers

FAMILY = "loss"
COMPUTE = Input("FLOPs", lower=1e12, typical=(1e17, 1e25))
PF_DAYS = Input("PF-days", typical=(1e-6, 1e4))
KAPLAN = "Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361"
CHINCHILLA = (
    "Training Compute-Optimal Large Language Models, Hoffmann 2022, arXiv:2203.15556; "
    "Chinchilla Scaling: A replication attempt, Besiroglu 2024, arXiv:2404.10102"
)
CONSTANTS = dict(
    besiroglu2024=dict(A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
    hoffmann2022=dict(A=406.4, alpha=0.34, B=410.7, beta=0.28),
)
EXPONENTS: dict[str, Any] = dict(
    a_N=exponent(range=(0.01, 1.5), meaning="power of the parameters in the loss"),
    a_B=exponent(range=(0.01, 1.5), meaning="power of the critical batch in the loss"),
    a_S=exponent(range=(0.01, 1.5), meaning="power of the steps in the loss"),
)
TERMS: dict[str, Any] = dict(
    A=positive_number(range=(1.0, 1e9), meaning="size of the model term of the loss"),
    alpha=exponent(range=(0.05, 1.5), meaning="power of the parameters in the loss"),
    B=positive_number(range=(1.0, 1e9), meaning="size of the data term of the loss"),
    beta=exponent(range=(0.05, 1.5), meaning="power of the tokens in the loss"),
)


def _compute_exponent(a_N: Numbers, a_B: Numbers, a_S: Numbers) -> Numbers:
    return 1 / (1 / a_S + 1 / a_B + 1 / a_N)


@law(
    inputs=dict(C=PF_DAYS),
    response=Response("parameters", positive),
    n0=positive_number(range=(1e-3, 1e12), meaning="best model size at one unit of compute"),
    **EXPONENTS,
    formula=r"N_\mathrm{opt} = n_0 C^{a_C/a_N},\; \frac{1}{a_C} = \frac{1}{a_S} + \frac{1}{a_B} + \frac{1}{a_N}",
    source=KAPLAN,
    affine=("n0",),
)
def kaplan_allocation_n(C, *, n0, a_N, a_B, a_S):
    """Compute-optimal model size, from three exponents of the loss.

    ``N_opt = n0 * C**(a_C / a_N)`` with ``1 / a_C = 1 / a_S + 1 / a_B + 1 / a_N``

    Sizes alone determine only the ratio ``a_C / a_N``. The paper's 0.73 conflicts with about 0.5 in
    ``chinchilla_optimum_n``; how the output layer, the warm-up and the tuning are counted explains it.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    return n0 * C ** (_compute_exponent(a_N, a_B, a_S) / a_N)


@law(
    inputs=dict(C=PF_DAYS),
    response=Response("tokens", positive),
    b0=positive_number(range=(1e-3, 1e12), meaning="best batch at one unit of compute"),
    **EXPONENTS,
    formula=r"B_\mathrm{opt} = b_0 C^{a_C/a_B},\; \frac{1}{a_C} = \frac{1}{a_S} + \frac{1}{a_B} + \frac{1}{a_N}",
    source=KAPLAN,
    affine=("b0",),
)
def kaplan_allocation_b(C, *, b0, a_N, a_B, a_S):
    """Compute-optimal batch size, from three exponents of the loss.

    ``B_opt = b0 * C**(a_C / a_B)`` with ``1 / a_C = 1 / a_S + 1 / a_B + 1 / a_N``

    Batches alone determine only the ratio ``a_C / a_B``.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    return b0 * C ** (_compute_exponent(a_N, a_B, a_S) / a_B)


@law(
    inputs=dict(C=PF_DAYS),
    response=Response("steps", positive),
    s0=positive_number(range=(1e-3, 1e12), meaning="best number of steps at one unit of compute"),
    **EXPONENTS,
    formula=r"S_\mathrm{opt} = s_0 C^{a_C/a_S},\; \frac{1}{a_C} = \frac{1}{a_S} + \frac{1}{a_B} + \frac{1}{a_N}",
    source=KAPLAN,
    affine=("s0",),
)
def kaplan_allocation_s(C, *, s0, a_N, a_B, a_S):
    """Compute-optimal number of steps, from three exponents of the loss.

    ``S_opt = s0 * C**(a_C / a_S)`` with ``1 / a_C = 1 / a_S + 1 / a_B + 1 / a_N``

    Steps alone determine only the ratio ``a_C / a_S``.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    return s0 * C ** (_compute_exponent(a_N, a_B, a_S) / a_S)


def _log_ratio(A: Numbers, alpha: Numbers, B: Numbers, beta: Numbers) -> Numbers:
    """The log of ``(alpha * A / (beta * B))**(1 / (alpha + beta))``."""
    return (jnp.log(alpha * A) - jnp.log(beta * B)) / (alpha + beta)


@law(
    inputs=dict(C=COMPUTE),
    response=Response("parameters", positive),
    **TERMS,
    formula=r"N_\mathrm{opt} = G \left(\frac{C}{6}\right)^{\beta/(\alpha+\beta)},\;"
    r"G = \left(\frac{\alpha A}{\beta B}\right)^{1/(\alpha+\beta)}",
    source=CHINCHILLA,
    published=CONSTANTS,
    checks=(
        Check(7.22e10, at=dict(C=5.76e23), params="besiroglu2024", rtol=5e-3),
        Check(2.78e9, at=dict(C=1e21), params="besiroglu2024", rtol=5e-3),
    ),
)
def chinchilla_optimum_n(C, *, A, alpha, B, beta):
    """Compute-optimal model size of ``chinchilla``.

    ``N_opt = G * (C / 6)**(beta / (alpha + beta))`` with ``G = (alpha * A / (beta * B))**(1 / (alpha + beta))``

    Sizes alone determine ``G`` and one exponent, not four constants: fit ``chinchilla`` and evaluate this.
    The constants of 2022 give 92.6 tokens per parameter at the paper's own budget, not 20.

    Source: Hoffmann 2022, arXiv:2203.15556; Besiroglu 2024, arXiv:2404.10102.
    """
    return jnp.exp(_log_ratio(A, alpha, B, beta) + beta / (alpha + beta) * jnp.log(C / 6))


@law(
    inputs=dict(C=COMPUTE),
    response=Response("tokens", positive),
    **TERMS,
    formula=r"D_\mathrm{opt} = \frac{1}{G} \left(\frac{C}{6}\right)^{\alpha/(\alpha+\beta)},\;"
    r"G = \left(\frac{\alpha A}{\beta B}\right)^{1/(\alpha+\beta)}",
    source=CHINCHILLA,
    published=CONSTANTS,
)
def chinchilla_optimum_d(C, *, A, alpha, B, beta):
    """Compute-optimal number of tokens of ``chinchilla``.

    ``D_opt = (C / 6)**(alpha / (alpha + beta)) / G`` with ``G = (alpha * A / (beta * B))**(1 / (alpha + beta))``

    Together with ``chinchilla_optimum_n`` it spends ``C = 6 * N * D``. The ratio of tokens to parameters
    is the same at every budget only where ``alpha = beta``.

    Source: Hoffmann 2022, arXiv:2203.15556; Besiroglu 2024, arXiv:2404.10102.
    """
    return jnp.exp(alpha / (alpha + beta) * jnp.log(C / 6) - _log_ratio(A, alpha, B, beta))


@law(
    inputs=dict(N=Input("parameters", lower=1e5)),
    response=Response("nat/token", real),
    a=coefficient(range=(-100.0, 1000.0), meaning="value of the parabola at one parameter"),
    b=coefficient(range=(-50.0, 50.0), meaning="slope of the parabola at one parameter"),
    c=positive_number(range=(1e-3, 1.0), meaning="half the curvature in log size"),
    formula=r"L = a + b \log N + c (\log N)^2",
    source="Training Compute-Optimal Large Language Models, Hoffmann 2022, arXiv:2203.15556; "
    "Compute Optimal Scaling of Skills: Knowledge vs Reasoning, Roberts 2025; "
    "Scaling Laws for Diffusion Transformers, Liang 2024",
    affine=("a", "b", "c"),
)
def isoflop_parabola(N, *, a, b, c):
    """At a fixed compute budget, loss is a parabola in the log of the model size.

    ``L = a + b * log(N) + c * log(N)**2``

    The best size is ``exp(-b / (2 * c))`` and its loss ``a - b**2 / (4 * c)``. The true valley is not
    symmetric, so a wide grid of sizes moves the minimum.

    Source: Hoffmann 2022, arXiv:2203.15556; Roberts 2025; Liang 2024.
    """
    return a + b * jnp.log(N) + c * jnp.log(N) ** 2


ALLOCATION = (
    "Scaling Laws for Diffusion Transformers, Liang 2024; "
    "Towards Greater Leverage: Scaling Laws for Efficient Mixture-of-Experts Language Models, Tian 2025; "
    "Resolving Discrepancies in Compute-Optimal Scaling of Language Models, Porian 2024"
)


@law(
    inputs=dict(C=COMPUTE),
    response=Response("parameters or FLOPs/token", positive),
    n0=amplitude(C="-p", range=(1e-12, 1e6), meaning="best size at one unit of compute"),
    p=exponent(range=(0.01, 1.5), meaning="share of a growing budget that goes to size"),
    formula=r"N_\mathrm{opt} = n_0 C^{p}",
    source=f"{ALLOCATION}; Towards Precise Scaling Laws for Video Diffusion Transformers, Yin 2024",
    affine=("n0",),
    published=dict(
        liang2024=dict(n0=0.0009, p=0.5681),
        tian2025_moe=dict(n0=0.1915, p=0.5095),
        tian2025_dense=dict(n0=0.0655, p=0.5422),
        yin2024_video=dict(n0=0.8705, p=0.4294),
    ),
)
def allocation_power_n(C, *, n0, p):
    """The best model size grows with the budget as a power law.

    ``N_opt = n0 * C**p``

    Sizes are parameters for Liang and Yin and FLOPs per token for Tian. ``p`` moves from 0.73-0.88 to about 0.5
    as counting, warm-up and tuning are corrected. The video fit is also printed as ``1.5787 * C**0.4146``.

    Source: Liang 2024; Tian 2025; Porian 2024; Yin 2024.
    """
    return n0 * C**p


@law(
    inputs=dict(C=COMPUTE),
    response=Response("tokens", positive),
    d0=amplitude(C="p", range=(1e-6, 1e12), meaning="best number of tokens at one unit of compute"),
    p=exponent(range=(0.01, 1.5), meaning="share of a growing budget that goes to size"),
    formula=r"D_\mathrm{opt} = d_0 C^{1-p}",
    source=ALLOCATION,
    affine=("d0",),
    published=dict(
        liang2024=dict(d0=186.8535, p=0.5681),
        tian2025_moe=dict(d0=5.2232, p=0.5095),
        tian2025_dense=dict(d0=15.2582, p=0.5422),
    ),
)
def allocation_power_d(C, *, d0, p):
    """The best number of tokens grows with the budget as a power law.

    ``D_opt = d0 * C**(1 - p)``

    ``p`` is the exponent of ``allocation_power_n``. Both spend the budget: ``n0 * d0`` is 1/6 where
    ``C = 6 * N * D``, and 1 where sizes are FLOPs per token.

    Source: Liang 2024; Tian 2025; Porian 2024.
    """
    return d0 * C ** (1 - p)


@law(
    inputs=dict(m=Input("samples", typical=(1e2, 1e9))),
    response=Response("parameters", positive),
    c=amplitude(m="-beta_p", range=(1e-3, 1e9), meaning="best model size at one sample"),
    beta_p=exponent(range=(0.01, 1.5), meaning="power of the samples"),
    formula=r"s = c m^{\beta_p}",
    source="Deep Learning Scaling is Predictable, Empirically, Hestness 2017",
    affine=("c",),
)
def model_size_data_power(m, *, c, beta_p):
    """The best model size grows with the number of samples, more slowly than in proportion.

    ``s = c * m**beta_p`` with ``beta_p < 1``

    Twice the samples want less than twice the parameters.

    Source: Hestness 2017.
    """
    return c * m**beta_p
