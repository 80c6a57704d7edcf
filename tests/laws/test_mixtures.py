"""Laws of mixtures: limits, slopes, reductions and fits to published data."""

import math

import jax
import numpy as np
import pytest

from jaxscale import laws
from tests.law_tables import BASE, D, N, grid

pytestmark = pytest.mark.usefixtures("x64")
THIRDS = dict(C1=1.0, C2=2.0, C3=3.0, g1=0.5, g2=0.5, g3=0.5)


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
