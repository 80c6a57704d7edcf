"""Memory maps of this process: Linux kills a process that has too many, and each compiled program takes dozens."""

from pathlib import Path

LIMIT = Path("/proc/sys/vm/max_map_count")
MAPS = Path("/proc/self/maps")


def count() -> int:
    """Number of memory maps of this process; 0 where the system does not report it."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


def share() -> float:
    """Number of memory maps as a fraction of the limit; 0 where the system does not report it."""
    return count() / int(LIMIT.read_text()) if LIMIT.exists() else 0.0
