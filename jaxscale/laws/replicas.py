"""Training in replicas that synchronise rarely."""

from jaxscale.law import Check, Input, Response, amplitude, coefficient, exponent, floor, law, positive, real

FAMILY = "loss"
PARAMETERS = Input("parameters", lower=1e5)
REPLICAS = Input("replicas", typical=(1.0, 64.0))
LOSS = Response("nat/token", positive)
SOURCE = (
    "Communication-Efficient Language Model Training Scales Reliably and Robustly: Scaling Laws for DiLoCo, "
    "Charles 2025"
)
SIZE = exponent(real, range=(-1.5, -0.01), meaning="slope of log loss in log size")
COUNT = exponent(real, range=(-0.5, 0.5), meaning="slope of log loss in log replicas")


@law(
    inputs=dict(N=PARAMETERS, M=REPLICAS),
    response=LOSS,
    A=amplitude(N="-alpha", M="-beta", range=(1e-1, 1e6), meaning="loss of one parameter in one replica"),
    alpha=SIZE,
    beta=COUNT,
    formula=r"L = A N^{\alpha} M^{\beta}",
    source=SOURCE,
    affine=("A",),
    decreasing=("N",),
    published=dict(charles2025=dict(A=19.226, alpha=-0.0985, beta=0.0116)),
    checks=(
        Check(2.517, at=dict(N=1e9, M=2.0), params="charles2025"),
        Check(2.0062, at=dict(N=1e10, M=2.0), params="charles2025"),
        Check(2.5158, at=dict(N=1e9, M=1.0), params=dict(A=18.129, alpha=-0.0953, beta=0.0)),
        Check(2.5531, at=dict(N=1e9, M=1.0), params=dict(A=21.051, alpha=-0.1018, beta=0.0)),
    ),
)
def diloco_joint(N, M, *, A, alpha, beta):
    """Loss is a power law in the model size and in the number of replicas.

    ``L = A * N**alpha * M**beta`` with ``alpha < 0``

    The paper also fits ``A`` and ``alpha`` for each number of replicas, which is this law at ``beta = 0``.

    Source: Charles 2025.
    """
    return A * N**alpha * M**beta


@law(
    inputs=dict(N=PARAMETERS, M=REPLICAS),
    response=LOSS,
    A=amplitude(N="-alpha", M="-beta", range=(1e-1, 1e6), meaning="reducible loss of one parameter in one replica"),
    alpha=SIZE,
    beta=COUNT,
    C=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = A N^{\alpha} M^{\beta} + C",
    source=SOURCE,
    affine=("A", "C"),
    decreasing=("N",),
)
def diloco_joint_floor(N, M, *, A, alpha, beta, C):
    """Loss is a floor plus a power law in the model size and in the number of replicas.

    ``L = A * N**alpha * M**beta + C`` with ``alpha < 0``

    The paper chose the constants by the error at the largest size, which was held out.

    Source: Charles 2025.
    """
    return A * N**alpha * M**beta + C


@law(
    inputs=dict(N=PARAMETERS, M=REPLICAS),
    response=LOSS,
    A=amplitude(N="-alpha", range=(1e-1, 1e6), meaning="reducible loss of one parameter"),
    alpha=exponent(real, range=(-1.5, -0.01), meaning="slope of the log reducible loss without replicas"),
    beta=coefficient(range=(-0.01, 0.01), meaning="change of the slope per replica"),
    C=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = A N^{\alpha + \beta M} + C",
    source=SOURCE,
    affine=("A", "C"),
)
def diloco_exponent_floor(N, M, *, A, alpha, beta, C):
    """Loss is a floor plus a power law in the model size whose exponent changes with every replica.

    ``L = A * N**(alpha + beta * M) + C`` with ``alpha < 0``

    Of the four forms it predicts the largest held-out size best, but an exponent linear in ``M``
    extrapolates poorly beyond the numbers of replicas in the data.

    Source: Charles 2025.
    """
    return A * N ** (alpha + beta * M) + C


@law(
    inputs=dict(N=PARAMETERS, M=REPLICAS),
    response=LOSS,
    A=amplitude(N="-alpha", range=(1e-1, 1e6), meaning="size of the model term"),
    alpha=exponent(real, range=(-1.5, -0.01), meaning="power of the parameters"),
    B=amplitude(M="-beta", range=(1e-3, 1e3), meaning="size of the replica term"),
    beta=exponent(real, range=(-1.5, 1.5), meaning="power of the replicas"),
    C=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = A N^{\alpha} + B M^{\beta} + C",
    source=SOURCE,
    affine=("A", "B", "C"),
    decreasing=("N",),
)
def diloco_additive_floor(N, M, *, A, alpha, B, beta, C):
    """Loss is a floor plus a power law in the model size plus one in the number of replicas.

    ``L = A * N**alpha + B * M**beta + C`` with ``alpha < 0``

    The cost of replicas does not depend on the size here. With few numbers of replicas ``B`` and ``C``
    are not both identified.

    Source: Charles 2025.
    """
    return A * N**alpha + B * M**beta + C
