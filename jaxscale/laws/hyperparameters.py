"""Hyper-parameters other than a best learning rate or batch size: weight decay, bowls, transfer in width."""

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
)

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
ETA = Input("learning rate", typical=(1e-5, 1e-1))
BATCH = Input("tokens", typical=(1e4, 1e8))
WIDTH = Input("width", typical=(64.0, 65536.0))
LOSS = Response("nat/token", positive)
POWER_LINES = "Power Lines: Scaling Laws for Weight Decay and Batch Size in LLM Pre-training, Bergsma 2025"
BOWL = (
    "Scaling Optimal LR Across Token Horizons, Bjorck 2024; "
    "Communication-Efficient Language Model Training Scales Reliably and Robustly: Scaling Laws for DiLoCo, "
    "Charles 2025; Predictable Scale: Part I, Step Law, Li 2025, arXiv:2503.04715"
)
FAN = "Robust Layerwise Scaling Rules by Proper Weight Decay Tuning, Fan 2025"
GHOSH = "Understanding the Mechanisms of Fast Hyperparameter Transfer, Ghosh 2025; unconfirmed form"


@law(
    inputs=dict(c=Input("cost", typical=(1e-2, 1e6))),
    response=Response("", positive),
    k=amplitude(c="-a", range=(1e-6, 1e9), meaning="value at a cost of 1"),
    a=exponent(real, range=(-2.0, 2.5), meaning="power of the cost"),
    formula=r"x = k\, c^{a}",
    source="Tune As You Scale, Fetterman 2023; unconfirmed form",
    affine=("k",),
)
def pareto_hp_power(c, *, k, a):
    """A hyper-parameter, or the model size, along the Pareto front of loss and cost is a power law in cost.

    ``x = k * c**a``

    The front is found first, by a surrogate of loss and log cost; the powers of parameters and tokens
    add to about 1.

    Source: Fetterman 2023; unconfirmed form.
    """
    return k * c**a


@law(
    inputs=dict(D=TOKENS, N=PARAMETERS),
    response=Response("share of the run", positive),
    c=amplitude(D="-m", N="m", range=(1e-2, 1e3), meaning="timescale at one token per parameter"),
    m=exponent(real, range=(-2.0, -0.01), meaning="power of the tokens per parameter"),
    formula=r"\tau_\mathrm{opt} = c \left(\frac{D}{N}\right)^{m}",
    source=POWER_LINES,
    affine=("c",),
    decreasing=("D",),
    published=dict(bergsma2025=dict(c=1.084, m=-0.527)),
    checks=(
        Check(0.2236, at=dict(D=2e10, N=1e9), params="bergsma2025"),
        Check(0.0664, at=dict(D=2e11, N=1e9), params="bergsma2025", rtol=5e-3),
    ),
)
def adamw_timescale_tau(D, N, *, c, m):
    """The optimal averaging timescale of AdamW, as a fraction of the run, falls with the tokens per parameter.

    ``tau_opt = c * (D / N)**m`` where a run has ``tau = B / (eta * lambda * D)``

    Batch ``B`` and data ``D`` are in one unit, ``eta`` is the peak learning rate and ``lambda`` the
    decoupled weight decay of an update ``eta * lambda``.

    Source: Bergsma 2025.
    """
    return c * (D / N) ** m


@law(
    inputs=dict(B=BATCH, eta=ETA, D=TOKENS, N=PARAMETERS),
    response=Response("weight decay", positive),
    c=positive_number(range=(1e-2, 1e3), meaning="timescale at one token per parameter"),
    m=exponent(real, range=(-2.0, -0.01), meaning="power of the tokens per parameter"),
    formula=r"\lambda_\mathrm{opt} = \frac{B}{\eta D\, \tau_\mathrm{opt}},\;"
    r"\tau_\mathrm{opt} = c \left(\frac{D}{N}\right)^{m}",
    source=POWER_LINES,
    decreasing=("eta", "N"),
    published=dict(bergsma2025=dict(c=1.084, m=-0.527)),
    checks=(Check(0.0224, at=dict(B=1e6, eta=0.01, D=2e10, N=1e9), params="bergsma2025", rtol=5e-3),),
)
def adamw_timescale_lambda(B, eta, D, N, *, c, m):
    """The optimal weight decay keeps the averaging timescale of AdamW at its optimum.

    ``lambda_opt = B / (eta * D * tau_opt)`` with ``tau_opt = c * (D / N)**m``

    Linear in the batch size up to the critical one; batch ``B`` and data ``D`` are in one unit.

    Source: Bergsma 2025.
    """
    return B / (eta * D) * (D / N) ** -m / c


