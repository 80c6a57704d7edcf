"""Loss of reward and preference models."""

from jaxscale.law import Check, Input, Response, amplitude, exponent, law, positive, real, scale

FAMILY = "reinforcement"


@law(
    inputs=dict(X=Input("parameters or FLOPs", typical=(1e7, 1e23))),
    response=Response("loss", positive),
    b=amplitude(X="-a", range=(1e-3, 1e6), meaning="loss at X = 1"),
    a=exponent(real, range=(-1.5, -0.02), meaning="slope of log loss in log size"),
    formula=r"L = b X^{a}",
    source="Pre-Trained Policy Discriminators are General Reward Models, Dou 2025",
    affine=("b",),
    decreasing=("X",),
    published=dict(dou2025_parameters=dict(b=0.9, a=-0.0425), dou2025_compute=dict(b=2.4, a=-0.0342)),
    checks=(
        Check(0.3434, at=dict(X=7e9), params="dou2025_parameters"),
        Check(0.4592, at=dict(X=1e21), params="dou2025_compute"),
    ),
)
def polar_reward_loss(X, *, b, a):
    """Validation loss of a reward model as a power of its size or of its compute.

    ``L = b * X**a``

    ``a`` is negative. The published constants are for plain counts of parameters and FLOPs.

    Source: Dou 2025.
    """
    return b * X**a


@law(
    inputs=dict(X=Input("parameters or pairs", typical=(1e4, 1e11))),
    response=Response("loss", positive),
    X_c=scale(X="alpha", meaning="size at which the loss is 1"),
    alpha=exponent(meaning="slope of log loss in log size, with its sign turned"),
    formula=r"L = \left(\frac{X_c}{X}\right)^{\alpha}",
    source="WorldPM: Scaling Human Preference Modeling, Wang 2025; unconfirmed form",
    decreasing=("X",),
)
def preference_power(X, *, X_c, alpha):
    """Test loss of a preference model on adversarial metrics, as a power of its size or its data.

    ``L = (X_c / X)**alpha``

    Subjective metrics stay flat (``alpha`` at 0), and objective ones break at some size: use ``bnsl`` there.

    Source: Wang 2025; unconfirmed form.
    """
    return (X_c / X) ** alpha
