"""Mixtures, experts and sparsity: limits, reductions and what the real data say of the laws."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxscale import laws
from tests.law_tables import BASE, D, N, column, grid, published, read

pytestmark = pytest.mark.usefixtures("x64")
THIRDS = dict(C1=1.0, C2=2.0, C3=3.0, g1=0.5, g2=0.5, g3=0.5)


# Mixtures


def test_with_equal_domains_and_powers_of_one_the_mixture_does_not_matter() -> None:
    equal = dict(E=0.0, A=0.0, alpha=0.3, B=0.0, beta=0.3, C1=4.0, C2=4.0, C3=4.0, g1=1.0, g2=1.0, g3=1.0)
    for h in ((0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.1, 0.1, 0.8)):
        np.testing.assert_allclose(laws.get("mixture_additive3")(1e9, 1e10, *h, **equal), 0.25, rtol=1e-14)


def test_a_domain_that_is_left_out_counts_for_nothing() -> None:
    additive = laws.get("mixture_additive3")
    two = {key: value for key, value in THIRDS.items() if not key.endswith("3")}
    left_out = additive(1e9, 1e10, 0.6, 0.4, 0.0, **BASE, **THIRDS)
    np.testing.assert_allclose(left_out, laws.get("mixture_additive2")(1e9, 1e10, 0.6, 0.4, **BASE, **two), rtol=1e-14)
    slopes = jax.grad(lambda p: additive(1e9, 1e10, 0.6, 0.4, 0.0, **p))({**BASE, **THIRDS})
    assert all(np.isfinite(slope) for slope in slopes.values())
    assert slopes["C3"] == slopes["g3"] == 0
    assert np.isfinite(jax.grad(lambda h: additive(1e9, 1e10, 0.6, 0.4, h, **BASE, **THIRDS))(0.0))


def best_share(law: str, size: float, tokens: float, **params: float) -> float:
    h = np.linspace(0.001, 0.999, 100001)
    return float(h[np.argmin(laws.get(law)(size, tokens, h, 1 - h, **params))])


def test_the_best_mixture_moves_with_the_budget_in_the_joint_law_only() -> None:
    mixture = dict(C1=1.0, C2=2.0, g1=0.5, g2=0.7)
    assert best_share("mixture_additive2", 1e8, 1e9, **BASE, **mixture) == pytest.approx(
        best_share("mixture_additive2", 1e11, 1e13, **BASE, **mixture), abs=1e-4
    )
    sizes = dict(E=1.7, alpha=0.34, beta=0.28, CA1=30.0, CA2=10.0, CB1=10.0, CB2=30.0, gA=2.0, gB=2.0)
    small = best_share("mixture_joint2", 1e8, 1e11, **sizes, **mixture)
    assert abs(small - best_share("mixture_joint2", 1e10, 1e10, **sizes, **mixture)) > 0.05


def test_with_equal_parts_the_joint_mixture_law_is_the_additive_one() -> None:
    h = (0.5, 0.3, 0.2)
    parts = dict(CA1=20.0, CA2=20.0, CA3=20.0, gA=2.0, CB1=10.0, CB2=10.0, CB3=10.0, gB=2.0)
    base = {key: BASE[key] for key in ("E", "alpha", "beta")}
    joint = laws.get("mixture_joint3")(N, D, *h, **base, **parts, **THIRDS)
    additive = laws.get("mixture_additive3")(N, D, *h, **base, A=400.0, B=100.0, **THIRDS)
    np.testing.assert_allclose(joint, additive, rtol=1e-13)


def test_halving_a_share_multiplies_the_loss_of_bimix_at_any_step() -> None:
    params = dict(alpha=0.1, B=5.0, beta=0.3, C=2.0)
    s = np.geomspace(1e2, 1e6, 5)
    np.testing.assert_allclose(
        laws.get("bimix")(0.25, s, **params) / laws.get("bimix")(0.5, s, **params), 1.0718, rtol=1e-4
    )


def test_a_constant_added_to_every_effect_rescales_the_exponential_mixture_law() -> None:
    law, r = laws.get("data_mixing_exp3"), (0.5, 0.3, 0.2)
    moved = law(*r, c=1.5, k=0.8 * math.exp(-0.7), t1=-0.5, t2=1.0, t3=0.8)
    np.testing.assert_allclose(law(*r, c=1.5, k=0.8, t1=-1.2, t2=0.3, t3=0.1), moved, rtol=1e-14)


def test_a_constant_added_to_every_weight_is_added_to_the_linear_mixture_law() -> None:
    law, h = laws.get("regmix_linear3"), (0.5, 0.3, 0.2)
    assert law(*h, w1=2.0, w2=3.0, w3=4.0) + 0.5 == pytest.approx(law(*h, w1=2.5, w2=3.5, w3=4.5))


def test_the_domain_law_is_defined_at_both_ends_of_the_share() -> None:
    params = dict(E=1.5, A=400.0, alpha=0.34, B=400.0, beta=0.28, eta=0.1, C=0.05, eps=0.05, gamma=0.5)
    none = laws.get("domain_cpt_ratio")(1e9, 1e10, 0.0, **params)
    np.testing.assert_allclose(none, 1.5 + 400 / 1e9**0.34 + 0.05 / 0.05**0.5, rtol=1e-14)
    slopes = jax.grad(lambda p: laws.get("domain_cpt_ratio")(1e9, 1e10, 0.0, **p))(params)
    assert all(np.isfinite(slope) for slope in slopes.values())


# Skills


def test_one_weight_of_one_returns_a_skill_and_weights_move_the_optimum() -> None:
    # log L of a parabola in powers of log N: b = -3, c = 0.07.
    best = math.exp(3 / (2 * 0.07))
    assert best == pytest.approx(2.024e9, rel=1e-3)
    skills = dict(c1=0.07, N1=best, c2=0.05, N2=5e9)
    optimum = laws.get("skill_isoflop_optimum2")
    np.testing.assert_allclose(optimum(1.0, 0.0, **skills), best, rtol=1e-13)
    np.testing.assert_allclose(optimum(0.0, 1.0, **skills), 5e9, rtol=1e-13)
    loss, sizes = laws.get("skill_isoflop2"), grid(1e8, 1e11)
    np.testing.assert_allclose(
        loss(sizes, 1.0, 0.0, E1=1.2, E2=2.0, **skills),
        1.2 + 9 / (4 * 0.07) - 3 * np.log(sizes) + 0.07 * np.log(sizes) ** 2,
        rtol=1e-10,
    )
    for w in (0.2, 0.5, 0.9):
        argmin = sizes[np.argmin(loss(sizes, w, 1 - w, E1=1.2, E2=2.0, **skills))]
        np.testing.assert_allclose(optimum(w, 1 - w, **skills), argmin, rtol=1e-4)


def test_the_gain_of_an_ability_follows_from_two_sizes() -> None:
    low, high = (float(laws.get("sft_ability_log")(size, a=3.0, b=4.0)) for size in (1e3, 1e5))
    assert (high - low) / math.log(1e5 / 1e3) == pytest.approx(4.0)


# Languages and translation


def test_curves_of_a_language_pair_are_parallel() -> None:
    law = laws.get("multilingual_power")
    first, second = (np.log(law(N, beta=beta, alpha=0.3, L_inf=1.2) - 1.2) for beta in (50.0, 120.0))
    np.testing.assert_allclose(first - second, math.log(50 / 120), rtol=1e-9)


def test_the_effective_share_is_the_ratio_of_amplitudes() -> None:
    shares = dict(c1=0.5, c2=0.8, c3=1.0)
    assert laws.get("multilingual_share")(0.0, **shares) == 0 and laws.get("multilingual_share")(1.0, **shares) == 1
    f = float(laws.get("multilingual_share")(0.25, **shares))
    loss = laws.get("multilingual_share_loss")(N, 0.25, beta_1=50.0, alpha=0.3, L_inf=1.2, **shares)
    beta_p = 50.0 * f**-0.3
    np.testing.assert_allclose(loss, laws.get("multilingual_power")(N, beta=beta_p, alpha=0.3, L_inf=1.2), rtol=1e-13)
    assert (50.0 / beta_p) ** (1 / 0.3) == pytest.approx(f)


def test_the_best_split_of_encoder_and_decoder_is_the_ratio_of_powers() -> None:
    encoder = np.linspace(1e6, 0.999e9, 1000001)
    loss = laws.get("nmt_bivariate")(encoder, 1e9 - encoder, a=30.0, p_e=0.3, p_d=0.2, L_inf=1.0)
    best = encoder[np.argmin(loss)]
    assert best / (1e9 - best) == pytest.approx(1.5, rel=1e-4)


# Experts


def test_the_saturating_transform_starts_and_ends_where_it_says() -> None:
    law = laws.get("saturating_transform")
    for params in law.published.values():
        np.testing.assert_allclose(law(0.0, **params), params["x_start"], rtol=1e-14)
        np.testing.assert_allclose(law(1e30, **params), params["x_max"], rtol=1e-6)


SBASE = dict(a=-0.082, b=-0.108, c=0.009, E_start=1.847, E_max=314.478)


def test_one_expert_is_a_dense_model_and_the_effective_size_has_the_loss() -> None:
    effective, loss = laws.get("routed_effective_params"), laws.get("routed_bilinear")
    np.testing.assert_allclose(effective(N, 1.0, **SBASE), N, rtol=1e-12)
    for experts in (8.0, 128.0):
        dense = loss(effective(N, experts, **SBASE), 1.0, **SBASE, d=1.104)
        np.testing.assert_allclose(dense, loss(N, experts, **SBASE, d=1.104), rtol=1e-12)
    np.testing.assert_allclose(loss(3.7563e9, 1.0, **SBASE, d=1.104), 2.0561, rtol=1e-4)


@pytest.mark.parametrize(
    ("router", "label", "count", "rms"),
    [("S-Base", "clark2022_sbase", 48, 0.00393), ("Hash", "clark2022_hash", 46, 0.00445)],
)
def test_residuals_of_the_published_routed_law(data: Path, router: str, label: str, count: int, rms: float) -> None:
    rows = [row for row in read(data, "routed_lm.csv") if float(row["in_published_fit"]) == 1]
    rows = [row for row in rows if row["router_type"].lower() in (router.lower(), "dense")]
    assert len(rows) == count
    loss = laws.get("routed_bilinear")(
        column(rows, "params"), column(rows, "num_experts"), **published("routed_bilinear", label)
    )
    residual = np.log10(loss) - np.log10(column(rows, "loss"))
    np.testing.assert_allclose(np.sqrt(np.mean(residual**2)), rms, rtol=5e-3)


def test_the_best_granularity_of_the_leverage() -> None:
    G = grid(1.0, 100.0)
    leverage = laws.get("moe_leverage")(0.031, G, 1e22, **published("moe_leverage", "tian2025"))
    assert G[np.argmax(leverage)] == pytest.approx(11.34, rel=1e-3)


def test_the_leverage_in_granularity_has_its_extremum_at_half_the_shift() -> None:
    G = grid(1.0, 100.0)
    best = G[np.argmax(laws.get("moe_leverage_marginals_g")(G, a_G=1.0, b_G=-0.1, c_G=-5.0))]
    assert math.log(best) == pytest.approx(2.5, abs=1e-3)


def test_the_leverage_at_one_granularity_and_budget_is_its_marginals() -> None:
    params = published("moe_leverage", "tian2025")
    A = np.array([0.01, 0.1, 0.9])
    transform = dict(A_start=params["A_start"], A_max=params["A_max"])
    slope = params["a"] + params["d"] * 22 + params["gamma"] * 9 + params["beta"] * 3
    np.testing.assert_allclose(
        laws.get("moe_leverage")(A, 8.0, 1e22, **params),
        laws.get("moe_leverage_marginals_a")(A, a_A=slope, **transform),
        rtol=1e-12,
    )
    C = np.array([1e19, 1e22, 1e24])
    logs = np.log(laws.get("moe_leverage_marginals_c")(C, a_C=0.05, c_C=-1.0))
    np.testing.assert_allclose(logs, 0.05 * np.log(C) - 1.0, rtol=1e-12)


def test_fine_grained_experts_end_in_chinchilla() -> None:
    law, params = laws.get("fine_grained_moe"), published("fine_grained_moe", "krajewski2024")
    base = dict(E=params["c"], A=params["a"], alpha=params["alpha"], B=params["b"], beta=params["beta"])
    expected = laws.get("chinchilla")(N, D, **base)
    np.testing.assert_allclose(law(N, D, 1e30, **params), expected, rtol=1e-6)
    np.testing.assert_allclose(law(N, D, 4.0, **{**params, "g": 0.0}), expected, rtol=1e-14)


def test_without_effects_of_experts_the_joint_law_is_chinchilla() -> None:
    none = dict(delta=0.0, gamma=0.0, omega=0.0, zeta=0.0, E_start=2.0, E_max=300.0)
    joint = laws.get("joint_moe")(N, D, 16.0, a=400.0, alpha=-0.34, b=410.0, beta=-0.28, c=1.7, **none)
    np.testing.assert_allclose(joint, laws.get("chinchilla")(N, D, **BASE), rtol=1e-13)


def test_at_a_fixed_number_of_experts_the_joint_law_is_chinchilla() -> None:
    effects = dict(delta=-0.2, gamma=0.01, omega=0.5, zeta=-0.02)
    joint = laws.get("joint_moe")(
        N, D, 1.0, a=400.0, alpha=-0.34, b=410.0, beta=-0.28, c=1.7, E_start=4.0, E_max=1e9, **effects
    )
    log_E = math.log(4)
    base = dict(A=400.0 * 4**-0.2, alpha=0.34 - 0.01 * log_E, B=410.0 * 4**0.5, beta=0.28 + 0.02 * log_E, E=1.7)
    np.testing.assert_allclose(joint, laws.get("chinchilla")(N, D, **base), rtol=1e-12)


def test_without_sparsity_the_additive_law_is_chinchilla_and_one_more_power() -> None:
    dense = laws.get("moe_sparsity_additive")(
        N, D, 0.0, a=400.0, alpha=0.34, b=410.0, beta=0.28, c=0.05, lam=0.3, d=5.0, delta=0.2, gamma=0.15, e=1.65
    )
    np.testing.assert_allclose(dense, laws.get("chinchilla")(N, D, **BASE) + 5 / N**0.15, rtol=1e-13)


def test_upcycling_is_multiplicative_without_interaction_and_stalls_with_it() -> None:
    law, params = laws.get("upcycling_tokens"), dict(A=30.0, a1=0.1, a2=0.2, E=1.5)
    np.testing.assert_allclose(law(D, 3e10, **params, a3=0.0), 30 * D**-0.1 * 3e10**-0.2 + 1.5, rtol=1e-13)
    stall = math.exp(0.2 / 0.01)
    np.testing.assert_allclose(law(stall, 1e9, **params, a3=0.01), law(stall, 1e12, **params, a3=0.01), rtol=1e-12)
    sized = laws.get("upcycling_size")
    large = sized(D, 3e10, 1e60, **params, a3=0.01, B=400.0, b=0.34)
    np.testing.assert_allclose(large, law(D, 3e10, **params, a3=0.01), rtol=1e-12)


# Sparsity and streams


def test_a_dense_model_of_the_sparse_law_is_chinchilla() -> None:
    params = dict(a_S=16.8, b_S=0.722, c_S=45.0, b_N=0.245, a_D=6.9e8, b_D=0.203, c=0.651)
    base = dict(E=0.651, A=16.8 + 45.0, alpha=0.245, B=6.9e8**0.203, beta=0.203)
    np.testing.assert_allclose(laws.get("sparse_nd")(0.0, N, D, **params), laws.get("chinchilla")(N, D, **base))


def test_no_further_training_undoes_pruning() -> None:
    params = dict(gamma=-1.0, delta=0.02, N_C=100.0, alpha=0.3, D_C=300.0, beta=0.3, E=0.1)
    offset = 0.3 * 1e9**-0.02 * (100 / 1e9**0.3 + 0.1)
    np.testing.assert_allclose(laws.get("p2_pruning")(2.0, 1e9, 1e60, 0.3, **params), 2 + offset, rtol=1e-6)


def test_the_average_size_of_a_pruned_model() -> None:
    np.testing.assert_allclose(
        laws.get("average_params")(N, D, **BASE), laws.get("chinchilla")(N, D, **BASE), rtol=1e-14
    )
    time = np.linspace(0.0, 1.0, 100001)
    assert np.mean(np.interp(time, [0.25, 0.75], [1.0, 0.5])) == pytest.approx(0.75, rel=1e-4)


def test_one_stream_is_a_power_law_with_a_floor() -> None:
    params = dict(E=0.75, A=1.12e7, alpha=0.222)
    expected = laws.get("power_law_floor")(N, c=0.75, a=1.12e7**0.222, b=0.222)
    np.testing.assert_allclose(laws.get("parallel_streams")(N, 1.0, **params, k=0.4), expected, rtol=1e-13)
    np.testing.assert_allclose(laws.get("parallel_streams_rho")(N, 1.0, **params, rho=0.3), expected, rtol=1e-13)


def test_eight_streams_are_worth_a_larger_model() -> None:
    params = dict(E=0.75, A=1.12e7, alpha=0.222, k=0.4)
    larger = laws.get("parallel_streams")(1.832 * N, 1.0, **params)
    np.testing.assert_allclose(laws.get("parallel_streams")(N, 8.0, **params), larger, rtol=1e-4)


@pytest.mark.parametrize(
    ("group", "params", "rms"),
    [
        ("stack", dict(E=0.750, A=1.12e7, k=0.413, alpha=0.222), 0.0023),
        ("pile", dict(E=1.340, A=1.56e8, k=0.351, alpha=0.210), 0.0015),
    ],
)
def test_residuals_of_parallel_streams(data: Path, group: str, params: dict[str, float], rms: float) -> None:
    rows = [row for row in read(data, "scalebench_parallel_train.csv") if row["group"] == group]
    assert len(rows) == 18
    loss = laws.get("parallel_streams")(column(rows, "params"), column(rows, "parallel_streams"), **params)
    residual = np.log(loss) - np.log(column(rows, "loss"))
    np.testing.assert_allclose(np.sqrt(np.mean(residual**2)), rms, atol=5e-5)


def test_correlated_streams_gain_nothing_and_independent_ones_divide_the_loss() -> None:
    law, params = laws.get("parallel_streams_rho"), dict(A=1.12e7, alpha=0.222)
    one = law(N, 1.0, E=0.0, rho=0.5, **params)
    np.testing.assert_allclose(law(N, 8.0, E=0.0, rho=1.0, **params), one, rtol=1e-13)
    np.testing.assert_allclose(law(N, 8.0, E=0.0, rho=0.0, **params), one / 8, rtol=1e-13)
    diversity = (7 * 0.3 + 1) ** (-1 / 0.222)
    np.testing.assert_allclose(
        law(N, 8.0, E=0.0, rho=0.3, **params), (1.12e7 / (N * 8 ** (1 / 0.222) * diversity)) ** 0.222, rtol=1e-13
    )
