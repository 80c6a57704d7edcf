"""Features: inputs that a law computes once per data set, independent of its parameters."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Shaped

from jaxscale.data.observations import Observations
from jaxscale.data.series import label_of
from jaxscale.law import Law
from jaxscale.utils.errors import DataError, Setting, did_you_mean


def prepare(law: Law, observations: Observations) -> Observations:
    """Add the inputs that a law computes from others, such as the sums of a learning-rate schedule.

    For a law with parameters of each group, the index of the group among its labels is added as an input.

    :func:`jaxscale.fit` does this itself; call it once if several fits share the data.

    Args:
        law: a law; without ``prepare`` the observations are returned unchanged.
        observations: with the inputs of the law, or those from which it computes them.

    Raises:
        DataError: an input to compute from is missing or invalid.
    """
    observations = with_groups(law, observations)
    absent = [name for name in law.inputs if name not in observations.inputs]
    if law.prepare is None or not absent:
        return observations
    missing = [name for name in law.sources if name not in observations.inputs]
    if missing:
        raise DataError(
            f"{observations.name}: {law.name} needs the input {missing[0]!r} to compute {', '.join(absent)}; map "
            f"{' and '.join(law.sources)} to columns with ",
            Setting("inputs"),
            ", a sequence shared by many rows with ",
            Setting("series"),
            ".",
            argument="inputs",
        )
    shared = [name for name in law.sources if name in observations.series]
    together: dict[tuple[float, ...], list[int]] = {}
    for row in range(len(observations)):
        together.setdefault(tuple(observations.inputs[name][row] for name in shared), []).append(row)
    computed: dict[str, np.ndarray] = {}
    for places, rows in together.items():
        given = {name: observations.inputs[name][rows] for name in law.sources}
        for name, place in zip(shared, places, strict=True):
            given[name] = observations.series[name][int(place)]
        try:
            features = _features(law, given)
        except ValueError as error:
            raise DataError(f"{observations.name}: {error}") from error
        for name, values in features.items():
            whole = computed.setdefault(name, np.empty((*values.shape[:-1], len(observations))))
            whole[..., rows] = values
    return eqx.tree_at(lambda s: s.inputs, observations, {**observations.inputs, **computed})


def with_groups(law: Law, observations: Observations) -> Observations:
    """Add the group of each row as an input, for a law that has parameters of each group.

    Raises:
        DataError: there are no groups, or one is unknown to the law.
    """
    labels = law.inputs["group"].categories if "group" in law.inputs else ()
    if not labels or "group" in observations.inputs:
        return observations
    if observations.group is None:
        raise DataError(
            f"{observations.name}: {law.name} needs groups; name their column with ",
            Setting("group"),
            ".",
            argument="group",
        )
    for label in observations.groups:
        if label not in labels:
            raise DataError(
                f"{observations.name}: {law.name} has no group {label!r}{did_you_mean(label, labels)}; its groups are "
                f"{', '.join(labels)}."
            )
    place = np.array([float(labels.index(label)) for label in observations.groups])
    inputs = {**observations.inputs, "group": place[observations.group]}
    return eqx.tree_at(lambda s: s.inputs, observations, inputs)


def decode_categories(
    law: Law, inputs: Mapping[str, Shaped[np.ndarray, "... row"]]
) -> dict[str, Shaped[np.ndarray, "... row"]]:
    """Replace the indices of categorical inputs by labels, as predictions take them."""
    return {
        name: np.array(law.inputs[name].categories)[values.astype(int)] if law.inputs[name].categories else values
        for name, values in inputs.items()
    }


def _encode_categories(law: Law, name: str, labels: Any) -> Float[np.ndarray, "*row"]:
    """Indices of a categorical input among its categories."""
    known = law.inputs[name].categories
    several = np.asarray(labels, object)
    places = []
    for each in several.ravel():
        label = label_of(each)
        if label not in known:
            hint = did_you_mean(str(label), known)
            raise ValueError(f"Input {name} must be one of {', '.join(known)}, but is {each!r}{hint}.")
        places.append(float(known.index(label)))
    return np.array(places).reshape(several.shape)


def add_features(law: Law, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Replace inputs by those that a law computes from them; one schedule for all rows.

    Args:
        law: the law.
        inputs: name to number or array.
    """
    if law.prepare is None or not set(law.sources) <= set(inputs):
        return dict(inputs)
    given = {name: np.asarray(inputs[name], float) for name in law.sources}
    kept = {name: value for name, value in inputs.items() if name in law.inputs or name not in law.sources}
    return {**_features(law, given), **kept}


def columns_of(law: Law, inputs: Mapping[str, Any]) -> list[Shaped[np.ndarray, "..."]]:
    """Inputs of a law in its order, as predictions take them.

    Args:
        law: the law.
        inputs: name to number or array; inputs that the law computes may be replaced by their sources.

    Raises:
        ValueError: an input is missing or unknown.
    """
    inputs = add_features(law, inputs)
    for name in inputs:
        if name not in law.inputs:
            known = ", ".join(dict.fromkeys((*law.inputs, *law.sources)))
            raise ValueError(
                f"{law.name} has no input {name!r}{did_you_mean(name, law.inputs)}; its inputs are {known}."
            )
    missing = [name for name in law.inputs if name not in inputs]
    if missing:
        raise ValueError(f"{law.name} needs the input {', '.join(missing)} to predict.")
    return [
        _encode_categories(law, name, inputs[name]) if kind.categories else np.asarray(inputs[name], float)
        for name, kind in law.inputs.items()
    ]


def first_outside(law: Law, columns: Mapping[str, Shaped[np.ndarray, "..."]]) -> tuple[str, str, float] | None:
    """First input outside its domain: name, violated bound in words, and offending value."""
    for name, column in columns.items():
        kind = law.inputs[name]
        bad = column[~((column > kind.low) & (column < kind.high))]
        if bad.size:
            return name, f"above {kind.low:g}" if not bad[0] > kind.low else f"below {kind.high:g}", float(bad[0])
    return None


def _features(law: Law, given: Mapping[str, Shaped[np.ndarray, "..."]]) -> dict[str, Shaped[np.ndarray, "..."]]:
    features = law.prepare(**given) if law.prepare is not None else {}
    return {name: np.asarray(values, float) for name, values in features.items() if name in law.inputs}
