"""Parameter recovery for every law of the catalogue.

    python -m benchmarks.refit [--only NAME] [--family FAMILY] [--each 2]

For each law: 64 rows over its typical range, responses from its published parameters (or from the middle of its
plausible ranges) with relative noise of 1e-6, and a fit from random starts, which do not use the true parameters. The
verdict is

- "parameters" if all parameters are recovered within 0.1 % (of a thousandth of the plausible range, for one that is
  zero), up to permutation of like terms;
- "predictions" if the fit is at least as good as the truth, but the rows do not identify some parameters, which are
  named;
- "failed" otherwise.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from benchmarks.common import machine, table
from jaxscale.data.simulation import simulate
from jaxscale.engine.starts import hypercube
from jaxscale.law import Law, Parameter, between, real, unit
from jaxscale.noise import default, squared
from jaxscale.results.fit import Fit

ROWS, NOISE, CLOSE, SATURATED, ZERO = 64, 1e-6, 1e-3, 1e-4, 1e-9


@dataclass(frozen=True)
class Verdict:
    """Result for a law."""

    law: str
    family: str
    constants: str
    verdict: str
    what: str
    seconds: float

    @property
    def cells(self) -> list[str]:
        """The verdict as a row of the table."""
        return [self.law, self.family, self.constants, self.verdict, self.what, f"{self.seconds:.1f}"]


def sweep(law: Law, rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Simulate inputs and noisy responses of a law at typical parameters: columns by name, the response is ``y``."""
    shares = hypercube(np.random.default_rng(seed), 8 * rows, len(law.inputs))
    inputs = {name: between(*kind.sizes, u) for (name, kind), u in zip(law.inputs.items(), shares, strict=True)}
    exact = simulate(law, law.typical, inputs, noise=0.0, response="y")["y"]
    # Fractions close to 0 or 1 are excluded.
    used = (exact > SATURATED) & (exact < 1 - SATURATED) if law.response.domain is unit else np.isfinite(exact)
    inputs = {name: column[used][:rows] for name, column in inputs.items()}
    size = float(np.std(exact[used])) if law.response.domain is real else 1.0
    return simulate(law, law.typical, inputs, noise=NOISE * size, seed=seed, response="y")


def fit_sweep(law: Law, starts: int = 1024, seed: int = 0) -> tuple[dict[str, np.ndarray], Fit]:
    """Simulate a sweep of a law and fit it by least squares.

    Raises:
        ValueError: the law cannot be simulated or fitted.
    """
    import jaxscale

    columns = sweep(law, seed=seed)
    observations = jaxscale.Observations.from_table(columns, inputs=list(law.inputs), response="y")
    settings: dict[str, Any] = dict(starts=starts, seed=seed, n_resamples=0, allow_unidentified=True)
    return columns, jaxscale.fit(law, observations, noise=squared(default(law.response).space), **settings)


def assess(law: Law, columns: dict[str, np.ndarray], fit: Fit) -> tuple[str, str]:
    """Verdict and explanation of a fit."""
    truth, kinds = law.typical, law.parameters
    moved = {name: value for name, value in fit.params.items() if not _close(value, truth[name], kinds[name])}
    if not moved:
        return "parameters", ""
    space = squared(default(law.response).space)
    exact = replace(fit, params=truth).predict(**{name: columns[name] for name in law.inputs})
    with jax.enable_x64(True):
        residual = np.asarray(space.transform(exact)) - np.asarray(space.transform(columns["y"]))
    noise = float(np.sqrt(np.mean(residual**2)))
    if fit.residuals.rms > (1 + CLOSE) * noise + 1e-12:
        return "failed", f"{fit.status}, residuals {fit.residuals.rms / noise:.3g} times the noise"
    ordered = zip(sorted(moved.values()), sorted(moved, key=lambda name: truth[name]), strict=True)
    if all(_close(value, truth[name], kinds[name]) for value, name in ordered):
        return "parameters", f"in another order: {', '.join(moved)}"
    return "predictions", f"not identified by the rows: {', '.join(moved)}"


def refit(law: Law) -> Verdict:
    """Simulate a sweep, fit it, and assess the fit."""
    start = time.perf_counter()
    kind, what = "nothing to fit", ""
    if law.parameters:
        try:
            kind, what = assess(law, *fit_sweep(law))
        except ValueError as error:
            kind, what = "failed", str(error)
    constants = next(iter(law.published), "mid-range")
    return Verdict(law.name, law.family, constants, kind, what, time.perf_counter() - start)


def _close(value: float, truth: float, kind: Parameter) -> bool:
    """Whether a parameter is recovered, relative to its value, or to its plausible range if it is zero."""
    low, high = kind.range
    size = abs(truth) if not low <= 0 <= high or abs(truth) > ZERO * (high - low) else CLOSE * (high - low)
    return abs(value - truth) <= CLOSE * size


def select_laws(only: str, family: str, each: int) -> list[Law]:
    """Laws selected by the options."""
    from jaxscale import laws
    from jaxscale.reporting import law_page

    found = [law for law in laws.catalogue().values() if only in law.name and family in ("", law.family)]
    members = law_page.by_family(found).values()
    return [law for group in members for law in (group if each == 0 else group[:: max(len(group) // each, 1)][:each])]


def main() -> None:
    """Print the table and the number of laws with each verdict."""
    from jaxscale import enable_compilation_cache

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="laws whose names contain this")
    parser.add_argument("--family", default="", help="laws of this family")
    parser.add_argument("--each", type=int, default=0, help="number of laws of each family; all by default")
    options = parser.parse_args()
    enable_compilation_cache()
    verdicts = []
    for law in select_laws(options.only, options.family, options.each):
        verdicts.append(refit(law))
        print(" | ".join(verdicts[-1].cells), file=sys.stderr, flush=True)
    print(machine())
    print(table(["law", "family", "constants", "verdict", "what", "seconds"], [verdict.cells for verdict in verdicts]))
    kinds = [verdict.verdict for verdict in verdicts]
    print("\n" + "; ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))


if __name__ == "__main__":
    main()
