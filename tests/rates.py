"""Learning-rate schedules of published runs, and evaluation of laws along them."""

from typing import Any

import numpy as np

from jaxscale.law import Law

PEAK, WARMUP = 3e-4, 2160


def warmed(rates: Any) -> np.ndarray:
    return np.concatenate([np.linspace(0.0, PEAK, WARMUP), rates])


def cosine(steps: int, end: float = 0.1) -> np.ndarray:
    share = np.arange(steps + 1 - WARMUP) / (steps - WARMUP)
    return warmed(PEAK * (end + (1 - end) / 2 * (1 + np.cos(np.pi * share))))


def constant(steps: int) -> np.ndarray:
    return warmed(np.full(steps + 1 - WARMUP, PEAK))


def two_stage(steps: int, end: float) -> np.ndarray:
    rates = constant(steps)
    rates[8000:] = end
    return rates


def decayed(steps: int, exponential: bool) -> np.ndarray:
    rates, share = constant(steps), np.arange(1, 4001) / 4000
    rates[-4000:] = PEAK * (0.1**share if exponential else 1 - 0.9 * share)
    return rates


def at(law: Law, features: Any, params: Any) -> Any:
    """Evaluate a law with inputs by name."""
    return law(*(features[name] for name in law.inputs), **params)
