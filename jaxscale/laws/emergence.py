"""Emergent abilities, and metrics that make them appear sudden."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.scipy.special import logsumexp

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    amplitude,
    coefficient,
    exponent,
    law,
    location,
    positive,
    positive_number,
    real,
    scale,
    unit,
)
from jaxscale.law.family import Family, with_signature
from jaxscale.laws.probability import LEAST_LOG, exp_minus_exp
from jaxscale.utils.arrays import Numbers

FAMILY = "downstream"
PARAMETERS = Input("parameters", lower=1e5, typical=(1e7, 1e12))
LENGTH = Input("target tokens", typical=(1.0, 50.0))
SUCCESS = Response("pass rate", unit)
UNLOCK = "Unlock Predictable Scaling from Emergent Abilities, Hu 2023"
MIRAGE = "Are Emergent Abilities of Large Language Models a Mirage?, Schaeffer 2023"


@law(
    inputs=dict(N=PARAMETERS),
    response=SUCCESS,
    c=amplitude(N="alpha", range=(1e-3, 1e6), meaning="size of the loss that stands against success"),
    alpha=exponent(meaning="power of the parameters"),
    formula=r"\mathrm{PU} = e^{-c N^{-\alpha}}",
    source=UNLOCK,
    checks=(
        Check(0.205, at=dict(N=1e8), params=dict(c=1e3, alpha=0.35), rtol=5e-3),
        Check(0.4927, at=dict(N=1e9), params=dict(c=1e3, alpha=0.35)),
        Check(0.7289, at=dict(N=1e10), params=dict(c=1e3, alpha=0.35)),
    ),
)
def passuntil(N, *, c, alpha):
    """Probability that one sample solves a task, which rises smoothly before accuracy does.

    ``PU = exp(-c * N**-alpha)``

    ``log(-log(PU))`` is a straight line in ``log(N)``. Estimate PU by sampling until a number of
    passes; a task without a pass is censored, and its PU is not 0.

    Source: Hu 2023.
    """
    return exp_minus_exp(jnp.log(c) - alpha * jnp.log(N))


def _parts(count: int) -> dict[str, Any]:
    parts = {}
    for i in range(1, count + 1):
        parts[f"c{i}"] = amplitude(N=f"alpha{i}", range=(1e-3, 1e6), meaning=f"size of the loss of part {i}")
        parts[f"alpha{i}"] = exponent(meaning=f"power of the parameters in part {i}")
    return parts


def _log_losses(N: Numbers, parts: Mapping[str, Numbers]) -> list[Numbers]:
    log_N = jnp.log(N)
    return [jnp.log(parts[f"c{i}"]) - parts[f"alpha{i}"] * log_N for i in range(1, len(parts) // 2 + 1)]


def _steps(count: int) -> Law:
    """Probability of ``count`` steps in sequence."""
    parts = _parts(count)

    def steps(N, **parts):
        """Probability that one sample solves every step of a task, with a power law for each step.

        ``PU = prod_i exp(-c_i * N**-alpha_i)``

        ``log(-log(PU))`` is convex in ``log(N)``, so success does not accelerate. Order the steps by
        ``alpha`` when reading a fit: the law is the same whichever comes first.

        Source: Hu 2023.
        """
        return exp_minus_exp(logsumexp(jnp.stack(_log_losses(N, parts)), axis=0))

    known = dict(c1=300.0, alpha1=0.3, c2=2e4, alpha2=0.5)
    return law(
        name=f"passuntil_steps{count}",
        inputs=dict(N=PARAMETERS),
        response=SUCCESS,
        formula=rf"\mathrm{{PU}} = \prod_{{i=1}}^{count} e^{{-c_i N^{{-\alpha_i}}}}",
        source=UNLOCK,
        checks=(Check(0.2920, at=dict(N=1e9), params=known),) if count == 2 else (),
        **parts,
    )(with_signature(steps, ["N"], parts))


passuntil_steps = Family("passuntil_steps", _steps, largest=8, listed=(1, 2, 3))


def _circuits(count: int) -> Law:
    """Probability that one of ``count`` circuits succeeds."""
    parts = _parts(count)

    def circuits(N, **parts):
        """Probability that one sample solves a task by any of several circuits, with a power law for each.

        ``PU = 1 - prod_i (1 - exp(-c_i * N**-alpha_i))``

        ``log(-log(PU))`` is concave in ``log(N)``: success accelerates. Order the circuits by ``alpha``
        when reading a fit: the law is the same whichever comes first.

        Source: Hu 2023; unconfirmed form.
        """
        log_failure = sum(jnp.log1p(-exp_minus_exp(u)) for u in _log_losses(N, parts))
        return -jnp.expm1(jnp.maximum(log_failure, LEAST_LOG))

    known = dict(c1=1e3, alpha1=0.35, c2=1e2, alpha2=0.2)
    return law(
        name=f"passuntil_circuits{count}",
        inputs=dict(N=PARAMETERS),
        response=SUCCESS,
        formula=rf"\mathrm{{PU}} = 1 - \prod_{{i=1}}^{count} \left(1 - e^{{-c_i N^{{-\alpha_i}}}}\right)",
        source=f"{UNLOCK}; unconfirmed form",
        checks=(Check(0.5966, at=dict(N=1e9), params=known),) if count == 2 else (),
        **parts,
    )(with_signature(circuits, ["N"], parts))


passuntil_circuits = Family("passuntil_circuits", _circuits, largest=8, listed=(1, 2, 3))


@law(
    inputs=dict(N=PARAMETERS, L_tok=LENGTH),
    response=Response("exact match", unit),
    c=scale(N="-alpha", unit="parameters", meaning="model size at which the loss per token is 1 nat"),
    alpha=exponent(real, range=(-1.5, -0.05), meaning="power of the parameters in the loss per token"),
    formula=r"\mathrm{Acc} = p^{L_\mathrm{tok}},\; p = e^{-(N/c)^{\alpha}}",
    source=MIRAGE,
    checks=(
        Check(0.7779, at=dict(N=1e10, L_tok=1.0), params=dict(c=1e8, alpha=-0.3)),
        Check(0.2848, at=dict(N=1e10, L_tok=5.0), params=dict(c=1e8, alpha=-0.3)),
    ),
)
def mirage_accuracy(N, L_tok, *, c, alpha):
    """Exact match of a long answer, which appears sudden although every token improves smoothly.

    ``Acc = p**L_tok`` with ``p = exp(-(N / c)**alpha)``

    ``alpha`` is negative. A test set of n questions shows an accuracy below 1/n as 0, which is no
    observation of 0; for one token the law is ``passuntil``.

    Source: Schaeffer 2023.
    """
    return exp_minus_exp(alpha * (jnp.log(N) - jnp.log(c)) + jnp.log(L_tok))


@law(
    inputs=dict(N=PARAMETERS, L_tok=LENGTH),
    response=Response("tokens", positive),
    c=scale(N="-alpha", unit="parameters", meaning="model size at which the loss per token is 1 nat"),
    alpha=exponent(real, range=(-1.5, -0.05), meaning="power of the parameters in the loss per token"),
    formula=r"y = L_\mathrm{tok} (1 - p),\; p = e^{-(N/c)^{\alpha}}",
    source=MIRAGE,
    decreasing=("N",),
    checks=(Check(1.111, at=dict(N=1e10, L_tok=5.0), params=dict(c=1e8, alpha=-0.3)),),
)
def mirage_edit(N, L_tok, *, c, alpha):
    """Edit distance of an answer in tokens, which falls smoothly where exact match jumps.

    ``y = L_tok * (1 - p)`` with ``p = exp(-(N / c)**alpha)``

    ``alpha`` is negative, and the constants are those of ``mirage_accuracy``.

    Source: Schaeffer 2023.
    """
    return -L_tok * jnp.expm1(-jnp.exp(alpha * (jnp.log(N) - jnp.log(c))))


@law(
    inputs=dict(x=Input("log of the scale", low=-math.inf, typical=(-3.0, 3.0))),
    response=Response("accuracy", real),
    a0=coefficient(range=(-1.5, 2.5), meaning="accuracy on the plain task at x = 0"),
    a1=coefficient(range=(-1.0, 1.0), meaning="gain on the plain task for one unit of x"),
    k=positive_number(range=(0.1, 10.0), meaning="steepness with which negation is understood"),
    x0=location("x", real, range=(-3.0, 3.0), meaning="log scale at which negation is understood by half"),
    formula=r"\mathrm{acc} = a s + (1 - a)(1 - s),\; a = \min(\max(a_0 + a_1 x, 0), 1),\;"
    r" s = \frac{1}{1 + e^{-k (x - x_0)}}",
    source="Beyond Positive Scaling: How Negation Impacts Scaling Trends of Language Models, Zhang 2023; "
    "unconfirmed form",
)
def negation_composite(x, *, a0, a1, k, x0):
    """Accuracy on negated questions: accuracy on the questions, inverted until negation is understood.

    ``acc = a * s + (1 - a) * (1 - s)`` with ``a = min(max(a0 + a1 * x, 0), 1)`` and
    ``s = 1 / (1 + exp(-k * (x - x0)))``

    Inverse, U-shaped and rising trends come from one form. The rule that joins ``a`` and ``s`` is a
    candidate, not the paper's equation.

    Source: Zhang 2023; unconfirmed form.
    """
    a = jnp.clip(a0 + a1 * x, 0.0, 1.0)
    s = sigmoid(k * (x - x0))
    return a * s + (1 - a) * (1 - s)
