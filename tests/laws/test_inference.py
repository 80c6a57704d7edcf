"""Laws of inference: limits, slopes, reductions and fits to published data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
K = np.geomspace(1.0, 1e4, 9)
N = np.geomspace(1e7, 1e11, 9)


def test_pass_at_k_of_many_problems() -> None:
    p = dict(p1=0.1, p2=0.5, p3=0.9)
    np.testing.assert_allclose(laws.get("pass_at_k_mean3")(1.0, **p), 0.5, rtol=1e-13)
    single = np.mean([laws.get("pass_at_k_mean1")(K, p1=value) for value in p.values()], axis=0)
    np.testing.assert_allclose(laws.get("pass_at_k_mean3")(K, **p), single, rtol=1e-13)


def test_pass_at_k_is_safe_where_success_is_certain() -> None:
    value, slope = jax.value_and_grad(lambda p: laws.get("pass_at_k_mean1")(3.0, p1=p))(1.0)
    np.testing.assert_allclose(value, 1.0, rtol=1e-13)
    assert np.isfinite(slope)


def test_pass_at_k_unbiased_at_its_ends() -> None:
    law = laws.get("pass_at_k_unbiased")
    assert float(law(10.0, 0.0, 5.0)) == 0.0
    s = np.array([6.0, 8.0, 10.0])
    np.testing.assert_array_equal(law(10.0, s, 5.0), 1.0)
    slopes = jax.vmap(jax.grad(law, argnums=(0, 1, 2)), in_axes=(None, 0, None))(10.0, np.array([0.0, 5.0, 10.0]), 5.0)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)
    n, p = 50, 0.3
    weights = np.array([1.0])
    for _ in range(n):
        weights = np.convolve(weights, [1 - p, p])
    mean = weights @ np.asarray(law(float(n), np.arange(n + 1.0), 7.0))
    np.testing.assert_allclose(mean, laws.get("pass_at_k_mean1")(7.0, p1=p), rtol=1e-9)


def test_coverage_in_its_straight_axes() -> None:
    coverage = laws.get("coverage_exp_power")
    line = np.log(-np.log(coverage(K, a=-2.0, b=0.3)))
    np.testing.assert_allclose(line, np.log(2) - 0.3 * np.log(K), rtol=1e-10)
    np.testing.assert_allclose(coverage(1e60, a=-2.0, b=0.3), 1.0, rtol=1e-12)


def log_log_slope(law, x, **params):
    return jax.grad(lambda u: jnp.log(law(jnp.exp(u), **params)))(float(np.log(x)))


def test_failures_of_the_beta_binomial_die_out_as_a_power() -> None:
    law, params = laws.get("coverage_beta_binomial"), dict(a=0.5, b=2.0)
    np.testing.assert_allclose(log_log_slope(lambda k, **p: 1 - law(k, **p), 1e6, **params), -0.5, rtol=1e-4)
    np.testing.assert_allclose(law(1.0, a=1.3, b=4.0), 1.3 / 5.3, rtol=1e-12)


def test_a_verifier_that_never_errs_leaves_pass_at_k() -> None:
    law = laws.get("imperfect_verifier")
    np.testing.assert_allclose(law(K, p=0.3, q=0.0), laws.get("pass_at_k_mean1")(K, p1=0.3), rtol=1e-12)
    value, slope = jax.value_and_grad(lambda p: law(7.0, p=p, q=0.0))(0.0)
    assert (float(value), float(slope)) == (0.0, 7.0)
    np.testing.assert_allclose(law(7.0, p=1e-12, q=0.0), 7e-12, rtol=1e-6)
    assert np.isfinite(jax.grad(lambda p: law(7.0, p=p, q=0.4))(0.6))


def test_the_best_number_of_samples() -> None:
    law, params = laws.get("verifier_utility"), dict(p=0.3, q=0.05, c_fp=2.0, c_s=0.01)
    best = np.log(-0.01 * 0.35 / ((0.3 - 2 * 0.05) * np.log(0.65))) / np.log(0.65)
    np.testing.assert_allclose(best, 7.436, rtol=1e-3)
    np.testing.assert_allclose(jax.grad(lambda k: law(k, **params))(best), 0.0, atol=1e-12)
    assert int(np.argmax(law(np.arange(1.0, 30.0), **params))) + 1 == 7
    right = laws.get("imperfect_verifier")(K, p=0.3, q=0.05)
    wrong = right - law(K, p=0.3, q=0.05, c_fp=1.0, c_s=0.0)
    np.testing.assert_allclose(right + wrong, 1 - 0.65**K, rtol=1e-12)


def test_four_times_the_tokens_double_the_gap() -> None:
    law = laws.get("verifier_gap_sqrt")
    np.testing.assert_allclose(law(4 * N, c=0.3), 2 * law(N, c=0.3), rtol=1e-13)


def test_the_linear_part_of_the_kinetics_cost() -> None:
    linear = laws.get("kinetics_cost")(8e9, 1.0, 1024.0, 8192.0, 0.0, 4.0, I=562.5)
    np.testing.assert_allclose(linear, 1.311e14, rtol=1e-3)


def test_retrieval_without_a_shift_is_a_line_in_the_log() -> None:
    law = laws.get("retrieval_chain_log")
    np.testing.assert_allclose(law(K, a=2.0, b=0.0, c=1.0), 2 * np.log(K) + 1, rtol=1e-13)
    np.testing.assert_allclose(jax.grad(lambda x: law(x, a=2.0, b=30.0, c=1.0))(70.0), 2 / 100, rtol=1e-12)


def test_agents_between_few_and_many() -> None:
    n = np.array([1e-30, np.exp(2.0), 1e30])
    found = laws.get("agents_logistic")(n, alpha=0.4, beta=1.5, gamma=2.0, delta=0.1)
    np.testing.assert_allclose(found, [0.1, 0.3, 0.5], rtol=1e-12)
