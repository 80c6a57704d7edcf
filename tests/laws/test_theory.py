"""Laws of theory: limits, slopes, reductions and fits to published data."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
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
PHASES = {
    "Ia": (0.8, 0.3, 0.3846, -0.4615),
    "II": (0.8, 0.7, 0.4667, -0.6667),
    "III": (0.8, 1.2, 0.5, -0.6875),
}


def slope(name: str, at: float, /, *others: float, **params: float) -> float:
    """The slope of the log response in the log of the first input."""
    law = laws.get(name)
    return float(jax.grad(lambda u: jnp.log(law(jnp.exp(u), *others, **params)))(math.log(at)))


@pytest.mark.parametrize("case", SLOPES)
def test_log_log_slopes(case: str) -> None:
    name, inputs, params, expected = SLOPES[case]
    np.testing.assert_allclose(slope(name, *inputs, **params), expected, rtol=2e-4)


def test_scaling_rules_halve() -> None:
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
