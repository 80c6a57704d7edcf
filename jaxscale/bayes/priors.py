"""Default priors, and validation of priors given as NumPyro distributions.

Defaults derive from a law's declared ranges and the inputs, never from the responses, which would invalidate
simulation-based calibration. A range is the central 95 % of its prior.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxscale.bayes.prior_density import Prior, StandardPrior, describe, prior_of
from jaxscale.law import Law, Parameter, Support, positive, unit
from jaxscale.law.coordinates import units_of
from jaxscale.law.dimensions import RESPONSE, dimensions, scale_of
from jaxscale.noise.likelihood import Likelihood
from jaxscale.utils.arrays import Array, Number
from jaxscale.utils.errors import ArgumentError, did_you_mean

# Half the width of the central 95 %, in standard deviations.
_WIDE = 1.96


def default(law: Law, name: str, inputs: Mapping[str, Float[Array, "... row"]]) -> Prior:
    """The default prior of a law's parameter.

    Positive parameters are log-normal over their range (half-normal where it starts at 0), fractions Beta, others
    normal. Ranges of rates, widths and other parameters with a unit are declared for inputs of typical size and
    rescale with the inputs. A location on an input lies in the range of that input.

    Args:
        law: the law.
        name: the parameter.
        inputs: name to array of shape (n,).
    """
    kind = law.parameters[name]
    low, high = _range(law, name, inputs)
    if kind.support is unit:
        return _beta(low, high)
    if kind.support is positive:
        if low <= 0:
            return StandardPrior.of("HalfNormal", scale=high / _WIDE)
        return lognormal(low, high)
    return StandardPrior.of("Normal", loc=(low + high) / 2, scale=(high - low) / (2 * _WIDE))


def lognormal(low: float, high: float) -> Prior:
    """The log-normal distribution whose central 95 % lie between two positive numbers."""
    middle, width = (math.log(low) + math.log(high)) / 2, math.log(high / low)
    return StandardPrior.of("LogNormal", loc=middle, scale=width / (2 * _WIDE))


def _beta(low: float, high: float) -> Prior:
    low, high = max(low, 0.0), min(high, 1.0)
    if low == 0 and high == 1:
        return StandardPrior.of("Beta", concentration1=1.0, concentration0=1.0)
    mean, variance = (low + high) / 2, ((high - low) / (2 * _WIDE)) ** 2
    count = mean * (1 - mean) / variance - 1
    return StandardPrior.of("Beta", concentration1=mean * count, concentration0=(1 - mean) * count)


def _range(law: Law, name: str, inputs: Mapping[str, Float[Array, "... row"]]) -> tuple[float, float]:
    kind = law.parameters[name]
    low, high = kind.range
    if kind.input is not None and kind.input in inputs:
        x = np.asarray(inputs[kind.input])
        first, last = float(x.min()), float(x.max())
        return (first / 2, last * 2) if kind.support is positive and first > 0 else (first, last)
    if kind.kind == "scale":
        # A size of the input itself.
        unit = math.exp(sum(ratio(law, key, inputs) for key, _ in kind.powers if key in inputs))
    else:
        columns = {key: np.asarray(inputs[key], float) for key in law.inputs if key in inputs}
        unit = float(units_of(law, columns, None, np).get(name, 1.0)) if len(columns) == len(law.inputs) else 1.0
    return low * unit, high * unit


def ratio(law: Law, key: str, inputs: Mapping[str, Float[Array, "... row"]]) -> float:
    """The logarithm of an input's size relative to its typical size."""
    if law.inputs[key].low < 0:
        return 0.0
    return float(np.log(scale_of(law.inputs[key], np.asarray(inputs[key], float), False, np)))


