"""Training and quantization in low precision."""

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
    unit,
)
from jaxscale.utils.arrays import Numbers

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
BITS = Input("bits", typical=(3.0, 16.0))
AFTER = Input("bits", typical=(2.0, 8.0))
LOSS = Response("nat/token", positive)
KUMAR = "Scaling Laws for Precision, Kumar 2024, arXiv:2411.04330"
WITHOUT_OFFSETS = dict(g_w=2.6745, g_a=2.2102, g_kv=0.9578, n_w=0.0, n_a=0.0, n_kv=0.0)
WITH_OFFSETS = dict(g_w=2.6745, g_a=2.2102, g_kv=0.9578, n_w=0.3037, n_a=1.4072, n_kv=2.4185)
WIDE = 1e9


def _log_capacity(P: Numbers, g: Numbers, n: Numbers) -> Numbers:
    """The log of ``1 - exp(-P / g + n)``, held at the log of 1e-6 where too few bits are left."""
    return jnp.log(-jnp.expm1(-jnp.maximum(P / g - n, 1e-6)))


@law(
    inputs=dict(N=PARAMETERS, P_w=BITS, P_a=BITS, P_kv=BITS),
    response=Response("parameters", positive),
    g_w=location("P_w", range=(0.2, 8.0), unit="bits", meaning="bits by which the weights gain capacity"),
    g_a=location("P_a", range=(0.2, 8.0), unit="bits", meaning="bits by which the activations gain capacity"),
    g_kv=location("P_kv", range=(0.2, 8.0), unit="bits", meaning="bits by which the key-value cache gains capacity"),
    n_w=coefficient(range=(-2.0, 3.0), meaning="offset of the weights"),
    n_a=coefficient(range=(-2.0, 3.0), meaning="offset of the activations"),
    n_kv=coefficient(range=(-2.0, 3.0), meaning="offset of the key-value cache"),
    formula=r"N_\mathrm{eff} = N \prod_{x \in \{w, a, kv\}} \left(1 - e^{-P_x/g_x + n_x}\right)",
    source=KUMAR,
    published=dict(kumar2024=WITH_OFFSETS),
    checks=(
        Check(0.7759, at=dict(N=1.0, P_w=4.0, P_a=WIDE, P_kv=WIDE), params=WITHOUT_OFFSETS),
        Check(0.8363, at=dict(N=1.0, P_w=WIDE, P_a=4.0, P_kv=WIDE), params=WITHOUT_OFFSETS),
        Check(0.9846, at=dict(N=1.0, P_w=WIDE, P_a=WIDE, P_kv=4.0), params=WITHOUT_OFFSETS),
        Check(0.6389, at=dict(N=1.0, P_w=4.0, P_a=4.0, P_kv=4.0), params=WITHOUT_OFFSETS),
        Check(0.9241, at=dict(N=1.0, P_w=8.0, P_a=8.0, P_kv=8.0), params=WITHOUT_OFFSETS),
        Check(0.9968, at=dict(N=1.0, P_w=16.0, P_a=16.0, P_kv=16.0), params=WITHOUT_OFFSETS),
        Check(0.6964, at=dict(N=1.0, P_w=4.0, P_a=WIDE, P_kv=WIDE), params="kumar2024"),
        Check(0.3314, at=dict(N=1.0, P_w=WIDE, P_a=4.0, P_kv=WIDE), params="kumar2024"),
        Check(0.8276, at=dict(N=1.0, P_w=WIDE, P_a=WIDE, P_kv=4.0), params="kumar2024"),
        Check(0.9320, at=dict(N=1.0, P_w=8.0, P_a=WIDE, P_kv=WIDE), params="kumar2024"),
        Check(0.8906, at=dict(N=1.0, P_w=WIDE, P_a=8.0, P_kv=WIDE), params="kumar2024"),
        Check(0.9974, at=dict(N=1.0, P_w=WIDE, P_a=WIDE, P_kv=8.0), params="kumar2024"),
        Check(0.8278, at=dict(N=1.0, P_w=8.0, P_a=8.0, P_kv=8.0), params="kumar2024"),
        Check(0.9937, at=dict(N=1.0, P_w=16.0, P_a=16.0, P_kv=16.0), params="kumar2024"),
    ),
)
def precision_capacity(N, P_w, P_a, P_kv, *, g_w, g_a, g_kv, n_w, n_a, n_kv):
    """Effective number of parameters of a model trained in low precision.

    ``N_eff = N * prod_x (1 - exp(-P_x / g_x + n_x))`` for weights, activations and key-value cache

    The offsets ``n`` belong to the published ``g`` but are left out of the paper's main text; fix them
    at 0 unless they are fitted. A factor is held at 1e-6 where ``P_x <= n_x * g_x``.

    Source: Kumar 2024, arXiv:2411.04330.
    """
    log_kept = _log_capacity(P_w, g_w, n_w) + _log_capacity(P_a, g_a, n_a) + _log_capacity(P_kv, g_kv, n_kv)
    return N * jnp.exp(log_kept)


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, P_w=BITS, P_a=BITS, P_kv=BITS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the effective parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    g_w=location("P_w", range=(0.2, 8.0), unit="bits", meaning="bits by which the weights gain capacity"),
    g_a=location("P_a", range=(0.2, 8.0), unit="bits", meaning="bits by which the activations gain capacity"),
    g_kv=location("P_kv", range=(0.2, 8.0), unit="bits", meaning="bits by which the key-value cache gains capacity"),
    n_w=coefficient(range=(-2.0, 3.0), meaning="offset of the weights"),
    n_a=coefficient(range=(-2.0, 3.0), meaning="offset of the activations"),
    n_kv=coefficient(range=(-2.0, 3.0), meaning="offset of the key-value cache"),
    formula=r"L = E + \frac{A}{N_\mathrm{eff}^{\alpha}} + \frac{B}{D^{\beta}},\;"
    r"N_\mathrm{eff} = N \prod_{x \in \{w, a, kv\}} \left(1 - e^{-P_x/g_x + n_x}\right)",
    source=KUMAR,
    affine=("E", "A", "B"),
    decreasing=("N", "D", "P_w", "P_a", "P_kv"),
    published=dict(kumar2024=dict(E=2.7648, A=4.299e3, alpha=0.4965, B=1.806e4, beta=0.4965, **WITH_OFFSETS)),
    checks=(Check(3.0502, at=dict(N=1e9, D=2e10, P_w=16.0, P_a=16.0, P_kv=16.0), params="kumar2024"),),
)
def precision_capacity_loss(N, D, P_w, P_a, P_kv, *, E, A, alpha, B, beta, g_w, g_a, g_kv, n_w, n_a, n_kv):
    """Chinchilla with the effective number of parameters of training in low precision.

    ``L = E + A / N_eff**alpha + B / D**beta`` with ``N_eff`` from ``precision_capacity``

    The published fit ties ``beta`` to ``alpha``. Where a precision never changes, fix its ``g`` and ``n``.

    Source: Kumar 2024, arXiv:2411.04330.
    """
    N_eff = precision_capacity(N, P_w, P_a, P_kv, g_w=g_w, g_a=g_a, g_kv=g_kv, n_w=n_w, n_a=n_a, n_kv=n_kv)
    return E + A / N_eff**alpha + B / D**beta


