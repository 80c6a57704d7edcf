"""Public data sets by name.

``load("chinchilla_epoch")`` looks for ``chinchilla_epoch.csv`` in the folder of the
environment variable JAXSCALE_DATA, then in the user's cache, and otherwise downloads it once from a
URL pinned to one commit and one SHA-256.
"""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxscale.costs import flops_6nd
from jaxscale.data.readers import read_table
from jaxscale.data.tables import Table, is_empty, number
from jaxscale.utils.errors import DataError, did_you_mean
from jaxscale.utils.files import cache_folder

_VARIABLE = "JAXSCALE_DATA"
_SECONDS = 30


@dataclass(frozen=True)
class Source:
    """Source of a data set.

    Args:
        address: URL of one file at one commit.
        sha256: SHA-256 of that file.
        raw_columns: columns that identify the file as published.
        prepare: converts the published table into the one that is returned.
    """

    address: str
    sha256: str
    raw_columns: tuple[str, ...]
    prepare: Callable[[Table], Table]


def load(name: str) -> Table:
    """Load a public data set by name, such as "chinchilla_epoch".

    Args:
        name: one of :func:`names`.

    Returns:
        The table, a source of :meth:`jaxscale.Observations.from_table`.

    Raises:
        DataError: the name is unknown, or the file cannot be found or downloaded, or its SHA-256 is wrong.
    """
    if name not in names():
        raise DataError(
            f"There is no data set {name!r}{did_you_mean(name, names())}; known data sets are {', '.join(names())}, "
            f"and every CSV file in the folder {_VARIABLE}."
        )
    folder = data_folder()
    if folder is not None and (folder / f"{name}.csv").is_file():
        return _prepare(name, folder / f"{name}.csv")
    path = cache_folder() / f"{name}.csv"
    if not path.is_file():
        _store(path, _download(name))
    _verify(path, path.read_bytes(), SOURCES[name].sha256)
    return _prepare(name, path)


def names() -> list[str]:
    """Names of the data sets that :func:`load` accepts: those with a pinned URL and those in JAXSCALE_DATA."""
    folder = data_folder()
    local = [path.stem for path in folder.glob("*.csv")] if folder is not None else []
    return sorted({*SOURCES, *local})


def data_folder() -> Path | None:
    """Folder of the environment variable JAXSCALE_DATA, or None if it is not set.

    Raises:
        DataError: the variable is not a folder.
    """
    value = os.environ.get(_VARIABLE)
    if not value:
        return None
    folder = Path(value)
    if not folder.is_dir():
        raise DataError(f"{_VARIABLE} is {value}, which is not a folder; set it to one with CSV files or unset it.")
    return folder


def _prepare(name: str, path: Path) -> Table:
    table = read_table(path)
    source = SOURCES.get(name)
    as_published = source is not None and set(source.raw_columns) <= set(table.columns)
    return source.prepare(table) if source is not None and as_published else table


def _download(name: str) -> bytes:
    # Importing these takes longer than importing all laws.
    import http.client
    import urllib.request

    source = SOURCES[name]
    try:
        with urllib.request.urlopen(source.address, timeout=_SECONDS) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"The data set {name!r} cannot be downloaded from {source.address} ({error}); connect to the network, or "
            f"put {name}.csv in a folder and set {_VARIABLE} to that folder."
        ) from None
    _verify(source.address, content, source.sha256)
    return content


def _verify(where: object, content: bytes, sha256: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            f"{where} has SHA-256 {digest[:12]}..., but {sha256[:12]}... is expected; delete any copy of the file and "
            f"try again, or set {_VARIABLE} to a folder that holds it."
        )


def _store(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary file that is renamed."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error}); set XDG_CACHE_HOME to a folder of yours.") from None


def _prepare_chinchilla(raw: Table) -> Table:
    """Add tokens ``C / (6 N)``, and ``in_published_fit``, 0 for the five highest losses, which that fit excludes."""
    cells = [raw.column(key) for key in ("Model Size", "Training FLOP", "loss")]
    complete = [i for i in range(len(raw)) if not any(is_empty(column[i]) for column in cells)]
    params, flops, loss = (np.array([number(column[i]) for i in complete], dtype=float) for column in cells)
    columns = {
        "params": params,
        "tokens": flops / flops_6nd(params, 1.0),
        "flops": flops,
        "loss": loss,
        "in_published_fit": (loss < np.sort(loss)[-5:].min(initial=np.inf)).astype(int),
    }
    return dataclasses.replace(raw, columns=columns, rows=raw.rows[complete])


SOURCES: dict[str, Source] = {
    # Losses of Chinchilla's training runs, read off Figure 4 of Hoffmann et al. (2022) by
    # Besiroglu et al. (2024), arXiv:2404.10102.
    "chinchilla_epoch": Source(
        address="https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
        "92258837425e1b5f2851d624287f0120583a3d0e/data/svg_extracted_data.csv",
        sha256="193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
        raw_columns=("Model Size", "Training FLOP", "loss"),
        prepare=_prepare_chinchilla,
    ),
}
