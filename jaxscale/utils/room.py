"""Room for compiled programs: a process that maps too many areas of memory ends, and each program takes dozens."""

from pathlib import Path
from typing import Any

import jax

# Areas that a process may have are 65,530 by default; a law's fit and posterior take some thousands.
MOST, LIMIT = 0.5, Path("/proc/sys/vm/max_map_count")
MAPS = Path("/proc/self/maps")
# Programs between two looks at how many areas there are.
BETWEEN = 64
_compiled = 0


def _count(event: str, duration_secs: float, **kwargs: Any) -> None:
    global _compiled
    del duration_secs, kwargs
    _compiled += event.endswith("backend_compile_duration")


jax.monitoring.register_event_duration_secs_listener(_count)


def make_room(most: float = MOST) -> bool:
    """Let go of all compiled programs where their areas of memory become many, and say whether that was done.

    They are compiled anew when they are next used. To be called where none of them runs.

    Args:
        most: the share of the areas that a process may have above which programs go.

    Returns:
        Whether they went.
    """
    global _compiled
    if _compiled < BETWEEN or not (MAPS.exists() and LIMIT.exists()):
        return False
    _compiled = 0
    many = MAPS.read_bytes().count(b"\n") > most * int(LIMIT.read_text())
    if many:
        jax.clear_caches()
    return many
