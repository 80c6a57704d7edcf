"""Accuracy and error on tasks against loss, size and compute."""

import math

import jax.numpy as jnp
from jax.nn import sigmoid

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
    unit,
)
from jaxscale.law.family import Family, with_signature

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
COMPUTE = Input("FLOPs", typical=(1e17, 1e25))
LOSS = Input("nat/token", typical=(1.5, 6.0))
ACCURACY = Response("accuracy", real)
LADDER = "Establishing Task Scaling Laws via Compute-Efficient Model Ladders, Bhagia 2024"
DECIDE = "DataDecide: How to Predict Best Pretraining Data with Small Experiments, Magnusson 2025"
GEMSTONES = "Gemstones: A Model Suite for Multi-Faceted Scaling Laws, McLeish 2025, arXiv:2502.06857"
ELUSIVE = (
    "Why Has Predicting Downstream Capabilities of Frontier AI Models with Scale Remained Elusive?, Schaeffer 2024"
)
SPEECH = "Scaling Properties of Speech Language Models, Cuervo 2024; unconfirmed form"


@law(
    inputs=dict(L=LOSS),
    response=Response("top-1 error", real),
    eps=fraction(meaning="error of a model that knows nothing"),
    k=positive_number(range=(0.01, 1e3), meaning="size of the gain at zero loss"),
    gamma=positive_number(range=(0.05, 5.0), unit="token/nat", meaning="rate at which a higher loss undoes the gain"),
    formula=r"\mathrm{Err} = \epsilon - k e^{-\gamma L}",
    source="Language models scale reliably with over-training and on downstream tasks, Gadre 2024; " + GEMSTONES,
    affine=("eps", "k"),
)
def error_exp_loss(L, *, eps, k, gamma):
    """Top-1 error that falls from chance level with the loss.

    ``Err = eps - k * exp(-gamma * L)``

    The gain is a power law in the perplexity ``exp(L)``. The error averaged over many tasks follows
    the curve far more steadily than that of one task.

    Source: Gadre 2024; McLeish 2025.
    """
    return eps - k * jnp.exp(-gamma * L)


@law(
    inputs=dict(L=Input("bit/byte or nat/token", typical=(0.3, 6.0))),
    response=ACCURACY,
    a=coefficient(range=(-1.0, -0.01), meaning="chance level minus ceiling"),
    k=positive_number(range=(0.05, 50.0), meaning="steepness"),
    L0=location("L", range=(0.1, 10.0), meaning="task loss halfway between ceiling and chance"),
    b=fraction(meaning="ceiling reached at low loss"),
    formula=r"\mathrm{Acc} = \frac{a}{1 + e^{-k (L - L_0)}} + b",
    source="; ".join((LADDER, DECIDE, GEMSTONES)),
    affine=("a", "b"),
    decreasing=("L",),
)
def accuracy_sigmoid_loss(L, *, a, k, L0, b):
    """Accuracy that falls from a ceiling to chance as the task's loss rises.

    ``Acc = a / (1 + exp(-k * (L - L0))) + b``

    ``b`` is the ceiling and ``a + b`` the chance level, so ``a`` is negative. The signs of ``a`` and
    ``k`` can be turned together, with ``a + b`` for ``b``, without a change of the curve.

    Source: Bhagia 2024; Magnusson 2025; McLeish 2025.
    """
    return a * sigmoid(k * (L - L0)) + b


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS),
    response=ACCURACY,
    a=coefficient(range=(-1.0, -0.01), meaning="chance level minus ceiling"),
    b=fraction(meaning="ceiling reached by large models"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    E=coefficient(range=(-10.0, 10.0), meaning="task loss of an infinite model, from the halfway point"),
    formula=r"\mathrm{Acc} = \frac{a}{1 + e^{-f}} + b,\; f = \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}} + E",
    source=f"{LADDER}; {DECIDE}",
    affine=("a", "b"),
)
def ladder_one_step_nd(N, D, *, a, b, A, alpha, B, beta, E):
    """Accuracy from parameters and tokens: a task loss inside a logistic curve.

    ``Acc = a / (1 + exp(-f)) + b`` with ``f = A / N**alpha + B / D**beta + E``

    ``accuracy_sigmoid_loss`` of a ``chinchilla`` task loss, whose steepness is 1 and whose halfway
    point is 0: steepness only multiplies ``A``, ``B`` and ``E``, and ``E`` may have either sign.

    Source: Bhagia 2024; Magnusson 2025.
    """
    return a * sigmoid(A / N**alpha + B / D**beta + E) + b


