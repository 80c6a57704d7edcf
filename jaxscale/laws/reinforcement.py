"""Reinforcement learning against compute, data, size and updates."""

import math
from typing import Any

import jax.numpy as jnp
from jax.nn import sigmoid

from jaxscale.law import (
    Check,
    Input,
    Response,
    coefficient,
    exponent,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
    scale,
    unit,
)
from jaxscale.utils.arrays import Numbers

PARAMETERS = Input("parameters", lower=1e5)
UPDATES = Input("updates per step", typical=(0.1, 32.0))
FAILURE = Response("1 - pass@1", positive)
TAN = "Scaling Behaviors of LLM Reinforcement Learning Post-Training, Tan 2025"
RYBKIN = "Value-Based Deep RL Scales Predictably, Rybkin 2025"


@law(
    inputs=dict(C=Input("GPU-hours", typical=(1e2, 1e6))),
    response=Response("pass rate", unit),
    R0=fraction(meaning="pass rate before training"),
    A=fraction(meaning="pass rate after endless training"),
    C_mid=location("C", range=(1.0, 1e7), unit="GPU-hours", meaning="compute that brings half the gain"),
    B=exponent(range=(0.05, 5.0), meaning="steepness in log compute"),
    formula=r"R = R_0 + \frac{A - R_0}{1 + (C_\mathrm{mid}/C)^{B}}",
    source="The Art of Scaling Reinforcement Learning Compute for LLMs, Khatri 2025",
    affine=("R0", "A"),
    checks=(
        Check(0.5877, at=dict(C=1e4), params=dict(R0=0.2, A=0.6, C_mid=1e3, B=1.5)),
        Check(0.4, at=dict(C=1e3), params=dict(R0=0.2, A=0.6, C_mid=1e3, B=1.5)),
    ),
)
def rl_sigmoid(C, *, R0, A, C_mid, B):
    """Pass rate that rises from its initial value to a ceiling along a logistic curve in log compute.

    ``R = R0 + (A - R0) / (1 + (C_mid / C)**B)``

    ``A`` lies above ``R0``, and is known to about 0.02 at best; leave out the earliest points. Rivals
    without a ceiling, such as ``rl_power_by_size``, may fit the same half of a run.

    Source: Khatri 2025.
    """
    rise = sigmoid(B * (jnp.log(C) - jnp.log(C_mid)))
    return R0 * (1 - rise) + A * rise


@law(
    inputs=dict(N=PARAMETERS, X=Input("compute or data", typical=(1e2, 1e22))),
    response=FAILURE,
    K_max=positive_number(range=(0.01, 1.5), meaning="slope of an infinite model, with its sign turned"),
    N0=location("N", range=(1e5, 1e13), unit="parameters", meaning="model size with half that slope"),
    E=coefficient(range=(-5.0, 20.0), meaning="log loss of this model size at X = 1"),
    formula=r"\ln L = -k(N) \ln X + E,\; k(N) = \frac{K_{\max}}{1 + N_0/N}",
    source=TAN,
    decreasing=("X",),
)
def rl_power_by_size(N, X, *, K_max, N0, E):
    """Failure rate as a power of compute or data whose slope grows with the model and saturates.

    ``log(L) = -k * log(X) + E`` with ``k = K_max / (1 + N0 / N)``

    Every model size has an intercept ``E`` of its own: one fit holds one size, or sizes that share it.
    ``rl_power_by_size_tied`` ties the intercepts. There is no ceiling, against ``rl_sigmoid``.

    Source: Tan 2025.
    """
    return jnp.exp(E - K_max / (1 + N0 / N) * jnp.log(X))


@law(
    inputs=dict(N=PARAMETERS, C=Input("FLOPs", typical=(1e15, 1e24))),
    response=FAILURE,
    C0=positive_number(range=(1e-6, 1e24), meaning="compute at which a model of one parameter always fails"),
    r=coefficient(range=(-1.5, 1.5), meaning="power of the parameters in that compute"),
    K_max=positive_number(range=(0.01, 1.5), meaning="slope of an infinite model, with its sign turned"),
    N0=location("N", range=(1e5, 1e13), unit="parameters", meaning="model size with half that slope"),
    formula=r"L = \left(\frac{C_0 N^{r}}{C}\right)^{K_{\max} N/(N + N_0)}",
    source=TAN,
    decreasing=("C",),
)
def rl_power_by_size_tied(N, C, *, C0, r, K_max, N0):
    """Failure rate as a power of compute, for models of all sizes with one rule for their intercepts.

    ``L = (C0 * N**r / C)**k`` with ``k = K_max * N / (N + N0)``

    The variant of the released code: ``rl_power_by_size`` with ``E = k * log(C0 * N**r)``.

    Source: Tan 2025.
    """
    return jnp.exp(K_max / (1 + N0 / N) * (jnp.log(C0) + r * jnp.log(N) - jnp.log(C)))


