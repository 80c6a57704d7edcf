"""Coverage of the 90 % intervals of fits, and errors of the estimates.

    python -m benchmarks.coverage [--sweeps 500] [--noise scale|squared|0.001|student_t]

Sweeps of three laws with 5 to 240 rows, scatter of 0.1, 0.5 and 2 %, and three kinds of noise: normal, normal with 5 %
of the rows at 8 times the scatter, and Student-t with 3 degrees of freedom. Estimates and intervals are those of
``jaxscale.fit``. Cells with fewer than 2 degrees of freedom have no intervals.
"""

import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

ROWS = (5, 6, 8, 12, 25, 60, 240)
SCATTERS = (0.001, 0.005, 0.02)
KINDS = ("clean", "outliers", "student")
TRUTH = {
    "power_law_floor": dict(c=1.0, a=4000.0, b=0.23),
    "chinchilla": dict(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
    "logistic4": dict(lo=0.2, hi=0.9, k=0.6, x0=1.0),
}
LEVEL = 0.9


def design(law: str, rows: int) -> dict[str, np.ndarray]:
    """Inputs of a sweep."""
    if law == "power_law_floor":
        return {"x": np.geomspace(2e14, 6e17, rows)}
    if law == "logistic4":
        return {"x": np.linspace(-10.0, 10.0, rows)}
    generator = np.random.default_rng(1)
    size, tokens = (np.arange(rows) + 0.5) / rows, (generator.permutation(rows) + 0.5) / rows
    return {"N": 5e7 * 200**size, "D": 1e9 * 200**tokens}


def draw_noise(kind: str, count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Noise of unit scatter, shape (count, rows)."""
    if kind == "student":
        return generator.standard_t(3, (count, rows))
    noise = generator.standard_normal((count, rows))
    far = generator.random((count, rows)) < 0.05
    return np.where(far, 8 * noise, noise) if kind == "outliers" else noise


def noise_of(name: str, space: Any) -> Any:
    """Noise of the fit; None for the default."""
    from jaxscale import noise

    if name == "default":
        return None
    if name in ("squared", "student_t"):
        return getattr(noise, name)(space=space)
    return noise.huber(name if name == "scale" else float(name), space)


def cell(law: str, rows: int, scatter: float, kind: str, sweeps: int, noise: str) -> dict[str, Any]:
    """Hits and errors of one cell, by parameter."""
    import jaxscale

    shape, truth, columns = jaxscale.laws.get(law), TRUTH[law], design(law, rows)
    level = np.asarray(shape(*columns.values(), **truth))
    log = law != "logistic4"
    generator = np.random.default_rng(zlib.crc32(repr((law, rows, scatter, kind)).encode()))
    error = scatter * draw_noise(kind, sweeps, rows, generator)
    hits, off, given = {k: 0 for k in truth}, {k: [] for k in truth}, 0
    for one in error:
        response = level * np.exp(one) if log else level + one
        table = jaxscale.Observations.from_table({**columns, "y": response}, inputs=list(columns), response="y")
        fit = jaxscale.fit(
            shape, table, noise=noise_of(noise, "log" if log else "linear"), progress=False, allow_unidentified=True
        )
        ends = fit.intervals(LEVEL)
        given += all(np.isfinite(ends[k]).any() for k in truth)
        for k, value in truth.items():
            hits[k] += ends[k][0] <= value <= ends[k][1]
            off[k].append(abs(fit.params[k] - value))
    return {
        "cell": (law, rows, scatter, kind),
        "hits": {k: 100 * v / sweeps for k, v in hits.items()},
        "error": {k: float(np.median(v)) for k, v in off.items()},
        "given": given,
    }


def main() -> None:
    """Print every cell, the mean for each number of rows, and the mean distance from 90 %."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweeps", type=int, default=500)
    parser.add_argument("--noise", default="default")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--law", nargs="*", default=list(TRUTH))
    parser.add_argument("--rows", nargs="*", type=int, default=list(ROWS))
    options = parser.parse_args()
    cells = [
        (law, rows, scatter, kind, options.sweeps, options.noise)
        for law in options.law
        for rows in options.rows
        for scatter in SCATTERS
        for kind in KINDS
        if rows - len(TRUTH[law]) >= 2
    ]
    found = []
    with ProcessPoolExecutor(options.workers) as pool:
        for done in pool.map(cell, *zip(*cells, strict=True)):
            found.append(done)
            law, rows, scatter, kind = done["cell"]
            hits = " ".join(f"{k} {v:5.1f}" for k, v in done["hits"].items())
            error = " ".join(f"{v:.4g}" for v in done["error"].values())
            print(f"{law:16} {rows:4} {scatter:6g} {kind:9} {hits} | {error}", flush=True)
    every = [hit for done in found for hit in done["hits"].values()]
    for rows in options.rows:
        coverages = [hit for done in found if done["cell"][1] == rows for hit in done["hits"].values()]
        if coverages:
            low, high = min(coverages), max(coverages)
            print(f"{rows:4} rows: mean {np.mean(coverages):.1f}, least {low:.1f}, largest {high:.1f}")
    print(f"all: mean |coverage - 90| {np.mean(np.abs(np.array(every) - 90)):.2f}, {len(every)} cells")


if __name__ == "__main__":
    main()
