"""Benchmark scores from latent skills, and skills from size, data and compute."""

import math
from typing import Any

import jax.numpy as jnp
from jax.nn import sigmoid

from jaxscale.law import Check, Input, Law, Response, coefficient, exponent, fraction, law, real, unit
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "downstream"
PARAMETERS = Input("parameters", lower=1e5, typical=(1e8, 1e12))
TOKENS = Input("tokens", lower=1e6, typical=(1e10, 1e14))
SKILL = Input("skill", low=-math.inf, typical=(-3.0, 3.0))
SCORE = Response("share correct", unit)
OBSERVATIONAL = "Observational Scaling Laws and the Predictability of Language Model Performance, Ruan 2024"
SLOTH = "Sloth: scaling laws for LLM skills to predict multi-benchmark performance across families, Maia Polo 2024"


def _observational(count: int) -> Law:
    """The score of one benchmark from ``count`` skills."""
    numbers = range(1, count + 1)
    inputs = {f"S{i}": SKILL for i in numbers}
    weights: dict[str, Any] = {
        f"beta{i}": coefficient(range=(-5.0, 5.0), meaning=f"weight of skill {i}") for i in numbers
    }

    def observational(*S, h, alpha0, **beta):
        """Score on a benchmark from a model's skills, through a logistic curve with a ceiling.

        ``score = h / (1 + exp(-(beta1 * S1 + beta2 * S2 + ... + alpha0)))``

        The skills are principal components of a table of models by benchmarks, of which about three
        suffice; their signs and their rotation are arbitrary.

        Source: Ruan 2024.
        """
        return h * sigmoid(alpha0 + sum(beta[f"beta{i}"] * skill for i, skill in enumerate(S, 1)))

    parameters: dict[str, Any] = dict(
        h=fraction(meaning="ceiling of the score"),
        alpha0=coefficient(range=(-5.0, 5.0), meaning="log-odds at zero skills"),
        **weights,
    )
    return law(
        name=f"observational_skill{count}",
        inputs=inputs,
        response=SCORE,
        formula=rf"\mathrm{{score}} = \frac{{h}}{{1 + e^{{-(\sum_{{i=1}}^{count} \beta_i S_i + \alpha_0)}}}}",
        source=OBSERVATIONAL,
        affine=("h",),
        **parameters,
    )(with_signature(observational, inputs, parameters))


observational_skill = Family("observational_skill", _observational, largest=8, listed=(1, 2, 3))


@law(
    inputs=dict(C=Input("FLOPs", typical=(1e17, 1e26))),
    response=Response("skill", real),
    theta=exponent(range=(0.01, 5.0), meaning="efficiency of the family: skill for e times the compute"),
    nu=coefficient(range=(-200.0, 50.0), meaning="skill of the family at C = 1"),
    formula=r"S = \theta \ln C + \nu",
    source=OBSERVATIONAL,
    affine=("theta", "nu"),
)
def observational_skill_compute(C, *, theta, nu):
    """Skill of the models of one family as a straight line in the logarithm of their compute.

    ``S = theta * log(C) + nu``

    ``theta`` and ``nu`` belong to a family: families turn compute into skill with different efficiency.

    Source: Ruan 2024.
    """
    return theta * jnp.log(C) + nu


def _above_guessing(c: Numbers, log_odds: Numbers) -> Numbers:
    return 1 - (1 - c) * sigmoid(-log_odds)


def _sloth(count: int) -> Law:
    """The score of one benchmark, with a floor for guessing, from ``count`` skills."""
    numbers = range(1, count + 1)
    inputs = {f"theta{i}": SKILL for i in numbers}
    loadings: dict[str, Any] = {
        f"Lam{i}": coefficient(range=(-2.0, 2.0), meaning=f"loading of skill {i}") for i in numbers
    }

    def skilled(*theta, c, b, **Lam):
        """Score on a benchmark from a model's skills, above chance level.

        ``y = c + (1 - c) / (1 + exp(-(Lam1 * theta1 + Lam2 * theta2 + ... + b)))``

        ``c`` is 1/4 for four options and is normally known. The skills come from ``sloth_skill``; they
        are free up to a linear map, so rotate them after whitening.

        Source: Maia Polo 2024.
        """
        return _above_guessing(c, b + sum(Lam[f"Lam{i}"] * skill for i, skill in enumerate(theta, 1)))

    parameters: dict[str, Any] = dict(
        c=fraction(meaning="score of guessing"),
        b=coefficient(range=(-5.0, 5.0), meaning="log-odds at zero skills"),
        **loadings,
    )
    halfway = dict(c=0.25, b=0.0, Lam1=1.0)
    return law(
        name=f"sloth{count}",
        inputs=inputs,
        response=SCORE,
        formula=rf"y = c + \frac{{1 - c}}{{1 + e^{{-(\sum_{{k=1}}^{count} \Lambda_k \theta_k + b)}}}}",
        source=SLOTH,
        affine=("c",),
        checks=(Check(0.625, at=dict(theta1=0.0), params=halfway),) if count == 1 else (),
        **parameters,
    )(with_signature(skilled, inputs, parameters))


sloth = Family("sloth", _sloth, largest=8, listed=(1, 2, 3))


