"""Over-optimisation of a policy against a proxy reward model."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.nn import softmax
from jaxtyping import Float

from jaxscale.law import Check, Input, Law, Response, coefficient, law, positive, positive_number, real, unit
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Array, Numbers

FAMILY = "reinforcement"
PARAMETERS = Input("parameters", lower=1e5)
# The untrained policy itself, at distance 0, is an observation.
DISTANCE = Input("square root of nats", low=-math.inf, typical=(0.1, 20.0))
GOLD = Response("gold reward", real)
GAO = "Scaling Laws for Reward Model Overoptimization, Gao 2022"
YANG = "Asymptotics of Language Model Alignment, Yang 2024"
TWO_ANSWERS = dict(p=0.5, r=1.0, p1=0.5, r1=0.0)


@law(
    inputs=dict(n=Input("samples", typical=(2.0, 1e4))),
    response=Response("nat", positive),
    formula=r"\mathrm{KL} = \ln n - \frac{n - 1}{n}",
    source=f"{GAO}; {YANG}",
    checks=(
        Check(0.0, at=dict(n=1.0), params={}),
        Check(0.6363, at=dict(n=4.0), params={}),
        Check(1.835, at=dict(n=16.0), params={}),
        Check(4.549, at=dict(n=256.0), params={}),
    ),
)
def best_of_n_kl(n):
    """KL divergence of best-of-n sampling from the sampled policy.

    ``KL = log(n) - (n - 1) / n``

    There is nothing to fit. Exact for scores without ties and an upper bound otherwise; its square
    root is the input of ``overopt_bon``.

    Source: Gao 2022; Yang 2024.
    """
    return jnp.log(n) - (n - 1) / n


def _bon(d: Numbers, alpha: Numbers, beta: Numbers) -> Numbers:
    return d * (alpha - beta * d)


def _rl(d: Numbers, alpha: Numbers, beta: Numbers) -> Numbers:
    # d * log(d) is 0 at d = 0, where its gradient has no finite value.
    return d * (alpha - beta * jnp.log(jnp.where(d == 0, 1.0, d)))


@law(
    inputs=dict(d=DISTANCE),
    response=GOLD,
    alpha=positive_number(range=(0.01, 10.0), meaning="gain of the first step"),
    beta=positive_number(range=(1e-4, 10.0), meaning="loss to over-optimisation"),
    formula=r"R = d (\alpha - \beta d)",
    source=GAO,
    affine=("alpha", "beta"),
    checks=(
        Check(1.25, at=dict(d=2.5), params=dict(alpha=1.0, beta=0.2)),
        Check(0.0, at=dict(d=0.0), params=dict(alpha=1.0, beta=0.2)),
    ),
)
def overopt_bon(d, *, alpha, beta):
    """True reward of best-of-n sampling against the distance from the initial policy.

    ``R = d * (alpha - beta * d)``

    ``d`` is the square root of the KL divergence from the initial policy (``best_of_n_kl``). The peak
    ``alpha**2 / (4 * beta)`` lies at ``d = alpha / (2 * beta)``: stop there.

    Source: Gao 2022.
    """
    return _bon(d, alpha, beta)


@law(
    inputs=dict(d=DISTANCE),
    response=GOLD,
    alpha=positive_number(range=(0.01, 10.0), meaning="gain of a step at distance 1, over-optimisation left out"),
    beta=positive_number(range=(1e-4, 10.0), meaning="loss to over-optimisation"),
    formula=r"R = d (\alpha - \beta \ln d),\; R(0) = 0",
    source=GAO,
    affine=("alpha", "beta"),
    checks=(
        Check(10.92, at=dict(d=54.6), params=dict(alpha=1.0, beta=0.2)),
        Check(0.0, at=dict(d=0.0), params=dict(alpha=1.0, beta=0.2)),
    ),
)
def overopt_rl(d, *, alpha, beta):
    """True reward of reinforcement learning against the distance from the initial policy.

    ``R = d * (alpha - beta * log(d))``, and 0 at ``d = 0``

    ``d`` is the square root of the KL divergence from the initial policy. The peak ``beta * d`` lies at
    ``d = exp(alpha / beta - 1)``: stop there.

    Source: Gao 2022.
    """
    return _rl(d, alpha, beta)


@law(
    inputs=dict(N=PARAMETERS),
    response=Response("coefficient", real),
    u=coefficient(range=(-4.0, 6.0), meaning="coefficient at N = 1"),
    v=coefficient(range=(-0.5, 0.5), meaning="change for e times the size"),
    formula=r"\alpha = u + v \ln N \;\mathrm{and}\; \beta = u + v \ln N",
    source=GAO,
    affine=("u", "v"),
    checks=(
        Check(0.2237, at=dict(N=1e8), params=dict(u=0.5, v=-0.015)),
        Check(0.1892, at=dict(N=1e9), params=dict(u=0.5, v=-0.015)),
    ),
)
def overopt_coeff_log(N, *, u, v):
    """A coefficient of over-optimisation as a straight line in the log size of the reward model.

    ``alpha = u + v * log(N)``, and ``beta`` likewise with a ``u`` and a ``v`` of its own

    For coefficients that were fitted size by size. ``v`` has either sign, so outside the sizes fitted a
    line can leave the positive numbers.

    Source: Gao 2022.
    """
    return u + v * jnp.log(N)


LINES: dict[str, Any] = dict(
    u_a=coefficient(range=(-4.0, 6.0), meaning="alpha at N = 1"),
    v_a=coefficient(range=(-0.5, 0.5), meaning="change of alpha for e times the size"),
    u_b=coefficient(range=(-4.0, 5.0), meaning="beta at N = 1"),
    v_b=coefficient(range=(-0.5, 0.5), meaning="change of beta for e times the size"),
)


@law(
    inputs=dict(d=DISTANCE, N=PARAMETERS),
    response=GOLD,
    formula=r"R = d (\alpha - \beta d),\; \alpha = u_a + v_a \ln N,\; \beta = u_b + v_b \ln N",
    source=GAO,
    affine=("u_a", "v_a", "u_b", "v_b"),
    **LINES,
)
def overopt_coeff_log_bon(d, N, *, u_a, v_a, u_b, v_b):
    """True reward of best-of-n sampling for reward models of every size at once.

    ``R = d * (alpha - beta * d)`` with ``alpha = u_a + v_a * log(N)`` and ``beta = u_b + v_b * log(N)``

    ``overopt_bon`` with lines for coefficients. Outside the sizes fitted ``beta`` can become negative,
    which would mean a reward without a peak.

    Source: Gao 2022.
    """
    return _bon(d, u_a + v_a * jnp.log(N), u_b + v_b * jnp.log(N))


@law(
    inputs=dict(d=DISTANCE, N=PARAMETERS),
    response=GOLD,
    formula=r"R = d (\alpha - \beta \ln d),\; R(0) = 0,\; \alpha = u_a + v_a \ln N,\; \beta = u_b + v_b \ln N",
    source=GAO,
    affine=("u_a", "v_a", "u_b", "v_b"),
    **LINES,
)
def overopt_coeff_log_rl(d, N, *, u_a, v_a, u_b, v_b):
    """True reward of reinforcement learning for reward models of every size at once.

    ``R = d * (alpha - beta * log(d))``, and 0 at ``d = 0``, with ``alpha = u_a + v_a * log(N)`` and
    ``beta = u_b + v_b * log(N)``

    ``overopt_rl`` with lines for coefficients; fix ``v_a`` at 0 for one ``alpha`` at all sizes. Outside
    the sizes fitted ``beta`` can become negative, which would mean a reward without a peak.

    Source: Gao 2022.
    """
    return _rl(d, u_a + v_a * jnp.log(N), u_b + v_b * jnp.log(N))


def _tilted(others: int, quantity: str) -> dict[str, Any]:
    """Shared parts of the laws of an answer with ``others`` alternatives."""
    inputs = {}
    for i in ["", *range(1, others + 1)]:
        inputs[f"p{i}"] = Input("probability", typical=(0.05, 0.95))
        inputs[f"r{i}"] = Input("reward", low=-math.inf, typical=(-2.0, 2.0))
    return dict(
        name=f"{quantity}{others}",
        inputs=inputs,
        source=YANG,
        beta=positive_number(range=(0.2, 20.0), meaning="strength of the pull towards the reference"),
    )


def _answers(
    values: Sequence[Numbers], beta: Numbers
) -> tuple[Float[Array, "answer ..."], Float[Array, "answer ..."], Float[Array, "answer ..."]]:
    """Reference, tilted probabilities and rewards, the answers along the first axis."""
    *values, beta = jnp.broadcast_arrays(*values, beta)
    p, r = (jnp.stack(values[start::2]) for start in (0, 1))
    return p / jnp.sum(p, axis=0, keepdims=True), softmax(jnp.log(p) + r / beta[None], axis=0), r


def _tilt(others: int) -> Law:
    """Probability of one answer among ``others`` alternatives."""
    declared = _tilted(others, "kl_tilt")

    def tilt(*values, beta):
        """Probability of an answer under the KL-regularised policy.

        ``phi = p * exp(r / beta) / (p * exp(r / beta) + sum_i p_i * exp(r_i / beta))``

        ``p`` and ``r`` are reference probability and reward of the answer in question, ``p1``, ``r1``,
        ... those of the others. Where the distance is given and not ``beta``, fit ``kl_tilt_kl`` to it.

        Source: Yang 2024.
        """
        return _answers(values, beta)[1][0]

    return law(
        response=Response("probability", unit),
        checks=(Check(0.7311, at=TWO_ANSWERS, params=dict(beta=1.0)),) if others == 1 else (),
        formula=rf"\phi = \frac{{p e^{{r/\beta}}}}{{p e^{{r/\beta}} + \sum_{{i=1}}^{others} p_i e^{{r_i/\beta}}}}",
        **declared,
    )(with_signature(tilt, declared["inputs"], ["beta"]))


def _tilt_kl(others: int) -> Law:
    """KL divergence of the tilted policy for an answer and ``others`` alternatives."""
    declared = _tilted(others, "kl_tilt_kl")

    def tilt_kl(*values, beta):
        """KL divergence of the KL-regularised policy from its reference.

        ``KL = sum_y phi(y) * log(phi(y) / p(y))`` with ``phi`` from ``kl_tilt``

        It falls in ``beta``, so one observed distance fixes ``beta``. Reference probabilities are
        brought to a sum of 1.

        Source: Yang 2024.
        """
        p, phi, _ = _answers(values, beta)
        return jnp.sum(phi * (jnp.log(phi) - jnp.log(p)), axis=0)

    return law(
        response=Response("nat", positive),
        checks=(Check(0.1110, at=TWO_ANSWERS, params=dict(beta=1.0)),) if others == 1 else (),
        formula=r"\mathrm{KL} = \sum_y \phi(y) \ln\frac{\phi(y)}{p(y)},\;"
        r" \phi(y) = \frac{p(y) e^{r(y)/\beta}}{\sum_z p(z) e^{r(z)/\beta}}",
        **declared,
    )(with_signature(tilt_kl, declared["inputs"], ["beta"]))


def _tilt_reward(others: int) -> Law:
    """Mean reward of the tilted policy for an answer and ``others`` alternatives."""
    declared = _tilted(others, "kl_tilt_reward")

    def tilt_reward(*values, beta):
        """Mean reward of the KL-regularised policy.

        ``R = sum_y phi(y) * r(y)`` with ``phi`` from ``kl_tilt``

        Along the policies of all ``beta`` the reward grows by ``beta`` for each nat of distance.

        Source: Yang 2024.
        """
        _, phi, r = _answers(values, beta)
        return jnp.sum(phi * r, axis=0)

    return law(
        response=Response("reward", real),
        formula=r"R = \sum_y \phi(y) r(y),\; \phi(y) = \frac{p(y) e^{r(y)/\beta}}{\sum_z p(z) e^{r(z)/\beta}}",
        **declared,
    )(with_signature(tilt_reward, declared["inputs"], ["beta"]))


kl_tilt = Family("kl_tilt", _tilt, largest=9, listed=(1, 2))
kl_tilt_kl = Family("kl_tilt_kl", _tilt_kl, largest=9, listed=(1, 2))
kl_tilt_reward = Family("kl_tilt_reward", _tilt_reward, largest=9, listed=(1, 2))
