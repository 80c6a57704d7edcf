"""Loss of language models against parameters, tokens and compute."""

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    exponent,
    floor,
    fraction,
    law,
    positive,
    positive_number,
    scale,
)

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
LOSS = Response("nat/token", positive)
KAPLAN = "Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361"


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
    "Chinchilla Scaling: A replication attempt, Besiroglu 2024, arXiv:2404.10102",
    affine=("E", "A", "B"),
    decreasing=("N", "D"),
    published=dict(
        besiroglu2024=dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
        hoffmann2022=dict(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
    ),
    checks=(
        Check(2.5301, at=dict(N=1e9, D=2e10), params="besiroglu2024"),
        Check(1.9739, at=dict(N=70e9, D=1.4e12), params="besiroglu2024"),
        Check(2.3802, at=dict(N=2.8e9, D=4e10), params=dict(E=1.87, A=521.0, alpha=0.353, B=1488.0, beta=0.353)),
    ),
)
def chinchilla(N, D, *, E, A, alpha, B, beta):
    """Irreducible loss plus power laws in parameters and tokens.

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
    decreasing=("N", "D"),
    published=dict(muennighoff2023=dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)),
)
def chinchilla_tied(N, D, *, E, A, B, alpha):
    """Chinchilla with one exponent, so that the optimal ratio of tokens to parameters is constant.

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
    source=KAPLAN,
    decreasing=("X",),
    published=dict(
        kaplan2020_parameters=dict(X_c=8.8e13, alpha=0.076),
        kaplan2020_tokens=dict(X_c=5.4e13, alpha=0.095),
        kaplan2020_compute=dict(X_c=3.1e8, alpha=0.050),
    ),
    checks=(
        Check(2.376, at=dict(X=1e9), params="kaplan2020_parameters"),
        Check(2.262, at=dict(X=1e10), params="kaplan2020_tokens"),
        Check(1.0, at=dict(X=3.1e8), params="kaplan2020_compute"),
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
    source=KAPLAN,
    decreasing=("N", "D"),
    published=dict(kaplan2020=dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)),
    checks=(
        Check(2.374, at=dict(N=1e9, D=2e10), params="kaplan2020"),
        Check(2.319, at=dict(N=1e9, D=1e30), params="kaplan2020"),
    ),
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


@law(
    inputs=dict(N=PARAMETERS, S_min=Input("steps", typical=(1e2, 1e7))),
    response=LOSS,
    N_c=scale(N="alpha_N", unit="parameters", meaning="model size at which its term is 1"),
    S_c=scale(S_min="alpha_S", range=(1e-2, 1e10), unit="steps", meaning="number of steps at which its term is 1"),
    alpha_N=exponent(meaning="power of the parameters"),
    alpha_S=exponent(meaning="power of the steps"),
    formula=r"L = \left(\frac{N_c}{N}\right)^{\alpha_N} + \left(\frac{S_c}{S_\mathrm{min}}\right)^{\alpha_S}",
    source=KAPLAN,
    decreasing=("N", "S_min"),
    published=dict(kaplan2020=dict(N_c=6.5e13, S_c=2.1e3, alpha_N=0.077, alpha_S=0.76)),
    checks=(Check(2.401, at=dict(N=1e9, S_min=1e5), params="kaplan2020"),),
)
def kaplan_ns(N, S_min, *, N_c, S_c, alpha_N, alpha_S):
    """Loss without a floor where model size and the number of steps limit it.

    ``L = (N_c / N)**alpha_N + (S_c / S_min)**alpha_S``

    ``S_min`` counts steps at a very large batch: ``S`` steps at batch ``B`` are worth
    ``S / (1 + B_crit / B)`` of them, with ``B`` and the critical batch ``B_crit`` in one unit.

    Source: Kaplan 2020, arXiv:2001.08361.
    """
    return (N_c / N) ** alpha_N + (S_c / S_min) ** alpha_S


