"""Foretelling: what larger runs will measure, when the law itself may be somewhat wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxscale.data.features import columns_of, first_outside, prepare
from jaxscale.data.observations import Observations
from jaxscale.data.validation import validate
from jaxscale.engine.linearize import linearise
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import Space, default, squared
from jaxscale.prediction.discrepancy import foreseen
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.refit_problem import RefitProblem, refit_problem
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, DataError, Setting, did_you_mean
from jaxscale.utils.padding import bucket, pad_columns


def forecast(
    law: Law | str,
    observations: Observations,
    *,
    at: Mapping[str, Any],
    size: str | Sequence[str] | None = None,
    level: float = 0.9,
    fixed: Mapping[str, Any] | None = None,
    space: str | Space | None = None,
    seed: int = 0,
    allow_unidentified: bool = False,
    progress: bool | None = None,
) -> Intervals:
    """Intervals for new measurements beyond the data that allow for a law which does not hold exactly.

    ``t(y) = t(law(x, theta)) + delta(s) + e`` with noise e of variance ``sigma^2 / weight`` and a smooth misfit delta
    along the log size s, scaled to run from 0 to 1 over the data: a straight line and an integrated Wiener process,
    ``cov(delta(a), delta(b)) = tau^2 (1 + a b + m^2 (3 M - m) / 6)`` with m and M the lesser and greater of a and b.
    t is the logarithm, logit or identity that suits the response. The law is fitted by least squares and made linear
    there; theta is flat, sigma scale-free. Odds are even that the law holds exactly (tau = 0); else tau / sigma is
    half-Cauchy, in the unit at which both vary equally among the data, once the law has taken what it can. All are
    integrated out: data which follow the law get intervals hardly wider than those of least squares; data which bend
    away from it get wider ones, the more so the farther they reach, around a middle that goes on as the residuals do.
    Where runs repeat, what the rows of a run share is a further variance, and a new row is of a run of its own. Time
    grows with the rows cubed.

    >>> jaxscale.forecast("chinchilla", runs, at={"N": 7e10, "D": 1.4e12})  # doctest: +SKIP

    Args:
        law: a law, or the name of one in the catalogue.
        observations: the data; rows of weight 0 are left out.
        at: inputs of the new measurements by name, numbers or equally long arrays.
        size: the size: name of an input, or several whose product it is; all inputs unless given.
        level: coverage, between 0 and 1.
        fixed: values of parameters that are not fitted.
        space: where residuals are taken, "log", "linear" or "logit"; that of the law's response unless given.
        seed: of the random numbers of the fit's starts.
        allow_unidentified: go on although the design check says that parameters are not identified.
        progress: whether to show a progress bar after two seconds; on a terminal unless given.

    Returns:
        An interval for every new measurement, in order, named by its inputs: ``estimate`` is the median of what is
        foretold, ``sd`` its standard deviation (to first order; NaN below three degrees of freedom). ``about`` tells
        the ``scatter`` sigma and the ``misfit`` tau / sigma in the unit above (medians), how probable it is that the
        ``law_holds`` exactly, the degrees of ``freedom`` and the fit's ``status``.

    Raises:
        DataError: the observations do not suit the law, or leave no degree of freedom.
        TypeError: the observations or ``at`` are of another type.
        UnidentifiedError: the inputs cannot identify the parameters and ``allow_unidentified`` is False.
        ValueError: an argument is wrong.

    Source:
        Wahba, Improper priors, spline smoothing and the problem of guarding against model errors in regression, J. R.
        Stat. Soc. B 40, 364-372, 1978; Kennedy & O'Hagan, Bayesian calibration of computer models, J. R. Stat. Soc. B
        63, 425-464, 2001 (the misfit). Gelman, Prior distributions for variance parameters in hierarchical models,
        Bayesian Analysis 1, 515-534, 2006 (the half-Cauchy).
    """
    law = resolve(law)
    check_level(level)
    if not isinstance(at, Mapping):
        raise ArgumentTypeError("at", f"must give inputs by name, such as {{'N': 7e10}}, but is {type(at).__name__}.")
    if not isinstance(observations, Observations):
        raise ArgumentTypeError(
            "observations",
            f"must be Observations (make them with Observations.from_table), but is {type(observations).__name__}.",
        )
    if observations.sigma is not None:
        raise ArgumentError(
            "observations",
            "must hold no known errors (sigma) here, where the scatter of the rows is inferred; "
            "read them without sigma.",
        )
    free = [name for name in law.parameters if name not in validate_fixed(law, fixed)]
    noise = squared(default(law.response).space if space is None else space)
    new = _places(law, at)
    names = _named(law, size)
    with jax.enable_x64(True):
        rows = prepare(law, observations)
        validate(law, rows, free, noise.space, Setting("space", "linear"))
        used = np.flatnonzero(rows.weight > 0)
        if len(used) <= len(free):
            raise DataError(
                f"{rows.name} has {len(used)} rows with positive weight for {len(free)} free parameters of "
                f"{law.name}; add a row at least, or fix a parameter, for the scatter to be seen."
            )
        seen = {name: rows.inputs[name][..., used] for name in law.inputs}
        size, sizes = _sizes(names, seen, new)
        settings: Any = dict(fixed=fixed, seed=seed, allow_unidentified=allow_unidentified, progress=progress)
        made = fit(law, rows, noise=noise, **settings)
        again = refit_problem(made)
        middle, slopes = _linear(again, {name: np.concatenate([seen[name], new[name]], -1) for name in law.inputs})
        count = len(used)
        response = np.asarray(noise.transform(rows.response[used]))
        run = None if rows.run is None else np.unique(rows.run[used], return_inverse=True)[1]
        belief = foreseen(
            slopes[:count],
            response - middle[:count],
            rows.weight[used],
            slopes[count:],
            size,
            sizes,
            run if run is not None and run.max() + 1 < count else None,
        )
    back = noise.space.inverse
    lower, median, upper = (
        back(middle[count:] + belief.quantile(share)) for share in ((1 - level) / 2, 0.5, (1 + level) / 2)
    )
    deviation = belief.deviation() / noise.space.derivative(median)
    told: list[dict[str, float]] = [
        {"estimate": float(m), "sd": float(s), "lower": float(low), "upper": float(high)}
        for m, s, low, high in zip(median, deviation, lower, upper, strict=True)
    ]
    scatter, misfit = belief.sizes()
    return Intervals(
        law=law,
        method="law and misfit",
        level=level,
        params=dict(zip(_labels(law, new), told, strict=True)),
        about={
            "along": " * ".join(names),
            "scatter": scatter,
            "misfit": misfit,
            "law_holds": belief.holds(),
            "freedom": belief.freedom,
            "seed": made.provenance.seed,
            "status": made.status,
        },
        notices=made.notices,
        ok=made.ok,
    )


def _places(law: Law, at: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The new inputs by name, rows last, all equally many."""
    columns = {name: np.atleast_1d(column) for name, column in zip(law.inputs, columns_of(law, at), strict=True)}
    counts = {column.shape[-1] for column in columns.values()} - {1}
    if len(counts) > 1:
        raise ArgumentError("at", f"must hold numbers or equally long arrays, but their lengths are {sorted(counts)}.")
    if found := first_outside(law, columns):
        raise ArgumentError("at", f"must keep {found[0]} {found[1]}, but holds {found[2]:g}.")
    count = max(counts, default=1)
    return {name: np.broadcast_to(column, (*column.shape[:-1], count)) for name, column in columns.items()}


