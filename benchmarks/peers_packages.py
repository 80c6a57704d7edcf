"""Competitors from PyPI, each in a process of its own.

JAXSCALE_PEERS_PYTHON is an interpreter that has them installed. Seconds are measured in that process, for the fit
alone, without imports, tables and figures.
"""

import json
import os
import subprocess
from dataclasses import dataclass

import numpy as np

from benchmarks.peers import PARAMETERS, Sweep, power_objective

VARIABLE = "JAXSCALE_PEERS_PYTHON"
MISSING = "not installed: pip install chinchilla simple-scaling-laws"

_CHINCHILLA = """
import itertools, json, sys, tempfile, time, types
import numpy as np, pandas as pd
import chinchilla, chinchilla.core
from chinchilla._metrics import log_huber

settings = json.load(sys.stdin)
if settings["every"] > 1:
    # A subset of the starts: the package scales its coordinates by the axes, which stay whole.
    def product(*axes):
        points = list(itertools.product(*axes))
        chosen = np.random.default_rng(0).permutation(len(points))[:: settings["every"]]
        return [points[k] for k in chosen]
    chinchilla.core.itertools = types.SimpleNamespace(product=product)
table = pd.DataFrame(settings["sweep"])
rows, delta = len(table), settings["delta"]
exponents, amplitudes = np.arange(0, 2.1, 0.5), np.arange(0, 26, 5.0)
axes = dict(e=np.arange(-1, 1.1, 0.5), a=amplitudes, b=amplitudes, alpha=exponents, beta=exponents)
with tempfile.TemporaryDirectory() as folder:
    table.assign(C=6 * table.N * table.D)[["C", "N", "D", "loss"]].to_csv(f"{folder}/df.csv", index=False)
    # The package averages; times the number of rows this is the protocol's sum.
    loss = lambda measured, predicted: rows * log_huber(measured, predicted, delta=delta)
    work = chinchilla.Chinchilla(folder, param_grid=axes, loss_fn=loss, log_level=50)
    work.visualizer.optim = lambda *_, **__: None
    start = time.perf_counter()
    work.fit(parallel=False)
    seconds = time.perf_counter() - start
grid = int(np.prod([len(axis) for axis in axes.values()]))
parameters = {name: float(value) for name, value in work.params.items()}
print("\\n" + json.dumps(dict(parameters=parameters, seconds=seconds, starts=-(-grid // settings["every"]), grid=grid)))
"""

_SIMPLE = """
import json, sys, time
import polars as pl
from simple_scaling_laws import fit

settings = json.load(sys.stdin)
sweep = settings["sweep"]
names = dict(N="model_size__N", D="dataset_size__D", loss="test_loss__loss")
table = pl.DataFrame({name: sweep[key] for key, name in names.items()})
table = table.with_columns(pl.Series("training_run_id", [str(k) for k in range(len(table))]))
fit(table, law="separable-power", n_draws=1, seed=0)
start = time.perf_counter()
model = fit(table, law="separable-power", n_draws=settings["draws"], seed=0)
seconds = time.perf_counter() - start
found, domain = model.params("test_loss__loss"), model.observed_domain
# Amplitudes are those at a reference size.
scale = {"A": domain[names["N"]]["reference"] ** found["alpha"], "B": domain[names["D"]]["reference"] ** found["beta"]}
parameters = {name: float(value * scale.get(name, 1)) for name, value in found.items()}
print("\\n" + json.dumps(dict(parameters=parameters, seconds=seconds, starts=1, grid=1)))
"""


@dataclass(frozen=True)
class PackageRun:
    """Result of a package.

    Args:
        objective: summed Huber(delta) loss of log residuals at the package's parameters.
        own_objective: objective of the package at the same parameters.
        parameters: (E, A, B, alpha, beta).
        seconds: duration of the fit.
        starts: number of starts.
        projected: seconds for the whole grid, projected from the starts that ran.
        note: reason why there are no numbers, or empty.
    """

    objective: float
    own_objective: float
    parameters: np.ndarray
    seconds: float
    starts: int
    projected: float
    note: str = ""


def chinchilla_package(sweep: Sweep, every: int = 1, delta: float = 1e-3) -> PackageRun:
    """Run the package ``chinchilla`` (Apache-2.0) on the published grid, or on one start in ``every``, in one process.

    Its loss is set to that of the protocol (log-Huber with this delta, summed), which is not its default. It optimises
    by BFGS with finite differences in 80-bit numbers, since it does not accept a gradient. The subset is random, and
    seconds for the whole grid are projected from it.
    """
    return _run(_CHINCHILLA, sweep, delta, every=every)


def simple_scaling_laws_package(sweep: Sweep, draws: int = 1, delta: float = 1e-3) -> PackageRun:
    """Run the package ``simple-scaling-laws`` (MIT), whose objective is the sum of squares of linear residuals.

    Its time is that of its point fit with ``draws`` wild-cluster bootstrap refits (one is its minimum), its own
    objective half that sum of squares. It has no robust loss, so the two objectives are not comparable; the Huber loss
    at its parameters is what a user of the published protocol would get.
    """
    return _run(_SIMPLE, sweep, delta, draws=draws)


def _nothing(note: str) -> PackageRun:
    return PackageRun(np.nan, np.nan, np.full(len(PARAMETERS), np.nan), np.nan, 0, np.nan, note)


def _run(program: str, sweep: Sweep, delta: float, **settings: int) -> PackageRun:
    interpreter = os.environ.get(VARIABLE)
    if not interpreter:
        return _nothing(MISSING)
    message = dict(sweep={name: list(map(float, sweep[name])) for name in ("N", "D", "loss")}, delta=delta, **settings)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [interpreter, "-c", program],
        input=json.dumps(message),
        env={**own, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        note = MISSING if "ModuleNotFoundError" in done.stderr else f"failed: {last[0]}"
        return _nothing(note)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    parameters = np.array([answer["parameters"][name] for name in PARAMETERS])
    E, A, B, alpha, beta = parameters
    huber = power_objective([np.log(sweep["N"]), np.log(sweep["D"])], np.log(sweep["loss"]), delta)
    objective, _ = huber(np.array([np.log(E), np.log(A), np.log(B), alpha, beta]))
    raw = E + A * sweep["N"] ** -alpha + B * sweep["D"] ** -beta - sweep["loss"]
    own_objective = objective if program is _CHINCHILLA else float(raw @ raw) / 2
    projected = answer["seconds"] * answer["grid"] / answer["starts"]
    return PackageRun(objective, own_objective, parameters, answer["seconds"], answer["starts"], projected)
