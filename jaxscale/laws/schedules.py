"""Loss curves under a learning-rate schedule."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.law import (
    Input,
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
from jaxscale.utils.arrays import Array, Number, Numbers, Value

PARAMETERS = Input("parameters", lower=1e5)
TOKENS = Input("tokens", lower=1e6)
RATE_SUM = Input("sum of learning rates", typical=(0.05, 20.0))
# 0 at a constant rate, negative where the rate has risen.
ANNEALING = Input("annealing area", low=-math.inf, typical=(1e-3, 0.5))
LOSS = Response("nat/token", positive)
TISSUE = "Scaling Law with Learning Rate Annealing, Tissue 2024, arXiv:2408.11029"
LUO = "A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, Luo 2025, arXiv:2503.12811"
# Neighbours whose logs differ by more belong to different stretches of a schedule.
JUMP = 1.5
# At a rate of 0 the term is at its limit; its power must not overflow.
SMALLEST_RATE = 1e-30


def _validate_steps(
    step: Real[Value, "*row"] | Sequence[Number], schedule: Real[Array, " step"] | Sequence[Number]
) -> tuple[Int[np.ndarray, "*row"], Float[np.ndarray, " step"]]:
    """Steps as indices into the schedule."""
    rates, index = np.asarray(schedule, float), np.asarray(step).astype(int)
    if np.any(rates < 0):
        raise ValueError(f"A schedule must not hold negative learning rates, but holds {rates.min():g}.")
    if np.any(index < 0) or np.any(index >= len(rates)):
        worst = index.min() if np.any(index < 0) else index.max()
        raise ValueError(
            f"Step {worst} lies outside the schedule, whose steps are 0 to {len(rates) - 1}; "
            "give the learning rate of every step."
        )
    return index, rates


def _drops(rates: np.ndarray, rises: bool) -> np.ndarray:
    """Decrease of the rate at each step; without ``rises``, 0 before its first peak."""
    drops = -np.diff(rates, prepend=rates[:1])
    if not rises:
        drops[: int(np.argmax(rates)) + 1] = 0.0
    return drops


def annealing_sums(
    step: Real[Value, "*row"] | Sequence[Number],
    schedule: Real[Array, " step"] | Sequence[Number],
    *,
    memory: float = 0.999,
    rises: bool = False,
) -> dict[str, Any]:
    """The sums over a schedule in ``lr_annealing``.

    ``S1 = sum_i eta_i``, ``S2 = sum_i m_i`` with ``m_i = memory * m_(i-1) + eta_(i-1) - eta_i``

    Args:
        step: index into the schedule of the last step taken, shape (n,).
        schedule: learning rate of every step from the first one on, warm-up included, shape (steps,).
        memory: share of the momentum ``m`` that a step keeps.
        rises: whether the rises of the warm-up, which are negative falls, count in ``S2``.

    Raises:
        ValueError: a step lies outside the schedule, or a rate is negative.
    """
    from scipy.signal import lfilter

    index, rates = _validate_steps(step, schedule)
    momentum = lfilter([1.0], [1.0, -memory], _drops(rates, rises))
    return dict(S1=np.cumsum(rates)[index], S2=np.cumsum(momentum)[index])


def rate_changes(
    step: Real[Value, "*row"] | Sequence[Number],
    schedule: Real[Array, " step"] | Sequence[Number],
    *,
    rises: bool = True,
    knots: int = 64,
) -> dict[str, Any]:
    """Changes of a schedule for ``multi_power``, each with its rate and the sum of rates since.

    Up to ``knots`` changes are kept as they are. More are merged, neighbours of one sign at a time, into pairs that
    keep the four lowest moments (Gauss quadrature) along the curve of the logs of rate and sum.

    Args:
        step: index into the schedule of the last step taken, shape (n,).
        schedule: learning rate of every step from the first one on, warm-up included, shape (steps,).
        rises: whether the rises of the warm-up count.
        knots: number of changes that each row holds.

    Returns:
        ``S1`` of shape (n,); ``fall``, ``rate`` and ``travel`` of shape (knots, n).

    Raises:
        ValueError: a step lies outside the schedule, a rate is negative, or the rate turns too often.
    """
    index, rates = _validate_steps(step, schedule)
    index, shape = np.atleast_1d(index), np.shape(step)
    total, drops = np.cumsum(rates), _drops(rates, rises)
    changes = np.flatnonzero(drops)
    logs = np.log(np.maximum(rates, SMALLEST_RATE))
    table = np.empty((3, knots, len(index)))
    for row, last in enumerate(index):
        k = changes[: np.searchsorted(changes, last, side="right")]
        travel = total[last] - total[k - 1]
        # The term is 0 while the rate has been 0 since.
        moved = travel > 0
        kept = drops[k][moved], logs[k][moved], np.log(travel[moved])
        if len(kept[0]) > knots:
            kept = _merge_changes(*kept, knots // 2)
        fill = ((0, knots - len(kept[0])),)
        table[:, :, row] = np.pad(kept[0], fill), np.exp(np.pad(kept[1], fill)), np.exp(np.pad(kept[2], fill))
    fall, rate, travel = table.reshape(3, knots, *shape)
    return dict(S1=total[index].reshape(shape), fall=fall, rate=rate, travel=travel)


def changes_after_warmup(
    step: Real[Value, "*row"] | Sequence[Number], schedule: Real[Array, " step"] | Sequence[Number]
) -> dict[str, Any]:
    """:func:`rate_changes` without the rises of the warm-up."""
    return rate_changes(step, schedule, rises=False)


def _merge_changes(
    fall: np.ndarray, log_rate: np.ndarray, log_travel: np.ndarray, pieces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two knots for each of at most ``pieces`` stretches of a path that a quadrature of its changes needs."""
    moved = np.abs(np.diff(log_rate, prepend=log_rate[:1])) + np.abs(np.diff(log_travel, prepend=log_travel[:1]))
    # A jump is no part of a curve: what comes after it is merged on its own.
    apart = (np.diff(np.sign(fall), prepend=np.sign(fall[:1])) != 0) | (moved > JUMP)
    length, turns = np.cumsum(np.where(apart, 1.0, moved)), np.cumsum(apart)
    free = pieces - int(turns[-1]) - 1
    if free < 4:
        raise ValueError(
            f"The learning rate turns {int(turns[-1])} times, too often for a sum with {2 * pieces} knots."
        )
    # The error of a stretch is its mass times the fourth power of its length: spread it evenly.
    share = np.cumsum(np.where(apart, 0.0, (moved**4 * np.abs(fall)) ** 0.2))
    stretch = np.minimum(share * (free / max(share[-1], 1e-300)), free - 1).astype(int)
    first = np.flatnonzero(np.diff(stretch + 2 * free * turns, prepend=-1))
    count = np.diff(first, append=len(fall))
    mass = np.add.reduceat(fall, first)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(fall * values, first) / mass

    middle = mean(length)
    away = length - np.repeat(middle, count)
    spread = np.sqrt(np.maximum(mean(away**2), 0.0))
    safe = np.where(spread > 0, spread, 1.0)
    skew = np.where(spread > 0, mean(away**3) / safe**3, 0.0) / 2
    root = np.sqrt(1 + skew**2)
    low, high = skew - root, skew + root
    weight = np.concatenate([mass * high, -mass * low]) / np.concatenate([high - low] * 2)
    place = np.concatenate([middle + spread * low, middle + spread * high])
    return weight, np.interp(place, length, log_rate), np.interp(place, length, log_travel)


