"""Laws of mixtures of experts: limits, slopes, reductions and fits to published data."""

import math
from pathlib import Path

import numpy as np
import pytest

from jaxscale import laws
from tests.law_tables import BASE, D, N, column, grid, published, read

pytestmark = pytest.mark.usefixtures("x64")
SBASE = dict(a=-0.082, b=-0.108, c=0.009, E_start=1.847, E_max=314.478)


def test_the_saturating_transform_starts_and_ends_where_it_says() -> None:
    law = laws.get("saturating_transform")
    for params in law.published.values():
        np.testing.assert_allclose(law(0.0, **params), params["x_start"], rtol=1e-14)
        np.testing.assert_allclose(law(1e30, **params), params["x_max"], rtol=1e-6)


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


def test_fine_grained_experts_approach_chinchilla() -> None:
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