def _skill(s: Numbers, t: Numbers, alpha: Numbers, beta1: Numbers, beta2: Numbers, beta3: Numbers) -> Numbers:
    size, data = jnp.log(s / 1e9), jnp.log(t / 1e12)
    return alpha + beta1 * size + beta2 * data + beta3 * size * data


@law(
    inputs=dict(s=PARAMETERS, t=TOKENS),
    response=Response("skill", real),
    alpha=coefficient(range=(-6.0, 4.0), meaning="skill of the family at a billion parameters, a trillion tokens"),
    beta1=coefficient(range=(-1.0, 1.0), meaning="gain with log size"),
    beta2=coefficient(range=(-1.0, 1.0), meaning="gain with log data"),
    beta3=coefficient(range=(-0.2, 0.2), meaning="interaction of size and data"),
    formula=r"\theta = \alpha + \beta_1 \ln\frac{s}{10^9} + \beta_2 \ln\frac{t}{10^{12}}"
    r" + \beta_3 \ln\frac{s}{10^9} \ln\frac{t}{10^{12}}",
    source=SLOTH,
    affine=("alpha", "beta1", "beta2", "beta3"),
)
def sloth_skill(s, t, *, alpha, beta1, beta2, beta3):
    """A latent skill of a model from its size and its data.

    ``theta = alpha + beta1 * x + beta2 * z + beta3 * x * z`` with ``x = log(s / 1e9)``, ``z = log(t / 1e12)``

    ``alpha`` belongs to a family of models, the other three to the skill. Inputs are plain parameters
    and tokens; the constants count billions and trillions, which the interaction makes matter.

    Source: Maia Polo 2024.
    """
    return _skill(s, t, alpha, beta1, beta2, beta3)


@law(
    inputs=dict(s=PARAMETERS, t=TOKENS),
    response=SCORE,
    c=fraction(meaning="score of guessing"),
    alpha=coefficient(range=(-5.0, 5.0), meaning="log-odds at a billion parameters, a trillion tokens"),
    beta1=coefficient(range=(-1.0, 1.0), meaning="gain with log size"),
    beta2=coefficient(range=(-1.0, 1.0), meaning="gain with log data"),
    beta3=coefficient(range=(-0.2, 0.2), meaning="interaction of size and data"),
    formula=r"y = c + \frac{1 - c}{1 + e^{-\theta}},\; \theta = \alpha + \beta_1 \ln\frac{s}{10^9}"
    r" + \beta_2 \ln\frac{t}{10^{12}} + \beta_3 \ln\frac{s}{10^9} \ln\frac{t}{10^{12}}",
    source=SLOTH,
    affine=("c",),
)
def sloth_benchmark(s, t, *, c, alpha, beta1, beta2, beta3):
    """Score of one family on one benchmark from size and data, with a single skill.

    ``y = c + (1 - c) / (1 + exp(-theta))`` with ``theta = alpha + beta1 * x + beta2 * z + beta3 * x * z``,
    ``x = log(s / 1e9)`` and ``z = log(t / 1e12)``

    ``sloth[1]`` of ``sloth_skill`` with loading 1 and offset 0, which a single benchmark cannot
    distinguish from ``alpha`` and the ``beta``.

    Source: Maia Polo 2024.
    """
    return _above_guessing(c, _skill(s, t, alpha, beta1, beta2, beta3))


@law(
    inputs=dict(
        layers=Input("layers", typical=(8.0, 128.0)),
        hidden=Input("width", typical=(512.0, 2e4)),
        ffn=Input("width", typical=(1e3, 1e5)),
        T=Input("tokens", lower=1e6, typical=(1e10, 1e13)),
        S=Input("tokens", lower=1e6, typical=(1e11, 1e14)),
    ),
    response=Response("MMLU score", real),
    b=coefficient(range=(-1e3, 500.0), meaning="score where every size is 1"),
    w1=coefficient(range=(-50.0, 50.0), meaning="gain with log layers"),
    w2=coefficient(range=(-50.0, 50.0), meaning="gain with log hidden width"),
    w3=coefficient(range=(-50.0, 50.0), meaning="gain with log feed-forward width"),
    w4=coefficient(range=(-50.0, 50.0), meaning="gain with log tokens below saturation"),
    formula=r"y = b + w_1 \ln \mathrm{layers} + w_2 \ln \mathrm{hidden} + w_3 \ln \mathrm{ffn} + w_4 \ln \min(T, S)",
    source="Performance Law of Large Language Models, Wu 2024; unconfirmed form",
    affine=("b", "w1", "w2", "w3", "w4"),
)
def performance_law(layers, hidden, ffn, T, S, *, b, w1, w2, w3, w4):
    """Score from depth, widths and tokens, with saturation of the tokens.

    ``y = b + w1 * log(layers) + w2 * log(hidden) + w3 * log(ffn) + w4 * log(min(T, S))``

    The paper's discount ``u`` inside every logarithm is 1 here: shared by all models it only shifts
    ``b``, by ``(w1 + w2 + w3 + w4) * log(u)``. For a discount by model, scale the inputs with it.

    Source: Wu 2024; unconfirmed form.
    """
    data = jnp.log(jnp.minimum(T, S))
    return b + w1 * jnp.log(layers) + w2 * jnp.log(hidden) + w3 * jnp.log(ffn) + w4 * data
