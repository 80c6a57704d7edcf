"""Bootstrap confidence intervals: percentile, basic, bias-corrected and accelerated (BCa), studentised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxscale.data.observations import Observations
from jaxscale.engine.linearize import Linear, linearise
from jaxscale.law import positive
from jaxscale.law.coordinates import from_params
from jaxscale.laws import resolve
from jaxscale.noise import Noise
from jaxscale.resampling.bootstrap import codes_of, resamples
from jaxscale.resampling.jackknife import jackknife
from jaxscale.resampling.studentized import covariances
from jaxscale.results.draws import Draws
from jaxscale.results.fit import LOGARITHMIC, Fit
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.quantities import Quantities, Quantity, by_name
from jaxscale.results.refit_problem import RefitProblem, is_of, refit_problem
from jaxscale.utils.arrays import Array, Numbers
from jaxscale.utils.errors import ArgumentError, Setting

METHODS = ("percentile", "basic", "bca", "studentised")
Functions = Mapping[str, Quantity]


@dataclass(frozen=True)
class _Quantities:
    """The k scalar quantities whose intervals are computed.

    Args:
        names: names of the quantities.
        value: values at the fit, shape (k,).
        draws: values at the draws, shape (draws, k).
        logarithm: which intervals are computed on the log scale, shape (k,).
    """

    names: list[str]
    value: Float[np.ndarray, " quantity"]
    draws: Float[np.ndarray, "draw quantity"]
    logarithm: Bool[np.ndarray, " quantity"]


def bootstrap_intervals(
    draws: Draws,
    fit: Fit,
    *,
    level: float = 0.9,
    method: str = "percentile",
    quantity: Quantities | None = None,
) -> Intervals:
    """Bootstrap confidence intervals of the free parameters, or of functions of the parameters.

    With q the quantity at the fit, q* at the refits, and a = (1 - level) / 2:

    - ``percentile``: the quantiles a and 1 - a of q*.
    - ``basic``: q minus the quantiles 1 - a and a of q* - q.
    - ``bca``: quantiles of q* at ``Phi(z0 + (z0 + z_a) / (1 - c (z0 + z_a)))``, with the bias correction z0 from the
      share of draws below q, and the acceleration c from the jackknife over the resampling unit (rows or runs). NaN
      where all draws lie on one side of q.
    - ``studentised``: q minus its standard error times the quantiles of (q* - q) / se*, with the standard error of
      each refit from its own data: classical for squared error under homoscedastic resampling (residual, parametric),
      else a sandwich, cluster-robust where runs are the resampling unit; by the delta method for functions.

    Basic and studentised intervals of positive parameters that span decades (amplitudes, scales, locations) are
    computed on the log scale, so that they stay positive.

    Args:
        draws: from :func:`jaxscale.bootstrap`.
        fit: the resampled fit.
        level: coverage, between 0 and 1.
        method: "percentile", "basic", "bca" or "studentised".
        quantity: a JAX function of the parameters of one draw that returns a number or an array, or a mapping of names
            to such functions; default: the free parameters.

    Returns:
        The intervals; ``estimate`` is the value at the fit, ``sd`` the standard deviation of the draws, ``bias`` the
        mean of the draws minus the value at the fit.

    Raises:
        TypeError: ``quantity`` is neither a function nor a mapping to functions.
        ValueError: an argument is invalid, the draws are not a bootstrap of this fit, or the fit's loss gives no
            standard error of a refit.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12 to 14; DiCiccio and Efron,
        Statistical Science 11 (1996).
    """
    check_level(level)
    if method not in METHODS:
        raise ArgumentError("method", f"must be one of {', '.join(METHODS)}, but is {method!r}.")
    if not draws.method.endswith("bootstrap") or "n_resamples" not in draws.about:
        raise ArgumentError("draws", f"must come from jaxscale.bootstrap, but its method is {draws.method!r}.")
    rows = fit.observations if fit.observations is not None else draws.observations
    other = draws.observations is not None and not is_of(fit, draws.observations)
    if (str(draws.law), draws.free) != (str(fit.law), fit.free) or other:
        raise ArgumentError("draws", "must be a bootstrap of this fit, but is one of another law or data.")
    check_method(method, fit.noise)
    functions = None if quantity is None else by_name(quantity)
    values = _quantities(draws, fit, functions)
    ends = np.array([0.5 - level / 2, 0.5 + level / 2])
    extra: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "percentile":
            low, high = np.quantile(values.draws, ends, axis=0)
        elif method == "basic":
            low, high = _reflect(
                values, np.quantile(_deviation(values, values.draws), ends, axis=0), np.ones(len(values.names))
            )
        elif method == "bca":
            left = jackknife(fit, cluster=draws.about["unit"], observations=rows)
            low, high, extra = _bca(values, _table(left, functions)[1], ends)
            about["left_out"] = len(left)
        else:
            (low, high), about["without_stderr"] = _studentised(draws, fit, rows, values, functions, ends)
    spread, bias = values.draws.std(axis=0, ddof=1), values.draws.mean(axis=0) - values.value
    columns = {"estimate": values.value, "sd": spread, "lower": low, "upper": high, "bias": bias} | extra
    table = {name: {key: float(column[k]) for key, column in columns.items()} for k, name in enumerate(values.names)}
    return Intervals(fit.law, f"{method} of {draws.method}", level, table, draws.about | about, draws.notices, draws.ok)


def check_method(method: str, noise: Noise) -> None:
    """Reject a method of intervals that a noise does not allow.

    Args:
        method: as in :func:`bootstrap_intervals`.
        noise: of the fit.

    Raises:
        ValueError: the method is studentised and the loss absolute.
    """
    if method == "studentised" and noise.loss.vertex:
        raise _without_curvature(noise)


def _without_curvature(noise: Noise) -> ValueError:
    return ArgumentError(
        "method",
        f"must not be 'studentised' with {noise.describe()}, whose curvature says nothing of a refit's "
        "standard error; use ",
        Setting("method", "bca"),
        ".",
    )


def _table(draws: Draws, of: Functions | None) -> tuple[list[str], Float[np.ndarray, "draw quantity"]]:
    """Names of the scalar quantities, arrays flattened, and their values, shape (draws, k)."""
    quantities = {name: draws.params[name] for name in draws.free} if of is None else {}
    for name, function in (of or {}).items():
        quantities[name] = draws.derive(function)
    names, columns = [], []
    for name, value in quantities.items():
        flat = value.reshape(len(value), -1)
        names += [name] if value.ndim == 1 else [f"{name}[{k}]" for k in range(flat.shape[1])]
        columns.append(flat)
    return names, np.concatenate(columns, axis=1)


def _quantities(draws: Draws, fit: Fit, of: Functions | None) -> _Quantities:
    if of is not None and not of:
        raise ArgumentError("quantity", "must name at least one function of the parameters, but is empty.")
    names, draws_of_quantities = _table(draws, of)
    kinds = resolve(fit.law).parameters
    point = Draws(fit.law, {name: np.asarray([value]) for name, value in fit.params.items()}, "fit", fit.free)
    wide = [of is None and kinds[name].support is positive and kinds[name].kind in LOGARITHMIC for name in names]
    return _Quantities(names, _table(point, of)[1][0], draws_of_quantities, np.array(wide))


def _deviation(values: _Quantities, q: Float[np.ndarray, "... quantity"]) -> Float[np.ndarray, "... quantity"]:
    """Deviation of q from the value at the fit, on the log scale where that is used."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log(q / values.value)
    return np.where(values.logarithm, ratio, q - values.value)