@law(
    inputs=dict(H=Input("nat", low=-math.inf, typical=(0.01, 3.0))),
    response=Response("performance", real),
    a=positive_number(range=(1e-3, 10.0), meaning="performance bought for one unit of exp(H)"),
    b=coefficient(range=(-10.0, 10.0), meaning="performance at zero entropy, plus a"),
    formula=r"R = -a e^{H} + b",
    source="The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, Cui 2025",
    affine=("a", "b"),
    decreasing=("H",),
)
def entropy_reward(H, *, a, b):
    """Performance against the entropy of the policy.

    ``R = -a * exp(H) + b``

    A policy without entropy has reached the ceiling ``b - a``.

    Source: Cui 2025.
    """
    return b - a * jnp.exp(H)


@law(
    inputs=dict(sigma=UPDATES),
    response=Response("steps", positive),
    D_min=floor(range=(0.0, 1e9), unit="steps", meaning="steps that no number of updates saves"),
    beta_J=scale(sigma="alpha_J", range=(1e-3, 1e20), meaning="updates per step at which one step can be saved"),
    alpha_J=exponent(meaning="power of the updates"),
    formula=r"D_J = D_{\min} + \left(\frac{\beta_J}{\sigma}\right)^{\alpha_J}",
    source=RYBKIN,
    affine=("D_min",),
    decreasing=("sigma",),
    checks=(Check(2e5, at=dict(sigma=1.0), params=dict(D_min=1e5, beta_J=1e10, alpha_J=0.5)),),
)
def value_rl_data(sigma, *, D_min, beta_J, alpha_J):
    """Environment steps that a level of performance needs, against the updates for each step.

    ``D_J = D_min + (sigma / beta_J)**-alpha_J``

    Runs that never reach the level are censored, and leaving them out biases the fit.

    Source: Rybkin 2025.
    """
    return D_min + (beta_J / sigma) ** alpha_J


@law(
    inputs=dict(sigma=UPDATES),
    response=Response("transitions", positive),
    b1=scale(sigma="b2", range=(1e-6, 1e20), meaning="updates per step at which the batch is 1"),
    b2=exponent(meaning="power of the updates"),
    formula=r"B = \left(\frac{\sigma}{b_1}\right)^{-b_2}",
    source=RYBKIN,
    decreasing=("sigma",),
)
def value_rl_hp_batch(sigma, *, b1, b2):
    """Best batch size in value-based learning, against the updates for each step.

    ``B = (sigma / b1)**-b2``

    ``b1`` lies far outside any data and is strongly correlated with ``b2``.

    Source: Rybkin 2025.
    """
    return (b1 / sigma) ** b2


@law(
    inputs=dict(sigma=UPDATES),
    response=Response("learning rate", positive),
    e1=scale(sigma="e2", range=(1e-20, 1e3), meaning="updates per step at which the rate is 1"),
    e2=exponent(meaning="power of the updates"),
    formula=r"\eta = \left(\frac{\sigma}{e_1}\right)^{-e_2}",
    source=RYBKIN,
    decreasing=("sigma",),
)
def value_rl_hp_rate(sigma, *, e1, e2):
    """Best learning rate in value-based learning, against the updates for each step.

    ``eta = (sigma / e1)**-e2``

    ``e1`` lies far outside any data and is strongly correlated with ``e2``.

    Source: Rybkin 2025.
    """
    return (e1 / sigma) ** e2


