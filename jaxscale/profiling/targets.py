"""Targets of a profile: parameters and derived quantities, two rays each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxscale.engine.runner import Runner
from jaxscale.law import Support
from jaxscale.profiling.constrained_newton import gradients_of
from jaxscale.profiling.likelihood_ratio import ProfileSetup, cluster_ratios
from jaxscale.profiling.ray_search import Rays, derived_rays, parameter_rays, search_limit, unbounded_slope, values_on
from jaxscale.results.fit import Fit
from jaxscale.results.quantities import Quantities, Quantity, by_name
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean


@dataclass(frozen=True)
class Targets:
    """Quantities that are profiled together, two rays each: the lower side first."""

    names: tuple[str, ...]
    middle: Float[np.ndarray, " quantity"]
    slope: Float[np.ndarray, "quantity size"]
    error: Float[np.ndarray, " quantity"]
    stderr: Float[np.ndarray, " quantity"]
    ratio: Float[np.ndarray, " quantity"]
    supports: tuple[Support, ...]
    rays: Rays
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _sides(count: int) -> tuple[Int[np.ndarray, " ray"], Float[np.ndarray, " ray"]]:
    return np.repeat(np.arange(count), 2), np.tile([-1.0, 1.0], count)


def _ratio(setup: ProfileSetup, slope: Float[np.ndarray, "quantity size"]) -> Float[np.ndarray, " quantity"]:
    """Ratio of the cluster-robust to the model-based variance of each quantity, shape (k,)."""
    return np.array([float(cluster_ratios(setup, one[None])[0, 0]) for one in slope])


def parameter_targets(runner: Runner, setup: ProfileSetup, names: tuple[str, ...]) -> Targets:
    """Free parameters as targets, on the unbounded scale."""
    free, kinds = setup.problem.free, setup.problem.law.parameters
    place = [free.index(name) for name in names]
    middle = np.array([float(setup.linear.params[name]) for name in names])
    supports = tuple(kinds[name].support for name in names)
    scale = np.array([unbounded_slope(support, value) for support, value in zip(supports, middle, strict=True)])
    slope = setup.linear.change[place] * scale[:, None]
    ratio = _ratio(setup, slope)
    error = np.sqrt(setup.unit * ratio * np.sum((slope @ setup.covariance) * slope, axis=1))
    which, side = _sides(len(names))
    steps, held = np.zeros((len(which), len(free))), np.zeros((len(which), len(free)), bool)
    column = np.array(place)[which]
    steps[np.arange(len(which)), column], held[np.arange(len(which)), column] = side * error[which], True
    limit = np.array([search_limit(supports[k], error[k]) for k in which])
    rays = parameter_rays(runner, setup, steps, held, setup.unit * ratio[which], limit)

    def values(ray: Int[np.ndarray, " place"], x: Float[np.ndarray, " place"]) -> Float[np.ndarray, " place"]:
        return values_on(setup, steps[ray] * x[:, None])[np.arange(len(ray)), column[ray]]

    return Targets(names, middle, slope, error, error / scale, ratio, supports, rays, values)


def derived_targets(runner: Runner, setup: ProfileSetup, derived: dict[str, Quantity]) -> Targets:
    """Derived quantities as targets.

    Raises:
        ValueError: a quantity is not one number, not finite, or depends on no free parameter.
    """
    of = tuple(derived.values())
    params = {name: np.asarray(value) for name, value in setup.linear.params.items()}
    for name, function in derived.items():
        shape = np.shape(jax.eval_shape(function, params))
        if shape != ():
            raise ArgumentError("quantity", f"must give one number for {name}, but gives an array of shape {shape}.")
    middle, slope = (np.asarray(a) for a in gradients_of(of)(setup.problem, setup.z))
    ratio = np.ones(len(of))
    for k, name in enumerate(derived):
        if not (np.isfinite(middle[k]) and np.all(np.isfinite(slope[k])) and np.any(slope[k] != 0)):
            raise ArgumentError(
                "quantity",
                f"must give for {name} a finite number that depends on the free parameters, but it "
                f"is {middle[k]:g} with derivatives of size {np.max(np.abs(slope[k])):g}.",
            )
    ratio = _ratio(setup, slope)
    error = np.sqrt(setup.unit * ratio * np.sum((slope @ setup.covariance) * slope, axis=1))
    which, side = _sides(len(of))
    rays = derived_rays(runner, setup, of, middle, slope, error, side, which, setup.unit * ratio[which])

    def values(ray: Int[np.ndarray, " place"], x: Float[np.ndarray, " place"]) -> Float[np.ndarray, " place"]:
        return middle[which[ray]] + side[ray] * error[which[ray]] * x

    return Targets(tuple(derived), middle, slope, error, error, ratio, (), rays, values)


def validate_params(fit: Fit, names: Sequence[str] | None) -> tuple[str, ...]:
    """Validated names of free parameters of a fit; default: all of them."""
    if not isinstance(fit, Fit):
        raise ArgumentTypeError("fit", f"must be a Fit (make one with jaxscale.fit), but is {type(fit).__name__}.")
    if isinstance(names, str):
        raise ArgumentTypeError("params", f"must be a sequence of names, but is the text {names!r}; write [{names!r}].")
    selection = fit.free if names is None else tuple(names)
    for name in selection:
        if name not in fit.free:
            fixed = " (it is fixed)" if name in fit.fixed else did_you_mean(name, fit.free)
            raise ArgumentError(
                "params",
                f"names {name!r}, which is no free parameter of this fit{fixed}; these are {', '.join(fit.free)}.",
            )
    return selection


def validate_derived(of: Quantities | None, names: tuple[str, ...]) -> dict[str, Quantity]:
    """Validated derived quantities by name, none of them named like a profiled parameter."""
    derived = {} if of is None else by_name(of)
    for name in derived:
        if name in names:
            raise ArgumentError("quantity", f"names {name!r}, which names a parameter already; give it another name.")
    return derived
