"""Loss of language models against parameters, tokens and compute."""

import jax.numpy as jnp

from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive, scale

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
LOSS = Response("nat/token", positive)


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}",
    source="Training Compute-Optimal Large Language Models, Hoffmann 2022, arXiv:2203.15556; "
    "refit: Chinchilla Scaling: A replication attempt, Besiroglu 2024, arXiv:2404.10102",
    affine=("E", "A", "B"),
    published=dict(
        besiroglu2024=dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
        hoffmann2022=dict(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
    ),
)
def chinchilla(N, D, *, E, A, alpha, B, beta):
    """Irreducible loss, plus what a finite model costs, plus what finite data cost.

    ``L = E + A / N**alpha + B / D**beta``

    The rounded constants of 2022 contradict the paper's own 20 tokens per parameter; the refit of
    2024 to the same runs does not.

    Source: Hoffmann 2022, arXiv:2203.15556; Besiroglu 2024, arXiv:2404.10102.
    """
    return E + A / N**alpha + B / D**beta


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    B=amplitude(D="alpha", range=(1.0, 1e9), meaning="size of the data term"),
    alpha=exponent(meaning="power of parameters and tokens"),
    formula=r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\alpha}}",
    source="Scaling Data-Constrained Language Models, Muennighoff 2023, arXiv:2305.16264",
    affine=("E", "A", "B"),
    published=dict(muennighoff2023=dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)),
)
def chinchilla_tied(N, D, *, E, A, B, alpha):
    """Chinchilla with one exponent, so that the best ratio of tokens to parameters never changes.

    ``L = E + A / N**alpha + B / D**alpha``

    At compute ``6 N D`` the best ``D / N`` is ``(B / A)**(1 / alpha)`` at every budget.

    Source: Muennighoff 2023, arXiv:2305.16264.
    """
    return E + A / N**alpha + B / D**alpha


@law(
    inputs=dict(X=Input("parameters, tokens or PF-days")),
    response=LOSS,
    X_c=scale(X="alpha", meaning="size at which the loss is 1"),
    alpha=exponent(meaning="slope of log loss in log size, with its sign turned"),
    formula=r"L = \left(\frac{X_c}{X}\right)^{\alpha}",
    source="Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361",
    published=dict(
        kaplan2020_parameters=dict(X_c=8.8e13, alpha=0.076),
        kaplan2020_tokens=dict(X_c=5.4e13, alpha=0.095),
        kaplan2020_compute=dict(X_c=3.1e8, alpha=0.050),
    ),
)
def kaplan_single(X, *, X_c, alpha):
    """Loss without a floor where one resource is scarce and the others are ample.

    ``L = (X_c / X)**alpha``

    ``X`` counts non-embedding parameters, tokens, or PF-days at the critical batch size, by the set
    of constants. ``X_c`` and ``alpha`` are strongly correlated; the published ``X_c`` are
    the less certain ones.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    return (X_c / X) ** alpha


@law(
    inputs=dict(N=Input("non-embedding parameters", lower=PARAMETERS.lower), D=TOKENS),
    response=LOSS,
    N_c=scale(N="alpha_N", unit="parameters", meaning="model size at which its loss is 1"),
    D_c=scale(D="alpha_D", unit="tokens", meaning="data size at which its loss is 1"),
    alpha_N=exponent(meaning="power of the parameters"),
    alpha_D=exponent(meaning="power of the tokens"),
    formula=r"L = \left[\left(\frac{N_c}{N}\right)^{\alpha_N/\alpha_D} + \frac{D_c}{D}\right]^{\alpha_D}",
    source="Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361",
    published=dict(kaplan2020=dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)),
)
def kaplan_nd(N, D, *, N_c, D_c, alpha_N, alpha_D):
    """Loss without a floor where model size and data limit it together.

    ``L = ((N_c / N)**(alpha_N / alpha_D) + D_c / D)**alpha_D``

    With ample data this is ``(N_c / N)**alpha_N``, with an ample model ``(D_c / D)**alpha_D``. The
    constants of this joint fit differ from those of ``kaplan_single``.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    # In logs, as (N_c / N)**(alpha_N / alpha_D) overflows where alpha_D is small.
    model = alpha_N / alpha_D * jnp.log(N_c / N)
    data = jnp.log(D_c / D)
    return jnp.exp(alpha_D * jnp.logaddexp(model, data))
