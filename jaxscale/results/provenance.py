"""Provenance of a result: fingerprints of data and law, versions of packages."""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import with_groups
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.results.parts import Provenance


def identity(law: Law, data: Any, noise: str, values: Mapping[str, float]) -> dict[str, Any]:
    """The identity of a computation, by which a checkpoint is matched."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(data):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "law": law.name,
        "law_sha256": hashlib.sha256(law.code.encode()).hexdigest(),
        "data_sha256": digest.hexdigest(),
        "noise": noise,
        "fixed": dict(values),
        "versions": {name: number for name, number in versions().items() if name != "python"},
    }


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute a result."""
    from importlib.metadata import PackageNotFoundError, version

    numbers = {"python": platform.python_version()}
    for package in ("jaxscale", "jax", "jaxlib", "numpy"):
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = "source"
    return numbers


def fingerprint(law: Law, observations: Observations) -> str:
    """Hash of the numbers that a fit uses: inputs of the law, responses, weights and codes of runs.

    Groups are left out unless the law has parameters per group, so that a posterior with pooling may continue from
    the fit. Where a law computes inputs from others, such as a schedule, the hash covers the latter: computed values
    may differ between machines in their last bits.
    """
    given = with_groups(law, observations).inputs
    names: Iterable[str] = law.inputs
    if law.prepare is not None and set(law.sources) <= set(given):
        names = (*law.sources, *(name for name, kind in law.inputs.items() if kind.categories))
    parts: dict[str, Any] = {name: given[name] for name in names if name in given}
    for name in parts.keys() & observations.series.keys():
        # Each row by the contents of its sequence, regardless of the order of the list.
        each = [hashlib.sha256(np.ascontiguousarray(a).tobytes()).digest() for a in observations.series[name]]
        parts[name] = np.array([each[int(place)] for place in given[name]])
    parts |= {"response": observations.response, "weight": observations.weight}
    parts |= {} if observations.run is None else {"run": observations.run}
    digest = hashlib.sha256()
    for name, values in parts.items():
        digest.update(f"{name} {np.shape(values)}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def provenance_of(law: Law, observations: Observations, seed: int) -> Provenance:
    """The provenance of a fit.

    Args:
        law: the law.
        observations: the fitted observations.
        seed: of starts and resamples.
    """
    return Provenance(
        seed=seed,
        versions=dict(versions()),
        data=observations.name,
        data_sha256=observations.sha256,
        used_sha256=fingerprint(law, observations),
        columns=dict(observations.columns),
    )
