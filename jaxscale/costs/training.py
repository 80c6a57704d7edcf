"""Training compute."""

from jaxtyping import Real

from jaxscale.utils.arrays import Value

# A multiplication and an addition, for one forward and two backward products.
_PER_PARAMETER_AND_TOKEN = 6.0


def flops_6nd(N: Real[Value, "*#shape"], D: Real[Value, "*#shape"]) -> Real[Value, "*#shape"]:
    """Training compute of a dense transformer, ``C = 6 N D``.

    Args:
        N: number of parameters.
        D: number of tokens.

    Returns:
        Floating-point operations, in the shape of the arguments.

    Source:
        Kaplan et al., Scaling laws for neural language models, 2020, section 2.1.
    """
    return _PER_PARAMETER_AND_TOKEN * N * D
