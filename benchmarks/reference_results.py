"""Record results of fits, posteriors, bootstraps, profiles, forecasts and solve, and compare two records.

A refactoring is checked by recording before and after:

    python -m benchmarks.reference_results record before.json
    python -m benchmarks.reference_results record after.json
    python -m benchmarks.reference_results compare before.json after.json

``compare`` prints the largest relative difference of each case, and exits with status 1 if one is above
``--tolerance`` (0: bitwise equal). ``--only fit,profile`` records the cases whose names start with these. The cases
marked ``quick`` are part of the tests, which compare them with ``tests/reference_results.json``; write that file by

    export JAX_DISABLE_MOST_OPTIMIZATIONS=true
    python -m benchmarks.reference_results record tests/reference_results.json --quick
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxscale
from jaxscale import Observations, laws, likelihoods, noise

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One computation; ``quick`` cases need no real data and take one or two seconds."""

    run: Callable[[], Numbers]
    quick: bool = False


def simulate_law(
    name: str, inputs: Mapping[str, tuple[float, float]], rows: int, scatter: float, params: Mapping[str, float]
) -> Observations:
    """Simulate rows of a law with log-uniform inputs and noise in the default space of its response, with seed 0."""
    law = laws.get(name)
    generator = np.random.default_rng(0)
    columns = {key: np.exp(generator.uniform(np.log(low), np.log(high), rows)) for key, (low, high) in inputs.items()}
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(lambda *row: law(*row, **params))(*columns.values()))
    t = str(noise.default(law.response).space)
    step = scatter * generator.standard_normal(rows)
    if t == "log":
        y = exact * np.exp(step)
    elif t == "logit":
        y = 1 / (1 + np.exp(-(np.log(exact / (1 - exact)) + step)))
    else:
        y = exact + step
    return Observations.from_table({**columns, "y": y}, inputs=list(columns), response="y")


def add_labels(source: Observations, **labels: Any) -> Observations:
    """Add runs or groups to rows."""
    table = {**source.inputs, "y": source.response, **labels}
    columns: dict[str, Any] = {key: key for key in labels}
    return Observations.from_table(table, inputs=list(source.inputs), response="y", **columns)


def sweep(rows: int = 60, scatter: float = 0.005) -> Observations:
    """Simulate a sweep of the Chinchilla law."""
    ranges = {"N": (1e7, 1e10), "D": (1e9, 1e12)}
    return simulate_law("chinchilla", ranges, rows, scatter, laws.get("chinchilla").published["besiroglu2024"])


def floor_law(rows: int = 25, scatter: float = 0.01) -> Observations:
    """Simulate a power law with a floor."""
    return simulate_law("power_law_floor", {"x": (1e3, 1e8)}, rows, scatter, dict(a=12.0, b=0.3, c=1.7))


def families(rows: int = 45) -> Observations:
    """Simulate a power law with slightly different exponents in three groups."""
    source = floor_law(rows)
    group = np.arange(rows) % 3
    shifted = Observations.from_table(
        {**source.inputs, "y": source.response * np.asarray(source.inputs["x"]) ** (0.002 * (group - 1))},
        inputs=list(source.inputs),
        response="y",
    )
    return add_labels(shifted, group=np.array(["g0", "g1", "g2"])[group])


def real(file: str, inputs: Mapping[str, str], response: str, **others: Any) -> Observations:
    """Load columns of a public data set."""
    return Observations.from_table(jaxscale.datasets.load(file), inputs=inputs, response=response, **others)


def epoch(**others: Any) -> Observations:
    """Load the 240 rows of the published refit of Chinchilla."""
    where = "in_published_fit == 1"
    return real("chinchilla_epoch", {"N": "params", "D": "tokens"}, "loss", where=where, **others)


def fit_numbers(fit: jaxscale.Fit) -> Numbers:
    """Parameters, objective, standard errors, correlation, intervals and landscape of a fit."""
    return {
        "params": fit.params,
        "objective": fit.objective,
        "stderr": fit.stderr,
        "correlation": np.asarray(fit.correlation).ravel().tolist(),
        "intervals": {key: list(value) for key, value in fit.intervals(0.9).items()},
        "basins": [basin.objective for basin in fit.landscape.basins],
        "text": str(fit),
    }


def draws_numbers(draws: jaxscale.Draws) -> Numbers:
    """First five draws, mean and standard deviation of every parameter, intervals and method."""

    def numbers(values: np.ndarray) -> list[float]:
        flat = np.asarray(values, float)
        return [*flat[:5].ravel().tolist(), float(flat.mean()), float(flat.std())]

    return {
        "params": {key: numbers(value) for key, value in draws.params.items()},
        "nuisance": {key: numbers(value) for key, value in draws.nuisance.items()},
        **intervals_numbers(draws.intervals()),
        "method": draws.method,
    }


def intervals_numbers(found: Any) -> Numbers:
    """Estimate, standard error and interval of every quantity, and the printed table."""
    # The duration is removed.
    return {"text": re.sub(r", [\d.]+ s$", "", str(found), flags=re.MULTILINE), "table": found.params}


