"""Forecasts of larger runs, with prediction intervals that include model discrepancy."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Shaped

from jaxscale.data.features import columns_of, first_outside, prepare
from jaxscale.data.observations import Observations
from jaxscale.data.validation import validate
from jaxscale.engine.linearize import linearise
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.law.fixed_values import validate_fixed
from jaxscale.laws import resolve
from jaxscale.noise import Space, default, squared
from jaxscale.prediction.discrepancy import predict_residuals
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.refit_problem import RefitProblem, refit_problem
from jaxscale.utils.arrays import Number, Value
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, DataError, Setting, did_you_mean
from jaxscale.utils.padding import bucket, pad_columns


def forecast(
    law: Law | str,
    observations: Observations,
    *,
    at: Mapping[str, Shaped[Value, "..."] | Sequence[Number | str] | str],
    size: str | Sequence[str] | None = None,
    level: float = 0.9,
    fixed: Mapping[str, Number] | None = None,
    space: str | Space | None = None,
    seed: int = 0,
    allow_unidentified: bool = False,
    progress: bool | None = None,
) -> Intervals:
    """Prediction intervals of new responses beyond the data, with a model discrepancy term.

    ``t(y) = t(law(x, theta)) + delta(s) + e`` with noise e of variance ``sigma^2 / weight`` and a smooth discrepancy
    delta along the log size s, scaled to [0, 1] over the data: a straight line plus an integrated Wiener process,
    ``cov(delta(a), delta(b)) = tau^2 (1 + a b + m^2 (3 M - m) / 6)`` with m and M the lesser and greater of a and b.
    t is the logarithm, logit or identity that suits the response. The law is fitted by least squares and linearised;
    the priors of theta and log sigma are flat. The law is correctly specified (tau = 0) with prior probability 1/2,
    else tau / sigma is half-Cauchy with unit scale, after delta is scaled to the noise variance in the contrasts. All
    are integrated out: where the data follow the law, intervals are hardly wider than those of least squares; where
    they deviate, intervals widen with the distance and follow the trend of the residuals. Where runs have several rows,
    run effects have a further variance, and a new row belongs to a new run. The cost grows with the cube of the rows.

    >>> jaxscale.forecast("chinchilla", runs, at={"N": 7e10, "D": 1.4e12})  # doctest: +SKIP

    Args:
        law: a law, or the name of one in the catalogue.
        observations: the data; rows of weight 0 are left out.
        at: inputs of the new responses by name, numbers or equally long arrays.
        size: input, or inputs whose product, measures how far a new response extrapolates; default: all inputs.
        level: coverage, between 0 and 1.
        fixed: values of parameters that are not fitted.
        space: residual space, "log", "linear" or "logit"; default: that of the law's response.
        seed: random seed of the fit's starts.
        allow_unidentified: forecast even if the design check finds that parameters are not identified.
        progress: whether to show a progress bar after two seconds; default: on a terminal.

    Returns:
        One interval per new response, in order, named by its inputs: ``estimate`` is the predictive median, ``sd`` the
        predictive standard deviation (delta method; NaN below three degrees of freedom). ``about`` holds the posterior
        medians of sigma (``scatter``) and of tau / sigma in the unit above (``discrepancy``), the posterior probability
        that the law is correctly specified (``law_holds``), the degrees of ``freedom`` and the fit's ``status``.

    Raises:
        DataError: the observations do not suit the law, or leave no degree of freedom.
        TypeError: the observations or ``at`` have another type.
        UnidentifiedError: the inputs cannot identify the parameters and ``allow_unidentified`` is False.
        ValueError: an argument is invalid.

    Source:
        Wahba, Improper priors, spline smoothing and the problem of guarding against model errors in regression, J. R.
        Stat. Soc. B 40, 364-372, 1978; Kennedy & O'Hagan, Bayesian calibration of computer models, J. R. Stat. Soc. B
        63, 425-464, 2001 (the discrepancy). Gelman, Prior distributions for variance parameters in hierarchical models,
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
    new = _new_inputs(law, at)
    names = _size_names(law, size)
    with jax.enable_x64(True):
        rows = prepare(law, observations)
        validate(law, rows, free, noise.space, Setting("space", "linear"))
        used = np.flatnonzero(rows.weight > 0)
        if len(used) <= len(free):
            raise DataError(
                f"{rows.name} has {len(used)} rows with positive weight for {len(free)} free parameters of "
                f"{law.name}; add rows or fix a parameter, so that the noise can be estimated."
            )
        inputs = {name: rows.inputs[name][..., used] for name in law.inputs}
        log_size, log_sizes = _sizes(names, inputs, new)
        settings: Any = dict(fixed=fixed, seed=seed, allow_unidentified=allow_unidentified, progress=progress)
        law_fit = fit(law, rows, noise=noise, **settings)
        refit = refit_problem(law_fit)
        middle, slopes = _linear(refit, {name: np.concatenate([inputs[name], new[name]], -1) for name in law.inputs})
        count = len(used)
        response = np.asarray(noise.transform(rows.response[used]))
        run = None if rows.run is None else np.unique(rows.run[used], return_inverse=True)[1]
        residuals = predict_residuals(
            slopes[:count],
            response - middle[:count],
            rows.weight[used],
            slopes[count:],
            log_size,
            log_sizes,
            run if run is not None and run.max() + 1 < count else None,
        )
    back = noise.space.inverse
    lower, median, upper = (
        back(middle[count:] + residuals.quantile(share)) for share in ((1 - level) / 2, 0.5, (1 + level) / 2)
    )
    deviation = residuals.deviation() / noise.space.derivative(median)
    entries: list[dict[str, float]] = [
        {"estimate": float(m), "sd": float(s), "lower": float(low), "upper": float(high)}
        for m, s, low, high in zip(median, deviation, lower, upper, strict=True)
    ]
    scatter, discrepancy = residuals.sizes()
    return Intervals(
        law=law,
        method="law with discrepancy",
        level=level,
        params=dict(zip(_labels(law, new), entries, strict=True)),
        about={
            "along": " * ".join(names),
            "scatter": scatter,
            "discrepancy": discrepancy,
            "law_holds": residuals.probability_law_holds(),
            "freedom": residuals.freedom,
            "seed": law_fit.provenance.seed,
            "status": law_fit.status,
        },
        notices=law_fit.notices,
        ok=law_fit.ok,
    )