@law(
    inputs=dict(eta=ETA),
    response=LOSS,
    L_min=floor(unit="nat/token", meaning="loss at the best learning rate"),
    a=positive_number(range=(1e-4, 1.0), meaning="curvature in log learning rate"),
    eta_opt=location("eta", range=(1e-6, 1.0), meaning="best learning rate"),
    formula=r"L = L_\mathrm{min} + a \left(\ln \frac{\eta}{\eta_\mathrm{opt}}\right)^2",
    source=BOWL,
    affine=("L_min", "a"),
)
def lr_loss_bowl_lr(eta, *, L_min, a, eta_opt):
    """Near the optimal learning rate the loss is quadratic in its logarithm.

    ``L = L_min + a * ln(eta / eta_opt)**2``

    Fit only runs near the minimum; the bottom is flat, so read off the interval
    ``|ln(eta / eta_opt)| <= sqrt(0.0025 * L_min / a)`` that stays within 0.25 % of the best loss.

    Source: Bjorck 2024; Charles 2025; Li 2025, arXiv:2503.04715.
    """
    return L_min + a * jnp.log(eta / eta_opt) ** 2


@law(
    inputs=dict(eta=ETA, B=BATCH),
    response=Response("nat/token", real),
    L_min=floor(unit="nat/token", meaning="loss at the best learning rate and batch size"),
    a=positive_number(range=(1e-4, 1.0), meaning="curvature in log learning rate"),
    b=positive_number(range=(1e-4, 1.0), meaning="curvature in log batch size"),
    c=coefficient(range=(-0.1, 0.05), meaning="tilt, which moves the best rate with the batch size"),
    eta_opt=location("eta", range=(1e-6, 1.0), meaning="best learning rate"),
    B_opt=location("B", range=(1e3, 1e9), unit="tokens", meaning="best batch size"),
    formula=r"L = L_\mathrm{min} + a x^2 + b y^2 + c x y,\;"
    r"x = \ln \frac{\eta}{\eta_\mathrm{opt}},\; y = \ln \frac{B}{B_\mathrm{opt}}",
    source=BOWL,
    affine=("L_min", "a", "b", "c"),
)
def lr_loss_bowl(eta, B, *, L_min, a, b, c, eta_opt, B_opt):
    """Near the optimum the loss is quadratic in the logarithms of learning rate and batch size.

    ``L = L_min + a * x**2 + b * y**2 + c * x * y`` with ``x = ln(eta / eta_opt)``, ``y = ln(B / B_opt)``

    It is a bowl where ``c**2 < 4 * a * b``; a fit that breaks this has no minimum. Fit only runs near the
    minimum. Where one batch size was used, ``lr_loss_bowl_lr`` is enough.

    Source: Bjorck 2024; Charles 2025; Li 2025, arXiv:2503.04715.
    """
    x, y = jnp.log(eta / eta_opt), jnp.log(B / B_opt)
    return L_min + a * x**2 + b * y**2 + c * x * y


@law(
    inputs=dict(N=PARAMETERS),
    response=Response("log loss or logit", real),
    a=coefficient(range=(-50.0, 100.0), meaning="level at one parameter"),
    b=coefficient(range=(-10.0, 10.0), meaning="slope in log parameters at one parameter"),
    c=coefficient(range=(-0.5, 0.5), meaning="curvature in log parameters"),
    formula=r"y = a + b \ln N + c\, (\ln N)^2",
    source="Small-scale proxies for large-scale Transformer training instabilities, Wortsman 2023; unconfirmed form",
    affine=("a", "b", "c"),
)
def lr_sensitivity(N, *, a, b, c):
    """Sensitivity to the learning rate, or the largest attention logit, against model size.

    ``y = a + b * ln(N) + c * ln(N)**2`` where ``y`` is ``ln S`` or the largest attention logit

    The sensitivity ``S`` is the mean, over a fixed grid of log-spaced learning rates, of the loss (at
    most that at initialisation, where diverged runs count too) less the best one. Fix ``c`` at 0 for a line.

    Source: Wortsman 2023; unconfirmed form.
    """
    return a + b * jnp.log(N) + c * jnp.log(N) ** 2


