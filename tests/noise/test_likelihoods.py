"""Likelihoods: from the density of a residual to that of its response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.noise import likelihoods
from jaxscale.noise.losses import SPACES


@pytest.mark.parametrize("space", SPACES)
def test_a_response_has_the_density_of_its_residual_times_the_slope_of_the_space(space, x64: None) -> None:
    y = np.array([0.03, 0.4, 0.5, 0.97])
    slopes = jax.vmap(jax.grad(lambda y: SPACES[space][1](y)))(jnp.asarray(y))
    np.testing.assert_allclose(
        likelihoods.normal(space).log_jacobian(jnp.asarray(y), {}), np.log(np.abs(slopes)), atol=1e-12
    )


@pytest.mark.parametrize("space", ["log", "logit"])
def test_the_density_of_a_response_integrates_to_one(space, x64: None) -> None:
    y = np.linspace(0.0, 1.0, 200_002)[1:-1] * (3.0 if space == "log" else 1.0)
    data = {"group": np.zeros(len(y), int), "run": np.zeros(len(y), int)}
    level = jnp.full(len(y), 0.6)
    density = likelihoods.normal(space, runs=False).log_prob({"scale": jnp.asarray(0.2)}, level, y, data)
    whole = np.exp(np.asarray(density) + np.asarray(likelihoods.normal(space).log_jacobian(jnp.asarray(y), {})))
    assert np.sum(whole) * (y[1] - y[0]) == pytest.approx(1.0, abs=1e-6)
