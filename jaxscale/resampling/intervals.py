"""Intervals from a bootstrap: percentile, basic, bias-corrected and accelerated, studentised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
from jaxscale.utils.errors import ArgumentError, Setting

METHODS = ("percentile", "basic", "bca", "studentised")
Functions = Mapping[str, Quantity]


@dataclass(frozen=True)
class _Quantities:
    """What intervals are wanted for, k numbers.

    Args:
        names: one for each.
        value: at the fit, shape (k,).
        drawn: at the draws, shape (draws, k).
        logarithm: those whose interval is taken in the logarithm, shape (k,).
    """

    names: list[str]
    value: np.ndarray
    drawn: np.ndarray
    logarithm: np.ndarray


def bootstrap_intervals(
    draws: Draws,
    fit: Fit,
    *,
    level: float = 0.9,
    method: str = "percentile",
    quantity: Quantities | None = None,
) -> Intervals:
    """Intervals of the free parameters, or of functions of the parameters, from a bootstrap.

    With q the quantity at the fit, q* at the refits, and a = (1 - level) / 2:

    - ``percentile``: the quantiles a and 1 - a of q*.
    - ``basic``: q less the quantiles 1 - a and a of q* - q.
    - ``bca``: quantiles of q* at ``Phi(z0 + (z0 + z_a) / (1 - c (z0 + z_a)))``, with the bias z0 from the share of
      the draws below q, and the acceleration c from the jackknife over what the bootstrap kept together (rows or
      runs). NaN where all draws lie on one side of q.
    - ``studentised``: q less its standard error times the quantiles of (q* - q) / se*, with the standard error of
      each refit from its own data: classical for squared error where noise is taken to be of one size (residual,
      parametric), else a sandwich, by runs where these were kept together; by the delta method for functions.

    Basic and studentised intervals of positive parameters that span decades (amplitudes, scales, locations) are taken
    in the logarithm, so that they stay positive.

    Args:
        draws: from :func:`jaxscale.bootstrap`.
        fit: the fit that was resampled.
        level: coverage, between 0 and 1.
        method: "percentile", "basic", "bca" or "studentised".
        quantity: a function of the parameters of one draw, by operations of JAX, that returns a number or an array, or
            name to function; the free parameters unless given.

    Returns:
        The intervals; ``mean`` is the fit's own value, ``sd`` the spread of the draws, ``bias`` the mean of the draws
        less the fit's value.

    Raises:
        TypeError: ``quantity`` is no function and maps to none.
        ValueError: an argument is wrong, the draws are no bootstrap of this fit, or the fit's loss allows no
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
        raise ArgumentError("draws", "must be a bootstrap of this very fit, but is one of another law or data.")
    refuse(method, fit.noise)
    functions = None if quantity is None else by_name(quantity)
    values = _quantities(draws, fit, functions)
    ends = np.array([0.5 - level / 2, 0.5 + level / 2])
    extra: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "percentile":
            low, high = np.quantile(values.drawn, ends, axis=0)
        elif method == "basic":
            low, high = _back(values, np.quantile(_out(values, values.drawn), ends, axis=0), np.ones(len(values.names)))
        elif method == "bca":
            left = jackknife(fit, cluster=draws.about["unit"], observations=rows)
            low, high, extra = _bca(values, _table(left, functions)[1], ends)
            about["left_out"] = len(left)
        else:
            (low, high), about["without_stderr"] = _studentised(draws, fit, rows, values, functions, ends)
    spread, bias = values.drawn.std(axis=0, ddof=1), values.drawn.mean(axis=0) - values.value
    columns = {"estimate": values.value, "sd": spread, "lower": low, "upper": high, "bias": bias} | extra
    table = {name: {key: float(column[k]) for key, column in columns.items()} for k, name in enumerate(values.names)}
    return Intervals(fit.law, f"{method} of {draws.method}", level, table, draws.about | about, draws.notices, draws.ok)


def refuse(method: str, noise: Noise) -> None:
    """Refuse a method of intervals that a noise never allows.

    Args:
        method: as of :func:`bootstrap_intervals`.
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


def _table(draws: Draws, of: Functions | None) -> tuple[list[str], np.ndarray]:
    """Names of the quantities, arrays entry by entry, and their values, shape (draws, k)."""
    found = {name: draws.params[name] for name in draws.free} if of is None else {}
    for name, function in (of or {}).items():
        found[name] = draws.derive(function)
    names, columns = [], []
    for name, value in found.items():
        flat = value.reshape(len(value), -1)
        names += [name] if value.ndim == 1 else [f"{name}[{k}]" for k in range(flat.shape[1])]
        columns.append(flat)
    return names, np.concatenate(columns, axis=1)


def _quantities(draws: Draws, fit: Fit, of: Functions | None) -> _Quantities:
    if of is not None and not of:
        raise ArgumentError("quantity", "must name at least one function of the parameters, but is empty.")
    names, drawn = _table(draws, of)
    kinds = resolve(fit.law).parameters
    one = Draws(fit.law, {name: np.asarray([value]) for name, value in fit.params.items()}, "fit", fit.free)
    wide = [of is None and kinds[name].support is positive and kinds[name].kind in LOGARITHMIC for name in names]
    return _Quantities(names, _table(one, of)[1][0], drawn, np.array(wide))


def _out(values: _Quantities, q: np.ndarray) -> np.ndarray:
    """How far q lies from the fit, in the logarithm where that is taken."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log(q / values.value)
    return np.where(values.logarithm, ratio, q - values.value)


