"""Default device against the CPU cores of the same machine: seconds, and agreement of the results.

    python -m benchmarks.accelerator [--repeats 3] [--only fit,starts,...] [--scale 1.0] [--platforms cpu,default]

fit: one fit of 240 runs. starts: fits with this number of restarts. bootstrap: refits of resampled rows. sets: fits of
data sets of 60 runs. importance and nuts: posteriors of 25 runs, 8,000 draws each.

Every platform has a process of its own; seconds are the median of warm calls, each on a new data set; the time of the
first call of a job, which includes compilation, is given in brackets. ``--scale`` multiplies the counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import machine, table
from benchmarks.scaling import simulate_runs

COUNTS: dict[str, tuple[int, ...]] = dict(
    fit=(1,),
    starts=(10_000, 100_000, 1_000_000),
    bootstrap=(4_000, 100_000),
    sets=(100, 10_000),
    importance=(1, 256),
    nuts=(1, 256),
)


def job(kind: str, count: int) -> Callable[[int], dict[str, Any]]:
    """Function to time: takes the number of the repetition and returns results to compare."""
    import jaxscale

    noise = jaxscale.noise.huber(1e-3)
    settings: dict[str, Any] = dict(noise=noise, n_resamples=0, progress=False)

    def runs(n: int, seed: int) -> Any:
        return jaxscale.Observations.from_table(simulate_runs(n, seed), inputs=["N", "D"], response="loss")

    if kind in ("fit", "starts"):
        more = dict(starts=count) if kind == "starts" else {}

        def fit(k: int) -> dict[str, Any]:
            found = jaxscale.fit("chinchilla", runs(240, k), **more, **settings)
            return {"objective": found.objective, **found.params}

        return fit
    if kind == "bootstrap":
        fits = [jaxscale.fit("chinchilla", runs(240, k), **settings) for k in range(8)]

        def bootstrap(k: int) -> dict[str, Any]:
            draws = jaxscale.bootstrap(fits[k], n_resamples=count, progress=False)
            return {name: float(np.std(values)) for name, values in draws.params.items()}

        return bootstrap
    data_sets = [
        [runs(25 if kind in ("importance", "nuts") else 60, count * k + s) for s in range(count)] for k in range(4)
    ]
    if kind == "sets":

        def sets(k: int) -> dict[str, Any]:
            found = jaxscale.fit_many("chinchilla", data_sets[k], noise=noise, progress=False)
            return {"objective": float(np.sum(found.objective))}

        return sets

    def posteriors(k: int) -> dict[str, Any]:
        method: Any = kind
        found = jaxscale.posterior_many("chinchilla", data_sets[k], method=method, progress=False)
        return {name: float(np.median(np.median(values, axis=1))) for name, values in found.params.items()}

    return posteriors


def measure(kinds: list[str], repeats: int, scale: float) -> None:
    """Print a line of JSON for every job on the default device of this process."""
    print(json.dumps(dict(machine=machine())), flush=True)
    for kind in kinds:
        for count in COUNTS[kind]:
            size = count if count == 1 else max(2, int(count * scale))
            run = job(kind, size)
            seconds = []
            for k in range(repeats + 1):
                before = time.perf_counter()
                answer = run(k)
                seconds.append(time.perf_counter() - before)
            # The result of the last repetition, whose data are the same on every platform.
            found = dict(kind=kind, count=size, first=seconds[0], warm=median(seconds[1:]), answer=answer)
            print(json.dumps(found), flush=True)


def main() -> None:
    """Run every platform in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--only", default=",".join(COUNTS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--platforms", default="cpu,default", help="cpu, default")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return measure(options.only.split(","), options.repeats, options.scale)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    platforms = options.platforms.split(",")
    for platform in platforms:
        command = [sys.executable, "-m", "benchmarks.accelerator", "--here", "--only", options.only]
        command += ["--repeats", str(options.repeats), "--scale", str(options.scale)]
        environment = dict(os.environ) | ({"JAX_PLATFORMS": "cpu"} if platform == "cpu" else {})
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(platform, line.strip(), file=sys.stderr, flush=True)
                one = json.loads(line)
                if "machine" in one:
                    print(f"{platform}: {one['machine']}\n")
                else:
                    found.setdefault((one["kind"], one["count"]), {})[platform] = one
        if process.returncode:
            sys.exit(f"The process of {platform} ended with {process.returncode}.")
    rows = []
    for (kind, count), by in found.items():
        cells = [f"{by[p]['warm']:.4g} ({by[p]['first']:.3g})" if p in by else "" for p in platforms]
        apart = ratio = ""
        if len(by) == 2:
            one, other = (by[p] for p in platforms)
            ratio = f"{one['warm'] / other['warm']:.2g}"
            apart = f"{max(abs(other['answer'][n] / v - 1) for n, v in one['answer'].items()):.1e}"
        rows.append([kind, f"{count:,}", *cells, ratio, apart])
    head = [f"{platform}, seconds warm (first)" for platform in platforms]
    print(table(["what", "count", *head, "times faster", "answers apart, relative"], rows))


if __name__ == "__main__":
    main()
