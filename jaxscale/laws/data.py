"""Training on data that repeat."""

import jax.numpy as jnp

from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive, positive_number

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
SOURCE = "Scaling Data-Constrained Language Models, Muennighoff 2023, arXiv:2305.16264"


@law(
    inputs=dict(U_D=TOKENS, D=TOKENS),
    response=Response("tokens", positive),
    R_D=positive_number(range=(0.1, 1e3), unit="epochs", meaning="repetitions after which data lose their value"),
    formula=r"D_\mathrm{eff} = U\left[1 + R_D\left(1 - e^{-r/R_D}\right)\right],\;"
    r"U = \min(U_D, D),\; r = \frac{D}{U} - 1",
    source=SOURCE,
    published=dict(muennighoff2023=dict(R_D=15.3878)),
)
def repetition_tokens(U_D, D, *, R_D):
    """How many fresh tokens the tokens seen are worth when ``U_D`` unique ones repeat.

    ``D_eff = U * (1 + R_D * (1 - exp(-r / R_D)))`` with ``U = min(U_D, D)``, ``r = D / U - 1``

    Up to one epoch this is ``D``; no number of epochs is worth more than ``(1 + R_D) * U_D``.

    Source: Muennighoff 2023, arXiv:2305.16264.
    """
    U = jnp.minimum(U_D, D)
    # expm1 keeps the limit R_D -> infinity exact: 1 - exp(-r / R_D) loses all its digits there.
    return U * (1 - R_D * jnp.expm1(-(D / U - 1) / R_D))


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, U_D=TOKENS),
    response=Response("nat/token", positive),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    R_D=positive_number(range=(0.1, 1e3), unit="epochs", meaning="repetitions after which data lose their value"),
    R_N=positive_number(range=(0.1, 1e3), meaning="excess of the model size after which it loses its value"),
    formula=r"L = E + \frac{A}{N_\mathrm{eff}^{\alpha}} + \frac{B}{D_\mathrm{eff}^{\beta}},\;"
    r"N_\mathrm{eff} = U_N\left[1 + R_N\left(1 - e^{-(N/U_N - 1)/R_N}\right)\right],\;"
    r"U_N = \min\left(N, G\,(G U_D)^{\beta/\alpha}\right),\;"
    r"G = \left(\frac{\alpha A}{\beta B}\right)^{1/(\alpha+\beta)}",
    source=SOURCE,
    affine=("E",),
    published=dict(
        muennighoff2023=dict(E=1.87, A=521.0, alpha=0.353, B=1488.0, beta=0.353, R_D=15.3878, R_N=5.3097),
    ),
)
def data_constrained(N, D, U_D, *, E, A, alpha, B, beta, R_D, R_N):
    """Chinchilla where repeated data, and a model too large for the unique data, count for less.

    ``L = E + A / N_eff**alpha + B / D_eff**beta`` with ``D_eff`` from ``repetition_tokens``,
    ``N_eff = U_N * (1 + R_N * (1 - exp(-(N / U_N - 1) / R_N)))``,
    ``U_N = min(N, G * (G * U_D)**(beta / alpha))`` and
    ``G = (alpha * A / (beta * B))**(1 / (alpha + beta))``

    ``U_N`` is the model size that suits the unique data, so ``A`` and ``B`` also enter through it.
    The published fit came in two steps: first the tied base law, then ``R_D`` and ``R_N``.

    Source: Muennighoff 2023, arXiv:2305.16264.
    """
    # In logs, as G * (G * U_D)**(beta / alpha) = (alpha * A / (beta * B) * U_D**beta)**(1 / alpha)
    # overflows where alpha is small. Beyond exp(100) an excess is infinite to every R_N.
    log_suited = (jnp.log(alpha * A) - jnp.log(beta * B) + beta * jnp.log(U_D)) / alpha
    log_U_N = jnp.minimum(jnp.log(N), log_suited)
    excess = jnp.expm1(jnp.minimum(jnp.log(N) - log_U_N, 100.0))
    log_N_eff = log_U_N + jnp.log1p(-R_N * jnp.expm1(-excess / R_N))
    D_eff = repetition_tokens(U_D, D, R_D=R_D)
    return E + jnp.exp(jnp.log(A) - alpha * log_N_eff) + B / D_eff**beta
