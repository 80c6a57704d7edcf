"""Scaling rules of learning rates and averages with the batch size."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, fraction, law, location, positive, positive_number, unit

FAMILY = "hyperparameters"
BATCH = Input("examples", typical=(1.0, 1e6))
KAPPA = Input("new over old batch size", typical=(0.125, 64.0))
RATE = Response("learning rate", positive)
MCCANDLISH = "An Empirical Model of Large-Batch Training, McCandlish 2018, arXiv:1812.06162"
GRANZIOL = "Learning Rates as a Function of Batch Size, Granziol 2020"
BUSBRIDGE = "How to Scale Your EMA, Busbridge 2023"


@law(
    inputs=dict(B=BATCH),
    response=RATE,
    eta_max=positive_number(range=(1e-6, 10.0), meaning="best learning rate at very large batches"),
    B_noise=location("B", range=(1.0, 1e7), unit="examples", meaning="noise scale, which halves the learning rate"),
    formula=r"\eta = \frac{\eta_\mathrm{max}}{1 + B_\mathrm{noise}/B}",
    source=MCCANDLISH,
    affine=("eta_max",),
)
def lr_batch_saturation_lr(B, *, eta_max, B_noise):
    """The best learning rate grows with the batch size and saturates above the noise scale.

    ``eta = eta_max / (1 + B_noise / B)``

    Far below ``B_noise`` it is linear in the batch size, so small batches alone leave ``B_noise`` open.

    Source: McCandlish 2018, arXiv:1812.06162.
    """
    return eta_max / (1 + B_noise / B)


@law(
    inputs=dict(B=BATCH),
    response=Response("nat/token", positive),
    dL_max=positive_number(range=(1e-6, 10.0), meaning="improvement of one step at very large batches"),
    B_noise=location("B", range=(1.0, 1e7), unit="examples", meaning="noise scale, which halves the improvement"),
    formula=r"\Delta L = \frac{\Delta L_\mathrm{max}}{1 + B_\mathrm{noise}/B}",
    source=MCCANDLISH,
    affine=("dL_max",),
)
def lr_batch_saturation_gain(B, *, dL_max, B_noise):
    """The loss decrease of one optimal step grows with the batch size and saturates above the noise scale.

    ``dL = dL_max / (1 + B_noise / B)``

    The improvement counts as positive; its learning rate is that of ``lr_batch_saturation_lr``.

    Source: McCandlish 2018, arXiv:1812.06162.
    """
    return dL_max / (1 + B_noise / B)


@law(
    inputs=dict(B=BATCH),
    response=RATE,
    k=positive_number(range=(1e-8, 1.0), meaning="largest learning rate at a batch of one"),
    formula=r"\eta_\mathrm{max} = k B",
    source=GRANZIOL,
    affine=("k",),
    checks=(Check(8.0, at=dict(B=8.0), params=dict(k=1.0)),),
)
def stable_lr_batch_sgd(B, *, k):
    """The largest stable learning rate of plain gradient descent is linear in the batch size.

    ``eta_max = k * B``

    It ends where the curvature of the full data, and no longer the noise, is the limit.

    Source: Granziol 2020.
    """
    return k * B


@law(
    inputs=dict(B=BATCH),
    response=RATE,
    k=positive_number(range=(1e-8, 1.0), meaning="largest learning rate at a batch of one"),
    formula=r"\eta_\mathrm{max} = k \sqrt{B}",
    source=GRANZIOL,
    affine=("k",),
    checks=(Check(2.828, at=dict(B=8.0), params=dict(k=1.0)),),
)
def stable_lr_batch_adam(B, *, k):
    """The largest stable learning rate of Adam grows with the root of the batch size.

    ``eta_max = k * sqrt(B)``

    Plain gradient descent has the whole batch size in place of its root, see ``stable_lr_batch_sgd``.

    Source: Granziol 2020.
    """
    return k * jnp.sqrt(B)


@law(
    inputs=dict(kappa=KAPPA),
    response=Response("momentum", unit),
    rho=fraction(range=(0.5, 1.0), meaning="momentum of the average at the old batch size"),
    formula=r"\hat\rho = \rho^{\kappa}",
    source=BUSBRIDGE,
    checks=(
        Check(0.99920, at=dict(kappa=8.0), params=dict(rho=0.9999), rtol=5e-6),
        Check(0.9999, at=dict(kappa=1.0), params=dict(rho=0.9999), rtol=1e-12),
    ),
)
def batch_scaling_rules_ema(kappa, *, rho):
    """The momentum of a weight average is raised to the ratio of the batch sizes.

    ``rho_hat = rho**kappa`` with ``kappa`` the new over the old batch size

    The learning rate changes along, see ``batch_scaling_rules_sgd`` and ``batch_scaling_rules_adam``.

    Source: Busbridge 2023.
    """
    return rho**kappa


@law(
    inputs=dict(kappa=KAPPA),
    response=RATE,
    eta=positive_number(range=(1e-6, 10.0), meaning="learning rate at the old batch size"),
    formula=r"\hat\eta = \kappa \eta",
    source=BUSBRIDGE,
    affine=("eta",),
    checks=(Check(0.1, at=dict(kappa=1.0), params=dict(eta=0.1), rtol=1e-12),),
)
def batch_scaling_rules_sgd(kappa, *, eta):
    """The learning rate of plain gradient descent changes in proportion to the batch size.

    ``eta_hat = kappa * eta`` with ``kappa`` the new over the old batch size

    Adam takes the root, see ``batch_scaling_rules_adam``.

    Source: Busbridge 2023.
    """
    return kappa * eta


@law(
    inputs=dict(kappa=KAPPA),
    response=RATE,
    eta=positive_number(range=(1e-6, 10.0), meaning="learning rate at the old batch size"),
    formula=r"\hat\eta = \sqrt{\kappa}\, \eta",
    source=BUSBRIDGE,
    affine=("eta",),
    checks=(Check(0.1, at=dict(kappa=1.0), params=dict(eta=0.1), rtol=1e-12),),
)
def batch_scaling_rules_adam(kappa, *, eta):
    """The learning rate of Adam changes with the root of the batch size.

    ``eta_hat = sqrt(kappa) * eta`` with ``kappa`` the new over the old batch size

    Plain gradient descent takes the whole ratio, see ``batch_scaling_rules_sgd``.

    Source: Busbridge 2023.
    """
    return jnp.sqrt(kappa) * eta
