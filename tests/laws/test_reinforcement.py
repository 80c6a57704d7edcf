"""Laws of reinforcement: limits, slopes, reductions and fits to published data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
N = np.geomspace(1e7, 1e11, 9)
K = np.geomspace(1.0, 1e4, 9)
ANSWERS = (0.5, 1.0, 0.2, -0.4, 0.3, 0.6)


@pytest.mark.parametrize(("name", "d", "height"), [("overopt_bon", 2.5, 1.25), ("overopt_rl", np.exp(4.0), 10.92)])
def test_over_optimisation_peaks(name: str, d: float, height: float) -> None:
    def reward(x):
        return laws.get(name)(x, alpha=1.0, beta=0.2)

    np.testing.assert_allclose([jax.grad(reward)(d), reward(d)], [0.0, height], rtol=1e-3, atol=1e-12)
    assert float(reward(0.0)) == 0.0 and np.isfinite(jax.grad(reward)(0.0))


def test_over_optimisation_by_size_is_the_law_of_its_coefficients() -> None:
    d, lines = np.array([0.0, 1.0, 5.0]), dict(u_a=1.0, v_a=0.02, u_b=0.5, v_b=-0.015)
    line = laws.get("overopt_coeff_log")
    alpha, beta = line(1e8, u=1.0, v=0.02), line(1e8, u=0.5, v=-0.015)
    for name in ("bon", "rl"):
        one = laws.get(f"overopt_{name}")(d, alpha=alpha, beta=beta)
        np.testing.assert_allclose(laws.get(f"overopt_coeff_log_{name}")(d, 1e8, **lines), one, rtol=1e-12)
    np.testing.assert_array_equal(line(N, u=0.4, v=0.0), 0.4)


def test_rl_sigmoid_from_start_to_ceiling() -> None:
    found = laws.get("rl_sigmoid")(np.array([1e-30, 1e3, 1e60]), R0=0.2, A=0.6, C_mid=1e3, B=1.5)
    np.testing.assert_allclose(found, [0.2, 0.4, 0.6], rtol=1e-12)


def log_log_slope(law, x, **params):
    return jax.grad(lambda u: jnp.log(law(jnp.exp(u), **params)))(float(np.log(x)))


@pytest.mark.parametrize(("size", "slope"), [(1e30, -0.3), (1e9, -0.15), (3e9, -0.225)])
def test_the_slope_of_rl_by_size(size: float, slope: float) -> None:
    law = laws.get("rl_power_by_size")
    found = log_log_slope(lambda X, **p: law(size, X, **p), 1e5, K_max=0.3, N0=1e9, E=0.2)
    np.testing.assert_allclose(found, slope, rtol=1e-9)


def test_tied_intercepts_of_rl_by_size() -> None:
    tied = laws.get("rl_power_by_size_tied")(N, 1e20, C0=50.0, r=0.8, K_max=0.3, N0=1e9)
    E = 0.3 * N / (N + 1e9) * np.log(50.0 * N**0.8)
    np.testing.assert_allclose(tied, laws.get("rl_power_by_size")(N, 1e20, K_max=0.3, N0=1e9, E=E), rtol=1e-12)


def test_reward_for_entropy() -> None:
    def reward(H):
        return laws.get("entropy_reward")(H, a=0.2, b=0.9)

    np.testing.assert_allclose([reward(0.0), jax.grad(reward)(1.0)], [0.7, -0.2 * np.e], rtol=1e-12)


def test_limits_of_value_based_learning() -> None:
    data = laws.get("value_rl_data")
    params = dict(D_min=1e5, beta_J=1e10, alpha_J=0.5)
    np.testing.assert_allclose(data(np.array([1e60, 1e10]), **params), [1e5, 1e5 + 1], rtol=1e-12)
    batch, rate = laws.get("value_rl_hp_batch"), laws.get("value_rl_hp_rate")
    np.testing.assert_allclose([batch(7.0, b1=7.0, b2=0.3), rate(7.0, e1=7.0, e2=0.3)], 1.0, rtol=1e-13)
    np.testing.assert_allclose(batch(10.0, b1=1e8, b2=0.3) / batch(1.0, b1=1e8, b2=0.3), 0.5012, rtol=1e-3)
    np.testing.assert_allclose(rate(10.0, e1=1e-8, e2=0.3) / rate(1.0, e1=1e-8, e2=0.3), 0.5012, rtol=1e-3)


def test_the_budget_of_value_based_learning_has_its_minimum_inside() -> None:
    sigma = np.geomspace(0.1, 10.0, 20001)
    params = dict(b1=256 ** (1 / 0.3), b2=0.3, D_min=1e5, beta_J=1e10, alpha_J=0.5)
    budget = laws.get("value_rl_compute_budget")(sigma, 1e6, delta=5e9, **params)
    np.testing.assert_allclose([sigma[np.argmin(budget)], np.min(budget)], [1.078, 1.511e15], rtol=1e-3)
    compute = laws.get("value_rl_compute")(sigma, 1e6, **params)
    data = laws.get("value_rl_data")(sigma, **{key: params[key] for key in ("D_min", "beta_J", "alpha_J")})
    batch = laws.get("value_rl_hp_batch")(sigma, b1=params["b1"], b2=0.3)
    np.testing.assert_allclose(compute, 10 * 1e6 * batch * sigma * data, rtol=1e-12)


def test_a_flat_preference_curve_and_a_falling_one() -> None:
    law = laws.get("preference_power")
    np.testing.assert_allclose(law(N, X_c=1e12, alpha=0.0), 1.0, rtol=1e-13)
    np.testing.assert_allclose(log_log_slope(law, 1e8, X_c=1e12, alpha=0.2), -0.2, rtol=1e-12)


def test_four_times_the_agents_halve_the_gap_above_its_floor() -> None:
    law = laws.get("subsample_gap")
    np.testing.assert_allclose(law(4 * K, c=2.0, eps=0.1) - 0.1, (law(K, c=2.0, eps=0.1) - 0.1) / 2, rtol=1e-12)


def test_the_tilted_answers_share_all_probability() -> None:
    tilt = laws.get("kl_tilt2")
    turns = [ANSWERS, ANSWERS[2:] + ANSWERS[:2], ANSWERS[4:] + ANSWERS[:4]]
    np.testing.assert_allclose(sum(float(tilt(*turn, beta=0.7)) for turn in turns), 1.0, rtol=1e-13)
    np.testing.assert_allclose(laws.get("kl_tilt1")(0.5, 0.0, 0.5, 1.0, beta=1.0), 0.2689, rtol=1e-3)
    np.testing.assert_allclose(tilt(*ANSWERS, beta=1e12), 0.5, rtol=1e-9)
    np.testing.assert_allclose(laws.get("kl_tilt_kl2")(*ANSWERS, beta=1e6), 0.0, atol=1e-12)


def test_reward_grows_by_beta_per_nat_of_divergence() -> None:
    reward, distance = (laws.get(f"kl_tilt_{name}2") for name in ("reward", "kl"))
    for beta in (0.3, 1.0, 4.0):
        slopes = [jax.grad(lambda b, law=law: law(*ANSWERS, beta=b))(beta) for law in (reward, distance)]
        np.testing.assert_allclose(slopes[0] / slopes[1], beta, rtol=1e-9)
        assert slopes[1] < 0