@law(
    inputs=dict(S1=RATE_SUM, S2=ANNEALING),
    response=LOSS,
    L0=floor(range=(0.5, 10.0), unit="nat/token", meaning="irreducible loss"),
    A=amplitude(S1="alpha", range=(1e-3, 10.0), meaning="size of the term of the learning rates' sum"),
    alpha=exponent(meaning="power of the learning rates' sum"),
    C=positive_number(range=(0.01, 0.9), meaning="loss removed by annealing"),
    formula=r"L = L_0 + A S_1^{-\alpha} - C S_2,\; S_1 = \sum_i \eta_i,\; S_2 = \sum_i m_i,\;"
    r" m_i = \lambda m_{i-1} + \eta_{i-1} - \eta_i",
    source=TISSUE,
    affine=("L0", "A", "C"),
    decreasing=("S1", "S2"),
    prepare=annealing_sums,
)
def lr_annealing(S1, S2, *, L0, A, alpha, C):
    """Loss along a schedule: it falls with the sum of learning rates and further where the rate falls.

    ``L = L0 + A * S1**-alpha - C * S2`` with ``S1 = sum_i eta_i``, ``S2 = sum_i m_i``,
    ``m_i = 0.999 * m_(i-1) + eta_(i-1) - eta_i``

    Both sums are computed from ``step`` and ``schedule`` (:func:`annealing_sums`), where these are given instead; the
    rises of the warm-up are left out of ``S2``. At a constant rate ``S2`` is 0 and ``C`` is not identified.

    Source: Tissue 2024, arXiv:2408.11029.
    """
    return L0 + A * S1**-alpha - C * S2


