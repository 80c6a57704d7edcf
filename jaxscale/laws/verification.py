"""Selection among samples with an imperfect verifier."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, fraction, law, positive, positive_number, real, unit
from jaxscale.laws.probability import one_of_many
from jaxscale.utils.arrays import Numbers

FAMILY = "inference"
SAMPLES = Input("samples", typical=(1.0, 100.0))
FLAWS = "Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect Verifiers, Stroebl 2024"
RIGHT = fraction(range=(0.0, 0.6), meaning="chance that a sample is right and accepted")
WRONG = fraction(range=(0.0, 0.4), meaning="chance that a sample is wrong and accepted")


def _accepted_per_chance(s: Numbers, k: Numbers) -> Numbers:
    """``(1 - (1 - s)**k) / s``, which is k at s = 0."""
    safe = jnp.where(s > 0, s, 0.5)
    return jnp.where(s > 0, one_of_many(safe, k) / safe, k)


@law(
    inputs=dict(k=SAMPLES),
    response=Response("accuracy", unit),
    p=RIGHT,
    q=WRONG,
    formula=r"P = \frac{p}{p + q} \left[1 - (1 - p - q)^k\right]",
    source=FLAWS,
    checks=(
        Check(0.3, at=dict(k=1.0), params=dict(p=0.3, q=0.05)),
        Check(0.8456, at=dict(k=10.0), params=dict(p=0.3, q=0.05)),
        Check(0.8571, at=dict(k=1e4), params=dict(p=0.3, q=0.05)),
    ),
)
def imperfect_verifier(k, *, p, q):
    """Probability that the first accepted of k samples is right, with an imperfect verifier.

    ``P = p / (p + q) * (1 - (1 - p - q)**k)``, and ``k * p`` where ``p + q = 0``

    ``p + q`` is at most 1. More samples never lift accuracy above ``p / (p + q)``; with ``q = 0`` this
    is pass@k.

    Source: Stroebl 2024.
    """
    return p * _accepted_per_chance(p + q, k)


@law(
    inputs=dict(k=SAMPLES),
    response=Response("utility", real),
    p=RIGHT,
    q=WRONG,
    c_fp=positive_number(range=(0.01, 100.0), meaning="cost of an accepted wrong answer"),
    c_s=positive_number(range=(1e-5, 1.0), meaning="cost of a sample"),
    formula=r"U = \frac{p - c_{fp} q}{p + q} \left[1 - (1 - p - q)^k\right] - c_s k",
    source=FLAWS,
    affine=("c_fp", "c_s"),
    checks=(Check(0.4734, at=dict(k=7.0), params=dict(p=0.3, q=0.05, c_fp=2.0, c_s=0.01)),),
)
def verifier_utility(k, *, p, q, c_fp, c_s):
    """Utility of sampling with an imperfect verifier: right answers less wrong ones and samples.

    ``U = (p - c_fp * q) / (p + q) * (1 - (1 - p - q)**k) - c_s * k``

    For ``p > c_fp * q`` it peaks at ``k = log(-c_s * s / ((p - c_fp * q) * log(1 - s))) / log(1 - s)``
    with ``s = p + q``, often below 10 samples.

    Source: Stroebl 2024.
    """
    return (p - c_fp * q) * _accepted_per_chance(p + q, k) - c_s * k


@law(
    inputs=dict(H=Input("tokens", typical=(1e2, 1e5))),
    response=Response("performance", positive),
    c=positive_number(range=(1e-6, 1e2), meaning="gap at a budget of one token"),
    formula=r"\mathrm{gap} = c \sqrt{H}",
    source="Scaling Test-Time Compute Without Verification or RL is Suboptimal, Setlur 2025",
    affine=("c",),
)
def verifier_gap_sqrt(H, *, c):
    """Lead of training with a verifier over training without one, as the token budget grows.

    ``gap = c * sqrt(H)``

    The number of training problems has to grow in proportion to ``H``.

    Source: Setlur 2025.
    """
    return c * jnp.sqrt(H)
