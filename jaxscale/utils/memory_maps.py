"""Memory maps of this process: Linux ends a process that has too many, and each compiled program takes dozens."""

from pathlib import Path

LIMIT = Path("/proc/sys/vm/max_map_count")
MAPS = Path("/proc/self/maps")


def count() -> int:
    """How many memory maps this process has; 0 where the system does not say."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


def share() -> float:
    """The number of memory maps as a share of the most that a process may have; 0 where the system does not say."""
    return count() / int(LIMIT.read_text()) if LIMIT.exists() else 0.0