@law(
    inputs=dict(S1=RATE_SUM, S2=ANNEALING, N=PARAMETERS),
    response=LOSS,
    L0=floor(range=(0.5, 10.0), unit="nat/token", meaning="irreducible loss"),
    A=amplitude(S1="alpha", range=(1e-3, 10.0), meaning="size of the term of the learning rates' sum"),
    alpha=exponent(meaning="power of the learning rates' sum"),
    C=positive_number(range=(0.01, 0.9), meaning="loss removed by annealing"),
    B=amplitude(N="beta", range=(1.0, 1e9), meaning="size of the model term"),
    beta=exponent(meaning="power of the parameters"),
    formula=r"L = L_0 + A S_1^{-\alpha} - C S_2 + B N^{-\beta}",
    source=f"{TISSUE}; unconfirmed form",
    affine=("L0", "A", "C", "B"),
    decreasing=("S1", "S2", "N"),
    prepare=annealing_sums,
)
def lr_annealing_n(S1, S2, N, *, L0, A, alpha, C, B, beta):
    """Loss along a schedule for models of several sizes: ``lr_annealing`` with a term of the model.

    ``L = L0 + A * S1**-alpha - C * S2 + B * N**-beta``

    The sums are those of ``lr_annealing``, also in how they are computed. A large model leaves ``lr_annealing``.

    Source: Tissue 2024, arXiv:2408.11029; unconfirmed form.
    """
    return L0 + A * S1**-alpha - C * S2 + B * N**-beta


@law(
    inputs=dict(N=PARAMETERS, D=TOKENS, S2=ANNEALING),
    response=Response("nat/token", real),
    a=coefficient(range=(0.1, 20.0), meaning="log size of the model term"),
    alpha=exponent(meaning="power of the parameters"),
    b=coefficient(range=(0.1, 20.0), meaning="log size of the data term"),
    beta=exponent(meaning="power of the tokens"),
    E=floor(unit="nat/token", meaning="irreducible loss"),
    F=positive_number(range=(1e-3, 10.0), meaning="loss removed by annealing, at one parameter"),
    r=exponent(real, range=(-0.5, 0.5), meaning="power of the parameters in the gain of annealing"),
    formula=r"L = \frac{e^{a}}{N^{\alpha}} + \frac{e^{b}}{D^{\beta}} + E - F S_2 N^{r}",
    source="after Establishing Task Scaling Laws via Compute-Efficient Model Ladders, Bhagia 2024; unconfirmed form",
    affine=("E", "F"),
    decreasing=("D", "S2"),
)
def lr_annealing_nd(N, D, S2, *, a, alpha, b, beta, E, F, r):
    """Chinchilla along a schedule: annealing reduces the loss by a term that depends on model size.

    ``L = exp(a) / N**alpha + exp(b) / D**beta + E - F * S2 * N**r``

    Without annealing this is ``chinchilla`` with ``A = exp(a)`` and ``B = exp(b)``. The ladder's own code has
    ``1 - h`` for ``S2``, with ``h`` the rate as a share of its peak: give that as the input to fit its form.

    Source: after Bhagia 2024; unconfirmed form.
    """
    return jnp.exp(a - alpha * jnp.log(N)) + jnp.exp(b - beta * jnp.log(D)) + E - F * S2 * N**r


