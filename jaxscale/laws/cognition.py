"""Ability, perception and matching in minds and neurons."""

import math

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.scipy.special import gammaln, logsumexp

from jaxscale.law import Check, Input, Response, law, location, positive_number, real, unit
from jaxscale.utils.arrays import Numbers

FAMILY = "sciences"
GRADE = Input("grade", low=-math.inf, typical=(15.0, 25.0))
STIMULUS = Input("stimulus", typical=(1e-2, 1e4))
SCALE = Response("perceptual scale", real)
_TERMS = 256


@law(
    inputs=dict(g=GRADE, r=GRADE),
    response=Response("probability of success", unit),
    m=positive_number(range=(0.1, 2.0), meaning="log of the factor in difficulty per grade"),
    formula=r"P = \frac{1}{1 + e^{-m (r - g)}}",
    source="Bayesian inference of the climbing grade scale, Drummond 2021",
    decreasing=("g",),
    published=dict(
        drummond2021_ratio210=dict(m=0.742),
        drummond2021_ratio209=dict(m=0.737),
        drummond2021_ratio213=dict(m=0.756),
        drummond2021_ratio317=dict(m=1.154),
    ),
    checks=(Check(0.3226, at=dict(g=1.0, r=0.0), params="drummond2021_ratio210"),),
)
def grade_logistic(g, r, *, m):
    """A climber succeeds half the time at the grade of their ability, and odds fall by a factor per grade.

    ``P = 1 / (1 + exp(-m * (r - g)))``

    ``r`` is the ability at the time of the attempt, which drifts by about half a grade per month; ``exp(m)`` is
    the factor in difficulty between neighbouring grades.

    Source: Drummond 2021.
    """
    return sigmoid(m * (r - g))


def _log_choose(n: Numbers, k: Numbers) -> Numbers:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


@law(
    inputs=dict(
        a=Input("active cells", typical=(20.0, 60.0)),
        s=Input("synapses", typical=(15.0, 40.0)),
        theta=Input("matching synapses", low=-1.0, typical=(3.0, 10.0)),
    ),
    response=Response("probability of a false match", unit),
    n=positive_number(range=(500.0, 1e5), unit="cells", meaning="cells in the population"),
    formula=r"P = \sum_{b=\theta}^{\min(s, a)} \binom{s}{b} \binom{n - s}{a - b} \Big/ \binom{n}{a}",
    source="How do neurons operate on sparse distributed representations? A mathematical theory of sparsity, neurons "
    "and active dendrites, Ahmad 2016, arXiv:1601.00720",
    decreasing=("theta",),
    checks=(Check(3.911e-13, at=dict(a=40.0, s=20.0, theta=10.0), params=dict(n=2048.0)),),
)
def sparse_match(a, s, theta, *, n):
    """Probability that a dendrite, which samples a few cells of a sparse pattern, mistakes another pattern for it.

    ``P = sum_{b = theta .. min(s, a)} C(s, b) * C(n - s, a - b) / C(n, a)``

    Counts are integers, with ``n > a + s``; at most 256 terms from ``theta`` upward are summed. A population known
    to have ``n`` cells is passed as such; a fit finds the number of independent cells that explains the matches.

    Source: Ahmad 2016, arXiv:1601.00720.
    """
    # Counts may be given as integers.
    numbers = jnp.broadcast_arrays(*(1.0 * value for value in (n, a, s, theta)))
    n, a, s, theta = (value[..., None] for value in numbers)
    b = jnp.ceil(theta) + jnp.arange(_TERMS, dtype=theta.dtype).reshape((1,) * (theta.ndim - 1) + (-1,))
    counted = b <= jnp.minimum(s, a)
    b = jnp.where(counted, b, 0.0)
    terms = _log_choose(s, b) + _log_choose(n - s, a - b) - _log_choose(n, a)
    return jnp.exp(logsumexp(jnp.where(counted, terms, -jnp.inf), axis=-1))


@law(
    inputs=dict(x=STIMULUS),
    response=SCALE,
    k=positive_number(range=(1e-3, 1e3), meaning="root of the information, the same at all stimuli"),
    x0=location("x", range=(1e-2, 1e3), meaning="stimulus at which the scale is zero"),
    formula=r"\psi(x) = k (x - x_0)",
    source="Perceptual Scales Predicted by Fisher Information Metrics; unconfirmed form",
    affine=("k",),
)
def fisher_scale_constant(x, *, k, x0):
    """Perceptual scale for constant Fisher information: a straight line.

    ``psi = k * (x - x0)``, the integral from ``x0`` to ``x`` of the root of the information ``I = k**2``

    A case of the law that perceptual distance adds up the root of the Fisher information. The other is
    ``fisher_scale_weber``.

    Source: Perceptual Scales Predicted by Fisher Information Metrics (unconfirmed form).
    """
    return k * (x - x0)


@law(
    inputs=dict(x=STIMULUS),
    response=SCALE,
    k=positive_number(range=(1e-3, 1e3), meaning="inverse of the just noticeable share"),
    x0=location("x", range=(1e-2, 1e3), meaning="stimulus at which the scale is zero"),
    formula=r"\psi(x) = k \ln\frac{x}{x_0}",
    source="Perceptual Scales Predicted by Fisher Information Metrics; unconfirmed form",
    affine=("k",),
    checks=(Check(2.0, at=dict(x=math.e), params=dict(k=2.0, x0=1.0)),),
)
def fisher_scale_weber(x, *, k, x0):
    """Perceptual scale under Weber's law: a logarithm.

    ``psi = k * log(x / x0)``, the integral from ``x0`` to ``x`` of the root of the information ``I = (k / u)**2``

    Weber's case of the law that perceptual distance adds up the root of the Fisher information.

    Source: Perceptual Scales Predicted by Fisher Information Metrics (unconfirmed form).
    """
    return k * jnp.log(x / x0)
