"""Attention: number of heads, their cost, and kinds of attention."""

import jax.numpy as jnp

from jaxscale.law import (
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    fraction,
    law,
    positive,
    real,
    scale,
)

FAMILY = "architecture"
PARAMETERS = Input("parameters", lower=1e5)
LOSS = Response("nat/token", positive)
GQA = "Cost-Optimal Grouped-Query Attention for Long-Context Modeling, Chen 2025"


@law(
    inputs=dict(N=PARAMETERS),
    response=LOSS,
    a_H=scale(N="b_H", range=(1.0, 1e16), unit="parameters", meaning="model size at which the model term is 1"),
    b_H=exponent(meaning="power of the parameters"),
    E_H=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = \left(\frac{a_H}{N}\right)^{b_H} + E_H",
    source=GQA,
    affine=("E_H",),
    decreasing=("N",),
)
def gqa_loss(N, *, a_H, b_H, E_H):
    """The loss at one choice of attention heads is a power law of size above a floor.

    ``L = (a_H / N)**b_H + E_H``

    One fit for each pair of query heads and key-value heads; the size that reaches a loss is
    ``N = a_H / (L - E_H)**(1 / b_H)``. The length of the context is taken not to interact with either.

    Source: Chen 2025.
    """
    return (a_H / N) ** b_H + E_H


@law(
    inputs=dict(n_h=Input("heads", typical=(1.0, 256.0))),
    response=LOSS,
    a=amplitude(n_h="-b", range=(1e-4, 10.0), meaning="distance from the floor with one head"),
    b=exponent(real, range=(-2.0, -0.01), meaning="power of the heads"),
    c=floor(unit="nat/token", meaning="loss with very many heads"),
    formula=r"L = a n_h^{b} + c",
    source=f"{GQA}; unconfirmed form",
    affine=("a", "c"),
    decreasing=("n_h",),
)
def gqa_heads(n_h, *, a, b, c):
    """The loss falls as a power of the number of attention heads, towards a floor.

    ``L = a * n_h**b + c``

    ``b`` is negative. All else is fixed, the size of a head included.

    Source: Chen 2025; unconfirmed form.
    """
    return a * n_h**b + c


@law(
    inputs=dict(
        N=PARAMETERS,
        T=Input("tokens of context", typical=(1e3, 1e6)),
        n_l=Input("layers", typical=(2.0, 128.0)),
        d_h=Input("width of a head", typical=(32.0, 256.0)),
        n_h=Input("query heads", typical=(4.0, 128.0)),
        n_kv=Input("key-value heads", typical=(1.0, 64.0)),
    ),
    response=Response("cost", positive),
    lam=fraction(meaning="weight of memory against compute"),
    formula=r"Z = \lambda \sqrt{M} + (1 - \lambda) C^{1/3},\;"
    r"M = N + 2 T n_l d_h n_{kv},\; C = 2 N + 4 T n_l d_h n_h",
    source=f"{GQA}; unconfirmed form",
    affine=("lam",),
    published=dict(chen2025=dict(lam=0.9)),
)
def gqa_cost(N, T, n_l, d_h, n_h, n_kv, *, lam):
    """Serving cost of a model: memory of weights and cache, against compute for each token.

    ``Z = lam * sqrt(M) + (1 - lam) * C**(1/3)`` with ``M = N + 2 * T * n_l * d_h * n_kv`` numbers
    in memory and ``C = 2 * N + 4 * T * n_l * d_h * n_h`` FLOPs for each token

    ``lam`` is chosen, not fitted: ``lam=1`` leaves the memory and ``lam=0`` the compute. Compare choices
    of heads along the sizes that reach one loss by ``gqa_loss``.

    Source: Chen 2025; unconfirmed form.
    """
    M = N + 2 * T * n_l * d_h * n_kv
    C = 2 * N + 4 * T * n_l * d_h * n_h
    return lam * jnp.sqrt(M) + (1 - lam) * jnp.cbrt(C)


@law(
    inputs=dict(N=Input("active parameters", lower=PARAMETERS.lower)),
    response=Response("nat", positive),
    alpha=exponent(real, range=(0.01, 1.5), meaning="power of the parameters"),
    beta=coefficient(range=(-30.0, 10.0), meaning="log loss at one parameter, with its sign turned"),
    formula=r"L = e^{-\beta} N^{-\alpha}",
    source="Fast and Simplex: 2-Simplicial Attention in Triton, Roy 2025",
    decreasing=("N",),
)
def attention_exponent(N, *, alpha, beta):
    """A straight line of log loss in log size, whose slope compares kinds of attention.

    ``-log(L) = alpha * log(N) + beta``

    The floor is left out, so ratios of ``alpha`` between kinds of attention mean more than the values.
    With three sizes a floor could not be distinguished from the slope.

    Source: Roy 2025.
    """
    return jnp.exp(-beta - alpha * jnp.log(N))
