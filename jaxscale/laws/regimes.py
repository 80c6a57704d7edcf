"""Solvable models of training whose exponents change between regimes."""

from typing import Any

import jax.numpy as jnp

from jaxscale.law import (
    Input,
    Parameter,
    Response,
    amplitude,
    exponent,
    floor,
    law,
    location,
    positive,
    positive_number,
)
from jaxscale.utils.arrays import Numbers

FAMILY = "theory"
LOSS = Response("loss", positive)
SPECTRA: dict[str, Any] = dict(
    a=exponent(range=(1.05, 4.0), meaning="power by which the target falls over the modes of the kernel"),
    b=exponent(range=(0.1, 4.0), meaning="power by which the eigenvalues of the kernel fall"),
)
E = floor(meaning="loss at infinite size, the other resources being what they are")
DYNAMICAL = "A Dynamical Model of Neural Scaling Laws, Bordelon 2024; unconfirmed form"
SOLVABLE = "A Solvable Model of Neural Scaling Laws, Maloney 2022, arXiv:2210.16859; unconfirmed form"
SIZES = dict(N=Input("features", typical=(1.0, 1e6)), T=Input("samples", typical=(1.0, 1e6)))


def _factor(meaning: str) -> Parameter:
    return positive_number(range=(1e-6, 1e9), meaning=meaning)


def _power(base: Numbers, power: Numbers) -> Numbers:
    return jnp.exp(power * jnp.log(base))


def _size_power(a: Numbers, b: Numbers) -> Numbers:
    return jnp.minimum(a - 1, 2 * b)


@law(
    inputs=dict(t=Input("steps", typical=(1.0, 1e6))),
    response=LOSS,
    E=E,
    c=_factor("loss above E after one step"),
    **SPECTRA,
    formula=r"L = E + c\, t^{-(a-1)/b}",
    source=DYNAMICAL,
    affine=("E", "c"),
    decreasing=("t",),
)
def dynamical_exponents_t(t, *, E, c, a, b):
    """Loss of a large model on ample data while training time limits it.

    ``L = E + c * t**(-(a - 1) / b)``

    Runs fix only ``(a - 1) / b``: hold ``a > 1`` or ``b`` at the value measured on the kernel's spectrum.

    Source: Bordelon 2024; unconfirmed form.
    """
    return E + c * _power(t, -(a - 1) / b)


@law(
    inputs=dict(N=Input("parameters", typical=(1.0, 1e6))),
    response=LOSS,
    E=E,
    c=_factor("loss above E at size 1"),
    **SPECTRA,
    formula=r"L = E + c N^{-m},\; m = \min(a - 1, 2b)",
    source=DYNAMICAL,
    affine=("E", "c"),
    decreasing=("N",),
)
def dynamical_exponents_n(N, *, E, c, a, b):
    """Loss after long training on ample data while the size of the model limits it.

    ``L = E + c * N**-m`` with ``m = min(a - 1, 2 * b)``

    Runs fix only ``m``, so hold ``b`` at its measured value; the power has a corner where the branch changes.
    Early in training the correction falls as ``1 / N`` instead, which is ``variance_limited``.

    Source: Bordelon 2024; unconfirmed form.
    """
    return E + c * _power(N, -_size_power(a, b))


@law(
    inputs=dict(P=Input("samples", typical=(1.0, 1e6))),
    response=LOSS,
    E=E,
    c=_factor("loss above E of one sample"),
    **SPECTRA,
    formula=r"L = E + c P^{-m},\; m = \min(a - 1, 2b)",
    source=DYNAMICAL,
    affine=("E", "c"),
    decreasing=("P",),
)
def dynamical_exponents_p(P, *, E, c, a, b):
    """Loss of a large model after long training while the number of samples limits it.

    ``L = E + c * P**-m`` with ``m = min(a - 1, 2 * b)``

    The power is that of the size of the model, with a prefactor of its own. Runs fix only ``m``, so hold ``b``
    at its measured value.

    Source: Bordelon 2024; unconfirmed form.
    """
    return E + c * _power(P, -_size_power(a, b))


