"""Time series, recommendation, robots and world models."""

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    positive,
    positive_number,
    real,
    scale,
    unit,
)

FAMILY = "modalities"
DEMONSTRATIONS = dict(a=0.8, b=-0.5, n_base=5.0)


@law(
    inputs=dict(X=Input("parameters, data points or FLOPs", lower=1e3)),
    response=Response("forecast error", positive),
    X_c=scale(X="alpha_X", range=(1e-9, 1e20), meaning="size at which the error is 1"),
    alpha_X=exponent(meaning="slope of log error in log size, with its sign turned"),
    formula=r"L = \left(\frac{X_c}{X}\right)^{\alpha_X}",
    source="Towards Neural Scaling Laws for Time Series Foundation Models, Yao 2024",
    decreasing=("X",),
)
def tsfm_power(X, *, X_c, alpha_X):
    """Forecast error of a time series foundation model by one of its sizes.

    ``L = (X_c / X)**alpha_X``

    In and out of distribution the slope ``alpha_X`` is the same, so the two errors keep their ratio:
    fit ``X_c`` by group. A log-likelihood of densities can cross zero and then needs another response.

    Source: Yao 2024.
    """
    return (X_c / X) ** alpha_X


@law(
    inputs=dict(N_sys=Input("systems", typical=(1.0, 1e6))),
    response=Response("forecast error", positive),
    A=amplitude(N_sys="alpha", range=(1e-3, 1e6), meaning="size of the term of the systems"),
    alpha=exponent(meaning="power of the number of systems"),
    E=floor(meaning="error that more systems do not remove"),
    formula=r"\mathrm{err} = A N_\mathrm{sys}^{-\alpha} + E",
    source="Panda: A pretrained forecast model for universal representation of chaotic dynamics, Lai 2025; "
    "unconfirmed form",
    affine=("A", "E"),
    decreasing=("N_sys",),
)
def systems_power(N_sys, *, A, alpha, E):
    """Error of forecasts of unseen dynamical systems, by the number of training systems.

    ``err = A * N_sys**-alpha + E``

    The number of data points is held fixed: more systems mean fewer trajectories of each.

    Source: Lai 2025; unconfirmed form.
    """
    return A * N_sys**-alpha + E


@law(
    inputs=dict(d=Input("dimensions", typical=(1.0, 1e5))),
    response=Response("ranking metric", real),
    a=coefficient(range=(-1.0, 2.0), meaning="metric at one dimension"),
    b=coefficient(range=(-0.5, 1.0), meaning="change of the metric per factor e of dimensions"),
    formula=r"M = a + b \log d",
    source="Understanding Embedding Scaling in Collaborative Filtering, He 2025, arXiv:2509.15709; unconfirmed form",
    affine=("a", "b"),
)
def embedding_log(d, *, a, b):
    """Quality of a recommender by the dimension of its embeddings.

    ``M = a + b * log(d)``

    Twice the dimensions add ``b * log(2)``. Models that are not robust to noise rise and fall twice
    instead; a law with three breaks is a candidate there.

    Source: He 2025, arXiv:2509.15709; unconfirmed form.
    """
    return a + b * jnp.log(d)


@law(
    inputs=dict(n=Input("demonstrations", low=-1.0, typical=(1.0, 1e3))),
    response=Response("success rate", unit),
    a=positive_number(range=(0.01, 1.0), meaning="failure rate at one demonstration in all"),
    b=exponent(real, range=(-2.0, -0.01), meaning="slope of log failure rate in log demonstrations"),
    n_base=positive_number(range=(1.0, 1e3), meaning="demonstrations of the factor already in the data"),
    formula=r"\Phi = 1 - a\,(n + n_\mathrm{base})^{b}",
    source="Guiding Data Collection via Factored Scaling Curves, Zha 2025",
    affine=("a",),
    checks=(
        Check(0.84, at=dict(n=20.0), params=DEMONSTRATIONS, rtol=5e-3),
        Check(0.6422, at=dict(n=0.0), params=DEMONSTRATIONS),
    ),
)
def factored_curve(n, *, a, b, n_base):
    """Success rate of a robot policy by the demonstrations added for one factor of variation.

    ``Phi = 1 - a * (n + n_base)**b`` with ``b < 0``

    ``n_base`` is normally known and held fixed: curves of about four points fix two parameters at most.
    The rise ``(Phi(n + K) - Phi(n)) / K`` says for which factor to collect next.

    Source: Zha 2025.
    """
    return 1 - a * (n + n_base) ** b


@law(
    inputs=dict(C=Input("FLOPs", lower=1e9, typical=(1e15, 1e24))),
    response=Response("loss", positive),
    c0=amplitude(C="c", range=(1e-3, 1e9), meaning="loss at one FLOP"),
    c=exponent(meaning="slope of log loss in log compute, with its sign turned"),
    formula=r"L = c_0 C^{-c}",
    source="Scaling Laws for Pre-training Agents and World Models, Pearce 2024",
    affine=("c0",),
    decreasing=("C",),
)
def world_model_frontier(C, *, c0, c):
    """Lowest loss of a world model or of a cloned agent at each compute.

    ``L = c0 * C**-c``

    Both parameters depend on the tokenizer and on the task.

    Source: Pearce 2024.
    """
    return c0 * C**-c
