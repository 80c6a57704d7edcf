"""Cost of a fit against its size, overhead over arithmetic, and compile times.

    python -m benchmarks.scaling [--repeats 5] [--only size,floor,compile,badlane] [--plot benchmarks/scaling.png]

size: seconds and peak memory against restarts, observations, data sets and parameters, with log-log slopes and a
plot; every point in a process of its own. floor: CPU seconds of a batch of descents over (iterations of all lanes
times the time of one batched evaluation, per lane). compile: seconds per law and size bucket.
badlane: 10,000 data sets of which one is invalid; the results of all others must be bitwise unchanged.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.common import machine, table
from jaxscale.engine import descent

LARGEST = dict(restarts=10**6, observations=10**5, sets=10**4)


def simulate_runs(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Simulate a sweep of n runs with the published parameters and 0.5 % noise."""
    import jaxscale

    draws = np.random.default_rng(seed)
    N, D = 10 ** draws.uniform(7, 10, n), 10 ** draws.uniform(9, 12, n)
    law = jaxscale.laws.chinchilla
    loss = np.asarray(law(N, D, **law.published["besiroglu2024"])) * np.exp(0.005 * draws.standard_normal(n))
    return dict(N=N, D=D, loss=loss)


def curve(breaks: int, n: int = 256) -> tuple[Any, Any]:
    """A law with 3 + 3 * breaks parameters and simulated runs."""
    import jaxscale

    x = np.geomspace(1.0, 1e8, n)
    if breaks == 0:
        law, params = jaxscale.laws.power_law_floor, dict(c=0.5, a=5.0, b=0.3)
    else:
        law = jaxscale.laws.bnsl[breaks]
        params = dict(a=0.5, b=5.0, c0=0.1)
        for i, d in enumerate(np.geomspace(1e1, 1e7, breaks), start=1):
            params |= {f"c{i}": 0.2 if i % 2 else -0.15, f"d{i}": d, f"f{i}": 0.3}
    y = np.asarray(law(x, **params)) * np.exp(0.002 * np.random.default_rng(0).standard_normal(n))
    return law, jaxscale.Observations.from_table({"x": x, "loss": y}, inputs=["x"], response="loss")


def job(kind: str, size: int) -> Any:
    """Function without arguments that computes one point of the table."""
    import jaxscale

    noise = jaxscale.noise.huber(1e-3)
    settings: dict[str, Any] = dict(noise=noise, n_resamples=0, allow_unidentified=True)

    def observed(n: int, seed: int = 0) -> Any:
        return jaxscale.Observations.from_table(simulate_runs(n, seed), inputs=["N", "D"], response="loss")

    if kind == "restarts":
        runs = observed(240)
        return lambda: jaxscale.fit("chinchilla", runs, starts=size, **settings)
    if kind == "observations":
        runs = observed(size)
        return lambda: jaxscale.fit("chinchilla", runs, starts=512, **settings)
    if kind == "sets":
        sets = [observed(60, seed) for seed in range(size)]
        return lambda: jaxscale.fit_many("chinchilla", sets, noise=noise)
    law, runs = curve((size - 3) // 3)
    return lambda: jaxscale.fit(law, runs, starts=1024, **settings)


def measure(kind: str, size: int) -> None:
    """Print seconds of the first and second call and peak memory of one point, as JSON."""
    import resource

    run = job(kind, size)
    before = time.perf_counter()
    run()
    first = time.perf_counter() - before
    before = time.perf_counter()
    run()
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(dict(first=first, seconds=seconds, peak=peak)))


SIZES = dict(
    restarts=[100, 1000, 10_000, 100_000, 1_000_000],
    observations=[100, 1000, 10_000, 100_000],
    sets=[1, 10, 100, 1000, 10_000],
    parameters=[3, 6, 9, 18],
)


