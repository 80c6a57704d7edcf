"""Speed of jaxscale against SciPy, optimistix, optax and packages at equal results.

    python -m benchmarks.speed [--repeats 5] [--only grid,single,bootstrap,bnsl,gemstones,isoflop]

grid: 240 runs, summed Huber(1e-3) on log residuals, ``E + A / N**alpha + B / D**beta``, 4,500 starts on the published
grid (exponents of 0 become 0.01 for jaxscale: they must be positive). SciPy's side is L-BFGS-B with exact gradient
and SciPy's default tolerances from every start. jaxscale polishes all starts as given, or scores all and polishes the
best and a random sample. single: one fit. bootstrap: 4,000 case resamples refitted from the optimum. bnsl: a
power law with one break, by its authors' grid search and ``curve_fit``, against a fit. gemstones: a law of four inputs
and its authors' 4,050,000 starts. isoflop: the lowest Huber loss on linear residuals of three IsoFLOP sweeps.

One process and one BLAS thread on SciPy's side, exact gradients, the same objective, which is printed with the times;
losses perturbed by 1e-6 in each repetition; medians. Warm times do not include compilation.
"""

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.common import Timing, epoch_sweep, machine, measure, perturb, published_grid, python, table

COLD = """
from benchmarks.common import epoch_sweep
from benchmarks.speed import by_jaxscale
print(by_jaxscale(epoch_sweep()).objective)
"""
# Slow competitors run on one start in this many; their time is projected.
EVERY = 30
GEMSTONES = 200


def to_observations(sweep: dict[str, np.ndarray], inputs: Any = ("N", "D")) -> Any:
    """Create observations from a sweep."""
    import jaxscale

    return jaxscale.Observations.from_table(
        sweep, inputs=inputs if isinstance(inputs, dict) else list(inputs), response="loss"
    )


def our_grid() -> Any:
    """Published grid with positive exponents, as starts of jaxscale."""
    import jaxscale

    exponents = np.maximum(np.arange(0, 2.1, 0.5), 0.01)
    sizes = np.exp(np.arange(0, 26, 5.0))
    return jaxscale.start_grid(E=np.exp(np.arange(-1, 1.1, 0.5)), A=sizes, alpha=exponents, B=sizes, beta=exponents)


def by_jaxscale(sweep: dict[str, np.ndarray], starts: Any = None, **settings: Any) -> Any:
    """Fit without a bootstrap, by default from the published grid."""
    import jaxscale

    starts = our_grid() if starts is None else starts
    settings = dict(n_resamples=0) | settings
    return jaxscale.fit(
        "chinchilla", to_observations(sweep), noise=jaxscale.noise.huber(1e-3), starts=starts, **settings
    )


def _line(name: str, time: Timing, objective: float, bar: Timing | None, note: str = "", scale: float = 1) -> list[str]:
    wall, cpu = time.wall * scale, time.cpu * scale
    ratios = ("1", "1") if bar is None else (f"{bar.wall / wall:.3g}", f"{bar.cpu / cpu:.3g}")
    return [name, f"{wall:.4g}", f"{cpu:.4g}", f"{objective:.14g}", *ratios, note]


HEAD = ["what", "wall s", "CPU s", "objective", "times faster (wall)", "times less CPU", "note"]


def grid(repeats: int) -> None:
    """Published grid of starts."""
    from benchmarks import peers_jax, peers_packages

    sweep, starts = epoch_sweep(), published_grid()
    subset = {name: values[::EVERY] for name, values in starts.items()}
    best = 0.00101827401781

    def share(ends: np.ndarray) -> str:
        return f"{np.mean(ends <= best * (1 + 1e-4)):.1%} of starts within 1e-4"

    scipy = measure(lambda k: peers.scipy_grid(perturb(sweep, k), starts), repeats)
    rows = [_line("SciPy L-BFGS-B, 4,500 starts", scipy, scipy.value.min(), None, share(scipy.value))]

    def ours(name: str, run: Callable[[dict[str, np.ndarray]], Any]) -> None:
        run(sweep)
        warm = measure(lambda k: run(perturb(sweep, k)), repeats)
        starts = warm.value.landscape
        rows.append(_line(name, warm, warm.value.objective, scipy, f"{starts.agree_all} of {starts.polished} agree"))

    ours("jaxscale, all 4,500 polished as given", lambda s: by_jaxscale(s, polish=4500))
    ours("jaxscale, the same 4,500 scored, 64 polished", by_jaxscale)
    ours("jaxscale, default starts, check, 400 refits", lambda s: by_jaxscale(s, 4096, n_resamples=400))
    peers_jax.optimistix_grid(sweep, starts, method="bfgs")
    for method in ("bfgs", "lm"):
        peers_jax.optimistix_grid(sweep, starts, method=method)
        time = measure(lambda k, method=method: peers_jax.optimistix_grid(perturb(sweep, k), starts, method=method), 3)
        ends = np.asarray(time.value)
        rows.append(_line(f"optimistix {method}, vmap, 4,500 starts", time, np.nanmin(ends), scipy, share(ends)))
    peers_jax.optax_grid(sweep, subset)
    time = measure(lambda k: peers_jax.optax_grid(perturb(sweep, k), subset), 1)
    ends = np.asarray(time.value)
    note = f"{len(ends)} starts, projected; {share(ends)}"
    rows.append(_line("optax L-BFGS, vmap", time, np.nanmin(ends), scipy, note, len(starts["e"]) / len(ends)))
    run = peers_packages.chinchilla_package(sweep, every=EVERY)
    if run.note:
        rows.append(["PyPI chinchilla, simple-scaling-laws", "", "", "", "", "", run.note])
    else:
        time = Timing(run.projected, run.projected, None)
        rows.append(_line("PyPI chinchilla", time, run.objective, scipy, f"{run.starts} starts, projected"))
        other = peers_packages.simple_scaling_laws_package(sweep)
        time = Timing(other.seconds, other.seconds, None)
        rows.append(_line("PyPI simple-scaling-laws", time, other.objective, scipy, "least squares of raw losses"))

    def cold(_: int) -> float:
        with tempfile.TemporaryDirectory() as cache:
            return float(python(COLD, XDG_CACHE_HOME=cache, JAX_COMPILATION_CACHE_DIR=cache))

    fresh = measure(cold, 3)
    rows.append(_line("jaxscale, cold process, 4,500 scored", fresh, fresh.value, scipy, "compilation included"))
    print(table(HEAD, rows))


