"""Refits from the optimum, all in one batch; the case bootstrap behind a fit's standard errors."""

from typing import Any

import jax
import numpy as np

from jaxscale.engine import newton
from jaxscale.engine.descent import descend, sizes
from jaxscale.engine.linearize import params_at
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.runner import Runner

# Resamples that are drawn at a time.
TOGETHER = 256


def resampled(
    weight: np.ndarray, run: np.ndarray | None, n_resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Weights of case resamples, shape (n_resamples, n); whole runs where these repeat.

    Args:
        weight: shape (n,); rows of weight 0 are never drawn.
        run: codes of the rows' runs, shape (n,), or None for independent rows.
        n_resamples: number of resamples.
        generator: the source of randomness.
    """
    used = np.flatnonzero(weight > 0)
    codes = np.arange(len(used)) if run is None else np.unique(run[used], return_inverse=True)[1]
    groups = int(codes.max()) + 1
    weights = np.zeros((n_resamples, len(weight)))
    # Drawn and counted, some resamples at a time: ten times faster than multinomial counts, one group after another.
    for first in range(0, n_resamples, TOGETHER):
        some = min(TOGETHER, n_resamples - first)
        drawn = generator.integers(groups, size=(some, groups)) + groups * np.arange(some)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * groups).reshape(some, groups)
        weights[first : first + some, used] = weight[used] * counts[:, codes]
    return weights


def refitted(
    runner: Runner,
    problem: Problem,
    z: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
    count: int,
    *,
    keep: bool = False,
) -> tuple[Lanes, np.ndarray]:
    """Refits of many data sets from one optimum; those that do not settle try once more with careful steps.

    A data set with fewer rows than free parameters determines none of its optima, so its refit counts as not settled.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        z: coordinates of the optimum, shape (size,).
        response: shape (n,) or (count, n).
        weight: shape (n,) or (count, n).
        count: number of refits.
        keep: whether an interruption ends the work with the refits that are finished, the first ones, if there are any.

    Returns:
        The lanes, and which of them settled, shape (count,); fewer after an interruption.
    """
    # As many at a time as fill every worker once: what runs abreast is the same as for all at once.
    size = runner.parallel_parts * sizes(weight.shape[-1]).pool
    done: list[tuple[Lanes, np.ndarray]] = []
    for index in np.array_split(np.arange(count), -(-count // size)):
        own, counts = (data[index] if data.ndim == 2 else data for data in (response, weight))
        try:
            done.append(_refitted(runner, problem, z, own, counts, len(index)))
        except KeyboardInterrupt:
            # Processes that work together have to stop together.
            if not (keep and done) or jax.process_count() > 1:
                raise
            break
    lanes, settled = zip(*done, strict=True)
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *lanes), np.concatenate(settled)


def _refitted(
    runner: Runner, problem: Problem, z: np.ndarray, response: np.ndarray, weight: np.ndarray, count: int
) -> tuple[Lanes, np.ndarray]:
    start = np.repeat(z[:, None], count, axis=1)
    lanes = descend(runner, problem, start, response, weight, direct=True, warm=True)
    enough = np.broadcast_to(np.sum(weight > 0, axis=-1) >= len(problem.free), count)
    settled = _settled(lanes) & enough
    failed = np.flatnonzero(~settled & enough)
    if len(failed):
        response, weight = (data[failed] if data.ndim == 2 else data for data in (response, weight))
        again = descend(runner, problem, start[:, failed], response, weight)
        better = _settled(again)
        settled[failed] = better

        def put(old: Any, new: Any) -> None:
            old[..., failed] = np.where(better, new, old[..., failed])

        jax.tree.map(put, lanes, again)
    return lanes, settled


def _settled(lanes: Lanes) -> np.ndarray:
    return np.isin(lanes.status, (newton.CONVERGED, newton.FLAT))


def bootstrap(
    runner: Runner,
    problem: Problem,
    z: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
    *,
    run: np.ndarray | None = None,
    n_resamples: int = 400,
    generator: np.random.Generator,
) -> tuple[dict[str, np.ndarray], int]:
    """Parameters refitted to case resamples, each started at the optimum.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        z: coordinates of the optimum, shape (size,).
        response: shape (n,).
        weight: shape (n,).
        run: codes of the rows' runs, or None.
        n_resamples: number of resamples.
        generator: the source of randomness.

    Returns:
        Every parameter's values over the replicates that settled, and how many did not.
    """
    weights = resampled(weight, run, n_resamples, generator)
    lanes, settled = refitted(runner, problem, z, response, weights, n_resamples)
    params = jax.tree.map(np.asarray, params_at(problem, lanes.z))
    draws = {name: np.broadcast_to(value, n_resamples)[settled] for name, value in params.items()}
    return draws, int((~settled).sum())
