"""Laws of other sciences: limits, slopes, reductions and fits to published data."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
MASTER = dict(J_c=1.0, nu=1.0, x=-0.125, f0=1.0, f1=0.5, f2=-0.2, f3=0.1)
H0 = dict(lam=1.0, phi=1.0, gamma=1.0)


def test_small_avalanches_follow_the_bare_power() -> None:
    sandpile = dict(a=2.0, b=2.0, c0=1.0, tau=0.5, c3=1.0, c4=2.0)
    A, L = np.array([1e-6, 1e-4]), np.array([1e3, 3e3])
    np.testing.assert_allclose(laws.get("fss_collapse")(A, L, **sandpile), A**-0.5 / L, rtol=1e-9)


def test_event_sizes_collapse_on_one_curve() -> None:
    shape = dict(a=2.0, b=2.0, c0=1.0, tau=0.5, c3=1.0, c4=2.0)
    L = np.array([16.0, 160.0, 1600.0])
    collapsed = L**2 * laws.get("fss_collapse")(0.1 * L**2, L, **shape)
    np.testing.assert_allclose(collapsed, collapsed[0], rtol=1e-12)


def test_scaled_couplings_collapse_without_corrections() -> None:
    law = laws.get("critical_fss")
    L = np.array([8.0, 64.0, 512.0])
    y = L**0.125 * law(L, 1 + 0.3 / L, **MASTER, c=0.0, omega=1.0)
    np.testing.assert_allclose(y, 1 + 0.5 * 0.3 - 0.2 * 0.3**2 + 0.1 * 0.3**3, rtol=1e-12)


def test_the_corrections_of_finite_size_scaling_are_factors() -> None:
    L, J = 64.0, 1.01
    bare = laws.get("critical_fss")(L, J, **MASTER, c=0.0, omega=1.0)
    power = laws.get("critical_fss")(L, J, **MASTER, c=0.5, omega=2.0)
    logarithm = laws.get("critical_fss_log")(L, J, **MASTER, c=0.5, p=2.0)
    np.testing.assert_allclose(power / bare, 1 + 0.5 / 64**2, rtol=1e-13)
    np.testing.assert_allclose(logarithm / bare, 1 + 0.5 / math.log(64) ** 2, rtol=1e-13)


def slope(name: str, x: float, **params: float) -> float:
    """The slope of log response in log input."""
    return float(jax.grad(lambda u: jnp.log(laws.get(name)(jnp.exp(u), **params)))(math.log(x)))


@pytest.mark.parametrize(
    ("d", "nu", "eta", "expected"),
    [(2, 1.0, 0.25, 10 / 9), (3, 0.63, 0.0363, 1.0188), (2, 5 / 6, 4 / 15, 33 / 29), (2, 2 / 3, 1 / 4, 22 / 19)],
)
def test_slope_of_the_fisher_curvature(d: int, nu: float, eta: float, expected: float) -> None:
    found = slope("fisher_curvature", 1e4, c=2.0, d=d, nu=nu, eta=eta)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_deposition_vanishes_with_all_derivatives_at_the_threshold() -> None:
    law = laws.get("essential_threshold")
    params = dict(K=1.0, c=1.0, St_c=0.125)
    assert float(law(0.125, **params)) == float(law(0.05, **params)) == 0.0
    derivative = law
    for order in range(1, 4):
        derivative = jax.grad(derivative)
        assert abs(float(derivative(0.125 + 1e-4, **params))) < 1e-20, order
        assert float(derivative(0.05, **params)) == 0.0


def test_log_efficiency_is_a_line_in_the_time_to_deposit() -> None:
    St = np.array([0.2, 0.5, 2.0])
    efficiency = laws.get("essential_threshold")(St, K=0.8, c=1.5, St_c=0.125)
    time = laws.get("essential_threshold_time")(St, T0=1.0, St_c=0.125)
    np.testing.assert_allclose(np.log(efficiency), math.log(0.8) - 1.5 * time, rtol=1e-12)
    assert float(laws.get("essential_threshold_time")(0.1, T0=1.0, St_c=0.125)) == math.inf


def test_a_fluid_at_rest_has_its_yield_stress() -> None:
    assert float(laws.get("herschel_bulkley")(0.0, sigma_y=1.3, k=0.5, n=0.5)) == 1.3


def test_the_yielding_rate_inverts_the_flow_curve() -> None:
    rate, k, n = np.geomspace(1e-3, 1e3, 7), 0.5, 0.4
    stress = laws.get("herschel_bulkley")(rate, sigma_y=1.0, k=k, n=n)
    back = laws.get("yielding_threshold_rate")(stress, r0=k ** (-1 / n), sigma_c=1.0, beta=1 / n)
    np.testing.assert_allclose(back, rate, rtol=1e-10)


def test_rate_and_length_at_the_yield_stress() -> None:
    rate, length = laws.get("yielding_threshold_rate"), laws.get("yielding_threshold_xi")
    assert float(rate(1.0, r0=4.0, sigma_c=1.0, beta=2.0)) == float(rate(0.5, r0=4.0, sigma_c=1.0, beta=2.0)) == 0.0
    assert float(rate(1 + 1e-9, r0=4.0, sigma_c=1.0, beta=2.0)) < 1e-17
    assert float(length(1 + 1e-9, x0=1.0, sigma_c=1.0, nu=1.0)) > 1e8


def test_the_q_gaussian_ends_in_a_gaussian_and_has_a_power_tail() -> None:
    law = laws.get("q_triplet_density")
    x = np.linspace(-3, 3, 7)
    for q, rtol in ((1.0, 1e-14), (1 + 1e-9, 1e-7), (1 + 2e-6, 2e-4)):
        np.testing.assert_allclose(law(x, A=2.0, q=q, b=0.7), 2 * np.exp(-0.7 * x**2), rtol=rtol)
    np.testing.assert_allclose(slope("q_triplet_density", 1e6, A=1.0, q=1.5, b=1.0), -2 / 0.5, rtol=1e-9)


def test_the_slope_of_relaxation_is_set_by_its_index() -> None:
    np.testing.assert_allclose(slope("q_triplet_correlation", 7.0, A_C=2.0, q_rel=3.0), -0.5, rtol=1e-12)


def test_the_wavelet_spectrum_of_a_random_walk_falls_by_two_a_level() -> None:
    np.testing.assert_allclose(np.diff(laws.get("wavelet_spectrum")(np.arange(1.0, 6.0), c=3.0, H=0.5)), -2.0)


def test_exponents_of_a_multifractal() -> None:
    tau, strength, dimension = (laws.get(f"multifractal_{name}") for name in ("tau", "strength", "dimension"))
    q = np.linspace(-4, 4, 9)
    assert abs(float(tau(1.0, p=0.7))) < 1e-15
    np.testing.assert_allclose(jax.vmap(jax.grad(lambda q: tau(q, p=0.7)))(q), strength(q, p=0.7), rtol=1e-12)
    np.testing.assert_allclose(dimension(q, p=0.7), q * strength(q, p=0.7) - tau(q, p=0.7), rtol=1e-12)
    np.testing.assert_allclose(tau(q, p=0.5), q - 1, atol=1e-14)
    np.testing.assert_allclose(dimension(q, p=0.5), 1.0, rtol=1e-14)
    moments = laws.get("multifractal")(0.5, q, c=1.0, p=0.7)
    np.testing.assert_allclose(moments, 0.7**q + 0.3**q, rtol=1e-12)


def test_the_peak_of_a_solar_cycle() -> None:
    law = laws.get("hathaway")
    params = dict(A=200.0, b=50.0, t0=10.0)
    t = np.linspace(10.0, 200.0, 190001)
    y = law(t, **params)
    np.testing.assert_allclose((t[np.argmax(y)] - 10) / 50, 1.0813, rtol=1e-4)
    np.testing.assert_array_equal(law(np.array([-5.0, 10.0]), **params), 0.0)
    assert float(jax.grad(law)(-5.0, **params)) == 0.0


def test_degree_tails_are_lines_in_their_axes() -> None:
    np.testing.assert_allclose(slope("degree_tail_power", 20.0, c=2.0, gamma=2.5), -2.5, rtol=1e-12)
    k = np.arange(1.0, 6.0)
    exponential = laws.get("degree_tail_exponential")(k, c=2.0, lam=0.3)
    np.testing.assert_allclose(np.diff(np.log(exponential)), -0.3, rtol=1e-12)


def test_a_tail_of_mean_log_one_half_is_most_likely_cubic() -> None:
    x = 2.0 * np.exp([0.1, 0.4, 0.5, 1.0])
    a = np.linspace(2.0, 4.0, 2001)
    likelihood = np.log(laws.get("tail_power_mle")(x[:, None], a=a, x_min=2.0)).sum(axis=0)
    np.testing.assert_allclose(a[np.argmax(likelihood)], 3.0, rtol=1e-9)


def test_a_tail_holds_all_values() -> None:
    u = np.linspace(0, 30, 300001)
    density = laws.get("tail_power_mle")(2.0 * np.exp(u), a=2.5, x_min=2.0)
    np.testing.assert_allclose(np.trapezoid(density * 2.0 * np.exp(u), u), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "power", "params"),
    [
        ("allometry", 0.25, dict(A0=2.0, k=0.25)),
        ("psd_power", -1.1, dict(c=2.0, beta=-1.1)),
        ("uv_slope", -2.8, dict(c=2.0, beta=-2.8)),
        ("primordial_spectrum", -0.035, dict(A_s=2.0, k0=0.05, n_s=0.965)),
        ("clock_rate", -1.5, dict(c=2.0)),
    ],
)
def test_single_powers_have_their_slope(name: str, power: float, params: dict[str, float]) -> None:
    np.testing.assert_allclose(slope(name, 30.0, **params), power, rtol=1e-10)


def test_a_clock_four_times_as_long_beats_eight_times_slower() -> None:
    law = laws.get("clock_rate")
    np.testing.assert_allclose(law(2.0, c=3.0) / law(8.0, c=3.0), 8.0, rtol=1e-14)


def test_cases_of_the_power_generalized_hazard() -> None:
    law = laws.get("survival_power_weibull")
    t = np.geomspace(1e-3, 20.0, 9)
    weibull = law(t, lam=0.7, phi=2.0, gamma=1.3, kappa=1.0)
    np.testing.assert_allclose(weibull, 0.7 * (2 * t) ** 1.3, rtol=1e-13)
    np.testing.assert_allclose(law(t, **H0, kappa=0.0), np.log1p(t), rtol=1e-14)
    np.testing.assert_allclose(law(t, **H0, kappa=1e-7), np.log1p(t), rtol=1e-6)
    np.testing.assert_allclose(law(t, **H0, kappa=1e9), np.expm1(t), rtol=1e-6)
    np.testing.assert_allclose(law(1e20, **H0, kappa=-0.5), 1.0, rtol=1e-9)


def test_the_hazard_is_smooth_where_its_shape_passes_zero() -> None:
    law = laws.get("survival_power_weibull")
    kappa = np.array([-0.06, -0.04999, -0.05001, -1e-3, 0.0, 1e-3, 0.04999, 0.05001, 0.06])
    assert float(law(math.e - 1, **H0, kappa=0.0)) == 1.0
    # At u = (kappa + 1) * (e - 1) the hazard is (kappa + 1) * expm1(kappa) / kappa.
    u = (kappa + 1) * (math.e - 1)
    ratio = np.array([math.expm1(k) / k if k else 1.0 for k in kappa])
    np.testing.assert_allclose(law(u, **H0, kappa=kappa), (kappa + 1) * ratio, rtol=1e-13)


def test_a_stock_at_its_capacity_returns_itself() -> None:
    law = laws.get("ricker")
    assert float(law(30.0, r=0.8, K=30.0)) == 30.0
    np.testing.assert_allclose(jax.grad(law)(30.0, r=0.8, K=30.0), 1 - 0.8, rtol=1e-13)


def test_the_allee_law_has_a_threshold_and_a_plain_case() -> None:
    law = laws.get("allee_myers")
    x = np.geomspace(0.1, 100, 7)
    np.testing.assert_allclose(law(x, r=2.0, th=1.0, K=3.0), 2 * x / (1 + x / 3), rtol=1e-14)
    assert abs(float(jax.grad(law)(1e-9, r=2.0, th=2.0, K=3.0))) < 1e-8
    assert float(law(0.5, r=2.0, th=2.0, K=3.0)) < 0.5 < 0.6 < float(law(0.6, r=2.0, th=2.0, K=3.0))


def test_variance_grows_with_the_root_of_the_distance_to_the_fold() -> None:
    mu = 1 - np.array([0.4, 0.1, 0.001])
    rate = laws.get("early_warning_ou_rate")(mu, l0=2.0, mu_c=1.0)
    variance = laws.get("early_warning_ou_variance")(rate, sigma=0.2)
    np.testing.assert_allclose(variance / variance[0], np.sqrt(0.4 / (1 - mu)), rtol=1e-10)
    assert float(laws.get("early_warning_ou_rate")(1.5, l0=2.0, mu_c=1.0)) == 0.0


def test_success_at_the_grade_of_the_ability_is_even() -> None:
    law = laws.get("grade_logistic")
    np.testing.assert_allclose(law(17.0, 17.0, m=0.742), 0.5)
    odds = [float(p / (1 - p)) for p in (law(17.0, 17.0, m=0.742), law(18.0, 17.0, m=0.742))]
    np.testing.assert_allclose(odds[0] / odds[1], 2.1, rtol=1e-3)


def test_some_overlap_is_certain_and_more_than_all_impossible() -> None:
    law = laws.get("sparse_match")
    np.testing.assert_allclose(law(40.0, 20.0, 0.0, n=2048.0), 1.0, rtol=1e-10)
    assert float(law(40.0, 20.0, 21.0, n=2048.0)) == 0.0
    exact = sum(math.comb(5, b) * math.comb(45, 10 - b) for b in range(2, 6)) / math.comb(50, 10)
    np.testing.assert_allclose(law(10, 5, 2, n=50), exact, rtol=1e-10)


def test_perceptual_scales_add_up_the_root_of_the_information() -> None:
    u = np.linspace(2.0, 9.0, 200001)
    for name, root in (("fisher_scale_constant", np.full_like(u, 1.5)), ("fisher_scale_weber", 1.5 / u)):
        np.testing.assert_allclose(laws.get(name)(9.0, k=1.5, x0=2.0), np.trapezoid(root, u), rtol=1e-9)


def test_speed_up_is_efficiency_times_devices_and_has_a_cap() -> None:
    p = np.array([1.0, 8.0, 64.0, 1e12])
    speed = laws.get("amdahl")(p, f=0.95)
    np.testing.assert_allclose(speed / p, laws.get("amdahl_efficiency")(p, f=0.95), rtol=1e-13)
    np.testing.assert_allclose([speed[0], speed[-1]], [1.0, 1 / 0.05], rtol=1e-9)
    np.testing.assert_allclose(laws.get("amdahl_gustafson")(1.0, f=0.95), 1.0)


def test_without_a_barrier_shift_the_law_is_that_of_arrhenius() -> None:
    law, x = laws.get("vogel_fulcher"), np.array([300.0, 500.0, 900.0])
    log_y = np.log(law(x, a=1e13, b=-8000.0, x0=0.0))
    np.testing.assert_allclose(log_y, math.log(1e13) - 8000.0 / x, rtol=1e-14)
    assert np.all(np.diff(1 / x) < 0) and np.all(np.diff(log_y) > 0)
