"""Compilation cache: a folder of compiled programs that later processes load."""

import os
import stat
import warnings
from pathlib import Path

from jaxscale.utils.files import cache_folder


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> str | None:
    """Keep compiled programs in a folder, so that later processes load them instead of compiling again.

    Commands do this by default; a Python process has to call it once before its first fit:

    >>> import jaxscale
    >>> jaxscale.enable_compilation_cache()  # doctest: +SKIP
    '~/.cache/jaxscale/xla'

    JAX's persistent compilation cache is turned on for the whole process, for programs of any size. Where a folder is
    configured already (``JAX_COMPILATION_CACHE_DIR``), it stays in use with its settings. The programs in the folder
    are executed, so a folder that other users can write to is refused.

    Args:
        folder: created if it does not exist; by default ``jaxscale/xla`` in XDG_CACHE_HOME or ``~/.cache``.

    Returns:
        The folder in use; None, with a warning, if none can be used.

    Warns:
        UserWarning: the folder cannot be created, or others can write to it.
    """
    try:
        return configure(folder)
    except OSError as error:
        warnings.warn(str(error), stacklevel=2)
        return None


def configure(folder: str | os.PathLike[str] | None = None) -> str:
    """As :func:`enable_compilation_cache`, but raise an error instead of a warning.

    Args:
        folder: as there.

    Raises:
        OSError: the folder cannot be created, or others can write to it.
    """
    import jax

    configured = jax.config.values["jax_compilation_cache_dir"]
    if configured is not None:
        return configured
    path = Path(folder).expanduser() if folder is not None else cache_folder() / "xla"
    path = path.resolve()
    try:
        for each in (path.parent, path):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        safe = _is_private(path.stat()) and _keeps_entries(path.parent.stat())
        reason = "it belongs to another user or can be written by others; give a folder that only you can write to"
    except OSError as error:
        safe, reason = False, f"{error.filename}: {error.strerror}"
    if not safe:
        raise OSError(f"compiled programs are not kept in {path}: {reason}.")
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return str(path)


def _is_private(found: os.stat_result) -> bool:
    """Whether only this user can write to a folder."""
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not _is_shared(found)


def _keeps_entries(found: os.stat_result) -> bool:
    """Whether only the owner of an entry of the folder, or the administrator, can replace it."""
    return found.st_uid in (0, os.getuid()) and (not _is_shared(found) or bool(found.st_mode & stat.S_ISVTX))


def _is_shared(found: os.stat_result) -> bool:
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
