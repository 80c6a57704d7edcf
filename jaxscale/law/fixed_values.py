"""Values at which parameters are fixed: inside their supports, or at an end of one where the law stays finite."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.law.declare import Law, between
from jaxscale.law.derivatives import value
from jaxscale.utils.errors import ArgumentError, did_you_mean

# Where along each input a law is looked at, as shares of the sizes at which it is used.
_SHARES = (0.2, 0.5, 0.8)


def why_not(law: Law, values: Mapping[str, float]) -> str | None:
    """What is wrong with fixed values, as the end of a sentence that begins with who refuses; None where all are fine.

    An end of a support is a limit of the law, such as a floor of 0 or a fraction of 1: a parameter that is fitted
    cannot reach it, but one that is fixed may stand there.

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
        told = " and ".join(f"{name} to {values[name]:g}" for name in ends)
        return f"sets {told}, an end of the support where {law.name} is not finite; choose a value inside"
    return None


def _finite(law: Law, values: Mapping[str, float]) -> bool:
    """Whether a law and its slopes are finite where some parameters are fixed, in the middle of their other ranges."""
    if law.prepare is not None:
        # Inputs that are computed from others have no sizes of their own: the design check looks at the data.
        return True
    params = {**law.typical, **values}
    with jax.enable_x64(True):
        free = {name: jnp.asarray(number, float) for name, number in params.items() if name not in values}
        for shares in product(_SHARES, repeat=min(len(law.inputs), 2)):
            places = dict.fromkeys(law.inputs, 0.5) | dict(zip(law.inputs, shares, strict=False))
            row = {name: jnp.asarray(between(*law.inputs[name].sizes, share)) for name, share in places.items()}
            found = jax.value_and_grad(lambda free, row=row: value(law, row, {**params, **free}))(free)
            if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)):
                return False
    return True


def checked_fixed(law: Law, fixed: Mapping[str, Any] | None) -> dict[str, float]:
    """Fixed values as numbers, in the law's order; refuses unknown names and values beyond the ends of a support."""
    values = {name: float(value) for name, value in (fixed or {}).items()}
    for name in values:
        if name not in law.parameters:
            raise ArgumentError(
                "fixed",
                f"names {name!r}, which is no parameter of {law.name}"
                f"{did_you_mean(name, law.parameters)}; its parameters are {', '.join(law.parameters)}.",
            )
    if wrong := why_not(law, values):
        raise ArgumentError("fixed", f"{wrong}.")
    return {name: values[name] for name in law.parameters if name in values}