def _degradation(
    N_eff: Numbers, D: Numbers, P_post: Numbers, C_T: Numbers, g_D: Numbers, g_N: Numbers, g_post: Numbers, b: Numbers
) -> Numbers:
    return C_T * jnp.exp(b - P_post / g_post + g_D * jnp.log(D) - g_N * jnp.log(N_eff))


@law(
    inputs=dict(N_eff=PARAMETERS, D=TOKENS, P_post=AFTER),
    response=LOSS,
    C_T=amplitude(N_eff="g_N", D="-g_D", range=(1e-6, 1e3), meaning="size of the degradation"),
    g_D=exponent(meaning="power of the tokens"),
    g_N=exponent(meaning="power of the effective parameters"),
    g_post=location("P_post", range=(0.05, 5.0), unit="bits", meaning="bits that divide the degradation by e"),
    b=coefficient(range=(-1.0, 3.0), meaning="offset, which only rescales C_T"),
    formula=r"\delta = C_T\, e^{-P_\mathrm{post}/\gamma_\mathrm{post} + b}\,"
    r"\frac{D^{\gamma_D}}{N_\mathrm{eff}^{\gamma_N}}",
    source=KUMAR,
    affine=("C_T",),
    decreasing=("N_eff", "P_post"),
    published=dict(kumar2024=dict(C_T=0.0598, g_D=0.5068, g_N=0.3439, g_post=0.5907, b=1.1277)),
    checks=tuple(
        Check(
            value,
            at=dict(N_eff=1e9, D=1e11, P_post=bits),
            params=dict(C_T=0.0598, g_D=0.5068, g_N=0.3439, g_post=0.5907, b=b),
        )
        for value, bits, b in (
            (0.1124, 3.0, 0.0),
            (0.02068, 4.0, 0.0),
            (0.3471, 3.0, 1.1277),
            (0.06387, 4.0, 1.1277),
        )
    ),
)
def precision_ptq_wide(N_eff, D, P_post, *, C_T, g_D, g_N, g_post, b):
    """Loss added by post-training quantization of the weights of a model trained in high precision.

    ``delta = C_T * exp(-P_post / g_post + b) * D**g_D / N_eff**g_N``

    This is ``precision_ptq`` without its product. Fix ``b``, as ``C_T`` and ``b`` are not both identified;
    the sign of the published ``b`` is inferred. More tokens make the damage worse.

    Source: Kumar 2024, arXiv:2411.04330.
    """
    return _degradation(N_eff, D, P_post, C_T, g_D, g_N, g_post, b)