BUDGET: dict[str, Any] = dict(
    b1=positive_number(range=(1e-3, 1e15), meaning="updates per step at which the batch is 1"),
    b2=exponent(meaning="power of the updates in the batch"),
    D_min=positive_number(range=(1e2, 1e9), unit="steps", meaning="steps that no number of updates saves"),
    beta_J=positive_number(range=(1e-3, 1e15), meaning="updates per step at which one step can be saved"),
    alpha_J=exponent(meaning="power of the updates in the data"),
)
PROBE = dict(b1=256 ** (1 / 0.3), b2=0.3, D_min=1e5, beta_J=1e10, alpha_J=0.5)


def _data(sigma: Numbers, D_min: Numbers, beta_J: Numbers, alpha_J: Numbers) -> Numbers:
    return D_min + (beta_J / sigma) ** alpha_J


def _compute(sigma: Numbers, N: Numbers, b1: Numbers, b2: Numbers, data: Numbers) -> Numbers:
    return 10 * N * (b1 / sigma) ** b2 * sigma * data


@law(
    inputs=dict(sigma=UPDATES, N=PARAMETERS),
    response=Response("FLOPs", positive),
    formula=r"C_J = 10 N B \sigma D_J,\; B = \left(\frac{\sigma}{b_1}\right)^{-b_2},\;"
    r" D_J = D_{\min} + \left(\frac{\beta_J}{\sigma}\right)^{\alpha_J}",
    source=RYBKIN,
    checks=(Check(5.12e14, at=dict(sigma=1.0, N=1e6), params=PROBE),),
    **BUDGET,
)
def value_rl_compute(sigma, N, *, b1, b2, D_min, beta_J, alpha_J):
    """Compute that a level of performance needs: updates on batches for all environment steps.

    ``C_J = 10 * N * B * sigma * D_J`` with ``B = (sigma / b1)**-b2`` and
    ``D_J = D_min + (sigma / beta_J)**-alpha_J``

    Compute alone does not distinguish a larger batch from more data: fix ``b1`` and ``b2`` at a fit of
    ``value_rl_hp_batch``, or the other three at one of ``value_rl_data``.

    Source: Rybkin 2025.
    """
    return _compute(sigma, N, b1, b2, _data(sigma, D_min, beta_J, alpha_J))


@law(
    inputs=dict(sigma=UPDATES, N=PARAMETERS),
    response=Response("FLOPs", positive),
    delta=positive_number(range=(1e3, 1e15), unit="FLOPs/step", meaning="worth of a step of data"),
    formula=r"F = C_J + \delta D_J,\; C_J = 10 N B \sigma D_J,\; B = \left(\frac{\sigma}{b_1}\right)^{-b_2},\;"
    r" D_J = D_{\min} + \left(\frac{\beta_J}{\sigma}\right)^{\alpha_J}",
    source=RYBKIN,
    affine=("delta",),
    checks=(Check(1.511e15, at=dict(sigma=1.078, N=1e6), params=dict(PROBE, delta=5e9)),),
    **BUDGET,
)
def value_rl_compute_budget(sigma, N, *, delta, b1, b2, D_min, beta_J, alpha_J):
    """Budget that a level of performance needs, with a price of environment steps in compute.

    ``F = C_J + delta * D_J`` with ``C_J`` from ``value_rl_compute`` and ``D_J`` from ``value_rl_data``

    The cheapest ``sigma`` lies inside where ``b2 < 1``; above that more updates are always cheaper.

    Source: Rybkin 2025.
    """
    data = _data(sigma, D_min, beta_J, alpha_J)
    return _compute(sigma, N, b1, b2, data) + delta * data


@law(
    inputs=dict(k=Input("agents", typical=(1.0, 1e4))),
    response=Response("policy gap", positive),
    c=positive_number(range=(1e-4, 1e4), meaning="gap of one sampled agent, above the floor"),
    eps=floor(meaning="gap that no number of agents closes"),
    formula=r"\mathrm{gap} = \frac{c}{\sqrt{k}} + \epsilon",
    source="Efficient Reinforcement Learning for Global Decision Making in the Presence of Local Agents at Scale, "
    "Anand 2024",
    affine=("c", "eps"),
    decreasing=("k",),
)
def subsample_gap(k, *, c, eps):
    """Gap to the best policy when it learns from a sample of the agents.

    ``gap = c / sqrt(k) + eps``

    Four times the agents halve what lies above ``eps``.

    Source: Anand 2024.
    """
    return c / jnp.sqrt(k) + eps
