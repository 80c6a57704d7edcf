"""Critical points in systems of finite size."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    law,
    location,
    positive,
    positive_number,
    real,
)
from jaxscale.law.coordinates import Centre
from jaxscale.utils.arrays import Array, Numbers

FAMILY = "sciences"
EDGE = Input("sites along an edge", typical=(4.0, 64.0))
# The cubic holds near the critical coupling only, where the scaled distance is of order one on all these sizes.
COUPLING = Input("coupling", typical=(0.9, 1.1))
# A double holds its exponential.
LARGEST = 600.0
Own = tuple[Callable[..., Any], Callable[..., Any]]


@law(
    inputs=dict(A=Input("sites", typical=(1.0, 300.0)), L=Input("sites along an edge", typical=(64.0, 512.0))),
    response=Response("", positive),
    a=exponent(range=(0.5, 4.0), meaning="power of the size by which the response falls"),
    b=exponent(range=(1.0, 4.0), meaning="power of the size that sets the largest event"),
    c0=amplitude(A="tau", L="a", range=(1e-6, 1e9), meaning="size of the master curve"),
    tau=exponent(range=(0.05, 3.0), meaning="power of the event size below the cut-off, with its sign turned"),
    c3=positive_number(range=(1e-3, 20.0), meaning="strength of the exponential cut-off"),
    c4=positive_number(range=(1e-3, 20.0), meaning="strength of the Gaussian cut-off"),
    formula=r"P = c_0 L^{-a} u^{-\tau} e^{-c_3 u - c_4 u^2},\quad u = A / L^{b}",
    source="Scaling Properties of Avalanche Activity in the Two-Dimensional Abelian Sandpile Model",
    affine=("c0",),
    decreasing=("A",),
    checks=(Check(6.2254e-4, at=dict(A=100.0, L=160.0), params=dict(a=2.0, b=2.0, c0=1.0, tau=0.5, c3=1.0, c4=2.0)),),
)
def fss_collapse(A, L, *, a, b, c0, tau, c3, c4):
    """Finite-size scaling collapse of event sizes on lattices.

    ``P = L**-a * c0 * u**-tau * exp(-c3 * u - c4 * u**2)``, ``u = A / L**b``

    The sandpile has ``a = b = 2`` and ``tau = 1/2``. With a single lattice size ``a``, ``b`` and ``c0``
    are not identified.

    Source: Scaling Properties of Avalanche Activity in the Two-Dimensional Abelian Sandpile Model.
    """
    u = A / L**b
    return c0 * L**-a * u**-tau * jnp.exp(-c3 * u - c4 * u**2)


def _master(
    L: Numbers, J: Numbers, *, J_c: Numbers, nu: Numbers, x: Numbers, f0: Numbers, f1: Numbers, f2: Numbers, f3: Numbers
) -> Numbers:
    """Scaling function: a cubic in the scaled distance from the critical point."""
    z = (J - J_c) / J_c * L ** (1 / nu)
    return L ** (x / nu) * (f0 + z * (f1 + z * (f2 + z * f3)))


def _identified_coordinates(power: str, falling: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Own:
    """Coordinates of a correction ``1 + c * exp(-power * v)`` that the data determine: level, slope and curvature.

    At the middle of the sizes the correction makes up a share ``m`` of the response. There the master curve has the
    size ``F``, and the response grows with the size by ``s = x / nu - m * power * dv / d(ln L)``. Only the curvature of
    that growth separates ``m * power`` from ``x / nu``; ``f``, ``x`` and ``c`` are strongly correlated.

    Args:
        power: name of the power by which the correction falls.
        falling: ``v`` at ``ln L``.
        slope: ``dv / d(ln L)`` at ``ln L``.
    """

    def to_params(z: Sequence[Numbers] | Float[Array, "size ..."], centre: Centre) -> dict[str, Numbers]:
        edge = centre.middle["L"]
        nu, falls = jnp.exp(z[1]), jnp.exp(z[8])
        share = z[7] / falls
        x = nu * (z[2] + z[7] * slope(edge))
        size = centre.response_size * (1 - share)
        curve = {f"f{j}": z[3 + j] * size * jnp.exp(-(x + j) / nu * edge) for j in range(4)}
        c = share / (1 - share) * jnp.exp(jnp.minimum(falls * falling(edge), LARGEST))
        return {"J_c": jnp.exp(z[0] + centre.middle["J"]), "nu": nu, "x": x, **curve, "c": c, power: falls}

    def from_params(params: Mapping[str, Numbers], centre: Centre) -> list[Numbers]:
        edge = centre.middle["L"]
        nu, falls, x = params["nu"], params[power], params["x"]
        more = params["c"] * jnp.exp(-falls * falling(edge))
        share = more / (1 + more)
        curve = [params[f"f{j}"] * (1 + more) * jnp.exp((x + j) / nu * edge) / centre.response_size for j in range(4)]
        steepness = x / nu - share * falls * slope(edge)
        near = jnp.log(params["J_c"]) - centre.middle["J"]
        return [near, jnp.log(nu), steepness, *curve, share * falls, jnp.log(falls)]

    return to_params, from_params


_MASTER: dict[str, Any] = dict(
    J_c=location("J", range=(1e-2, 1e2), meaning="critical coupling"),
    nu=exponent(range=(0.3, 3.0), meaning="power by which the correlation length diverges"),
    x=exponent(real, range=(-3.0, 3.0), meaning="power of the correlation length in the response"),
    f0=coefficient(range=(-1.0, 10.0), meaning="master curve at the critical point"),
    f1=coefficient(meaning="slope of the master curve"),
    f2=coefficient(meaning="square term of the master curve"),
    f3=coefficient(meaning="cubic term of the master curve"),
)


@law(
    inputs=dict(L=EDGE, J=COUPLING),
    response=Response("", real),
    **_MASTER,
    c=coefficient(range=(-5.0, 5.0), meaning="size of the correction to scaling"),
    omega=exponent(range=(0.05, 4.0), meaning="power by which the correction falls"),
    coordinates=_identified_coordinates("omega", lambda edge: edge, lambda edge: 1.0),
    formula=r"y = L^{x/\nu} \sum_{j=0}^{3} f_j \left(t L^{1/\nu}\right)^{j} \left(1 + c L^{-\omega}\right),"
    r"\quad t = (J - J_c)/J_c",
    source="finite-size scaling, a standard form without a single source",
    affine=("f0", "f1", "f2", "f3"),
    checks=(
        Check(
            0.5947,
            at=dict(L=64.0, J=1.0),
            params=dict(J_c=1.0, nu=1.0, x=-0.125, f0=1.0, f1=0.0, f2=0.0, f3=0.0, c=0.5, omega=2.0),
        ),
    ),
)
def critical_fss(L, J, *, J_c, nu, x, f0, f1, f2, f3, c, omega):
    """Finite-size scaling: near a critical point the response depends on the distance scaled by the size.

    ``y = L**(x / nu) * (f0 + f1 * z + f2 * z**2 + f3 * z**3) * (1 + c * L**-omega)``,
    ``z = (J - J_c) / J_c * L**(1 / nu)``

    The cubic stands for the unknown master curve and holds where ``z`` is of order one. Data from
    fewer than three sizes leave ``c`` and ``omega`` open.

    Source: finite-size scaling, a standard form without a single source.
    """
    return _master(L, J, J_c=J_c, nu=nu, x=x, f0=f0, f1=f1, f2=f2, f3=f3) * (1 + c * L**-omega)


@law(
    inputs=dict(L=EDGE, J=COUPLING),
    response=Response("", real),
    **_MASTER,
    c=coefficient(range=(-5.0, 5.0), meaning="size of the logarithmic correction"),
    p=exponent(range=(0.05, 4.0), meaning="power of the logarithm by which the correction falls"),
    coordinates=_identified_coordinates("p", jnp.log, lambda edge: 1 / edge),
    formula=r"y = L^{x/\nu} \sum_{j=0}^{3} f_j \left(t L^{1/\nu}\right)^{j} \left(1 + \frac{c}{(\ln L)^{p}}\right),"
    r"\quad t = (J - J_c)/J_c",
    source="finite-size scaling, a standard form without a single source; "
    "Fisher Curvature Scaling at Critical Points, Zhuravlev 2026",
    affine=("f0", "f1", "f2", "f3"),
)
def critical_fss_log(L, J, *, J_c, nu, x, f0, f1, f2, f3, c, p):
    """Finite-size scaling where the correction falls with the logarithm of the size only.

    ``y = L**(x / nu) * (f0 + f1 * z + f2 * z**2 + f3 * z**3) * (1 + c / log(L)**p)``,
    ``z = (J - J_c) / J_c * L**(1 / nu)``

    It needs ``L > 1``. The variant of ``critical_fss`` for marginal cases; ``p = 2`` is quoted for
    a Potts model.

    Source: finite-size scaling, a standard form without a single source; Zhuravlev 2026.
    """
    return _master(L, J, J_c=J_c, nu=nu, x=x, f0=f0, f1=f1, f2=f2, f3=f3) * (1 + c * jnp.log(L) ** -p)


@law(
    inputs=dict(n=Input("sites", typical=(16.0, 1e6))),
    response=Response("", positive),
    c=positive_number(range=(1e-3, 1e3), meaning="curvature at one site"),
    d=positive_number(range=(1.0, 4.0), meaning="dimension of the lattice"),
    nu=exponent(range=(0.2, 3.0), meaning="power by which the correlation length diverges"),
    eta=exponent(range=(0.01, 1.5), meaning="anomalous dimension"),
    formula=r"|R| = c\, n^{d_R},\quad d_R = \frac{d \nu + 2 \eta}{d \nu + \eta}",
    source="Fisher Curvature Scaling at Critical Points, Zhuravlev 2026",
    affine=("c",),
)
def fisher_curvature(n, *, c, d, nu, eta):
    """The curvature of the Fisher metric at a critical point grows slightly faster than the sites.

    ``|R| = c * n**d_R``, ``d_R = (d * nu + 2 * eta) / (d * nu + eta)``, with ``n = L**d`` sites

    One slope determines only ``d_R``: fix ``d``, an integer, and one of ``nu`` and ``eta``. Measured are
    1.1115 for the Ising model in two dimensions and 1.040 in three.

    Source: Zhuravlev 2026.
    """
    return c * n ** ((d * nu + 2 * eta) / (d * nu + eta))
