"""Sampling from a user-defined log density."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PyTree, Real

from jaxscale.bayes.model import stack
from jaxscale.engine.runner import Runner
from jaxscale.results import mcmc_diagnostics
from jaxscale.results.draws import Draws
from jaxscale.sampling.adaptive_sampler import COMPONENTS, NutsSettings, adaptive_sample, check_settings, stack_starts
from jaxscale.sampling.densities import densities_of
from jaxscale.utils.arrays import Array, Number
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.random import generator_of


class Density(eqx.Module):
    """A log density with its data, with the interface of a model.

    Args:
        function: log density of a vector of shape (size,) and the data.
        data: a pytree of arrays.
    """

    function: Callable[[Array, PyTree], Array] = eqx.field(static=True)
    data: PyTree

    @property
    def length(self) -> int:
        """The longest axis of the data."""
        return max((max(np.shape(leaf), default=1) for leaf in jax.tree.leaves(self.data)), default=1)

    @property
    def alone(self) -> bool:
        """Whether parts run one at a time: a user's function may call LAPACK (:class:`.Runner`)."""
        return True

    def log_density(self, x: Float[Array, " size"]) -> Real[Array, ""]:
        """The log density at x, shape (size,)."""
        return self.function(x, self.data)


def sample(
    log_density: Callable[[Array, PyTree], Array],
    start: Real[Array, "..."] | Sequence[Number],
    data: PyTree = None,
    *,
    method: str = "auto",
    num_chains: int = 8,
    num_samples: int = 1000,
    num_warmup: int = 500,
    seed: int = 0,
) -> Draws:
    """Sample from a log density by importance sampling, or NUTS if its weights are unreliable.

    >>> draws = sample(lambda x, _: -0.5 * (x @ x), np.zeros(3))  # doctest: +SKIP

    Args:
        log_density: ``log p(x)`` up to a constant, of an unconstrained vector x of shape (size,) and the data; a pure
            JAX function. The same function object compiles once.
        start: initial values of the mode search, shape (size,) or up to four of these, shape (starts, size).
        data: a pytree of arrays, the second argument of ``log_density``.
        method: "auto", "importance", "nuts" or "laplace", as in :func:`jaxscale.posterior`.
        num_chains: number of chains of NUTS.
        num_samples: draws per chain after warm-up.
        num_warmup: warm-up draws per chain.
        seed: random seed.

    Returns:
        Draws whose only parameter is ``x``, shape (draws, size).

    Raises:
        ValueError: an argument is invalid, or the density is not finite at the start.
    """
    check_settings(method, num_chains, num_samples, num_warmup)
    start_time = time.perf_counter()
    seed, generator = generator_of(seed)
    starts = np.atleast_2d(np.asarray(start, float))
    if starts.ndim != 2 or len(starts) > COMPONENTS:
        raise ArgumentError(
            "start",
            f"must have shape (size,) or (starts, size) with at most {COMPONENTS} starts, but has {np.shape(start)}.",
        )
    with jax.enable_x64(True):
        density = Density(log_density, jax.tree.map(lambda leaf: np.asarray(leaf), data))
        if not np.isfinite(density.log_density(starts[0])):
            raise ArgumentError("start", "must be where the log density is finite, but there it is not.")
        densities = densities_of(Runner(), stack([density]), stack_starts(list(starts))[None], generator)
        sampled = adaptive_sample(densities, method, NutsSettings(num_chains, num_samples, num_warmup))
    used = str(sampled.method[0])
    settings = {"draws": sampled.x.shape[1], "chains": sampled.chains if used == "nuts" else 1, "seed": seed}
    draws = Draws(
        law="a density",
        params={"x": sampled.x[0]},
        method=used,
        free=("x",),
        chains=settings["chains"],
        stats={name: values[0] for name, values in sampled.stats.items()} if used == "nuts" else {},
        about=sampled.about(0) | settings | {"seconds": time.perf_counter() - start_time},
    )
    notices, ok = mcmc_diagnostics.assess(draws)
    more, trusted = sampled.assess(0)
    return replace(draws, notices=(*notices, *more), ok=ok and trusted)
