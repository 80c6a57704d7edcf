"""Designs of training runs for a law of model size and data size: kinds that identify it and kinds that do not."""

from typing import Any

import numpy as np

from jaxscale.data.designs import isoflop

Design = dict[str, np.ndarray]


def crossed(N: Any, D: Any) -> Design:
    first, second = np.meshgrid(N, D, indexing="ij")
    return dict(N=first.ravel(), D=second.ravel())


def by_ratio(N: Any, ratios: Any) -> Design:
    design = crossed(N, ratios)
    return dict(N=design["N"], D=design["N"] * design["D"])


class Draws:
    """Numbers for designs: sizes and spreads uniform in their logs."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def between(self, low: float, high: float) -> float:
        return float(np.exp(self.generator.uniform(np.log(low), np.log(high))))

    def count(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))

    def span(self, first: tuple[float, float], factor: tuple[float, float], count: int) -> np.ndarray:
        start = self.between(*first)
        return np.geomspace(start, start * self.between(*factor), count)


def proportional(draw: Draws) -> Design:
    N = draw.span((3e6, 1e9), (3, 1000), draw.count(5, 30))
    return dict(N=N, D=draw.between(5, 100) * N)


def nearly_proportional(draw: Draws) -> Design:
    design = proportional(draw)
    jitter = draw.between(0.01, 0.02) * draw.generator.standard_normal(len(design["N"]))
    return dict(N=design["N"], D=design["D"] * np.exp(jitter))


def one_budget(draw: Draws) -> Design:
    return isoflop([draw.between(1e17, 1e23)], draw.count(5, 30), draw.between(4, 16), draw.between(5, 100))


def one_size(draw: Draws) -> Design:
    D = draw.span((1e8, 1e10), (4, 1000), draw.count(5, 30))
    return dict(N=np.full(len(D), draw.between(1e7, 1e10)), D=D)


def one_data_size(draw: Draws) -> Design:
    N = draw.span((1e7, 1e9), (4, 1000), draw.count(5, 30))
    return dict(N=N, D=np.full(len(N), draw.between(1e8, 1e11)))


def two_sizes(draw: Draws) -> Design:
    return crossed(draw.span((1e7, 1e9), (2, 100), 2), draw.span((1e8, 1e10), (4, 1000), draw.count(3, 10)))


def two_data_sizes(draw: Draws) -> Design:
    return crossed(draw.span((1e7, 1e9), (4, 1000), draw.count(3, 10)), draw.span((1e8, 1e10), (2, 100), 2))


def small_and_narrow(draw: Draws) -> Design:
    n = draw.count(6, 30)
    N, D = (
        draw.between(*low) * draw.between(2, 3) ** draw.generator.uniform(size=n) for low in ((3e6, 5e7), (5e7, 1e9))
    )
    return dict(N=N, D=D)


def small_and_narrow_grid(draw: Draws) -> Design:
    return crossed(*(draw.span(low, (2, 3), draw.count(3, 6)) for low in ((3e6, 5e7), (5e7, 1e9))))


def few_rows(draw: Draws) -> Design:
    return by_ratio(draw.span((1e7, 1e9), (10, 300), 2), np.array([5.0, 80.0]))


BAD = [
    proportional,
    nearly_proportional,
    one_budget,
    one_size,
    one_data_size,
    two_sizes,
    two_data_sizes,
    small_and_narrow,
    small_and_narrow_grid,
    few_rows,
]


def crossed_ratios(draw: Draws) -> Design:
    N = draw.span((5e6, 1e9), (8, 300), draw.count(4, 8))
    return by_ratio(N, np.geomspace(5, 5 * draw.between(4, 16), draw.count(2, 4)))


def budgets(draw: Draws) -> Design:
    C = draw.span((1e17, 1e21), (10, 1e4), draw.count(3, 10))
    return isoflop(C.tolist(), draw.count(5, 12), draw.between(4, 16), draw.between(5, 100))


def full_grid(draw: Draws) -> Design:
    N = draw.span((5e6, 1e9), (10, 300), draw.count(3, 8))
    return crossed(N, draw.span((1e8, 1e10), (10, 300), draw.count(3, 8)))


def scattered(draw: Draws) -> Design:
    n = draw.count(15, 60)
    N = draw.between(5e6, 1e8) * draw.between(30, 300) ** draw.generator.uniform(size=n)
    return dict(N=N, D=N * 5 * draw.between(8, 30) ** draw.generator.uniform(size=n))


GOOD = [crossed_ratios, budgets, full_grid, scattered]
