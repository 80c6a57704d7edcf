"""Models that generate images, video and shapes."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, positive, positive_number, real, scale

FAMILY = "modalities"
COMPUTE = Input("FLOPs", lower=1e9, typical=(1e15, 1e24))
PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
LOSS = Response("loss", positive)
DIFFUSION = "Scaling Laws for Diffusion Transformers, Liang 2024"
VIDEO = "Towards Precise Scaling Laws for Video Diffusion Transformers, Yin 2024; unconfirmed form"


@law(
    inputs=dict(C=COMPUTE),
    response=LOSS,
    a=amplitude(C="b", range=(1e-3, 1e9), meaning="loss at one FLOP"),
    b=exponent(meaning="slope of log loss in log compute, with its sign turned"),
    formula=r"L = a C^{-b}",
    source=DIFFUSION,
    affine=("a",),
    decreasing=("C",),
    published=dict(liang2024=dict(a=2.3943, b=0.0273)),
    checks=(Check(0.6396, at=dict(C=1e21), params="liang2024"),),
)
def dit_scaling_l(C, *, a, b):
    """Loss of a compute-optimal diffusion transformer.

    ``L = a * C**-b``

    The prefactor is also printed once as 3.3943, which contradicts the rest of the paper.

    Source: Liang 2024.
    """
    return a * C**-b


@law(
    inputs=dict(C=COMPUTE),
    response=Response("parameters", positive),
    n0=amplitude(C="-p", range=(1e-9, 1e9), meaning="best model size at one FLOP"),
    p=exponent(meaning="slope of log model size in log compute"),
    formula=r"N_\mathrm{opt} = n_0 C^{p}",
    source=DIFFUSION,
    affine=("n0",),
    published=dict(liang2024=dict(n0=9e-4, p=0.5681)),
    checks=(Check(7.66e8, at=dict(C=1e21), params="liang2024", rtol=5e-3),),
)
def dit_scaling_n(C, *, n0, p):
    """Best size of a diffusion transformer at a compute budget.

    ``N_opt = n0 * C**p``

    With the tokens of ``dit_scaling_d`` the published constants give ``N * D = C / 5.95``.

    Source: Liang 2024.
    """
    return n0 * C**p


@law(
    inputs=dict(C=COMPUTE),
    response=Response("tokens", positive),
    d0=amplitude(C="-p", range=(1e-9, 1e9), meaning="best number of tokens at one FLOP"),
    p=exponent(meaning="slope of log tokens in log compute"),
    formula=r"D_\mathrm{opt} = d_0 C^{p}",
    source=DIFFUSION,
    affine=("d0",),
    published=dict(liang2024=dict(d0=186.8535, p=0.4319)),
    checks=(Check(2.19e11, at=dict(C=1e21), params="liang2024", rtol=5e-3),),
)
def dit_scaling_d(C, *, d0, p):
    """Best number of training tokens of a diffusion transformer at a compute budget.

    ``D_opt = d0 * C**p``

    The powers of ``dit_scaling_n`` and of this law add to 1.

    Source: Liang 2024.
    """
    return d0 * C**p


@law(
    inputs=dict(C=COMPUTE),
    response=Response("FID", positive),
    a=amplitude(C="b", range=(1e-3, 1e12), meaning="FID at one FLOP"),
    b=exponent(meaning="slope of log FID in log compute, with its sign turned"),
    formula=r"\mathrm{FID} = a C^{-b}",
    source=DIFFUSION,
    affine=("a",),
    decreasing=("C",),
)
def dit_scaling_fid(C, *, a, b):
    """Frechet distance of the images of a compute-optimal diffusion transformer.

    ``FID = a * C**-b``

    A fit over few budgets: a distance has a floor of its own, which this law leaves out.

    Source: Liang 2024.
    """
    return a * C**-b


@law(
    inputs=dict(N=PARAMETERS, T=TOKENS),
    response=LOSS,
    L_inf=floor(meaning="irreducible loss"),
    T_c=scale(T="a_T", unit="tokens", meaning="number of tokens at which their term is 1"),
    a_T=exponent(meaning="power of the tokens"),
    N_c=scale(N="a_N", unit="parameters", meaning="model size at which its term is 1"),
    a_N=exponent(meaning="power of the parameters"),
    formula=r"L = L_\infty + \left(\frac{T_c}{T}\right)^{a_T} + \left(\frac{N_c}{N}\right)^{a_N}",
    source=VIDEO,
    affine=("L_inf",),
    decreasing=("N", "T"),
)
def video_dit_loss(N, T, *, L_inf, T_c, a_T, N_c, a_N):
    """Loss of a video diffusion transformer by model size and training tokens.

    ``L = L_inf + (T_c / T)**a_T + (N_c / N)**a_N``

    This is the law ``chinchilla`` with ``A = N_c**a_N`` and ``B = T_c**a_T``.

    Source: Yin 2024; unconfirmed form.
    """
    return L_inf + (T_c / T) ** a_T + (N_c / N) ** a_N


@law(
    inputs=dict(C=COMPUTE),
    response=Response("parameters", positive),
    n0=amplitude(C="-p", range=(1e-9, 1e9), meaning="best model size at one FLOP"),
    p=exponent(meaning="slope of log model size in log compute"),
    formula=r"N_\mathrm{opt} = n_0 C^{p}",
    source=VIDEO,
    affine=("n0",),
    published=dict(yin2024=dict(n0=0.8705, p=0.4294), yin2024_second=dict(n0=1.5787, p=0.4146)),
    checks=(
        Check(2.435e9, at=dict(C=1e22), params="yin2024"),
        Check(2.09e9, at=dict(C=1e22), params="yin2024_second", rtol=5e-3),
    ),
)
def video_dit_loss_n(C, *, n0, p):
    """Best size of a video diffusion transformer at a compute budget.

    ``N_opt = n0 * C**p``

    Two fits are published; the first agrees with the saving that the paper claims.

    Source: Yin 2024; unconfirmed form.
    """
    return n0 * C**p


@law(
    inputs=dict(X=Input("parameters or FLOPs", lower=1e5)),
    response=Response("loss", positive),
    X_c=scale(X="alpha", range=(1e-9, 1e20), meaning="size at which the loss is 1"),
    alpha=exponent(meaning="slope of log loss in log size, with its sign turned"),
    formula=r"L = \left(\frac{X_c}{X}\right)^{\alpha}",
    source="Scaling Learned Image Compression Models up to 1 Billion, Li 2025, arXiv:2508.09075; unconfirmed form",
    decreasing=("X",),
)
def image_codec_power(X, *, X_c, alpha):
    """Rate-distortion loss of a learned image codec by its size or by its training compute.

    ``L = (X_c / X)**alpha``

    Studied from 68.5 million to 1 billion parameters; whether the paper adds a floor is not confirmed.

    Source: Li 2025, arXiv:2508.09075; unconfirmed form.
    """
    return (X_c / X) ** alpha


@law(
    inputs=dict(N=PARAMETERS),
    response=LOSS,
    beta=positive_number(range=(1e-20, 1.0), unit="1/parameter", meaning="reciprocal of the size with a loss of 1"),
    alpha=exponent(real, range=(-2.0, -0.01), meaning="slope of log loss in log size"),
    formula=r"L = (\beta N)^{\alpha}",
    source="G3PT: Unleash the power of Autoregressive Modeling in 3D Generation via Cross-scale Querying Transformer, "
    "Zhang 2024; unconfirmed form",
    decreasing=("N",),
)
def ar3d_power(N, *, beta, alpha):
    """Test loss of an autoregressive model of three-dimensional shapes by its size.

    ``L = (beta * N)**alpha`` with ``alpha < 0``

    A model of ``1 / beta`` parameters has a loss of 1; ``beta`` and ``alpha`` are strongly correlated.

    Source: Zhang 2024; unconfirmed form.
    """
    return (beta * N) ** alpha


@law(
    inputs=dict(X=Input("parameters, FLOPs or images", lower=1e3)),
    response=Response("score", positive),
    a=amplitude(X="-b", range=(1e-9, 1e3), meaning="score at X = 1"),
    b=exponent(meaning="slope of log score in log size"),
    formula=r"S = a X^{b}",
    source="On the Scalability of Diffusion-based Text-to-Image Generation, Li 2024; unconfirmed form",
    affine=("a",),
)
def t2i_power(X, *, a, b):
    """Text-image alignment of the best diffusion models at each size, compute or number of images.

    ``S = a * X**b`` on the front of the best models

    The score is bounded and the law is not: do not read it beyond the data.

    Source: Li 2024; unconfirmed form.
    """
    return a * X**b


@law(
    inputs=dict(
        N=Input("tokens", low=1.0, typical=(16.0, 1e6)),
        T=Input("tokens", low=1.0, typical=(16.0, 1e6)),
        d=Input("dimensions", typical=(8.0, 1e4)),
    ),
    response=Response("attention scale", positive),
    c=positive_number(range=(0.1, 10.0), meaning="factor of the rule, 1 in the theory"),
    formula=r"\lambda = c \sqrt{\frac{\ln N}{d \ln T}}",
    source="Training-free Diffusion Model Adaptation for Variable-Sized Text-to-Image Synthesis, Jin 2023; "
    "unconfirmed form",
    affine=("c",),
    published=dict(jin2023=dict(c=1.0)),
    checks=(Check(0.1369, at=dict(N=4096.0, T=1024.0, d=64.0), params="jin2023"),),
)
def attention_entropy_temp(N, T, d, *, c):
    """Scale of attention logits that keeps their entropy when an image has more tokens than in training.

    ``lambda = c * sqrt(ln(N) / (d * ln(T)))``, with ``c = 1`` in the theory

    ``N`` counts the tokens of the image at hand, ``T`` those seen in training; ``N = T`` gives the usual
    ``1 / sqrt(d)``. The factor ``c`` is not in the paper: it lets a fit test the rule.

    Source: Jin 2023; unconfirmed form.
    """
    return c * jnp.sqrt(jnp.log(N) / (d * jnp.log(T)))