def _reflect(
    values: _Quantities, quantiles: Float[np.ndarray, "2 quantity"], size: Float[np.ndarray, " quantity"]
) -> Float[np.ndarray, "2 quantity"]:
    """Ends ``q - size * quantile``, upper quantile first."""
    moved = -size * quantiles[::-1]
    return np.where(values.logarithm, values.value * np.exp(np.clip(moved, -700, 700)), values.value + moved)


def _bca(
    values: _Quantities, left: Float[np.ndarray, "unit quantity"], ends: Float[np.ndarray, " 2"]
) -> tuple[Float[np.ndarray, " quantity"], Float[np.ndarray, " quantity"], dict[str, Float[np.ndarray, " quantity"]]]:
    """Ends, bias correction and acceleration, from the jackknife values, shape (units, k)."""
    from scipy.special import ndtr, ndtri

    below = np.mean(values.draws < values.value, axis=0) + np.mean(values.draws == values.value, axis=0) / 2
    bias = ndtri(below)
    moves = left.mean(axis=0) - left
    cubes, squares = np.sum(moves**3, axis=0), np.sum(moves**2, axis=0)
    acceleration = np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)
    z = bias + ndtri(ends)[:, None]
    share = ndtr(bias + z / (1 - acceleration * z))
    places = [
        np.quantile(values.draws[:, k], share[:, k]) if np.all(np.isfinite(share[:, k])) else np.full(2, np.nan)
        for k in range(len(values.names))
    ]
    # Where all draws lie on one side of the estimate the bias correction is undefined.
    low, high = np.where(np.isfinite(bias), np.stack(places, axis=1), np.nan)
    return low, high, {"z0": bias, "acceleration": acceleration}


