"""Calibration of intervals: coverage on simulated sweeps, simulation-based calibration, and held-out real runs.

    python -m benchmarks.calibration coverage|sbc|reality [--fast] [--to FOLDER] [--only LAW]
                                     [--sampler importance|auto] [--blocks 10] [--minutes 60] [--method NAME ...]
                                     [--design NAME ...]

Every finished block is a JSON file in the folder; the same call resumes where it stopped, and ``--blocks`` adds more
of them. The contents of the folder are printed as Markdown tables at the end.

- coverage: nominal 90 % intervals over simulated sweeps with fixed true parameters; a cell is a law, a design, a
  quantity and a method, and is tested against the band 88-92 % (two-sided binomial, Holm over a method's cells).
- sbc: ranks of true parameters drawn from the priors among 63 draws of their posteriors, chi-square over 16 bins.
- reality: forecasts of the largest third of each real sweep from the smaller runs (JAXSCALE_DATA is their folder).
"""

import argparse
import functools
import math
import sys
import time
from pathlib import Path

from benchmarks import calibration_coverage, calibration_reality, calibration_sbc
from benchmarks.common import machine

say = functools.partial(print, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> str:
    """Fill the folder and return its tables."""
    folder = Path(options.to) / options.what
    until = time.time() + 60 * options.minutes
    if options.what == "coverage":
        sets, blocks = (8, 1) if options.fast else (100, options.blocks)
        groups = (("25 runs",), ("12 runs x 8",)) if options.fast else calibration_coverage.GROUPS
        if options.design:
            groups = [[one for one in group if one in options.design] for group in groups]
        calibration_coverage.run(
            folder,
            blocks=range(blocks),
            sampler=options.sampler,
            only=options.only,
            groups=[group for group in groups if group],
            chosen=options.method,
            sets=sets,
            until=until,
            say=say,
        )
        cells = calibration_coverage.summary(calibration_coverage.gather(folder))
        return f"{cells}\n\n{calibration_coverage.by_weights(folder)}"
    if options.what == "sbc":
        sets, blocks = (64, 1) if options.fast else (calibration_sbc.BLOCK, options.blocks)
        calibration_sbc.run(
            folder, blocks=range(blocks), sampler=options.sampler, only=options.only, sets=sets, until=until, say=say
        )
        return calibration_sbc.summary(folder)
    calibration_reality.run(folder, sampler=options.sampler, only=options.only, until=until, say=say)
    return calibration_reality.summary(folder)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("coverage", "sbc", "reality"))
    parser.add_argument("--fast", action="store_true", help="a few sweeps, as a smoke test")
    parser.add_argument("--to", default="calibration-results", help="folder of the finished blocks")
    parser.add_argument("--only", default="", help="laws whose names contain this")
    parser.add_argument("--sampler", default="importance", choices=("importance", "auto", "nuts"))
    parser.add_argument("--blocks", type=int, default=10, help="blocks of sweeps, 100 of coverage or 500 of sbc each")
    parser.add_argument("--method", nargs="+", default=[], help="coverage: only these methods")
    parser.add_argument("--design", nargs="+", default=[], help="coverage: only these designs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no further block after this time")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the selected benchmark and print its tables."""
    from jaxscale import enable_compilation_cache

    options = parse_options()
    enable_compilation_cache()
    print(run(options))
    print(machine())


if __name__ == "__main__":
    main()