@law(
    inputs=dict(N_eff=PARAMETERS, D=TOKENS, P_post=AFTER, P_w=BITS, P_a=BITS, P_kv=BITS),
    response=Response("nat/token", real),
    C_T=amplitude(N_eff="g_N", D="-g_D", range=(1e-6, 1e3), meaning="size of the degradation"),
    g_D=exponent(meaning="power of the tokens"),
    g_N=exponent(meaning="power of the effective parameters"),
    g_post=location("P_post", range=(0.05, 5.0), unit="bits", meaning="bits that divide the degradation by e"),
    b=coefficient(range=(-1.0, 3.0), meaning="offset, which only rescales C_T"),
    C_w=positive_number(range=(0.01, 10.0), unit="per bit", meaning="rate in the excess bits of the weights"),
    C_a=positive_number(range=(0.01, 10.0), unit="per bit", meaning="rate in the excess bits of the activations"),
    C_kv=positive_number(range=(0.01, 10.0), unit="per bit", meaning="rate in the excess bits of the key-value cache"),
    formula=r"\delta = C_T\, e^{-P_\mathrm{post}/\gamma_\mathrm{post} + b}\,"
    r"\frac{D^{\gamma_D}}{N_\mathrm{eff}^{\gamma_N}}"
    r"\prod_{x \in \{w, a, kv\}} \left[1 - e^{-C_x (P_x - P_\mathrm{post})}\right]_+",
    source=KUMAR,
    affine=("C_T",),
    decreasing=("N_eff", "P_post"),
    checks=tuple(
        Check(
            value,
            at=dict(N_eff=1e9, D=1e11, P_post=bits, P_w=16.0, P_a=16.0, P_kv=16.0),
            params=dict(C_T=0.0598, g_D=0.5068, g_N=0.3439, g_post=0.5907, b=b, C_w=50.0, C_a=50.0, C_kv=50.0),
        )
        for value, bits, b in (
            (0.1124, 3.0, 0.0),
            (0.02068, 4.0, 0.0),
            (0.3471, 3.0, 1.1277),
            (0.06387, 4.0, 1.1277),
        )
    ),
)
def precision_ptq(N_eff, D, P_post, P_w, P_a, P_kv, *, C_T, g_D, g_N, g_post, b, C_w, C_a, C_kv):
    """Loss added by post-training quantization of weights; zero if training used no more bits.

    ``delta = C_T * exp(-P_post / g_post + b) * D**g_D / N_eff**g_N
    * prod_x max(0, 1 - exp(-C_x * (P_x - P_post)))`` for weights, activations and key-value cache

    Exactly zero where any ``P_x <= P_post``. Fix ``b``, as ``C_T`` and ``b`` are not both identified; the
    ``C_x`` were not published. The total loss adds ``precision_capacity_loss``, which gives ``N_eff``.

    Source: Kumar 2024, arXiv:2411.04330.
    """
    kept = 1.0
    for P, C in ((P_w, C_w), (P_a, C_a), (P_kv, C_kv)):
        kept = kept * -jnp.expm1(-C * jnp.maximum(P - P_post, 0.0))
    return _degradation(N_eff, D, P_post, C_T, g_D, g_N, g_post, b) * kept


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=LOSS,
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    rho=fraction(range=(0.02, 1.0), meaning="capacity of the representation, 1 where it is dense"),
    alpha=exponent(meaning="power of the effective parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \frac{A}{(N \rho)^{\alpha}} + \frac{B}{D^{\beta}} + E",
    source="Unified Scaling Laws for Compressed Representations, Panferov 2025",
    affine=("A", "B", "E"),
    decreasing=("N", "D"),
)
def representation_capacity(N, D, *, A, rho, alpha, B, beta, E):
    """Chinchilla with a capacity factor of a compressed representation.

    ``L = A / (N * rho)**alpha + B / D**beta + E``

    Each format has its own ``rho`` and shares the rest; in one format alone ``rho`` and ``A`` are not
    both identified. The ``rho`` of two formats together is the product of theirs.

    Source: Panferov 2025.
    """
    return A / (N * rho) ** alpha + B / D**beta + E


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, P=AFTER),
    response=LOSS,
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    g=location("P", range=(0.2, 8.0), unit="bits", meaning="bits by which capacity grows"),
    alpha=exponent(meaning="power of the effective parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \frac{A}{(N \rho)^{\alpha}} + \frac{B}{D^{\beta}} + E,\; \rho = 1 - e^{-P/g}",
    source="Unified Scaling Laws for Compressed Representations, Panferov 2025",
    affine=("A", "B", "E"),
    decreasing=("N", "D", "P"),
)
def representation_capacity_bits(N, D, P, *, A, g, alpha, B, beta, E):
    """Chinchilla with a capacity factor that depends on the bits of a representation.

    ``L = A / (N * rho)**alpha + B / D**beta + E`` with ``rho = 1 - exp(-P / g)``

    The alternative to ``representation_capacity`` where the formats are widths in bits of one kind.

    Source: Panferov 2025.
    """
    return A / (-N * jnp.expm1(-P / g)) ** alpha + B / D**beta + E


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, G=Input("weights per group", low=1.0, typical=(16.0, 4096.0))),
    response=LOSS,
    k=amplitude(N="g_N", D="-g_D", range=(1e-6, 1e3), meaning="size of the degradation"),
    g_D=exponent(meaning="power of the tokens"),
    g_G=exponent(meaning="power of the log of the group size"),
    g_N=exponent(meaning="power of the parameters"),
    formula=r"\delta = k\, \frac{D^{\gamma_D} (\log_2 G)^{\gamma_G}}{N^{\gamma_N}}",
    source="Scaling Law for Quantization-Aware Training, Chen 2025",
    affine=("k",),
    decreasing=("N",),
)
def qat_delta(N, D, G, *, k, g_D, g_G, g_N):
    """Loss that training in four bits adds to training in sixteen, by size, data and group size.

    ``delta = k * D**g_D * log2(G)**g_G / N**g_N``

    Fit it once for weights and activations together and once for each alone; a group of one weight adds
    nothing.

    Source: Chen 2025.
    """
    return k * D**g_D * jnp.log2(G) ** g_G / N**g_N


