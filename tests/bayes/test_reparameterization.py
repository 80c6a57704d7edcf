"""Reparameterisation of floor and terms: inverse, determinant, and the laws that have it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.bayes.model import _log_volume
from jaxscale.bayes.reparameterization import Ridge, from_ridge, ridge_of, to_ridge


def of(name: str, *fixed: str) -> Ridge | None:
    law = laws.get(name)
    return ridge_of(law, [p for p in law.parameters if p not in fixed], lambda _: True)


def test_floor_terms_and_exponents_are_found() -> None:
    assert of("chinchilla") == Ridge(0, (1, 3), ((2, (1,)), (4, (3,))))
    assert of("chinchilla_tied") == Ridge(0, (1, 2), ((3, (1, 2)),))
    assert of("chinchilla", "alpha", "A") == Ridge(0, (1,), ((2, (1,)),))
    assert of("chinchilla", "E") is None
    assert of("kaplan_nd") is None


@pytest.mark.parametrize("name", ["chinchilla", "chinchilla_tied", "power_law_floor"])
def test_reparameterization_inverts_with_unit_determinant(name: str, x64: None) -> None:
    ridge = of(name)
    assert ridge is not None
    z = jnp.asarray(np.random.default_rng(0).normal(size=7))
    there = functools.partial(to_ridge, ridge)
    back, slopes = jax.jit(lambda z: (from_ridge(ridge, there(z)), jax.jacfwd(there)(z)))(z)
    np.testing.assert_allclose(back, z, rtol=1e-13, atol=1e-13)
    assert np.linalg.det(np.asarray(slopes)) == pytest.approx(1.0, abs=1e-12)


def test_the_coordinates_are_level_ratios_and_slopes(x64: None) -> None:
    ridge = of("chinchilla")
    assert ridge is not None
    E, A, alpha, B, beta = 1.8, 0.3, 0.34, 0.4, 0.28
    x = np.asarray(to_ridge(ridge, jnp.log(jnp.asarray([E, A, alpha, B, beta]))))
    expected = np.log([E + A + B, A / E, alpha * A, B / E, beta * B])
    np.testing.assert_allclose(x, expected, rtol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_volume_of_a_map_and_its_slope(size: int, x64: None) -> None:
    matrices = np.random.default_rng(size).normal(size=(20, size, size))
    if size > 1:
        matrices[0, 0, 0] = 0.0
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(_log_volume)))(matrices)
    np.testing.assert_allclose(values, np.linalg.slogdet(matrices)[1], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(slopes, np.linalg.inv(matrices).transpose(0, 2, 1), rtol=1e-7, atol=1e-9)
