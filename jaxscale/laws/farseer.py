"""Loss whose data exponent changes with the model size."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Float

from jaxscale.law import Check, Input, Response, coefficient, exponent, law, positive, real
from jaxscale.law.coordinates import Centre
from jaxscale.utils.arrays import Array, Numbers

FAMILY = "loss"


def _curve(value: Numbers, slope: Numbers, power: Numbers, log_N0: Numbers) -> tuple[Numbers, Numbers]:
    """The ``c`` and ``k`` of ``c * N**power + k`` that has this value and slope in ``log N`` at ``N0``."""
    return slope / power * jnp.exp(-power * log_N0), value - slope / power


def _anchor(c: Numbers, power: Numbers, k: Numbers, log_N0: Numbers) -> tuple[Numbers, Numbers]:
    """The value and the slope in ``log N`` of ``c * N**power + k`` at ``N0``."""
    term = c * jnp.exp(power * log_N0)
    return term + k, power * term


def _to_params(z: Sequence[Numbers] | Float[Array, "size ..."], centre: Centre) -> dict[str, Numbers]:
    """Parameters from the values and slopes at the centre of the data, in the order of the parameters.

    The log floor, the log of the data term and the log data exponent are anchored at the sizes ``N0`` and
    ``D0`` of the centre; ``q`` and ``a`` enter by their logs.
    """
    log_N0, log_D0 = centre.middle["N"], centre.middle["D"]
    q, b, a = jnp.exp(z[1]), z[4], jnp.exp(z[7])
    decay = jnp.exp(z[8])
    s, S = _curve(z[2], z[0], q, log_N0)
    A, E = _curve(z[8], z[6], a, log_N0)
    B, Q = _curve(z[5] + decay * log_D0, z[3] + decay * z[6] * log_D0, b, log_N0)
    return dict(s=s, q=q, S=S, B=B, b=b, Q=Q, A=A, a=a, E=E)


def _from_params(params: Mapping[str, Numbers], centre: Centre) -> list[Numbers]:
    """The inverse of :func:`_to_params`."""
    log_N0, log_D0 = centre.middle["N"], centre.middle["D"]
    floor, floor_slope = _anchor(params["s"], params["q"], params["S"], log_N0)
    size, size_slope = _anchor(params["B"], params["b"], params["Q"], log_N0)
    log_decay, decay_slope = _anchor(params["A"], params["a"], params["E"], log_N0)
    decay = jnp.exp(log_decay)
    return [
        floor_slope,
        jnp.log(params["q"]),
        floor,
        size_slope - decay * decay_slope * log_D0,
        params["b"],
        size - decay * log_D0,
        decay_slope,
        jnp.log(params["a"]),
        log_decay,
    ]


@law(
    inputs=dict(
        N=Input("parameters", lower=1e5, typical=(1e7, 1e12)), D=Input("tokens", lower=1e6, typical=(1e9, 1e14))
    ),
    response=Response("bit/char", positive),
    s=coefficient(range=(-0.5, -0.005), meaning="size of the term of N in the log floor"),
    q=exponent(range=(0.02, 0.25), meaning="power of N in the log floor"),
    S=coefficient(range=(-3.0, 3.0), meaning="constant of the log floor"),
    B=coefficient(range=(20.0, 1000.0), meaning="size of the term of N in the log size of the data term"),
    b=exponent(real, range=(-0.5, -0.05), meaning="power of N in the log size of the data term"),
    Q=coefficient(range=(-5.0, 5.0), meaning="constant of the log size of the data term"),
    A=coefficient(range=(-10.0, -0.2), meaning="size of the term of N in the log data exponent"),
    a=exponent(range=(0.01, 0.25), meaning="power of N in the log data exponent"),
    E=coefficient(range=(0.0, 8.0), meaning="constant of the log data exponent"),
    formula=r"L = e^{s N^q + S} + e^{B N^b + Q} D^{-e^{A N^a + E}}",
    source="Farseer: A Refined Scaling Law in Large Language Models, Li 2025, arXiv:2506.10972",
    coordinates=(_to_params, _from_params),
    published=dict(
        li2025=dict(
            s=-0.0624655,
            q=0.13,
            S=0.128488,
            B=230.734,
            b=-0.1729,
            Q=-1.5442096,
            A=-1.6656308,
            a=0.0459,
            E=3.133347,
        )
    ),
    checks=(Check(0.50503, at=dict(N=1e9, D=1e11), params="li2025", rtol=1e-5),),
)
def farseer(N, D, *, s, q, S, B, b, Q, A, a, E):
    """A floor that falls with the model size, plus a power law in data whose size and exponent follow it.

    ``L = exp(s * N**q + S) + exp(B * N**b + Q) * D**-exp(A * N**a + E)`` with ``s``, ``b`` and ``A`` negative

    ``E`` is no floor here but a constant of the log data exponent. The best ratio of tokens to parameters
    rises with compute, against the constant ratio of ``chinchilla_tied``. The published fit came in steps:
    differences in ``D`` at each ``N``, then two functions of ``N``, then the rest.

    Source: Li 2025, arXiv:2506.10972.
    """
    floor = s * N**q + S
    data = B * N**b + Q - jnp.exp(A * N**a + E) * jnp.log(D)
    return jnp.exp(jnp.logaddexp(floor, data))
