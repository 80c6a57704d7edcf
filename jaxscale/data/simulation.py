"""Simulation of sweeps from a law with known parameters.

>>> from jaxscale import designs, laws
>>> params = laws.chinchilla.published["besiroglu2024"]
>>> table = simulate(laws.chinchilla, params, designs.isoflop([1e19, 1e20, 1e21], 7), noise=0.005, seed=1)
>>> sorted(table), len(table["loss"])
(['D', 'N', 'loss'], 21)
"""

from collections.abc import Collection, Hashable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float, Shaped

from jaxscale.law import Law, positive, unit
from jaxscale.laws import resolve
from jaxscale.utils.arrays import Number, Value
from jaxscale.utils.errors import ArgumentError


def simulate(
    law: Law | str,
    params: Mapping[str, float],
    inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]],
    *,
    noise: float = 0.005,
    seed: int = 0,
    run: Shaped[np.ndarray, " row"] | Sequence[Hashable] | None = None,
    response: str = "loss",
) -> dict[str, Shaped[np.ndarray, " row"]]:
    """Simulate noisy responses of a law, in float64.

    A positive response is ``law * exp(noise * e)`` with ``e`` standard normal; the noise of a response between 0
    and 1 is added to its logit, that of a real response to the response.

    Args:
        law: the true law, or its name in the catalogue.
        params: its parameters by name.
        inputs: input name to array of shape (..., n), in the raw units of the law.
        noise: standard deviation of the noise.
        seed: random seed of the noise.
        run: labels of shape (n,); all rows of a run get the same noise value. If None, every row is a run of
            its own.
        response: column name of the response.

    Returns:
        The inputs, the response and, if it is given, ``run``: columns of n rows.

    Raises:
        ValueError: a parameter or input is missing or unknown, lengths differ, an input lies outside
            its domain, the law has no finite value, or the noise is negative.
    """
    law = resolve(law)
    columns = _columns(law, inputs)
    _check_names(law, "parameter", law.parameters, params)
    if not 0 <= noise < np.inf:
        raise ArgumentError("noise", f"must be zero or positive, but is {noise!r}.")
    if response in columns or response == "run":
        raise ArgumentError("response", f"must differ from the other columns, but is {response!r}.")
    count = next(iter(columns.values())).shape[-1]
    with jax.enable_x64(True):
        values = {name: float(value) for name, value in params.items()}
        exact = np.asarray(jax.vmap(lambda *row: law(*row, **values), in_axes=-1)(*columns.values()))
    if not np.all(np.isfinite(exact)):
        place = np.argmin(np.isfinite(exact)) + 1
        raise ValueError(f"Law {law.name} has no finite value in row {place} of the inputs.")
    draws = np.random.default_rng(seed)
    if run is None:
        return {**columns, response: _add_noise(law, exact, noise * draws.standard_normal(count))}
    labels = np.asarray(run)
    if labels.shape != (count,):
        raise ArgumentError("run", f"must hold one label for each of the {count} rows, but has {labels.shape}.")
    _, run = np.unique(labels, return_inverse=True)
    shared = noise * draws.standard_normal(run.max() + 1)
    return {**columns, response: _add_noise(law, exact, shared[run]), "run": labels}


def _columns(
    law: Law, inputs: Mapping[str, Shaped[Value, "..."] | Sequence[Number]]
) -> dict[str, Shaped[np.ndarray, "... row"]]:
    """Validated inputs as float64 columns in the law's order."""
    _check_names(law, "input", law.inputs, inputs)
    columns = {name: np.asarray(inputs[name], float) for name in law.inputs}
    lengths = {name: column.shape[-1] if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"Inputs of {law.name} must be columns of one length of at least 1, but have {lengths}.")
    for name, column in columns.items():
        low, high = law.inputs[name].low, law.inputs[name].high
        if not np.all((column > low) & (column < high)):
            raise ValueError(f"Input {name} of {law.name} must lie between {low:g} and {high:g} in every row.")
    return columns


def _check_names(law: Law, what: str, wanted: Collection[str], given: Collection[str]) -> None:
    for name in wanted:
        if name not in given:
            raise ValueError(f"Law {law.name} needs the {what} {name}; its {what}s are {', '.join(wanted)}.")
    for name in given:
        if name not in wanted:
            raise ValueError(f"Law {law.name} has no {what} {name}; its {what}s are {', '.join(wanted)}.")


def _add_noise(
    law: Law, exact: Float[np.ndarray, " row"], noise: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " row"]:
    if law.response.domain is positive:
        return exact * np.exp(noise)
    if law.response.domain is unit:
        odds = np.exp(noise) * exact
        return odds / (odds + 1 - exact)
    return exact + noise
