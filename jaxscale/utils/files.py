"""Files: cache folder, atomic writes, and values that JSON can represent."""

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Folder of downloaded files: ``jaxscale`` in XDG_CACHE_HOME, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxscale"


def replace_nonfinite(value: Any) -> Any:
    """Replace numbers that JSON cannot represent by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_nonfinite(item) for item in value]
    return value


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file atomically: it is complete or absent."""
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
    """Write several files atomically: all of them or none.

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