def fit_case(source: Callable[[], Observations], law: str, **settings: Any) -> Callable[[], Numbers]:
    """Case of a fit with seed 0."""
    return lambda: fit_numbers(jaxscale.fit(law, source(), seed=0, progress=False, **settings))


def _posterior(source: Callable[[], Observations], law: str, **settings: Any) -> Callable[[], Numbers]:
    return lambda: draws_numbers(jaxscale.posterior(law, source(), seed=0, progress=False, **settings))


def _bootstrap(source: Callable[[], Observations], law: str, chosen: Any, **settings: Any) -> Callable[[], Numbers]:
    def run() -> Numbers:
        fit = jaxscale.fit(law, source(), noise=chosen, seed=0, progress=False)
        return draws_numbers(jaxscale.bootstrap(fit, n_resamples=200, seed=0, progress=False, **settings))

    return run


def _profile(source: Callable[[], Observations], law: str, chosen: Any, **settings: Any) -> Callable[[], Numbers]:
    def run() -> Numbers:
        fit = jaxscale.fit(law, source(), noise=chosen, seed=0, progress=False)
        found = jaxscale.profile(fit, **settings)
        return {**intervals_numbers(found.intervals()), "text": str(found)}

    return run


def _forecast(source: Callable[[], Observations], law: str, at: Mapping[str, Any]) -> Callable[[], Numbers]:
    return lambda: intervals_numbers(jaxscale.forecast(law, source(), at=at, seed=0, progress=False))


def _many() -> Numbers:
    sources = [sweep(20), sweep(25, 0.01), sweep(30, 0.02)]
    found = jaxscale.fit_many("chinchilla", sources, noise=[noise.huber(1e-3), noise.huber(1e-2)], seed=0)
    return {"params": {key: np.asarray(value).ravel().tolist() for key, value in found.params.items()}}


def _solve() -> Numbers:
    rows = sweep(30)
    law = laws.get("chinchilla")
    with jax.enable_x64(True):
        key = jax.random.key(0)
        solve = lambda y: jaxscale.solve(law, rows.inputs, y, noise=noise.huber(1e-2), key=key)  # noqa: E731
        solution = solve(rows.response)
        slope = jax.grad(lambda y: solve(y).params["alpha"])(np.asarray(rows.response))
    return {
        "params": {key: float(value) for key, value in solution.params.items()},
        "objective": float(solution.objective),
        "slope": np.asarray(slope).tolist(),
    }


def _task_counts() -> Observations:
    """Simulate successes among 200 trials with a logistic law."""
    generator = np.random.default_rng(0)
    x = np.exp(generator.uniform(np.log(1e3), np.log(1e8), 24))
    p = 0.05 + 0.85 / (1 + (1e6 / x) ** 0.6)
    table = {"x": x, "n": np.full(24, 200.0), "y": generator.binomial(200, p) / 200}
    return Observations.from_table(table, inputs=["x", "n"], response="y")


def _runs() -> Observations:
    source = sweep(45, 0.003)
    run = np.arange(45) // 3
    shared = 0.01 * np.random.default_rng(1).standard_normal(15)[run]
    table = {**source.inputs, "y": source.response * np.exp(shared)}
    moved = Observations.from_table(table, inputs=list(source.inputs), response="y")
    return add_labels(moved, run=np.array([f"r{k}" for k in run]))


C4 = lambda: real("data_constrained_c4", {"N": "params", "D": "tokens"}, "loss")  # noqa: E731