def _new_inputs(
    law: Law, at: Mapping[str, Shaped[Value, "..."] | Sequence[Number | str] | str]
) -> dict[str, Shaped[np.ndarray, "... new"]]:
    """The new inputs by name, broadcast to one length, rows last."""
    columns = {name: np.atleast_1d(column) for name, column in zip(law.inputs, columns_of(law, at), strict=True)}
    counts = {column.shape[-1] for column in columns.values()} - {1}
    if len(counts) > 1:
        raise ArgumentError("at", f"must hold numbers or equally long arrays, but their lengths are {sorted(counts)}.")
    if violation := first_outside(law, columns):
        raise ArgumentError("at", f"must keep {violation[0]} {violation[1]}, but holds {violation[2]:g}.")
    count = max(counts, default=1)
    return {name: np.broadcast_to(column, (*column.shape[:-1], count)) for name, column in columns.items()}


def _size_names(law: Law, by: str | Sequence[str] | None) -> list[str]:
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
    names: Sequence[str],
    inputs: Mapping[str, Float[np.ndarray, "... row"]],
    new: Mapping[str, Float[np.ndarray, "... new"]],
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " new"]]:
    """Log sizes of the data, scaled to [0, 1], and of the new inputs on the same scale."""
    for name in names:
        if inputs[name].ndim > 1 or not (np.all(inputs[name] > 0) and np.all(new[name] > 0)):
            raise ArgumentError("size", f"must name inputs that are positive numbers, but {name} is not; name others.")
    size, sizes = (np.sum([np.log(columns[name]) for name in names], axis=0) for columns in (inputs, new))
    low, wide = size.min(), np.ptp(size)
    if not wide > 1e-9 * np.abs(size).max():
        raise ArgumentError("size", f"must name inputs that vary, but {' * '.join(names)} is the same in every row.")
    return (size - low) / wide, (sizes - low) / wide


def _linear(
    refit: RefitProblem, inputs: dict[str, Float[np.ndarray, "... row"]]
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row free"]]:
    """The fitted law in the residual space and its derivatives in the free parameters, at given inputs."""
    count = next(iter(inputs.values())).shape[-1]
    wide = {name: pad_columns(column, bucket(count)) for name, column in inputs.items()}
    # An arbitrary response, whose subtraction is undone below.
    half = np.full(bucket(count), 0.5)
    linear = linearise(eqx.tree_at(lambda p: p.inputs, refit.problem, wide), refit.z, half)
    middle = np.asarray(linear.residual) + np.asarray(refit.problem.noise.transform(half))
    return middle[:count], np.asarray(linear.jacobian)[:count]


def _labels(law: Law, new: Mapping[str, Float[np.ndarray, "... new"]]) -> list[str]:
    """Unique labels of the new inputs."""
    count = next(iter(new.values())).shape[-1]
    labels: list[str] = []
    for k in range(count):
        scalars = [f"{name} = {new[name][k]:g}" for name in law.inputs if new[name].ndim == 1]
        label = ", ".join(scalars) if len(scalars) == len(new) else f"row {k + 1}"
        alike = sum(other.split(" (")[0] == label for other in labels)
        labels.append(label if not alike else f"{label} ({alike + 1})")
    return labels
