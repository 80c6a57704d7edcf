"""Checkpoint: a folder with the finished parts of a long run, from which the same run can be resumed.

A part is stored under a hash of its inputs (the name of the program and every number), so that a repeated run
finds its parts and parts cannot be confused. Files are written atomically.
"""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree, Shaped

from jaxscale.utils.errors import UsageError
from jaxscale.utils.files import write_atomically

_SUFFIX = ".part"
_MANIFEST = "run.json"


class JournalError(UsageError):
    """Error of a checkpoint folder that is damaged or belongs to another run; the folder is left unchanged."""

    code = "checkpoint"
    argument = "checkpoint"


class Journal:
    """Store of the finished parts of one run.

    Args:
        folder: folder of the parts; created if it does not exist.
        run: identity of the run: law, data, settings, versions.

    Raises:
        JournalError: the folder belongs to another run, or is not a checkpoint.
    """

    def __init__(self, folder: str | os.PathLike[str], run: dict[str, Any]) -> None:
        self.folder = Path(folder)
        manifest = json.loads(json.dumps(run, sort_keys=True, default=str))
        place = self.folder / _MANIFEST
        if place.exists():
            try:
                stored = dict(json.loads(place.read_text()))
            except (OSError, ValueError, TypeError):
                raise JournalError(f"Checkpoint {place} cannot be read; delete the folder to start over.") from None
            if stored != manifest:
                differs = [key for key in sorted({*manifest, *stored}) if manifest.get(key) != stored.get(key)]
                raise JournalError(
                    f"Checkpoint {self.folder} belongs to another run (it differs in {', '.join(differs)}); "
                    "give another folder, or delete this one."
                )
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise JournalError(f"Checkpoint {self.folder} is a file; give a folder.")
        if self.folder.exists() and not all(map(_is_manifest, self.folder.iterdir())):
            raise JournalError(f"Checkpoint {self.folder} is not empty and holds no {_MANIFEST}; give an empty folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(manifest, indent=1).encode())

    def key(self, program: str, arguments: PyTree) -> str:
        """Key of a part: a hash of the program's name and of every number that it is given."""
        digest = hashlib.sha256(program.encode())
        for leaf in jax.tree.leaves(arguments):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:40]

    def read(self, key: str) -> list[Shaped[np.ndarray, "..."]] | None:
        """The arrays of a finished part, or None.

        Raises:
            JournalError: the file is damaged.
        """
        place = self.folder / (key + _SUFFIX)
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            return None
        stamp, body = content[:64], content[64:]
        if stamp != hashlib.sha256(body).hexdigest().encode():
            raise JournalError(f"Checkpoint file {place} is damaged; delete it to compute its part again.")
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            return [stored[f"a{k}"] for k in range(len(stored.files))]

    def write(self, key: str, arrays: Sequence[Shaped[np.ndarray, "..."]]) -> None:
        """Store the arrays of a finished part."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{f"a{k}": np.asarray(array) for k, array in enumerate(arrays)})
        body = buffer.getvalue()
        write_atomically(self.folder / (key + _SUFFIX), hashlib.sha256(body).hexdigest().encode() + body)


def _is_manifest(place: Path) -> bool:
    """Whether a file is the manifest of a process that started at the same time, or was killed while writing it."""
    return place.name == _MANIFEST or place.name.startswith(f".{_MANIFEST}.")
