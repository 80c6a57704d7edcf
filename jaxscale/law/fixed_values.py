"""Validation of fixed values: inside the support, or at an end of it if the law remains finite."""

from collections.abc import Mapping
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.law.declare import Law, between
from jaxscale.law.derivatives import value
from jaxscale.utils.arrays import Number
from jaxscale.utils.errors import ArgumentError, did_you_mean

# Points along each input at which the law is evaluated, as fractions of its typical range.
_SHARES = (0.2, 0.5, 0.8)


def describe_invalid(law: Law, values: Mapping[str, float]) -> str | None:
    """Description of invalid fixed values, as the predicate of an error message; None if all are valid.

    An end of a support is a limit of the law, such as a floor of 0 or a fraction of 1: a fitted parameter cannot
    reach it, but a fixed one may have this value.

    Args:
        law: the law.
        values: parameters by name.
    """
    ends = []
    for name, number in values.items():
        support = law.parameters[name].support
        if support.contains(number):
            continue
        if not np.isfinite(number) or number not in (support.low, support.high):
            return f"must keep {name} in its support ({support.name}), but sets it to {number}"
        ends.append(name)
    for name, kind in law.parameters.items():
        powers = [power.lstrip("-") for _, power in kind.powers]
        if kind.kind == "scale" and name not in values and values.get(powers[0]) == 0:
            return f"sets {powers[0]} to 0, where {law.name} does not depend on {name}; fix {name} too"
    if ends and not _finite(law, values):
        text = " and ".join(f"{name} to {values[name]:g}" for name in ends)
        return f"sets {text}, an end of the support where {law.name} is not finite; choose a value inside"
    return None


def _finite(law: Law, values: Mapping[str, float]) -> bool:
    """Whether a law and its slopes are finite at fixed values, with the other parameters at typical values."""
    if law.prepare is not None:
        # Computed inputs have no typical range; the design check uses the data.
        return True
    params = {**law.typical, **values}
    with jax.enable_x64(True):
        free = {name: jnp.asarray(number, float) for name, number in params.items() if name not in values}
        for shares in product(_SHARES, repeat=min(len(law.inputs), 2)):
            places = dict.fromkeys(law.inputs, 0.5) | dict(zip(law.inputs, shares, strict=False))
            row = {name: jnp.asarray(between(*law.inputs[name].sizes, share)) for name, share in places.items()}
            values_and_slopes = jax.value_and_grad(lambda free, row=row: value(law, row, {**params, **free}))(free)
            if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(values_and_slopes)):
                return False
    return True


def validate_fixed(law: Law, fixed: Mapping[str, Number] | None) -> dict[str, float]:
    """Validate fixed values: names and supports; returns floats in the law's order."""
    values = {name: float(value) for name, value in (fixed or {}).items()}
    for name in values:
        if name not in law.parameters:
            raise ArgumentError(
                "fixed",
                f"names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}.",
            )
    if wrong := describe_invalid(law, values):
        raise ArgumentError("fixed", f"{wrong}.")
    return {name: values[name] for name in law.parameters if name in values}
