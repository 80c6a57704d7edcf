"""Exponents that theories of neural scaling predict."""

import jax.numpy as jnp

from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive, positive_number, scale

LOSS = Response("loss", positive)
SIZE = Input("samples, parameters or width", typical=(1.0, 1e9))
UNITS = Input("parameters", typical=(10.0, 1e7))
WIDTH = Input("dimensions", typical=(2.0, 1e5))
FREQUENCY = exponent(range=(1.05, 4.0), meaning="power by which the frequency of the features falls, above 1")
FACTOR = positive_number(range=(1e-6, 1e9), meaning="loss that the term would have at size 1")
EXPLAINING = "Explaining Neural Scaling Laws, Bahri 2021"
LOTTERY = "A Neural Scaling Law from Lottery Ticket Ensembling, Liu 2023"
SUPERPOSITION = "Superposition Yields Robust Neural Scaling, Liu 2025"


@law(
    inputs=dict(X=SIZE),
    response=LOSS,
    L_inf=floor(meaning="loss at infinite X, the other resource being what it is"),
    c=FACTOR,
    formula=r"L = L_\infty + \frac{c}{X}",
    source=EXPLAINING,
    affine=("L_inf", "c"),
    decreasing=("X",),
)
def variance_limited(X, *, L_inf, c):
    """Loss near its limit in one resource while the other is ample, with exponent 1.

    ``L = L_inf + c / X``

    ``X`` is the number of samples, of parameters or the width. Fit a power law with a floor beside it to
    test the power.

    Source: Bahri 2021.
    """
    return L_inf + c / X


@law(
    inputs=dict(X=SIZE),
    response=LOSS,
    X_c=scale(X="alpha", meaning="size at which the loss is 1"),
    alpha=exponent(range=(0.01, 4.5), meaning="slope of log loss in log size, with its sign turned"),
    formula=r"L = \left(\frac{X_c}{X}\right)^{\alpha},\; \alpha \approx \frac{4}{d}",
    source=EXPLAINING,
    decreasing=("X",),
)
def resolution_limited(X, *, X_c, alpha):
    """Loss while one resource limits the resolution of the data manifold.

    ``L = (X_c / X)**alpha``, with ``alpha`` about ``4 / d`` for data of intrinsic dimension ``d``

    The theory gives samples and parameters the same ``alpha``: that of the kernel's spectrum
    ``i**-(1 + alpha)``. The values of ``alpha`` are less certain than the form.

    Source: Bahri 2021.
    """
    return (X_c / X) ** alpha


@law(
    inputs=dict(N=UNITS),
    response=LOSS,
    c=FACTOR,
    formula=r"L = \frac{c}{N}",
    source=LOTTERY,
    affine=("c",),
    decreasing=("N",),
)
def lottery_ticket(N, *, c):
    """Error of a network that averages over copies of a winning subnetwork.

    ``L = c / N``

    This was observed; ``lottery_ticket_theory`` is the alternative that theory suggests. Both
    have fixed powers: compare how they fit.

    Source: Liu 2023.
    """
    return c / N


@law(
    inputs=dict(N=UNITS),
    response=LOSS,
    c=FACTOR,
    d=positive_number(range=(0.5, 100.0), meaning="dimension of the input of the task"),
    formula=r"L = c N^{-4/d}",
    source=LOTTERY,
    affine=("c",),
    decreasing=("N",),
)
def lottery_ticket_theory(N, *, c, d):
    """Error of a network that partitions a ``d``-dimensional input.

    ``L = c * N**(-4 / d)``

    The alternative to ``lottery_ticket``, whose power is 1 in every dimension: in one dimension this one falls
    with the fourth power. Hold ``d`` at the dimension of the task to test it.

    Source: Liu 2023.
    """
    return c * jnp.exp(-4.0 / d * jnp.log(N))


@law(
    inputs=dict(m=WIDTH),
    response=LOSS,
    c=amplitude(m="s", range=(1e-6, 1e9), meaning="loss at width 1"),
    s=exponent(range=(0.01, 5.0), meaning="power of the width"),
    formula=r"L = c m^{-s}",
    source=SUPERPOSITION,
    affine=("c",),
    decreasing=("m",),
)
def superposition_exponent(m, *, c, s):
    """Loss of a model that stores more features than it has dimensions, with a free power of the width.

    ``L = c * m**-s``

    Compare the fitted ``s`` with the values of ``superposition_exponent_weak``, ``_strong`` and ``_rival``.

    Source: Liu 2025.
    """
    return c * m**-s


