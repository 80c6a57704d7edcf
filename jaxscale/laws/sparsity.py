"""Models with weights removed: sparse from the start, pruned after or during training."""

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    exponent,
    floor,
    law,
    positive,
    real,
    scale,
)

FAMILY = "architecture"
TOKENS = Input("tokens", lower=1e6)
LOSS = Response("nat/token", positive)
PROBE = dict(a_S=16.8, b_S=0.722, c_S=45.0, b_N=0.245, a_D=6.9e8, b_D=0.203, c=0.651)


@law(
    inputs=dict(
        S=Input("share of weights that are zero", low=-1e-9, high=1.0, typical=(0.0, 0.95)),
        N=Input("non-zero parameters", lower=1e5),
        D=TOKENS,
    ),
    response=LOSS,
    a_S=amplitude(N="b_N", range=(1e-2, 1e9), meaning="part of the model term that sparsity shrinks"),
    b_S=exponent(meaning="power of the share of weights that remain"),
    c_S=amplitude(N="b_N", range=(1e-2, 1e9), meaning="part of the model term that sparsity leaves"),
    b_N=exponent(meaning="power of the non-zero parameters"),
    a_D=scale(D="b_D", range=(1e2, 1e14), unit="tokens", meaning="data size at which the data term is 1"),
    b_D=exponent(meaning="power of the tokens"),
    c=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \left(a_S (1 - S)^{b_S} + c_S\right) N^{-b_N} + \left(\frac{a_D}{D}\right)^{b_D} + c",
    source="Scaling Laws for Sparsely-Connected Foundation Models, Frantar 2023",
    affine=("a_S", "c_S", "c"),
    decreasing=("S", "N", "D"),
    checks=(
        Check(1.6928, at=dict(S=0.0, N=1e8, D=1e11), params=PROBE),
        Check(1.5763, at=dict(S=0.75, N=1e8, D=1e11), params=PROBE),
    ),
)
def sparse_nd(S, N, D, *, a_S, b_S, c_S, b_N, a_D, b_D, c):
    """Chinchilla in non-zero parameters, with a model term that shrinks as the model gets sparser.

    ``L = (a_S * (1 - S)**b_S + c_S) * N**-b_N + (a_D / D)**b_D + c``

    ``N`` counts non-zero weights, so that more sparsity at the same ``N`` is a larger model and always
    helps: a best sparsity needs a cost of sparsity.

    Source: Frantar 2023.
    """
    return (a_S * (1 - S) ** b_S + c_S) * N**-b_N + (a_D / D) ** b_D + c


@law(
    inputs=dict(
        L0=Input("loss before pruning in nat/token", typical=(1.5, 4.0)),
        N0=Input("parameters before pruning", lower=1e5),
        D=Input("tokens after pruning", lower=1e6),
        rho=Input("share of weights removed", high=1.0, typical=(0.05, 0.9)),
    ),
    response=LOSS,
    gamma=exponent(real, range=(-2.0, 2.0), meaning="power of the pruning rate, with its sign turned"),
    delta=exponent(range=(1e-3, 2.0), meaning="power of the model size in all of the damage"),
    N_C=amplitude(N0="alpha", range=(1e-2, 1e9), meaning="size of the part of the damage that falls with the model"),
    alpha=exponent(meaning="further power of the model size in its part"),
    D_C=amplitude(D="beta", N0="delta", range=(1e-2, 1e9), meaning="size of the part that further training removes"),
    beta=exponent(meaning="power of the tokens"),
    E=amplitude(N0="delta", range=(1e-4, 1e3), meaning="size of the part that remains"),
    formula=r"L = L_0 + \left(\frac{1}{\rho}\right)^{\gamma}\left(\frac{1}{N_0}\right)^{\delta}"
    r"\left(\frac{N_C}{N_0^{\alpha}} + \frac{D_C}{D^{\beta}} + E\right)",
    source="P2 Law: Scaling Law for Post-Training After Model Pruning, Chen 2024",
    affine=("N_C", "D_C", "E"),
    decreasing=("N0", "D"),
    checks=(
        Check(
            2.178,
            at=dict(L0=2.0, N0=1e9, D=1e9, rho=0.3),
            params=dict(gamma=-1.0, delta=0.02, N_C=100.0, alpha=0.3, D_C=300.0, beta=0.3, E=0.1),
        ),
    ),
)
def p2_pruning(L0, N0, D, rho, *, gamma, delta, N_C, alpha, D_C, beta, E):
    """Loss of a pruned model after further training.

    ``L = L0 + (1 / rho)**gamma * (1 / N0)**delta * (N_C / N0**alpha + D_C / D**beta + E)``

    No further training brings the loss back to ``L0``. Damage that rises with the pruning rate needs a
    negative ``gamma``; either sign is allowed. ``delta`` and ``alpha`` compete for the effect of size.

    Source: Chen 2024.
    """
    return L0 + rho**-gamma * N0**-delta * (N_C / N0**alpha + D_C / D**beta + E)


@law(
    inputs=dict(N_bar=Input("parameters averaged over training", lower=1e5), D=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N_bar="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the averaged parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"L = E + \frac{A}{\bar N^{\alpha}} + \frac{B}{D^{\beta}},\; \bar N = \frac{1}{T}\int_0^T N(t)\,dt",
    source="The Journey Matters: Average Parameter Count over Pre-training Unifies Sparse and Dense Scaling Laws, "
    "Jin 2025",
    affine=("E", "A", "B"),
    decreasing=("N_bar", "D"),
)
def average_params(N_bar, D, *, E, A, alpha, B, beta):
    """Chinchilla for a model that is pruned during training, in its average number of parameters.

    ``L = E + A / N_bar**alpha + B / D**beta`` with ``N_bar`` the mean of the parameters over the steps

    A model of ``N`` parameters pruned linearly to half between a quarter and three quarters of the
    steps has ``N_bar = 0.75 * N``. At a constant size this is ``chinchilla``.

    Source: Jin 2025.
    """
    return E + A / N_bar**alpha + B / D**beta
