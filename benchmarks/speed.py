"""The answer of the published Chinchilla protocol: jaxscale against SciPy, in one run.

    python -m benchmarks.speed [--repeats 5]

The problem: 240 runs, summed Huber(1e-3) on log residuals, law ``E + A / N**alpha + B / D**beta``.
The protocol: L-BFGS-B from each point of the grid log E in {-1, -0.5, ..., 1}, log A and log B in
{0, 5, ..., 25}, alpha and beta in {0, 0.5, ..., 2} (4,500 starts), the best end is the answer.

SciPy's side has an analytic gradient in log-sum-exp form, SciPy's default stopping rules, one BLAS
thread and one process. jaxscale scores the same 4,500 starts (exponents of 0 become 0.01: they must
be positive) and polishes the promising and a random sample; a second line times its default starts
with the design check and 400 bootstrap refits for standard errors, which the protocol does not give.
Responses are perturbed by 1e-6 in each repetition. Compilation is left out of the warm lines and
counted in the cold one, which is a whole process with an empty cache.
"""

import argparse
import tempfile
from typing import Any

import numpy as np

from benchmarks.common import epoch_sweep, machine, perturbed, published_grid, python, table, timed
from benchmarks.peers import scipy_grid

COLD = """
from benchmarks.common import epoch_sweep
from benchmarks.speed import by_jaxscale
print(by_jaxscale(epoch_sweep()).objective)
"""


def by_jaxscale(sweep: dict[str, np.ndarray], starts: Any = None, replicates: int = 2) -> Any:
    """The fit, from the published grid unless other starts are given."""
    import jaxscale

    if starts is None:
        grid = published_grid()
        starts = {
            "E": np.exp(grid["e"]),
            "A": np.exp(grid["a"]),
            "alpha": np.maximum(grid["alpha"], 0.01),
            "B": np.exp(grid["b"]),
            "beta": np.maximum(grid["beta"], 0.01),
        }
    observations = jaxscale.Observations.from_table(sweep, inputs=["N", "D"], response="loss")
    noise = jaxscale.noise.huber(1e-3)
    return jaxscale.fit("chinchilla", observations, noise=noise, starts=starts, replicates=replicates)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    sweep, grid = epoch_sweep(), published_grid()
    print(machine())

    scipy = timed(lambda k: scipy_grid(perturbed(sweep, k), grid).min(), repeats)
    by_jaxscale(sweep)
    warm = timed(lambda k: by_jaxscale(perturbed(sweep, k)), repeats)
    by_jaxscale(sweep, 4096, 400)
    whole = timed(lambda k: by_jaxscale(perturbed(sweep, k), 4096, 400), repeats)

    def cold(_: int) -> float:
        with tempfile.TemporaryDirectory() as cache:
            return float(python(COLD, XDG_CACHE_HOME=cache, JAX_COMPILATION_CACHE_DIR=cache))

    fresh = timed(cold, min(repeats, 3))
    rows = [
        ("SciPy L-BFGS-B, exact gradient, 4,500 starts", scipy, scipy.value),
        ("jaxscale, warm, the same 4,500 starts", warm, warm.value.objective),
        ("jaxscale, warm, default starts, check, 400 refits", whole, whole.value.objective),
        ("jaxscale, cold process, 4,500 starts", fresh, fresh.value),
    ]
    head = ["what", "wall s", "CPU s", "objective", "times faster (wall)", "times less CPU"]
    cells = [
        [
            name,
            f"{t.wall:.3f}",
            f"{t.cpu:.3f}",
            f"{value:.14g}",
            f"{scipy.wall / t.wall:.1f}",
            f"{scipy.cpu / t.cpu:.1f}",
        ]
        for name, t, value in rows
    ]
    print(table(head, cells))


if __name__ == "__main__":
    main()
