"""Cross-validation of posteriors: leave-one-out and leave-future-out predictive densities."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.bayes.pointwise import pointwise, psis_weights, scoring_model, unit_labels
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.results.draws import NO_MODEL, Draws
from jaxscale.utils.arrays import Number
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean
from jaxscale.utils.notices import CODES, Notice
from jaxscale.utils.text import item, wrap


@dataclass(frozen=True)
class Elpd:
    """Expected log pointwise predictive density (elpd) of held-out rows, or of runs where these share an effect.

    Args:
        law: the law of the draws.
        method: "loo", or "leave-future-out by" and the scale.
        elpd: sum of ``pointwise``, in nats; larger is better.
        se: its standard error, ``sqrt(n var(pointwise))``.
        p_loo: effective number of parameters; NaN where the method has none.
        pointwise: log predictive density of every unit, shape (n,).
        khat: k-hat of the importance weights of every unit, shape (n,); NaN where there are none.
        unit: "row" or "run".
        labels: number of the (first) row of every unit, shape (n,).
        data: fingerprint of the table.
        about: settings and diagnostics of the method.
        notices: conditions that affect the interpretation of the densities.
    """

    law: Law | str
    method: str
    elpd: float
    se: float
    p_loo: float
    pointwise: Float[np.ndarray, " unit"]
    khat: Float[np.ndarray, " unit"]
    unit: str
    labels: Int[np.ndarray, " unit"]
    data: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def __len__(self) -> int:
        """The number of units."""
        return len(self.pointwise)

    def __str__(self) -> str:
        """The report: sum, standard error, diagnostics and notices, 80 columns wide."""
        lines = item("Method", f"{self.method}, {len(self)} {self.unit}s, {self.law}")
        lines += item("elpd", f"{self.elpd:.2f} (standard error {self.se:.2f})")
        if math.isfinite(self.p_loo):
            lines += item("p_loo", f"{self.p_loo:.2f}")
        if np.isfinite(self.khat).any():
            lines += item("k-hat", f"at most {np.nanmax(self.khat):.2f}")
        for key, value in self.about.items():
            lines += item(key.capitalize(), str(value))
        for notice in self.notices:
            lines += ["", *wrap(f"{notice.code}: {notice.message}", "", "  ")]
            lines += wrap(f"Remedy: {CODES[notice.code][1]}", "  ")
        return "\n".join(lines)


def loo(draws: Draws) -> Elpd:
    """Leave-one-out cross-validation by PSIS, ``sum_i log p(y_i | y_-i)``.

    Each unit is left out by Pareto-smoothed importance weights ``1 / p(y_i | theta)``, without refitting. A unit is a
    row, or a run where rows share a random effect, which is integrated out: the remaining rows of a run would reveal
    its effect.

    Args:
        draws: posterior draws with their model.

    Returns:
        The log predictive densities, with a notice (``bad_loo``) that names the units whose k-hat is above 0.7.

    Raises:
        NotUsableError: ``draws.ok`` is False.
        ValueError: the draws have no model, or are fewer than 25.

    Source: Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4.
    """
    _check_draws(draws)
    each = pointwise(draws.model, {**draws.params, **draws.nuisance})
    log_weights, khat = psis_weights(-each, draws)
    scores = _mean(log_weights, each)
    p_loo = float(np.sum(_mean(np.full(each.shape, -math.log(len(draws))), each) - scores))
    unit, labels = unit_labels(draws.model, draws.observations)
    return _elpd(draws.law, "loo", scores, khat, unit, labels, draws.observations, {}, p_loo)


def leave_future_out(
    posterior: Callable[[Observations], Draws],
    observations: Observations,
    size: str | Real[np.ndarray, " row"] | Sequence[Number],
    *,
    first: float | None = None,
    refits: int = 3,
) -> Elpd:
    """Leave-future-out cross-validation by size: larger runs are scored given the smaller ones.

    ``sum_j sum_{i: s_i = s_j} log p(y_i | all y with s < s_j)`` over the sizes s_j above the first fit. The posterior
    is sampled again at ``refits`` sizes, and wherever the importance weights have k-hat >= 0.7; in between, draws are
    reweighted by ``prod p(y_i | theta)`` over the units added since. Held-out rows have weight 0, so that all fits
    have arrays of the same shape: default priors depend on their inputs, nothing on their responses.

    Args:
        posterior: maps observations to draws with their model: ``lambda rows: posterior(law, rows)``.
        observations: the data; all rows of a run enter at the largest of their sizes.
        size: the size: name of an input, or a number per row, shape (n,), such as its compute.
        first: largest size included in the first fit; default: the median.
        refits: minimum number of posteriors sampled, at sizes evenly spaced by rank.

    Returns:
        The log predictive densities of the units above the first sizes, with the k-hat of each step.

    Raises:
        NotUsableError: ``ok`` of some draws is False.
        ValueError: an argument is invalid, or the draws do not suit.

    Source: Buerkner, Gabry & Vehtari 2020, doi:10.1080/00949655.2020.1783262.
    """
    scale, label = _scale(observations, size)
    if isinstance(refits, bool) or not isinstance(refits, int | np.integer) or refits < 1:
        raise ArgumentError("refits", f"must be a positive number, but is {refits!r}.")
    used = observations.weight > 0
    sizes = np.unique(scale[used])
    up_to = float(np.quantile(scale[used], 0.5, method="lower")) if first is None else float(first)
    start = int(np.searchsorted(sizes, up_to, side="right")) - 1
    if not 0 <= start < len(sizes) - 1:
        raise ArgumentError(
            "first",
            f"must leave sizes of {label} on both sides, which run from {sizes[0]:g} to {sizes[-1]:g}, "
            f"but is {up_to:g}.",
        )
    refit_steps = set(np.linspace(start, len(sizes) - 2, int(refits)).round().astype(int)) | {start}
    future = _LeaveFutureOut(posterior, observations, scale)
    for j in range(start, len(sizes) - 1):
        future.step(sizes[j], sizes[j + 1], j in refit_steps)
    scored = np.flatnonzero(future.size > sizes[start])
    about = {"refits": future.fits, "first": f"{label} up to {sizes[start]:g}"}
    return _elpd(
        future.draws.law,
        f"leave-future-out by {label}",
        future.scores[scored],
        future.khat[scored],
        future.unit,
        future.labels[scored],
        observations,
        about,
    )


class _LeaveFutureOut:
    """State of leave-future-out cross-validation: the last posterior, and the scores so far."""

    draws: Draws
    unit = ""

    def __init__(
        self, posterior: Callable[[Observations], Draws], observations: Observations, scale: Float[np.ndarray, " row"]
    ) -> None:
        self.posterior, self.observations, self.scale = posterior, observations, scale
        self.fits, self.fitted = 0, -math.inf
        self.each = self.size = self.scores = self.khat = self.labels = np.empty(0)

    def step(self, largest: float, next_size: float, refit: bool) -> None:
        """Score the units of the next size given all smaller ones."""
        if not refit:
            inside = (self.size > self.fitted) & (self.size <= largest)
            log_weights, khat = psis_weights(self.each[:, inside].sum(axis=1, keepdims=True), self.draws)
            refit = not khat[0] < KHAT_LIMIT
        if refit:
            self._fit(largest)
            log_weights, khat = np.full((len(self.draws), 1), -math.log(len(self.draws))), np.array([math.nan])
        units = self.size == next_size
        self.scores[units] = _mean(log_weights, self.each[:, units])  # pyright: ignore[reportPossiblyUnbound]
        self.khat[units] = khat[0]  # pyright: ignore[reportPossiblyUnbound]

    def _fit(self, largest: float) -> None:
        weight = np.where(self.scale <= largest, self.observations.weight, 0.0)
        draws = self.posterior(replace(self.observations, weight=weight))
        _check_draws(draws)
        model = scoring_model(draws.model, self.observations)
        unit, labels = unit_labels(model, self.observations)
        if self.unit not in ("", unit):
            raise ArgumentError(
                "posterior",
                f"must give the runs an effect in every fit or in none, but it does so only where "
                f"{self.unit}s are not alone; say which: likelihood=likelihoods.normal(runs=True).",
            )
        if not self.unit:
            self.scores, self.khat = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
            rows = self.observations.rows or range(1, len(self.observations) + 1)
            place = {row: k for k, row in enumerate(rows)}
            self.size = self.scale[[place[label] for label in labels]]
        self.draws, self.unit, self.labels = draws, unit, labels
        self.each = pointwise(model, {**draws.params, **draws.nuisance})
        self.fits, self.fitted = self.fits + 1, largest


def _check_draws(draws: Draws) -> None:
    if not isinstance(draws, Draws):
        raise ArgumentTypeError("draws", f"must be what posterior returned, but is {type(draws).__name__}.")
    if draws.model is None:
        raise ValueError(
            f"These draws ({draws.method}) {NO_MODEL}, so their likelihood cannot be computed; use those returned by "
            "posterior."
        )
    draws.require_ok()


def _scale(
    observations: Observations, by: str | Real[np.ndarray, " row"] | Sequence[Number]
) -> tuple[Float[np.ndarray, " row"], str]:
    """The size of every row, or the largest of its run where it has one, and the name of the size."""
    if isinstance(by, str):
        if by not in observations.inputs or observations.inputs[by].ndim != 1:
            known = [name for name, values in observations.inputs.items() if values.ndim == 1]
            raise ArgumentError(
                "size", f"must name an input, but is {by!r}{did_you_mean(by, known)}; these are {', '.join(known)}."
            )
        scale, label = observations.inputs[by], by
    else:
        scale, label = np.asarray(by, float), "scale"
        if scale.shape != (len(observations),) or not np.isfinite(scale).all():
            raise ArgumentError(
                "size",
                f"must hold a finite number for each of the {len(observations)} rows, but has shape {scale.shape}.",
            )
    if observations.run is None:
        return scale, label
    largest = np.full(int(observations.run.max()) + 1, -np.inf)
    np.maximum.at(largest, observations.run, np.where(observations.weight > 0, scale, -np.inf))
    return largest[observations.run], label


def _mean(log_weights: Float[np.ndarray, "draw _"], each: Float[np.ndarray, "draw unit"]) -> Float[np.ndarray, " unit"]:
    """Log of the weighted mean density of every unit, shape (units,)."""
    from scipy.special import logsumexp

    return np.asarray(logsumexp(log_weights + each, axis=0))


def _elpd(
    law: Law | str,
    method: str,
    scores: Float[np.ndarray, " unit"],
    khat: Float[np.ndarray, " unit"],
    unit: str,
    labels: Int[np.ndarray, " unit"],
    data: Observations | None,
    about: Mapping[str, Any],
    p_loo: float = math.nan,
) -> Elpd:
    notices = ()
    bad = labels[khat > KHAT_LIMIT]
    if len(bad):
        listing = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        rows = f"{'row' if data is None else data.row_unit}s"
        which = rows if unit == "row" else f"the runs that begin in {rows}"
        message = f"k-hat is above {KHAT_LIMIT} for {len(bad)} of {len(labels)} {unit}s ({which} {listing})."
        notices = (Notice("bad_loo", message),)
    se = standard_error(scores)
    sha256 = "" if data is None else data.sha256
    return Elpd(law, method, float(scores.sum()), se, p_loo, scores, khat, unit, labels, sha256, about, notices)


def standard_error(values: Float[np.ndarray, " unit"]) -> float:
    """Standard error of a sum of pointwise values."""
    return float(math.sqrt(len(values) * np.var(values, ddof=1))) if len(values) > 1 else math.nan
