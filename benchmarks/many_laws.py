"""Memory maps of a process that fits every law of the catalogue.

    python -m benchmarks.many_laws [--laws 386] [--starts 64]

Linux kills a process with more than 65,530 memory maps. Each law is fitted to rows simulated from its typical
parameters, from few starts; laws that cannot be simulated are listed and left out. A function that this script
compiles before the fits must still be compiled after them.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

import jaxscale
from jaxscale import Observations, laws
from jaxscale.law import Law, between
from jaxscale.utils import memory_maps


def simulate_rows(law: Law, rows: int = 32) -> Observations:
    """Simulate rows with inputs in their typical ranges and typical parameters, with seed 0."""
    generator = np.random.default_rng(0)
    columns = {
        name: np.asarray(between(*kind.sizes, generator.uniform(size=rows))) for name, kind in law.inputs.items()
    }
    table = jaxscale.simulate(law, law.typical, columns, response="response")
    return Observations.from_table(table, inputs=list(law.inputs), response="response")


def fit_many_laws(names: list[str], starts: int, report: int = 16) -> tuple[int, list[str]]:
    """Fit laws one after the other.

    Args:
        names: names of laws.
        starts: number of random starts of each fit.
        report: number of laws between two printed lines.

    Returns:
        Largest number of memory maps after a fit, and the laws left out with their errors.
    """
    most, refused, start = memory_maps.count(), [], time.perf_counter()
    settings = dict(starts=starts, polish=4, n_resamples=0, allow_unidentified=True, progress=False)
    for k, name in enumerate(names, 1):
        law = laws.get(name)
        try:
            jaxscale.fit(law, simulate_rows(law), **settings)  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            refused.append(f"{name}: {error}")
        most = max(most, memory_maps.count())
        if k % report == 0 or k == len(names):
            seconds = time.perf_counter() - start
            print(f"{k} laws, {seconds:.0f} s: {memory_maps.count()} maps, most {most}", flush=True)
    return most, refused


def main() -> None:
    """Print the number of maps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laws", type=int, default=len(laws.names()))
    parser.add_argument("--starts", type=int, default=64)
    options = parser.parse_args()
    own: Any = jax.jit(lambda x: 2 * x + 1)
    own(np.ones(3))
    most, refused = fit_many_laws(list(laws.names())[: options.laws], options.starts)
    print(f"largest number of maps: {most}; left out: {len(refused)}", *refused, sep="\n  ")
    print(f"own function still compiled: {own._cache_size() == 1}")


if __name__ == "__main__":
    main()
