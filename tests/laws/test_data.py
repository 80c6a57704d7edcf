"""Laws of data: limits, slopes, reductions and fits to published data."""

import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
D = np.array([2e9, 2e10, 5e12])
CONSTRAINED = laws.get("data_constrained").published["muennighoff2023"]
ND = np.array([[1e7, 1e9, 1e11], [2e9, 2e10, 5e12]])
BASE = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}


def test_filtered_data_of_constant_utility_follow_a_power_law() -> None:
    utility = laws.get("filtering_utility")
    n = np.geomspace(1e5, 1e11, 7)
    power = 2.0 * n**-0.2 + 0.1
    np.testing.assert_allclose(utility(n, 1e7, a=2.0, b=-0.2, tau=1e12, d=0.1), power, rtol=1e-6)
    np.testing.assert_allclose(utility(n, 1e12, a=2.0, b=-0.2, tau=2.0, d=0.1), power, rtol=1e-13)


def test_a_mixture_of_one_pool_and_of_equal_pools() -> None:
    n = np.geomspace(1e6, 1e9, 7)
    alone = laws.get("filtering_utility")(n, 1e7, a=2.0, b=-0.2, tau=2.0, d=0.1)
    one = laws.get("filtering_pool_mix[1]")(n, 1e7, a=2.0, d=0.1, b1=-0.2, tau1=2.0)
    np.testing.assert_allclose(one, alone, rtol=1e-14)
    # Of two pools each sample comes round half as often, so half the half-life gives the same curve.
    two = laws.get("filtering_pool_mix[2]")(n, 1e7, a=2.0, d=0.1, b1=-0.2, tau1=1.0, b2=-0.2, tau2=1.0)
    np.testing.assert_allclose(two, alone, rtol=1e-14)


def test_a_data_multiplier_shifts_the_reference_curve() -> None:
    params = dict(E=0.1, A=5.0, alpha=0.3)
    multiplier = laws.get("data_multiplier")
    np.testing.assert_allclose(multiplier(D, 1.0, **params, m=8.0), multiplier(8 * D, 0.0, **params, m=8.0), rtol=1e-14)
    np.testing.assert_array_equal(multiplier(D, 1.0, **params, m=1.0), multiplier(D, 0.0, **params, m=1.0))


def test_collapse_is_linear_in_generations() -> None:
    error = laws.get("collapse_ols")(np.arange(5.0), 400.0, 300.0, 100.0, sigma_sq=0.3, sigma0_sq=0.7)
    np.testing.assert_allclose(np.diff(error), 0.7 * 100 / 199, rtol=1e-12)


def test_a_cut_tail_leaves_a_floor_and_none_a_power_law() -> None:
    tails, params = laws.get("tails_truncation"), dict(a=2.0, b=3.0, beta=1.5)
    np.testing.assert_allclose(tails(D, 1e60, **params), 2.0 * D ** (-1 / 3), rtol=1e-6)
    floors = [tails(1e60, T0 ** (1 / 1.5), **params) for T0 in (1e4, 1e7)]
    np.testing.assert_allclose(np.log(floors[1] / floors[0]), -np.log(1e3) / 3, rtol=1e-6)


@pytest.mark.parametrize(("ranks", "expected"), [(10**5, -0.347), (10**7, -0.335)])
def test_missing_mass_of_a_distribution_of_ranks_falls_with_the_known_slope(ranks: int, expected: float) -> None:
    p = np.arange(1.0, ranks + 1) ** -1.5
    p /= p.sum()
    missing = [np.sum(p * np.exp(T * np.log1p(-p))) for T in (1e3, 1e4)]
    np.testing.assert_allclose(np.log10(missing[1] / missing[0]), expected, rtol=5e-3)
    whole = laws.get("tails_truncation")(np.array([1e3, 1e4]), 1e60, a=1.0, b=1.0, beta=1.5)
    np.testing.assert_allclose(np.log10(whole[1] / whole[0]), expected, rtol=0.05)


def test_pruned_data_give_a_straight_line_in_plain_size() -> None:
    P = np.array([1e3, 2e3, 3e3])
    np.testing.assert_allclose(np.diff(np.log(laws.get("pruned_exponential")(P, a=2.0, b=1e-3))), -1.0, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.353, 0.29])
def test_without_decay_data_constrained_is_chinchilla(beta: float) -> None:
    base = {**BASE, "beta": beta}
    limit = laws.get("data_constrained")(*ND, 1e9, **base, R_D=1e12, R_N=1e12)
    np.testing.assert_allclose(limit, laws.get("chinchilla")(*ND, **base), rtol=1e-6)


def test_with_ample_unique_data_data_constrained_is_chinchilla() -> None:
    limit = laws.get("data_constrained")(*ND, 1e16, **CONSTRAINED)
    np.testing.assert_allclose(limit, laws.get("chinchilla")(*ND, **BASE), rtol=1e-13)


def test_the_suited_model_size_is_the_optimum_on_the_unique_data() -> None:
    # Below 0.05115 parameters a unique token nothing is in excess, above it something is.
    constrained, plain = laws.get("data_constrained"), laws.get("chinchilla")
    for share, exact in ((0.0511, True), (0.0512, False)):
        N = share * 1e10
        same = abs(float(constrained(N, 1e10, 1e10, **CONSTRAINED) - plain(N, 1e10, **BASE))) < 1e-12
        assert same is exact
        excess = float(constrained(2 * N, 1e10, 1e10, **CONSTRAINED) - plain(2 * N, 1e10, **BASE))
        assert excess > 1e-5
    above = laws.get("data_constrained")(1e30, 1e10, 1e10, **{**CONSTRAINED, "R_N": 1e-9, "E": 0.0})
    suited = plain(0.05115e10, 1e10, **{**BASE, "E": 0.0})
    np.testing.assert_allclose(above, suited, rtol=1e-4)


def test_repetition_is_the_identity_within_an_epoch_and_without_decay() -> None:
    repetition = laws.get("repetition_tokens")
    D = np.geomspace(1e6, 1e10, 9)
    np.testing.assert_array_equal(repetition(1e10, D, R_D=15.0), D)
    np.testing.assert_allclose(repetition(1e8, D, R_D=1e12), D, rtol=1e-6)