@law(
    inputs=dict(N=Input("non-embedding parameters", lower=PARAMETERS.lower), D=TOKENS, P=AFTER),
    response=LOSS,
    k=amplitude(N="alpha", D="-beta", P="gamma", range=(1e-6, 1e3), meaning="size of the degradation"),
    beta=exponent(meaning="power of the tokens"),
    alpha=exponent(meaning="power of the parameters"),
    gamma=exponent(range=(0.05, 12.0), meaning="power of the bits"),
    formula=r"\Delta L = k\, \frac{D^{\beta}}{N^{\alpha} P^{\gamma}}",
    source="Low-Bit Quantization Favors Undertrained LLMs, Ouyang 2024",
    affine=("k",),
    decreasing=("N", "P"),
    published=dict(ouyang2024=dict(k=0.017, beta=0.5251, alpha=0.2261, gamma=5.4967)),
    checks=(
        Check(0.6613, at=dict(N=70e9, D=1e14, P=4.0), params="ouyang2024"),
        Check(0.0992, at=dict(N=7e9, D=1e12, P=4.0), params="ouyang2024", rtol=5e-3),
        Check(0.4820, at=dict(N=7e9, D=1e12, P=3.0), params="ouyang2024"),
        Check(0.2, at=dict(N=7e9, D=3.80e12, P=4.0), params="ouyang2024", rtol=5e-3),
    ),
)
def qid_low_bit(N, D, P, *, k, beta, alpha, gamma):
    """Loss added by quantizing a trained model, a power law in its size, its data and the bits.

    ``delta = k * D**beta / (N**alpha * P**gamma)``

    ``precision_ptq`` has an exponential in the bits instead: the two are close from 2 to 4 bits and
    a factor of 20 apart from 4 to 8. The published fit is for GPTQ.

    Source: Ouyang 2024.
    """
    return k * D**beta / (N**alpha * P**gamma)


@law(
    inputs=dict(S=Input("tokens per byte of parameters", low=1.0, typical=(2.0, 1e5))),
    response=Response("share", unit),
    a=positive_number(range=(0.5, 50.0), meaning="how late the best share rises"),
    formula=r"f^* = e^{-a/\ln S}",
    source="Compute-Optimal Quantization-Aware Training, Dremov 2025",
    published=dict(dremov2025=dict(a=6.7297)),
    checks=(
        Check(0.1383, at=dict(S=30.0), params="dremov2025"),
        Check(0.3073, at=dict(S=300.0), params="dremov2025"),
        Check(0.4816, at=dict(S=1e4), params="dremov2025"),
    ),
)
def qat_fraction(S, *, a):
    """Best share of the tokens to spend on training with quantization.

    ``f = exp(-a / ln(S))`` with ``S = D / (N * B / 8)``

    ``D`` counts the tokens of both phases, ``N`` the parameters and ``B`` the bits per weight.

    Source: Dremov 2025.
    """
    return jnp.exp(-a / jnp.log(S))