def single(repeats: int) -> None:
    """One fit: ``jaxscale.fit`` with default starts and design check, and ``jaxscale.solve`` in a jitted program."""
    import jax
    import jax.numpy as jnp

    import jaxscale

    sweep = epoch_sweep()
    # Many repetitions each, since a single run takes about a millisecond.
    many = 20

    def times(run: Callable[[dict[str, np.ndarray]], Any], repeat: int) -> Timing:
        run(sweep)
        subset = [perturb(sweep, k) for k in range(repeat)]
        found = measure(lambda k: [run(other) for other in subset][-1], repeats)
        return Timing(found.wall / repeat, found.cpu / repeat, found.value)

    scipy = times(peers.scipy_single, many)
    rows = [_line("SciPy L-BFGS-B, one centred start", scipy, scipy.value[0], None, "no search, no check")]
    # The start of the protocol from which L-BFGS-B ends lowest.
    every = published_grid()
    lowest = int(np.argmin(peers.scipy_grid(sweep, every)))
    one = {name: values[lowest : lowest + 1] for name, values in every.items()}
    raw = times(lambda s: peers.scipy_grid(s, one), many)
    rows.append(
        _line("SciPy L-BFGS-B, the best start of the protocol", raw, raw.value[0], scipy, "its own stopping rules")
    )
    front = times(lambda s: by_jaxscale(s, 4096), many)
    rows.append(_line("jaxscale.fit, 4,096 starts, design check", front, front.value.objective, scipy))
    with jax.enable_x64(True):
        solve = jax.jit(jaxscale.solve, static_argnums=0)
        law = jaxscale.laws.chinchilla

        def solve_sweep(s: dict[str, np.ndarray]) -> Any:
            return jax.block_until_ready(solve(law, {"N": s["N"], "D": s["D"]}, s["loss"]))

        inside = times(solve_sweep, many)
        rows.append(
            _line("jaxscale.solve, jitted, 256 starts", inside, float(jnp.asarray(inside.value.objective)), scipy)
        )
    print(table(HEAD, rows))


def bootstrap(repeats: int) -> None:
    """Refits of 4,000 resamples from the optimum."""
    import jaxscale

    sweep = epoch_sweep()
    n = len(sweep["loss"])
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=4000).astype(float)

    def ours(s: dict[str, np.ndarray]) -> Any:
        return jaxscale.fit_many("chinchilla", to_observations(s), noise=jaxscale.noise.huber(1e-3), weight=weights)

    scipy = measure(lambda k: peers.scipy_bootstrap(perturb(sweep, k), weights), repeats)
    field = measure(lambda k: peers.scipy_bootstrap_protocol(perturb(sweep, k), weights), min(repeats, 3))
    ours(sweep)
    mine = measure(lambda k: ours(perturb(sweep, k)), repeats)
    ends, params = scipy.value
    fits = mine.value
    above = np.mean(fits.objective > ends * (1 + 1e-9))
    rows = [
        _line("SciPy L-BFGS-B, whitened coordinates", scipy, ends.sum(), None, "sum of 4,000 objectives"),
        _line(
            "SciPy BFGS, the protocol's coordinates", field, field.value[0].sum(), scipy, "both warm, exact gradient"
        ),
        _line("jaxscale.fit_many", mine, fits.objective.sum(), scipy, f"{above:.2%} of refits above SciPy's by 1e-9"),
    ]
    print(table(HEAD, rows))
    names = ("E", "A", "B", "alpha", "beta")
    print("\nstandard errors of E, A, B, alpha, beta")
    print("SciPy   ", " ".join(f"{v:.5g}" for v in params.std(axis=0, ddof=1)))
    print("jaxscale", " ".join(f"{fits.params[name].std(ddof=1):.5g}" for name in names))


