"""Reliability of the optimiser: many seeds at default settings on every file with a reference objective.

    python -m benchmarks.reliability [--seeds 100] [--only chinchilla_epoch]

For each problem: the fraction of seeds whose fit ends at the reference objective (within 1e-9 of the
lowest of all seeds, relative, and at or below the published or recomputed value), the fraction of polished starts
that agree on it, and for the data-constrained law the fraction of seeds that list all three minima.
"""

import argparse
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmarks.common import machine, table

BASE = {"A": np.exp(6.255414), "B": np.exp(7.3049974), "E": np.exp(0.6254804), "alpha": 0.3526596, "beta": 0.3526596}
ND = dict(N="params", D="tokens")
REPEATED = ND | dict(U_D="unique_tokens")
SHAPE = dict(w="width", d="depth", T="tokens")
ORDINARY = "validation_optimal_run == 0 and dataset == "


@dataclass(frozen=True)
class Problem:
    """A sweep with a published or recomputed reference objective."""

    name: str
    file: str
    reference: float
    law: str = "chinchilla"
    inputs: dict[str, str] = field(default_factory=lambda: ND)
    where: str | None = None
    delta: float = 1e-3
    space: Literal["log", "linear"] = "log"
    fixed: dict[str, float] | None = None
    minima: int = 1


PROBLEMS = [
    Problem("chinchilla_epoch, 240 rows", "chinchilla_epoch", 0.00101827401781, where="in_published_fit == 1"),
    Problem("chinchilla_epoch, 245 rows", "chinchilla_epoch", 0.00182601052307 * (1 + 1e-8)),
    Problem("gemstones, 770 rows", "gemstones", 0.0065925341645 * (1 + 1e-8)),
    Problem("gemstones, to 100B", "gemstones", 0.00198161281, where="in_fit_le_100b == 1"),
    Problem("gemstones, from 120B", "gemstones", 0.0038623994, where="in_fit_120b_plus == 1"),
    Problem("gemstones, 770 rows, delta 1e-4", "gemstones", 0.00069232891, delta=1e-4),
    Problem("gemstones, to 100B, delta 1e-4", "gemstones", 0.00020750516, where="in_fit_le_100b == 1", delta=1e-4),
    Problem("gemstones, from 120B, delta 1e-4", "gemstones", 0.00040807853, where="in_fit_120b_plus == 1", delta=1e-4),
    Problem("gemstones, four terms", "gemstones", 0.0026427674, "width_depth_params_tokens", SHAPE | dict(N="params")),
    Problem("misfitting_sweep, final rows", "misfitting_sweep", 0.00273519 * (1 + 2e-6), where="is_final == 1"),
    Problem("isoflop_llama3, raw losses", "isoflop_llama3", 3.02695810e-4, space="linear"),
    Problem(
        "comma, raw losses", "isoflop_marin_comma_nemotron", 1.94714597e-3, where=ORDINARY + "'comma'", space="linear"
    ),
    Problem(
        "nemotron, raw losses",
        "isoflop_marin_comma_nemotron",
        1.98954689e-3,
        where=ORDINARY + "'nemotron'",
        space="linear",
    ),
    Problem(
        "data_constrained_c4, R_D and R_N",
        "data_constrained_c4",
        0.014459442,
        "data_constrained",
        REPEATED,
        fixed=BASE,
        minima=3,
    ),
    Problem("data_constrained_c4, all free", "data_constrained_c4", 0.0062322, "data_constrained", REPEATED),
]


def main() -> None:
    """Print the table."""
    import jaxscale

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(machine())
    rows, total = [], np.zeros(2, int)
    for problem in PROBLEMS:
        if options.only not in problem.name:
            continue
        source = jaxscale.datasets.load(problem.file)
        observations = jaxscale.Observations.from_table(
            source, inputs=problem.inputs, response="loss", where=problem.where
        )
        noise = jaxscale.noise.huber(problem.delta, problem.space)
        settings: dict[str, Any] = dict(noise=noise, fixed=problem.fixed, n_resamples=0, allow_unidentified=True)
        fits = [jaxscale.fit(problem.law, observations, seed=seed, **settings) for seed in range(options.seeds)]
        objectives = np.array([fit.objective for fit in fits])
        reached = (objectives <= objectives.min() * (1 + 1e-9)) & (objectives <= problem.reference)
        agree = sum(fit.landscape.agree_all for fit in fits) / sum(fit.landscape.polished for fit in fits)
        listed = np.mean([len(fit.landscape.basins) >= problem.minima for fit in fits])
        cells = [problem.name, f"{objectives.min():.14g}", f"{problem.reference:.14g}"]
        total += np.array([reached.sum(), len(fits)])
        rows.append([*cells, f"{reached.sum()} of {len(fits)}", f"{agree:.2%}", f"{listed:.0%}"])
        print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    rows.append(["all", "", "", f"{total[0]} of {total[1]} ({total[0] / total[1]:.2%})", "", ""])
    head = [
        "problem",
        "lowest",
        "reference",
        "seeds that reach it",
        "polished starts that agree",
        "seeds listing all minima",
    ]
    print(table(head, rows))


if __name__ == "__main__":
    main()
