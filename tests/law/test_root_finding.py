"""The root of a monotone equation against a root finder with implicit derivatives, and against closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

from jaxscale.law.root_finding import bracketed_root

pytestmark = pytest.mark.usefixtures("x64")
POINTS = np.array([[0.3, 1.5], [2.0, 0.4], [5.0, 3.0]])


def kepler(x: Any, theta: Any) -> Any:
    return x + theta[0] * jnp.tanh(theta[1] * x) + x**3 / theta[1] - 4.0


@jax.jit
def ours(theta: Any) -> Any:
    return bracketed_root(lambda x: kepler(x, theta), 0.0, 10.0)


@jax.jit
def theirs(theta: Any) -> Any:
    finder = optimistix.Newton(rtol=1e-13, atol=1e-13)
    return optimistix.root_find(kepler, finder, jnp.asarray(1.0), args=theta, max_steps=256).value


SLOPES = {
    "ours, backwards": jax.jit(jax.grad(ours)),
    "ours, forwards": jax.jit(jax.jacfwd(ours)),
    "theirs": jax.jit(jax.grad(theirs)),
}


@pytest.mark.parametrize("theta", POINTS)
def test_value_and_gradient_are_those_of_a_root_finder(theta: np.ndarray) -> None:
    np.testing.assert_allclose(ours(theta), theirs(theta), rtol=1e-13)
    expected = SLOPES["theirs"](theta)
    np.testing.assert_allclose(SLOPES["ours, backwards"](theta), expected, rtol=1e-12)
    np.testing.assert_allclose(SLOPES["ours, forwards"](theta), expected, rtol=1e-12)


def test_hessian_is_that_of_a_root_finder() -> None:
    expected = jax.jit(jax.hessian(theirs))(POINTS[0])
    np.testing.assert_allclose(jax.jit(jax.hessian(ours))(POINTS[0]), expected, rtol=1e-11)
    np.testing.assert_allclose(jax.jit(jax.jacrev(jax.grad(ours)))(POINTS[0]), expected, rtol=1e-11)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rising_and_falling_equations_have_the_derivatives_of_the_closed_form(sign: float) -> None:
    def root(c: Any) -> Any:
        return bracketed_root(lambda x: sign * (jnp.exp(x) - c), -50.0, 50.0)

    c = np.array([1e-8, 0.5, 1.0, 3e7])
    np.testing.assert_allclose(jax.jit(root)(c), np.log(c), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(root)))(c), 1 / c, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.hessian(root)))(c), -1 / c**2, rtol=1e-11)


def test_it_works_on_arrays_under_vmap_and_jit() -> None:
    loop = [float(ours(theta)) for theta in POINTS]
    np.testing.assert_allclose(jax.jit(jax.vmap(ours))(POINTS), loop, rtol=1e-14)
    np.testing.assert_allclose(ours(POINTS.T), loop, rtol=1e-14)
    wide = bracketed_root(lambda x: x - POINTS, np.zeros((1, 2)), np.full((3, 1), 10.0))
    np.testing.assert_allclose(wide, POINTS, rtol=1e-14)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_root_at_an_end_of_the_bracket_is_found(target: float) -> None:
    np.testing.assert_allclose(bracketed_root(lambda x: x - target, 0.0, 1.0), target, atol=1e-15)


def test_a_bracket_of_no_width_is_its_root() -> None:
    assert float(bracketed_root(lambda x: jnp.log(x), 1.0, 1.0)) == 1.0


def test_single_precision_follows_the_caller() -> None:
    with jax.enable_x64(False):
        root = bracketed_root(lambda x: x * x - jnp.float32(2.0), 0.0, 2.0)
        assert root.dtype == np.float32
        np.testing.assert_allclose(root, np.sqrt(2), rtol=3e-7)