def bnsl(repeats: int) -> None:
    """One break on a learning curve: squared differences of ``log(1 + y)``."""
    import jaxscale

    x, y = peers.learning_curve()
    runs = jaxscale.Observations.from_table({"x": x, "loss": 1 + y}, inputs=["x"], response="loss")
    noise = jaxscale.noise.squared("log")

    def ours(k: int) -> Any:
        wiggle = np.exp(1e-6 * np.random.default_rng(k).standard_normal(len(y)))
        subset = jaxscale.Observations.from_table({"x": x, "loss": (1 + y) * wiggle}, inputs=["x"], response="loss")
        return jaxscale.fit("bnsl1", subset, noise=noise, starts=1024, n_resamples=0, allow_unidentified=True)

    brute = measure(lambda k: peers.bnsl_brute_force(x, y, loop=True), min(repeats, 3))
    arrays = measure(lambda k: peers.bnsl_brute_force(x, y), repeats)
    exact = jaxscale.fit("bnsl1", runs, noise=noise, n_resamples=0, allow_unidentified=True)
    warm = measure(ours, repeats)
    rows = [
        _line("brute force in the authors' loop, curve_fit", brute, brute.value[0], None, "163,840 points"),
        _line("the same grid by arrays, curve_fit", arrays, arrays.value[0], brute),
        _line("jaxscale.fit", warm, exact.objective, brute, f"{exact.landscape.agree_all} starts agree"),
    ]
    print(table(HEAD, rows))


def gemstones(repeats: int) -> None:
    """Law of four inputs with its authors' 4,050,000 starts."""
    import resource

    import jaxscale

    sweep = peers.gemstones_sweep()
    law = jaxscale.laws.get("width_depth_params_tokens")
    runs = to_observations(sweep, dict(zip(law.inputs, "wdNT", strict=True)))
    exponents, sizes = np.maximum(np.arange(0, 2.5, 0.5), 0.01), np.exp(np.arange(0, 30, 5.0))
    floors = np.exp(np.arange(-1, 1.5, 0.5))
    axes = {
        name: {"exponent": exponents, "floor": floors}.get(kind.kind, sizes) for name, kind in law.parameters.items()
    }
    starts = jaxscale.start_grid(**axes)
    settings: dict[str, Any] = dict(noise=jaxscale.noise.huber(1e-3), n_resamples=0, allow_unidentified=True)
    points = peers.gemstones_grid(GEMSTONES)
    scipy = measure(lambda k: peers.scipy_gemstones(sweep, points[:GEMSTONES]), 1)
    jaxscale.fit(law, runs, **settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = measure(lambda k: jaxscale.fit(law, runs, starts=starts, **settings), 1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    default = measure(lambda k: jaxscale.fit(law, runs, **settings), repeats)
    share = starts.size / GEMSTONES
    note = f"{GEMSTONES} random starts, projected to {starts.size}"
    projected = Timing(scipy.wall * share, scipy.cpu * share, None)
    peak = f"peak memory {grown / 2**20:.2f} GiB, {(grown - before) / 2**20:.2f} of it for the grid"
    rows = [
        _line("SciPy L-BFGS-B, exact gradient", projected, scipy.value.min(), None, note),
        _line(f"jaxscale, {starts.size} starts scored", whole, whole.value.objective, projected, peak),
        _line("jaxscale, default starts", default, default.value.objective, projected),
    ]
    print(table(HEAD, rows))


def isoflop(repeats: int) -> None:
    """Lowest Huber(1e-3) loss on linear residuals of three IsoFLOP sweeps."""
    import jaxscale

    least = {"llama3": 3.02695810e-4, "comma": 1.94714597e-3, "nemotron": 1.98954689e-3}
    settings: dict[str, Any] = dict(noise=jaxscale.noise.huber(1e-3, "linear"), n_resamples=0)
    rows = []
    for name, sweep in peers.isoflop_sweeps().items():
        runs = to_observations(sweep)
        jaxscale.fit("chinchilla", runs, **settings)
        time = measure(
            lambda k, sweep=sweep: jaxscale.fit("chinchilla", to_observations(perturb(sweep, k)), **settings), repeats
        )
        exact = jaxscale.fit("chinchilla", runs, **settings)
        mean = f"{1e6 * exact.objective / len(runs):.9g}e-6"
        rows.append([name, str(len(runs)), f"{exact.objective:.9g}", f"{least[name]:.9g}", mean, f"{time.wall:.4f}"])
    print(table(["sweep", "rows", "sum", "known minimum", "mean", "seconds, warm"], rows))


TABLES = dict(grid=grid, single=single, bootstrap=bootstrap, bnsl=bnsl, gemstones=gemstones, isoflop=isoflop)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(TABLES))
    options = parser.parse_args()
    print(machine())
    for name in options.only.split(","):
        print(f"\n{name}: {TABLES[name].__doc__}\n", flush=True)
        TABLES[name](options.repeats)


if __name__ == "__main__":
    main()
