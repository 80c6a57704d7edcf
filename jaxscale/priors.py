"""Priors: what is plausible before the data, as NumPyro distributions.

Defaults come from a law's declared ranges and from the inputs, never from the responses: else simulation-based
calibration would be void. A range holds 95 % of its prior.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpyro.distributions as dist

from jaxscale.law import Law, Parameter, Support, positive, unit
from jaxscale.likelihoods import Likelihood
from jaxscale.tables import did_you_mean

# Half the width, in standard deviations, of what holds 95 %.
_WIDE = 1.96


def default(law: Law, name: str, inputs: Mapping[str, Any]) -> dist.Distribution:
    """The default prior of a law's parameter.

    Positive parameters are log-normal over their range (half-normal where it begins at 0), fractions Beta, others
    normal. A place on an input lies in the inputs' range, as far as its own range allows.

    Args:
        law: the law.
        name: the parameter.
        inputs: name to array of shape (n,).
    """
    kind = law.parameters[name]
    low, high = _range(law, kind, inputs)
    if kind.support is unit:
        return _beta(low, high)
    if kind.support is positive:
        if low <= 0:
            return dist.HalfNormal(_number(high / _WIDE))
        return lognormal(low, high)
    return dist.Normal(_number((low + high) / 2), _number((high - low) / (2 * _WIDE)))


def lognormal(low: float, high: float) -> dist.Distribution:
    """The log-normal distribution of which 95 % lie between two positive numbers."""
    middle, width = (math.log(low) + math.log(high)) / 2, math.log(high / low)
    return dist.LogNormal(_number(middle), _number(width / (2 * _WIDE)))


def _beta(low: float, high: float) -> dist.Distribution:
    low, high = max(low, 0.0), min(high, 1.0)
    if low == 0 and high == 1:
        return dist.Beta(_number(1.0), _number(1.0))
    mean, variance = (low + high) / 2, ((high - low) / (2 * _WIDE)) ** 2
    count = mean * (1 - mean) / variance - 1
    return dist.Beta(_number(mean * count), _number((1 - mean) * count))


def _range(law: Law, kind: Parameter, inputs: Mapping[str, Any]) -> tuple[float, float]:
    low, high = kind.range
    if kind.input is None or kind.input not in inputs:
        return low, high
    x = np.asarray(inputs[kind.input])
    first, last = float(x.min()), float(x.max())
    if kind.support is positive and first > 0:
        first, last = first / 2, last * 2
    inside = max(low, first), min(high, last)
    return inside if inside[0] < inside[1] else (low, high)


def of_nuisance(likelihood: Likelihood) -> dict[str, dist.Distribution]:
    """The default priors of what a likelihood infers beside the law.

    ``scale`` is log-normal about 1 % in logs and logits (a residual in other units may have any size), ``df`` is
    Gamma(2, 0.1), ``run_ratio`` (the standard deviation of runs over that of rows) log-normal about 1.
    """
    if likelihood.family == "binomial":
        return {}
    if likelihood.family == "beta_binomial":
        return {"concentration": dist.LogNormal(_number(4.0), _number(2.0))}
    wide = (0.0, 5.0) if likelihood.space == "linear" else (math.log(0.01), 2.5)
    sites: dict[str, dist.Distribution] = {"scale": dist.LogNormal(*map(_number, wide))}
    if likelihood.scale_by == "level":
        sites["power"] = dist.Normal(_number(0.0), _number(2.0))
    if likelihood.family == "student_t" and likelihood.df is None:
        sites["df"] = dist.Gamma(_number(2.0), _number(0.1))
    if likelihood.runs:
        sites["run_ratio"] = dist.LogNormal(_number(0.0), _number(1.5))
    return sites


def spread(kind: Parameter) -> dist.Distribution:
    """The default prior of how far groups lie apart, in the parameter's coordinate (its logarithm, its logit)."""
    logarithmic = kind.support in (positive, unit) or kind.powers
    return dist.HalfNormal(_number(0.5 if logarithmic else (kind.range[1] - kind.range[0]) / 4))


def checked(
    priors: Mapping[str, Any], known: Mapping[str, Any], law: str, supports: Mapping[str, Support]
) -> dict[str, dist.Distribution]:
    """Priors that a person gave, as they are used.

    Args:
        priors: what was given, by name.
        known: the priors that stand unless others are given.
        law: name of the law.
        supports: what a law's parameters may be, by name of their site.

    Raises:
        ValueError: a name is unknown, or a prior is no one-dimensional NumPyro distribution that has a density, or
            gives some probability to what a parameter cannot be.
    """
    given: dict[str, dist.Distribution] = {}
    for name, prior in priors.items():
        if name not in known:
            raise ValueError(
                f"Argument priors names {name!r}, which is nothing that is inferred for {law}"
                f"{did_you_mean(name, known)}; inferred are {', '.join(known)}."
            )
        if not isinstance(prior, dist.Distribution) or prior.batch_shape or prior.event_shape:
            raise ValueError(
                f"Argument priors must hold NumPyro distributions of single numbers, but {name} has {prior!r}."
            )
        if isinstance(prior, dist.Delta):
            raise ValueError(f"Argument priors must hold densities, but {name} has {said(prior)}; fix it instead.")
        if prior.support is None or prior.is_discrete:
            raise ValueError(f"Argument priors must hold densities over numbers, but {name} has {said(prior)}.")
        given[name] = _as_arrays(prior)
        _refuse_beyond(name, given[name], ends(known[name]), supports.get(name))
    return given


def ends(prior: dist.Distribution) -> tuple[Any, Any]:
    """The least and the largest number that a prior gives probability to; None where there is no end."""
    support: Any = prior.support
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def _refuse_beyond(name: str, prior: dist.Distribution, usual: tuple[Any, Any], support: Support | None) -> None:
    """Refuse ends beyond what a site may be; a prior without ends is cut where a law's parameter ends."""
    low, high = ends(prior)
    if support is not None and low is None and high is None:
        return
    least, most = (-math.inf if usual[0] is None else 0.0, math.inf) if support is None else (support.low, support.high)
    if (-math.inf if low is None else low) < least or (math.inf if high is None else high) > most:
        what = f"between {least:g} and {most:g}" if math.isfinite(most) else f"above {least:g}"
        raise ValueError(
            f"Argument priors gives {name} the prior {said(prior)}, which reaches beyond what it may be, {what}; give "
            "one that does not."
        )


def _number(value: float) -> np.ndarray:
    return np.asarray(value, float)


def _as_arrays(prior: dist.Distribution) -> dist.Distribution:
    """The same distribution with float64 arrays inside, so that another number compiles nothing."""
    import jax

    return jax.tree.map(lambda leaf: np.asarray(leaf, float), prior)


def said(prior: dist.Distribution) -> str:
    """A prior as a report prints it: ``LogNormal(-4.6, 2.5)``."""
    named = [(key, getattr(prior, key, None)) for key in prior.arg_constraints]
    numbers = [float(np.asarray(value)) for _, value in named if value is not None and np.ndim(value) == 0]
    # The middle of a range may be off zero by its last bit.
    tiny = 1e-12 * max(map(abs, numbers), default=0.0)
    told = [f"{0.0 if abs(number) < tiny else number:.4g}" for number in numbers]
    return f"{type(prior).__name__}({', '.join(told)})"
