"""Conversion of draws to and from ArviZ trees and NetCDF files, bit for bit.

The tree has ArviZ's groups: ``posterior`` (varying parameters and nuisance parameters), ``sample_stats``,
``log_prior``, ``log_likelihood`` (by row, or by run where a run effect is integrated out), ``observed_data`` and
``constant_data`` (inputs and fixed parameters).
"""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxscale.bayes.pointwise import pointwise, unit_labels
from jaxscale.data.features import prepare
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.laws import law_of_file, resolve
from jaxscale.noise.likelihood import Likelihood
from jaxscale.noise.likelihoods import of_response
from jaxscale.results.draws import Draws
from jaxscale.results.provenance import versions
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.files import write_atomically
from jaxscale.utils.notices import Notice

ENDING = ".nc"
# ArviZ's names of sample statistics.
NAMES = {"log_density": "lp", "steps": "n_steps"}
# Number of draws by which a rebuilt model is checked.
FIRST = 20


def to_arviz(draws: Draws) -> Any:
    """Draws as an ArviZ data tree (xarray ``DataTree``).

    Args:
        draws: draws of any method.

    Returns:
        The tree; the attributes of its root hold what :func:`from_arviz` needs to read it back.
    """
    from xarray import DataTree

    fixed = {name: values[0] for name, values in draws.params.items() if _constant(draws, name)}
    varying = {name: values for name, values in draws.params.items() if name not in fixed}
    stats = {NAMES.get(name, name): _flags(name, v) for name, v in draws.stats.items() if name != "log_prior"}
    constants = {f"fixed_{_escape(name)}": value for name, value in fixed.items()}
    varying = {_escape(name): values for name, values in (varying | draws.nuisance).items()}
    groups = {"posterior": _dataset(draws, varying), "sample_stats": _dataset(draws, stats)}
    if "log_prior" in draws.stats:
        groups["log_prior"] = _dataset(draws, {"log_prior": draws.stats["log_prior"]})
    rows = {}
    if draws.observations is not None:
        data = draws.observations
        used = data.weight > 0
        rows = {"row": np.asarray(data.rows or range(1, len(data) + 1))[used]}
        groups["observed_data"] = _dataset(None, {"response": data.response[used]}, "row", rows)
        constants |= {name: values[..., used] for name, values in data.inputs.items()}
        codes = {"weight": data.weight, "run": data.run, "group": data.group}
        constants |= {name: values[used] for name, values in codes.items() if values is not None}
    groups["constant_data"] = _dataset(None, constants, "row", rows)
    if draws.model is not None:
        each = pointwise(draws.model, {**draws.params, **draws.nuisance})
        unit, labels = unit_labels(draws.model, draws.observations)
        groups["log_likelihood"] = _dataset(draws, {"response": each}, unit, {unit: labels})
    tree = DataTree.from_dict({name: group for name, group in groups.items() if len(group)})
    tree.attrs = _attributes(draws)
    return tree


def from_arviz(tree: Any, law: Law | None = None) -> Draws:
    """Draws from a tree of :func:`to_arviz`, without model and observations.

    Args:
        tree: an xarray ``DataTree``.
        law: the law, where it is not in the catalogue.

    Raises:
        ValueError: the tree is not one of :func:`to_arviz`, or belongs to another law.
    """
    try:
        attributes = {name: json.loads(tree.attrs[name]) for name in _json_attributes()}
        posterior = {name: _flat(values) for name, values in tree["posterior"].data_vars.items()}
        count = int(tree.attrs["draws"])
        params = {}
        for name in attributes["params"]:
            value = posterior.get(_escape(name))
            if value is None:
                fixed = np.asarray(tree["constant_data"][f"fixed_{_escape(name)}"].values)
                value = np.repeat(fixed[None], count, axis=0)
            params[name] = value
        stats = {}
        for name, kind in attributes["stats"].items():
            group = "log_prior" if name == "log_prior" else "sample_stats"
            stats[name] = _flat(tree[group][NAMES.get(name, name)]).astype(kind)
        draws = Draws(
            law=str(tree.attrs["law"]),
            params=params,
            method=str(tree.attrs["method"]),
            free=tuple(attributes["free"]),
            nuisance={name: posterior[_escape(name)] for name in attributes["nuisance"]},
            chains=int(tree.attrs["chains"]),
            stats=stats,
            about=attributes["about"],
            notices=tuple(Notice(**notice) for notice in attributes["notices"]),
            ok=bool(tree.attrs["ok"]),
            group_names=tuple(json.loads(tree.attrs.get("groups", "[]"))),
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"These are not draws written by jaxscale ({error}); write them with Draws.save.") from error
    return replace(draws, law=law_of_file(str(draws.law), law, "posterior"))


def save(draws: Draws, path: str | Path) -> None:
    """Write draws atomically as a NetCDF file.

    Args:
        draws: draws of any method.
        path: a file that ends in .nc.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the path has another extension.
    """
    check_extension(path)
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {folder}; create it first.")
    tree = to_arviz(draws)
    for node in tree.subtree:
        for values in node.variables.values():
            # No fill value: NaN is NaN.
            values.encoding["_FillValue"] = None
    write_atomically(path, bytes(tree.to_netcdf(engine="h5netcdf")))


def load(path: str | Path, law: Law | None = None) -> Draws:
    """Draws from a file written by :func:`save`.

    Args:
        path: a file that ends in .nc.
        law: the law, where it is not in the catalogue.

    Returns:
        The draws bit for bit, without model and observations.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path has another extension, or the file does not hold draws of this law.
    """
    import xarray

    check_extension(path)
    content = Path(path).read_bytes()
    try:
        opened = xarray.open_datatree(io.BytesIO(content), engine="h5netcdf")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as NetCDF; write draws with Draws.save.") from error
    with opened as tree:
        return from_arviz(tree, law)


