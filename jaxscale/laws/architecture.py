"""Loss against the shape of a model: width, depth, their ratio."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, floor, law, positive, positive_number

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
RATIO = Input("width per layer", typical=(2.0, 500.0))
WIDTH = Input("width", typical=(64.0, 16384.0))
DEPTH = Input("layers", typical=(2.0, 128.0))
LOSS = Response("nat/token", positive)
BIAN = "Scaling Inference-Efficient Language Models, Bian 2025"
GEMSTONES = "Gemstones: A Model Suite for Multi-Faceted Scaling Laws, McLeish 2025, arXiv:2502.06857"


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, R=RATIO),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss of the best shape"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    eps=amplitude(R="-gamma", range=(1e-5, 1.0), meaning="relative cost of a ratio of 1"),
    gamma=exponent(meaning="power of the ratio"),
    formula=r"L = \left(E + A N^{-\alpha} + B D^{-\beta}\right)\left(1 + \epsilon R^{\gamma}\right)",
    source=BIAN,
    affine=("E", "A", "B"),
    decreasing=("N", "D"),
    checks=(
        Check(
            2.7289,
            at=dict(N=1e9, D=2e10, R=50.0),
            params=dict(E=1.8, A=400.0, alpha=0.34, B=400.0, beta=0.28, eps=0.01, gamma=0.2),
        ),
    ),
)
def aspect_ratio(N, D, R, *, E, A, alpha, B, beta, eps, gamma):
    """Chinchilla times a factor that grows with the ratio of width to depth.

    ``L = (E + A * N**-alpha + B * D**-beta) * (1 + eps * R**gamma)``

    ``R`` is the width divided by the number of layers; the ratio of losses at two values of it is the
    same at every size. Wide models answer faster, so use the law to rank shapes under a limit on
    latency. Fits need over-trained runs among the rows.

    Source: Bian 2025.
    """
    return (E + A * N**-alpha + B * D**-beta) * (1 + eps * R**gamma)


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, R=RATIO),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss of the best shape"),
    A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
    B=amplitude(D="alpha", range=(1.0, 1e9), meaning="size of the data term"),
    eps=amplitude(R="-alpha", range=(1e-5, 1.0), meaning="relative cost of a ratio of 1"),
    alpha=exponent(meaning="power of parameters, tokens and ratio"),
    formula=r"L = \left(E + A N^{-\alpha} + B D^{-\alpha}\right)\left(1 + \epsilon R^{\alpha}\right)",
    source=f"{BIAN}; unconfirmed form",
    affine=("E", "A", "B"),
    decreasing=("N", "D"),
)
def aspect_ratio_tied(N, D, R, *, E, A, B, eps, alpha):
    """The law of the aspect ratio with one exponent for parameters, tokens and ratio.

    ``L = (E + A * N**-alpha + B * D**-alpha) * (1 + eps * R**alpha)``

    Two parameters fewer than ``aspect_ratio``; whether the paper ties all three is not established.

    Source: Bian 2025; unconfirmed form.
    """
    return aspect_ratio(N, D, R, E=E, A=A, alpha=alpha, B=B, beta=alpha, eps=eps, gamma=alpha)


@law(
    inputs=dict(w=WIDTH, d=DEPTH, T=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(w="a", range=(1e-2, 1e9), meaning="size of the width term"),
    a=exponent(meaning="power of the width"),
    B=amplitude(d="b", range=(1e-2, 1e9), meaning="size of the depth term"),
    b=exponent(meaning="power of the depth"),
    C=amplitude(T="c", range=(1e-2, 1e9), meaning="size of the data term"),
    c=exponent(meaning="power of the tokens"),
    formula=r"L = E + \frac{A}{w^{a}} + \frac{B}{d^{b}} + \frac{C}{T^{c}}",
    source=GEMSTONES,
    affine=("E", "A", "B", "C"),
    decreasing=("w", "d", "T"),
    published=dict(
        mcleish2025=dict(
            E=math.exp(-155.54),
            A=math.exp(2.1161),
            a=0.2608,
            B=math.exp(0.7321),
            b=0.1418,
            C=math.exp(11.5418),
            c=0.5421,
        ),
    ),
)
def width_depth_tokens(w, d, T, *, E, A, a, B, b, C, c):
    """Irreducible loss plus power laws in width, depth and tokens.

    ``L = E + A / w**a + B / d**b + C / T**c``

    The published fit has nearly no floor: on its runs ``E`` is not determined, and only the sum
    of ``E`` with the slow terms of width and depth is.

    Source: McLeish 2025, arXiv:2502.06857.
    """
    return E + A / w**a + B / d**b + C / T**c


@law(
    inputs=dict(w=WIDTH, d=DEPTH, N=PARAMETERS, T=TOKENS),
    response=LOSS,
    E=floor(unit="nat/token", meaning="irreducible loss"),
    A=amplitude(w="a", range=(1e-2, 1e9), meaning="size of the width term"),
    a=exponent(meaning="power of the width"),
    B=amplitude(d="b", range=(1e-2, 1e9), meaning="size of the depth term"),
    b=exponent(meaning="power of the depth"),
    C=amplitude(N="g", range=(1e-2, 1e9), meaning="size of the model term"),
    g=exponent(meaning="power of the parameters"),
    F=amplitude(T="h", range=(1e-2, 1e9), meaning="size of the data term"),
    h=exponent(meaning="power of the tokens"),
    formula=r"L = E + \frac{A}{w^{a}} + \frac{B}{d^{b}} + \frac{C}{N^{g}} + \frac{F}{T^{h}}",
    source=GEMSTONES,
    affine=("E", "A", "B", "C", "F"),
    decreasing=("w", "d", "N", "T"),
    published=dict(
        mcleish2025=dict(
            E=math.exp(0.4282),
            A=math.exp(1.0820),
            a=0.2196,
            B=math.exp(-0.2187),
            b=0.4759,
            C=math.exp(6.0902),
            g=0.3636,
            F=math.exp(10.4720),
            h=0.4935,
        ),
    ),
)
def width_depth_params_tokens(w, d, N, T, *, E, A, a, B, b, C, g, F, h):
    """Chinchilla plus power laws in width and depth.

    ``L = E + A / w**a + B / d**b + C / N**g + F / T**h``

    The parameters are nearly a function of width and depth, so the three terms compete: give priors,
    or compare with ``width_depth_tokens``.

    Source: McLeish 2025, arXiv:2502.06857.
    """
    return E + A / w**a + B / d**b + C / N**g + F / T**h


@law(
    inputs=dict(m=WIDTH),
    response=LOSS,
    C_m=amplitude(m="alpha_m", range=(1e-2, 1e7), meaning="size of the width term"),
    alpha_m=exponent(meaning="power of the width, shared by families of models"),
    L0=floor(unit="nat/token", meaning="loss of an infinitely wide model"),
    formula=r"L = \frac{C_m}{m^{\alpha_m}} + L_0",
    source="Superposition Yields Robust Neural Scaling, Liu 2025",
    affine=("C_m", "L0"),
    decreasing=("m",),
)
def superposition_width(m, *, C_m, alpha_m, L0):
    """The loss is a power law in the width that features share, with a floor.

    ``L = C_m / m**alpha_m + L0``

    Theory says 1 for ``alpha_m`` where many features share each direction, and 0.91 with a standard
    error of 0.04 is reported over families of models, each with its own ``C_m`` and ``L0``.

    Source: Liu 2025.
    """
    return C_m / m**alpha_m + L0


@law(
    inputs=dict(l=Input("layer", typical=(1.0, 100.0))),
    response=Response("variance", positive),
    v0=positive_number(range=(1e-6, 1e6), meaning="variance before the first layer"),
    c=positive_number(range=(1e-3, 1.0), meaning="growth of the log variance at each layer"),
    formula=r"\mathrm{Var}_l = v_0 e^{c l}",
    source="The Curse of Depth in Large Language Models, Sun 2025; unconfirmed form",
    affine=("v0",),
)
def layer_variance_growth(l, *, v0, c):
    """The variance of the residual stream grows exponentially with depth under pre-layer normalisation.

    ``Var = v0 * exp(c * l)``

    The log variance is a line in the layer. Outputs of the normalisation scaled by ``1 / sqrt(l)`` keep
    the variance flat or polynomial, which this law does not describe.

    Source: Sun 2025; unconfirmed form.
    """
    return v0 * jnp.exp(c * l)
