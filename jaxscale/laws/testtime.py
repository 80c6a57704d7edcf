"""Test-time compute: exchange with training, cost, and returns."""

import jax.numpy as jnp
from jax.nn import sigmoid

from jaxscale.law import Check, Input, Response, coefficient, floor, law, positive, positive_number, real

FAMILY = "inference"
TOKENS = Input("tokens", typical=(1e8, 1e14))
KINETICS_PROBE = dict(P_m=8e9, N=1.0, L_in=1024.0, L_out=8192.0, r=4.0)


@law(
    inputs=dict(M=Input("times larger", typical=(1.5, 50.0)), D_pre=TOKENS, D_inf=TOKENS),
    response=Response("multiplier", positive),
    c=positive_number(range=(0.3, 30.0), meaning="compute of a training token over that of an inference token"),
    formula=r"k = M + c \frac{D_\mathrm{pre}}{D_\mathrm{inf}} (M - 1)",
    source="Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling Model Parameters, Snell 2024",
    affine=("c",),
    published=dict(snell2024=dict(c=3.0)),
    checks=(
        Check(53.0, at=dict(M=14.0, D_pre=1e12, D_inf=1e12), params="snell2024"),
        Check(17.9, at=dict(M=14.0, D_pre=1e11, D_inf=1e12), params="snell2024"),
        Check(404.0, at=dict(M=14.0, D_pre=1e12, D_inf=1e11), params="snell2024"),
        Check(1.0, at=dict(M=1.0, D_pre=1e12, D_inf=1e11), params="snell2024"),
    ),
)
def pretrain_inference_exchange(M, D_pre, D_inf, *, c):
    """Factor on the inference compute of a small model at the total compute of a model M times larger.

    ``k = M + c * D_pre / D_inf * (M - 1)``

    ``c`` is 3 where a token costs 6 N in training and 2 N at inference, which equates
    ``6 N D_pre + 2 N D_inf k`` and ``M (6 N D_pre + 2 N D_inf)``.

    Source: Snell 2024.
    """
    return M + c * D_pre / D_inf * (M - 1)


@law(
    inputs=dict(
        P_m=Input("parameters", lower=1e5),
        N=Input("trials", typical=(1.0, 1e4)),
        L_in=Input("tokens", typical=(10.0, 1e5)),
        L_out=Input("tokens", typical=(10.0, 1e5)),
        D_k=Input("elements per token", typical=(1e3, 1e6)),
        r=Input("heads per head", typical=(1.0, 16.0)),
    ),
    response=Response("FLOPs", positive),
    I=positive_number(range=(1.0, 1e4), unit="FLOPs/element", meaning="compute of the hardware for one element read"),
    formula=r"C = 2 N P_m L_\mathrm{out} + r N D_k L_\mathrm{out} (2 L_\mathrm{in} + L_\mathrm{out})"
    r" + I D_k L_\mathrm{out} (2 L_\mathrm{in} + N L_\mathrm{out})",
    source="Kinetics: Rethinking Test-Time Scaling Laws, Sadhukhan 2025",
    affine=("I",),
    checks=(
        Check(3.635e15, at=dict(KINETICS_PROBE, D_k=73728.0), params=dict(I=562.5)),
        Check(1.883e15, at=dict(KINETICS_PROBE, D_k=36864.0), params=dict(I=562.5)),
    ),
)
def kinetics_cost(P_m, N, L_in, L_out, D_k, r, *, I):
    """Cost of N trials of a reasoning model, with reads of its memory counted as compute.

    ``C = 2 * N * P_m * L_out + r * N * D_k * L_out * (2 * L_in + L_out)
    + I * D_k * L_out * (2 * L_in + N * L_out)``

    ``D_k`` counts key and value elements for a token, 2 * layers * key-value heads * head size, and ``r`` the
    attention heads for each key-value head. The trials share the prompt's memory, reads of parameters
    are left out, and long answers cost as ``L_out**2``.

    Source: Sadhukhan 2025.
    """
    linear = 2 * N * P_m * L_out
    attention = r * N * D_k * L_out * (2 * L_in + L_out)
    reads = I * D_k * L_out * (2 * L_in + N * L_out)
    return linear + attention + reads


@law(
    inputs=dict(x=Input("test tokens", typical=(1e2, 1e6))),
    response=Response("exact match", real),
    a=positive_number(range=(1e-3, 100.0), meaning="gain for e times the tokens"),
    b=positive_number(range=(1.0, 1e5), unit="tokens", meaning="tokens below which the curve flattens"),
    c=coefficient(range=(-200.0, 200.0), meaning="exact match at b + x = 1"),
    formula=r"\mathrm{EM} = a \ln(b + x) + c",
    source="Chain-of-Retrieval Augmented Generation, Wang 2025; unconfirmed form",
    affine=("a", "c"),
)
def retrieval_chain_log(x, *, a, b, c):
    """Exact match of chained retrieval, which grows with the logarithm of the tokens spent.

    ``EM = a * log(b + x) + c``

    It describes the best settings at every budget only, and its slope is ``a / (b + x)``.

    Source: Wang 2025; unconfirmed form.
    """
    return a * jnp.log(b + x) + c


@law(
    inputs=dict(n=Input("agents", typical=(1.0, 100.0))),
    response=Response("quality", real),
    alpha=positive_number(range=(0.01, 10.0), meaning="gain from few to many agents"),
    beta=positive_number(range=(0.05, 20.0), meaning="steepness in log agents"),
    gamma=coefficient(range=(-2.0, 7.0), meaning="log of the agents that give half the gain"),
    delta=floor(real, range=(-1.0, 1.0), meaning="quality of few agents"),
    formula=r"q = \frac{\alpha}{1 + e^{-\beta (\ln n - \gamma)}} + \delta",
    source="Scaling Large-Language-Model-based Multi-Agent Collaboration, Qian 2024",
    affine=("alpha", "delta"),
)
def agents_logistic(n, *, alpha, beta, gamma, delta):
    """Quality that rises along a logistic curve in the logarithm of the number of agents.

    ``q = alpha / (1 + exp(-beta * (log(n) - gamma))) + delta``

    Another base of the logarithm only rescales ``beta`` and ``gamma``.

    Source: Qian 2024.
    """
    return alpha * sigmoid(beta * (jnp.log(n) - gamma)) + delta
