"""Loss and learning rate along one training run."""

import jax.numpy as jnp

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
    scale,
)
from jaxscale.law.root_finding import bracketed_root

STEPS = Input("steps", typical=(1e2, 1e7))
LOSS = Response("nat/token", positive)
DECELERATION = "Training Dynamics Underlying Language Model Scaling Laws: Loss Deceleration and Zero-Sum Learning"


@law(
    inputs=dict(
        N=Input("non-embedding parameters", lower=1e5), S=STEPS, B=Input("tokens", lower=1e3, typical=(1e4, 1e9))
    ),
    response=LOSS,
    N_c=scale(N="a_N", unit="parameters", meaning="model size at which its term is 1"),
    a_N=exponent(meaning="power of the parameters"),
    S_c=scale(S="a_S", unit="steps", meaning="number of steps at which their term is 1"),
    a_S=exponent(meaning="power of the steps"),
    B_star=location("B", range=(1e3, 1e13), unit="tokens", meaning="critical batch size at a loss of 1"),
    a_B=exponent(meaning="power that ties the loss to the critical batch size"),
    formula=r"L = \left(\frac{N_c}{N}\right)^{a_N} + \left(\frac{S_c}{S_\mathrm{min}}\right)^{a_S},\;"
    r"S_\mathrm{min} = \frac{S}{1 + B_\mathrm{crit}(L)/B},\; B_\mathrm{crit}(L) = \frac{B_*}{L^{1/a_B}}",
    source="Unraveling the Mystery of Scaling Laws: Part I, Su 2024; "
    "Scaling Laws for Neural Language Models, Kaplan 2020, arXiv:2001.08361",
    decreasing=("N", "S", "B"),
    published=dict(kaplan2020=dict(N_c=6.5e13, a_N=0.077, S_c=2.1e3, a_S=0.76, B_star=2.1e8, a_B=0.21)),
    checks=(
        Check(2.4005, at=dict(N=1e9, S=1e5, B=1e12), params="kaplan2020"),
        Check(2.4914, at=dict(N=1e9, S=1e5, B=1e6), params="kaplan2020"),
        Check(2.7975, at=dict(N=1e9, S=1e5, B=1e5), params="kaplan2020"),
    ),
)
def trajectory_implicit(N, S, B, *, N_c, a_N, S_c, a_S, B_star, a_B):
    """Loss of a model after some steps at any batch size, below the critical one too.

    ``L = (N_c / N)**a_N + (S_c / S_min)**a_S`` with ``S_min = S / (1 + B_crit / B)`` and
    ``B_crit = B_star / L**(1 / a_B)``

    The equation is implicit in the loss, on which the critical batch size depends; there is exactly one
    solution. ``B`` is a batch in tokens. A very large batch leaves the law of ``N`` and ``S`` alone.

    Source: Su 2024; constants from Kaplan 2020, arXiv:2001.08361.
    """
    # In logs, where the right side falls with slopes of ordinary size whatever the powers are.
    log_model = a_N * (jnp.log(N_c) - jnp.log(N))
    log_steps = jnp.log(S_c) - jnp.log(S)
    log_batch = jnp.log(B_star) - jnp.log(B)

    def right_side(log_L):
        return jnp.logaddexp(log_model, a_S * (log_steps + jnp.logaddexp(0.0, log_batch - log_L / a_B)))

    low = jnp.logaddexp(log_model, a_S * log_steps)
    return jnp.exp(bracketed_root(lambda log_L: log_L - right_side(log_L), low, right_side(low)))


@law(
    inputs=dict(T=STEPS),
    response=LOSS,
    L_d=positive_number(range=(0.1, 10.0), unit="nat/token", meaning="loss where the fall slows down"),
    t_d=location("T", range=(1e2, 1e6), unit="steps", meaning="step at which the fall slows down"),
    r_d=exponent(meaning="slope of log loss in log steps after that, with its sign turned"),
    formula=r"L_T = L_d \left(\frac{t_d}{T}\right)^{r_d},\; T \ge t_d",
    source=f"{DECELERATION}, Mircea 2025",
    affine=("L_d",),
    decreasing=("T",),
    published=dict(
        mircea2025_14m=dict(L_d=4.05, t_d=5900.0, r_d=0.013),
        mircea2025_144m=dict(L_d=3.25, t_d=6000.0, r_d=0.023),
        mircea2025_472m=dict(L_d=3.16, t_d=4600.0, r_d=0.035),
        mircea2025_1b=dict(L_d=2.86, t_d=3700.0, r_d=0.034),
        mircea2025_7b=dict(L_d=2.64, t_d=4600.0, r_d=0.053),
    ),
    checks=(
        Check(3.86, at=dict(T=2.38e5), params="mircea2025_14m", rtol=5e-3),
        Check(2.98, at=dict(T=2.61e5), params="mircea2025_144m", rtol=5e-3),
        Check(2.77, at=dict(T=1.98e5), params="mircea2025_472m", rtol=5e-3),
        Check(2.39, at=dict(T=7.3e5), params="mircea2025_1b", rtol=5e-3),
        Check(2.04, at=dict(T=6.0e5), params="mircea2025_7b", rtol=5e-3),
    ),
)
def loss_deceleration(T, *, L_d, t_d, r_d):
    """Loss of one run after its deceleration.

    ``L_T = L_d * (t_d / T)**r_d`` for ``T >= t_d``

    Steps after ``t_d`` fix only ``L_d * t_d**r_d``: read ``t_d`` off the curve and hold it fixed.
    The published ``r_d`` have two digits, so a number of steps inferred from them is rough.

    Source: Mircea 2025.
    """
    return L_d * jnp.exp(r_d * (jnp.log(t_d) - jnp.log(T)))


