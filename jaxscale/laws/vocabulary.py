"""Vocabulary: effect of its size on the loss, and optimal sizes."""

import math

import jax
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

FAMILY = "architecture"
OTHER_PARAMETERS = Input("parameters outside the vocabulary", lower=1e5)
VOCABULARY_PARAMETERS = Input("parameters of the vocabulary", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
FLOP = Input("FLOP", lower=1e12, typical=(1e16, 1e26))
TAO = "Scaling Laws with Vocabulary: Larger Models Deserve Larger Vocabularies, Tao 2024, arXiv:2407.13623"
# The paper counts parameters in millions and tokens in billions.
A1, A2, B = 1.831 * 1e6**0.447, 0.196 * 1e6**0.671, 2.124 * 1e9**0.447
EXPONENTS = (0.05, 1.5)
NEWTON_STEPS = 10


@law(
    inputs=dict(N_nv=OTHER_PARAMETERS, N_v=VOCABULARY_PARAMETERS, D=TOKENS),
    response=Response("nat/token", real),
    E=positive_number(range=(0.1, 20.0), unit="nat/token", meaning="largest gain over a unigram model"),
    A1=amplitude(N_nv="alpha1", range=(1.0, 1e9), meaning="size of the term of the other parameters"),
    A2=amplitude(N_v="alpha2", range=(1.0, 1e9), meaning="size of the vocabulary term"),
    B=amplitude(D="alpha1", range=(1.0, 1e9), meaning="size of the data term"),
    alpha1=exponent(range=EXPONENTS, meaning="power of the other parameters and of the tokens"),
    alpha2=exponent(range=EXPONENTS, meaning="power of the vocabulary's parameters"),
    formula=r"L_u = -E + \frac{A_1}{N_{nv}^{\alpha_1}} + \frac{A_2}{N_v^{\alpha_2}} + \frac{B}{D^{\alpha_1}}",
    source=TAO,
    affine=("E", "A1", "A2", "B"),
    decreasing=("N_nv", "N_v", "D"),
    published=dict(tao2024=dict(E=5.533, A1=A1, A2=A2, B=B, alpha1=0.447, alpha2=0.671)),
    checks=(Check(-4.3615, at=dict(N_nv=33.2e6, N_v=16.384e6, D=10e9), params="tao2024"),),
)
def vocab_loss(N_nv, N_v, D, *, E, A1, A2, B, alpha1, alpha2):
    """Loss below that of a unigram model, against the vocabulary's parameters, the others and data.

    ``L_u = -E + A1 / N_nv**alpha1 + A2 / N_v**alpha2 + B / D**alpha1``

    The response may be negative, so fit it with plain residuals. ``N_v`` is the vocabulary size times
    the width. The power of the tokens is tied to that of the other parameters. The published
    constants match tokens counted by ``vocab_loss_tokens`` with the vocabulary in thousands, as the
    authors' code does, which is not the number of tokens: refit before you use another count.

    Source: Tao 2024, arXiv:2407.13623.
    """
    return -E + A1 / N_nv**alpha1 + A2 / N_v**alpha2 + B / D**alpha1


@law(
    inputs=dict(H=Input("characters", lower=1e6), V=Input("words", typical=(1e3, 2e5))),
    response=Response("tokens", real),
    a=coefficient(range=(1e-4, 0.1), meaning="curvature in the log of the vocabulary"),
    b=coefficient(range=(-1.0, -0.01), meaning="slope in the log of the vocabulary"),
    c=coefficient(range=(0.1, 5.0), meaning="tokens for each character with a vocabulary of 1"),
    formula=r"D = H \left(a \ln^2 V + b \ln V + c\right)",
    source=TAO,
    affine=("a", "b", "c"),
    published=dict(tao2024=dict(a=0.00639222, b=-0.15811069, c=1.20470122)),
    checks=(
        Check(0.2524, at=dict(H=1.0, V=32000.0), params="tao2024"),
        Check(0.7335, at=dict(H=1.0, V=32.0), params="tao2024"),
    ),
)
def vocab_loss_tokens(H, V, *, a, b, c):
    """Number of tokens of a text of H characters with a vocabulary of V words.

    ``D = H * (a * log(V)**2 + b * log(V) + c)``

    The published constants hold up to 200,000 words.

    Source: Tao 2024, arXiv:2407.13623.
    """
    log_V = jnp.log(V)
    return H * (a * log_V**2 + b * log_V + c)


@law(
    inputs=dict(N_nv=OTHER_PARAMETERS, F=FLOP),
    response=Response("parameters", positive),
    A2=positive_number(range=(1.0, 1e9), meaning="size of the vocabulary term"),
    B=positive_number(range=(1.0, 1e9), meaning="size of the data term"),
    alpha1=exponent(range=EXPONENTS, meaning="power of the tokens"),
    alpha2=exponent(range=EXPONENTS, meaning="power of the vocabulary's parameters"),
    formula=r"\frac{\alpha_2 A_2}{N_v^{\alpha_2 + 1}} = \alpha_1 B \left(\frac{6}{F}\right)^{\alpha_1}"
    r"\left(N_{nv} + N_v\right)^{\alpha_1 - 1}",
    source=TAO,
    published=dict(tao2024=dict(A2=A2, B=B, alpha1=0.447, alpha2=0.671)),
)
def vocab_optimum(N_nv, F, *, A2, B, alpha1, alpha2):
    """Optimal number of vocabulary parameters at a budget of training FLOPs.

    ``alpha2 * A2 / N_v**(alpha2 + 1) = alpha1 * B * (6 / F)**alpha1 * (N_nv + N_v)**(alpha1 - 1)``,
    the root ``N_v`` of ``dL_u / dN_v = 0`` in ``vocab_loss`` with ``D = F / (6 * (N_nv + N_v))``

    The parameters are those of ``vocab_loss``; ``A2`` and ``B`` enter only through their ratio. The
    vocabulary size is ``N_v`` divided by the width.

    Source: Tao 2024, arXiv:2407.13623.
    """
    log_N = jnp.log(N_nv)
    level = jnp.log(alpha2 * A2) - jnp.log(alpha1 * B) + alpha1 * (jnp.log(F) - jnp.log(6.0))

    def newton(log_v):
        log_total = jnp.logaddexp(log_N, log_v)
        slope = (1 - alpha1) * jnp.exp(log_v - log_total) - (alpha2 + 1)
        return log_v - (level + (1 - alpha1) * log_total - (alpha2 + 1) * log_v) / slope

    # The equation falls in log N_v and bends one way only, so that Newton's steps from the far side of
    # both asymptotes reach its root without overshooting. The last two carry the derivatives.
    few, many = (level + (1 - alpha1) * log_N) / (alpha2 + 1), level / (alpha2 + alpha1)
    log_v = jnp.where(alpha1 < 1, jnp.maximum(few, many), jnp.minimum(few, many))
    for _ in range(NEWTON_STEPS):
        log_v = newton(log_v)
    return jnp.exp(newton(newton(jax.lax.stop_gradient(log_v))))


@law(
    inputs=dict(N_nv=OTHER_PARAMETERS, d=Input("width", typical=(128.0, 16384.0)), F=FLOP),
    response=Response("words", positive),
    A2=positive_number(range=(1.0, 1e9), meaning="size of the vocabulary term"),
    B=positive_number(range=(1.0, 1e9), meaning="size of the data term"),
    alpha1=exponent(range=EXPONENTS, meaning="power of the tokens"),
    alpha2=exponent(range=EXPONENTS, meaning="power of the vocabulary's parameters"),
    formula=r"V = \frac{N_v}{d},\; \frac{\alpha_2 A_2}{N_v^{\alpha_2 + 1}} = "
    r"\alpha_1 B \left(\frac{6}{F}\right)^{\alpha_1} \left(N_{nv} + N_v\right)^{\alpha_1 - 1}",
    source=TAO,
    published=dict(tao2024=dict(A2=A2, B=B, alpha1=0.447, alpha2=0.671)),
    checks=(
        Check(5.96e4, at=dict(N_nv=7e9, d=4096.0, F=(7e9 * math.exp(2.48465)) ** 2), params="tao2024", rtol=5e-3),
        Check(2.18e5, at=dict(N_nv=7e10, d=8192.0, F=(7e10 * math.exp(2.48465)) ** 2), params="tao2024", rtol=5e-3),
    ),
)
def vocab_optimum_v(N_nv, d, F, *, A2, B, alpha1, alpha2):
    """Optimal vocabulary size at a width and a budget of training FLOPs.

    ``V = N_v / d`` with the root ``N_v`` of
    ``alpha2 * A2 / N_v**(alpha2 + 1) = alpha1 * B * (6 / F)**alpha1 * (N_nv + N_v)**(alpha1 - 1)``

    The parameters are those of ``vocab_loss``; the budget that suits a model is near
    ``F = (12 * N_nv)**2``.

    Source: Tao 2024, arXiv:2407.13623.
    """
    return vocab_optimum(N_nv, F, A2=A2, B=B, alpha1=alpha1, alpha2=alpha2) / d


@law(
    inputs=dict(N_nv=OTHER_PARAMETERS),
    response=Response("parameters", positive),
    c=amplitude(N_nv="-gamma", range=(1e-4, 1e6), meaning="vocabulary's parameters beside one other parameter"),
    gamma=exponent(range=(0.05, 1.5), meaning="power of the other parameters"),
    formula=r"N_v^\mathrm{opt} = c N_{nv}^{\gamma}",
    source=TAO,
    affine=("c",),
    published=dict(tao2024_derivative=dict(c=3145728 / 33e6**0.8354, gamma=0.8354)),
    checks=(Check(3145728.0, at=dict(N_nv=33e6), params="tao2024_derivative"),),
)
def vocab_optimum_power(N_nv, *, c, gamma):
    """The best number of vocabulary parameters is a power of the number of the others.

    ``N_v = c * N_nv**gamma``

    With a power below 1 the vocabulary grows more slowly than the model. A summary of
    ``vocab_optimum`` at the budget that suits each size.

    Source: Tao 2024, arXiv:2407.13623.
    """
    return c * N_nv**gamma


@law(
    inputs=dict(m=Input("words of the input vocabulary", typical=(1e4, 1e8))),
    response=Response("nat/token", positive),
    a=positive_number(range=(1.0, 10.0), unit="nat/token", meaning="loss at one word"),
    b=positive_number(range=(1e-3, 0.1), unit="nat/token", meaning="gain for each tenfold vocabulary"),
    formula=r"L = a - b \log_{10} m",
    source="Over-Tokenized Transformer: Vocabulary is Generally Worth Scaling, Huang 2025",
    affine=("a", "b"),
    decreasing=("m",),
    published=dict(huang2025=dict(a=2.6754, b=0.0256)),
    checks=(Check(2.5191, at=dict(m=1.28e6), params="huang2025"),),
)
def over_tokenized(m, *, a, b):
    """The loss is a falling line in the log of the input vocabulary.

    ``L = a - b * log10(m)``

    The output vocabulary stays as it is. The published line is of one mixture of experts with 1.3
    billion parameters on 500 billion tokens.

    Source: Huang 2025.
    """
    return a - b * jnp.log10(m)
