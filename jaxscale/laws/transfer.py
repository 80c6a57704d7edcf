"""Transfer: pre-training for fine-tuning, and loss-to-loss relations."""

import jax.numpy as jnp

from jaxscale.law import (
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

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
EXAMPLES = Input("examples", typical=(1e2, 1e7))
LOSS = Response("nat/token", positive)
ISIK = "Scaling Laws for Downstream Task Performance of Large Language Models, Isik 2024"
YUAN = "Scaling Relationship on Learning Mathematical Reasoning with Large Language Models, Yuan 2023"


@law(
    inputs=dict(D_F=Input("characters", typical=(1e5, 1e11)), N=PARAMETERS),
    response=Response("characters", positive),
    k=amplitude(D_F="-alpha", N="-beta", range=(1e-3, 1e9), meaning="data transferred at one parameter and character"),
    alpha=exponent(meaning="power of the fine-tuning data"),
    beta=exponent(meaning="power of the parameters"),
    formula=r"D_T = k\, D_F^{\alpha} N^{\beta}",
    source="Scaling Laws for Transfer, Hernandez 2021",
    affine=("k",),
    published=dict(hernandez2021=dict(k=1.9e4, alpha=0.18, beta=0.38)),
)
def transfer_tokens(D_F, N, *, k, alpha, beta):
    """Effective fine-tuning data of pre-training.

    ``D_T = k * D_F**alpha * N**beta``

    Add ``D_T`` to ``D_F`` in a law of training from scratch. The published constants are from text to
    code, count characters, and are less certain than the form.

    Source: Hernandez 2021.
    """
    return k * D_F**alpha * N**beta


@law(
    inputs=dict(X=Input("parameters, or pre-training tokens", typical=(1e5, 1e13)), D_f=EXAMPLES),
    response=LOSS,
    A=amplitude(X="alpha", D_f="beta", range=(1e-3, 1e9), meaning="size of the reducible loss"),
    alpha=exponent(meaning="power of what is scaled beside the fine-tuning data"),
    beta=exponent(meaning="power of the fine-tuning data"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \frac{A}{X^{\alpha} D_f^{\beta}} + E",
    source="When Scaling Meets LLM Finetuning, Zhang 2024",
    affine=("A", "E"),
    decreasing=("X", "D_f"),
)
def finetune_joint(X, D_f, *, A, alpha, beta, E):
    """Fine-tuned loss as a product of powers of the fine-tuning data and of one more resource.

    ``L = A * X**-alpha * D_f**-beta + E``

    ``X`` is the model size, the pre-training data or the number of tuned parameters; within one task and
    method the three fits share ``beta`` and ``E``.

    Source: Zhang 2024.
    """
    return A * X**-alpha * D_f**-beta + E


@law(
    inputs=dict(D=EXAMPLES),
    response=LOSS,
    B=amplitude(D="beta", range=(1e-3, 1e9), meaning="size of the reducible loss"),
    D_l=positive_number(range=(0.1, 1e7), meaning="what the pre-training is worth, in powers of examples"),
    beta=exponent(meaning="power of the examples"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \frac{B}{D_l + D^{\beta}} + E",
    source="Selecting Large Language Model to Fine-tune via Rectified Scaling Law, Lin 2024",
    affine=("B", "E"),
    decreasing=("D",),
)
def rectified_sft(D, *, B, D_l, beta, E):
    """Fine-tuned loss is constant for few examples, then a power law.

    ``L = B / (D_l + D**beta) + E``

    The turn is near ``D_l**(1 / beta)`` examples; data on one side of it leave ``D_l`` or ``beta`` open.

    Source: Lin 2024.
    """
    return B / (D_l + D**beta) + E


@law(
    inputs=dict(D_p=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(D_p="alpha", range=(1e-3, 1e9), meaning="size of the data term"),
    alpha=exponent(meaning="power of the pre-training tokens"),
    formula=r"L = E + \frac{A}{D_p^{\alpha}}",
    source=ISIK,
    affine=("E", "A"),
    decreasing=("D_p",),
)
def pretrain_data_ce(D_p, *, E, A, alpha):
    """Fine-tuned loss falls as a power of the pre-training tokens.

    ``L = E + A / D_p**alpha``

    It can fall while a task score such as ``bleu_log`` does not rise, where pre-training does not suit the task.

    Source: Isik 2024.
    """
    return E + A / D_p**alpha


@law(
    inputs=dict(D_p=TOKENS),
    response=Response("BLEU", positive),
    A=positive_number(range=(1.0, 1e6), meaning="factor of the power inside the logarithm"),
    alpha=exponent(meaning="power of the pre-training tokens"),
    beta=exponent(range=(0.05, 5.0), meaning="power of the logarithm"),
    formula=r"f = \left(\ln\left(A\, D_p^{\alpha}\right)\right)^{\beta}",
    source=ISIK,
)
def bleu_log(D_p, *, A, alpha, beta):
    """A translation score grows as a power of the log of the pre-training tokens.

    ``f = ln(A * D_p**alpha)**beta`` where ``A * D_p**alpha > 1``

    The logarithm is held at 1e-9 below. The score may fall where pre-training does not suit the task:
    look at the sign of the trend first.

    Source: Isik 2024.
    """
    return jnp.maximum(jnp.log(A) + alpha * jnp.log(D_p), 1e-9) ** beta


@law(
    inputs=dict(L0=Input("nat/token", typical=(3.1, 8.0))),
    response=LOSS,
    K=positive_number(range=(0.05, 20.0), meaning="reducible loss on one data set where that on the other is 1"),
    E0=floor(range=(0.0, 3.0), unit="nat/token", meaning="irreducible loss on the data set of the input"),
    kappa=exponent(meaning="power of the reducible loss"),
    E1=floor(unit="nat/token", meaning="irreducible loss on the data set of the response"),
    formula=r"L_1 = K (L_0 - E_0)^{\kappa} + E_1",
    source="Loss-to-Loss Prediction: Scaling Laws for All Datasets, Brandfonbrener 2024",
    affine=("K", "E1"),
)
def loss_to_loss(L0, *, K, E0, kappa, E1):
    """The reducible loss on one data set is a power of that on another.

    ``L1 = K * (L0 - E0)**kappa + E1`` for ``L0 > E0``

    Pair runs by compute. ``E0`` and ``K`` are hard to distinguish: take ``E0`` and ``E1`` from a law of each
    data set, or report a posterior. The difference is held at 1e-12 below.

    Source: Brandfonbrener 2024.
    """
    return K * jnp.maximum(L0 - E0, 1e-12) ** kappa + E1


@law(
    inputs=dict(D=EXAMPLES),
    response=Response("score or error", positive),
    a=amplitude(D="-b", range=(1e-6, 1e6), meaning="value at one example"),
    b=exponent(real, range=(-2.0, 1.5), meaning="slope in log examples"),
    formula=r"y = a\, D^{b}",
    source="Revisiting the Superficial Alignment Hypothesis, Raghavendra 2024; unconfirmed form",
    affine=("a",),
)
def alignment_power(D, *, a, b):
    """A score, or an error, after fine-tuning is a power of the number of examples.

    ``y = a * D**b``

    Whether the source plots scores or errors, and any offset, are unconfirmed.

    Source: Raghavendra 2024; unconfirmed form.
    """
    return a * D**b


@law(
    inputs=dict(D_ft=TOKENS, N=PARAMETERS, L0=Input("nat/token", typical=(1.5, 4.0))),
    response=LOSS,
    A=amplitude(D_ft="-beta", N="alpha", range=(1e-6, 1e6), meaning="size of what is forgotten"),
    beta=exponent(meaning="power of the fine-tuning tokens"),
    alpha=exponent(meaning="power of the parameters"),
    E=coefficient(range=(-0.5, 1.0), unit="nat/token", meaning="shift that no size or data removes, near 0"),
    formula=r"L = L_0 + A\, \frac{D_\mathrm{ft}^{\beta}}{N^{\alpha}} + E",
    source="Scaling Laws for Forgetting during Finetuning with Pretraining Data Injection, Bethune 2025; "
    "AlignGuard-LoRA, Das 2025; unconfirmed form",
    affine=("A", "E"),
    decreasing=("N",),
)
def forgetting(D_ft, N, L0, *, A, beta, alpha, E):
    """Fine-tuning raises the loss on the pre-training data, less so for larger models.

    ``L = L0 + A * D_ft**beta / N**alpha + E``

    ``L0`` is the loss measured before fine-tuning; without it only ``L0 + E`` would be known. The form is
    assumed for the second source.

    Source: Bethune 2025; Das 2025; unconfirmed form.
    """
    return L0 + A * D_ft**beta / N**alpha + E


@law(
    inputs=dict(D=EXAMPLES),
    response=Response("accuracy", real),
    a=coefficient(range=(-2.0, 1.0), meaning="accuracy at one example"),
    b=positive_number(range=(1e-3, 1.0), meaning="gain per factor e of examples"),
    formula=r"\mathrm{acc} = a + b \ln D",
    source=YUAN,
    affine=("a", "b"),
)
def math_sft_log(D, *, a, b):
    """Accuracy after fine-tuning grows with the log of the examples.

    ``acc = a + b * ln(D)``

    The gain per doubling is ``b * ln(2)`` and is smaller for better base models. The line leaves the
    range of an accuracy if it is carried far.

    Source: Yuan 2023.
    """
    return a + b * jnp.log(D)


@law(
    inputs=dict(L_pre=Input("nat/token", typical=(1.5, 3.5))),
    response=Response("accuracy", real),
    c0=positive_number(range=(0.3, 5.0), meaning="accuracy at a loss of 0 if the line went on"),
    c1=positive_number(range=(0.02, 2.0), meaning="accuracy lost per unit of loss"),
    formula=r"\mathrm{acc} = \min\left(\max\left(c_0 - c_1 L_\mathrm{pre}, 0\right), 1\right)",
    source=YUAN + "; unconfirmed form",
    decreasing=("L_pre",),
)
def acc_linear_loss(L_pre, *, c0, c1):
    """Accuracy after fine-tuning falls in a line with the loss of pre-training, between 0 and 1.

    ``acc = min(max(c0 - c1 * L_pre, 0), 1)``

    Rows at 0 or 1 say nothing about the slope.

    Source: Yuan 2023; unconfirmed form.
    """
    return jnp.clip(c0 - c1 * L_pre, 0.0, 1.0)