@law(
    inputs=dict(t=STEPS),
    response=LOSS,
    b=amplitude(t="c0", range=(1e-3, 1e6), unit="nat/token", meaning="loss at step 1, were there no break"),
    c0=exponent(meaning="slope before the break, with its sign turned"),
    c1=coefficient(range=(-2.0, -0.01), meaning="change of slope at the break; negative slows the fall"),
    t_d=location("t", range=(1e2, 1e6), unit="steps", meaning="step of the break"),
    f=positive_number(range=(0.05, 5.0), meaning="width of the break in log steps"),
    formula=r"L = b\, t^{-c_0} \left[1 + \left(\frac{t}{t_d}\right)^{1/f}\right]^{-c_1 f}",
    source=f"{DECELERATION}, Mircea 2025; unconfirmed form",
    affine=("b",),
)
def one_break_trajectory(t, *, b, c0, c1, t_d, f):
    """Loss of one run as two power laws of the step that join smoothly.

    ``L = b * t**-c0 * (1 + (t / t_d)**(1 / f))**(-c1 * f)``

    In log-log axes the slope is ``-c0`` before ``t_d`` and ``-(c0 + c1)`` after it, so a fall that slows
    down has ``c1`` between ``-c0`` and 0.

    Source: Mircea 2025; unconfirmed form: the signs of the exponents may be a convention of this library.
    """
    log_t = jnp.log(t)
    return b * jnp.exp(-c0 * log_t - c1 * f * jnp.logaddexp(0.0, (log_t - jnp.log(t_d)) / f))


@law(
    inputs=dict(
        n=Input("steps", typical=(1.05e4, 1.55e4)),
        n0=Input("steps", typical=(8e3, 1e4)),
        n_decay=Input("steps", typical=(8e3, 1.2e4)),
    ),
    response=Response("learning rate", positive),
    eta_max=positive_number(range=(1e-6, 10.0), meaning="learning rate before the cooldown"),
    formula=r"\eta = \eta_\mathrm{max}\left(1 - \sqrt{\frac{n - n_0}{n_\mathrm{decay}}}\right),\;"
    r"n_0 \le n \le n_0 + n_\mathrm{decay}",
    source="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, Hagele 2024",
    affine=("eta_max",),
    checks=(
        Check(1.0, at=dict(n=8e3, n0=8e3, n_decay=2e3), params=dict(eta_max=1.0)),
        Check(0.2929, at=dict(n=9e3, n0=8e3, n_decay=2e3), params=dict(eta_max=1.0)),
        Check(0.0, at=dict(n=1e4, n0=8e3, n_decay=2e3), params=dict(eta_max=1.0)),
    ),
)
def wsd_sqrt_cooldown(n, n0, n_decay, *, eta_max):
    """Learning rate that is constant and then falls to zero with the square root of the steps.

    ``eta = eta_max * (1 - sqrt((n - n0) / n_decay))`` for ``n0 <= n <= n0 + n_decay``;
    ``eta_max`` before and 0 after

    This makes schedules; the loss at their ends follows the laws of model size and data.

    Source: Hagele 2024.
    """
    share = jnp.clip((n - n0) / n_decay, 0.0, 1.0)
    # The root has no slope at 0, where the rate is constant.
    return eta_max * jnp.where(share > 0, 1.0 - jnp.sqrt(jnp.where(share > 0, share, 1.0)), 1.0)


@law(
    inputs=dict(k=Input("samples", typical=(1.0, 1e9))),
    response=Response("loss", positive),
    c=positive_number(range=(1e-6, 1e9), meaning="bound at one sample, from the curvature of the loss"),
    formula=r"\left|L_{k+1} - L_k\right| \le \frac{c}{k}",
    source="Unraveling the Hessian: A Key to Smooth Convergence in Loss Function Landscapes, Kiselev 2024; "
    "unconfirmed form",
    affine=("c",),
    decreasing=("k",),
)
def sample_increment(k, *, c):
    """Upper bound on the change of the loss by one further sample.

    ``|L_(k+1) - L_k| <= c / k``

    A bound, to be fitted as an upper quantile; where it falls below a tolerance, collecting data may stop.

    Source: Kiselev 2024; unconfirmed form.
    """
    return c / k
