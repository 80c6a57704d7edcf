"""Loss of mixtures of experts, trained from scratch or grown from a dense model."""

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
    positive,
    positive_number,
    real,
)
from jaxscale.laws.routing import saturating_transform

FAMILY = "moe"
PARAMETERS = Input("parameters", lower=1e5)
ACTIVE_PARAMETERS = Input("active parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
DENSE_TOKENS = Input("tokens of dense training", lower=1e6)
UPCYCLING_TOKENS = Input("tokens after upcycling", lower=1e6)
LOSS = Response("nat/token", positive)
LIEW = "Scaling Laws for Upcycling Mixture-of-Experts Language Models, Liew 2025"


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, G=Input("granularity", typical=(1.0, 64.0))),
    response=LOSS,
    c=floor(unit="nat/token", meaning="irreducible loss"),
    g=amplitude(N="alpha", G="gamma", range=(1e-2, 1e8), meaning="size of what coarse experts cost"),
    gamma=exponent(meaning="power of the granularity"),
    a=amplitude(N="alpha", range=(1e-1, 1e9), meaning="size of the model term at the finest granularity"),
    alpha=exponent(meaning="power of the parameters"),
    b=amplitude(D="beta", range=(1e-1, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"L = c + \left(\frac{g}{G^{\gamma}} + a\right)\frac{1}{N^{\alpha}} + \frac{b}{D^{\beta}}",
    source="Scaling Laws for Fine-Grained Mixture of Experts, Krajewski 2024",
    affine=("c", "g", "a", "b"),
    decreasing=("N", "D", "G"),
    published=dict(krajewski2024=dict(c=0.47, g=2.1, gamma=0.58, a=18.1, alpha=0.115, b=30.8, beta=0.147)),
    checks=(
        Check(3.0776, at=dict(N=1e9, D=1e11, G=1.0), params="krajewski2024"),
        Check(2.9418, at=dict(N=1e9, D=1e11, G=8.0), params="krajewski2024"),
    ),
)
def fine_grained_moe(N, D, G, *, c, g, gamma, a, alpha, b, beta):
    """Chinchilla for a mixture of experts, with a model term that decreases with granularity.

    ``L = c + (g / G**gamma + a) / N**alpha + b / D**beta``

    Finer is always better here, while ``moe_leverage`` has a best granularity near 11: compare them at
    equal active size. The published constants are the less certain part.

    Source: Krajewski 2024.
    """
    return c + (g / G**gamma + a) / N**alpha + b / D**beta


JOINT_PROBE = dict(
    a=35.91, delta=-0.2285, alpha=-0.1889, gamma=0.0098, b=35.98, omega=0.5529, beta=-0.1775, zeta=-0.0259, c=1.3637
)


@law(
    inputs=dict(N=ACTIVE_PARAMETERS, D=TOKENS, E=Input("experts", typical=(1.0, 512.0))),
    response=LOSS,
    a=amplitude(N="-alpha", range=(1e-1, 1e9), meaning="size of the model term at one effective expert"),
    delta=coefficient(range=(-1.0, 1.0), meaning="power of the experts in the model term"),
    alpha=exponent(real, range=(-1.5, -0.05), meaning="power of the parameters at one effective expert"),
    gamma=coefficient(range=(-0.05, 0.05), meaning="change of the power of the parameters with log experts"),
    b=amplitude(D="-beta", range=(1e-1, 1e9), meaning="size of the data term at one effective expert"),
    omega=coefficient(range=(-1.0, 1.0), meaning="power of the experts in the data term"),
    beta=exponent(real, range=(-1.5, -0.05), meaning="power of the tokens at one effective expert"),
    zeta=coefficient(range=(-0.1, 0.1), meaning="change of the power of the tokens with log experts"),
    c=floor(unit="nat/token", meaning="irreducible loss"),
    E_start=positive_number(range=(1.01, 20.0), unit="experts", meaning="experts that a dense model counts for"),
    E_max=positive_number(range=(25.0, 5000.0), unit="experts", meaning="experts that no number of experts exceeds"),
    formula=r"L = a \hat E^{\delta} N^{\alpha + \gamma \ln \hat E} + b \hat E^{\omega} D^{\beta + \zeta \ln \hat E}"
    r" + c,\; \frac{1}{\hat E} = \frac{1}{E - 1 + \left(\frac{1}{E_\mathrm{start}}"
    r" - \frac{1}{E_\mathrm{max}}\right)^{-1}} + \frac{1}{E_\mathrm{max}}",
    source="Joint MoE Scaling Laws: Mixture of Experts Can Be Memory Efficient, Ludziejewski 2025",
    affine=("a", "b", "c"),
    checks=(
        Check(2.6141, at=dict(N=1e9, D=2e10, E=1.0), params=dict(JOINT_PROBE, E_start=1.0, E_max=100.0)),
        Check(2.5132, at=dict(N=1e9, D=2e10, E=1.0), params=dict(JOINT_PROBE, E_start=8.0, E_max=100.0)),
    ),
)
def joint_moe(N, D, E, *, a, delta, alpha, gamma, b, omega, beta, zeta, c, E_start, E_max):
    """Chinchilla in active parameters and tokens, with coefficients that depend on the number of experts.

    ``L = a * E_hat**delta * N**(alpha + gamma * log(E_hat)) + b * E_hat**omega * D**(beta + zeta * log(E_hat)) + c``
    with ``1 / E_hat = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max``

    ``alpha`` and ``beta`` are negative, ``c`` is the floor, and ``E`` counts experts. Choose a model
    under limits on memory and on compute together, as more experts cost memory only.

    Source: Ludziejewski 2025.
    """
    E_hat = saturating_transform(E - 1, x_start=E_start, x_max=E_max)
    log_E = jnp.log(E_hat)
    model = a * jnp.exp(delta * log_E + (alpha + gamma * log_E) * jnp.log(N))
    data = b * jnp.exp(omega * log_E + (beta + zeta * log_E) * jnp.log(D))
    return model + data + c


SPARSITY_PROBE = dict(a=400.0, alpha=0.34, b=400.0, beta=0.28, c=0.05, lam=0.3, d=5.0, delta=0.2, gamma=0.15, e=1.5)


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, S=Input("inactive share", low=-1e-9, high=1.0, typical=(0.0, 0.95))),
    response=LOSS,
    a=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the total parameters"),
    b=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    c=positive_number(range=(1e-4, 10.0), meaning="size of what sparsity costs at any size"),
    lam=exponent(meaning="power of the active share in that cost"),
    d=amplitude(N="gamma", range=(1e-2, 1e8), meaning="size of what sparsity costs a small model"),
    delta=exponent(meaning="power of the active share in the second cost"),
    gamma=exponent(meaning="power of the parameters in the second cost"),
    e=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \frac{a}{N^{\alpha}} + \frac{b}{D^{\beta}} + \frac{c}{(1 - S)^{\lambda}}"
    r" + \frac{d}{(1 - S)^{\delta} N^{\gamma}} + e",
    source="Parameters vs FLOPs: Scaling Laws for Optimal Sparsity for Mixture-of-Experts Language Models, "
    "Abnar 2025; unconfirmed form",
    affine=("a", "b", "c", "d", "e"),
    decreasing=("N", "D"),
    checks=(
        Check(2.7410, at=dict(N=1e9, D=2e10, S=0.75), params=SPARSITY_PROBE),
        Check(2.6438, at=dict(N=1e9, D=2e10, S=0.0), params=SPARSITY_PROBE),
    ),
)
def moe_sparsity_additive(N, D, S, *, a, alpha, b, beta, c, lam, d, delta, gamma, e):
    """Chinchilla in total parameters, plus a term of the sparsity.

    ``L = a / N**alpha + b / D**beta + c / (1 - S)**lam + d / ((1 - S)**delta * N**gamma) + e``

    ``c`` and ``e`` are identified only if the sparsity varies: with few levels of it, fix ``e`` first.
    A fit of real runs may want a negative ``c`` or ``d``, which this law does not allow.

    Source: Abnar 2025; unconfirmed form.
    """
    active = 1 - S
    return a / N**alpha + b / D**beta + c / active**lam + d / (active**delta * N**gamma) + e


