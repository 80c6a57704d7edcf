"""Optimal and critical batch sizes, and the cost of a batch size."""

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    exponent,
    floor,
    law,
    location,
    positive,
    positive_number,
)

FAMILY = "hyperparameters"
PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
FLOPS = Input("FLOPs", lower=1e12, typical=(1e17, 1e26))
BATCH = Input("examples", typical=(1.0, 1e6))
BATCH_TOKENS = Response("tokens", positive)
REFERENCE_SIZE = 108e6
MCCANDLISH = "An Empirical Model of Large-Batch Training, McCandlish 2018, arXiv:1812.06162"


@law(
    inputs=dict(D=TOKENS),
    response=BATCH_TOKENS,
    b=amplitude(D="-gamma", range=(1e-3, 1e6), unit="tokens", meaning="batch size at one token"),
    gamma=exponent(meaning="power of the tokens"),
    formula=r"B = b\, D^{\gamma}",
    source="Predictable Scale: Part I, Step Law, Li 2025, arXiv:2503.04715",
    affine=("b",),
    published=dict(li2025=dict(b=0.58, gamma=0.571)),
    checks=(
        Check(1.108e6, at=dict(D=1e11), params="li2025"),
        Check(4.419e5, at=dict(D=2e10), params="li2025"),
    ),
)
def step_law_batch(D, *, b, gamma):
    """The best batch size grows with the data and does not depend on the model.

    ``B = b * D**gamma``

    The learning rate is tuned along, see ``step_law_lr``.

    Source: Li 2025, arXiv:2503.04715.
    """
    return b * D**gamma


@law(
    inputs=dict(C=FLOPS),
    response=BATCH_TOKENS,
    b0=amplitude(C="-b1", range=(1e-3, 1e6), unit="tokens", meaning="batch size at one FLOP"),
    b1=exponent(meaning="power of the compute"),
    formula=r"B = b_0\, C^{b_1}",
    source="DeepSeek LLM: Scaling Open-Source Language Models with Longtermism, Bi 2024; "
    "Towards Greater Leverage: Scaling Laws for Efficient Mixture-of-Experts Language Models, Tian 2025",
    affine=("b0",),
    published=dict(bi2024=dict(b0=0.2920, b1=0.3271), tian2025=dict(b0=0.0694, b1=0.3644)),
    checks=(
        Check(7.21e6, at=dict(C=1e22), params="tian2025", rtol=5e-3),
        Check(4.59e6, at=dict(C=1e22), params="bi2024", rtol=5e-3),
    ),
)
def hp_compute_power_batch(C, *, b0, b1):
    """The best batch size grows with the training compute.

    ``B = b0 * C**b1``

    The set of 2024 is for dense models, the one of 2025 for mixtures of experts.

    Source: Bi 2024; Tian 2025.
    """
    return b0 * C**b1


@law(
    inputs=dict(N=PARAMETERS),
    response=Response("2048-token sequences", positive),
    b0=positive_number(range=(1.0, 1e5), unit="sequences", meaning="batch size at the reference size"),
    b1=exponent(meaning="power of the parameters"),
    formula=r"B = b_0 \left(\frac{N}{N_0}\right)^{b_1},\; N_0 = 1.08 \cdot 10^{8}",
    source="Resolving Discrepancies in Compute-Optimal Scaling of Language Models, Porian 2024",
    affine=("b0",),
    published=dict(porian2024=dict(b0=160.0, b1=2 / 3)),
    checks=(
        Check(160.0, at=dict(N=108e6), params="porian2024"),
        Check(705.5, at=dict(N=1e9), params="porian2024"),
    ),
)
def hp_size_power_batch(N, *, b0, b1):
    """The best batch size grows with the model where each model sees its optimal tokens.

    ``B = b0 * (N / 1.08e8)**b1``

    The constants are the rounded ones of the released code, for about 20 tokens per parameter; at small
    batches the second moment's decay has to be tuned too.

    Source: Porian 2024.
    """
    return b0 * (N / REFERENCE_SIZE) ** b1


@law(
    inputs=dict(N=PARAMETERS, M=Input("replicas", typical=(1.0, 32.0))),
    response=Response("sequences", positive),
    b=amplitude(N="-alpha", M="-beta", range=(1e-5, 1e4), meaning="batch size at one parameter and one replica"),
    alpha=exponent(meaning="power of the parameters"),
    beta=exponent(meaning="power of the replicas"),
    formula=r"B = b\, N^{\alpha} M^{\beta}",
    source="Communication-Efficient Language Model Training Scales Reliably and Robustly: Scaling Laws for DiLoCo, "
    "Charles 2025",
    affine=("b",),
    published=dict(charles2025=dict(b=0.00709, alpha=0.4695, beta=0.3399)),
    checks=(Check(150.8, at=dict(N=1e9, M=2.0), params="charles2025"),),
)
def diloco_hp_batch(N, M, *, b, alpha, beta):
    """The best batch size of replicas that rarely synchronise grows with the model and their number.

    ``B = b * N**alpha * M**beta``

    The unit is ambiguous in the source; sequences fit the size of the published constants.

    Source: Charles 2025.
    """
    return b * N**alpha * M**beta