@law(
    inputs=dict(C=Input("steps times parameters", typical=(1.0, 1e12))),
    response=Response("parameters", positive),
    c=_factor("best size at compute 1"),
    **SPECTRA,
    formula=r"N = c\, C^{(a-1)/(a-1+mb)},\; m = \min(a - 1, 2b)",
    source=DYNAMICAL,
    affine=("c",),
)
def dynamical_exponents_n_opt(C, *, c, a, b):
    """Best size of the model at a compute of ``C = N * t``.

    ``N = c * C**((a - 1) / (a - 1 + m * b))`` with ``m = min(a - 1, 2 * b)``

    Runs fix one power, so hold ``a`` or ``b`` at its measured value. With ``m = a - 1`` it is ``1 / (1 + b)``.

    Source: Bordelon 2024; unconfirmed form.
    """
    return c * _power(C, (a - 1) / (a - 1 + _size_power(a, b) * b))


@law(
    inputs=dict(C=Input("steps times parameters", typical=(1.0, 1e12))),
    response=Response("steps", positive),
    c=_factor("best number of steps at compute 1"),
    **SPECTRA,
    formula=r"t = c\, C^{mb/(a-1+mb)},\; m = \min(a - 1, 2b)",
    source=DYNAMICAL,
    affine=("c",),
)
def dynamical_exponents_t_opt(C, *, c, a, b):
    """Best number of training steps at a compute of ``C = N * t``.

    ``t = c * C**(m * b / (a - 1 + m * b))`` with ``m = min(a - 1, 2 * b)``

    Runs fix one power, so hold ``a`` or ``b`` at its measured value. With ``m = a - 1`` it is ``b / (1 + b)``.

    Source: Bordelon 2024; unconfirmed form.
    """
    m = _size_power(a, b)
    return c * _power(C, m * b / (a - 1 + m * b))


@law(
    inputs=dict(C=Input("steps times parameters", typical=(1.0, 1e12))),
    response=LOSS,
    E=E,
    c=_factor("loss above E at compute 1"),
    **SPECTRA,
    formula=r"L = E + c\, C^{-m(a-1)/(a-1+mb)},\; m = \min(a - 1, 2b)",
    source=DYNAMICAL,
    affine=("E", "c"),
    decreasing=("C",),
)
def dynamical_exponents_l_opt(C, *, E, c, a, b):
    """Loss when a compute of ``C = N * t`` is split in the best way between size and steps.

    ``L = E + c * C**(-m * (a - 1) / (a - 1 + m * b))`` with ``m = min(a - 1, 2 * b)``

    Runs fix one power, so hold ``a`` or ``b`` at its measured value. With ``m = a - 1`` it is
    ``(a - 1) / (1 + b)``.

    Source: Bordelon 2024; unconfirmed form.
    """
    m = _size_power(a, b)
    return E + c * _power(C, -m * (a - 1) / (a - 1 + m * b))


