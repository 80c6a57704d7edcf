"""Hazards over time."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, coefficient, exponent, law, positive, positive_number
from jaxscale.utils.arrays import Numbers

FAMILY = "sciences"


def _expm1_ratio(z: Numbers) -> Numbers:
    """``expm1(z) / z``, by its series where the quotient would lose digits of its derivatives."""
    near = jnp.abs(z) < 0.05
    series = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5 * (1 + z / 6 * (1 + z / 7 * (1 + z / 8))))))
    apart = jnp.where(near, 1.0, z)
    return jnp.where(near, series, jnp.expm1(apart) / apart)


@law(
    inputs=dict(t=Input("time", typical=(1e-2, 1e2))),
    response=Response("cumulative hazard", positive),
    lam=positive_number(range=(1e-3, 1e3), meaning="factor of the hazard"),
    phi=positive_number(range=(1e-2, 1e1), meaning="factor of time"),
    gamma=exponent(range=(0.05, 5.0), meaning="power of time"),
    kappa=coefficient(range=(-0.9, 5.0), meaning="shape of the tail"),
    formula=r"H = \lambda \frac{\kappa + 1}{\kappa}"
    r"\left[\left(1 + \frac{(\phi t)^{\gamma}}{\kappa + 1}\right)^{\kappa} - 1\right]",
    source="A Flexible Parametric Modelling Framework for Survival Analysis, Burke 2020",
    affine=("lam",),
    checks=(
        Check(2.0, at=dict(t=2.0), params=dict(lam=1.0, phi=1.0, gamma=1.0, kappa=1.0)),
        Check(1.0986, at=dict(t=2.0), params=dict(lam=1.0, phi=1.0, gamma=1.0, kappa=0.0)),
        Check(6.389, at=dict(t=2.0), params=dict(lam=1.0, phi=1.0, gamma=1.0, kappa=1e6)),
    ),
)
def survival_power_weibull(t, *, lam, phi, gamma, kappa):
    """Cumulative hazard that includes the Weibull, log-logistic, Gompertz-like and cure models.

    ``H = lam * (kappa + 1) / kappa * ((1 + u / (kappa + 1))**kappa - 1)``, ``u = (phi * t)**gamma``, and
    ``lam * log(1 + u)`` at ``kappa = 0``

    ``kappa > -1``: 1 is Weibull (only ``lam * phi**gamma`` is then known), 0 log-logistic, large values grow like
    Gompertz, and below 0 a share ``exp(lam * (kappa + 1) / kappa)`` never fails. Covariates move ``lam`` or ``phi``
    log-linearly.

    Source: Burke 2020.
    """
    rise = jnp.log1p((phi * t) ** gamma / (kappa + 1))
    return lam * (kappa + 1) * rise * _expm1_ratio(kappa * rise)
