"""Limits and reductions of laws of trajectories, vision, other domains and theory."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")


def slope(name: str, at: float, /, *others: float, **params: float) -> float:
    """The slope of the log response in the log of the first input."""
    law = laws.get(name)
    return float(jax.grad(lambda u: jnp.log(law(jnp.exp(u), *others, **params)))(math.log(at)))


ANY_SPECTRA = dict(a=1.5, b=1.4)
EARLY_SPECTRA = dict(a=1.5, b=0.8)
SLOPES: dict[str, tuple[str, tuple[float, ...], Mapping[str, float], float]] = {
    "loss of diffusion": ("dit_scaling_l", (1e21,), dict(a=2.0, b=0.03), -0.03),
    "distance of diffusion": ("dit_scaling_fid", (1e21,), dict(a=200.0, b=0.2), -0.2),
    "contrastive": ("clip_pareto", (1e20,), dict(beta=30.0, alpha=-0.11), -0.11),
    "codec": ("image_codec_power", (1e8,), dict(X_c=1e4, alpha=0.05), -0.05),
    "shapes": ("ar3d_power", (1e8,), dict(beta=1e-12, alpha=-0.2), -0.2),
    "alignment": ("t2i_power", (1e8,), dict(a=0.1, b=0.05), 0.05),
    "perception": ("perception_diffusion_power", (1e18,), dict(a=3.0, b=0.1), -0.1),
    "synthetic images": ("synthetic_images_log", (1e6,), dict(A=20.0, k=0.13), -0.13),
    "adversary": ("adversarial_eps_power", (1e-3,), dict(A=5.0, b=0.95), 0.95),
    "world model": ("world_model_frontier", (1e18,), dict(c0=20.0, c=0.06), -0.06),
    "tokens of diffusion": ("dit_scaling_d", (1e21,), dict(d0=180.0, p=0.43), 0.43),
    "ample other resource": ("variance_limited", (1e3,), dict(L_inf=0.0, c=7.0), -1.0),
    "eight dimensions": ("resolution_limited", (1e3,), dict(X_c=10.0, alpha=4 / 8), -0.5),
    "ensemble": ("lottery_ticket", (1e3,), dict(c=7.0), -1.0),
    "one dimension": ("lottery_ticket_theory", (1e3,), dict(c=7.0, d=1.0), -4.0),
    "weak, 2": ("superposition_exponent_weak", (100.0,), dict(c=3.0, a=2.0), -1.0),
    "strong": ("superposition_exponent_strong", (100.0,), dict(c=3.0), -1.0),
    "rival, 2": ("superposition_exponent_rival", (100.0,), dict(c=3.0, a=2.0), -2.0),
    "weak, 1.5": ("superposition_exponent_weak", (100.0,), dict(c=3.0, a=1.5), -0.5),
    "rival, 1.5": ("superposition_exponent_rival", (100.0,), dict(c=3.0, a=1.5), -1.0),
    "free superposition": ("superposition_exponent", (100.0,), dict(c=3.0, s=0.8), -0.8),
    "two functions": ("composition_min", (1e3, 3.0, 1.0, 8.0, 4.0), dict(c=2.0), -0.25),
    "two functions, inner": ("composition_min", (1e3, 3.0, 9.0, 8.0, 4.0), dict(c=2.0), -0.375),
    "two smooth functions": ("composition_min", (1e3, 30.0, 9.0, 8.0, 4.0), dict(c=2.0), -0.5),
    "time": ("dynamical_exponents_t", (1e3,), dict(E=0.0, c=2.0, **ANY_SPECTRA), -0.5 / 1.4),
    "size": ("dynamical_exponents_n", (1e3,), dict(E=0.0, c=2.0, **ANY_SPECTRA), -0.5),
    "size, other branch": ("dynamical_exponents_n", (1e3,), dict(E=0.0, c=2.0, a=3.0, b=0.6), -1.2),
    "data": ("dynamical_exponents_p", (1e3,), dict(E=0.0, c=2.0, **ANY_SPECTRA), -0.5),
    "best size": ("dynamical_exponents_n_opt", (1e9,), dict(c=2.0, **ANY_SPECTRA), 0.4167),
    "best time": ("dynamical_exponents_t_opt", (1e9,), dict(c=2.0, **ANY_SPECTRA), 0.5833),
    "best loss": ("dynamical_exponents_l_opt", (1e9,), dict(E=0.0, c=2.0, **ANY_SPECTRA), -0.2083),
    "best size, equal": ("dynamical_exponents_n_opt", (1e9,), dict(c=2.0, **EARLY_SPECTRA), 1 / 1.8),
    "best time, equal": ("dynamical_exponents_t_opt", (1e9,), dict(c=2.0, **EARLY_SPECTRA), 0.8 / 1.8),
    "best loss, equal": ("dynamical_exponents_l_opt", (1e9,), dict(E=0.0, c=2.0, **EARLY_SPECTRA), -0.5 / 1.8),
    "temperature": ("sgd_noise", (1e4,), dict(c=3.0, a=0.5), -0.5),
    "change of weights": ("sgd_noise_change", (1e-3, 1e4), dict(c=3.0, delta=0.6, gamma=0.4), 0.6),
    "boundary": ("fractal_boundary", (1e-3,), dict(c=3.0, D_f=1.4), -1.4),
    "slow run": ("loss_deceleration", (1e5,), dict(L_d=3.0, t_d=5e3, r_d=0.03), -0.03),
    "before the break": ("one_break_trajectory", (1.0,), dict(b=9.0, c0=0.3, c1=-0.25, t_d=5e3, f=0.2), -0.3),
    "after the break": ("one_break_trajectory", (1e9,), dict(b=9.0, c0=0.3, c1=-0.25, t_d=5e3, f=0.2), -0.05),
    "increment": ("sample_increment", (1e3,), dict(c=2.0), -1.0),
}


@pytest.mark.parametrize("case", SLOPES)
def test_log_log_slopes(case: str) -> None:
    name, inputs, params, expected = SLOPES[case]
    np.testing.assert_allclose(slope(name, *inputs, **params), expected, rtol=2e-4)


TRAJECTORY = laws.get("trajectory_implicit").published["kaplan2020"]
N, S, B = (column.ravel() for column in np.meshgrid([1e6, 1e9, 1e12], [1e3, 1e5, 1e7], [1e4, 1e6, 1e9]))


def at_large_batch(p: Mapping[str, float]) -> Any:
    return (p["N_c"] / N) ** p["a_N"] + (p["S_c"] / S) ** p["a_S"]


def test_the_trajectory_solves_its_equation() -> None:
    p = TRAJECTORY
    L = laws.get("trajectory_implicit")(N, S, B, **p)
    critical = p["B_star"] / L ** (1 / p["a_B"])
    right = (p["N_c"] / N) ** p["a_N"] + (p["S_c"] / (S / (1 + critical / B))) ** p["a_S"]
    np.testing.assert_allclose(L, right, rtol=1e-12)
    assert np.all(L > at_large_batch(p))


def test_the_trajectory_at_a_large_batch_is_the_law_of_size_and_steps() -> None:
    limit = laws.get("trajectory_implicit")(N, S, 1e30, **TRAJECTORY)
    np.testing.assert_allclose(limit, at_large_batch(TRAJECTORY), rtol=1e-12)


def test_the_trajectory_is_solved_in_single_precision() -> None:
    exact = laws.get("trajectory_implicit")(N, S, B, **TRAJECTORY)
    with jax.enable_x64(False):
        narrow = [np.asarray(column, np.float32) for column in (N, S, B)]
        np.testing.assert_allclose(laws.get("trajectory_implicit")(*narrow, **TRAJECTORY), exact, rtol=1e-5)


BETWEEN = dict(e_inf=0.1, e_0=1.0, b=10.0, c=-0.5)
X = np.geomspace(1e-3, 1e9, 25)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1.0, 3.0])
def test_the_error_between_ceiling_and_floor_solves_its_equation(alpha: float) -> None:
    error = laws.get("implicit_sigmoid_power")(X, alpha=alpha, **BETWEEN)
    assert np.all((error > 0.1) & (error <= 1.0)) and np.all(np.diff(error) <= 0)
    inside = error < 0.999
    left = (error - 0.1) / (1.0 - error) ** alpha
    np.testing.assert_allclose(left[inside], 10.0 * X[inside] ** -0.5, rtol=1e-8)


def test_the_error_has_a_closed_form_where_alpha_is_1() -> None:
    z = 10.0 * X**-0.5
    expected = (0.1 + z * 1.0) / (1 + z)
    np.testing.assert_allclose(laws.get("implicit_sigmoid_power")(X, alpha=1.0, **BETWEEN), expected, rtol=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 1e-9])
def test_without_the_ceiling_the_power_law_with_a_floor_remains(alpha: float) -> None:
    x = np.geomspace(200.0, 1e9, 9)
    expected = laws.get("power_law_floor")(x, c=0.1, a=10.0, b=0.5)
    np.testing.assert_allclose(laws.get("implicit_sigmoid_power")(x, alpha=alpha, **BETWEEN), expected, rtol=1e-6)


def test_power_and_level_of_slow_runs_follow_the_size_of_the_model() -> None:
    sets = laws.get("loss_deceleration").published.values()
    log_N = np.log([14e6, 144e6, 472e6, 1e9, 7e9])
    for name, expected in (("r_d", 0.2263), ("L_d", -0.0689)):
        fitted = np.polyfit(log_N, np.log([entry[name] for entry in sets]), 1)[0]
        np.testing.assert_allclose(fitted, expected, rtol=1e-3)


def test_a_sharp_break_of_a_trajectory_joins_two_power_laws() -> None:
    params = dict(b=9.0, c0=0.3, c1=-0.25, t_d=5e3, f=1e-4)
    t = np.array([1e2, 4e3, 6e3, 1e6])
    expected = 9.0 * t**-0.3 * np.maximum(t / 5e3, 1.0) ** 0.25
    np.testing.assert_allclose(laws.get("one_break_trajectory")(t, **params), expected, rtol=1e-12)


def test_a_cooldown_is_flat_before_and_zero_after() -> None:
    cooldown = laws.get("wsd_sqrt_cooldown")
    n = np.array([0.0, 7e3, 8e3, 8.5e3, 1e4, 3e4])
    np.testing.assert_allclose(cooldown(n, 8e3, 2e3, eta_max=3e-4), [3e-4, 3e-4, 3e-4, 1.5e-4, 0.0, 0.0], atol=1e-18)
    rates = jax.vmap(jax.grad(lambda n: cooldown(n, 8e3, 2e3, eta_max=3e-4)))(n)
    assert np.all(np.isfinite(rates))


def test_best_size_and_tokens_of_diffusion_use_up_the_compute() -> None:
    C = 1e21
    used = laws.get("dit_scaling_n")(C, n0=9e-4, p=0.5681) * laws.get("dit_scaling_d")(C, d0=186.8535, p=0.4319)
    np.testing.assert_allclose(C / used, 5.95, rtol=1e-3)


def test_the_loss_of_video_is_chinchilla() -> None:
    params = dict(L_inf=0.3, T_c=1e7, a_T=0.3, N_c=1e6, a_N=0.2)
    sizes = np.array([1e8, 1e10]), np.array([1e10, 1e12])
    expected = laws.get("chinchilla")(*sizes, E=0.3, A=1e6**0.2, alpha=0.2, B=1e7**0.3, beta=0.3)
    np.testing.assert_allclose(laws.get("video_dit_loss")(*sizes, **params), expected, rtol=1e-13)


@pytest.mark.parametrize(("source", "rows", "expected"), [("LAION", 29, -0.10125), ("CLIP-WIT", 3, -0.16377)])
def test_power_of_contrastive_models_on_the_published_errors(
    data: Path, source: str, rows: int, expected: float
) -> None:
    with open(data / "openclip_zeroshot.csv", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["downstream_dataset"] == "imagenet1k"]
    points = [
        (math.log10(float(row["macs_total"])), math.log10(float(row["error"])))
        for row in table
        if row["upstream_dataset"].startswith(source)
    ]
    assert len(points) == rows
    log_C, log_error = np.array(points).T
    alpha, log_beta = np.polyfit(log_C, log_error, 1)
    np.testing.assert_allclose(alpha, expected, rtol=1e-4)
    predicted = laws.get("clip_pareto")(10.0**log_C, beta=10.0**log_beta, alpha=alpha)
    np.testing.assert_allclose(np.log10(predicted), log_beta + alpha * log_C, rtol=1e-12)


def test_a_shared_power_keeps_the_ratio_of_two_errors() -> None:
    sizes = np.geomspace(1e4, 1e10, 5)
    inside, outside = (laws.get("tsfm_power")(sizes, X_c=X_c, alpha_X=0.07) for X_c in (1e3, 1e5))
    np.testing.assert_allclose(outside / inside, 100.0**0.07, rtol=1e-12)


def test_laws_in_a_logarithm_add_the_same_for_every_factor() -> None:
    embedding, attack, information = map(laws.get, ("embedding_log", "attack_success_log", "mutual_info_log"))
    np.testing.assert_allclose(np.diff(embedding(np.array([64.0, 128.0]), a=0.1, b=0.03)), 0.03 * math.log(2))
    np.testing.assert_allclose(np.diff(attack(np.array([1e8, 1e9]), a=1.0, b=0.032)), -0.032)
    np.testing.assert_allclose(information(np.array([1e6, 1e7]), k=2.0, N_c=1e6), [0.0, 2.0], atol=1e-14)


def test_success_of_a_policy_becomes_certain() -> None:
    curve = laws.get("factored_curve")
    params = dict(a=0.8, b=-0.5, n_base=5.0)
    np.testing.assert_allclose(curve(1e14, **params), 1.0, rtol=1e-6)
    np.testing.assert_allclose((curve(20.0, **params) - curve(0.0, **params)) / 20, (0.84 - 0.6422) / 20, rtol=1e-3)


def test_values_at_which_a_law_is_1() -> None:
    np.testing.assert_allclose(laws.get("ar3d_power")(1e6, beta=1e-6, alpha=-0.3), 1.0)
    np.testing.assert_allclose(laws.get("resolution_limited")(1e6, X_c=1e6, alpha=0.5), 1.0)
    np.testing.assert_allclose(laws.get("attention_entropy_temp")(256.0, 256.0, 64.0, c=1.0), 1 / 8)
    np.testing.assert_allclose(laws.get("loglog_batches")(math.exp(math.e), c=1.0), 1.0)


def test_rules_halve_where_they_say_so() -> None:
    branch, edge = laws.get("branch_scale"), laws.get("edge_sharpness")
    np.testing.assert_allclose(branch(np.array([1.0, 4.0, 16.0]), **branch.published["hayou2023"]), [1.0, 0.5, 0.25])
    np.testing.assert_allclose(edge(np.array([0.5, 1.0, 2.0]), **edge.published["noci2024"]), [4.0, 2.0, 1.0])


def test_ten_times_the_samples_in_twenty_dimensions() -> None:
    few, many = laws.get("intrinsic_dimension")(np.array([1e3, 1e4]), 20.0, 5.0, c=2.0)
    np.testing.assert_allclose(many / few, 0.8913, rtol=1e-4)


def test_temperatures_collapse_with_the_samples() -> None:
    P = np.array([1e2, 1e4, 1e6])
    np.testing.assert_allclose(laws.get("sgd_noise")(P, c=3.0, a=0.4) * P**0.4, 3.0)


def test_noise_is_left_at_the_optimum() -> None:
    np.testing.assert_allclose(laws.get("abc_variance")(0.0, 0.0, A=2.0, B=3.0, C=0.7), 0.7)


PHASES = {
    "Ia": (0.8, 0.3, 0.3846, -0.4615),
    "II": (0.8, 0.7, 0.4667, -0.6667),
    "III": (0.8, 1.2, 0.5, -0.6875),
}


@pytest.mark.parametrize("phase", PHASES)
def test_phases_of_the_best_split(phase: str) -> None:
    a, b, of_size, of_risk = PHASES[phase]
    # The term of the distorted modes belongs to 2 b > 1 only.
    sizes = dict(c_F0=1.0, c_Fpp=1.0, c_Fac=1.0 if 2 * b > 1 else 1e-300, c_Kpp=1.0)
    found = []
    for log_f in (200.0, 400.0):
        log_d = np.linspace(0.2 * log_f, 0.8 * log_f, 240001)
        risk = laws.get("phases_4plus3")(np.exp(log_f - log_d), np.exp(log_d), 1.0, 1.0, a=a, b=b, **sizes)
        best = int(np.argmin(risk))
        found.append((log_d[best], math.log(risk[best])))
    np.testing.assert_allclose(np.subtract(*found[::-1]) / 200.0, [of_size, of_risk], rtol=1e-3)


def test_the_scarcer_of_features_and_samples() -> None:
    hard, smooth = laws.get("solvable_min"), laws.get("solvable_min_smooth")
    params = dict(c=3.0, alpha=0.4, M=1e5)
    sizes = np.array([1e1, 1e3, 1e4, 1e7]), np.array([1e4, 1e2, 1e4, 1e7])
    expected = 3.0 * np.array([1e1, 1e2, 1e4, 1e5]) ** -0.4
    np.testing.assert_allclose(hard(*sizes, **params), expected, rtol=1e-13)
    np.testing.assert_allclose(hard(*sizes[::-1], **params), expected, rtol=1e-13)
    np.testing.assert_allclose(smooth(*sizes, q=1e7, **params), expected, rtol=1e-7)
    np.testing.assert_allclose(smooth(*sizes[::-1], q=2.0, **params), smooth(*sizes, q=2.0, **params), rtol=1e-13)
    # At the knee both resources count.
    assert smooth(1e3, 1e3, q=2.0, c=3.0, alpha=0.4, M=1e9) / hard(1e3, 1e3, c=3.0, alpha=0.4, M=1e9) == pytest.approx(
        2**0.2
    )
