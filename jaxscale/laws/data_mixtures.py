"""Loss against the proportions of domains in a mixture."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    positive,
    positive_number,
    real,
)
from jaxscale.law.declaration import Parameter
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "mixtures"
PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
# Both ends belong to a share: a domain may be left out, or be the only one.
SHARE = Input("share", low=-1e-9, high=1 + 1e-9, typical=(0.05, 0.95))
LOSS = Response("nat/token", positive)


def numbered(name: str, count: int, kind: Parameter | Input | float) -> dict[str, Any]:
    """``name1`` to ``name<count>``, all of one kind."""
    return {f"{name}{i}": kind for i in range(1, count + 1)}


def power(share: Numbers, by: Numbers) -> Numbers:
    """``share**by`` whose value and slopes are 0 where the share is 0."""
    present = share > 0
    return jnp.where(present, jnp.where(present, share, 1.0) ** by, 0.0)


def _shares_of(count: int, name: str = "h") -> dict[str, Input]:
    return numbered(name, count, SHARE)


def _each(values: Mapping[str, Any], name: str, count: int) -> list[Any]:
    return [values[f"{name}{i}"] for i in range(1, count + 1)]


def _by_mixture(count: int) -> dict[str, Any]:
    return {
        **numbered("C", count, positive_number(range=(1e-2, 1e2), meaning="help of a domain to the target")),
        **numbered("g", count, exponent(range=(0.05, 2.0), meaning="power of the share of a domain")),
    }


def _mixture_additive(count: int) -> Law:
    """The additive law of ``count`` domains."""
    inputs = dict(N=PARAMETERS, D=TOKENS, **_shares_of(count))
    declared: dict[str, Any] = dict(
        E=floor(unit="nat/token", meaning="loss that neither size nor mixture removes"),
        A=amplitude(N="alpha", range=(1.0, 1e9), meaning="size of the model term"),
        alpha=exponent(meaning="power of the parameters"),
        B=amplitude(D="beta", range=(1.0, 1e9), meaning="size of the data term"),
        beta=exponent(meaning="power of the tokens"),
        **_by_mixture(count),
    )

    def mixture_additive(N, D, *h, E, A, alpha, B, beta, **mixture):
        """Chinchilla plus a term of the mixture, independent of model size and data.

        ``L = E + 1 / sum_i(C_i * h_i**g_i) + A / N**alpha + B / D**beta``

        ``L`` is the loss on one target domain and ``h_i`` the share of domain i in training; a share
        of 0 counts for nothing. The best mixture is the same at every size. ``E`` and the mixture
        term trade off unless the shares vary widely.

        Source: Shukor 2025, arXiv:2507.09404.
        """
        terms = zip(_each(mixture, "C", count), h, _each(mixture, "g", count), strict=True)
        return E + 1 / sum(C * power(share, g) for C, share, g in terms) + A / N**alpha + B / D**beta

    checks = [
        Check(
            0.31805,
            at=dict(N=1e9, D=2e10, h1=0.5, h2=0.3, h3=0.2),
            params=dict(E=0.0, A=0.0, alpha=0.34, B=0.0, beta=0.28, C1=1.0, C2=2.0, C3=3.0, **numbered("g", 3, 0.5)),
        )
    ]
    return law(
        name=f"mixture_additive{count}",
        inputs=inputs,
        response=LOSS,
        formula=rf"L = E + \left(\sum_{{i=1}}^{{{count}}} C_i h_i^{{g_i}}\right)^{{-1}}"
        + r" + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}",
        source="Scaling Laws for Optimal Data Mixtures, Shukor 2025, arXiv:2507.09404",
        affine=("E", "A", "B"),
        decreasing=("N", "D"),
        checks=checks if count == 3 else (),
        **declared,
    )(with_signature(mixture_additive, inputs, declared))


def _mixture_joint(count: int) -> Law:
    """The joint law of ``count`` domains."""
    inputs = dict(N=PARAMETERS, D=TOKENS, **_shares_of(count))
    outer = exponent(real, range=(0.1, 3.0), meaning="power of the averaged size of a term")
    declared: dict[str, Any] = dict(
        E=floor(unit="nat/token", meaning="loss that neither size nor mixture removes"),
        alpha=exponent(meaning="power of the parameters"),
        beta=exponent(meaning="power of the tokens"),
        **_by_mixture(count),
        **numbered("CA", count, amplitude(N="alpha", range=(1e-3, 1e6), meaning="part of a domain in the model term")),
        gA=outer,
        **numbered("CB", count, amplitude(D="beta", range=(1e-3, 1e6), meaning="part of a domain in the data term")),
        gB=outer,
    )

    def mixture_joint(N, D, *h, E, alpha, beta, gA, gB, **mixture):
        """Chinchilla with a mixture term, and with model and data terms that depend on the mixture.

        ``L = E + 1 / sum_i(C_i * h_i**g_i) + (sum_i CA_i * h_i)**gA / N**alpha + (sum_i CB_i * h_i)**gB / D**beta``

        The best mixture moves with the budget. With equal ``CA_i`` and equal ``CB_i`` it is
        ``mixture_additive``. That the sizes of the terms depend on the mixture is established, the
        shape used here is not.

        Source: Shukor 2025, arXiv:2507.09404; unconfirmed form.
        """
        terms = zip(_each(mixture, "C", count), h, _each(mixture, "g", count), strict=True)
        A = sum(C * share for C, share in zip(_each(mixture, "CA", count), h, strict=True)) ** gA
        B = sum(C * share for C, share in zip(_each(mixture, "CB", count), h, strict=True)) ** gB
        return E + 1 / sum(C * power(share, g) for C, share, g in terms) + A / N**alpha + B / D**beta

    checks = [
        Check(
            2.4039,
            at=dict(N=1e9, D=2e10, h1=0.5, h2=0.3, h3=0.2),
            params=dict(
                E=1.5,
                alpha=0.34,
                beta=0.28,
                C1=1.0,
                C2=2.0,
                C3=3.0,
                **numbered("g", 3, 0.5),
                CA1=10.0,
                CA2=20.0,
                CA3=30.0,
                gA=2.0,
                CB1=20.0,
                CB2=10.0,
                CB3=15.0,
                gB=2.0,
            ),
        )
    ]
    return law(
        name=f"mixture_joint{count}",
        inputs=inputs,
        response=LOSS,
        formula=rf"L = E + \left(\sum_{{i=1}}^{{{count}}} C_i h_i^{{g_i}}\right)^{{-1}}"
        + r" + \frac{\left(\sum_i C^A_i h_i\right)^{g_A}}{N^{\alpha}}"
        + r" + \frac{\left(\sum_i C^B_i h_i\right)^{g_B}}{D^{\beta}}",
        source="Scaling Laws for Optimal Data Mixtures, Shukor 2025, arXiv:2507.09404; unconfirmed form",
        affine=("E",),
        decreasing=("N", "D"),
        checks=checks if count == 3 else (),
        **declared,
    )(with_signature(mixture_joint, inputs, declared))


@law(
    inputs=dict(r=Input("share", high=1 + 1e-9, typical=(0.02, 0.95)), s=Input("steps or tokens", typical=(1e2, 1e12))),
    response=LOSS,
    alpha=exponent(meaning="power of the share"),
    B=amplitude(s="beta", r="alpha", range=(1e-2, 1e6), meaning="size of the part that training removes"),
    beta=exponent(meaning="power of the steps"),
    C=amplitude(r="alpha", range=(1e-2, 1e2), meaning="loss after long training on the domain alone"),
    formula=r"L_i = \frac{1}{r_i^{\alpha_i}}\left(\frac{B_i}{s^{\beta_i}} + C_i\right)",
    source="Data Mixing Made Efficient: A Bivariate Scaling Law for Language Model Pretraining, Ge 2024",
    affine=("B", "C"),
    decreasing=("r", "s"),
    checks=(Check(2.8182, at=dict(r=0.5, s=1e3), params=dict(alpha=0.1, B=5.0, beta=0.3, C=2.0)),),
)
def bimix(r, s, *, alpha, B, beta, C):
    """The loss of a domain as its share to a power times a power law in steps.

    ``L = (B / s**beta + C) / r**alpha``

    Halving the share multiplies the loss by ``2**alpha`` at any step. The paper's ``A`` is 1 here, as
    it only rescales ``B`` and ``C``. Fit each domain on its own; the law has no value at a share of 0.

    Source: Ge 2024.
    """
    return (B / s**beta + C) / r**alpha


def _data_mixing_exp(count: int) -> Law:
    """The exponential law of ``count`` domains."""
    inputs = _shares_of(count, "r")
    declared: dict[str, Any] = dict(
        c=floor(unit="nat/token", meaning="loss that no mixture removes"),
        k=positive_number(range=(1e-3, 1e2), meaning="size of the part that the mixture moves"),
        **numbered("t", count, coefficient(meaning="effect of the share of a domain on the log of the loss")),
    )

    def data_mixing_exp(*r, c, k, **mixture):
        """The loss of a domain falls or rises exponentially in the shares of the mixture.

        ``L = c + k * exp(sum_j t_j * r_j)``

        Where the shares add to 1, a constant added to every ``t_j`` only rescales ``k``: fix one of
        them, as ``t1 = 0``. The loss on several domains is their share-weighted sum, with a law each.

        Source: Ye 2024.
        """
        effects = _each(mixture, "t", count)
        return c + k * jnp.exp(sum(t * share for t, share in zip(effects, r, strict=True)))

    probe = Check(
        1.9901, at=dict(r1=0.5, r2=0.3, r3=0.2), params=dict(c=1.5, k=0.8, t1=-1.2, t2=0.3, t3=0.1), rtol=1e-3
    )
    return law(
        name=f"data_mixing_exp{count}",
        inputs=inputs,
        response=LOSS,
        formula=rf"L_i = c_i + k_i \exp\left(\sum_{{j=1}}^{{{count}}} t_{{ij}} r_j\right)",
        source="Data Mixing Laws: Optimizing Data Mixtures by Predicting Language Modeling Performance, Ye 2024",
        affine=("c", "k"),
        checks=(probe,) if count == 3 else (),
        **declared,
    )(with_signature(data_mixing_exp, inputs, declared))


def _regmix_linear(count: int) -> Law:
    """The linear law of ``count`` domains."""
    inputs = _shares_of(count)
    declared: dict[str, Any] = numbered(
        "w", count, coefficient(range=(-5.0, 15.0), meaning="loss when a domain is the whole mixture")
    )

    def regmix_linear(*h, **weights):
        """A linear regression of the loss on the shares of the mixture.

        ``L = sum_i w_i * h_i``

        The shares add to 1, so that a constant term would be the same as a constant added to every
        ``w_i`` and is left out. Only the order of mixtures is claimed to carry over from small models
        to large ones: judge a fit by its rank correlation.

        Source: Liu 2024.
        """
        return sum(w * share for w, share in zip(_each(weights, "w", count), h, strict=True))

    return law(
        name=f"regmix_linear{count}",
        inputs=inputs,
        response=Response("nat/token", real),
        formula=rf"L = \sum_{{i=1}}^{{{count}}} w_i h_i",
        source="RegMix: Data Mixture as Regression for Language Model Pre-training, Liu 2024",
        affine=tuple(declared),
        **declared,
    )(with_signature(regmix_linear, inputs, declared))


mixture_additive = Family("mixture_additive", _mixture_additive, largest=32, listed=(2, 3))
mixture_joint = Family("mixture_joint", _mixture_joint, largest=32, listed=(2, 3))
data_mixing_exp = Family("data_mixing_exp", _data_mixing_exp, largest=32, listed=(2, 3))
regmix_linear = Family("regmix_linear", _regmix_linear, largest=64, listed=(2, 3))