@law(
    inputs=dict(D1=DENSE_TOKENS, D2=UPCYCLING_TOKENS),
    response=LOSS,
    A=amplitude(D1="a1", D2="a2", range=(1e-2, 1e9), meaning="size of the data term"),
    a1=exponent(meaning="power of the tokens of dense training"),
    a2=exponent(meaning="power of the tokens after upcycling, without dense training"),
    a3=positive_number(range=(1e-4, 0.05), meaning="what dense training takes from that power, per factor e"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = A D_1^{-a_1} D_2^{-a_2 + a_3 \log D_1} + E",
    source=LIEW,
    affine=("A", "E"),
)
def upcycling_tokens(D1, D2, *, A, a1, a2, a3, E):
    """The loss of a mixture of experts grown from a dense model, in the tokens before and after.

    ``L = A * D1**-a1 * D2**(-a2 + a3 * log(D1)) + E``

    The more the dense model has seen, the slower the loss falls after upcycling; at ``D1 = exp(a2 / a3)``
    it no longer falls. The log is natural, and another unit of ``D1`` moves ``a2``.

    Source: Liew 2025.
    """
    log_D1 = jnp.log(D1)
    return A * jnp.exp(-a1 * log_D1 + (a3 * log_D1 - a2) * jnp.log(D2)) + E


@law(
    inputs=dict(D1=DENSE_TOKENS, D2=UPCYCLING_TOKENS, N=ACTIVE_PARAMETERS),
    response=LOSS,
    A=amplitude(D1="a1", D2="a2", range=(1e-2, 1e9), meaning="size of the data term"),
    a1=exponent(meaning="power of the tokens of dense training"),
    a2=exponent(meaning="power of the tokens after upcycling, without dense training"),
    a3=positive_number(range=(1e-4, 0.05), meaning="what dense training takes from that power, per factor e"),
    B=amplitude(N="b", range=(1.0, 1e9), meaning="size of the model term"),
    b=exponent(meaning="power of the active parameters"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = A D_1^{-a_1} D_2^{-a_2 + a_3 \log D_1} + B N^{-b} + E",
    source=f"{LIEW}; unconfirmed form",
    affine=("A", "B", "E"),
    decreasing=("N",),
)
def upcycling_size(D1, D2, N, *, A, a1, a2, a3, B, b, E):
    """The loss of a mixture of experts grown from a dense model, in tokens before and after, and in its size.

    ``L = A * D1**-a1 * D2**(-a2 + a3 * log(D1)) + B * N**-b + E``

    At one size this is ``upcycling_tokens`` with a floor of ``E + B * N**-b``.

    Source: Liew 2025; unconfirmed form.
    """
    return upcycling_tokens(D1, D2, A=A, a1=a1, a2=a2, a3=a3, E=E) + B * N**-b
