# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Effective draws per second of one posterior: jaxscale, plain NumPyro, and emcee through lmfit.

The model is chinchilla with Student-t residuals of log loss, inferred scale and degrees of freedom, and
the default priors of jaxscale, which are weakly informative. NumPyro samples the raw parameters, emcee their
logarithms. Each side runs in a process of its own.
"""

import json
import math
import sys
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import Timing, epoch_sweep, measure, perturb, python

NAMES = ("E", "A", "alpha", "B", "beta", "scale", "df")
MISSING = "needs lmfit and emcee: pip install lmfit emcee"
THREADS = dict(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
# Mean and standard deviation of the normal priors of logarithms; that of E is half-normal, that of df Gamma(2, 0.1).
FLOOR = 10 / 1.96


def _between(low: float, high: float) -> tuple[float, float]:
    return math.log(low * high) / 2, math.log(high / low) / 3.92


LOGS = {name: _between(0.01, 2.0) for name in ("alpha", "beta")} | {name: _between(1.0, 1e9) for name in ("A", "B")}
LOGS |= {"scale": (math.log(0.01), 2.5)}


def _print_result(draws: dict[str, np.ndarray], effective: float, times: list[Timing], more: str) -> None:
    """Print the result of one side as JSON; the first time includes compilation."""
    means = {name: float(np.mean(draws[name])) for name in NAMES}
    sds = {name: float(np.std(draws[name])) for name in NAMES}
    warm = times[1:] or times
    spent = dict(first=times[0].wall, warm=median([t.wall for t in warm]), cpu=median([t.cpu for t in warm]))
    found = dict(means=means, sds=sds, effective=effective, note=more, **spent)
    print("\n" + json.dumps(found))


def ours(method: str, repeats: int = 5) -> None:
    """Run jaxscale on compiled programs with a new data set each time, and count further compilations."""
    import jaxscale
    from jaxscale.sampling import adaptive_sampler, density_programs

    fits = [jaxscale.fit("chinchilla", _observations(k), n_resamples=0) for k in range(repeats + 1)]
    times: list[Timing] = []
    sizes: list[int] = []
    worth: list[float] = []
    drawn: Any = None
    settings: Any = dict(method=method, progress=False)
    for fit in fits:
        times.append(measure(lambda _, fit=fit: jaxscale.posterior(fit, **settings), 1))
        drawn = times[-1].value
        programs = (
            density_programs.curvatures._cache_size(),
            density_programs.log_densities._cache_size(),
            adaptive_sampler._program.cache_info().currsize,
        )
        sizes.append(sum(programs))
        rows = drawn.intervals().params.values()
        worth.append(drawn.about.get("ess") or min(row["ess_bulk"] for row in rows))
    note = f"{drawn.method}, {len(drawn)} draws, {sizes[-1] - sizes[0]} programs compiled for further data"
    effective = min(float(np.median(worth)), len(drawn)) if drawn.method == "importance" else float(np.median(worth))
    _print_result(drawn.params | drawn.nuisance, effective, times, note)


def numpyro() -> None:
    """Run NumPyro on raw parameters with default NUTS, 4 sequential chains of 1,000 + 1,000."""
    import jax
    import jax.numpy as jnp
    import numpyro as ppl
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)

    def model(N: Any, D: Any, loss: Any) -> None:
        E = ppl.sample("E", dist.HalfNormal(FLOOR))
        A, alpha, B, beta, scale = (
            ppl.sample(name, dist.LogNormal(*LOGS[name])) for name in ("A", "alpha", "B", "beta", "scale")
        )
        df = ppl.sample("df", dist.Gamma(2.0, 0.1))
        level = E + A / N**alpha + B / D**beta
        ppl.sample("log_loss", dist.StudentT(df, jnp.log(level), scale), obs=jnp.log(loss))

    sampler = MCMC(NUTS(model), num_warmup=1000, num_samples=1000, num_chains=4, chain_method="sequential")
    sampler._progress_bar = False

    def run(k: int) -> dict[str, np.ndarray]:
        sampler.run(jax.random.PRNGKey(k), **perturb(epoch_sweep(), k), extra_fields=("num_steps", "diverging"))
        return {name: np.asarray(value) for name, value in sampler.get_samples().items()}

    times = [measure(lambda _, k=k: run(k), 1) for k in range(2)]
    draws = times[-1].value
    worth = _bulk({name: value.reshape(4, -1) for name, value in draws.items()})
    fields = {name: np.asarray(value) for name, value in sampler.get_extra_fields().items()}
    note = f"{fields['num_steps'].mean():.0f} steps a draw, {fields['diverging'].sum()} divergences"
    _print_result(draws, worth, times, note)


def emcee(steps: int = 10_000, walkers: int = 100) -> None:
    """Run emcee through lmfit on logarithms, walkers about the optimum; effective draws by autocorrelation time."""
    import lmfit  # pyright: ignore[reportMissingImports]
    from scipy.special import gammaln

    sweep = perturb(epoch_sweep(), 1)
    log_n, log_d, log_loss = (np.log(sweep[name]) for name in ("N", "D", "loss"))
    middles = np.array([LOGS[name][0] for name in ("A", "alpha", "B", "beta", "scale")])
    widths = np.array([LOGS[name][1] for name in ("A", "alpha", "B", "beta", "scale")])

    def log_posterior(params: Any) -> float:
        z = np.array([value.value for value in params.values()])
        E, A, alpha, B, beta, scale, df = np.exp(z)
        level = E + np.exp(z[1] - alpha * log_n) + np.exp(z[3] - beta * log_d)
        t = (log_loss - np.log(level)) / scale
        rows = -0.5 * (df + 1) * np.sum(np.log1p(t * t / df))
        constant = gammaln(0.5 * (df + 1)) - gammaln(0.5 * df) - 0.5 * math.log(df * math.pi) - z[5]
        prior = -0.5 * (E / FLOOR) ** 2 + z[0] - 0.5 * np.sum(((z[1:6] - middles) / widths) ** 2)
        return float(rows + len(t) * constant + prior + 2 * z[6] - 0.1 * df)

    params = lmfit.Parameters()
    for name, value in zip(NAMES, np.log([1.817, 477.8, 0.3473, 2143.0, 0.3672, 0.005, 3.0]), strict=True):
        params.add(f"log_{name}", value=value, min=value - 20, max=value + 20)
    problem = lmfit.Minimizer(log_posterior, params)
    settings: Any = dict(steps=steps, burn=0, nwalkers=walkers, thin=1, float_behavior="posterior", progress=False)
    spent = measure(lambda _: problem.emcee(params=params, seed=1, is_weighted=True, **settings), 1)
    found = spent.value
    tau = problem.sampler.get_autocorr_time(tol=0)
    burn = int(min(5 * tau.max(), steps // 2))
    chain = np.exp(found.chain[burn:].reshape(-1, len(NAMES)))
    draws = dict(zip(NAMES, chain.T, strict=True))
    note = f"{walkers} walkers, {steps} steps, autocorrelation time {tau.max():.0f}, {steps / tau.max():.0f} of them"
    _print_result(draws, walkers * (steps - burn) / tau.max(), [spent], note)


def _observations(k: int) -> Any:
    from jaxscale import Observations

    return Observations.from_table(perturb(epoch_sweep(), k), inputs=["N", "D"], response="loss")


def _bulk(draws: dict[str, np.ndarray]) -> float:
    from jaxscale.results.mcmc_diagnostics import convergence

    return min(convergence(np.asarray(draws[name]))["ess_bulk"] for name in NAMES)


SIDES = {
    "jaxscale, auto": "ours('auto')",
    "jaxscale, nuts": "ours('nuts')",
    "NumPyro, textbook": "numpyro()",
    "emcee through lmfit": "emcee()",
}
HEAD = ["what", "effective", "first s", "warm s", "warm CPU s", "effective / CPU s", "times", *NAMES, "note"]


def rows() -> list[list[str]]:
    """Rows of the table, each side in a new process, one after the other."""
    answers: dict[str, Any] = {}
    for name, call in SIDES.items():
        if "emcee" in name and not _installed():
            continue
        # Compilation counts towards the first run: no cache on disk.
        answer = python(
            f"from benchmarks.posterior_speed import *; {call}", JAX_ENABLE_COMPILATION_CACHE="0", **THREADS
        )
        answers[name] = json.loads(answer.strip().splitlines()[-1])
        print(f"{name}: {answers[name]['note']}", file=sys.stderr, flush=True)
    base = answers["NumPyro, textbook"]
    cells = []
    for name, answer in answers.items():
        rate = answer["effective"] / answer["cpu"]
        numbers = [f"{answer['effective']:.0f}", f"{answer['first']:.1f}", f"{answer['warm']:.2f}"]
        moments = [f"{answer['means'][k]:.4g} ({answer['sds'][k]:.2g})" for k in NAMES]
        numbers += [f"{answer['cpu']:.2f}", f"{rate:.0f}", f"{rate * base['cpu'] / base['effective']:.1f}"]
        cells.append([name, *numbers, *moments, answer["note"]])
    return cells if _installed() else [*cells, ["emcee through lmfit", *[""] * (len(HEAD) - 2), MISSING]]


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("lmfit") is not None and find_spec("emcee") is not None


__all__ = ["HEAD", "emcee", "numpyro", "ours", "rows"]