FALL = Input("fall of the learning rate", low=-math.inf, typical=(1e-6, 1e-4))
RATE = Input("learning rate", typical=(1e-5, 1e-3))
POWERS: dict[str, Any] = dict(
    inputs=dict(S1=RATE_SUM, fall=FALL, rate=RATE, travel=RATE_SUM),
    response=LOSS,
    L0=floor(range=(0.5, 10.0), unit="nat/token", meaning="irreducible loss"),
    A=amplitude(S1="alpha", range=(1e-3, 10.0), meaning="size of the term of the learning rates' sum"),
    alpha=exponent(meaning="power of the learning rates' sum"),
    B=positive_number(range=(10.0, 4e3), meaning="loss removed by a fall of the rate in the end, per unit"),
    C=positive_number(range=(0.05, 50.0), meaning="how soon the gain of a fall sets in"),
    beta=exponent(range=(0.05, 2.0), meaning="power with which the gain of a fall sets in"),
    gamma=exponent(range=(0.05, 2.0), meaning="power of the rate after the fall"),
    formula=r"L = L_0 + A S_1^{-\alpha} - B \sum_k (\eta_{k-1} - \eta_k)"
    r" \left[1 - \left(1 + C \eta_k^{-\gamma} S_k\right)^{-\beta}\right],\; S_k = \sum_{i=k}^{t} \eta_i",
    source=LUO,
    affine=("L0", "A", "B"),
    decreasing=("S1",),
)


def _multi_power(
    S1: Numbers,
    fall: Numbers,
    rate: Numbers,
    travel: Numbers,
    *,
    L0: Numbers,
    A: Numbers,
    alpha: Numbers,
    B: Numbers,
    C: Numbers,
    beta: Numbers,
    gamma: Numbers,
) -> Numbers:
    gain = -jnp.expm1(-beta * jnp.log1p(C * travel * rate**-gamma)) * fall
    return L0 + A * S1**-alpha - B * (jnp.sum(gain, axis=0) if jnp.ndim(gain) > jnp.ndim(S1) else gain)


@law(
    **POWERS,
    published=dict(
        luo2025_25m=dict(
            L0=3.04045406,
            A=0.52468604,
            alpha=0.50786857,
            B=363.78751622,
            C=2.06560812,
            beta=0.58279013,
            gamma=0.64142257,
        ),
        luo2025_100m=dict(
            L0=2.6514477, A=0.60115152, alpha=0.45295811, B=437.9464276, C=2.13245612, beta=0.59785199, gamma=0.65523644
        ),
    ),
    prepare=rate_changes,
)
def multi_power(S1, fall, rate, travel, *, L0, A, alpha, B, C, beta, gamma):
    """Loss along a schedule: a power law in the sum of learning rates, less a gain of every decrease of the rate.

    ``L = L0 + A * S1**-alpha - B * sum_k fall_k * (1 - (1 + C * rate_k**-gamma * travel_k)**-beta)`` with
    ``fall_k = eta_(k-1) - eta_k``, ``rate_k = eta_k`` and ``travel_k = eta_k + ... + eta_t``

    ``fall``, ``rate`` and ``travel`` hold one number a change along their first axis, or are plain numbers for a
    single change. They are computed from ``step`` and ``schedule`` (:func:`rate_changes`), where these are given
    instead. Here the rises of the warm-up count as negative falls, as in the published constants;
    ``multi_power_after_warmup`` leaves them out, and constants of one do not suit the other.

    Source: Luo 2025, arXiv:2503.12811.
    """
    return _multi_power(S1, fall, rate, travel, L0=L0, A=A, alpha=alpha, B=B, C=C, beta=beta, gamma=gamma)


@law(**POWERS, prepare=changes_after_warmup)
def multi_power_after_warmup(S1, fall, rate, travel, *, L0, A, alpha, B, C, beta, gamma):
    """Loss along a schedule as in ``multi_power``, where the rises of the warm-up cost nothing.

    ``L = L0 + A * S1**-alpha - B * sum_k fall_k * (1 - (1 + C * rate_k**-gamma * travel_k)**-beta)`` over the
    steps ``k`` after the first peak of the rate

    At a constant rate after the warm-up this is ``power_law_floor`` in the sum of rates, warm-up included.

    Source: Luo 2025, arXiv:2503.12811.
    """
    return _multi_power(S1, fall, rate, travel, L0=L0, A=A, alpha=alpha, B=B, C=C, beta=beta, gamma=gamma)
