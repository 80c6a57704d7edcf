"""Batched refits from the optimum, and the case bootstrap of a fit's standard errors."""

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxscale.engine import newton
from jaxscale.engine.descent import descend, sizes
from jaxscale.engine.linearize import params_at
from jaxscale.engine.newton import Lanes
from jaxscale.engine.objective import Problem
from jaxscale.engine.runner import Runner

# Resamples drawn at a time.
TOGETHER = 256


def case_weights(
    weight: Float[np.ndarray, " row"],
    run: Int[np.ndarray, " row"] | None,
    n_resamples: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "resample row"]:
    """Weights of case resamples, shape (n_resamples, n); of whole runs where runs have several rows.

    Args:
        weight: shape (n,); rows of weight 0 are never drawn.
        run: codes of the rows' runs, shape (n,), or None for independent rows.
        n_resamples: number of resamples.
        generator: the random generator.
    """
    used = np.flatnonzero(weight > 0)
    codes = np.arange(len(used)) if run is None else np.unique(run[used], return_inverse=True)[1]
    groups = int(codes.max()) + 1
    weights = np.zeros((n_resamples, len(weight)))
    # Indices are drawn and counted in blocks: ten times faster than multinomial counts.
    for first in range(0, n_resamples, TOGETHER):
        block = min(TOGETHER, n_resamples - first)
        index = generator.integers(groups, size=(block, groups)) + groups * np.arange(block)[:, None]
        counts = np.bincount(index.ravel(), minlength=block * groups).reshape(block, groups)
        weights[first : first + block, used] = weight[used] * counts[:, codes]
    return weights


def refit_batch(
    runner: Runner,
    problem: Problem,
    z: Float[np.ndarray, " size"],
    response: Float[np.ndarray, "... row"],
    weight: Float[np.ndarray, "... row"],
    count: int,
    *,
    keep: bool = False,
) -> tuple[Lanes, Bool[np.ndarray, " lane"]]:
    """Refits of many data sets from one optimum; failures are retried once with damped steps.

    A data set with fewer rows than free parameters has no unique optimum, so its refit counts as failed.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        z: coordinates of the optimum, shape (size,).
        response: shape (n,) or (count, n).
        weight: shape (n,) or (count, n).
        count: number of refits.
        keep: whether an interruption returns the finished refits, if there are any.

    Returns:
        The lanes, and which of them converged, shape (count,); fewer after an interruption.
    """
    # Blocks that fill every worker once give the same parallelism as all refits at once.
    size = runner.parallel_parts * sizes(weight.shape[-1]).pool
    done: list[tuple[Lanes, np.ndarray]] = []
    for index in np.array_split(np.arange(count), -(-count // size)):
        own, counts = (data[index] if data.ndim == 2 else data for data in (response, weight))
        try:
            done.append(_refit(runner, problem, z, own, counts, len(index)))
        except KeyboardInterrupt:
            # Cooperating processes must stop together.
            if not (keep and done) or jax.process_count() > 1:
                raise
            break
    lanes, settled = zip(*done, strict=True)
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *lanes), np.concatenate(settled)


def _refit(
    runner: Runner,
    problem: Problem,
    z: Float[np.ndarray, " size"],
    response: Float[np.ndarray, "... row"],
    weight: Float[np.ndarray, "... row"],
    count: int,
) -> tuple[Lanes, Bool[np.ndarray, " lane"]]:
    start = np.repeat(z[:, None], count, axis=1)
    lanes = descend(runner, problem, start, response, weight, direct=True, warm=True)
    enough = np.broadcast_to(np.sum(weight > 0, axis=-1) >= len(problem.free), count)
    settled = _converged(lanes) & enough
    failed = np.flatnonzero(~settled & enough)
    if len(failed):
        response, weight = (data[failed] if data.ndim == 2 else data for data in (response, weight))
        retry = descend(runner, problem, start[:, failed], response, weight)
        better = _converged(retry)
        settled[failed] = better

        def put(old: Shaped[np.ndarray, "... lane"], new: Shaped[np.ndarray, "... failed"]) -> None:
            old[..., failed] = np.where(better, new, old[..., failed])

        jax.tree.map(put, lanes, retry)
    return lanes, settled


def _converged(lanes: Lanes) -> Bool[np.ndarray, " lane"]:
    return np.isin(lanes.status, (newton.CONVERGED, newton.FLAT))


def bootstrap(
    runner: Runner,
    problem: Problem,
    z: Float[np.ndarray, " size"],
    response: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
    *,
    run: Int[np.ndarray, " row"] | None = None,
    n_resamples: int = 400,
    generator: np.random.Generator,
) -> tuple[dict[str, Float[np.ndarray, " resample"]], int]:
    """Case bootstrap of the parameters, each refit started at the optimum.

    Args:
        runner: where it runs.
        problem: law, inputs of shape (n,), noise.
        z: coordinates of the optimum, shape (size,).
        response: shape (n,).
        weight: shape (n,).
        run: codes of the rows' runs, or None.
        n_resamples: number of resamples.
        generator: the random generator.

    Returns:
        Values of every parameter over the converged replicates, and the number of failed ones.
    """
    weights = case_weights(weight, run, n_resamples, generator)
    lanes, settled = refit_batch(runner, problem, z, response, weights, n_resamples)
    params = jax.tree.map(np.asarray, params_at(problem, lanes.z))
    draws = {name: np.broadcast_to(value, n_resamples)[settled] for name, value in params.items()}
    return draws, int((~settled).sum())
