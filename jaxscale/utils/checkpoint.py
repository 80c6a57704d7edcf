"""Journal: finished parts of a long run in a folder, so that the same run, started again, goes on.

A part is found by what went into it (a hash of the program's name and every number), so a run that is
repeated finds its parts, and a part can never be mistaken for another. Files are complete or absent:
each is written beside its place, flushed, and renamed.
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

from jaxscale.utils.errors import UsageError
from jaxscale.utils.files import write_atomically

_SUFFIX = ".part"
_MANIFEST = "run.json"


class JournalError(UsageError):
    """A folder of finished parts is damaged or belongs to another run; nothing in it was changed."""

    code = "checkpoint"
    argument = "checkpoint"


class Journal:
    """The finished parts of one run.

    Args:
        folder: where they are kept; made if it is not there.
        run: what makes the run the one it is: law, data, settings, versions.

    Raises:
        JournalError: the folder holds another run, or something that is no journal.
    """

    def __init__(self, folder: str | os.PathLike[str], run: dict[str, Any]) -> None:
        self.folder = Path(folder)
        said = json.loads(json.dumps(run, sort_keys=True, default=str))
        place = self.folder / _MANIFEST
        if place.exists():
            try:
                found = dict(json.loads(place.read_text()))
            except (OSError, ValueError, TypeError):
                raise JournalError(f"Checkpoint {place} cannot be read; delete the folder to start again.") from None
            if found != said:
                differs = [key for key in sorted({*said, *found}) if said.get(key) != found.get(key)]
                raise JournalError(
                    f"Checkpoint {self.folder} belongs to another run (it differs in {', '.join(differs)}); "
                    "give another folder, or delete this one."
                )
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise JournalError(f"Checkpoint {self.folder} is a file; give a folder.")
        if self.folder.exists() and not all(map(_left_over, self.folder.iterdir())):
            raise JournalError(f"Checkpoint {self.folder} is not empty and holds no {_MANIFEST}; give an empty folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(said, indent=1).encode())

    def key(self, program: str, arguments: Any) -> str:
        """The name of a part: a hash of the program's name and of every number that goes in."""
        digest = hashlib.sha256(program.encode())
        for leaf in jax.tree.leaves(arguments):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:40]

    def read(self, key: str) -> list[np.ndarray] | None:
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
            raise JournalError(f"Checkpoint file {place} is damaged; delete it to have its part computed again.")
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            return [stored[f"a{k}"] for k in range(len(stored.files))]

    def write(self, key: str, arrays: Sequence[np.ndarray]) -> None:
        """Keep the arrays of a finished part."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{f"a{k}": np.asarray(array) for k, array in enumerate(arrays)})
        body = buffer.getvalue()
        write_atomically(self.folder / (key + _SUFFIX), hashlib.sha256(body).hexdigest().encode() + body)


def _left_over(place: Path) -> bool:
    """Whether this is the manifest of a process that began in the same moment, or was killed while it wrote it."""
    return place.name == _MANIFEST or place.name.startswith(f".{_MANIFEST}.")