@law(
    inputs=dict(C=COMPUTE),
    response=ACCURACY,
    a=coefficient(range=(-1.0, -0.01), meaning="chance level minus ceiling"),
    b=fraction(meaning="ceiling reached at large compute"),
    A=amplitude(C="alpha", range=(1.0, 1e15), meaning="size of the compute term"),
    alpha=exponent(meaning="power of the compute"),
    E=coefficient(range=(-10.0, 10.0), meaning="task loss at infinite compute, from the halfway point"),
    formula=r"\mathrm{Acc} = \frac{a}{1 + e^{-f}} + b,\; f = \frac{A}{C^{\alpha}} + E",
    source=f"{LADDER}; {DECIDE}",
    affine=("a", "b"),
)
def ladder_one_step_c(C, *, a, b, A, alpha, E):
    """Accuracy from compute: a task loss inside a logistic curve.

    ``Acc = a / (1 + exp(-f)) + b`` with ``f = A / C**alpha + E``

    Steepness and halfway point are fixed at 1 and 0, as in ``ladder_one_step_nd``. The baseline
    is the ranking of candidates at one small size.

    Source: Bhagia 2024; Magnusson 2025.
    """
    return a * sigmoid(A / C**alpha + E) + b


@law(
    inputs=dict(X=Input("parameters, tokens or FLOPs", typical=(1e7, 1e13))),
    response=Response("score", real),
    a=coefficient(range=(-200.0, 100.0), meaning="score at X = 1"),
    b=coefficient(range=(-50.0, 100.0), meaning="gain for ten times the resource"),
    formula=r"y = a + b \log_{10} X",
    source="Measuring Mathematical Problem Solving With the MATH Dataset, Hendrycks 2021; unconfirmed form",
    affine=("a", "b"),
)
def acc_log_n(X, *, a, b):
    """Accuracy or score as a straight line in the logarithm of one resource.

    ``y = a + b * log10(X)``

    The line leaves any bounded score behind, so a logistic curve forecasts better far out. It
    reaches ``y`` at ``X = 10**((y - a) / b)``.

    Source: Hendrycks 2021; unconfirmed form.
    """
    return a + b * jnp.log(X) / math.log(10)


def _choice(count: int) -> Law:
    """The share of one option among itself and ``count`` wrong ones."""
    inputs = {name: Input("probability", high=1.0, typical=(0.01, 0.3)) for name in ["p_c", *_wrong(count)]}

    def choice(p_c, *p):
        """Probability of the correct option when only the options of a question may be answered.

        ``p_choices = p_c / (p_c + p1 + p2 + ...)``

        ``p_c`` and ``p1``, ``p2``, ... are the vocabulary's probabilities of the correct option and of
        each wrong one. There is nothing to fit: a forecast needs a law for every option.

        Source: Schaeffer 2024.
        """
        return p_c / (p_c + sum(p))

    quarter = dict(p_c=0.2, p1=0.1, p2=0.1, p3=0.1)
    return law(
        name=f"choice_probability{count}",
        inputs=inputs,
        response=Response("probability", unit),
        formula=rf"p_\mathrm{{choices}} = \frac{{p_c}}{{p_c + \sum_{{i=1}}^{count} p_i}}",
        source=ELUSIVE,
        checks=(Check(0.4, at=quarter, params={}),) if count == 3 else (),
    )(with_signature(choice, inputs, ()))


def _wrong(count: int) -> list[str]:
    return [f"p{i}" for i in range(1, count + 1)]


choice_probability = Family("choice_probability", _choice, largest=9, listed=(1, 2, 3))


@law(
    inputs=dict(C=COMPUTE),
    response=Response("nat", positive),
    E=floor(unit="nat", meaning="irreducible negative log-probability"),
    A=amplitude(C="alpha", range=(1e-3, 1e15), meaning="size of the compute term"),
    alpha=exponent(meaning="power of the compute"),
    formula=r"-\log p_c = E + A C^{-\alpha}",
    source=ELUSIVE,
    affine=("E", "A"),
    decreasing=("C",),
)
def choice_probability_loss(C, *, E, A, alpha):
    """Negative log-probability of an answer option, which falls as a power of compute towards a floor.

    ``-log(p_c) = E + A * C**-alpha``

    The correct option and every wrong one take a law of their own; accuracy compares them, and each
    step from the log-probability towards accuracy loses some of the correlation with scale.

    Source: Schaeffer 2024.
    """
    return E + A / C**alpha


@law(
    inputs=dict(L=LOSS),
    response=Response("score", real),
    a=coefficient(range=(-100.0, 200.0), meaning="score at zero loss"),
    b=coefficient(range=(-100.0, 50.0), meaning="change of the score for one nat"),
    formula=r"y = a + b L",
    source=SPEECH,
    affine=("a", "b"),
)
def speech_skill_loss(L, *, a, b):
    """Syntactic or semantic score of a speech model, in a straight line of its loss.

    ``y = a + b * L``

    The line holds before the score saturates.

    Source: Cuervo 2024; unconfirmed form.
    """
    return a + b * L


@law(
    inputs=dict(C=COMPUTE),
    response=Response("score", positive),
    k=amplitude(C="-g", range=(1e-12, 1e3), meaning="score at C = 1"),
    g=exponent(meaning="power of the compute"),
    formula=r"y = k C^{g}",
    source=SPEECH,
    affine=("k",),
)
def speech_skill_compute(C, *, k, g):
    """Syntactic or semantic score of a speech model, rising as a power of compute.

    ``y = k * C**g``

    The power holds before the score saturates. At one ``g``, speech needs
    ``(k_text / k_speech)**(1 / g)`` times the compute of text for the same score.

    Source: Cuervo 2024; unconfirmed form.
    """
    return k * C**g
