"""Shared parts of the benchmarks: timing, description of the machine, the published sweep and its grid."""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
os.environ.setdefault("JAXSCALE_DATA", str(CHECKOUT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Timing:
    """Median wall and CPU seconds over repetitions, and the result of the last one."""

    wall: float
    cpu: float
    value: Any


def measure(run: Callable[[int], Any], repeats: int) -> Timing:
    """Time ``run(k)`` for k = 0, 1, ...; medians of wall and CPU seconds, including child processes."""
    walls, cpus, value = [], [], None
    for k in range(repeats):
        before, start = _cpu(), time.perf_counter()
        value = run(k)
        walls.append(time.perf_counter() - start)
        cpus.append(_cpu() - before)
    return Timing(statistics.median(walls), statistics.median(cpus), value)


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def machine() -> str:
    """Description of the machine and of versions."""
    import jax
    import scipy

    cores = os.cpu_count()
    device = jax.devices()[0]
    return (
        f"{platform.machine()}, {cores} cores, {device.platform} ({device.device_kind}), Python "
        f"{platform.python_version()}, jax {jax.__version__}, numpy {np.__version__}, scipy {scipy.__version__}"
    )


def epoch_sweep() -> dict[str, np.ndarray]:
    """Load the 240 rows of the published replication: columns N, D, loss."""
    from jaxscale.data.datasets import load

    table = load("chinchilla_epoch")
    used = table.column("in_published_fit").astype(float) == 1
    names = dict(N="params", D="tokens", loss="loss")
    return {key: table.column(column)[used].astype(float) for key, column in names.items()}


def perturb(sweep: dict[str, np.ndarray], k: int) -> dict[str, np.ndarray]:
    """Perturb the losses of the sweep by 1e-6, differently for each k, so that no cache of results applies."""
    wiggle = np.random.default_rng(k).standard_normal(len(sweep["loss"]))
    return {**sweep, "loss": sweep["loss"] * np.exp(1e-6 * wiggle)}


def published_grid() -> dict[str, np.ndarray]:
    """Starts of the published protocol, 4,500 in (log E, log A, alpha, log B, beta)."""
    exponents = np.arange(0, 2.1, 0.5)
    axes = (np.arange(-1, 1.1, 0.5), np.arange(0, 26, 5.0), exponents, np.arange(0, 26, 5.0), exponents)
    mesh = np.meshgrid(*axes, indexing="ij")
    return dict(zip(("e", "a", "alpha", "b", "beta"), (points.ravel() for points in mesh), strict=True))


def python(program: str, **environment: str) -> str:
    """Run a program in a new process and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines
    )