def rescaling(law: Law, name: str, inputs: Mapping[str, Float[Array, "... row"]]) -> dict[str, float]:
    """How the default prior of an amplitude rescales with the inputs, per exponent.

    The range of an amplitude ``A`` of ``A * N**-alpha`` is declared for inputs of typical size: in other units it is
    that of ``A * ratio**-alpha``.

    Args:
        law: the law.
        name: the amplitude.
        inputs: name to array of shape (n,).

    Returns:
        Exponent to the log ratio, with the declared sign.
    """
    kind, ratios = law.parameters[name], {}
    if kind.kind != "amplitude" or kind.support is not positive:
        return {}
    for key, power in kind.powers:
        sign = -1.0 if power.startswith("-") else 1.0
        ratios[power.lstrip("-")] = ratios.get(power.lstrip("-"), 0.0) + sign * ratio(law, key, inputs)
    return {power: value for power, value in ratios.items() if value}


def exceeded_ranges(law: Law, names: Sequence[str], response: Float[np.ndarray, " row"]) -> tuple[str, ...]:
    """Parameters in the unit of the response whose declared range, and hence default prior, excludes the responses.

    Args:
        law: the law.
        names: parameters with default priors.
        response: of rows of positive weight, shape (n,).
    """
    size = float(np.median(np.abs(response)))
    units = dimensions(law)
    return tuple(
        name
        for name in names
        if (law.parameters[name].kind == "floor" or units.get(name, {}) == {RESPONSE: 1.0})
        and size > max(map(abs, law.parameters[name].range))
    )


def of_nuisance(likelihood: Likelihood) -> dict[str, Prior]:
    """The default priors of the nuisance parameters of a likelihood."""
    return {name: StandardPrior.of(site.family, **site.numbers) for name, site in likelihood.sites.items()}


def spread(kind: Parameter) -> Prior:
    """The default prior of the between-group standard deviation, in the parameter's coordinate (its log, its logit)."""
    logarithmic = kind.support in (positive, unit) or kind.powers
    return StandardPrior.of("HalfNormal", scale=0.5 if logarithmic else (kind.range[1] - kind.range[0]) / 4)


def validate(
    priors: Mapping[str, Any], known: Mapping[str, Prior], law: str, supports: Mapping[str, Support]
) -> dict[str, Prior]:
    """Validated priors from NumPyro distributions.

    Args:
        priors: NumPyro distributions by name.
        known: the default priors.
        law: name of the law.
        supports: supports of the law's parameters, by site.

    Raises:
        ValueError: a name is unknown, a prior is not a scalar NumPyro distribution with a density, or its support
            exceeds that of its parameter.
    """
    given: dict[str, Prior] = {}
    if priors:
        import numpyro.distributions as dist
    for name, prior in priors.items():
        if name not in known:
            raise ArgumentError(
                "priors",
                f"names {name!r}, which is nothing that is inferred for {law}"
                f"{did_you_mean(name, known)}; inferred are {', '.join(known)}.",
            )
        if not isinstance(prior, dist.Distribution) or prior.batch_shape or prior.event_shape:  # pyright: ignore
            raise ArgumentError(
                "priors", f"must hold NumPyro distributions of single numbers, but {name} has {prior!r}."
            )
        if isinstance(prior, dist.Delta):  # pyright: ignore[reportPossiblyUnbound]
            raise ArgumentError("priors", f"must hold densities, but {name} has {describe(prior)}; fix it instead.")
        if prior.support is None or prior.is_discrete:
            raise ArgumentError("priors", f"must hold densities over numbers, but {name} has {describe(prior)}.")
        given[name] = prior_of(prior)
        _check_support(name, given[name], known[name].ends, supports.get(name))
    return given


def _check_support(
    name: str, prior: Prior, usual: tuple[Number | None, Number | None], support: Support | None
) -> None:
    """Reject a prior whose support exceeds that of its site; an unbounded prior of a law's parameter is truncated."""
    low, high = prior.ends
    if support is not None and low is None and high is None:
        return
    least, most = (-math.inf if usual[0] is None else 0.0, math.inf) if support is None else (support.low, support.high)
    if (-math.inf if low is None else low) < least or (math.inf if high is None else high) > most:
        what = f"between {least:g} and {most:g}" if math.isfinite(most) else f"above {least:g}"
        raise ArgumentError(
            "priors",
            f"gives {name} the prior {prior}, which reaches beyond what it may be, {what}; give one that does not.",
        )
