"""Shared data of the tests of laws: rows of real tables, published constants, and sizes."""

import csv
from pathlib import Path

import numpy as np

from jaxscale import laws

N, D = np.array([1e7, 1e9, 1e11]), np.array([2e9, 2e10, 5e12])
BASE = dict(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)


def read(data: Path, name: str) -> list[dict[str, str]]:
    with open(data / name, newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def published(name: str, label: str) -> dict[str, float]:
    return dict(laws.get(name).published[label])


def grid(low: float, high: float, count: int = 400001) -> np.ndarray:
    return np.geomspace(low, high, count)