@law(
    inputs=dict(m=WIDTH),
    response=LOSS,
    c=amplitude(m="a", range=(1e-6, 1e9), meaning="loss at width 1"),
    a=FREQUENCY,
    formula=r"L = c m^{-(a - 1)}",
    source=SUPERPOSITION,
    affine=("c",),
    decreasing=("m",),
)
def superposition_exponent_weak(m, *, c, a):
    """Loss of a model that stores the most frequent features only: the frequency of all others.

    ``L = c * m**-(a - 1)`` for features of frequency ``i**-a``, ``a > 1``

    Weak superposition: each dimension holds one feature. Hold ``a`` at its measured value to test the theory.

    Source: Liu 2025.
    """
    return c * jnp.exp(-(a - 1) * jnp.log(m))


@law(
    inputs=dict(m=WIDTH),
    response=LOSS,
    c=FACTOR,
    formula=r"L = \frac{c}{m}",
    source=SUPERPOSITION,
    affine=("c",),
    decreasing=("m",),
)
def superposition_exponent_strong(m, *, c):
    """Loss of a model that stores all features, overlapping: it falls with the width whatever the features.

    ``L = c / m``

    Strong superposition, for a broad class of feature frequencies.

    Source: Liu 2025.
    """
    return c / m


@law(
    inputs=dict(m=WIDTH),
    response=LOSS,
    c=amplitude(m="a", range=(1e-6, 1e9), meaning="loss at width 1"),
    a=FREQUENCY,
    formula=r"L = c m^{-2(a - 1)}",
    source=SUPERPOSITION,
    affine=("c",),
    decreasing=("m",),
)
def superposition_exponent_rival(m, *, c, a):
    """Loss of a model that stores all features, where a few of them are far more frequent than the rest.

    ``L = c * m**(-2 * (a - 1))`` for features of frequency ``i**-a``, ``a > 1``

    The alternative to ``superposition_exponent_strong`` for skewed frequencies; the two agree at ``a = 1.5``.
    Hold ``a`` at its measured value to test it; where it takes over is less certain than the rest.

    Source: Liu 2025.
    """
    return c * jnp.exp(-2 * (a - 1) * jnp.log(m))


@law(
    inputs=dict(
        N=Input("samples", typical=(10.0, 1e7)),
        d=Input("dimensions", typical=(2.0, 100.0)),
        K_F=Input("sharpness of the labels", typical=(1e-2, 1e3)),
    ),
    response=LOSS,
    c=positive_number(range=(1e-6, 1e6), meaning="loss of one sample at sharpness 1: log c is the constant"),
    formula=r"\log L = -\frac{1}{d} \log N + \log K_F + \log c",
    source="The Effect of Intrinsic Dataset Properties on Generalization, Konz 2024",
    affine=("c",),
    decreasing=("N",),
)
def intrinsic_dimension(N, d, K_F, *, c):
    """Test loss by the number of samples, the intrinsic dimension of the data and the labels' sharpness.

    ``log L = -log(N) / d + log(K_F) + log(c)``; the response is ``L``

    A bound, used as a law across data sets. The dimension of the learned representation, which is not
    larger, can stand for ``d``.

    Source: Konz 2024.
    """
    return c * K_F * jnp.exp(-jnp.log(N) / d)


@law(
    inputs=dict(
        N=Input("samples", typical=(10.0, 1e7)),
        nu_g=Input("derivatives", typical=(0.5, 5.0)),
        nu_h=Input("derivatives", typical=(0.5, 5.0)),
        d_in=Input("dimensions", typical=(1.0, 50.0)),
        d_mid=Input("dimensions", typical=(1.0, 50.0)),
    ),
    response=LOSS,
    c=FACTOR,
    formula=r"\mathrm{err} = c N^{-\min\left(\frac{1}{2},\, \frac{\nu_g}{d_\mathrm{in}},"
    r"\, \frac{\nu_h}{d_\mathrm{mid}}\right)}",
    source="How DNNs break the Curse of Dimensionality: Compositionality and Symmetry Learning, Jacot 2024; "
    "unconfirmed form",
    affine=("c",),
)
def composition_min(N, nu_g, nu_h, d_in, d_mid, *, c):
    """Test error of a network that learns a composition of two functions: the harder one determines the exponent.

    ``err = c * N**-min(1/2, nu_g / d_in, nu_h / d_mid)``

    ``nu_g`` and ``nu_h`` are the derivatives that the inner and the outer function have, ``d_in`` and
    ``d_mid`` the dimensions they start from. The slope jumps where the branch changes.

    Source: Jacot 2024; unconfirmed form.
    """
    power = jnp.minimum(0.5, jnp.minimum(nu_g / d_in, nu_h / d_mid))
    return c * jnp.exp(-power * jnp.log(N))