@law(
    inputs=dict(eta=ETA, lam=Input("weight decay", typical=(1e-4, 1.0)), d=WIDTH),
    response=Response("top singular value", positive),
    c=positive_number(range=(1e-6, 1e3), meaning="singular value at width 1 and equal rate and decay"),
    formula=r"\sigma_\mathrm{top} = c \sqrt{\eta/\lambda}\; d^{3/4}",
    source=FAN,
    affine=("c",),
    decreasing=("lam",),
)
def weight_decay_width_sigma(eta, lam, d, *, c):
    """In the steady state the top singular value follows learning rate over weight decay, and the width.

    ``sigma_top = c * sqrt(eta / lam) * d**0.75``

    It does not change with width where ``weight_decay_width_lr`` and ``weight_decay_width_lambda`` hold.

    Source: Fan 2025.
    """
    return c * jnp.sqrt(eta / lam) * d**0.75


@law(
    inputs=dict(d=WIDTH),
    response=Response("learning rate", positive),
    k=positive_number(range=(1e-4, 1e3), meaning="learning rate of matrices at width 1"),
    formula=r"\eta = \frac{k}{d}",
    source=FAN,
    affine=("k",),
    decreasing=("d",),
)
def weight_decay_width_lr(d, *, k):
    """The learning rate of matrices falls in proportion to the width.

    ``eta = k / d``

    The learning rate of vectors does not change with width and they get no weight decay.

    Source: Fan 2025.
    """
    return k / d


@law(
    inputs=dict(d=WIDTH),
    response=Response("weight decay", positive),
    k=positive_number(range=(1e-6, 10.0), meaning="weight decay of matrices at width 1"),
    formula=r"\lambda = k \sqrt{d}",
    source=FAN,
    affine=("k",),
)
def weight_decay_width_lambda(d, *, k):
    """The weight decay of matrices grows with the root of the width.

    ``lambda = k * sqrt(d)``

    With ``weight_decay_width_lr`` it keeps ``weight_decay_width_sigma`` the same at every width.

    Source: Fan 2025.
    """
    return k * jnp.sqrt(d)


@law(
    inputs=dict(n=WIDTH),
    response=LOSS,
    A=amplitude(n="a", range=(1e-6, 1e6), meaning="loss gap at width 1"),
    a=exponent(meaning="power of the width"),
    formula=r"a_n = A\, n^{-a}",
    source=GHOSH,
    affine=("A",),
    decreasing=("n",),
)
def hp_transfer_speed_loss(n, *, A, a):
    """The loss of a well-tuned model approaches that of infinite width as a power of the width.

    ``a_n = A * n**-a``

    Transfer is fast, and tuning a small model pays, where ``2 * b > a`` with the ``b`` of
    ``hp_transfer_speed_error``.

    Source: Ghosh 2025; unconfirmed form.
    """
    return A * n**-a


@law(
    inputs=dict(n=WIDTH),
    response=Response("", positive),
    H=amplitude(n="b", range=(1e-6, 1e6), meaning="error of the hyper-parameter at width 1"),
    b=exponent(meaning="power of the width"),
    formula=r"h_n = H\, n^{-b}",
    source=GHOSH,
    affine=("H",),
    decreasing=("n",),
)
def hp_transfer_speed_error(n, *, H, b):
    """The best hyper-parameter approaches that of infinite width as a power of the width.

    ``h_n = H * n**-b``

    ``hp_transfer_speed_tuning`` gives the excess loss of the error.

    Source: Ghosh 2025; unconfirmed form.
    """
    return H * n**-b


@law(
    inputs=dict(n=WIDTH),
    response=LOSS,
    K=positive_number(range=(1e-4, 1e4), meaning="curvature of the loss in the hyper-parameter"),
    H=amplitude(n="b", range=(1e-6, 1e6), meaning="error of the hyper-parameter at width 1"),
    b=exponent(meaning="power of the width in the error"),
    formula=r"b_n = \frac{K}{2} \left(H\, n^{-b}\right)^2",
    source=GHOSH,
    affine=("K",),
    decreasing=("n",),
)
def hp_transfer_speed_tuning(n, *, K, H, b):
    """The excess loss of a transferred hyper-parameter is half the curvature times its squared error.

    ``b_n = K / 2 * (H * n**-b)**2``

    ``K`` and ``H`` are not identified by the excess loss alone: fix the one that was measured. The cost
    falls with twice the power of the error.

    Source: Ghosh 2025; unconfirmed form.
    """
    return K / 2 * (H * n**-b) ** 2
