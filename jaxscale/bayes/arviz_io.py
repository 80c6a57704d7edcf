"""Containers: draws as an ArviZ tree and as a NetCDF file, which holds every number bit for bit.

The tree has the groups that ArviZ knows: ``posterior`` (what varies, and the nuisance), ``sample_stats``,
``log_prior``, ``log_likelihood`` (by row, or by run where the rows of a run share an effect, which is integrated out),
``observed_data`` and ``constant_data`` (inputs, and parameters that are fixed).
"""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxscale.bayes.pointwise import labelled, pointwise
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
# What ArviZ calls the numbers of every draw.
NAMES = {"log_density": "lp", "steps": "n_steps"}
# How many draws a model that is made anew is held against.
FIRST = 20


def to_arviz(draws: Draws) -> Any:
    """Draws as the container of ArviZ (an xarray ``DataTree``).

    Args:
        draws: of any method.

    Returns:
        The tree; the attributes of its root say what :func:`from_arviz` needs to read it back.
    """
    from xarray import DataTree

    fixed = {name: values[0] for name, values in draws.params.items() if _constant(draws, name)}
    varying = {name: values for name, values in draws.params.items() if name not in fixed}
    stats = {NAMES.get(name, name): _flags(name, v) for name, v in draws.stats.items() if name != "log_prior"}
    constants = {f"fixed_{_escaped(name)}": value for name, value in fixed.items()}
    varying = {_escaped(name): values for name, values in (varying | draws.nuisance).items()}
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
        unit, labels = labelled(draws.model, draws.observations)
        groups["log_likelihood"] = _dataset(draws, {"response": each}, unit, {unit: labels})
    tree = DataTree.from_dict({name: group for name, group in groups.items() if len(group)})
    tree.attrs = _told(draws)
    return tree


def from_arviz(tree: Any, law: Law | None = None) -> Draws:
    """The draws of a tree that :func:`to_arviz` made; their model and observations are not among them.

    Args:
        tree: an xarray ``DataTree``.
        law: the law, where it is not in the catalogue.

    Raises:
        ValueError: the tree was made by something else, or the law is another one.
    """
    try:
        told = {name: json.loads(tree.attrs[name]) for name in _told_as_json()}
        posterior = {name: _flat(values) for name, values in tree["posterior"].data_vars.items()}
        count = int(tree.attrs["draws"])
        params = {}
        for name in told["params"]:
            value = posterior.get(_escaped(name))
            if value is None:
                fixed = np.asarray(tree["constant_data"][f"fixed_{_escaped(name)}"].values)
                value = np.repeat(fixed[None], count, axis=0)
            params[name] = value
        stats = {}
        for name, kind in told["stats"].items():
            group = "log_prior" if name == "log_prior" else "sample_stats"
            stats[name] = _flat(tree[group][NAMES.get(name, name)]).astype(kind)
        made = Draws(
            law=str(tree.attrs["law"]),
            params=params,
            method=str(tree.attrs["method"]),
            free=tuple(told["free"]),
            nuisance={name: posterior[_escaped(name)] for name in told["nuisance"]},
            chains=int(tree.attrs["chains"]),
            stats=stats,
            about=told["about"],
            notices=tuple(Notice(**notice) for notice in told["notices"]),
            ok=bool(tree.attrs["ok"]),
            group_names=tuple(json.loads(tree.attrs.get("groups", "[]"))),
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"These are not draws written by jaxscale ({error}); write them with Draws.save.") from error
    return replace(made, law=law_of_file(str(made.law), law, "posterior"))


def save(draws: Draws, path: str | Path) -> None:
    """Write draws as a NetCDF file, there whole or not at all.

    Args:
        draws: of any method.
        path: a file that ends in .nc.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the path has another ending.
    """
    refuse_ending(path)
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {folder}; create it first.")
    tree = to_arviz(draws)
    for node in tree.subtree:
        for values in node.variables.values():
            # No value stands for a missing one: NaN is NaN.
            values.encoding["_FillValue"] = None
    write_atomically(path, bytes(tree.to_netcdf(engine="h5netcdf")))


def load(path: str | Path, law: Law | None = None) -> Draws:
    """Read the draws that :func:`save` wrote.

    Args:
        path: a file that ends in .nc.
        law: the law, where it is not in the catalogue.

    Returns:
        The draws bit for bit, without model and observations.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the path has another ending, the file cannot be read or holds something else, or the law is
            another one.
    """
    import xarray

    refuse_ending(path)
    content = Path(path).read_bytes()
    try:
        opened = xarray.open_datatree(io.BytesIO(content), engine="h5netcdf")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as NetCDF; write draws with Draws.save.") from error
    with opened as tree:
        return from_arviz(tree, law)


