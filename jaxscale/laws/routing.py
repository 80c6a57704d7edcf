"""Routed models: effective size, and compute leverage of mixtures of experts."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, coefficient, exponent, law, positive, positive_number, real

FAMILY = "moe"
PARAMETERS = Input("parameters of the dense path", lower=1e5)
EXPERTS = Input("experts", typical=(1.0, 512.0))
CLARK = "Unified Scaling Laws for Routed Language Models, Clark 2022, arXiv:2202.01169"
TIAN = "Towards Greater Leverage: Scaling Laws for Efficient Mixture-of-Experts Language Models, Tian 2025"
ACTIVE = Input("share of experts that are active", high=1 + 1e-9, typical=(0.005, 0.99))
GRANULARITY = Input("granularity", typical=(1.0, 64.0))
FLOP = Input("FLOP", lower=1e12, typical=(1e17, 1e25))
LEVERAGE = Response("multiplier", positive)
E_START = positive_number(range=(1.01, 20.0), unit="experts", meaning="experts that a dense model counts for")
E_MAX = positive_number(range=(25.0, 5000.0), unit="experts", meaning="experts that no number of experts exceeds")
A_START = positive_number(range=(1e-4, 0.5), meaning="value of the active share at 0")
A_MAX = positive_number(range=(0.9, 1e18), meaning="value of the active share that none exceeds")


@law(
    inputs=dict(x=Input("", low=-1e-9, typical=(0.0, 512.0))),
    response=Response("", positive),
    x_start=positive_number(range=(1e-3, 20.0), meaning="value at x = 0"),
    x_max=positive_number(range=(25.0, 1e18), meaning="value reached as x grows"),
    formula=r"\frac{1}{\hat x} = \frac{1}{x + \left(\frac{1}{x_\mathrm{start}} - \frac{1}{x_\mathrm{max}}\right)^{-1}}"
    r" + \frac{1}{x_\mathrm{max}}",
    source=CLARK,
    published=dict(
        clark2022_sbase=dict(x_start=1.847, x_max=314.478),
        clark2022_hash=dict(x_start=4.175, x_max=477.741),
        tian2025=dict(x_start=1.63e-2, x_max=5.28e16),
    ),
    checks=(Check(91.405, at=dict(x=127.0), params="clark2022_sbase"),),
)
def saturating_transform(x, *, x_start, x_max):
    """A number that starts at one value and saturates at another, and follows its input in between.

    ``1 / x_hat = 1 / (x + 1 / (1 / x_start - 1 / x_max)) + 1 / x_max``

    Needs ``x_start < x_max``. Laws of experts pass the number of experts minus 1, so that a dense model
    counts for ``x_start``; the leverage of a mixture of experts passes its active share.

    Source: Clark 2022, arXiv:2202.01169.
    """
    moved = x + x_start / (1 - x_start / x_max)
    return moved / (1 + moved / x_max)


@law(
    inputs=dict(N=PARAMETERS, E=EXPERTS),
    response=Response("nat/token", positive),
    a=exponent(real, range=(-0.5, -0.005), meaning="power of the parameters at one effective expert"),
    b=exponent(real, range=(-1.0, -0.005), meaning="power of the effective experts at one parameter"),
    c=coefficient(range=(-0.05, 0.05), meaning="interaction: what size takes from the gain of experts"),
    d=positive_number(range=(0.1, 5.0), meaning="log10 loss at one parameter and one effective expert"),
    E_start=E_START,
    E_max=E_MAX,
    formula=r"\log_{10} L = a \log_{10} N + b \log_{10} \hat E + c \log_{10} N \log_{10} \hat E + d,\;"
    r"\frac{1}{\hat E} = \frac{1}{E - 1 + \left(\frac{1}{E_\mathrm{start}} - \frac{1}{E_\mathrm{max}}\right)^{-1}}"
    r" + \frac{1}{E_\mathrm{max}}",
    source=CLARK,
    published=dict(
        clark2022_sbase=dict(a=-0.082, b=-0.108, c=0.009, d=1.104, E_start=1.847, E_max=314.478),
        clark2022_hash=dict(a=-0.087, b=-0.136, c=0.012, d=1.157, E_start=4.175, E_max=477.741),
    ),
    checks=(
        Check(2.2846, at=dict(N=1e9, E=1.0), params="clark2022_sbase"),
        Check(2.0561, at=dict(N=1e9, E=128.0), params="clark2022_sbase"),
    ),
)
def routed_bilinear(N, E, *, a, b, c, d, E_start, E_max):
    """The log loss of a routed model is bilinear in the logs of its size and of its effective experts.

    ``log10(L) = a * log10(N) + b * log10(E_hat) + c * log10(N) * log10(E_hat) + d`` with
    ``1 / E_hat = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max``

    Logs have base 10 and ``E = 1`` is a dense model. Beyond ``N = 10**(-b / c)`` experts no longer
    help; rounded constants move that size by a factor of 2 or more. ``E_max`` is weakly determined.

    Source: Clark 2022, arXiv:2202.01169.
    """
    log_N = jnp.log10(N)
    log_E = jnp.log10(saturating_transform(E - 1, x_start=E_start, x_max=E_max))
    return jnp.exp(math.log(10) * (a * log_N + b * log_E + c * log_N * log_E + d))


@law(
    inputs=dict(N=PARAMETERS, E=EXPERTS),
    response=Response("parameters", positive),
    a=exponent(real, range=(-0.5, -0.05), meaning="power of the parameters at one effective expert"),
    b=exponent(real, range=(-0.4, -0.01), meaning="power of the effective experts at one parameter"),
    c=coefficient(range=(-0.015, 0.015), meaning="interaction: what size takes from the gain of experts"),
    E_start=E_START,
    E_max=E_MAX,
    formula=r"\bar N = N^{\alpha(\hat E)/\alpha(E_\mathrm{start})}"
    r"\left(\frac{\hat E}{E_\mathrm{start}}\right)^{b/\alpha(E_\mathrm{start})},\; \alpha(x) = a + c \log_{10} x",
    source=CLARK,
    checks=(
        Check(
            3.7563e9,
            at=dict(N=1e9, E=128.0),
            params=dict(a=-0.082, b=-0.108, c=0.009, E_start=1.847, E_max=314.478),
        ),
    ),
)
def routed_effective_params(N, E, *, a, b, c, E_start, E_max):
    """The size of the dense model that has the loss of a routed one.

    ``N_bar = N**(alpha(E_hat) / alpha(E_start)) * (E_hat / E_start)**(b / alpha(E_start))`` with
    ``alpha(x) = a + c * log10(x)`` and
    ``1 / E_hat = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max``

    The parameters are those of ``routed_bilinear``, whose loss at ``N, E`` is that at ``N_bar, 1``.

    Source: Clark 2022, arXiv:2202.01169.
    """
    E_hat = saturating_transform(E - 1, x_start=E_start, x_max=E_max)
    dense = a + c * jnp.log10(E_start)
    routed = a + c * jnp.log10(E_hat)
    return jnp.exp((routed * jnp.log(N) + b * jnp.log(E_hat / E_start)) / dense)


@law(
    inputs=dict(A=ACTIVE, G=GRANULARITY, C=FLOP),
    response=LEVERAGE,
    a=positive_number(range=(0.05, 5.0), meaning="power of the active share before the budget and the granularity"),
    d=coefficient(range=(-0.3, -0.005), meaning="change of the power for each tenfold budget"),
    gamma=positive_number(range=(1e-3, 0.1), meaning="curvature of the power in log2 granularity"),
    beta=coefficient(range=(-0.5, -0.01), meaning="slope of the power in log2 granularity"),
    A_start=A_START,
    A_max=A_MAX,
    formula=r"\mathrm{EL} = \hat A^{\,a + d \log_{10} C + \gamma (\log_2 G)^2 + \beta \log_2 G},\;"
    r"\frac{1}{\hat A} = \frac{1}{A + \left(\frac{1}{A_\mathrm{start}} - \frac{1}{A_\mathrm{max}}\right)^{-1}}"
    r" + \frac{1}{A_\mathrm{max}}",
    source=TIAN,
    published=dict(
        tian2025=dict(a=1.23, d=-7.61e-2, gamma=1.67e-2, beta=-1.17e-1, A_start=1.63e-2, A_max=5.28e16),
    ),
    checks=(
        Check(7.245, at=dict(A=0.031, G=12.0, C=1e22), params="tian2025"),
        Check(0.9896, at=dict(A=1.0, G=12.0, C=1e22), params="tian2025"),
    ),
)
def moe_leverage(A, G, C, *, a, d, gamma, beta, A_start, A_max):
    """Compute leverage: compute of a dense model over that of a mixture of experts with the same loss.

    ``EL = A_hat**(a + d * log10(C) + gamma * log2(G)**2 + beta * log2(G))`` with
    ``1 / A_hat = 1 / (A + 1 / (1 / A_start - 1 / A_max)) + 1 / A_max``

    ``A`` is the share of experts that are active and ``G`` is ``2 * d_model / d_expert``. The bases of
    the logs are not printed: with these two the constants give the leverage above 7 that the paper
    reports, with base 10 for both they do not. The best granularity, ``2**(-beta / (2 * gamma))``,
    contradicts ``fine_grained_moe``, where finer is always better.

    Source: Tian 2025.
    """
    log_G = jnp.log2(G)
    power = a + d * jnp.log10(C) + gamma * log_G**2 + beta * log_G
    return saturating_transform(A, x_start=A_start, x_max=A_max) ** power


@law(
    inputs=dict(A=ACTIVE),
    response=LEVERAGE,
    a_A=exponent(real, range=(-3.0, 3.0), meaning="power of the active share"),
    A_start=A_START,
    A_max=A_MAX,
    formula=r"\log \mathrm{EL} = a_A \log \hat A,\;"
    r"\frac{1}{\hat A} = \frac{1}{A + \left(\frac{1}{A_\mathrm{start}} - \frac{1}{A_\mathrm{max}}\right)^{-1}}"
    r" + \frac{1}{A_\mathrm{max}}",
    source=TIAN,
)
def moe_leverage_marginals_a(A, *, a_A, A_start, A_max):
    """The leverage of a mixture of experts is a power of its active share, all else fixed.

    ``EL = A_hat**a_A`` with ``1 / A_hat = 1 / (A + 1 / (1 / A_start - 1 / A_max)) + 1 / A_max``

    Helps before a fit of ``moe_leverage``, one factor at a time.

    Source: Tian 2025.
    """
    return saturating_transform(A, x_start=A_start, x_max=A_max) ** a_A


@law(
    inputs=dict(G=GRANULARITY),
    response=LEVERAGE,
    a_G=coefficient(range=(-5.0, 5.0), meaning="log leverage at granularity 1"),
    b_G=coefficient(range=(-1.0, 1.0), meaning="curvature in log granularity"),
    c_G=coefficient(meaning="twice the log of the best granularity, with its sign turned"),
    formula=r"\log \mathrm{EL} = a_G + b_G \log G\,(\log G + c_G)",
    source=TIAN,
)
def moe_leverage_marginals_g(G, *, a_G, b_G, c_G):
    """The log leverage of a mixture of experts is a parabola in log granularity, all else fixed.

    ``log(EL) = a_G + b_G * log(G) * (log(G) + c_G)``

    Logs are natural. The extremum, a maximum for negative ``b_G``, lies at ``log(G) = -c_G / 2``.

    Source: Tian 2025.
    """
    log_G = jnp.log(G)
    return jnp.exp(a_G + b_G * log_G * (log_G + c_G))


@law(
    inputs=dict(C=FLOP),
    response=LEVERAGE,
    a_C=exponent(real, range=(-0.5, 0.5), meaning="power of the budget"),
    c_C=coefficient(range=(-20.0, 20.0), meaning="log leverage at one FLOP"),
    formula=r"\log \mathrm{EL} = a_C \log C + c_C",
    source=TIAN,
)
def moe_leverage_marginals_c(C, *, a_C, c_C):
    """The leverage of a mixture of experts is a power of the budget, all else fixed.

    ``log(EL) = a_C * log(C) + c_C``

    Logs are natural. Helps before a fit of ``moe_leverage``, one factor at a time.

    Source: Tian 2025.
    """
    return jnp.exp(a_C * jnp.log(C) + c_C)
