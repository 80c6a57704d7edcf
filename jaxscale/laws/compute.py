"""Loss against compute, or against one resource with a floor."""

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
    location,
    positive,
    positive_number,
    real,
    scale,
)

FAMILY = "loss"
COMPUTE = Input("FLOPs", typical=(1e15, 1e25))
LOSS = Response("loss or error", positive)


@law(
    inputs=dict(C=COMPUTE),
    response=LOSS,
    A=amplitude(C="b", range=(1e-3, 1e12), meaning="loss at one unit of compute"),
    b=exponent(range=(0.001, 1.5), meaning="slope of log loss in log compute, with its sign turned"),
    formula=r"L = A C^{-b}",
    source="An Empirical Study of Autoregressive Pre-training from Videos, Rajasegaran 2025; "
    "Scaling Laws for Diffusion Transformers, Liang 2024",
    affine=("A",),
    decreasing=("C",),
    published=dict(
        rajasegaran2025=dict(A=7.32, b=0.0378),
        liang2024=dict(A=2.3943, b=0.0273),
    ),
    checks=(Check(1.284, at=dict(C=1e20), params="rajasegaran2025"),),
)
def compute_power(C, *, A, b):
    """Loss is a power law in compute.

    ``L = A * C**-b``, the same as ``(C_c / C)**b`` with ``C_c = A**(1 / b)``

    ``C`` counts FLOPs or accelerator hours: ``A`` depends on the unit and ``b`` does not. The prefactor
    of diffusion transformers is printed as 2.3943 and as 3.3943; the first is kept here.

    Source: Rajasegaran 2025; Liang 2024.
    """
    return A * C**-b


@law(
    inputs=dict(X=Input("FLOPs, parameters or tokens", typical=(1e6, 1e25))),
    response=LOSS,
    E=floor(meaning="irreducible loss"),
    A=amplitude(X="alpha", range=(1e-3, 1e12), meaning="distance from the floor at X = 1"),
    alpha=exponent(meaning="slope of the log reducible loss in log X, with its sign turned"),
    formula=r"L = E + A X^{-\alpha}",
    source="Resolving Discrepancies in Compute-Optimal Scaling of Language Models, Porian 2024",
    affine=("E", "A"),
    decreasing=("X",),
)
def compute_power_floor(X, *, E, A, alpha):
    """Loss falls with one resource as a power law towards a floor.

    ``L = E + A * X**-alpha``

    Few points leave ``E`` free down to 0, so compare floors by their intervals and not by their values.

    Source: Porian 2024.
    """
    return E + A * X**-alpha


@law(
    inputs=dict(C=COMPUTE),
    response=LOSS,
    a=amplitude(C="alpha", range=(1e-3, 1e12), meaning="distance from the floor at C + b = 1"),
    b=location("C", range=(1.0, 1e24), meaning="compute below which the curve flattens"),
    alpha=exponent(meaning="slope of the log reducible error in log compute, with its sign turned"),
    d=floor(meaning="error that no compute removes"),
    formula=r"y = a (C + b)^{-\alpha} + d",
    source="Scaling Laws for Robust Comparison of Open Foundation Language-Vision Models and Datasets, Nezhurina 2025; "
    "Scaling MLPs: A Tale of Inductive Bias, Bachmann 2023; "
    "Navigating Scaling Laws: Compute Optimality in Adaptive Model Training, Anagnostidis 2023",
    affine=("a", "d"),
    decreasing=("C",),
    checks=(Check(0.2886, at=dict(C=1e5), params=dict(a=5.0, b=1e3, alpha=0.35, d=0.2)),),
)
def shifted_compute_floor(C, *, a, b, alpha, d):
    """Error that is flat at little compute, then a power law, then flat at a floor.

    ``y = a * (C + b)**-alpha + d``

    Only points at little compute determine ``b``; keep them. The compute that reaches an error
    ``y`` is ``(a / (y - d))**(1 / alpha) - b``.

    Source: Nezhurina 2025; Bachmann 2023; Anagnostidis 2023.
    """
    return a * (C + b) ** -alpha + d


