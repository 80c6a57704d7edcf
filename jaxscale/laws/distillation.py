"""Distillation: loss of students of a teacher."""

from typing import Any

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, positive, positive_number
from jaxscale.utils.arrays import Numbers

FAMILY = "transfer"
PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
NATS = Input("nat/token", typical=(1.5, 4.0))
LOSS = Response("nat/token", positive)
SOURCE = "Distillation Scaling Laws, Busbridge 2025, arXiv:2502.08606"
FORMULA = (
    r"L_S = L_T + L_T^{-c_0} \left(1 + \left(\frac{L_T}{\tilde L_S d_1}\right)^{1/f_1}\right)^{-c_1 f_1}"
    r"\left(\frac{A}{N_S^{\alpha}} + \frac{B}{D_S^{\beta}}\right)^{\gamma}"
)
RECALLED = dict(c0=2.549, c1=522.6, f1=0.090, d1=1.315, A=2243.0, alpha=0.321, B=24181.0, beta=0.637, gamma=0.764)
SUPERVISED = dict(E_s=1.220, A_s=3355.0, alpha_s=0.408, B_s=18186.0, beta_s=0.431, gamma_s=0.452)


def _log_power(
    N: Numbers, D: Numbers, A: Numbers, alpha: Numbers, B: Numbers, beta: Numbers, gamma: Numbers
) -> Numbers:
    """The log of ``(A / N**alpha + B / D**beta)**gamma``."""
    return gamma * jnp.logaddexp(jnp.log(A) - alpha * jnp.log(N), jnp.log(B) - beta * jnp.log(D))


def _student(
    N_S: Numbers,
    D_S: Numbers,
    L_T: Numbers,
    Ls: Numbers,
    c0: Numbers,
    c1: Numbers,
    f1: Numbers,
    d1: Numbers,
    A: Numbers,
    alpha: Numbers,
    B: Numbers,
    beta: Numbers,
    gamma: Numbers,
) -> Numbers:
    # In logs, as (L_T / (Ls * d1))**(1 / f1) overflows where the turn is sharp.
    weak = jnp.logaddexp(0.0, (jnp.log(L_T) - jnp.log(Ls) - jnp.log(d1)) / f1)
    return L_T + jnp.exp(-c0 * jnp.log(L_T) - c1 * f1 * weak + _log_power(N_S, D_S, A, alpha, B, beta, gamma))


def _declarations() -> dict[str, Any]:
    """Shared declarations of both laws."""
    return dict(
        c0=exponent(range=(0.05, 10.0), meaning="power of the teacher loss where the teacher is strong"),
        c1=positive_number(range=(0.1, 2e3), meaning="slope in log teacher loss past the turn, with its sign turned"),
        f1=positive_number(range=(0.02, 5.0), meaning="width of the turn in log teacher loss"),
        d1=positive_number(range=(0.1, 10.0), meaning="teacher loss at the turn, as a share of the supervised loss"),
        A=amplitude(N_S="alpha", range=(1.0, 1e9), meaning="size of the model term"),
        alpha=exponent(meaning="power of the parameters"),
        B=amplitude(D_S="beta", range=(1.0, 1e9), meaning="size of the data term"),
        beta=exponent(meaning="power of the tokens"),
        gamma=exponent(meaning="outer power"),
    )


@law(
    inputs=dict(N_S=PARAMETERS, D_S=TOKENS, L_T=NATS),
    response=LOSS,
    E_s=floor(unit="nat/token", meaning="irreducible loss of supervised training"),
    A_s=amplitude(N_S="alpha_s", range=(1.0, 1e9), meaning="size of the model term of supervised training"),
    alpha_s=exponent(meaning="power of the parameters in supervised training"),
    B_s=amplitude(D_S="beta_s", range=(1.0, 1e9), meaning="size of the data term of supervised training"),
    beta_s=exponent(meaning="power of the tokens in supervised training"),
    gamma_s=exponent(meaning="outer power of supervised training"),
    **_declarations(),
    formula=FORMULA
    + r",\; \tilde L_S = E_s + \left(\frac{A_s}{N_S^{\alpha_s}} + \frac{B_s}{D_S^{\beta_s}}\right)^{\gamma_s}",
    source=SOURCE,
    checks=tuple(
        Check(value, at=dict(N_S=1e9, D_S=2e10, L_T=L_T), params={**SUPERVISED, **RECALLED})
        for L_T, value in ((1.6, 2.262), (2.0, 2.277), (2.6, 2.601), (1.723, 2.252))
    ),
)
def distillation(N_S, D_S, L_T, *, E_s, A_s, alpha_s, B_s, beta_s, gamma_s, c0, c1, f1, d1, A, alpha, B, beta, gamma):
    """Loss of a distilled student by its size, its tokens and the loss of its teacher.

    ``L_S = L_T + L_T**-c0 * (1 + (L_T / (Ls * d1))**(1 / f1))**(-c1 * f1) * (A / N_S**alpha + B / D_S**beta)**gamma``
    with ``Ls = E_s + (A_s / N_S**alpha_s + B_s / D_S**beta_s)**gamma_s``, the loss of supervised training

    Fit the supervised law first, to runs without a teacher, and fix its six parameters here; or hand its
    predictions to ``distillation_staged``. The loss of a poor teacher is the student's own.

    Source: Busbridge 2025, arXiv:2502.08606.
    """
    Ls = E_s + jnp.exp(_log_power(N_S, D_S, A_s, alpha_s, B_s, beta_s, gamma_s))
    return _student(N_S, D_S, L_T, Ls, c0, c1, f1, d1, A, alpha, B, beta, gamma)


@law(
    inputs=dict(N_S=PARAMETERS, D_S=TOKENS, L_T=NATS, Ls=NATS),
    response=LOSS,
    **_declarations(),
    formula=FORMULA,
    source=SOURCE,
    checks=tuple(
        Check(value, at=dict(N_S=1e9, D_S=2e10, L_T=L_T, Ls=2.375), params=RECALLED)
        for L_T, value in ((1.6, 2.262), (2.0, 2.277), (2.6, 2.601), (1.723, 2.252))
    ),
)
def distillation_staged(N_S, D_S, L_T, Ls, *, c0, c1, f1, d1, A, alpha, B, beta, gamma):
    """Loss of a distilled student, given its loss under supervised training.

    ``L_S = L_T + L_T**-c0 * (1 + (L_T / (Ls * d1))**(1 / f1))**(-c1 * f1) * (A / N_S**alpha + B / D_S**beta)**gamma``

    ``Ls`` is what the student would reach without a teacher, predicted by a law fitted first. Against the
    teacher's loss the student's is a U: a teacher may be too good for it.

    Source: Busbridge 2025, arXiv:2502.08606.
    """
    return _student(N_S, D_S, L_T, Ls, c0, c1, f1, d1, A, alpha, B, beta, gamma)