def size(plot: str | None) -> None:
    """Seconds and memory against size."""
    rows, points = [], {}
    for kind, values in SIZES.items():
        found = []
        for value in values:
            command = [sys.executable, "-m", "benchmarks.scaling", "--point", kind, str(value)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
        seconds = np.array([one["seconds"] for one in found])
        points[kind] = (np.array(values), seconds)
        # Slope of the larger half: small jobs are dominated by overhead.
        half = len(values) // 2
        slope = np.polyfit(np.log(values[half:]), np.log(seconds[half:]), 1)[0]
        for value, one in zip(values, found, strict=True):
            cells = [f"{one['seconds']:.4g}", f"{one['first']:.3g}", f"{one['peak']:.2f}"]
            rows.append([kind, str(value), *cells, f"{slope:.2f}" if value == values[-1] else ""])
        print(kind, f"slope {slope:.2f}", file=sys.stderr, flush=True)
    print(table(["what", "size", "seconds, warm", "first call", "peak GiB", "slope of the larger half"], rows))
    if plot:
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained", sharey=True)
        for axis, (kind, (values, seconds)) in zip(axes, points.items(), strict=True):
            axis.loglog(values, seconds, "o-")
            axis.set_xlabel(kind)
            if kind == "parameters":
                axis.set_xticks(values, [str(value) for value in values])
                axis.minorticks_off()
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("seconds, warm")
        figure.savefig(plot, dpi=120)


def floor(repeats: int) -> None:
    """CPU seconds of a batch of descents over those of its arithmetic."""
    rows = [_floor(n, repeats) for n in (256, 2048)]
    head = ["rows", "residual and Jacobian, us per lane", "with both Hessians", "iterations", "CPU seconds"]
    print(table([*head, "over the first", "over the second"], rows))


def _floor(n: int, repeats: int) -> list[str]:
    import jax
    import jax.numpy as jnp

    import jaxscale
    from jaxscale.engine import runner
    from jaxscale.engine.objective import Problem, evaluate
    from jaxscale.law.coordinates import centre_of, from_params
    from jaxscale.noise import huber

    law = jaxscale.laws.chinchilla
    runs = jaxscale.Observations.from_table(simulate_runs(n), inputs=["N", "D"], response="loss")
    with jax.enable_x64(True):
        centre = centre_of(law, runs.inputs, runs.response, np)
        problem = Problem(law, tuple(law.parameters), huber(1e-3), dict(runs.inputs), {}, centre)
        truth = [float(v) for v in from_params(law, centre, problem.free, law.published["besiroglu2024"])]
        z = np.asarray(truth)[:, None] + 0.2 * np.random.default_rng(0).standard_normal((len(truth), 2048))
        width = descent.sizes(n).width
        target = np.log(np.tile(runs.response, (width, 1)))
        args = (problem, z[:, :width], np.full(width, 1e-3), target, np.ones_like(target))

        def evaluations(problem: Any, z: Any, delta: Any, target: Any, weight: Any, whole: bool) -> Any:
            # Sequential inside a program, as in a descent: each evaluation depends on the last.
            def body(_: Any, state: Any) -> Any:
                local = evaluate(problem, state, delta, target, weight)
                used = local.g + jnp.sum(local.safe + local.exact, axis=0) if whole else local.g
                return state + 1e-300 * (used + local.f)

            return jax.lax.fori_loop(0, 50, body, z)

        run = jax.jit(evaluations, static_argnames="whole")

        def seconds(call: Any) -> float:
            call()
            return min(_cpu_seconds(call) for _ in range(repeats))

        parts = [seconds(lambda w=w: jax.block_until_ready(run(*args, whole=w))) / 50 / width for w in (False, True)]
        ends = descent.descend(runner.Runner(), problem, z, runs.response, runs.weight)
        whole = seconds(lambda: descent.descend(runner.Runner(), problem, z, runs.response, runs.weight))
    steps = int(ends.steps.sum())
    ratios = [f"{whole / (steps * part):.2f}" for part in parts]
    return [str(n), *(f"{1e6 * part:.2f}" for part in parts), str(steps), f"{whole:.3f}", *ratios]


def _cpu_seconds(call: Any) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def compilation() -> None:
    """Compile times of a first fit, by law and size bucket, each in a process of its own."""
    rows = []
    for law in ("power_law_floor", "chinchilla", "width_depth_params_tokens", "bnsl1", "bnsl3", "data_constrained"):
        for n in (60, 1000):
            program = f"from benchmarks.scaling import print_compilation; print_compilation({law!r}, {n})"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.strip().splitlines()[-1])
            cells = [str(found["programs"]), *(f"{found[key]:.2f}" for key in ("trace", "compile", "fit", "again"))]
            rows.append([law, str(found["bucket"]), *cells])
    print(table(["law", "rows, padded", "programs", "trace s", "compile s", "first fit s", "second fit s"], rows))


