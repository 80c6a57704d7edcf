"""Files: where they are kept, written whole or not at all, and numbers that JSON can hold."""

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where fetched files are kept: ``jaxscale`` in XDG_CACHE_HOME, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxscale"


def nulls(value: Any) -> Any:
    """Numbers that JSON cannot hold become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: nulls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nulls(item) for item in value]
    return value


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files so that all appear, each of them whole, or none does.

    Args:
        files: path to content.
    """
    staged = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, content in files.items():
            write_atomically(staged[path], content)
        for path, part in staged.items():
            os.replace(part, path)
    finally:
        for part in staged.values():
            part.unlink(missing_ok=True)
