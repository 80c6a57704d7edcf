"""Comparison of optimisers: fraction of random starts that reach the optimum, and cost of a start.

    python -m benchmarks.solvers [--lanes 128]

Every row polishes the same random starts of one problem, irrespective of their scores. ``projected`` starts have the
parameters in which the law is affine set by least squares, the others are as drawn; a law without such parameters has
no projected rows. newton: steps by the majorising Gauss-Newton model or the exact Hessian, whichever predicted the
last step better. gauss_newton: the former alone, iteratively reweighted least squares. lbfgs: optax's L-BFGS in the
same centred coordinates. optimistix: its Levenberg-Marquardt on signed roots of the loss, in the same coordinates. A
start reaches the optimum if it ends within 1e-6 of the lowest objective of all rows. CPU seconds, without compilation.
"""

import argparse
import time
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.common import machine, table
from benchmarks.reliability import BASE, ND, REPEATED
from jaxscale.engine import descent


def problems() -> dict[str, tuple[Any, Any, Any, dict[str, float]]]:
    """Name to law, observations, noise, fixed values."""
    import jaxscale
    from benchmarks.scaling import simulate_runs

    def load(file: str, inputs: dict[str, str], where: str | None = None) -> Any:
        source = jaxscale.datasets.load(file)
        return jaxscale.Observations.from_table(source, inputs=inputs, response="loss", where=where)

    huber, squared = jaxscale.noise.huber(1e-3), jaxscale.noise.squared("log")
    epoch = load("chinchilla_epoch", ND, "in_published_fit == 1")
    repeated = load("data_constrained_c4", REPEATED)
    x, y = peers.learning_curve()
    curve = jaxscale.Observations.from_table({"x": x, "loss": 1 + y}, inputs=["x"], response="loss")
    sweep = jaxscale.Observations.from_table(simulate_runs(60), inputs=["N", "D"], response="loss")
    laws = jaxscale.laws
    return {
        "chinchilla, Huber": (laws.chinchilla, epoch, huber, {}),
        "chinchilla, squared": (laws.chinchilla, epoch, squared, {}),
        "data_constrained, Huber": (laws.get("data_constrained"), repeated, huber, {}),
        "data_constrained, R_D and R_N": (laws.get("data_constrained"), repeated, huber, BASE),
        "bnsl1, squared": (laws.get("bnsl1"), curve, squared, {}),
        "kaplan_nd, Huber": (laws.get("kaplan_nd"), sweep, huber, {}),
    }


def _ends(problem: Any, z: Any, runs: Any, method: str) -> np.ndarray:
    """Final objective of every lane."""
    import dataclasses

    from jaxscale.engine import runner
    from jaxscale.engine.lbfgs import minimize_lbfgs

    if method == "optimistix":
        return np.asarray(_optimistix(problem, z, runs.response, runs.weight))
    settings: dict[str, Any] = {}
    if method == "lbfgs":
        z = np.asarray(_jit(minimize_lbfgs)(problem, z, runs.response, runs.weight))
        settings = dict(direct=True, warm=True)
    problem = dataclasses.replace(problem, reweighted=method == "gauss_newton")
    return np.asarray(descent.descend(runner.Runner(), problem, z, runs.response, runs.weight, **settings).local.f)


_PROGRAMS: dict[Any, Any] = {}


def _jit(function: Any) -> Any:
    import jax

    if function not in _PROGRAMS:
        _PROGRAMS[function] = jax.jit(lambda *data: function(*data, 300))
    return _PROGRAMS[function]


def _optimistix(problem: Any, z: Any, response: Any, weight: Any) -> Any:
    import jax
    import jax.numpy as jnp
    import optimistix

    if "lm" not in _PROGRAMS:
        solver = optimistix.LevenbergMarquardt(rtol=1e-10, atol=1e-12)

        def roots(z: Any, data: Any) -> Any:
            problem, response, weight = data
            loss = problem.noise.loss
            fitted = jax.vmap(problem.predict, in_axes=(None, 0))(z, problem.inputs)
            r = problem.noise.transform(fitted) - problem.noise.transform(response)
            tiny = jnp.finfo(r.dtype).tiny
            return jnp.sign(r) * jnp.sqrt(2 * weight * loss.value(r, loss.threshold, 0.0) + tiny)

        def end(z: Any, data: Any) -> Any:
            found = optimistix.least_squares(roots, solver, z, data, max_steps=256, throw=False)
            return 0.5 * jnp.sum(roots(found.value, data) ** 2)

        _PROGRAMS["lm"] = jax.jit(jax.vmap(end, in_axes=(0, None)))
    return _PROGRAMS["lm"](z.T, (problem, response, weight))


def main() -> None:
    """Print the table."""
    import jax

    from jaxscale.data.padding import pad
    from jaxscale.engine.descent import Task
    from jaxscale.engine.objective import Problem
    from jaxscale.law.coordinates import centre_of, draw, from_params
    from jaxscale.utils.padding import bucket

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, default=128)
    lanes = parser.parse_args().lanes
    print(machine())
    rows = []
    with jax.enable_x64(True):
        for name, (law, runs, noise, fixed) in problems().items():
            wide = pad(runs, bucket(len(runs)))
            centre = centre_of(law, runs.inputs, runs.response, np)
            free = tuple(key for key in law.parameters if key not in fixed)
            values = {key: np.asarray(value, float) for key, value in fixed.items()}
            inputs = {key: wide.inputs[key] for key in law.inputs}
            problem = Problem(law, free, noise, inputs, values, centre)
            u = np.random.default_rng(0).uniform(size=(len(free), lanes))
            starts = {"as drawn": np.stack(from_params(law, centre, free, draw(law, centre, free, u, values)))}
            if any(key in free for key in law.affine):
                every = np.ones(lanes, bool)
                starts["projected"] = Task(problem, wide.response, wide.weight).score(u, np.zeros_like(u), every)[0]
            found = {}
            for start, z in starts.items():
                for method in ("newton", "gauss_newton", "lbfgs", "optimistix"):
                    _ends(problem, z, wide, method)
                    before = time.process_time()
                    ends = _ends(problem, z, wide, method)
                    found[method, start] = (ends, (time.process_time() - before) / lanes)
            lowest = min(np.nanmin(ends) for ends, _ in found.values())
            for (method, start), (ends, seconds) in found.items():
                share = np.mean(ends <= lowest + 1e-6 * abs(lowest))
                rows.append([name, method, start, f"{share:.1%}", f"{1e3 * seconds:.3g}", f"{np.nanmin(ends):.10g}"])
    print(table(["problem", "method", "starts", "reach the optimum", "CPU ms per start", "lowest"], rows))


if __name__ == "__main__":
    main()
