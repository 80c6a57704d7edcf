"""Data quality: filtering, synthetic data, truncated tails, pruning."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxscale.law import (
    Check,
    Input,
    Law,
    Response,
    amplitude,
    exponent,
    floor,
    law,
    positive,
    positive_number,
    real,
)
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Number, Numbers

FAMILY = "data"
ERROR = Response("error", positive)
SEEN = Input("samples seen", typical=(1e6, 1e10))
POOL = Input("samples in the pool", typical=(1e5, 3e8))
FILTERING = "Scaling Laws for Data Filtering: Data Curation cannot be Compute Agnostic, Goyal 2024"
PASSES = 128


def _log_utility(n: Numbers, u: Numbers, power: Callable[[Any], Any]) -> Numbers:
    """``b_1 * log(n_1) + sum_j b_j * log(n_j / n_(j-1))`` over the passes, with ``b_j = power(j)``.

    A pass that has not started has ``n_j = n_(j-1)`` and adds nothing; the last one takes the rest.
    """

    def one(j: Number):
        started = jnp.where(j == 1, 1.0, jnp.minimum((j - 1) * u, n))
        ended = jnp.where(j == PASSES, n, jnp.minimum(j * u, n))
        return power(j) * jnp.log(ended / started)

    passes = jnp.arange(1, PASSES + 1, dtype=jnp.result_type(float, n, u))
    return jnp.sum(jax.vmap(one)(passes), axis=0)


@law(
    inputs=dict(n=SEEN, u=POOL),
    response=ERROR,
    a=amplitude(n="-b", range=(1e-3, 1e6), meaning="reducible error at one sample"),
    b=exponent(real, range=(-1.5, -0.01), meaning="utility of a sample when first seen"),
    tau=positive_number(range=(0.1, 1e3), unit="passes", meaning="passes that halve the utility"),
    d=floor(meaning="irreducible error"),
    formula=r"y = a\, n_1^{b_1} \prod_{j=2}^{k} \left(\frac{n_j}{n_{j-1}}\right)^{b_j} + d,\;"
    r"b_j = b\, 2^{-(j-1)/\tau},\; n_j = \min(j u, n),\; k = \max(1, \lceil n/u \rceil)",
    source=FILTERING,
    affine=("a", "d"),
    decreasing=("n", "u"),
    checks=(
        Check(0.1603, at=dict(n=4e7, u=1e7), params=dict(a=2.0, b=-0.2, tau=1e12, d=0.1)),
        Check(0.1679, at=dict(n=4e7, u=1e7), params=dict(a=2.0, b=-0.2, tau=2.0, d=0.1)),
        Check(0.1706, at=dict(n=2.5e7, u=1e7), params=dict(a=2.0, b=-0.2, tau=2.0, d=0.1)),
    ),
)
def filtering_utility(n, u, *, a, b, tau, d):
    """Error against samples seen, with decreasing utility of repeated passes over the pool.

    ``y = a * n_1**b_1 * prod_(j=2..k) (n_j / n_(j-1))**b_j + d`` with ``b_j = b * (1 / 2)**((j - 1) / tau)``,
    ``n_j = min(j * u, n)`` and ``k = max(1, ceil(n / u))``

    Within the first pass this is ``a * n**b + d``. Passes beyond the 128th count like the 128th.

    Source: Goyal 2024.
    """
    return a * jnp.exp(_log_utility(n, u, lambda j: b * jnp.exp2(-(j - 1) / tau))) + d


def _pools(count: int) -> dict[str, Any]:
    """The parameters of a mixture of ``count`` pools."""
    declared: dict[str, Any] = dict(
        a=positive_number(range=(1e-3, 1e6), meaning="reducible error at one sample"),
        d=floor(meaning="irreducible error"),
    )
    for i in range(1, count + 1):
        declared[f"b{i}"] = exponent(real, range=(-1.5, -0.01), meaning=f"utility of a new sample of pool {i}")
        declared[f"tau{i}"] = positive_number(
            range=(0.1, 1e3), unit="passes", meaning=f"passes that halve the utility of pool {i}"
        )
    return declared


def _mixture(count: int) -> Law:
    """The law of ``count`` pools in equal shares."""
    declared = _pools(count)

    def mixed(n, u, *, a, d, **pools):
        """Error with samples in equal proportions from several pools of decreasing utility.

        ``y = a * n_1**b_1 * prod_(j=2..k) (n_j / n_(j-1))**b_j + d`` with
        ``b_j = mean_i b_i * (1 / 2)**((j - 1) / (p * tau_i))`` over the ``p`` pools, ``n_j = min(j * u, n)``
        and ``k = max(1, ceil(n / u))``

        ``b1, tau1, b2, ...`` belong to the pools and come from ``filtering_utility`` fitted to each, so
        that a mixture is predicted before it is trained on. From mixtures alone the pools are not
        identified: exchanging two gives the same law.

        Source: Goyal 2024; unconfirmed form.
        """

        def power(j):
            each = [pools[f"b{i}"] * jnp.exp2(-(j - 1) / (count * pools[f"tau{i}"])) for i in range(1, count + 1)]
            return sum(each) / count

        return a * jnp.exp(_log_utility(n, u, power)) + d

    probe = dict(a=2.0, d=0.1, b1=-0.2, tau1=2.0, b2=-0.1, tau2=4.0)
    return law(
        name=f"filtering_pool_mix{count}",
        inputs=dict(n=SEEN, u=POOL),
        response=ERROR,
        formula=r"y = a\, n_1^{b_1} \prod_{j=2}^{k} \left(\frac{n_j}{n_{j-1}}\right)^{b_j} + d,\;"
        rf"b_j = \frac{{1}}{{{count}}} \sum_{{i=1}}^{{{count}}} b_i\, 2^{{-(j-1)/({count} \tau_i)}},\;"
        r"n_j = \min(j u, n)",
        source=f"{FILTERING}; unconfirmed form",
        affine=("a", "d"),
        decreasing=("n", "u"),
        checks=(Check(0.2513, at=dict(n=4e7, u=1e7), params=probe),) if count == 2 else (),
        **declared,
    )(with_signature(mixed, ["n", "u"], declared))


filtering_pool_mix = Family("filtering_pool_mix", _mixture, largest=8, listed=(1, 2, 3))


@law(
    inputs=dict(D=Input("samples", typical=(1e3, 1e12)), r=Input("0 or 1", low=-1.0, typical=(0.0, 1.0))),
    response=ERROR,
    E=floor(meaning="irreducible error"),
    A=amplitude(D="alpha", range=(1e-3, 1e9), meaning="reducible error of one sample of the reference"),
    alpha=exponent(meaning="power of the samples"),
    m=positive_number(range=(0.05, 100.0), meaning="samples of the reference that one of the recipe is worth"),
    formula=r"\varepsilon = E + A\,(m^{r} D)^{-\alpha}",
    source="CoLoR-Filter: Conditional Loss Reduction Filtering for Targeted Language Model Pre-training, "
    "Brandfonbrener 2024; RL on Incorrect Synthetic Data Scales the Efficiency of LLM Math Reasoning by Eight-Fold, "
    "Setlur 2024; Data Selection via Optimal Control for Language Models, Gu 2024; unconfirmed form",
    affine=("E", "A"),
    decreasing=("D",),
)
def data_multiplier(D, r, *, E, A, alpha, m):
    """Data recipe of which each sample is equivalent to ``m`` samples of a reference.

    ``err = E + A / (m**r * D)**alpha`` with ``r = 0`` for the reference and ``r = 1`` for the recipe

    The two curves are one, shifted by ``log(m)`` on a log axis of samples. Reported multipliers are 1.8 to
    25; the papers measure them at equal error, and the power law with a floor is a choice made here.

    Source: Brandfonbrener 2024; Setlur 2024; Gu 2024; unconfirmed form.
    """
    return E + A * (m**r * D) ** -alpha


@law(
    inputs=dict(
        n=Input("generations", low=-1.0, typical=(0.0, 10.0)),
        T=Input("samples", typical=(1e3, 1e7)),
        T0=Input("samples", typical=(1e3, 1e7)),
        d=Input("dimensions", typical=(1.0, 500.0)),
    ),
    response=Response("squared error", positive),
    sigma_sq=positive_number(range=(1e-4, 1e4), meaning="noise variance of the last generation's labels"),
    sigma0_sq=positive_number(range=(1e-4, 1e4), meaning="noise variance of the labels of a generator"),
    formula=r"E_n = \frac{\sigma^2 d}{T - d - 1} + n \frac{\sigma_0^2 d}{T_0 - d - 1}",
    source="Model Collapse Demystified: The Case of Regression, Dohmatob 2024; unconfirmed form",
    affine=("sigma_sq", "sigma0_sq"),
    decreasing=("T", "T0"),
    checks=(
        Check(0.3344, at=dict(n=0.0, T=400.0, T0=300.0, d=100.0), params=dict(sigma_sq=1.0, sigma0_sq=1.0)),
        Check(0.837, at=dict(n=1.0, T=400.0, T0=300.0, d=100.0), params=dict(sigma_sq=1.0, sigma0_sq=1.0), rtol=5e-3),
        Check(2.847, at=dict(n=5.0, T=400.0, T0=300.0, d=100.0), params=dict(sigma_sq=1.0, sigma0_sq=1.0)),
    ),
)
def collapse_ols(n, T, T0, d, *, sigma_sq, sigma0_sq):
    """Excess error of least squares trained on labels that ``n`` generations of models have made.

    ``E_n = sigma**2 * d / (T - d - 1) + n * sigma0**2 * d / (T0 - d - 1)`` for ``T, T0 > d + 1``

    The parameters are the variances ``sigma**2`` and ``sigma0**2``. Ordinary least squares with isotropic
    inputs only; the error counts what exceeds the noise.

    Source: Dohmatob 2024; unconfirmed form.
    """
    return sigma_sq * d / (T - d - 1) + n * sigma0_sq * d / (T0 - d - 1)


@law(
    inputs=dict(T=Input("samples", typical=(1e2, 1e10)), k=Input("ranks", typical=(10.0, 1e7))),
    response=ERROR,
    a=positive_number(range=(1e-3, 1e3), meaning="size of the term of the samples"),
    b=amplitude(k="beta", range=(1e-3, 1e3), meaning="size of the term of the cut tail"),
    beta=exponent(range=(1.01, 4.0), meaning="exponent of the distribution of ranks"),
    formula=r"E = a T^{-c} + b k^{-(\beta - 1)},\; c = 1 - \frac{1}{\beta}",
    source="A Tale of Tails: Model Collapse as a Change of Scaling Laws, Dohmatob 2024",
    affine=("a", "b"),
    decreasing=("T", "k"),
)
def tails_truncation(T, k, *, a, b, beta):
    """Test error of training on samples whose tail beyond a rank has been cut.

    ``E = a * T**-c + b * k**-(beta - 1)`` with ``c = 1 - 1 / beta`` and ``beta > 1``

    A generator trained on ``T0`` samples cuts at a rank of about ``T0**(1 / beta)``, so that the floor it
    leaves falls as ``T0**-c``.

    Source: Dohmatob 2024.
    """
    return a * T ** (1 / beta - 1) + b * k ** (1 - beta)


@law(
    inputs=dict(P=Input("examples kept", typical=(1e2, 1e4))),
    response=ERROR,
    a=positive_number(range=(1e-3, 1e2), meaning="error without examples"),
    b=positive_number(range=(1e-9, 1e-2), meaning="decrease of log error per example"),
    formula=r"\varepsilon = a e^{-b P}",
    source="Beyond neural scaling laws: beating power law scaling via data pruning, Sorscher 2022; unconfirmed form",
    affine=("a",),
    decreasing=("P",),
)
def pruned_exponential(P, *, a, b):
    """Error falls exponentially with the examples kept, if the best ones are kept at every size.

    ``err = a * exp(-b * P)``

    It describes the envelope over all shares that are pruned; examples kept at random give a power law,
    ``compute_power`` in ``P``. Compare the two on larger sizes that are held out.

    Source: Sorscher 2022; unconfirmed form.
    """
    return a * jnp.exp(-b * P)
