"""Parallel streams of computation through one model."""

import jax.numpy as jnp

from jaxscale.law import Input, Response, exponent, floor, fraction, law, positive, positive_number, scale

FAMILY = "architecture"
PARAMETERS = Input("parameters", lower=1e5)
STREAMS = Input("streams", low=0.99, typical=(1.0, 64.0))
LOSS = Response("nat/token", positive)
SOURCE = "Parallel Scaling Law for Language Models, Chen 2025"


@law(
    inputs=dict(N=PARAMETERS, P=STREAMS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=scale(N="alpha", range=(1e2, 1e13), unit="parameters", meaning="model size at which the model term is 1"),
    k=positive_number(range=(0.01, 5.0), meaning="gain in size for each factor e of streams"),
    alpha=exponent(meaning="power of the parameters"),
    formula=r"L = E + \left(\frac{A}{N (k \ln P + 1)}\right)^{\alpha}",
    source=SOURCE,
    affine=("E",),
    decreasing=("N", "P"),
)
def parallel_streams(N, P, *, E, A, k, alpha):
    """P parallel streams multiply the effective size of a model by a factor linear in log P.

    ``L = E + (A / (N * (k * log(P) + 1)))**alpha``

    ``P`` is a whole number from 1, where the law is a power law with a floor. The log is taken as
    natural; another base only rescales ``k``.

    Source: Chen 2025.
    """
    return E + (A / (N * (k * jnp.log(P) + 1))) ** alpha


@law(
    inputs=dict(N=PARAMETERS, P=STREAMS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=scale(N="alpha", range=(1e2, 1e13), unit="parameters", meaning="model size at which the model term is 1"),
    rho=fraction(meaning="correlation of the residuals of the streams"),
    alpha=exponent(meaning="power of the parameters"),
    formula=r"L = E + \left(\frac{A}{N P^{1/\alpha} \left((P - 1)\rho + 1\right)^{-1/\alpha}}\right)^{\alpha}",
    source=SOURCE,
    affine=("E",),
    decreasing=("N", "P"),
)
def parallel_streams_rho(N, P, *, E, A, rho, alpha):
    """Streams whose residuals are correlated lower the reducible loss as an average of them would.

    ``L = E + (A / (N * P**(1 / alpha) * ((P - 1) * rho + 1)**(-1 / alpha)))**alpha``, which is
    ``E + (A / N)**alpha * ((P - 1) * rho + 1) / P``

    At ``rho = 1`` more streams gain nothing, at ``rho = 0`` they divide the reducible loss by ``P``. The
    theory behind ``parallel_streams``, which fits measured losses.

    Source: Chen 2025.
    """
    return E + (A / N) ** alpha * ((P - 1) * rho + 1) / P
