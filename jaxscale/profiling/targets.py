"""What a profile holds: parameters, or quantities derived from them, two rays each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxscale.engine.runner import Runner
from jaxscale.law import Support
from jaxscale.profiling.constrained_newton import gradients_of
from jaxscale.profiling.likelihood_ratio import Ground, cluster_ratios
from jaxscale.profiling.ray_search import Rays, derived_rays, furthest, named_rays, stretch, values_on
from jaxscale.results.fit import Fit
from jaxscale.results.quantities import Quantities, Quantity, by_name
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """Quantities that are profiled together, two rays each: the lower side first."""

    names: tuple[str, ...]
    middle: np.ndarray
    slope: np.ndarray
    error: np.ndarray
    stderr: np.ndarray
    ratio: np.ndarray
    supports: tuple[Support, ...]
    rays: Rays
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _sides(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(count), 2), np.tile([-1.0, 1.0], count)


def _ratio(ground: Ground, slope: np.ndarray) -> np.ndarray:
    """Each quantity's cluster-robust variance in units of its plain one, shape (k,)."""
    return np.array([float(cluster_ratios(ground, one[None])[0, 0]) for one in slope])


def named(runner: Runner, ground: Ground, names: tuple[str, ...]) -> Kind:
    """Free parameters, held on the scales on which their supports have no ends."""
    free, kinds = ground.problem.free, ground.problem.law.parameters
    place = [free.index(name) for name in names]
    middle = np.array([float(ground.linear.params[name]) for name in names])
    supports = tuple(kinds[name].support for name in names)
    scale = np.array([stretch(support, value) for support, value in zip(supports, middle, strict=True)])
    slope = ground.linear.change[place] * scale[:, None]
    ratio = _ratio(ground, slope)
    error = np.sqrt(ground.unit * ratio * np.sum((slope @ ground.covariance) * slope, axis=1))
    which, side = _sides(len(names))
    steps, held = np.zeros((len(which), len(free))), np.zeros((len(which), len(free)), bool)
    column = np.array(place)[which]
    steps[np.arange(len(which)), column], held[np.arange(len(which)), column] = side * error[which], True
    limit = np.array([furthest(supports[k], error[k]) for k in which])
    rays = named_rays(runner, ground, steps, held, ground.unit * ratio[which], limit)

    def values(ray: np.ndarray, x: np.ndarray) -> np.ndarray:
        return values_on(ground, steps[ray] * x[:, None])[np.arange(len(ray)), column[ray]]

    return Kind(names, middle, slope, error, error / scale, ratio, supports, rays, values)


def computed(runner: Runner, ground: Ground, derived: dict[str, Quantity]) -> Kind:
    """Quantities derived from the parameters.

    Raises:
        ValueError: a quantity is not one number, not finite, or depends on no free parameter.
    """
    of = tuple(derived.values())
    params = {name: np.asarray(value) for name, value in ground.linear.params.items()}
    for name, function in derived.items():
        shape = np.shape(jax.eval_shape(function, params))
        if shape != ():
            raise ArgumentError("quantity", f"must give one number for {name}, but gives an array of shape {shape}.")
    middle, slope = (np.asarray(a) for a in gradients_of(of)(ground.problem, ground.z))
    ratio = np.ones(len(of))
    for k, name in enumerate(derived):
        if not (np.isfinite(middle[k]) and np.all(np.isfinite(slope[k])) and np.any(slope[k] != 0)):
            raise ArgumentError(
                "quantity",
                f"must give for {name} a finite number that depends on the free parameters, but it "
                f"is {middle[k]:g} with derivatives of size {np.max(np.abs(slope[k])):g}.",
            )
    ratio = _ratio(ground, slope)
    error = np.sqrt(ground.unit * ratio * np.sum((slope @ ground.covariance) * slope, axis=1))
    which, side = _sides(len(of))
    rays = derived_rays(runner, ground, of, middle, slope, error, side, which, ground.unit * ratio[which])

    def values(ray: np.ndarray, x: np.ndarray) -> np.ndarray:
        return middle[which[ray]] + side[ray] * error[which[ray]] * x

    return Kind(tuple(derived), middle, slope, error, error, ratio, (), rays, values)


def wanted_of(fit: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of free parameters of a fit, all of them unless given; refuses others."""
    if not isinstance(fit, Fit):
        raise ArgumentTypeError("fit", f"must be a Fit (make one with jaxscale.fit), but is {type(fit).__name__}.")
    if isinstance(names, str):
        raise ArgumentTypeError("params", f"must be a sequence of names, but is the text {names!r}; write [{names!r}].")
    wanted = fit.free if names is None else tuple(names)
    for name in wanted:
        if name not in fit.free:
            fixed = " (it is fixed)" if name in fit.fixed else did_you_mean(name, fit.free)
            raise ArgumentError(
                "params",
                f"names {name!r}, which is no free parameter of this fit{fixed}; these are {', '.join(fit.free)}.",
            )
    return wanted


def derived_of(of: Quantities | None, wanted: tuple[str, ...]) -> dict[str, Quantity]:
    """Derived quantities by name; refuses what is no function, and names that are taken."""
    derived = {} if of is None else by_name(of)
    for name in derived:
        if name in wanted:
            raise ArgumentError("quantity", f"names {name!r}, which names a parameter already; give it another name.")
    return derived
