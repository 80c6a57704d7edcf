"""Pass@k: probability that one of k samples is right."""

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    coefficient,
    exponent,
    fraction,
    law,
    positive_number,
    real,
    unit,
)
from jaxscale.law.family import Family, with_signature
from jaxscale.laws.probability import one_of_many
from jaxscale.utils.arrays import Numbers

FAMILY = "inference"
SAMPLES = Input("samples", typical=(1.0, 1e4))
COVERAGE = Response("pass@k", unit)
MONKEYS = "Large Language Monkeys: Scaling Inference Compute with Repeated Sampling, Brown 2024"
CONFIDENCE = (
    "Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves Mathematical Reasoning, "
    "Chen 2025"
)
FALSE_POSITIVES = "Examining False Positives under Inference Scaling for Mathematical Reasoning, Wang 2025"
COMMON_7B = "Common 7B Language Models Already Possess Strong Math Capabilities, Li 2024"


def _mean(count: int) -> Law:
    """The mean over ``count`` problems, or over as many equally large groups of them."""

    def mean(k, **p):
        """Share of problems that at least one of k samples solves.

        ``pass@k = mean_i(1 - (1 - p_i)**k)``

        ``p1``, ``p2``, ... are the chances of one sample on each problem, or in equally large groups of
        problems. A model can gain in cross-entropy, the mean of ``-log(p_i)``, and lose in pass@k.

        Source: Chen 2025; Wang 2025.
        """
        return sum(one_of_many(chance, k) for chance in p.values()) / count

    parameters: dict[str, Any] = {
        f"p{i}": fraction(meaning=f"chance of one sample on problem {i}") for i in range(1, count + 1)
    }
    return law(
        name=f"pass_at_k_mean{count}",
        inputs=dict(k=SAMPLES),
        response=COVERAGE,
        formula=rf"\mathrm{{pass@}}k = \frac{{1}}{{{count}}} \sum_{{i=1}}^{count} \left[1 - (1 - p_i)^k\right]",
        source=f"{CONFIDENCE}; {FALSE_POSITIVES}",
        checks=(Check(0.9718, at=dict(k=10.0), params=dict(p1=0.3)),) if count == 1 else (),
        **parameters,
    )(with_signature(mean, ["k"], parameters))


pass_at_k_mean = Family("pass_at_k_mean", _mean, largest=8, listed=(1, 2, 3))


@law(
    inputs=dict(
        n=Input("samples", typical=(200.0, 1e4)),
        s=Input("samples", low=-1.0, typical=(1.0, 50.0)),
        k=Input("samples", typical=(1.0, 100.0)),
    ),
    response=Response("pass@k", real),
    formula=r"\mathrm{pass@}k = 1 - \binom{n - s}{k} \Big/ \binom{n}{k}",
    source=MONKEYS,
    checks=(Check(0.9167, at=dict(n=10.0, s=3.0, k=5.0), params={}),),
)
def pass_at_k_unbiased(n, s, k):
    """Unbiased estimate of pass@k on one problem from s successes among n samples.

    ``pass@k = 1 - binomial(n - s, k) / binomial(n, k)`` for ``s <= n - k``, else 1

    There is nothing to fit. It needs ``n >= k``; average it over problems, and resample problems
    rather than samples for its uncertainty.

    Source: Brown 2024.
    """
    sure = s > n - k
    # Without draws and successes the logarithms of the factorials are finite and their sum is 0.
    drawn, solved = jnp.where(sure, 0.0, k), jnp.where(sure, 0.0, s)
    log_failure = _log_ways(n - solved, drawn) - _log_ways(n, drawn)
    return jnp.where(sure, 1.0, -jnp.expm1(log_failure))


def _log_ways(n: Numbers, k: Numbers) -> Numbers:
    """The log of the number of ordered ways to draw k of n."""
    return gammaln(n + 1) - gammaln(n - k + 1)


@law(
    inputs=dict(k=SAMPLES),
    response=COVERAGE,
    a=coefficient(range=(-20.0, -0.01), meaning="log of the coverage of one sample"),
    b=exponent(meaning="power of the samples"),
    formula=r"c = e^{a k^{-b}}",
    source=MONKEYS,
    checks=(
        Check(0.1353, at=dict(k=1.0), params=dict(a=-2.0, b=0.3)),
        Check(0.6051, at=dict(k=100.0), params=dict(a=-2.0, b=0.3)),
        Check(0.8814, at=dict(k=1e4), params=dict(a=-2.0, b=0.3)),
    ),
)
def coverage_exp_power(k, *, a, b):
    """Coverage whose logarithm shrinks as a power of the samples.

    ``c = exp(a * k**-b)``

    ``a`` is negative, and ``log(-log(c))`` a straight line in ``log(k)``. At large k it approaches 1
    slower or faster than ``coverage_beta_binomial``: compare the two on samples that were held out.

    Source: Brown 2024.
    """
    return jnp.exp(a * k**-b)


@law(
    inputs=dict(k=SAMPLES),
    response=COVERAGE,
    a=positive_number(range=(0.05, 3.0), meaning="how rare hopeless problems are: power of the failures in samples"),
    b=positive_number(range=(0.05, 100.0), meaning="how rare easy problems are"),
    formula=r"\mathrm{pass@}k = 1 - \frac{B(a, b + k)}{B(a, b)}",
    source=f"the beta-binomial distribution, a standard identity; {COMMON_7B}; {MONKEYS}",
    checks=(
        Check(0.2, at=dict(k=1.0), params=dict(a=0.5, b=2.0)),
        Check(0.8682, at=dict(k=100.0), params=dict(a=0.5, b=2.0)),
    ),
)
def coverage_beta_binomial(k, *, a, b):
    """Coverage with beta-distributed success probabilities of the problems.

    ``pass@k = 1 - B(a, b + k) / B(a, b)`` with the beta function ``B``

    One sample solves ``a / (a + b)``, and failures die out as ``k**-a``. Counts by problem are far
    more informative than the mean curve.

    Source: a standard identity; data of Li 2024 and Brown 2024.
    """
    log_failure = gammaln(b + k) - gammaln(a + b + k) + gammaln(a + b) - gammaln(b)
    return -jnp.expm1(log_failure)