@law(
    inputs=dict(
        T=Input("billion tokens", typical=(0.1, 1e4)),
        N=Input("billion parameters", typical=(0.05, 50.0)),
    ),
    response=BATCH_TOKENS,
    b0=amplitude(T="-alpha", N="-beta", range=(1.0, 1e8), meaning="batch size at a billion tokens and parameters"),
    alpha=exponent(meaning="power of the tokens"),
    beta=exponent(meaning="power of the parameters"),
    formula=r"B = b_0\, T^{\alpha} N^{\beta}",
    source="Towards Precise Scaling Laws for Video Diffusion Transformers, Yin 2024",
    affine=("b0",),
    published=dict(yin2024=dict(b0=2.18e4, alpha=0.81, beta=0.19)),
    checks=(
        Check(2.18e4, at=dict(T=1.0, N=1.0), params="yin2024"),
        Check(1.426e5, at=dict(T=10.0, N=1.07), params="yin2024"),
    ),
)
def video_dit_hp_batch(T, N, *, b0, alpha, beta):
    """The best batch size of video diffusion transformers grows mostly with the tokens.

    ``B = b0 * T**alpha * N**beta``

    Both inputs are in billions.

    Source: Yin 2024.
    """
    return b0 * T**alpha * N**beta


@law(
    inputs=dict(D=TOKENS),
    response=BATCH_TOKENS,
    k=amplitude(D="-m", range=(1e-3, 1e6), unit="tokens", meaning="batch size at one token"),
    m=exponent(meaning="power of the tokens"),
    formula=r"B_\mathrm{opt} = k\, D^{m}",
    source="Power Lines: Scaling Laws for Weight Decay and Batch Size in LLM Pre-training, Bergsma 2025",
    affine=("k",),
)
def batch_tokens_power_opt(D, *, k, m):
    """The best batch size is a power of the tokens, whatever the model.

    ``B_opt = k * D**m``

    Published powers lie from 0.367 to 0.391; the prefactors are not settled.

    Source: Bergsma 2025.
    """
    return k * D**m


@law(
    inputs=dict(D=TOKENS),
    response=BATCH_TOKENS,
    k=amplitude(D="-m", range=(1e-3, 1e6), unit="tokens", meaning="batch size at one token"),
    m=exponent(meaning="power of the tokens"),
    formula=r"B_\mathrm{crit} = k\, D^{m}",
    source="Power Lines: Scaling Laws for Weight Decay and Batch Size in LLM Pre-training, Bergsma 2025; "
    "How Does Critical Batch Size Scale in Pre-training?, Zhang 2024",
    affine=("k",),
)
def batch_tokens_power_crit(D, *, k, m):
    """The critical batch size is a power of the tokens, whatever the model.

    ``B_crit = k * D**m``

    Published powers are about 0.46 to 0.47, against 1 in ``bcrit_linear`` and a power of the loss in
    ``kaplan_bcrit``; definitions differ (Zhang allows 20 % more steps).

    Source: Bergsma 2025; Zhang 2024.
    """
    return k * D**m


@law(
    inputs=dict(T=TOKENS),
    response=BATCH_TOKENS,
    k=positive_number(range=(1e-8, 1e-1), meaning="critical batch size as a share of the tokens"),
    formula=r"B_\mathrm{crit} = k\, T",
    source="Time Transfer: On Optimal Learning Rate and Batch Size in the Infinite Data Limit, Filatov 2024",
    affine=("k",),
)
def bcrit_linear(T, *, k):
    """The critical batch size is a fixed share of the tokens.

    ``B_crit = k * T``

    This is ``batch_tokens_power_crit`` with the power 1, which rests on few points: test one against
    the other.

    Source: Filatov 2024.
    """
    return k * T


