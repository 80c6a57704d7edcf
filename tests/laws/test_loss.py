"""Laws of loss: limits, slopes, reductions and fits to published data."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law.coordinates import centre_of

pytestmark = pytest.mark.usefixtures("x64")
TERMS = laws.get("chinchilla_optimum_n").published
N = np.array([1e7, 1e9, 1e11])
D = np.array([2e9, 2e10, 5e12])
BESIROGLU = dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
FARSEER = dict(laws.get("farseer").published["li2025"])
get = laws.get
CHINCHILLA, CONSTRAINED = laws.get("chinchilla").published, laws.get("data_constrained").published["muennighoff2023"]
ND = np.array([[1e7, 1e9, 1e11], [2e9, 2e10, 5e12]])
KAPLAN_ND = laws.get("kaplan_nd").published["kaplan2020"]
BASE = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("overtraining_cm", dict(eta=(0.02, 0.4))),
        ("outer_power_nd", dict(gamma=(0.2, 2), alpha=(0.05, 1.5), beta=(0.05, 1.5))),
        ("coupled_nd_floor", dict(alpha=(0.05, 1.5), beta=(0.05, 1.5))),
        ("kaplan_ns", dict(alpha_N=(0.05, 1.5), alpha_S=(0.05, 1.5))),
        ("compute_power", dict(b=(0.001, 1))),
        ("compute_power_floor", dict(alpha=(0.01, 2))),
        ("shifted_compute_floor", dict(alpha=(0.05, 1.5))),
        ("learning_curve_floor", dict(beta_g=(-0.35, -0.07))),
        ("data_multiplier", dict(alpha=(0.05, 1.5), m=(1.8, 25))),
    ],
)
def test_plausible_ranges_contain_what_the_papers_search(name: str, starts: dict[str, tuple[float, float]]) -> None:
    for key, (low, high) in starts.items():
        plausible = laws.get(name).parameters[key].range
        assert plausible[0] <= low and high <= plausible[1], key


def slope(name: str, at: float, **params: float) -> float:
    """The slope of the log of a law of one input in the log of the input."""
    return float(jax.grad(lambda u: jnp.log(laws.get(name)(jnp.exp(u), **params)))(jnp.log(at)))


def test_exponents_of_kaplan_allocation_share_the_budget() -> None:
    powers = dict(a_N=0.076, a_B=0.21, a_S=0.76)
    shares = [slope(f"kaplan_allocation_{x}", 10.0, **{f"{x}0": 1.0}, **powers) for x in "nbs"]
    np.testing.assert_allclose(shares, [0.684, 0.248, 0.0684], rtol=5e-3)
    np.testing.assert_allclose(shares[0] * 0.076, 0.05199, rtol=1e-3)
    np.testing.assert_allclose(sum(shares), 1.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("constants", "C", "ratio"),
    [("besiroglu2024", 5.76e23, 18.39), ("besiroglu2024", 1e21, 21.59), ("hoffmann2022", 5.76e23, 92.6)],
)
def test_the_optimum_of_chinchilla_has_the_known_ratio_and_is_one(constants: str, C: float, ratio: float) -> None:
    terms = TERMS[constants]
    size, tokens = (float(laws.get(f"chinchilla_optimum_{x}")(C, **terms)) for x in "nd")
    np.testing.assert_allclose(tokens / size, ratio, rtol=1e-3)
    np.testing.assert_allclose(size * tokens, C / 6, rtol=1e-12)
    nearby = size * np.array([0.99, 1.0, 1.01])
    assert np.argmin(laws.get("chinchilla")(nearby, C / (6 * nearby), E=1.0, **terms)) == 1


def test_the_optimal_size_of_chinchilla_grows_with_the_known_exponent() -> None:
    np.testing.assert_allclose(slope("chinchilla_optimum_n", 1e21, **TERMS["besiroglu2024"]), 0.5126, rtol=1e-3)


def test_overtraining_is_the_tied_law_in_compute_and_ratio() -> None:
    eta, A, B = 0.17, 500.0, 1500.0
    moved = laws.get("overtraining_cm")(6 * N * D, D / N, E=1.7, a=A * 6**eta, b=B * 6**eta, eta=eta)
    np.testing.assert_allclose(moved, laws.get("chinchilla_tied")(N, D, E=1.7, A=A, B=B, alpha=2 * eta), rtol=1e-13)


def test_the_best_ratio_of_the_overtraining_law_is_the_same_at_every_budget() -> None:
    ratios = np.geomspace(5, 300, 40001)
    for C in (1e19, 1e24):
        loss = laws.get("overtraining_cm")(C, ratios, E=1.7, a=500.0, b=1500.0, eta=0.15)
        np.testing.assert_allclose(ratios[np.argmin(loss)], 38.94, rtol=1e-3)


def test_the_coupled_law_ends_in_a_power_law_and_without_a_floor_is_kaplans() -> None:
    coupled = dict(A=3e7, alpha=0.34, B=2e10, beta=0.28)
    many = laws.get("coupled_nd_floor")(N, 1e200, E=1.7, **coupled)
    np.testing.assert_allclose(many, 1.7 + (3e7 / N) ** 0.34, rtol=1e-6)
    bare = laws.get("coupled_nd_floor")(N, D, E=0.0, **coupled)
    kaplan = laws.get("kaplan_nd")(N, D, N_c=3e7, D_c=2e10, alpha_N=0.34, alpha_D=0.28)
    np.testing.assert_allclose(bare, kaplan, rtol=1e-14)


def test_with_an_outer_power_of_one_chinchilla_remains() -> None:
    outer = laws.get("outer_power_nd")(N, D, **BESIROGLU, gamma=1.0)
    np.testing.assert_allclose(outer, laws.get("chinchilla")(N, D, **BESIROGLU), rtol=1e-15)


def test_frozen_parameters_of_weight_zero_leave_kaplans_law() -> None:
    kaplan = laws.get("kaplan_single")(N, X_c=8.8e13, alpha=0.076)
    frozen = laws.get("trainable_params_multiplier")(N, 1e10, N_c=8.8e13, alpha=0.076, w=0.0)
    np.testing.assert_allclose(frozen, kaplan, rtol=1e-15)
    none = laws.get("trainable_params_multiplier")(N, 0.0, N_c=8.8e13, alpha=0.076, w=0.5)
    np.testing.assert_allclose(none, kaplan, rtol=1e-15)


def test_a_budget_of_time_is_chinchilla_at_the_tokens_that_fit() -> None:
    tokens = 1e6 * 5e5 / (0.2 + 1e-10 * 3e9)
    timed = laws.get("time_budget_loss")(1e9, 3e9, 5e5, 1e6, c0=0.2, c1=1e-10, **BESIROGLU)
    np.testing.assert_allclose(timed, laws.get("chinchilla")(1e9, tokens, **BESIROGLU), rtol=1e-14)
    steady = laws.get("time_budget_loss")(1e9, np.array([1e6, 1e12]), 5e5, 1e6, c0=0.2, c1=0.0, **BESIROGLU)
    np.testing.assert_array_equal(steady[0], steady[1])


def test_slope_of_the_compute_law_is_minus_b() -> None:
    np.testing.assert_allclose(slope("compute_power", 1e20, A=7.32, b=0.0378), -0.0378, rtol=1e-13)
    by_scale = (7.32 ** (1 / 0.0378) / 1e20) ** 0.0378
    np.testing.assert_allclose(laws.get("compute_power")(1e20, A=7.32, b=0.0378), by_scale, rtol=1e-12)


def test_a_compute_law_ends_at_its_floor_and_is_straight_above_it() -> None:
    params = dict(E=0.6, A=50.0, alpha=0.3)
    np.testing.assert_allclose(laws.get("compute_power_floor")(1e40, **params), 0.6, rtol=1e-6)
    above = np.log(laws.get("compute_power_floor")(np.geomspace(1e6, 1e12, 4), **params) - 0.6)
    np.testing.assert_allclose(np.diff(above), -0.3 * np.log(100), rtol=1e-8)


def test_the_shifted_law_is_finite_at_no_compute_and_has_its_inverse() -> None:
    params = dict(a=5.0, b=1e3, alpha=0.35, d=0.2)
    shifted = laws.get("shifted_compute_floor")
    np.testing.assert_allclose(shifted(0.0, **params), 5.0 * 1e3**-0.35 + 0.2, rtol=1e-14)
    np.testing.assert_allclose(shifted(1e30, **params), 0.2, rtol=1e-6)
    C = np.geomspace(1e2, 1e8, 5)
    np.testing.assert_allclose((5.0 / (shifted(C, **params) - 0.2)) ** (1 / 0.35) - 1e3, C, rtol=1e-8)
    bare = shifted(C, **{**params, "b": 0.0})
    np.testing.assert_allclose(bare, laws.get("compute_power_floor")(C, E=0.2, A=5.0, alpha=0.35), rtol=1e-14)


def test_two_lines_in_log_compute_meet_where_they_should() -> None:
    line = laws.get("compute_loglinear")
    C = np.exp((5.0 - 4.0) / (-0.05 + 0.1))
    np.testing.assert_allclose(line(C, a=5.0, b=-0.1), line(C, a=4.0, b=-0.05), rtol=1e-14)


def test_the_parabola_has_the_known_minimum() -> None:
    parabola = dict(a=34.0, b=-3.0, c=0.07)
    sizes = np.geomspace(1e9, 4e9, 20001)
    loss = laws.get("isoflop_parabola")(sizes, **parabola)
    np.testing.assert_allclose(sizes[np.argmin(loss)], 2.024e9, rtol=1e-3)
    np.testing.assert_allclose(loss.min(), 34.0 - 9.0 / 0.28, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "product"), [("liang2024", 0.1682), ("tian2025_moe", 1.0002), ("tian2025_dense", 0.9994)]
)
def test_sizes_and_tokens_spend_the_budget(name: str, product: float) -> None:
    size, tokens = (laws.get(f"allocation_power_{x}") for x in "nd")
    C = np.geomspace(1e18, 1e24, 4)
    spent = size(C, **size.published[name]) * tokens(C, **tokens.published[name])
    np.testing.assert_allclose(spent, product * C, rtol=1e-3)


def test_a_learning_curve_ends_at_its_floor_and_sizes_grow_more_slowly_than_samples() -> None:
    end = laws.get("learning_curve_floor")(1e60, a=3.0, beta_g=-0.2, gamma=0.1)
    np.testing.assert_allclose(end, 0.1, rtol=1e-6)
    size = laws.get("model_size_data_power")
    assert size(2e6, c=3.0, beta_p=0.7) < 2 * size(1e6, c=3.0, beta_p=0.7)


def test_laws_of_replicas_contain_one_another() -> None:
    joint = dict(A=19.226, alpha=-0.0985, beta=0.0116)
    M = np.array([1.0, 2.0, 8.0])
    bare = laws.get("diloco_joint_floor")(N, M, **joint, C=0.0)
    np.testing.assert_array_equal(bare, laws.get("diloco_joint")(N, M, **joint))
    floor = laws.get("power_law_floor")(N, c=0.5, a=19.0, b=0.1)
    exponent = laws.get("diloco_exponent_floor")
    np.testing.assert_allclose(exponent(N, M, A=19.0, alpha=-0.1, beta=0.0, C=0.5), floor, rtol=1e-14)
    np.testing.assert_allclose(exponent(N, 0.0, A=19.0, alpha=-0.1, beta=0.01, C=0.5), floor, rtol=1e-14)
    additive = laws.get("diloco_additive_floor")
    cost = [additive(N, m, A=19.0, alpha=-0.1, B=0.1, beta=0.3, C=0.5) for m in (1.0, 8.0)]
    np.testing.assert_allclose(cost[1] - cost[0], 0.1 * (8**0.3 - 1), rtol=1e-12)


def test_the_equivalent_size_inverts_kaplans_law() -> None:
    loss = laws.get("kaplan_single")(N, X_c=8.8e13, alpha=0.076)
    np.testing.assert_allclose(laws.get("repeated_equivalent_size")(loss, N_c=8.8e13, alpha_N=0.076), N, rtol=1e-11)


def test_the_data_exponent_of_farseer_at_a_billion_parameters() -> None:
    # Far below its other term the floor says nothing.
    data = jax.grad(lambda u: jnp.log(laws.get("farseer")(1e9, jnp.exp(u), **{**FARSEER, "S": -200.0})))
    np.testing.assert_allclose(data(jnp.log(1e11)), -0.3077, rtol=1e-3)


@pytest.mark.parametrize(("C", "expected"), [(1e20, 25.0), (1e22, 40.6), (1e24, 224.0)])
def test_the_best_ratio_of_farseer_rises_with_compute(C: float, expected: float) -> None:
    ratios = np.geomspace(2, 2000, 40001)
    sizes = np.sqrt(C / (6 * ratios))
    best = ratios[np.argmin(laws.get("farseer")(sizes, C / (6 * sizes), **FARSEER))]
    np.testing.assert_allclose(best, expected, rtol=5e-3)


def test_farseer_on_the_published_runs(data: Path) -> None:
    with open(data / "scalebench_farseer_train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    size, tokens, loss = (np.array([float(row[key]) for row in rows]) for key in ("params", "tokens", "loss"))
    error = np.abs(laws.get("farseer")(size, tokens, **FARSEER) / loss - 1)
    assert len(rows) == 404
    np.testing.assert_allclose([error.mean(), error.max()], [0.00226, 0.0144], rtol=5e-3)


def test_coordinates_of_farseer_are_well_conditioned() -> None:
    farseer = laws.get("farseer")
    size, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(2e8, 6.4e9, 8), np.geomspace(2e9, 2e11, 8)))
    there = centre_of(farseer, dict(N=size, D=tokens), farseer(size, tokens, **FARSEER), np)
    assert farseer.coordinates is not None
    to_params, from_params = farseer.coordinates
    z = jnp.asarray([float(value) for value in from_params(FARSEER, there)])
    for name, value in to_params(z, there).items():
        np.testing.assert_allclose(value, FARSEER[name], rtol=1e-11, err_msg=name)

    def condition(f, at) -> float:
        slopes = np.asarray(jax.jacfwd(f)(at))
        return np.linalg.cond(slopes / np.linalg.norm(slopes, axis=0))

    anchored = condition(lambda z: jnp.log(farseer(size, tokens, **to_params(z, there))), z)
    values = jnp.asarray(list(FARSEER.values()))
    plain = condition(lambda v: jnp.log(farseer(size, tokens, **dict(zip(FARSEER, v, strict=True)))), values)
    assert anchored < 300
    assert plain > 100 * anchored


def published(name: str, label: str) -> dict[str, float]:
    return dict(get(name).published[label])


PTQ = published("precision_ptq_wide", "kumar2024")


@pytest.mark.parametrize(("b", "expected"), [(0.0, 2.946e11), (1.1277, 9.574e10)])
def test_tokens_beyond_which_more_of_them_harm_a_quantized_model(b: float, expected: float) -> None:
    tokens = np.geomspace(1e10, 1e12, 20001)
    trained = get("chinchilla")(1e9, tokens, E=2.7648, A=4.299e3, alpha=0.4965, B=1.806e4, beta=0.4965)
    total = np.asarray(trained + get("precision_ptq_wide")(1e9, tokens, 4.0, **{**PTQ, "b": b}))
    assert tokens[np.argmin(total)] == pytest.approx(expected, rel=1e-3)
    K = 0.0598 * np.exp(-4 / 0.5907 + b) / 1e9**0.3439
    assert (0.4965 * 1.806e4 / (0.5068 * K)) ** (1 / (0.4965 + 0.5068)) == pytest.approx(expected, rel=1e-3)


def test_the_loss_of_video_is_chinchilla() -> None:
    params = dict(L_inf=0.3, T_c=1e7, a_T=0.3, N_c=1e6, a_N=0.2)
    sizes = np.array([1e8, 1e10]), np.array([1e10, 1e12])
    expected = laws.get("chinchilla")(*sizes, E=0.3, A=1e6**0.2, alpha=0.2, B=1e7**0.3, beta=0.3)
    np.testing.assert_allclose(laws.get("video_dit_loss")(*sizes, **params), expected, rtol=1e-13)


def test_without_an_excess_the_constrained_law_is_the_unconstrained_one() -> None:
    params = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}
    np.testing.assert_allclose(laws.get("chinchilla")(2.8e9, 4e10, **params), 2.3802, rtol=1e-3)


def test_log_log_slope_of_kaplan_is_minus_alpha() -> None:
    slope = jax.grad(lambda u: jnp.log(laws.get("kaplan_single")(jnp.exp(u), X_c=8.8e13, alpha=0.076)))
    np.testing.assert_allclose(slope(20.0), -0.076, rtol=1e-13)


def test_optimal_ratio_of_the_tied_law_is_constant() -> None:
    tied = laws.get("chinchilla_tied")
    params = tied.published["muennighoff2023"]
    for compute in (1e19, 1e23):
        ratios = np.geomspace(5, 80, 20001)
        N = np.sqrt(compute / (6 * ratios))
        best = ratios[np.argmin(tied(N, compute / (6 * N), **params))]
        np.testing.assert_allclose(best, 19.55, rtol=1e-3)


def test_chinchilla_with_one_exponent_is_the_tied_law() -> None:
    tied = dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)
    expected = laws.get("chinchilla")(*ND, **tied, beta=0.353)
    np.testing.assert_allclose(laws.get("chinchilla_tied")(*ND, **tied), expected, rtol=1e-15)


def test_kaplan_nd_ends_in_the_single_laws() -> None:
    single = laws.get("kaplan_single")
    many = laws.get("kaplan_nd")(ND[0], 1e60, **KAPLAN_ND)
    np.testing.assert_allclose(many, single(ND[0], X_c=KAPLAN_ND["N_c"], alpha=KAPLAN_ND["alpha_N"]), rtol=1e-6)
    large = laws.get("kaplan_nd")(1e60, ND[1], **KAPLAN_ND)
    np.testing.assert_allclose(large, single(ND[1], X_c=KAPLAN_ND["D_c"], alpha=KAPLAN_ND["alpha_D"]), rtol=1e-6)


def read(data: Path, name: str) -> dict[str, np.ndarray]:
    with open(data / name, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [key for key in rows[0] if key not in ("run", "dataset")]
    return {key: np.array([float(row[key]) for row in rows]) for key in numbers}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (CHINCHILLA["besiroglu2024"], 1.0228e-3),
        (CHINCHILLA["hoffmann2022"], 4.121e-3),
        (dict(E=1.817218, A=477.826, alpha=0.3473105, B=2143.417, beta=0.3671724), 1.01827402e-3),
    ],
)
def test_chinchilla_objective_on_the_published_runs(data: Path, params: Mapping[str, float], expected: float) -> None:
    table = read(data, "chinchilla_epoch.csv")
    keep = table["in_published_fit"] == 1
    predicted = laws.get("chinchilla")(table["params"][keep], table["tokens"][keep], **params)
    r = np.abs(np.log(predicted) - np.log(table["loss"][keep]))
    objective = np.sum(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 1e-3 / 2)))
    np.testing.assert_allclose(objective, expected, rtol=1e-3)


def test_fit_quality_of_data_constrained_on_the_published_runs(data: Path) -> None:
    table = read(data, "data_constrained_c4.csv")
    columns = (table["params"], table["tokens"], table["unique_tokens"])
    spread = np.sum((table["loss"] - table["loss"].mean()) ** 2)
    unrounded = dict(
        E=math.exp(0.6254804), A=math.exp(6.255414), alpha=0.3526596, B=math.exp(7.3049974), beta=0.3526596
    )
    for params, expected in (
        (CONSTRAINED, 0.7302),
        (dict(unrounded, R_D=15.387756, R_N=5.309743), 0.7368),
        (dict(unrounded, R_D=57.3249, R_N=2.28275), 0.75337),
    ):
        error = np.sum((laws.get("data_constrained")(*columns, **params) - table["loss"]) ** 2)
        np.testing.assert_allclose(1 - error / spread, expected, atol=1e-4)
    plain = laws.get("chinchilla")(*columns[:2], **BASE)
    np.testing.assert_allclose(1 - np.sum((plain - table["loss"]) ** 2) / spread, 0.353, atol=1e-3)
