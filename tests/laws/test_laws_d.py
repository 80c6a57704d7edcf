"""Limits, slopes and reductions of the laws of tasks, skills, sampling and reinforcement."""

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
N = np.geomspace(1e7, 1e11, 9)
K = np.geomspace(1.0, 1e4, 9)
LOOSE = dict(rtol=5e-3)


def log_log_slope(law, x, **params):
    return jax.grad(lambda u: jnp.log(law(jnp.exp(u), **params)))(float(np.log(x)))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("rpj", dict(eps=0.85699, k=2.2065, gamma=0.71459)),
        ("c4_original", dict(eps=0.84974, k=2.0789, gamma=0.75612)),
    ],
)
def test_error_exp_loss_is_least_squares_on_the_published_runs(data: Path, name: str, params: dict) -> None:
    with open(data / "overtraining.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["dataset"] == name and float(r["in_published_error_fit"]) == 1]
    loss, error = (np.array([float(row[key]) for row in rows]) for key in ("loss_c4_eval", "error_avg_17"))

    def residuals(z):
        return laws.get("error_exp_loss")(loss, **dict(zip(params, z, strict=True))) - error

    z = np.array(list(params.values()))
    step = np.linalg.lstsq(np.asarray(jax.jacfwd(residuals)(z)), -np.asarray(residuals(z)), rcond=None)[0]
    np.testing.assert_allclose(step, 0.0, atol=1e-3 * np.abs(z).max())


def test_error_exp_loss_ends_at_its_chance_level() -> None:
    params = dict(eps=0.85, k=2.2, gamma=0.7)
    error = laws.get("error_exp_loss")
    np.testing.assert_allclose(error(200.0, **params), 0.85, rtol=1e-12)
    perplexity = np.array([5.0, 50.0])
    np.testing.assert_allclose(error(np.log(perplexity), **params), 0.85 - 2.2 * perplexity**-0.7, rtol=1e-12)


def test_accuracy_sigmoid_loss_between_ceiling_and_chance() -> None:
    params = dict(a=-0.5, k=4.0, L0=1.2, b=0.75)
    accuracy = laws.get("accuracy_sigmoid_loss")
    np.testing.assert_allclose(accuracy(np.array([-50.0, 1.2, 50.0]), **params), [0.75, 0.5, 0.25], rtol=1e-12)
    turned = dict(a=0.5, k=-4.0, L0=1.2, b=0.25)
    L = np.linspace(0.5, 3.0, 7)
    np.testing.assert_allclose(accuracy(L, **turned), accuracy(L, **params), rtol=1e-12)


def test_one_step_ladders_are_compositions() -> None:
    loss, D = dict(E=1.8, A=480.0, alpha=0.35, B=2000.0, beta=0.36), 20 * N
    k, L0 = 3.0, 2.4
    two = laws.get("accuracy_sigmoid_loss")(laws.get("chinchilla")(N, D, **loss), a=-0.6, k=k, L0=L0, b=0.9)
    scaled = dict(loss, A=k * loss["A"], B=k * loss["B"], E=k * (loss["E"] - L0))
    np.testing.assert_allclose(laws.get("ladder_one_step_nd")(N, D, a=-0.6, b=0.9, **scaled), two, rtol=1e-12)
    floor = laws.get("power_law_floor")(N, c=0.5, a=40.0, b=0.2)
    two = laws.get("accuracy_sigmoid_loss")(floor, a=-0.6, k=1.0, L0=0.0, b=0.9)
    one = laws.get("ladder_one_step_c")(N, a=-0.6, b=0.9, A=40.0, alpha=0.2, E=0.5)
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_logarithmic_trends_gain_the_same_at_every_scale() -> None:
    trend = laws.get("acc_log_n")
    np.testing.assert_allclose(trend(10 * N, a=-3.0, b=5.0) - trend(N, a=-3.0, b=5.0), 5.0, rtol=1e-12)
    np.testing.assert_allclose(trend(10.0 ** ((40 + 3) / 5), a=-3.0, b=5.0), 40.0, rtol=1e-12)


def test_performance_law_gains_nothing_past_saturation() -> None:
    law, weights = laws.get("performance_law"), dict(b=1.0, w1=2.0, w2=3.0, w3=4.0, w4=5.0)
    assert law(32.0, 4096.0, 11008.0, 2e13, 1e13, **weights) == law(32.0, 4096.0, 11008.0, 1e13, 1e13, **weights)
    assert law(32.0, 4096.0, 11008.0, 5e12, 1e13, **weights) < law(32.0, 4096.0, 11008.0, 1e13, 1e13, **weights)


def test_without_weights_skills_do_not_matter() -> None:
    skills = np.linspace(-3, 3, 5)
    flat = laws.get("observational_skill2")(skills, -skills, h=0.8, alpha0=0.3, beta1=0.0, beta2=0.0)
    np.testing.assert_allclose(flat, 0.8 / (1 + np.exp(-0.3)), rtol=1e-13)


def test_sloth_lies_between_guessing_and_everything() -> None:
    theta = np.array([-50.0, 0.0, 50.0])
    found = laws.get("sloth2")(theta, theta, c=0.25, b=0.0, Lam1=1.0, Lam2=0.5)
    np.testing.assert_allclose(found, [0.25, 0.625, 1.0], rtol=1e-12)


def test_one_benchmark_of_sloth_is_its_skill_in_its_link() -> None:
    skill, t = dict(alpha=0.3, beta1=0.4, beta2=0.2, beta3=0.05), 20 * N
    theta = laws.get("sloth_skill")(N, t, **skill)
    linked = laws.get("sloth1")(theta, c=0.25, b=0.0, Lam1=1.0)
    np.testing.assert_allclose(laws.get("sloth_benchmark")(N, t, c=0.25, **skill), linked, rtol=1e-13)
    np.testing.assert_allclose(laws.get("sloth_skill")(1e9, 1e12, **skill), 0.3, rtol=1e-12)


def test_equal_options_share_the_probability() -> None:
    np.testing.assert_allclose(laws.get("choice_probability[4]")(0.1, 0.1, 0.1, 0.1, 0.1), 0.2, rtol=1e-13)


def curvature(law, **params) -> np.ndarray:
    return np.diff(np.log(-np.log(law(N, **params))), 2)


def test_one_step_and_one_circuit_are_passuntil() -> None:
    single = laws.get("passuntil")(N, c=1e3, alpha=0.35)
    for name in ("passuntil_steps1", "passuntil_circuits1"):
        np.testing.assert_allclose(laws.get(name)(N, c1=1e3, alpha1=0.35), single, rtol=1e-12)
    np.testing.assert_allclose(curvature(laws.get("passuntil"), c=1e3, alpha=0.35), 0.0, atol=1e-12)
    np.testing.assert_allclose(laws.get("passuntil")(1e60, c=1e3, alpha=0.35), 1.0, rtol=1e-12)


def test_steps_are_convex_and_circuits_concave() -> None:
    steps = curvature(laws.get("passuntil_steps2"), c1=300.0, alpha1=0.3, c2=2e4, alpha2=0.5)
    np.testing.assert_allclose([steps.min(), steps.max()], [0.01155, 0.01322], rtol=1e-3)
    circuits = curvature(laws.get("passuntil_circuits2"), c1=1e3, alpha1=0.35, c2=1e2, alpha2=0.2)
    np.testing.assert_allclose([circuits.min(), circuits.max()], [-0.02378, -0.01683], rtol=1e-3)


def test_the_mirage_is_passuntil_for_one_token() -> None:
    accuracy = laws.get("mirage_accuracy")(N, 1.0, c=1e8, alpha=-0.3)
    np.testing.assert_allclose(accuracy, laws.get("passuntil")(N, c=1e8**0.3, alpha=0.3), rtol=1e-12)
    edit = laws.get("mirage_edit")
    np.testing.assert_allclose(edit(N, 1.0, c=1e8, alpha=-0.3), 1 - accuracy, rtol=1e-12)
    np.testing.assert_allclose(edit(N, 7.0, c=1e8, alpha=-0.3), 7 * (1 - accuracy), rtol=1e-12)


def test_parity_of_speech_and_text() -> None:
    compute = laws.get("speech_skill_compute")
    ratio = (0.04 / 0.01) ** (1 / 0.1)
    np.testing.assert_allclose(compute(1e20 * ratio, k=0.01, g=0.1), compute(1e20, k=0.04, g=0.1), rtol=1e-12)


def test_negation_turns_accuracy_over() -> None:
    law, x = laws.get("negation_composite"), np.array([-1.0, 0.0, 1.0])
    a = 0.6 + 0.2 * x
    for x0, expected in ((100.0, 1 - a), (-100.0, a)):
        np.testing.assert_allclose(law(x, a0=0.6, a1=0.2, k=5.0, x0=x0), expected, rtol=1e-12)
    np.testing.assert_allclose(law(1.0, a0=np.array([-3.0, 0.6, 3.0]), a1=0.2, k=5.0, x0=1.0), 0.5, rtol=1e-12)


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


ANSWERS = (0.5, 1.0, 0.2, -0.4, 0.3, 0.6)


def test_the_tilted_answers_share_all_probability() -> None:
    tilt = laws.get("kl_tilt2")
    turns = [ANSWERS, ANSWERS[2:] + ANSWERS[:2], ANSWERS[4:] + ANSWERS[:4]]
    np.testing.assert_allclose(sum(float(tilt(*turn, beta=0.7)) for turn in turns), 1.0, rtol=1e-13)
    np.testing.assert_allclose(laws.get("kl_tilt1")(0.5, 0.0, 0.5, 1.0, beta=1.0), 0.2689, rtol=1e-3)
    np.testing.assert_allclose(tilt(*ANSWERS, beta=1e12), 0.5, rtol=1e-9)
    np.testing.assert_allclose(laws.get("kl_tilt_kl2")(*ANSWERS, beta=1e6), 0.0, atol=1e-12)


def test_a_nat_of_distance_buys_beta_of_reward() -> None:
    reward, distance = (laws.get(f"kl_tilt_{name}2") for name in ("reward", "kl"))
    for beta in (0.3, 1.0, 4.0):
        slopes = [jax.grad(lambda b, law=law: law(*ANSWERS, beta=b))(beta) for law in (reward, distance)]
        np.testing.assert_allclose(slopes[0] / slopes[1], beta, rtol=1e-9)
        assert slopes[1] < 0