@law(
    inputs=dict(L=Input("nat/token", typical=(1.5, 8.0))),
    response=BATCH_TOKENS,
    B_star=positive_number(range=(1e3, 1e12), unit="tokens", meaning="critical batch size at a loss of 1"),
    alpha_B=exponent(meaning="power by which the loss falls with the critical batch size"),
    formula=r"B_\mathrm{crit} = \frac{B_*}{L^{1/\alpha_B}}",
    source="Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361; "
    "Unraveling the Mystery of Scaling Laws: Part I, Su 2024",
    affine=("B_star",),
    decreasing=("L",),
    published=dict(kaplan2020=dict(B_star=2.1e8, alpha_B=0.21)),
    checks=(Check(1.123e6, at=dict(L=3.0), params="kaplan2020"),),
)
def kaplan_bcrit(L, *, B_star, alpha_B):
    """The critical batch size depends on the loss alone and grows as it falls.

    ``B_crit = B_star / L**(1 / alpha_B)``

    The published constants are less certain than the form; ``batch_tokens_power_crit`` and
    ``bcrit_linear`` see the tokens as the cause.

    Source: Kaplan 2020, arXiv:2001.08361; Su 2024.
    """
    return B_star * L ** (-1 / alpha_B)


@law(
    inputs=dict(B=BATCH),
    response=Response("steps", positive),
    S_min=floor(range=(1.0, 1e7), unit="steps", meaning="steps at very large batches"),
    B_c=location("B", range=(1.0, 1e7), unit="examples", meaning="critical batch size, which doubles the steps"),
    formula=r"S = S_\mathrm{min} \left(1 + \frac{B_c}{B}\right)",
    source=MCCANDLISH,
    affine=("S_min",),
    decreasing=("B",),
)
def batch_hyperbola_steps(B, *, S_min, B_c):
    """Steps to a target loss fall with the batch size towards a least number.

    ``S = S_min * (1 + B_c / B)``

    With ``batch_hyperbola_examples`` and ``E_min = B_c * S_min`` this is
    ``(S / S_min - 1) * (E / E_min - 1) = 1``; each target loss has its own two parameters.

    Source: McCandlish 2018, arXiv:1812.06162.
    """
    return S_min * (1 + B_c / B)


@law(
    inputs=dict(B=BATCH),
    response=Response("examples", positive),
    E_min=floor(range=(1.0, 1e12), unit="examples", meaning="examples at very small batches"),
    B_c=location("B", range=(1.0, 1e7), unit="examples", meaning="critical batch size, which doubles the examples"),
    formula=r"E = E_\mathrm{min} \left(1 + \frac{B}{B_c}\right)",
    source=MCCANDLISH,
    affine=("E_min",),
)
def batch_hyperbola_examples(B, *, E_min, B_c):
    """Examples to a target loss grow with the batch size from a least number.

    ``E = E_min * (1 + B / B_c)``

    The other side of ``batch_hyperbola_steps``, with ``E_min = B_c * S_min`` and ``E = B * S``.

    Source: McCandlish 2018, arXiv:1812.06162.
    """
    return E_min * (1 + B / B_c)


@law(
    inputs=dict(B=BATCH),
    response=Response("squared norm", positive),
    G2=floor(range=(1e-6, 1e3), meaning="squared norm of the true gradient"),
    B_simple=location("B", range=(1.0, 1e7), unit="examples", meaning="noise scale"),
    formula=r"|G_B|^2 = |G|^2 \left(1 + \frac{B_\mathrm{simple}}{B}\right)",
    source=MCCANDLISH,
    affine=("G2",),
    decreasing=("B",),
    checks=(
        Check(10.0, at=dict(B=10.0), params=dict(G2=1.0, B_simple=90.0)),
        Check(5.5, at=dict(B=20.0), params=dict(G2=1.0, B_simple=90.0)),
    ),
)
def noise_scale(B, *, G2, B_simple):
    """Squared gradient norms fall with the batch size and determine the noise scale.

    ``g = G2 * (1 + B_simple / B)`` with ``B_simple = tr(Sigma) / |G|**2``

    A fit to two batch sizes is the usual estimate of the noise scale; average the norms of each batch
    size first, as a ratio of estimates is biased.

    Source: McCandlish 2018, arXiv:1812.06162.
    """
    return G2 * (1 + B_simple / B)


@law(
    inputs=dict(B=BATCH),
    response=Response("steps", positive),
    a=floor(range=(1.0, 1e7), unit="steps", meaning="steps at very large batches"),
    b=amplitude(B="gamma", range=(1.0, 1e9), meaning="size of the batch term"),
    gamma=exponent(meaning="power of the batch size"),
    formula=r"S = a + \frac{b}{B^{\gamma}}",
    source="How Does Critical Batch Size Scale in Pre-training?, Zhang 2024; unconfirmed form",
    affine=("a", "b"),
    decreasing=("B",),
)
def steps_batch_floor(B, *, a, b, gamma):
    """Steps to a target loss fall as a power of the batch size towards a least number.

    ``S = a + b / B**gamma``

    The source fits ``log S``, which residuals in logs do. With ``gamma = 1`` this is
    ``batch_hyperbola_steps`` with ``b = S_min * B_c``.

    Source: Zhang 2024; unconfirmed form.
    """
    return a + b / B**gamma