def print_compilation(name: str, n: int) -> None:
    """Print compile times of the first fit of a law on n rows, as JSON."""
    from jax import monitoring

    import jaxscale
    from jaxscale import simulate
    from jaxscale.utils.padding import bucket

    spent: dict[str, list[float]] = {}

    def record(event: str, duration_secs: float, **_: Any) -> None:
        spent.setdefault(event, []).append(duration_secs)

    monitoring.register_event_duration_secs_listener(record)
    law = jaxscale.laws.get(name)
    draws = np.random.default_rng(0)
    ends = {key: kind.typical or ((1e7, 1e12) if kind.lower else (1.0, 1e8)) for key, kind in law.inputs.items()}
    design = {key: low * (high / low) ** draws.uniform(size=n) for key, (low, high) in ends.items()}
    middle = {key: float(np.sqrt(max(kind.range[0], 1e-2) * kind.range[1])) for key, kind in law.parameters.items()}
    params = dict(next(iter(law.published.values()))) if law.published else middle
    sweep = simulate(law, params, design, noise=0.005)
    response = next(key for key in sweep if key not in law.inputs)
    runs = jaxscale.Observations.from_table(sweep, inputs=list(law.inputs), response=response)
    times = []
    for _ in range(2):
        before = time.perf_counter()
        jaxscale.fit(law, runs, allow_unidentified=True)
        times.append(time.perf_counter() - before)
    compile_times = spent.get("/jax/core/compile/backend_compile_duration", [])
    trace = sum(spent.get("/jax/core/compile/jaxpr_trace_duration", []))
    found = dict(bucket=bucket(n), programs=len(compile_times), trace=trace, compile=sum(compile_times))
    print(json.dumps(found | dict(fit=times[0], again=times[1])))


def badlane() -> None:
    """Compare results of 10,000 data sets with and without an invalid one: all others must be bitwise equal."""
    import dataclasses
    from unittest import mock

    import jaxscale

    sets = [
        jaxscale.Observations.from_table(simulate_runs(30, seed), inputs=["N", "D"], response="loss")
        for seed in range(10_000)
    ]
    bad = list(sets)
    # Bypasses the validation of `fit_many`.
    bad[1234] = dataclasses.replace(sets[1234], response=np.full(30, np.nan))
    settings: dict[str, Any] = dict(starts=64, polish=4)
    with mock.patch("jaxscale.fitting.fit_many.validate"):
        good, with_bad = (jaxscale.fit_many("chinchilla", data_sets, **settings) for data_sets in (sets, bad))
    others = np.arange(10_000) != 1234
    same = all(np.array_equal(good.params[key][others], with_bad.params[key][others]) for key in good.params)
    same &= np.array_equal(good.objective[others], with_bad.objective[others])
    print(
        table(
            ["data sets", "others bitwise equal", "status of the invalid one"],
            [["10000", str(same), str(with_bad.status_names[1234])]],
        )
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="size,floor,compile,badlane")
    parser.add_argument("--plot", default=None)
    parser.add_argument("--point", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        measure(options.point[0], int(options.point[1]))
        return
    print(machine())
    tables = dict(
        size=lambda: size(options.plot), floor=lambda: floor(options.repeats), compile=compilation, badlane=badlane
    )
    for name in options.only.split(","):
        print(f"\n{name}\n", flush=True)
        tables[name]()


if __name__ == "__main__":
    main()
