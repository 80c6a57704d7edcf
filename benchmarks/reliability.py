"""How surely the optimum is reached: many seeds at default settings, every file with a reference.

    python -m benchmarks.reliability [--seeds 100] [--only chinchilla_epoch]

For each problem: the share of seeds whose fit ends at the reference objective (relative 1e-9 above
the best ever seen, and at or below the published or recomputed value), the share of polished starts
that agree on it, and for the repeated-data law the share of seeds that list all three minima.
"""

import argparse
from collections.abc import Mapping

import numpy as np

from benchmarks.common import machine, table

BASE = {"A": np.exp(6.255414), "B": np.exp(7.3049974), "E": np.exp(0.6254804), "alpha": 0.3526596, "beta": 0.3526596}
# name, file, filter, delta, fixed parameters, reference objective, minima that must be listed
PROBLEMS = [
    ("chinchilla_epoch, 240 rows", "chinchilla_epoch", "in_published_fit == 1", 1e-3, None, 0.00101827401781, 1),
    ("chinchilla_epoch, 245 rows", "chinchilla_epoch", None, 1e-3, None, 0.00182601052307 * (1 + 1e-8), 1),
    ("gemstones, 770 rows", "gemstones", None, 1e-3, None, 0.0065925341645 * (1 + 1e-8), 1),
    ("gemstones, to 100B", "gemstones", "in_fit_le_100b == 1", 1e-3, None, 0.00198161281, 1),
    ("gemstones, from 120B", "gemstones", "in_fit_120b_plus == 1", 1e-3, None, 0.0038623994, 1),
    ("data_constrained_c4, R_D and R_N", "data_constrained_c4", None, 1e-3, BASE, 0.014459442, 3),
]


def observed(file: str, where: str | None, inputs: Mapping[str, str]):
    """The observations of one problem."""
    import jaxscale

    source = jaxscale.datasets.load(file)
    return jaxscale.Observations.from_table(source, inputs=inputs, response="loss", where=where)


def main() -> None:
    """Print the table."""
    import jaxscale

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(machine())
    rows = []
    for name, file, where, delta, fixed, reference, minima in PROBLEMS:
        if options.only not in name:
            continue
        repeated = file == "data_constrained_c4"
        inputs = dict(N="params", D="tokens") | (dict(U_D="unique_tokens") if repeated else {})
        observations = observed(file, where, inputs)
        law = "data_constrained" if repeated else "chinchilla"
        fits = [
            jaxscale.fit(law, observations, noise=jaxscale.noise.huber(delta), key=seed, fixed=fixed, replicates=2)
            for seed in range(options.seeds)
        ]
        objectives = np.array([fit.objective for fit in fits])
        reached = (objectives <= objectives.min() * (1 + 1e-9)) & (objectives <= reference)
        agree = sum(fit.starts["agree_all"] for fit in fits) / sum(fit.starts["polished"] for fit in fits)
        listed = np.mean([len(fit.basins) >= minima for fit in fits])
        cells = [name, f"{objectives.min():.14g}", f"{reference:.14g}"]
        rows.append([*cells, f"{reached.sum()} of {len(fits)}", f"{agree:.2%}", f"{listed:.0%}"])
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