def modelled(
    draws: Draws, observations: Observations, likelihood: Likelihood | None, given: Mapping[str, Any] | None
) -> Draws:
    """Draws of a posterior with their model, made anew; what it says of the first draws must be what they hold.

    Args:
        draws: read from a file.
        observations: what the posterior was drawn with.
        likelihood: the same; that of the law's response unless given.
        given: priors in place of the default ones.

    Raises:
        TypeError: the observations or the likelihood are of another type.
        ValueError: the draws are of no posterior, or of another model.
    """
    import jax

    from jaxscale.bayes.build_model import model_of, refuse_types

    refuse_types(likelihood, [observations])
    if not {"log_likelihood", "log_prior"} <= set(draws.stats):
        raise ValueError(
            f"These draws ({draws.method}) are of no posterior, so they have no model; leave its parts out."
        )
    law = resolve(draws.law)
    apart = [name for name in draws.free if draws.params[name].ndim > 1]
    pooling = {name: "partial" if f"{name}_spread" in draws.nuisance else "none" for name in apart}
    fixed = {name: float(values[0]) for name, values in draws.params.items() if name not in draws.free}
    chosen = of_response(law.response) if likelihood is None else likelihood
    with jax.enable_x64(True):
        model = model_of(law, prepare(law, observations), chosen, given=given, fixed=fixed, pooling=pooling)
        every = {**draws.params, **draws.nuisance}
        sites = {name: every[name][:FIRST] for name in model.shapes if name in every}
        alike = all(name in sites and sites[name].shape[1:] == shape for name, shape in model.shapes.items())
        said = {"likelihood": lambda s: model.rows(s).sum(), "priors": model.log_prior}
        for name, log_density in said.items():
            held = draws.stats[f"log_{name.removesuffix('s')}"][:FIRST]
            if not alike or not np.allclose(jax.vmap(log_density)(sites), held, rtol=1e-8, atol=1e-8):
                raise ArgumentError(
                    name, "and observations must be those that the draws were made with, but are others."
                )
    return replace(draws, law=law, observations=chosen.bind(observations)[1], model=model)


def refuse_ending(path: str | Path) -> None:
    """Refuse a path that does not end as files of draws do.

    Raises:
        ValueError: it has another ending.
    """
    if Path(path).suffix.lower() != ENDING:
        raise ValueError(f"{path} does not end in {ENDING}, as files of draws do; end it in {ENDING}.")


def _constant(draws: Draws, name: str) -> bool:
    """Whether a parameter has one value, bit for bit."""
    values = draws.params[name]
    return name not in draws.free and values.tobytes() == np.repeat(values[:1], len(values), axis=0).tobytes()


def _escaped(name: str) -> str:
    """A name without the slash, which separates the groups of a tree; the label of a group may hold one."""
    return name.replace("%", "%25").replace("/", "%2F") if "/" in name else name


def _flags(name: str, values: np.ndarray) -> np.ndarray:
    """Whether a draw diverged, as ArviZ wants it: true or false."""
    return values.astype(bool) if name == "diverging" and np.isin(values, (0, 1)).all() else values


def _dataset(
    draws: Draws | None, values: Mapping[str, Any], last: str = "", coords: Mapping[str, np.ndarray] | None = None
) -> Any:
    """Arrays as one group, those of draws with axes (chain, draw, ...).

    Args:
        draws: what has the leading axis of draws, or None.
        values: name to array.
        last: the last axis of arrays that have more axes than those of draws, where it has a name.
        coords: labels of axes.
    """
    from arviz_base import dict_to_dataset

    chains = [] if draws is None else ["chain", "draw"]
    made, dims = {}, {}
    for name, several in values.items():
        array = np.asarray(several)
        made[name] = array if draws is None else array.reshape(draws.chains, -1, *array.shape[1:])
        named = last and not name.startswith("fixed_")
        extra = made[name].ndim - len(chains)
        if extra:
            dims[name] = [f"{name}_dim_{k}" for k in range(extra - bool(named))] + ([last] if named else [])
    return dict_to_dataset(
        made, sample_dims=chains, dims=dims, coords=dict(coords or {}), skip_event_dims=True, check_conventions=False
    )


def _flat(values: Any) -> np.ndarray:
    array = np.asarray(values.values)
    return array.reshape(-1, *array.shape[2:])


def _told_as_json() -> tuple[str, ...]:
    return ("params", "free", "nuisance", "stats", "about", "notices")


def _told(draws: Draws) -> dict[str, Any]:
    """What the arrays do not say, as attributes."""
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
    """NumPy's numbers and arrays as plain ones; anything else as its words."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
