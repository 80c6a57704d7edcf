"""Laws of general curves: limits, slopes, reductions and fits to published data."""

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import positive, real
from jaxscale.law.coordinates import centre_of, from_params, to_params
from jaxscale.noise import squared
from jaxscale.reporting import law_page

pytestmark = pytest.mark.usefixtures("x64")
BETWEEN = dict(e_inf=0.1, e_0=1.0, b=10.0, c=-0.5)
X_WIDE = np.geomspace(1e-3, 1e9, 25)
Certified = Mapping[str, float]
X = np.geomspace(1e-2, 1e4, 13)
Z = np.linspace(-8.0, 8.0, 33)
T = np.linspace(0.0, 50.0, 11)
ONE_BREAK = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
X_SIZES = np.geomspace(1e2, 1e10, 9)
X_NEAR = np.geomspace(0.1, 40.0, 9)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1.0, 3.0])
def test_the_error_between_ceiling_and_floor_solves_its_equation(alpha: float) -> None:
    error = laws.get("implicit_sigmoid_power")(X_WIDE, alpha=alpha, **BETWEEN)
    assert np.all((error > 0.1) & (error <= 1.0)) and np.all(np.diff(error) <= 0)
    inside = error < 0.999
    left = (error - 0.1) / (1.0 - error) ** alpha
    np.testing.assert_allclose(left[inside], 10.0 * X_WIDE[inside] ** -0.5, rtol=1e-8)


def test_the_error_has_a_closed_form_where_alpha_is_1() -> None:
    z = 10.0 * X_WIDE**-0.5
    expected = (0.1 + z * 1.0) / (1 + z)
    np.testing.assert_allclose(laws.get("implicit_sigmoid_power")(X_WIDE, alpha=1.0, **BETWEEN), expected, rtol=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 1e-9])
def test_without_the_ceiling_the_power_law_with_a_floor_remains(alpha: float) -> None:
    x = np.geomspace(200.0, 1e9, 9)
    expected = laws.get("power_law_floor")(x, c=0.1, a=10.0, b=0.5)
    np.testing.assert_allclose(laws.get("implicit_sigmoid_power")(x, alpha=alpha, **BETWEEN), expected, rtol=1e-6)


def test_the_power_law_has_the_elasticity_between_two_points() -> None:
    np.testing.assert_allclose(laws.get("power_law")(5.0, a=1.0, b=0.569), 2.5, rtol=5e-3)


def same(params: Certified) -> dict[str, float]:
    return dict(params)


def renamed(**names: str) -> Callable[[Certified], dict[str, float]]:
    return lambda b: {new: b[old] for new, old in names.items()}


def peaks(b: Certified) -> dict[str, float]:
    """Heights and widths as the problem writes them turned into areas and standard deviations."""
    first, second = b["b5"] / math.sqrt(2), b["b8"] / math.sqrt(2)
    return dict(
        a=b["b1"],
        k=b["b2"],
        b1=b["b3"] * first,
        b2=first,
        b3=b["b4"],
        b4=b["b6"] * second,
        b5=second,
        b6=b["b7"],
    )


def cycles(b: Certified) -> dict[str, float]:
    year = dict(p1=b["b2"], q1=b["b3"], T1=12.0)
    return dict(b1=b["b1"], **year, p2=b["b5"], q2=b["b6"], T2=b["b4"], p3=b["b8"], q3=b["b9"], T3=b["b7"])


def kinetics(b: Certified) -> dict[str, float]:
    ratios = dict(b1=b["b1"] * b["b2"] / b["b4"], b2=b["b1"] / b["b4"], c1=b["b3"] / b["b4"], c2=1 / b["b4"])
    np.testing.assert_allclose(list(ratios.values()), [0.271056, 1.417049, 0.904413, 7.349573], atol=5e-7)
    return dict(b0=0.0, **ratios)


LANCZOS = renamed(a1="b1", b1="b2", a2="b3", b2="b4", a3="b5", b3="b6")


KIRBY = renamed(b0="b1", b1="b2", b2="b3", c1="b4", c2="b5")


HAHN = renamed(b0="b1", b1="b2", b2="b3", b3="b4", c1="b5", c2="b6", c3="b7")