def _studentised(
    draws: Draws,
    fit: Fit,
    rows: Observations | None,
    values: _Quantities,
    of: Functions | None,
    ends: Float[np.ndarray, " 2"],
) -> tuple[Float[np.ndarray, "2 quantity"], int]:
    """Ends, and the number of refits without a standard error, which are left out."""
    with jax.enable_x64(True):
        refit = refit_problem(fit, rows)
        linear: Linear = jax.tree.map(np.asarray, linearise(refit.problem, refit.z, refit.wide.response))
        weight = refit.wide.weight
        if not refit.problem.noise.loss.curvature_describes(linear.residual[weight > 0], len(refit.problem.free)):
            raise _without_curvature(refit.problem.noise)
        about = draws.about
        kind, unit, seed = about["kind"], about["unit"], about["seed"]
        data = resamples(refit, linear, kind, unit, about.get("signs", "rademacher"), about["n_resamples"], seed)
        replicates = draws.stats["replicate"]
        response = (
            data.response[replicates]
            if data.response.ndim == 2
            else np.broadcast_to(data.response, (len(replicates), len(weight)))
        )
        counts = np.ones((len(replicates), len(weight)))
        if data.weight.ndim == 2:
            # Rows of weight 0 are never drawn, regardless of their run.
            counts = np.where(weight > 0, data.weight[replicates] / np.where(weight > 0, weight, 1.0), 0.0)
        covariance, change = covariances(
            refit.problem,
            np.concatenate([refit.z[:, None], _coordinates(refit, draws)], axis=1),
            np.concatenate([refit.wide.response[None], response]),
            weight,
            np.concatenate([np.ones((1, len(weight))), counts]),
            codes_of(refit.wide, unit),
            refit.problem.noise.loss.quadratic and unit == "row" and kind in ("residual", "parametric"),
        )
        slope = change if of is None else _slopes(draws, fit, of) @ change
    variance = np.einsum("bkp,bpq,bkq->bk", slope, covariance, slope)
    se = np.sqrt(np.where(variance > 0, variance, np.nan))
    whole = np.concatenate([values.value[None], values.draws])
    se = np.where(values.logarithm, se / whole, se)
    t = _deviation(values, values.draws) / se[1:]
    good = np.all(np.isfinite(t), axis=1)
    if np.sum(good) < 2 or not np.all(np.isfinite(se[0])):
        return np.full((2, len(values.names)), np.nan), int(np.sum(~good))
    return _reflect(values, np.quantile(t[good], ends, axis=0), se[0]), int(np.sum(~good))


def _coordinates(refit: RefitProblem, draws: Draws) -> Float[np.ndarray, "size draw"]:
    """Coordinates of the draws, shape (size, draws)."""
    params = {name: jnp.asarray(value) for name, value in draws.params.items()}
    z = from_params(refit.law, refit.problem.centre, refit.problem.free, params)
    scale = [jnp.log(draws.nuisance["scale"])] if refit.problem.noise.infers_scale else []
    return np.asarray(jnp.stack([*z, *scale]))


def _slopes(draws: Draws, fit: Fit, of: Functions) -> Float[np.ndarray, "draw quantity free"]:
    """Jacobians of the quantities in the free parameters at the fit and every draw, shape (1 + draws, k, p)."""
    params = {
        name: jnp.concatenate([jnp.asarray([fit.params[name]], float), jnp.asarray(value)])
        for name, value in draws.params.items()
    }

    def flat(params: dict[str, Numbers]) -> Float[Array, " quantity"]:
        return jnp.concatenate([jnp.ravel(jnp.asarray(function(params), float)) for function in of.values()])

    table = jax.vmap(jax.jacfwd(flat))(params)
    return np.stack([np.asarray(table[name]) for name in fit.free], axis=-1)