CASES: dict[str, Case] = {
    "fit/chinchilla-default": Case(fit_case(sweep, "chinchilla"), quick=True),
    "fit/chinchilla-huber": Case(fit_case(sweep, "chinchilla", noise=noise.huber(1e-3))),
    "fit/chinchilla-squared-log": Case(fit_case(sweep, "chinchilla", noise=noise.squared("log"))),
    "fit/chinchilla-squared-raw": Case(fit_case(sweep, "chinchilla", noise=noise.squared())),
    "fit/chinchilla-absolute": Case(fit_case(lambda: sweep(25), "chinchilla", noise=noise.absolute()), quick=True),
    "fit/chinchilla-student": Case(fit_case(sweep, "chinchilla", noise=noise.student_t())),
    "fit/chinchilla-student-scale": Case(fit_case(sweep, "chinchilla", noise=noise.student_t(4, scale=0.005))),
    "fit/chinchilla-fixed": Case(fit_case(sweep, "chinchilla", fixed={"E": 1.8})),
    "fit/chinchilla-bounds": Case(fit_case(sweep, "chinchilla", bounds={"E": (1.9, 2.5)})),
    "fit/chinchilla-classical": Case(fit_case(sweep, "chinchilla", noise=noise.squared("log"), errors="classical")),
    "fit/chinchilla-hc3": Case(fit_case(sweep, "chinchilla", noise=noise.squared("log"), errors="hc3")),
    "fit/chinchilla-runs": Case(fit_case(_runs, "chinchilla")),
    "fit/tied": Case(fit_case(sweep, "chinchilla_tied")),
    "fit/kaplan": Case(fit_case(sweep, "kaplan_nd")),
    "fit/power-floor": Case(fit_case(floor_law, "power_law_floor"), quick=True),
    "fit/power-floor-linear-huber": Case(fit_case(floor_law, "power_law_floor", noise=noise.huber(0.05, "linear"))),
    "fit/power-offset": Case(fit_case(floor_law, "power_law_offset")),
    "fit/logistic-logit": Case(fit_case(_task_counts, "power_law_floor", noise=noise.squared("logit")), quick=True),
    "fit/logistic4": Case(fit_case(_task_counts, "logistic4", noise=noise.squared())),
    "fit/bnsl1": Case(fit_case(lambda: floor_law(40), "bnsl1")),
    "fit/exp-decay": Case(fit_case(lambda: floor_law(40), "exp_decay_floor")),
    "fit/epoch-default": Case(fit_case(epoch, "chinchilla")),
    "fit/epoch-huber": Case(fit_case(epoch, "chinchilla", noise=noise.huber(1e-3))),
    "fit/epoch-absolute": Case(fit_case(epoch, "chinchilla", noise=noise.absolute())),
    "fit/c4": Case(fit_case(C4, "chinchilla")),
    "posterior/chinchilla": Case(_posterior(sweep, "chinchilla")),
    "posterior/power-floor": Case(_posterior(floor_law, "power_law_floor"), quick=True),
    "posterior/nuts": Case(
        _posterior(floor_law, "power_law_floor", method="nuts", num_chains=2, num_samples=200, num_warmup=200),
        quick=False,
    ),
    "posterior/normal-runs": Case(_posterior(_runs, "chinchilla", likelihood=likelihoods.normal())),
    "posterior/groups": Case(
        _posterior(families, "power_law_floor", pooling={"b": "partial"}, num_chains=2, num_samples=200, num_warmup=200)
    ),
    "posterior/binomial": Case(
        _posterior(
            _task_counts,
            "logistic4",
            likelihood=likelihoods.binomial("n"),
            num_chains=2,
            num_samples=200,
            num_warmup=200,
        )
    ),
    "bootstrap/case": Case(_bootstrap(sweep, "chinchilla", None)),
    "bootstrap/residual": Case(_bootstrap(floor_law, "power_law_floor", noise.squared("log"), kind="residual"), True),
    "bootstrap/wild": Case(_bootstrap(sweep, "chinchilla", noise.huber(1e-3), kind="wild")),
    "bootstrap/cluster": Case(_bootstrap(_runs, "chinchilla", None, kind="cluster")),
    "profile/power-floor": Case(_profile(floor_law, "power_law_floor", None), quick=True),
    "profile/chinchilla-squared": Case(_profile(sweep, "chinchilla", noise.squared("log"))),
    "profile/student-of": Case(
        _profile(sweep, "chinchilla", noise.student_t(), of={"a": lambda p: p["beta"] / (p["alpha"] + p["beta"])})
    ),
    "forecast/chinchilla": Case(_forecast(sweep, "chinchilla", {"N": [7e10, 1e11], "D": [1.4e12, 2e13]})),
    "forecast/power-floor": Case(_forecast(floor_law, "power_law_floor", {"x": [1e9, 1e10]}), quick=True),
    "fit_many": Case(_many),
    "solve": Case(_solve, quick=True),
}


def differences(one: Any, other: Any) -> float:
    """Largest relative difference between two records; infinite if they differ in anything other than numbers."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((differences(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((differences(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float):
        if one == other or (one != one and other != other):
            return 0.0
        difference = abs(one - other) / max(abs(one), abs(other))
        return difference if difference == difference else np.inf
    return 0.0 if one == other else np.inf


def record(cases: Mapping[str, Case]) -> dict[str, Numbers]:
    """Results of every case; a case that raises is recorded by its error."""
    found: dict[str, Numbers] = {}
    for name, case in cases.items():
        try:
            # Through JSON, as they are stored: Python writes floats exactly.
            found[name] = json.loads(json.dumps(case.run()))
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        print(name, found[name].get("error", ""), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Record or compare results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("--only", default="", help="prefixes of names, separated by commas")
    recording.add_argument("--quick", action="store_true")
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs=2)
    comparing.add_argument("--tolerance", type=float, default=0.0)
    options = parser.parse_args()
    if options.command == "record":
        beginnings = tuple(options.only.split(","))
        cases = {k: v for k, v in CASES.items() if k.startswith(beginnings) and (v.quick or not options.quick)}
        options.file.write_text(json.dumps(record(cases), indent=1) + "\n")
        return
    one, other = (json.loads(file.read_text()) for file in options.files)
    found = {name: differences(one[name], other[name]) if name in other else np.inf for name in one}
    for name, difference in found.items():
        print(f"{name:<32} {difference:.1e}")
    sys.exit(int(max(found.values()) > options.tolerance))


if __name__ == "__main__":
    main()