PROBLEMS: dict[str, tuple[str, Callable[[Certified], dict[str, float]], float]] = {
    "Misra1a": ("exp_saturation", same, 0.12455138894),
    "BoxBOD": ("exp_saturation", same, 1168.0088766),
    "Misra1b": ("generalized_saturation", lambda b: dict(b, m=2.0), 0.075464681533),
    "Misra1c": ("generalized_saturation", lambda b: dict(b, m=0.5), 0.040966836971),
    "Misra1d": ("hill", lambda b: dict(lo=0.0, hi=b["b1"], x0=1 / b["b2"], n=1.0), 0.056419295283),
    "Lanczos3": ("sum_of_exps3", LANCZOS, 1.6117193594e-8),
    "MGH17": ("sum_of_exps_floor2", renamed(c="b1", a1="b2", a2="b3", b1="b4", b2="b5"), 5.4648946975e-5),
    "Rat42": ("logistic3", same, 8.0565229338),
    "Eckerle4": ("gaussian_peaks1", same, 1.4635887487e-3),
    "Gauss1": ("gaussian_peaks_baseline2", peaks, 1315.8222432),
    "Gauss2": ("gaussian_peaks_baseline2", peaks, 1247.5282092),
    "Kirby2": ("rational2", KIRBY, 3.9050739624),
    "Hahn1": ("rational3", HAHN, 1.5324382854),
    "MGH09": ("rational2", kinetics, 3.0750560385e-4),
    "ENSO": ("sinusoids3", cycles, 788.53978668),
    "Chwirut2": ("exp_over_linear", same, 513.04802941),
    "Roszman1": ("arctan_step", same, 4.9484847331e-4),
    "Nelson": ("two_input_decay", same, 3.7976833176),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_residual_sum_of_squares_of_a_certified_problem(data: Path, problem: str) -> None:
    name, constants, expected = PROBLEMS[problem]
    with open(data / "nist_strd_certified.csv", newline="") as file:
        certified = {
            row["parameter"]: float(row["certified"]) for row in csv.DictReader(file) if row["problem"] == problem
        }
    with open(data / "nist_strd_data.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["problem"] == problem]
    inputs = [np.array([float(row[key]) for row in rows]) for key in ("x", "x2") if rows[0][key]]
    y = np.array([float(row["y"]) for row in rows])
    residual = (np.log(y) if problem == "Nelson" else y) - laws.get(name)(*inputs, **constants(certified))
    np.testing.assert_allclose(residual @ residual, expected, rtol=1e-6)


def test_a_ceiling_is_reached() -> None:
    np.testing.assert_allclose(laws.get("power_law_cap")(1e300, c=0.9, a=2.0, b=0.5), 0.9, rtol=1e-12)


def test_powers_of_opposite_signs_have_one_minimum() -> None:
    x = np.geomspace(1e-3, 1e5, 4001)
    for name, level in (("sum_of_powers", {}), ("sum_of_powers_floor", dict(c=0.3))):
        rises = np.diff(laws.get(name)(x, a1=3.0, b1=-0.4, a2=0.02, b2=0.7, **level)) > 0
        assert not rises[0] and rises[-1] and np.sum(np.diff(rises)) == 1


def test_a_doubling_adds_the_same_amount() -> None:
    line = laws.get("log_linear")
    added = line(2 * X, a=1.0, b=-0.3) - line(X, a=1.0, b=-0.3)
    np.testing.assert_allclose(added, -0.3 * math.log(2), rtol=1e-12)


def test_vertex_of_the_parabola_in_the_logarithm() -> None:
    curve = laws.get("log_quadratic")
    vertex = math.exp(1.2 / (2 * 0.25))
    np.testing.assert_allclose(jax.grad(curve)(vertex, a=3.0, b=-1.2, c=0.25), 0.0, atol=1e-15)
    assert curve(vertex, a=3.0, b=-1.2, c=0.25) < min(curve(vertex * f, a=3.0, b=-1.2, c=0.25) for f in (0.9, 1.1))


def test_slopes_before_and_after_a_knee_and_the_hard_hinge() -> None:
    hinge = laws.get("smooth_hinge")
    params = dict(a=1.0, b=-0.1, c=-0.4, z0=5.0)
    slope = jax.grad(hinge)
    np.testing.assert_allclose([slope(z, **params, s=0.3) for z in (-40.0, 60.0)], [-0.1, -0.5], rtol=1e-12)
    hard = 1.0 - 0.1 * Z - 0.4 * np.maximum(Z - 5.0, 0.0)
    np.testing.assert_allclose(hinge(Z, **params, s=1e-9), hard, rtol=1e-6)


def test_decays_end_at_their_level_and_pass_1_over_e() -> None:
    np.testing.assert_allclose(laws.get("exp_decay_floor")(1e9, c=0.4, a=2.0, b=0.3), 0.4, rtol=1e-14)
    np.testing.assert_allclose(laws.get("sum_of_exps_floor2")(1e9, c=0.4, a1=2.0, b1=0.3, a2=1.0, b2=1.0), 0.4)
    stretched = laws.get("stretched_exp")
    for beta in (0.3, 1.0, 1.7):
        np.testing.assert_allclose(stretched(7.0, c=0.4, a=2.0, t0=7.0, beta=beta), 0.4 + 2 / math.e, rtol=1e-14)


def test_unstretched_is_exponential() -> None:
    plain = laws.get("exp_decay_floor")(X, c=0.4, a=2.0, b=1 / 7)
    np.testing.assert_allclose(laws.get("stretched_exp")(X, c=0.4, a=2.0, t0=7.0, beta=1.0), plain, rtol=1e-14)


def test_growth_with_a_negative_rate_is_decay_to_zero() -> None:
    decay = laws.get("exp_decay_floor")(T, c=0.0, a=3.0, b=0.2)
    np.testing.assert_allclose(laws.get("exp_growth")(T, a=3.0, b=-0.2), decay, rtol=1e-14)


def test_a_sum_of_one_exponential_is_the_decay() -> None:
    decay = laws.get("exp_decay_floor")(T, c=0.4, a=3.0, b=0.2)
    np.testing.assert_allclose(laws.get("sum_of_exps_floor[1]")(T, c=0.4, a1=3.0, b1=0.2), decay, rtol=1e-14)
    np.testing.assert_allclose(laws.get("sum_of_exps[1]")(T, a1=3.0, b1=0.2) + 0.4, decay, rtol=1e-14)


def test_generalized_saturation_ends_in_its_two_special_cases() -> None:
    general = laws.get("generalized_saturation")
    limit = laws.get("exp_saturation")(X, b1=2.0, b2=0.05)
    np.testing.assert_allclose(general(X, b1=2.0, b2=0.05, m=1e12), limit, rtol=1e-6)
    hyperbola = laws.get("hill")(X, lo=0.0, hi=2.0, x0=20.0, n=1.0)
    np.testing.assert_allclose(general(X, b1=2.0, b2=0.05, m=1.0), hyperbola, rtol=1e-13)


def test_half_height_of_the_logistic_curve() -> None:
    np.testing.assert_allclose(laws.get("logistic3")(2.6 / 0.07, b1=72.0, b2=2.6, b3=0.07), 36.0, rtol=1e-14)


def test_steps_are_half_way_at_their_middle() -> None:
    ends = dict(lo=0.25, hi=1.0, x0=2.0)
    for name, rest in (("logistic4", dict(k=3.0)), ("hill", dict(n=3.0)), ("probit_curve", dict(s=0.5))):
        np.testing.assert_allclose(laws.get(name)(2.0, **ends, **rest), 0.625, rtol=1e-14)


def test_hill_is_the_logistic_step_in_the_logarithm() -> None:
    step = laws.get("logistic4")(np.log(X), lo=0.1, hi=0.9, k=1.3, x0=math.log(30.0))
    np.testing.assert_allclose(laws.get("hill")(X, lo=0.1, hi=0.9, x0=30.0, n=1.3), step, rtol=1e-13)


def test_probit_and_logistic_steps_are_close() -> None:
    probit = laws.get("probit_curve")(Z, lo=0.2, hi=1.0, x0=0.5, s=1.4)
    logistic = laws.get("logistic4")(Z, lo=0.2, hi=1.0, x0=0.5, k=1.702 / 1.4)
    assert 0.005 * 0.8 < np.max(np.abs(probit - logistic)) < 0.0096 * 0.8


def test_richards_is_logistic_at_1_and_gompertz_at_0() -> None:
    richards = laws.get("richards")
    params = dict(b1=72.0, b2=2.0, b3=0.2)
    np.testing.assert_allclose(richards(T, **params, b4=1.0), laws.get("logistic3")(T, **params), rtol=1e-14)
    shifted = dict(params, b2=2.0 + math.log(1e-8))
    np.testing.assert_allclose(richards(T, **shifted, b4=1e-8), laws.get("gompertz")(T, **params), rtol=3e-7)


def test_gompertz_grows_fastest_at_1_over_e() -> None:
    gompertz, params = laws.get("gompertz"), dict(b1=72.0, b2=2.6, b3=0.2)
    np.testing.assert_allclose(gompertz(13.0, **params), 72.0 / math.e, rtol=1e-14)
    curvature = jax.grad(jax.grad(gompertz))(13.0, **params)
    np.testing.assert_allclose(curvature, 0.0, atol=1e-13)


def test_ends_and_middle_of_the_mmf_curve() -> None:
    mmf, params = laws.get("mmf"), dict(a=1.0, b=50.0, c=9.0, d=1.6)
    np.testing.assert_allclose(mmf(np.array([0.0, 50.0 ** (1 / 1.6), 1e60]), **params), [1.0, 5.0, 9.0], rtol=1e-13)
    written = (1.0 * 50.0 + 9.0 * X**1.6) / (50.0 + X**1.6)
    np.testing.assert_allclose(mmf(X, **params), written, rtol=1e-13)


def test_shifted_power_without_shift_and_with_endless_data() -> None:
    shifted = laws.get("shifted_power_data")
    floor = laws.get("power_law_floor")(X, c=0.1, a=5.0, b=0.35)
    np.testing.assert_allclose(shifted(X, b=5.0, g=0.0, c=0.35, e_inf=0.1), floor, rtol=1e-14)
    np.testing.assert_allclose(shifted(1e300, b=5.0, g=1e-3, c=0.35, e_inf=0.1), 5.0 * 1e-3**0.35 + 0.1, rtol=1e-12)


def test_the_norm_of_powers_ends_in_their_maximum() -> None:
    params = dict(a1=5.0, b1=0.8, a2=1.0, b2=0.2)
    hard = laws.get("max_of_powers")(X, **params)
    np.testing.assert_allclose(hard, np.maximum(5.0 * X**-0.8, X**-0.2), rtol=1e-14)
    smooth = laws.get("max_of_powers_smooth")
    np.testing.assert_allclose(smooth(X, **params, q=1e7), hard, rtol=1e-6)
    np.testing.assert_allclose(smooth(X, **params, q=1.0), 5.0 * X**-0.8 + X**-0.2, rtol=1e-14)
    crossing = 5.0 ** (1 / 0.6)
    np.testing.assert_allclose(smooth(crossing, **params, q=3.0), 2 ** (1 / 3) * crossing**-0.2, rtol=1e-13)


def test_a_family_of_regimes_counts_crossings() -> None:
    assert list(laws.get("max_of_powers").parameters) == ["a1", "b1", "a2", "b2"]
    assert list(laws.get("max_of_powers_smooth[2]").parameters) == ["a1", "b1", "a2", "b2", "a3", "b3", "q"]


def test_starts_and_ends_of_the_reference_forms() -> None:
    np.testing.assert_allclose(laws.get("exp_over_linear")(0.0, b1=0.2, b2=0.005, b3=0.01), 200.0, rtol=1e-14)
    far = laws.get("arctan_step")(1e12, b1=0.2, b2=-6e-6, b3=1200.0, b4=-180.0)
    np.testing.assert_allclose(far, 0.2 + 6e-6 * 1e12, rtol=1e-12)
    assert float(laws.get("two_input_decay")(0.0, 200.0, b1=2.6, b2=1e-6, b3=-0.06)) == 2.6


def test_without_a_cutoff_the_power_law_remains() -> None:
    power = laws.get("power_law")(X, a=2.0, b=-0.5)
    np.testing.assert_allclose(laws.get("power_cutoff")(X, a=2.0, b=0.5, x_c=1e12), power, rtol=1e-6)
    assert abs(float(jax.grad(laws.get("power_cutoff"))(6.0, a=1.0, b=-2.0, x_c=3.0))) < 1e-14


def test_plausible_denominators_are_positive_on_0_to_1() -> None:
    x = jnp.linspace(0.0, 1.0, 101)
    for degree in (1, 2, 3):
        law = laws.rational[degree]
        lowest = {name: kind.range[0] if name[0] == "c" else 1.0 for name, kind in law.parameters.items()}
        assert np.all(np.asarray(law(x, **lowest)) > 0)


def test_a_peak_has_its_height_at_its_place() -> None:
    two = laws.get("gaussian_peaks[2]")
    y = two(np.array([-40.0, 30.0]), b1=6.0, b2=2.0, b3=-40.0, b4=5.0, b5=1.0, b6=30.0)
    np.testing.assert_allclose(y, [3.0, 5.0], rtol=1e-13)


def test_power_law_on_the_certified_problem_danwood() -> None:
    x = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
    y = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
    residual = laws.get("power_law")(x, a=0.76886226176, b=3.8604055871) - y
    np.testing.assert_allclose(residual @ residual, 4.3173084083e-3, rtol=1e-9)


def test_slopes_of_the_broken_law_on_either_side_of_its_break() -> None:
    params = dict(a=0.0, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
    slope = jax.grad(lambda u: jnp.log(laws.get("bnsl1")(jnp.exp(u), **params)))
    np.testing.assert_allclose([slope(-20.0), slope(60.0)], [-0.1, -0.4], rtol=1e-12)


def test_a_sharp_break_does_not_overflow() -> None:
    params = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1.0, f1=0.001)
    np.testing.assert_allclose(laws.get("bnsl1")(1e6, **params), 0.1 + 5 * 1e6**-0.4, rtol=1e-12)


def test_without_a_change_of_slope_a_break_vanishes() -> None:
    floor = laws.get("power_law_floor")(X_SIZES, c=0.1, a=5.0, b=0.1)
    np.testing.assert_allclose(laws.get("bnsl1")(X_SIZES, **{**ONE_BREAK, "c1": 0.0}), floor, rtol=1e-14)
    second = laws.get("bnsl2")(X_SIZES, **ONE_BREAK, c2=0.0, d2=1e8, f2=1.0)
    np.testing.assert_allclose(second, laws.get("bnsl1")(X_SIZES, **ONE_BREAK), rtol=1e-14)


def test_without_a_shift_the_shifted_law_is_the_power_law_with_a_floor() -> None:
    shifted = laws.get("shifted_power")(X_SIZES, c=0.2, a=5.0, x0=0.0, b=0.35)
    np.testing.assert_allclose(shifted, laws.get("power_law_floor")(X_SIZES, c=0.2, a=5.0, b=0.35), rtol=1e-14)


def test_without_a_floor_the_power_law_remains() -> None:
    bare = laws.get("power_law_floor")(X_SIZES, c=0.0, a=5.0, b=0.35)
    np.testing.assert_allclose(bare, laws.get("power_law")(X_SIZES, a=5.0, b=-0.35), rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("power_law", dict(a=2.0, b=-0.4), dict(c=0.0, a=2.0, b=-0.4)),
        ("power_law_floor", dict(c=0.3, a=2.0, b=0.4), dict(c=0.3, a=2.0, b=-0.4)),
        ("power_law_cap", dict(c=0.9, a=0.5, b=0.4), dict(c=0.9, a=-0.5, b=-0.4)),
        ("exp_saturation", dict(b1=3.0, b2=0.2), dict(c=3.0, a=-3.0, b=-0.2)),
        ("exp_decay_floor", dict(c=-3.0, a=2.0, b=0.2), dict(c=-3.0, a=2.0, b=-0.2)),
        ("exp_growth", dict(a=3.0, b=0.2), dict(c=0.0, a=3.0, b=0.2)),
    ],
)
def test_a_law_names_the_one_that_contains_it_with_either_sign(name: str, given: dict, expected: dict) -> None:
    law = laws.get(name)
    assert law.either_sign is not None
    counterpart = laws.get(law.either_sign)
    np.testing.assert_allclose(counterpart(X_NEAR, **expected), law(X_NEAR, **given), rtol=1e-14, atol=1e-14)
    assert f"Any sign       {counterpart.name}, which contains this law" in law_page.page(law)
    assert law_page.facts(law)["either_sign"] == counterpart.name


def test_every_law_that_is_named_has_parameters_of_either_sign() -> None:
    named = {law.either_sign for law in laws.catalogue().values() if law.either_sign}
    assert named == {"power_law_offset", "exp_offset"}
    for name in named:
        law = laws.get(name)
        assert law.either_sign is None
        assert law.response.domain is real and all(kind.support is real for kind in law.parameters.values())


def test_a_power_law_with_a_negative_constant(data: Path) -> None:
    table = data / "reported" / "offset_of_either_sign.csv"
    rows = Observations.from_table(table, inputs={"x": "r"}, response="y")
    found = fit("power_law_offset", rows, noise=squared())
    assert found.status == "converged"
    for name, value in dict(c=-3.465, a=2.1655, b=-0.3481).items():
        np.testing.assert_allclose(found.params[name], value, rtol=2e-4)


def test_an_exponential_that_rises_from_a_constant(data: Path) -> None:
    table = data / "reported" / "rising_exponential.csv"
    rows = Observations.from_table(table, inputs={"x": "temperature"}, response="intensity")
    found = fit("exp_offset", rows, noise=squared())
    assert found.status == "converged"
    for name, value in dict(c=112.93, a=4.728e-19, b=0.15980).items():
        np.testing.assert_allclose(found.params[name], value, rtol=2e-4)


@pytest.mark.parametrize(
    "params", [dict(c=-3.0, a=2.0, b=0.2), dict(c=1e4, a=-1e4, b=-1e-4), dict(c=1.0, a=9.0, b=-6.0)]
)
def test_coordinates_of_an_exponential_are_its_values_at_the_ends_and_its_rate(params: dict) -> None:
    law, x = laws.get("exp_offset"), np.linspace(-2.0, 8.0, 11)
    centre = centre_of(law, {"x": x}, law(x, **params))
    z = from_params(law, centre, tuple(law.parameters), params)
    np.testing.assert_allclose(z, [law(-2.0, **params), law(8.0, **params), 10.0 * params["b"]], rtol=1e-12)
    again = to_params(law, centre, tuple(law.parameters), z, {})
    for name, given in params.items():
        np.testing.assert_allclose(again[name], given, rtol=1e-9)


def test_a_product_of_powers_is_a_plane_in_the_logarithms() -> None:
    draws = np.random.default_rng(0)
    N, D = np.exp(draws.uniform(10.0, 20.0, (2, 24)))
    y = 3e4 * N**-0.4 * D**0.2 * np.exp(0.1 * draws.standard_normal(24))
    rows = Observations.from_table(dict(N=N, D=D, y=y), inputs=dict(x1="N", x2="D"), response="y")
    found = fit("power_product2", rows, noise=squared("log"))
    columns = np.stack([np.ones(24), np.log(N), np.log(D)], axis=1)
    k, first, second = np.linalg.lstsq(columns, np.log(y), rcond=None)[0]
    assert found.status == "converged" and first < 0 < second
    np.testing.assert_allclose(
        [np.log(found.params["k"]), found.params["b1"], found.params["b2"]], [k, first, second], rtol=1e-8
    )


def test_products_of_powers_have_the_requested_number_of_inputs() -> None:
    assert laws.get("power_product3") is laws.get("power_product[3]") and laws.get("power_product1").name[-1] == "1"
    law = laws.get("power_product3")
    assert law.response.domain is positive
    value = law(2.0, 4.0, 0.5, k=3.0, b1=3.0, b2=-0.5, b3=2.0)
    np.testing.assert_allclose(value, 3.0, rtol=1e-14)
