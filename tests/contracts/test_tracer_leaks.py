"""No call keeps a tracer beyond the transformation that made it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from tests.sweeps import TRUE, small, sweep

ROWS = sweep(rows=10)
INPUTS, LOSS = {"N": np.asarray(ROWS.inputs["N"])}, np.asarray(ROWS.response)
SQUARED = noise.squared("log")
# One start near the optimum: leaks are found while programs are traced, not while they run.
STARTS = {name: np.array([value]) for name, value in TRUE.items()}


def solved(response: Any) -> Any:
    return jaxscale.solve(small, INPUTS, response, noise=SQUARED, starts=STARTS).params["alpha"]


@pytest.fixture(scope="module")
def fitted() -> jaxscale.Fit:
    return jaxscale.fit(small, ROWS, noise=SQUARED, starts=STARTS)


CALLS: dict[str, Callable[[jaxscale.Fit], Any]] = {
    "solve": lambda fitted: jaxscale.solve(small, INPUTS, LOSS.astype(np.float32), starts=4).params,
    "solve under jit": lambda fitted: jax.jit(solved)(jnp.asarray(LOSS)),
    "solve under vmap": lambda fitted: jax.vmap(solved)(jnp.stack([jnp.asarray(LOSS)] * 2)),
    "gradient of solve": lambda fitted: jax.grad(solved)(jnp.asarray(LOSS)),
    "fit": lambda fitted: jaxscale.fit(small, ROWS, noise=SQUARED, starts=STARTS),
    "fit_many": lambda fitted: jaxscale.fit_many(small, [ROWS, ROWS], noise=SQUARED, starts=8, polish=1),
    "check": lambda fitted: jaxscale.check(small, INPUTS),
    "influence": lambda fitted: fitted.influence("alpha"),
    "bootstrap": lambda fitted: jaxscale.bootstrap(fitted, n_resamples=4),
    "profile": lambda fitted: jaxscale.profile(fitted, ["alpha"], points=5),
    "posterior by importance sampling": lambda fitted: jaxscale.posterior(fitted, method="importance", num_samples=10),
    "posterior by NUTS": lambda fitted: jaxscale.posterior(
        fitted, method="nuts", num_chains=1, num_samples=10, num_warmup=10
    ),
    "forecast": lambda fitted: jaxscale.forecast(small, ROWS, at={"N": 1e10}),
    "predict": lambda fitted: jaxscale.laplace(fitted, num_samples=4).predict(N=1e10),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_tracer_leaks(call: Callable[[jaxscale.Fit], Any], fitted: jaxscale.Fit) -> None:
    # What other tests have traced would not be traced here.
    jaxscale.clear_cache()
    with jax.checking_leaks():
        jax.block_until_ready(call(fitted))