@law(
    inputs=dict(
        C=Input("FLOPs", lower=1e12, typical=(1e17, 1e25)), M=Input("tokens per parameter", typical=(0.1, 1e4))
    ),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    a=amplitude(C="eta", M="-eta", range=(1.0, 1e9), meaning="size of the model term"),
    b=amplitude(C="eta", M="eta", range=(1.0, 1e9), meaning="size of the data term"),
    eta=exponent(range=(0.01, 1.5), meaning="power of the compute"),
    formula=r"L = E + \left(a M^{\eta} + b M^{-\eta}\right) C^{-\eta}",
    source="Language models scale reliably with over-training and on downstream tasks, Gadre 2024",
    affine=("E", "a", "b"),
    decreasing=("C",),
)
def overtraining_cm(C, M, *, E, a, b, eta):
    """Loss against compute where every ratio of tokens to parameters has the same slope.

    ``L = E + (a * M**eta + b * M**-eta) * C**-eta`` with ``M = D / N`` and ``C = 6 * N * D``

    This is ``chinchilla_tied`` with ``alpha = 2 * eta``, ``a = A * 6**eta`` and ``b = B * 6**eta``. At
    fixed compute the best ratio is ``(b / a)**(1 / (2 * eta))``.

    Source: Gadre 2024.
    """
    return E + (a * M**eta + b * M**-eta) * C**-eta


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=scale(N="alpha", unit="parameters", meaning="model size at which its term is 1"),
    alpha=exponent(meaning="power of the parameters"),
    B=scale(D="beta", unit="tokens", meaning="data size at which its term is 1"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"L = E + \left[\left(\frac{A}{N}\right)^{\alpha/\beta} + \frac{B}{D}\right]^{\beta}",
    source="Loss-to-Loss Prediction: Scaling Laws for All Datasets, Brandfonbrener 2024",
    affine=("E",),
    decreasing=("N", "D"),
    checks=(
        Check(2.70394, at=dict(N=1e9, D=2e10), params=dict(E=1.7, A=3e7, alpha=0.34, B=2e10, beta=0.28), rtol=1e-5),
    ),
)
def coupled_nd_floor(N, D, *, E, A, alpha, B, beta):
    """Irreducible loss plus a joint term of model size and data.

    ``L = E + ((A / N)**(alpha / beta) + B / D)**beta``

    ``A`` and ``B`` are a number of parameters and of tokens, unlike those of ``chinchilla``. Without a
    floor this is ``kaplan_nd``; with ample data ``E + (A / N)**alpha`` remains.

    Source: Brandfonbrener 2024.
    """
    # In logs, as (A / N)**(alpha / beta) overflows where beta is small.
    return E + jnp.exp(beta * jnp.logaddexp(alpha / beta * jnp.log(A / N), jnp.log(B / D)))


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term before the outer power"),
    alpha=exponent(meaning="inner power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term before the outer power"),
    beta=exponent(meaning="inner power of the tokens"),
    gamma=positive_number(range=(0.2, 2.0), meaning="outer power"),
    formula=r"L = E + \left(\frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}\right)^{\gamma}",
    source="Distillation Scaling Laws, Busbridge 2025, arXiv:2502.08606",
    affine=("E",),
    decreasing=("N", "D"),
    published=dict(busbridge2025=dict(E=1.220, A=3355.0, alpha=0.408, B=18186.0, beta=0.431, gamma=0.452)),
    checks=(
        Check(2.3747, at=dict(N=1e9, D=2e10), params="busbridge2025"),
        Check(2.0188, at=dict(N=7e9, D=1.4e11), params="busbridge2025"),
    ),
)
def outer_power_nd(N, D, *, E, A, alpha, B, beta, gamma):
    """Chinchilla with an outer exponent of the sum of its two terms.

    ``L = E + (A / N**alpha + B / D**beta)**gamma``

    With ``gamma = 1`` this is ``chinchilla``. Where one term dominates, only ``alpha * gamma`` and
    ``A**gamma`` (or those of the data) are identified.

    Source: Busbridge 2025.
    """
    return E + (A / N**alpha + B / D**beta) ** gamma


@law(
    inputs=dict(
        N_train=Input("trained parameters", lower=PARAMETERS.lower),
        N_frozen=Input("frozen parameters", low=-1.0, typical=(1e5, 1e13)),
    ),
    response=LOSS,
    N_c=scale(N_train="alpha", unit="parameters", meaning="number of parameters at which the loss is 1"),
    alpha=exponent(meaning="power of the parameters"),
    w=fraction(meaning="worth of a frozen parameter in trained ones"),
    formula=r"L = \left(\frac{N_c}{N_\mathrm{train} + w N_\mathrm{frozen}}\right)^{\alpha}",
    source="Is the Number of Trainable Parameters All That Actually Matters?, Chatelain 2021; unconfirmed form",
    decreasing=("N_train", "N_frozen"),
)
def trainable_params_multiplier(N_train, N_frozen, *, N_c, alpha, w):
    """Loss of a model with frozen parameters, which have a smaller weight.

    ``L = (N_c / (N_train + w * N_frozen))**alpha``

    The paper finds that only trained parameters matter, which is ``w`` near 0, where the law is
    ``kaplan_single`` in them; the weight ``w`` turns that finding into something a fit can test.

    Source: Chatelain 2021; unconfirmed form.
    """
    return (N_c / (N_train + w * N_frozen)) ** alpha
