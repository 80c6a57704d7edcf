"""Fractal signals: scaling of variation."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, coefficient, fraction, law, positive, positive_number, real
from jaxscale.utils.arrays import Numbers

FAMILY = "sciences"
ORDER = Input("order of the moment", low=-math.inf, typical=(-5.0, 5.0))
_SOURCE = "Multifractal Analysis of Neuron Interactions, Xiao 2024; unconfirmed form"


@law(
    inputs=dict(j=Input("level", low=-math.inf, typical=(1.0, 12.0))),
    response=Response("bit", real),
    c=coefficient(range=(-50.0, 50.0), meaning="log2 energy at level zero"),
    H=fraction(meaning="Hurst exponent"),
    formula=r"\log_2 E[d_j^2] = c - (2H + 1) j",
    source="Wavelet Transform in Scaling Dynamics for Milk Quality Evaluation; unconfirmed form",
    affine=("c", "H"),
    decreasing=("j",),
)
def wavelet_spectrum(j, *, c, H):
    """The wavelet energy of a rough signal falls by a fixed factor per level towards finer scales.

    ``log2(E[d_j**2]) = c - (2 * H + 1) * j``

    ``j`` grows towards finer scales, for fractional Brownian motion and orthonormal wavelets. Where software
    counts levels towards coarser scales, give ``-j``; for fractional Gaussian noise ``2 * H + 1`` becomes
    ``2 * H - 1``.

    Source: Wavelet Transform in Scaling Dynamics for Milk Quality Evaluation (unconfirmed form).
    """
    return c - (2 * H + 1) * j


def _tau(q: Numbers, p: Numbers) -> Numbers:
    return -jnp.logaddexp(q * jnp.log(p), q * jnp.log1p(-p)) / math.log(2)


def _strength(q: Numbers, p: Numbers) -> Numbers:
    # The slope of _tau: the two boxes' singularities, weighted by what each gives to the moment.
    large, small = jnp.log(p), jnp.log1p(-p)
    share = 1 / (1 + jnp.exp(q * (small - large)))
    return -(share * large + (1 - share) * small) / math.log(2)


_SPLIT = fraction(range=(0.5, 1.0), meaning="mass that goes to the heavier half of a box")


@law(
    inputs=dict(r=Input("box size as a share of the whole", high=1.0, typical=(1e-3, 0.9)), q=ORDER),
    response=Response("", positive),
    c=positive_number(range=(1e-3, 1e3), meaning="partition sum at box size one"),
    p=_SPLIT,
    formula=r"Z_q = c\, r^{\tau(q)},\quad \tau(q) = -\log_2\left(p^q + (1-p)^q\right)",
    source=_SOURCE,
    affine=("c",),
)
def multifractal(r, q, *, c, p):
    """The moments of a measure over boxes are powers of the box size, by a two-way split of its mass.

    ``Z = sum_i mu_i**q = c * r**tau``, ``tau = -log2(p**q + (1 - p)**q)``

    ``p`` and ``1 - p`` are the same law. The amplitude may differ between orders ``q``: fit one order at a time,
    or let ``c`` vary by group.

    Source: Xiao 2024 (unconfirmed form).
    """
    return c * r ** _tau(q, p)


@law(
    inputs=dict(q=ORDER),
    response=Response("", real),
    p=_SPLIT,
    formula=r"\tau(q) = -\log_2\left(p^q + (1-p)^q\right)",
    source=_SOURCE,
    checks=(
        Check(-1.0, at=dict(q=0.0), params=dict(p=0.7)),
        Check(0.7859, at=dict(q=2.0), params=dict(p=0.7)),
    ),
)
def multifractal_tau(q, *, p):
    """Mass exponents of the moments of a multifractal measure.

    ``tau = -log2(p**q + (1 - p)**q)``

    A straight line, ``q - 1``, at an even split ``p = 0.5``; zero at ``q = 1``, as mass is conserved.

    Source: Xiao 2024 (unconfirmed form).
    """
    return _tau(q, p)


@law(
    inputs=dict(q=ORDER),
    response=Response("", positive),
    p=_SPLIT,
    formula=r"\alpha(q) = \frac{d\tau}{dq} = -\frac{p^q \log_2 p + (1-p)^q \log_2 (1-p)}{p^q + (1-p)^q}",
    source=_SOURCE,
    checks=(Check(0.7043, at=dict(q=2.0), params=dict(p=0.7)),),
)
def multifractal_strength(q, *, p):
    """Singularity strength that dominates a moment: strong at high orders, weak at low orders.

    ``a = d tau / d q = -(p**q * log2(p) + (1 - p)**q * log2(1 - p)) / (p**q + (1 - p)**q)``

    It runs from ``-log2(1 - p)`` at low orders to ``-log2(p)`` at high ones.

    Source: Xiao 2024 (unconfirmed form).
    """
    return _strength(q, p)


@law(
    inputs=dict(q=ORDER),
    response=Response("", real),
    p=_SPLIT,
    formula=r"f(q) = q \alpha(q) - \tau(q)",
    source=_SOURCE,
    checks=(Check(0.6226, at=dict(q=2.0), params=dict(p=0.7)),),
)
def multifractal_dimension(q, *, p):
    """The dimension of the set that dominates a moment, the Legendre transform of its exponent.

    ``f = q * a - tau``, with ``a`` of ``multifractal_strength`` and ``tau`` of ``multifractal_tau``

    Largest, 1, at ``q = 0``. Plot it against ``a`` for the multifractal spectrum.

    Source: Xiao 2024 (unconfirmed form).
    """
    return q * _strength(q, p) - _tau(q, p)
