"""Training on more data, and on repeated data."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, positive, positive_number, real

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
    checks=(
        Check(0.9314 * 4e9, at=dict(U_D=1e9, D=4e9), params="muennighoff2023"),
        Check(0.6614 * 16e9, at=dict(U_D=1e9, D=16e9), params="muennighoff2023"),
        Check(0.3792 * 40e9, at=dict(U_D=1e9, D=40e9), params="muennighoff2023"),
        Check(16.388 * 1e9, at=dict(U_D=1e9, D=1e18), params="muennighoff2023"),
    ),
)
def repetition_tokens(U_D, D, *, R_D):
    """Effective number of tokens when ``U_D`` unique tokens are repeated.

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
    decreasing=("N", "D", "U_D"),
    published=dict(
        muennighoff2023=dict(E=1.87, A=521.0, alpha=0.353, B=1488.0, beta=0.353, R_D=15.3878, R_N=5.3097),
    ),
    checks=(
        Check(2.4147, at=dict(N=2.8e9, D=4e10, U_D=1e10), params="muennighoff2023"),
        Check(2.3810, at=dict(N=2.8e9, D=4e10, U_D=4e10), params="muennighoff2023"),
    ),
)
def data_constrained(N, D, U_D, *, E, A, alpha, B, beta, R_D, R_N):
    """Chinchilla with diminishing returns of repeated data and of excess parameters.

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


@law(
    inputs=dict(L=Input("nat/token", typical=(1.2, 10.0))),
    response=Response("parameters", positive),
    N_c=positive_number(range=(1e10, 1e17), unit="parameters", meaning="model size at which the loss is 1"),
    alpha_N=exponent(meaning="power of the parameters in the law without repetition"),
    formula=r"N_\mathrm{equiv} = N_c L^{-1/\alpha_N}",
    source="Scaling Laws and Interpretability of Learning from Repeated Data, Hernandez 2022; unconfirmed form",
    affine=("N_c",),
    decreasing=("L",),
    checks=(Check(1e9, at=dict(L=2.376), params=dict(N_c=8.8e13, alpha_N=0.076), rtol=5e-3),),
)
def repeated_equivalent_size(L, *, N_c, alpha_N):
    """The size of the model that reaches a loss without repeated data.

    ``N_equiv = N_c / L**(1 / alpha_N)``

    It inverts ``kaplan_single``, whose constants it takes; a small error of the loss is a large one of
    the size. How loss depends on repetition itself has no closed form: it rises and falls again.

    Source: Hernandez 2022; unconfirmed form.
    """
    return N_c * L ** (-1 / alpha_N)


@law(
    inputs=dict(m=Input("samples", typical=(1e2, 1e9))),
    response=Response("error", positive),
    a=amplitude(m="-beta_g", range=(1e-3, 1e6), meaning="distance from the floor at one sample"),
    beta_g=exponent(real, range=(-1.0, -0.01), meaning="slope of the log reducible error in log samples"),
    gamma=floor(meaning="irreducible error"),
    formula=r"\varepsilon = a m^{\beta_g} + \gamma",
    source="Deep Learning Scaling is Predictable, Empirically, Hestness 2017",
    affine=("a", "gamma"),
    decreasing=("m",),
)
def learning_curve_floor(m, *, a, beta_g, gamma):
    """Error on new data falls with the number of samples as a power law towards a floor.

    ``err = a * m**beta_g + gamma`` with ``beta_g < 0``

    Reported slopes are about -0.07 to -0.35. With few samples the error stays at chance before the power
    law begins, and such rows do not belong in the fit.

    Source: Hestness 2017.
    """
    return a * m**beta_g + gamma
