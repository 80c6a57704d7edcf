"""Vision models: classification, perception and robustness."""

import jax.numpy as jnp

from jaxscale.law import (
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

FAMILY = "modalities"
COMPUTE = Input("FLOPs", lower=1e9, typical=(1e15, 1e24))


@law(
    inputs=dict(C=Input("multiply-accumulates", lower=1e9, typical=(1e17, 1e23))),
    response=Response("error", positive),
    beta=amplitude(C="-alpha", range=(1e-3, 1e9), meaning="error at one multiply-accumulate"),
    alpha=exponent(real, range=(-2.0, -0.01), meaning="slope of log error in log compute"),
    formula=r"\mathrm{err} = \beta C^{\alpha}",
    source="Reproducible Scaling Laws for Contrastive Language-Image Learning, Cherti 2022",
    affine=("beta",),
    decreasing=("C",),
)
def clip_pareto(C, *, beta, alpha):
    """Downstream error of the best contrastive language-image models at each compute.

    ``err = beta * C**alpha`` on the Pareto front, with ``alpha < 0``

    ``C`` counts all multiply-accumulates of training. Take the front first, and fit each pre-training
    data set on its own.

    Source: Cherti 2022.
    """
    return beta * C**alpha


@law(
    inputs=dict(C=COMPUTE),
    response=Response("error", positive),
    a=amplitude(C="b", range=(1e-6, 1e12), meaning="error at one FLOP"),
    b=exponent(meaning="slope of log error in log compute, with its sign turned"),
    formula=r"\mathrm{err} = a C^{-b}",
    source="Scaling Properties of Diffusion Models for Perceptual Tasks, Ravishankar 2024; unconfirmed form",
    affine=("a",),
    decreasing=("C",),
)
def perception_diffusion_power(C, *, a, b):
    """Error of a diffusion model used for perception, by the compute of one stage.

    ``err = a * C**-b``

    Pre-training, fine-tuning and test-time compute are separate axes, each with its own slope.

    Source: Ravishankar 2024; unconfirmed form.
    """
    return a * C**-b


@law(
    inputs=dict(M=Input("images", lower=1e3)),
    response=Response("loss", positive),
    A=amplitude(M="k", range=(1e-3, 1e9), meaning="loss at one image"),
    k=exponent(meaning="scaling ability of the recipe: slope of log loss in log images, with its sign turned"),
    formula=r"\log L = \log A - k \log M",
    source="Scaling Laws of Synthetic Images for Model Training, Fan 2023; unconfirmed form",
    affine=("A",),
    decreasing=("M",),
)
def synthetic_images_log(M, *, A, k):
    """Validation loss of a classifier by the number of synthetic images it is trained on.

    ``log L = log(A) - k * log(M)``; the response is the loss ``L``

    Each recipe of generating images has its own ``A`` and ``k``; the paper writes ``c`` for ``log(A)``.

    Source: Fan 2023; unconfirmed form.
    """
    return A * M**-k


@law(
    inputs=dict(N=Input("parameters", lower=1e5)),
    response=Response("nat", real),
    k=positive_number(range=(1e-2, 1e2), unit="nat", meaning="information gained by a model ten times larger"),
    N_c=positive_number(range=(1.0, 1e9), unit="parameters", meaning="model size without information"),
    formula=r"I = k \log_{10} \frac{N}{N_c}",
    source="Scaling Laws for Autoregressive Generative Modeling, Henighan 2020; unconfirmed form",
    affine=("k",),
)
def mutual_info_log(N, *, k, N_c):
    """Information that a model finds between a caption and its image.

    ``I = k * log10(N / N_c)``

    Negative below ``N_c``, where the law has no meaning. The unit is that of the losses.

    Source: Henighan 2020; unconfirmed form.
    """
    return k * (jnp.log(N) - jnp.log(N_c)) / jnp.log(10.0)


@law(
    inputs=dict(X=Input("samples or parameters", lower=1e5)),
    response=Response("fraction", real),
    a=coefficient(range=(-1.0, 5.0), meaning="success rate of the attack at X = 1"),
    b=positive_number(range=(1e-3, 1.0), meaning="fall of the success rate per factor of ten"),
    formula=r"\mathrm{ASR} = a - b \log_{10} X",
    source="The Impact of Scaling Training Data on Adversarial Robustness",
    affine=("a", "b"),
    decreasing=("X",),
)
def attack_success_log(X, *, a, b):
    """Success rate of an attack on a classifier, by its training data or its size.

    ``ASR = a - b * log10(X)``

    The rate is a fraction, and the law leaves 0 and 1 outside the data. The source gives 3.2% per tenfold
    data and 13.4% per tenfold size over public models, which differ in much else; whether points or
    relative changes are meant is not confirmed.

    Source: The Impact of Scaling Training Data on Adversarial Robustness.
    """
    return a - b * jnp.log(X) / jnp.log(10.0)


@law(
    inputs=dict(eps=Input("size of the perturbation", typical=(1e-4, 1.0))),
    response=Response("error", positive),
    A=amplitude(eps="-b", range=(1e-3, 1e6), meaning="error at a perturbation of size 1"),
    b=exponent(range=(0.05, 3.0), meaning="slope of log error in log size of the perturbation"),
    formula=r"\mathrm{err} = A \epsilon^{b}",
    source="Intriguing Properties of Adversarial Examples, Cubuk 2017",
    affine=("A",),
)
def adversarial_eps_power(eps, *, A, b):
    """Error added by an adversarial perturbation, nearly proportional to its size.

    ``err = A * eps**b`` with ``b`` near 1

    For small perturbations only: an error rate ends at 1.

    Source: Cubuk 2017.
    """
    return A * eps**b