def rebuild_model(
    draws: Draws, observations: Observations, likelihood: Likelihood | None, given: Mapping[str, Any] | None
) -> Draws:
    """Posterior draws with their model rebuilt, checked by the log densities of the first draws.

    Args:
        draws: draws read from a file.
        observations: the observations of the posterior.
        likelihood: of the posterior; default: that of the law's response.
        given: priors in place of the default ones.

    Raises:
        TypeError: the observations or the likelihood have another type.
        ValueError: the draws are not of a posterior, or of another model.
    """
    import jax

    from jaxscale.bayes.build_model import check_types, model_of

    check_types(likelihood, [observations])
    if not {"log_likelihood", "log_prior"} <= set(draws.stats):
        raise ValueError(
            f"These draws ({draws.method}) are not of a posterior, so they have no model; omit observations, "
            "likelihood and priors."
        )
    law = resolve(draws.law)
    by_group = [name for name in draws.free if draws.params[name].ndim > 1]
    pooling = {name: "partial" if f"{name}_spread" in draws.nuisance else "none" for name in by_group}
    fixed = {name: float(values[0]) for name, values in draws.params.items() if name not in draws.free}
    model_likelihood = of_response(law.response) if likelihood is None else likelihood
    with jax.enable_x64(True):
        model = model_of(law, prepare(law, observations), model_likelihood, given=given, fixed=fixed, pooling=pooling)
        every = {**draws.params, **draws.nuisance}
        sites = {name: every[name][:FIRST] for name in model.shapes if name in every}
        alike = all(name in sites and sites[name].shape[1:] == shape for name, shape in model.shapes.items())
        log_densities = {"likelihood": lambda s: model.rows(s).sum(), "priors": model.log_prior}
        for name, log_density in log_densities.items():
            held = draws.stats[f"log_{name.removesuffix('s')}"][:FIRST]
            if not alike or not np.allclose(jax.vmap(log_density)(sites), held, rtol=1e-8, atol=1e-8):
                raise ArgumentError(
                    name, "and observations must be those that the draws were made with, but are others."
                )
    return replace(draws, law=law, observations=model_likelihood.bind(observations)[1], model=model)


def check_extension(path: str | Path) -> None:
    """Reject a path without the extension of draws.

    Raises:
        ValueError: it has another extension.
    """
    if Path(path).suffix.lower() != ENDING:
        raise ValueError(f"{path} does not end in {ENDING}, as files of draws do; end it in {ENDING}.")


def _constant(draws: Draws, name: str) -> bool:
    """Whether a parameter is constant over the draws, bit for bit."""
    values = draws.params[name]
    return name not in draws.free and values.tobytes() == np.repeat(values[:1], len(values), axis=0).tobytes()


def _escape(name: str) -> str:
    """A name with slashes escaped: labels of groups may contain them, but they separate the groups of a tree."""
    return name.replace("%", "%25").replace("/", "%2F") if "/" in name else name


def _flags(name: str, values: Shaped[np.ndarray, " draw"]) -> Shaped[np.ndarray, " draw"]:
    """Divergences as booleans, as ArviZ expects."""
    return values.astype(bool) if name == "diverging" and np.isin(values, (0, 1)).all() else values


def _dataset(
    draws: Draws | None, values: Mapping[str, Any], last: str = "", coords: Mapping[str, np.ndarray] | None = None
) -> Any:
    """A dataset of arrays, with axes (chain, draw, ...) where they belong to draws.

    Args:
        draws: the draws of the arrays' leading axis, or None.
        values: name to array.
        last: name of the last axis, where arrays have more axes than (chain, draw).
        coords: labels of axes.
    """
    from arviz_base import dict_to_dataset

    chains = [] if draws is None else ["chain", "draw"]
    arrays, dims = {}, {}
    for name, numbers in values.items():
        array = np.asarray(numbers)
        arrays[name] = array if draws is None else array.reshape(draws.chains, -1, *array.shape[1:])
        has_name = last and not name.startswith("fixed_")
        extra = arrays[name].ndim - len(chains)
        if extra:
            dims[name] = [f"{name}_dim_{k}" for k in range(extra - bool(has_name))] + ([last] if has_name else [])
    return dict_to_dataset(
        arrays, sample_dims=chains, dims=dims, coords=dict(coords or {}), skip_event_dims=True, check_conventions=False
    )


def _flat(values: Any) -> np.ndarray:
    array = np.asarray(values.values)
    return array.reshape(-1, *array.shape[2:])


def _json_attributes() -> tuple[str, ...]:
    return ("params", "free", "nuisance", "stats", "about", "notices")


def _attributes(draws: Draws) -> dict[str, Any]:
    """Attributes of the tree: everything that is not in its arrays."""
    lists = {
        "params": list(draws.params),
        "free": list(draws.free),
        "nuisance": list(draws.nuisance),
        "stats": {name: values.dtype.str for name, values in draws.stats.items()},
        "about": draws.about,
        "notices": [{"code": notice.code, "message": notice.message} for notice in draws.notices],
        "versions": versions(),
        "groups": list(draws.group_names),
    }
    plain = {"law": str(draws.law), "method": draws.method, "draws": len(draws), "chains": draws.chains}
    as_json = {name: json.dumps(value, default=_plain) for name, value in lists.items()}
    return plain | {"ok": int(draws.ok)} | as_json


def _plain(value: Any) -> Any:
    """A NumPy number or array as plain numbers, anything else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
