"""Meshes of devices, of one process and of several: the same bits everywhere."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.sweeps import small

# Seconds after which a process is taken to hang.
PATIENCE = 600


def started(devices: int, *words: object) -> subprocess.Popen[str]:
    """tests.on_devices in a process that sees so many devices; it shares the tests' compiled programs."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "tests.on_devices", *map(str, words)]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    if words[0] not in ("numbers", "pretended"):
        # Bits are compared of optimised programs, as users run them; numbers to eight digits of any.
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "false"
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def printed(*processes: subprocess.Popen[str]) -> list[list[str]]:
    """Lines of each process. All are ended, since one would wait for the other for ever."""
    try:
        ends = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), [message for _, message in ends]
    return [[line for line in text.splitlines() if line.startswith("0x")] for text, _ in ends]


@pytest.fixture(scope="module")
def meshes() -> list[str]:
    return printed(started(8, "none", 1, 2, 8))[0]


def test_the_number_of_devices_changes_no_bit(meshes: list[str]) -> None:
    assert len(meshes) == 4
    assert meshes == meshes[:1] * 4


def test_two_processes_return_the_bits_of_one(meshes: list[str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(1, "together", port, 2, which, tmp_path / "kept") for which in range(2)]
    assert printed(*processes) == [meshes[:1] * 2] * 2
    folders = [{path.name for path in tmp_path.glob(f"kept{end}/*/*")} for end in ("", "-0", "-1")]
    assert len(folders[0]) > 5 and folders == folders[:1] * 3


def test_the_programs_of_an_accelerator_give_the_same_numbers() -> None:
    lines = printed(started(1, "numbers"), started(1, "pretended"))
    here, there = ([float.fromhex(line) for line in values] for values in lines)
    assert len(here) == 2 + 2 * len(small.parameters)
    np.testing.assert_allclose(there, here, rtol=1e-8)
