"""Thresholds of flow and of capture of particles."""

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    exponent,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
)

FAMILY = "sciences"
STRESS = Input("stress", typical=(2.0, 1e3))


@law(
    inputs=dict(St=Input("Stokes number", typical=(1e-2, 1e2))),
    response=Response("deposited share", real),
    K=fraction(meaning="efficiency at large Stokes numbers"),
    c=positive_number(range=(0.05, 20.0), meaning="strength of the essential singularity"),
    St_c=location("St", range=(1e-2, 1.0), meaning="critical Stokes number"),
    formula=r"\eta = K \exp\left(-\frac{c}{\sqrt{St - St_c}}\right) \text{ for } St > St_c,"
    r"\quad \eta = 0 \text{ otherwise}",
    source="Critical scaling law for the deposition efficiency of inertia-driven particle collisions with a cylinder "
    "in high Reynolds number air flow, Turner 2023, arXiv:2301.01046",
    affine=("K",),
    checks=(
        Check(0.0591, at=dict(St=0.25), params=dict(K=1.0, c=1.0, St_c=0.125), rtol=5e-3),
        Check(0.3679, at=dict(St=1.125), params=dict(K=1.0, c=1.0, St_c=0.125)),
    ),
)
def essential_threshold(St, *, K, c, St_c):
    """Capture efficiency of an obstacle, with an essential singularity at a critical particle inertia.

    ``eta = K * exp(-c / sqrt(St - St_c))`` for ``St > St_c``, else ``0``

    Every derivative vanishes at the threshold, so the eye places it too high: ``log(eta)`` is a straight
    line in ``(St - St_c)**-0.5``.

    Source: Turner 2023, arXiv:2301.01046.
    """
    captured = St > St_c
    above = jnp.where(captured, St - St_c, 1.0)
    return jnp.where(captured, K * jnp.exp(-c * above**-0.5), 0.0)


@law(
    inputs=dict(St=Input("Stokes number", typical=(2.0, 1e2))),
    response=Response("time", positive),
    T0=positive_number(range=(1e-3, 1e3), meaning="time at one Stokes number above the threshold"),
    St_c=positive_number(range=(1e-2, 1.0), meaning="critical Stokes number"),
    formula=r"T = T_0 (St - St_c)^{-1/2} \text{ for } St > St_c,\quad T = \infty \text{ otherwise}",
    source="Critical scaling law for the deposition efficiency of inertia-driven particle collisions with a cylinder "
    "in high Reynolds number air flow, Turner 2023, arXiv:2301.01046",
    affine=("T0",),
    decreasing=("St",),
)
def essential_threshold_time(St, *, T0, St_c):
    """The time in which a particle reaches the obstacle diverges at the critical inertia.

    ``T = T0 * (St - St_c)**-0.5`` for ``St > St_c``, else infinite

    This divergence makes the singularity of ``essential_threshold``; the two share ``St_c``.

    Source: Turner 2023, arXiv:2301.01046.
    """
    captured = St > St_c
    above = jnp.where(captured, St - St_c, 1.0)
    return jnp.where(captured, T0 * above**-0.5, jnp.inf)


@law(
    inputs=dict(rate=Input("shear rate", typical=(1e-4, 1e4))),
    response=Response("stress", positive),
    sigma_y=floor(range=(0.0, 1e3), meaning="yield stress"),
    k=amplitude(rate="-n", range=(1e-3, 1e3), meaning="viscous stress at a rate of one"),
    n=exponent(range=(0.05, 1.5), meaning="power of the rate"),
    formula=r"\sigma = \sigma_y + k \dot\gamma^{\,n}",
    source="Critical Yielding Rheology",
    affine=("sigma_y", "k"),
    checks=(Check(1.7071, at=dict(rate=2.0), params=dict(sigma_y=1.0, k=0.5, n=0.5)),),
)
def herschel_bulkley(rate, *, sigma_y, k, n):
    """Stress of a Herschel-Bulkley fluid: a yield stress plus a power of the shear rate.

    ``sigma = sigma_y + k * rate**n``

    Rates far above ``(sigma_y / k)**(1 / n)`` do not determine the yield stress.

    Source: Critical Yielding Rheology.
    """
    return sigma_y + k * rate**n


@law(
    inputs=dict(sigma=STRESS),
    response=Response("shear rate", positive),
    r0=amplitude(sigma="-beta", range=(1e-6, 1e6), meaning="rate at a stress of one above the threshold"),
    sigma_c=positive_number(range=(1e-3, 1.9), meaning="yield stress"),
    beta=exponent(range=(0.05, 4.0), meaning="power of the distance from the threshold"),
    formula=r"\dot\gamma = r_0 (\sigma - \sigma_c)^{\beta} \text{ for } \sigma > \sigma_c,"
    r"\quad \dot\gamma = 0 \text{ otherwise}",
    source="Critical Yielding Rheology",
    affine=("r0",),
    checks=(Check(9.0, at=dict(sigma=2.5), params=dict(r0=4.0, sigma_c=1.0, beta=2.0)),),
)
def yielding_threshold_rate(sigma, *, r0, sigma_c, beta):
    """A yield-stress fluid flows at a rate that grows as a power of the stress in excess.

    ``rate = r0 * (sigma - sigma_c)**beta`` for ``sigma > sigma_c``, else ``0``

    The inverse of ``herschel_bulkley``, with ``beta = 1 / n`` and ``r0 = k**(-1 / n)``. Threshold and exponent
    are strongly correlated; rows at rest carry no logarithm and stay out of a fit.

    Source: Critical Yielding Rheology.
    """
    flowing = sigma > sigma_c
    return jnp.where(flowing, r0 * jnp.where(flowing, sigma - sigma_c, 1.0) ** beta, 0.0)


@law(
    inputs=dict(sigma=STRESS),
    response=Response("length", positive),
    x0=amplitude(sigma="nu", range=(1e-6, 1e6), meaning="length at a stress of one above the threshold"),
    sigma_c=positive_number(range=(1e-3, 1.9), meaning="yield stress"),
    nu=exponent(range=(0.05, 4.0), meaning="power of the divergence"),
    formula=r"\xi = x_0 (\sigma - \sigma_c)^{-\nu} \text{ for } \sigma > \sigma_c",
    source="Critical Yielding Rheology",
    affine=("x0",),
    decreasing=("sigma",),
)
def yielding_threshold_xi(sigma, *, x0, sigma_c, nu):
    """Cooperativity length of a yield-stress fluid, which diverges at the yield stress.

    ``xi = x0 * (sigma - sigma_c)**-nu`` for ``sigma > sigma_c``

    Below the threshold it is undefined. Threshold and exponent are strongly correlated.

    Source: Critical Yielding Rheology.
    """
    return x0 * (sigma - sigma_c) ** -nu