@law(
    inputs=dict(
        r=Input("steps", typical=(1e2, 1e8)),
        d=Input("parameters", typical=(10.0, 1e6)),
        B=Input("samples", typical=(1.0, 1e3)),
        gm=Input("learning rate", typical=(1e-2, 1.0)),
    ),
    response=Response("risk", positive),
    a=exponent(range=(0.5, 2.0), meaning="power by which the data's spectrum falls"),
    b=exponent(range=(0.05, 2.0), meaning="power by which the target falls"),
    c_F0=_factor("size of the term of the model's capacity"),
    c_Fpp=_factor("size of the term of the clean modes"),
    c_Fac=_factor("size of the term of the distorted modes"),
    c_Kpp=_factor("size of the term of the noise of the gradient"),
    formula=r"P = c_{F0} d^{-2a + \max(0, 1 - 2b)} + c_{Fpp} s^{-(1 + b/a - 1/(2a))}"
    r" + c_{Fac} d^{-1} s^{-(1 - 1/(2a))} + c_{Kpp} s^{-(2 - 1/(2a))},\; s = \gamma B r",
    source="4+3 Phases of Compute-Optimal Neural Scaling Laws, Paquette 2024; unconfirmed form",
    affine=("c_F0", "c_Fpp", "c_Fac", "c_Kpp"),
    decreasing=("r", "d"),
)
def phases_4plus3(r, d, B, gm, *, a, b, c_F0, c_Fpp, c_Fac, c_Kpp):
    """Risk of a random-feature model under stochastic gradient descent, as a sum of four power laws.

    ``P = c_F0 * d**(-2 * a + max(0, 1 - 2 * b)) + c_Fpp * s**-(1 + b / a - 1 / (2 * a))
    + c_Fac / d * s**-(1 - 1 / (2 * a)) + c_Kpp * s**-(2 - 1 / (2 * a))`` with ``s = gm * B * r``

    ``gm`` is the learning rate and ``B`` the batch. Which two terms meet at the best split of a compute of
    ``d * r`` makes the phase, for ``2 * a > 1``: ``2 * b < 1``, or ``b < a``, or ``b > a``. The term with
    ``c_Fac`` belongs to ``2 * b > 1`` only; hold it at a tiny value otherwise.

    Source: Paquette 2024; unconfirmed form.
    """
    log_s, log_d = jnp.log(gm) + jnp.log(B) + jnp.log(r), jnp.log(d)
    capacity = c_F0 * jnp.exp((-2 * a + jnp.maximum(0.0, 1 - 2 * b)) * log_d)
    clean = c_Fpp * jnp.exp(-(1 + b / a - 0.5 / a) * log_s)
    distorted = c_Fac * jnp.exp(-log_d - (1 - 0.5 / a) * log_s)
    noise = c_Kpp * jnp.exp(-(2 - 0.5 / a) * log_s)
    return capacity + clean + distorted + noise


@law(
    inputs=SIZES,
    response=LOSS,
    c=amplitude(N="alpha", range=(1e-6, 1e9), meaning="loss at one feature or sample"),
    alpha=exponent(meaning="power of the scarcer of features and samples"),
    M=location("N", meaning="number of modes in the spectrum"),
    formula=r"L = c\, \min(N, T, M)^{-\alpha}",
    source=SOLVABLE,
    affine=("c",),
    decreasing=("N", "T"),
)
def solvable_min(N, T, *, c, alpha, M):
    """Loss limited by the smaller of features and samples, until the spectrum of the data is exhausted.

    ``L = c * min(N, T, M)**-alpha``

    The law is the same with ``N`` and ``T`` exchanged, so the best split has them about equal. Where no
    plateau is seen, hold ``M`` at a huge value. ``solvable_min_smooth`` rounds the corners.

    Source: Maloney 2022, arXiv:2210.16859; unconfirmed form.
    """
    return c * jnp.exp(-alpha * jnp.log(jnp.minimum(jnp.minimum(N, T), M)))


@law(
    inputs=SIZES,
    response=LOSS,
    c=amplitude(N="alpha", range=(1e-6, 1e9), meaning="loss at one feature or sample"),
    alpha=exponent(meaning="power of the scarcer of features and samples"),
    M=location("N", meaning="number of modes in the spectrum"),
    q=positive_number(range=(1.0, 20.0), meaning="sharpness of the corners"),
    formula=r"L = c \left(N^{-q} + T^{-q} + M^{-q}\right)^{\alpha/q}",
    source=SOLVABLE,
    affine=("c",),
    decreasing=("N", "T"),
)
def solvable_min_smooth(N, T, *, c, alpha, M, q):
    """Loss limited by features and samples, with a smooth crossover.

    ``L = c * (N**-q + T**-q + M**-q)**(alpha / q)`` with ``q > 1``

    A stand-in for the model's exact solution, which no formula gives. As ``q`` grows it becomes ``solvable_min``;
    where no plateau is seen, hold ``M`` at a huge value.

    Source: Maloney 2022, arXiv:2210.16859; unconfirmed form.
    """
    either = jnp.logaddexp(-q * jnp.log(N), -q * jnp.log(T))
    return c * jnp.exp(alpha / q * jnp.logaddexp(either, -q * jnp.log(M)))
