# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false
"""Correctness of posteriors, their diagnostics on real files, and the cost of an effective draw.

    python -m benchmarks.posteriors reference|files|speed [--only NAME] [--num-samples 4000] [--sampler auto]

reference: five models with published reference draws (posteriordb), by NUTS and by method "auto": means within 0.05
reference standard deviations and standard deviations within 5 %, at 10,000 effective draws.
files: laws on suitable real files, at default settings, or by NUTS: R-hat at most 1.01 (or k-hat below
0.7), 400 effective draws of every parameter, no divergence.
speed: effective draws per second on the published sweep, against plain NumPyro and emcee through lmfit.
"""

import argparse
import sys

import jax

from benchmarks import posterior_files, posterior_references, posterior_speed
from benchmarks.common import machine, table


def reference(only: str, num_samples: int) -> list[list[str]]:
    """Rows of the table of reference posteriors."""
    folder = posterior_files.data()
    found = []
    for model in posterior_references.REFERENCES:
        for method in ("nuts", "auto"):
            if only in model.posterior:
                found += posterior_references.compare_model(model, folder, method=method, num_samples=num_samples)
    print(f"{sum(row.passed for row in found)} of {len(found)} pass", file=sys.stderr)
    return [row.cells for row in found]


def files(only: str, sampler: str) -> list[list[str]]:
    """Rows of the table of real files."""
    verdicts = []
    for pair in posterior_files.pairs(only):
        verdicts.append(posterior_files.assess(pair, method=sampler))
        # Each program takes many of the permitted memory maps of a process.
        jax.clear_caches()
        print(" | ".join(verdicts[-1].cells), file=sys.stderr, flush=True)
    print(f"{sum(verdict.passed for verdict in verdicts)} of {len(verdicts)} pass", file=sys.stderr)
    return [verdict.cells for verdict in verdicts]


def main() -> None:
    """Print one of the tables."""
    from jaxscale import enable_compilation_cache

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reference", "files", "speed"])
    parser.add_argument("--only", default="", help="models or files whose names contain this")
    parser.add_argument("--num-samples", type=int, default=4000, help="reference: samples of each chain")
    parser.add_argument("--sampler", default="auto", choices=["auto", "nuts"], help="of the files")
    options = parser.parse_args()
    if options.what == "speed":
        head, rows = posterior_speed.HEAD, posterior_speed.rows()
    else:
        enable_compilation_cache()
        if options.what == "reference":
            head, rows = posterior_references.HEAD, reference(options.only, options.num_samples)
        else:
            head, rows = posterior_files.HEAD, files(options.only, options.sampler)
    print(machine())
    print(table(head, rows))


if __name__ == "__main__":
    main()
