"""The best learning rate against model size, data and compute."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, law, positive, positive_number, real

FAMILY = "hyperparameters"
PARAMETERS = Input("parameters", lower=1e5)
NON_EMBEDDING = Input("non-embedding parameters", lower=PARAMETERS.lower)
TOKENS = Input("tokens", lower=1e6)
FLOPS = Input("FLOPs", lower=1e12, typical=(1e17, 1e26))
RATE = Response("learning rate", positive)
REFERENCE_SIZE = 108e6


@law(
    inputs=dict(N=NON_EMBEDDING, D=TOKENS),
    response=RATE,
    a=amplitude(N="alpha", D="-beta", range=(1e-4, 1e4), meaning="learning rate at one parameter and one token"),
    alpha=exponent(meaning="power of the parameters"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"\eta = a\, N^{-\alpha} D^{\beta}",
    source="Predictable Scale: Part I, Step Law, Li 2025, arXiv:2503.04715",
    affine=("a",),
    decreasing=("N",),
    published=dict(li2025=dict(a=1.79, alpha=0.713, beta=0.307)),
    checks=(
        Check(0.001632, at=dict(N=1e9, D=1e11), params="li2025"),
        Check(9.960e-4, at=dict(N=1e9, D=2e10), params="li2025"),
    ),
)
def step_law_lr(N, D, *, a, alpha, beta):
    """The best peak learning rate falls with the model and rises with the data.

    ``eta = a * N**-alpha * D**beta``

    The batch size is tuned along, see ``step_law_batch``; ``horizon_lr``, where it is not, has the
    opposite sign for the data.

    Source: Li 2025, arXiv:2503.04715.
    """
    return a * N**-alpha * D**beta


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=RATE,
    c=amplitude(N="alpha", D="beta", range=(1e-4, 1e6), meaning="learning rate at one parameter and one token"),
    alpha=exponent(meaning="power of the parameters"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"\eta = c\, N^{-\alpha} D^{-\beta}",
    source="Scaling Optimal LR Across Token Horizons, Bjorck 2024",
    affine=("c",),
    decreasing=("N", "D"),
)
def horizon_lr(N, D, *, c, alpha, beta):
    """The best learning rate falls with the model and with the length of training.

    ``eta = c * N**-alpha * D**-beta``

    Published exponents are 0.23 and 0.32; the unit of the prefactor is unclear. ``step_law_lr``, where
    the batch size is tuned along, has the opposite sign for the data.

    Source: Bjorck 2024.
    """
    return c * N**-alpha * D**-beta


@law(
    inputs=dict(C=FLOPS),
    response=RATE,
    e0=amplitude(C="e1", range=(1e-4, 1e3), meaning="learning rate at one FLOP"),
    e1=exponent(meaning="power of the compute"),
    formula=r"\eta = e_0\, C^{-e_1}",
    source="DeepSeek LLM: Scaling Open-Source Language Models with Longtermism, Bi 2024; "
    "Towards Greater Leverage: Scaling Laws for Efficient Mixture-of-Experts Language Models, Tian 2025",
    affine=("e0",),
    decreasing=("C",),
    published=dict(bi2024=dict(e0=0.3118, e1=0.1250), tian2025=dict(e0=1.1576, e1=0.1529)),
    checks=(
        Check(5.009e-4, at=dict(C=1e22), params="tian2025"),
        Check(5.545e-4, at=dict(C=1e22), params="bi2024"),
    ),
)
def hp_compute_power_lr(C, *, e0, e1):
    """The best learning rate falls slowly with the training compute.

    ``eta = e0 * C**-e1``

    The set of 2024 is for dense models, the one of 2025 for mixtures of experts.

    Source: Bi 2024; Tian 2025.
    """
    return e0 * C**-e1


@law(
    inputs=dict(N=PARAMETERS),
    response=RATE,
    e0=positive_number(range=(1e-5, 1.0), meaning="learning rate at the reference size"),
    e1=exponent(meaning="power of the parameters"),
    formula=r"\eta = e_0 \left(\frac{N}{N_0}\right)^{-e_1},\; N_0 = 1.08 \cdot 10^{8}",
    source="Resolving Discrepancies in Compute-Optimal Scaling of Language Models, Porian 2024",
    affine=("e0",),
    decreasing=("N",),
    published=dict(porian2024=dict(e0=0.0047, e1=1 / 3)),
    checks=(
        Check(0.0047, at=dict(N=108e6), params="porian2024"),
        Check(2.238e-3, at=dict(N=1e9), params="porian2024"),
    ),
)
def hp_size_power_lr(N, *, e0, e1):
    """The best learning rate falls with the model where each model sees its optimal tokens.

    ``eta = e0 * (N / 1.08e8)**-e1``

    The constants are the rounded ones of the released code, for about 20 tokens per parameter.

    Source: Porian 2024.
    """
    return e0 * (N / REFERENCE_SIZE) ** -e1


@law(
    inputs=dict(N=PARAMETERS, M=Input("replicas", typical=(1.0, 32.0))),
    response=RATE,
    a=amplitude(N="alpha", M="-beta", range=(1e-4, 1e6), meaning="learning rate at one parameter and one replica"),
    alpha=exponent(meaning="power of the parameters"),
    beta=exponent(meaning="power of the replicas"),
    formula=r"\eta = a\, N^{-\alpha} M^{\beta}",
    source="Communication-Efficient Language Model Training Scales Reliably and Robustly: Scaling Laws for DiLoCo, "
    "Charles 2025",
    affine=("a",),
    decreasing=("N",),
    published=dict(charles2025=dict(a=22256.0, alpha=0.8827, beta=0.2929)),
    checks=(Check(3.100e-4, at=dict(N=1e9, M=2.0), params="charles2025"),),
)
def diloco_hp_lr(N, M, *, a, alpha, beta):
    """The best inner learning rate of replicas that rarely synchronise rises with their number.

    ``eta = a * N**-alpha * M**beta``

    ``M`` counts replicas from 1; ``diloco_hp_batch`` gives the batch size that goes with it.

    Source: Charles 2025.
    """
    return a * N**-alpha * M**beta


@law(
    inputs=dict(
        T=Input("billion tokens", typical=(0.1, 1e4)),
        N=Input("billion parameters", typical=(0.05, 50.0)),
    ),
    response=RATE,
    e0=amplitude(T="alpha", N="beta", range=(1e-6, 1.0), meaning="learning rate at a billion tokens and parameters"),
    alpha=exponent(meaning="power of the tokens"),
    beta=exponent(meaning="power of the parameters"),
    formula=r"\eta = e_0\, T^{-\alpha} N^{-\beta}",
    source="Towards Precise Scaling Laws for Video Diffusion Transformers, Yin 2024",
    affine=("e0",),
    decreasing=("T", "N"),
    published=dict(yin2024=dict(e0=2e-4, alpha=0.045, beta=0.162)),
    checks=(
        Check(2e-4, at=dict(T=1.0, N=1.0), params="yin2024"),
        Check(1.783e-4, at=dict(T=10.0, N=1.07), params="yin2024"),
    ),
)
def video_dit_hp_lr(T, N, *, e0, alpha, beta):
    """The best learning rate of video diffusion transformers falls with tokens and parameters.

    ``eta = e0 * T**-alpha * N**-beta``

    Both inputs are in billions.

    Source: Yin 2024.
    """
    return e0 * T**-alpha * N**-beta


@law(
    inputs=dict(T=Input("tokens", lower=1e6, typical=(1e8, 1e13)), B=Input("tokens", typical=(1e4, 1e7))),
    response=RATE,
    k=positive_number(range=(1e-9, 1e-2), meaning="learning rate over the root of the tokens on the rising branch"),
    t1=positive_number(range=(1e2, 1e6), meaning="steps at which the rise ends"),
    t2=positive_number(range=(1e4, 1e9), meaning="steps at which the fall begins"),
    f=positive_number(range=(0.05, 5.0), meaning="width of both breaks in log tokens"),
    formula=r"\eta = k\, T^{1/2} \left(1 + (T/T_1)^{1/f}\right)^{-f/2} \left(1 + (T/T_2)^{1/f}\right)^{-f/2},\;"
    r"T_1 = t_1 B,\; T_2 = t_2 B",
    source="Time Transfer: On Optimal Learning Rate and Batch Size in the Infinite Data Limit, Filatov 2024; "
    "unconfirmed form",
    affine=("k",),
    checks=(Check(0.1, at=dict(T=1e11, B=1.0), params=dict(k=1e-6, t1=1e10, t2=1e12, f=0.2)),),
)
def horizon_lr_regimes(T, B, *, k, t1, t2, f):
    """The best learning rate rises, stays and falls with the tokens, by where the batch size is critical.

    ``eta = k * T**0.5 * (1 + (T / T_1)**(1 / f))**(-f / 2) * (1 + (T / T_2)**(1 / f))**(-f / 2)``
    with ``T_1 = t1 * B`` and ``T_2 = t2 * B``

    The source has the three regimes, with slopes 0.5, 0 and -0.5; the smooth breaks between them are an
    addition. Order them, ``t1 < t2``, when reading a fit.

    Source: Filatov 2024; unconfirmed form.
    """
    steps = jnp.log(T / B)
    past = jnp.logaddexp(0.0, (steps - jnp.log(t1)) / f) + jnp.logaddexp(0.0, (steps - jnp.log(t2)) / f)
    return k * jnp.exp(0.5 * (jnp.log(T) - f * past))


@law(
    inputs=dict(n=Input("width", typical=(64.0, 65536.0))),
    response=RATE,
    k=amplitude(n="-s", range=(1e-6, 1e2), meaning="learning rate at width 1"),
    s=exponent(real, range=(-1.5, 1.0), meaning="slope in log width, 0 where the rate transfers"),
    formula=r"\eta = k\, n^{s},\; s = 0",
    source="u-muP: The Unit-Scaled Maximal Update Parametrization, Blake 2024; "
    "Super Consistency of Neural Network Landscapes and Learning Rate Transfer, Noci 2024",
    affine=("k",),
)
def mup_invariance(n, *, k, s):
    """The best learning rate is the same at every width under maximal-update rules.

    ``eta = k * n**s`` with the claim ``s = 0``

    Fit the slope and see whether 0 is in its interval; under standard rules it is negative.

    Source: Blake 2024; Noci 2024.
    """
    return k * n**s
