"""Stability of training: noise, sharpness, branch scales and bounds on gradients."""

import math

import jax.numpy as jnp

from jaxscale.law import (
    Input,
    Response,
    amplitude,
    exponent,
    floor,
    law,
    positive,
    positive_number,
    real,
)

FAMILY = "theory"
SAMPLES = Input("samples", typical=(10.0, 1e8))
NOISE = "Dissecting the Effects of SGD Noise in Distinct Regimes of Deep Learning, Sclocchi 2023; unconfirmed form"
RATE = Input("learning rate", typical=(1e-5, 10.0))


@law(
    inputs=dict(P=SAMPLES),
    response=Response("temperature", positive),
    c=amplitude(P="a", range=(1e-9, 1e9), meaning="critical temperature at one sample"),
    a=exponent(real, range=(-1.0, 2.0), meaning="slope of its log in log samples, with its sign turned"),
    formula=r"T_c = c P^{-a}",
    source=NOISE,
    affine=("c",),
)
def sgd_noise(P, *, c, a):
    """Temperature of stochastic gradient descent at which its noise begins to matter.

    ``T_c = c * P**-a``, where the temperature is the learning rate divided by the batch size

    Curves of different ``P`` collapse when plotted against ``T * P**a``. The sign of ``a`` is open.

    Source: Sclocchi 2023; unconfirmed form.
    """
    return c * P**-a


@law(
    inputs=dict(T=Input("learning rate per batch size", typical=(1e-6, 10.0)), P=SAMPLES),
    response=Response("distance", positive),
    c=amplitude(T="-delta", P="-gamma", range=(1e-9, 1e9), meaning="change at temperature 1 of one sample"),
    delta=exponent(real, range=(-1.0, 2.0), meaning="power of the temperature"),
    gamma=exponent(real, range=(-1.0, 2.0), meaning="power of the samples"),
    formula=r"\Delta w = c\, T^{\delta} P^{\gamma}",
    source=NOISE,
    affine=("c",),
)
def sgd_noise_change(T, P, *, c, delta, gamma):
    """Change of the weights by the noise of stochastic gradient descent.

    ``change = c * T**delta * P**gamma``, where the temperature ``T`` is the learning rate divided by the
    batch size

    The signs of both powers are open.

    Source: Sclocchi 2023; unconfirmed form.
    """
    return c * T**delta * P**gamma


@law(
    inputs=dict(L_d=Input("layers", typical=(1.0, 1e4))),
    response=Response("multiplier", positive),
    c=amplitude(L_d="s", range=(1e-2, 1e2), meaning="multiplier of a single layer, 1 in the theory"),
    s=exponent(meaning="power of the depth, 1/2 in the theory"),
    formula=r"\mathrm{multiplier} = c L_d^{-s},\; c = 1,\; s = \frac{1}{2}",
    source="Width and Depth Limits Commute in Residual Networks, Hayou 2023; unconfirmed form",
    affine=("c",),
    decreasing=("L_d",),
    published=dict(hayou2023=dict(c=1.0, s=0.5)),
)
def branch_scale(L_d, *, c, s):
    """Multiplier of residual branches that keeps the output of a deep network of order one.

    ``multiplier = c * L_d**-s``, with ``c = 1`` and ``s = 1/2`` in the theory

    Four times the depth halve the multiplier. Texts of the paper lose the root. ``c`` and ``s`` are left
    free so that a fit can test the rule.

    Source: Hayou 2023; unconfirmed form.
    """
    return c * L_d**-s


@law(
    inputs=dict(eta=RATE),
    response=Response("sharpness", positive),
    c=amplitude(eta="s", range=(1e-2, 1e2), meaning="sharpness at a learning rate of 1, 2 in the theory"),
    s=exponent(meaning="power of the learning rate, 1 in the theory"),
    formula=r"\lambda = c\, \eta^{-s},\; c = 2,\; s = 1",
    source="Super Consistency of Neural Network Landscapes and Learning Rate Transfer, Noci 2024; unconfirmed form",
    affine=("c",),
    decreasing=("eta",),
    published=dict(noci2024=dict(c=2.0, s=1.0)),
)
def edge_sharpness(eta, *, c, s):
    """Curvature at which full-batch training at a learning rate settles, at any width.

    ``lambda = c * eta**-s``, with ``c = 2`` and ``s = 1`` in the theory

    Twice the rate halve the sharpness. ``c`` and ``s`` are left free so that a fit can test the rule.

    Source: Noci 2024; unconfirmed form.
    """
    return c * eta**-s


@law(
    inputs=dict(eps=Input("side of a box", typical=(1e-6, 1.0))),
    response=Response("boxes", positive),
    c=amplitude(eps="D_f", range=(1e-3, 1e9), meaning="boxes of side 1"),
    D_f=exponent(range=(1.0, 2.0), meaning="fractal dimension"),
    formula=r"N_\mathrm{box} = c\, \epsilon^{-D_f}",
    source="The boundary of neural network trainability is fractal, Sohl-Dickstein 2024; unconfirmed form",
    affine=("c",),
    decreasing=("eps",),
)
def fractal_boundary(eps, *, c, D_f):
    """Boxes needed to cover the boundary between hyper-parameters that train and those that diverge.

    ``N_box = c * eps**-D_f`` with ``D_f`` between 1 and 2

    The counts of different box sizes come from one picture, so they vary more than Poisson counts.

    Source: Sohl-Dickstein 2024; unconfirmed form.
    """
    return c * eps**-D_f


@law(
    inputs=dict(gap=Input("loss", typical=(1e-3, 1e3)), slope=Input("squared gradient", typical=(1e-3, 1e3))),
    response=Response("squared gradient", positive),
    A=positive_number(range=(1e-3, 1e4), meaning="growth with the distance to the lowest loss"),
    B=positive_number(range=(1e-3, 1e4), meaning="growth with the squared norm of the true gradient"),
    C=floor(range=(0.0, 1e3), meaning="noise at the optimum"),
    formula=r"E|g|^2 \le 2A (F - F_\mathrm{min}) + B |\nabla F|^2 + C",
    source="Practical and Matching Gradient Variance Bounds for Black-Box Variational Bayesian Inference, Kim 2023",
    affine=("A", "B", "C"),
)
def abc_variance(gap, slope, *, A, B, C):
    """Bound on the size of the noisy gradients of black-box variational inference.

    ``E|g|**2 <= 2 * A * gap + B * slope + C`` with ``gap = F - F_min`` and ``slope = |grad F|**2``

    An upper bound: fit it as a high quantile or an envelope, not as a mean. At the optimum ``C`` is left.

    Source: Kim 2023.
    """
    return 2 * A * gap + B * slope + C


@law(
    inputs=dict(d=Input("dimensions", low=math.e, typical=(10.0, 1e12))),
    response=Response("batches", positive),
    c=positive_number(range=(1e-2, 1e3), meaning="factor of the bound"),
    formula=r"K \ge c \log \log d",
    source="Sample-Efficiency in Multi-Batch Reinforcement Learning: The Need for Dimension-Dependent Adaptivity, "
    "Johnson 2023; unconfirmed form",
    affine=("c",),
)
def loglog_batches(d, *, c):
    """Lower bound on the rounds of data collection in reinforcement learning.

    ``K >= c * log(log(d))`` for ``d > e``

    A lower bound, not a curve through data.

    Source: Johnson 2023; unconfirmed form.
    """
    return c * jnp.log(jnp.log(d))