@law(
    inputs=dict(X=Input("parameters, FLOPs or tokens", typical=(1e4, 1e13))),
    response=Response("nat", positive),
    L_inf=floor(unit="nat", meaning="entropy of the data"),
    x0=scale(X="alpha", meaning="size at which the reducible loss is 1"),
    alpha=exponent(meaning="slope of the log reducible loss in log size, with its sign turned"),
    formula=r"L = L_\infty + \left(\frac{x_0}{X}\right)^{\alpha}",
    source="Scaling Laws for Autoregressive Generative Modeling, Henighan 2020",
    affine=("L_inf",),
    decreasing=("X",),
    checks=(
        Check(3.1398, at=dict(X=1e9), params=dict(L_inf=3.12, x0=80.0, alpha=0.24)),
        Check(2.3159, at=dict(X=1e9), params=dict(L_inf=2.20, x0=63.0, alpha=0.13)),
        Check(4.12, at=dict(X=80.0), params=dict(L_inf=3.12, x0=80.0, alpha=0.24), rtol=1e-12),
    ),
)
def reducible_power(X, *, L_inf, x0, alpha):
    """Loss is the entropy of the data plus a reducible loss that is a power law.

    ``L = L_inf + (x0 / X)**alpha``

    ``L - L_inf`` estimates the divergence between the data and the model; it is 1 at ``X = x0``, which
    usually lies far outside the data.

    Source: Henighan 2020.
    """
    return L_inf + (x0 / X) ** alpha


@law(
    inputs=dict(C=COMPUTE),
    response=Response("loss, bits/char or score", real),
    a=coefficient(range=(-100.0, 200.0), meaning="value at one unit of compute"),
    b=coefficient(range=(-10.0, 10.0), meaning="change per factor e of compute"),
    formula=r"y = a + b \log C",
    source="More Compute Is What You Need, Guo 2024; "
    "The Languini Kitchen: Enabling Language Modelling Research at Different Scales of Compute, Stanic 2023; "
    "unconfirmed form",
    affine=("a", "b"),
)
def compute_loglinear(C, *, a, b):
    """A response that is linear in the logarithm of compute.

    ``y = a + b * log(C)``

    It has no asymptote and no split of compute into model and data: an alternative to test against
    ``chinchilla``. Two such lines meet at ``C = exp((a1 - a2) / (b2 - b1))``.

    Source: Guo 2024; Stanic 2023; unconfirmed form.
    """
    return a + b * jnp.log(C)


@law(
    inputs=dict(
        N=Input("parameters", lower=1e5),
        MEM=Input("memory copies per step", typical=(1e6, 1e12)),
        tokens_per_step=Input("tokens", typical=(1e3, 1e8)),
        T=Input("seconds", typical=(1e2, 1e8)),
    ),
    response=Response("nat/token", positive),
    c0=positive_number(range=(1e-5, 1e2), unit="s", meaning="time of a step that copies nothing"),
    c1=positive_number(range=(1e-15, 1e-6), unit="s", meaning="time of one memory copy"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(T="beta", tokens_per_step="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    formula=r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}},\;"
    r"D = \frac{T \cdot \mathrm{tokens\_per\_step}}{c_0 + c_1 \cdot \mathrm{MEM}}",
    source="Time Matters: Scaling Laws for Any Budget, Inbar 2024; unconfirmed form",
    affine=("E", "A", "B"),
    decreasing=("N", "T", "tokens_per_step"),
)
def time_budget_loss(N, MEM, tokens_per_step, T, *, c0, c1, E, A, alpha, B, beta):
    """Chinchilla with tokens limited by a time budget, given the memory traffic of a step.

    ``L = E + A / N**alpha + B / D**beta`` with ``D = T * tokens_per_step / (c0 + c1 * MEM)``

    Losses alone do not identify ``c0``, ``c1`` and ``B``, as ``k * c0``, ``k * c1`` and ``B / k**beta`` give
    the same loss: fix the two times from measured steps.

    Source: Inbar 2024; unconfirmed form.
    """
    D = T * tokens_per_step / (c0 + c1 * MEM)
    return E + A / N**alpha + B / D**beta