def _back(values: _Quantities, quantiles: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Ends ``q - size * quantile``, upper quantile first."""
    moved = -size * quantiles[::-1]
    return np.where(values.logarithm, values.value * np.exp(np.clip(moved, -700, 700)), values.value + moved)


def _bca(
    values: _Quantities, left: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Ends, bias and acceleration, from the values without each unit, shape (units, k)."""
    from scipy.special import ndtr, ndtri

    below = np.mean(values.drawn < values.value, axis=0) + np.mean(values.drawn == values.value, axis=0) / 2
    bias = ndtri(below)
    moves = left.mean(axis=0) - left
    cubes, squares = np.sum(moves**3, axis=0), np.sum(moves**2, axis=0)
    acceleration = np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)
    z = bias + ndtri(ends)[:, None]
    share = ndtr(bias + z / (1 - acceleration * z))
    places = [
        np.quantile(values.drawn[:, k], share[:, k]) if np.all(np.isfinite(share[:, k])) else np.full(2, np.nan)
        for k in range(len(values.names))
    ]
    # Where all draws lie on one side nothing tells how far the quantiles are to be moved.
    low, high = np.where(np.isfinite(bias), np.stack(places, axis=1), np.nan)
    return low, high, {"z0": bias, "acceleration": acceleration}


def _studentised(
    draws: Draws, fit: Fit, rows: Any, values: _Quantities, of: Functions | None, ends: np.ndarray
) -> tuple[np.ndarray, int]:
    """Ends, and how many refits have no standard error: these are left out."""
    with jax.enable_x64(True):
        again = refit_problem(fit, rows)
        linear: Linear = jax.tree.map(np.asarray, linearise(again.problem, again.z, again.wide.response))
        weight = again.wide.weight
        if not again.problem.noise.loss.curvature_describes(linear.residual[weight > 0], len(again.problem.free)):
            raise _without_curvature(again.problem.noise)
        about = draws.about
        kind, unit, seed = about["kind"], about["unit"], about["seed"]
        some = resamples(again, linear, kind, unit, about.get("signs", "rademacher"), about["n_resamples"], seed)
        kept = draws.stats["replicate"]
        response = (
            some.response[kept] if some.response.ndim == 2 else np.broadcast_to(some.response, (len(kept), len(weight)))
        )
        counts = np.ones((len(kept), len(weight)))
        if some.weight.ndim == 2:
            # Rows that do not count are never drawn, whatever run they are in.
            counts = np.where(weight > 0, some.weight[kept] / np.where(weight > 0, weight, 1.0), 0.0)
        covariance, change = covariances(
            again.problem,
            np.concatenate([again.z[:, None], _coordinates(again, draws)], axis=1),
            np.concatenate([again.wide.response[None], response]),
            weight,
            np.concatenate([np.ones((1, len(weight))), counts]),
            codes_of(again.wide, unit),
            again.problem.noise.loss.quadratic and unit == "row" and kind in ("residual", "parametric"),
        )
        slope = change if of is None else _slopes(draws, fit, of) @ change
    variance = np.einsum("bkp,bpq,bkq->bk", slope, covariance, slope)
    se = np.sqrt(np.where(variance > 0, variance, np.nan))
    whole = np.concatenate([values.value[None], values.drawn])
    se = np.where(values.logarithm, se / whole, se)
    t = _out(values, values.drawn) / se[1:]
    good = np.all(np.isfinite(t), axis=1)
    if np.sum(good) < 2 or not np.all(np.isfinite(se[0])):
        return np.full((2, len(values.names)), np.nan), int(np.sum(~good))
    return _back(values, np.quantile(t[good], ends, axis=0), se[0]), int(np.sum(~good))


def _coordinates(again: RefitProblem, draws: Draws) -> np.ndarray:
    """Coordinates of the draws, shape (size, draws)."""
    params = {name: jnp.asarray(value) for name, value in draws.params.items()}
    z = from_params(again.law, again.problem.centre, again.problem.free, params)
    scale = [jnp.log(draws.nuisance["scale"])] if again.problem.noise.infers_scale else []
    return np.asarray(jnp.stack([*z, *scale]))


def _slopes(draws: Draws, fit: Fit, of: Functions) -> np.ndarray:
    """Derivatives of the quantities in the free parameters at the fit and at every draw, shape (1 + draws, k, p)."""
    params = {
        name: jnp.concatenate([jnp.asarray([fit.params[name]], float), jnp.asarray(value)])
        for name, value in draws.params.items()
    }

    def flat(params: dict[str, Any]) -> Any:
        return jnp.concatenate([jnp.ravel(jnp.asarray(function(params), float)) for function in of.values()])

    table = jax.vmap(jax.jacfwd(flat))(params)
    return np.stack([np.asarray(table[name]) for name in fit.free], axis=-1)