def _named(law: Law, by: str | Sequence[str] | None) -> list[str]:
    names = list(law.inputs) if by is None else [by] if isinstance(by, str) else list(by)
    for name in names:
        if name not in law.inputs:
            raise ArgumentError(
                "size",
                f"names {name!r}, which is no input of {law.name}{did_you_mean(name, law.inputs)}; its "
                f"inputs are {', '.join(law.inputs)}.",
            )
    if not names:
        raise ArgumentError("size", "must name an input, but is empty.")
    return names


def _sizes(
    names: Sequence[str], seen: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Log sizes of the data, from 0 to 1, and of the new places in the same unit."""
    for name in names:
        if seen[name].ndim > 1 or not (np.all(seen[name] > 0) and np.all(new[name] > 0)):
            raise ArgumentError("size", f"must name inputs that are positive numbers, but {name} is not; name others.")
    size, sizes = (np.sum([np.log(columns[name]) for name in names], axis=0) for columns in (seen, new))
    low, wide = size.min(), np.ptp(size)
    if not wide > 1e-9 * np.abs(size).max():
        raise ArgumentError("size", f"must name inputs that vary, but {' * '.join(names)} is the same in every row.")
    return (size - low) / wide, (sizes - low) / wide


def _linear(again: RefitProblem, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The fitted law in the space of the residuals and its derivatives in the free parameters, for some inputs."""
    count = next(iter(inputs.values())).shape[-1]
    wide = {name: pad_columns(column, bucket(count)) for name, column in inputs.items()}
    # Any response will do; what it takes away is added again.
    half = np.full(bucket(count), 0.5)
    linear = linearise(eqx.tree_at(lambda p: p.inputs, again.problem, wide), again.z, half)
    middle = np.asarray(linear.residual) + np.asarray(again.problem.noise.transform(half))
    return middle[:count], np.asarray(linear.jacobian)[:count]


def _labels(law: Law, new: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the new places, no two alike."""
    count = next(iter(new.values())).shape[-1]
    found: list[str] = []
    for k in range(count):
        scalars = [f"{name} = {new[name][k]:g}" for name in law.inputs if new[name].ndim == 1]
        label = ", ".join(scalars) if len(scalars) == len(new) else f"row {k + 1}"
        alike = sum(other.split(" (")[0] == label for other in found)
        found.append(label if not alike else f"{label} ({alike + 1})")
    return found
