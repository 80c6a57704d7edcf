"""Laws of transfer: limits, slopes, reductions and fits to published data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import Law

pytestmark = pytest.mark.usefixtures("x64")
get = laws.get
D = np.array([2e9, 2e10, 5e12])
FAR = 1e60
DISTILLED: Law = get("distillation")
RECALLED = DISTILLED.checks[0].params
PARAMS = {} if isinstance(RECALLED, str) else dict(RECALLED)
N = np.array([1e7, 1e9, 1e11])


def published(name: str, label: str) -> dict[str, float]:
    return dict(get(name).published[label])


def test_ratios_of_transferred_tokens() -> None:
    law, params = get("transfer_tokens"), published("transfer_tokens", "hernandez2021")
    assert float(law(1e8, 1e9, **params) / law(1e7, 1e9, **params)) == pytest.approx(1.514, rel=1e-3)
    assert float(law(1e7, 1e10, **params) / law(1e7, 1e9, **params)) == pytest.approx(2.399, rel=1e-3)


def test_two_ways_of_finetuning_cross_where_their_terms_do() -> None:
    law, X = get("finetune_joint"), 1e9
    one, other = dict(A=20.0, alpha=0.1, beta=0.05, E=1.2), dict(A=90.0, alpha=0.12, beta=0.11, E=1.2)
    D_f = (one["A"] * X**-0.1 / (other["A"] * X**-0.12)) ** (1 / (0.05 - 0.11))
    np.testing.assert_allclose(law(X, D_f, **one), law(X, D_f, **other), rtol=1e-12)
    np.testing.assert_allclose(law(1e300, 1e4, **other), 1.2, rtol=1e-12)


def slope(function: Callable[[Any], Any], at: float) -> float:
    """The log-log slope."""
    return float(jax.grad(lambda u: jnp.log(jnp.abs(function(jnp.exp(u)))))(float(np.log(at))))


def test_the_rectified_law_at_its_ends() -> None:
    law, params = get("rectified_sft"), dict(B=30.0, D_l=50.0, beta=0.6, E=0.4)
    examples = np.geomspace(1e2, 1e7, 6)
    floor = get("power_law_floor")(examples, c=0.4, a=30.0, b=0.6)
    np.testing.assert_allclose(law(examples, **{**params, "D_l": 0.0}), floor, rtol=1e-14)
    np.testing.assert_allclose(law(0.0, **params), 30.0 / 50.0 + 0.4, rtol=1e-14)
    bare = {**params, "E": 0.0}
    turn = 50.0 ** (1 / 0.6)
    assert slope(lambda x: law(x, **bare), turn) == pytest.approx(-0.3, rel=1e-12)
    expected = -0.6 * 1e4**0.6 / (50.0 + 1e4**0.6)
    assert slope(lambda x: law(x, **bare), 1e4) == pytest.approx(expected, rel=1e-12)


def test_losses_against_losses() -> None:
    law, params = get("loss_to_loss"), dict(K=1.3, E0=1.8, kappa=0.9, E1=1.1)
    np.testing.assert_allclose(law(1.8, **params), 1.1, rtol=1e-9)
    L0 = np.array([2.0, 3.0, 4.0])
    np.testing.assert_allclose(law(L0, **{**params, "kappa": 1.0}), 1.3 * (L0 - 1.8) + 1.1, rtol=1e-14)


def test_downstream_of_pretraining_tokens() -> None:
    np.testing.assert_allclose(get("pretrain_data_ce")(FAR, E=0.7, A=50.0, alpha=0.3), 0.7, rtol=1e-12)
    score = get("bleu_log")(D, A=3.0, alpha=0.2, beta=1.0)
    np.testing.assert_allclose(score, np.log(3.0) + 0.2 * np.log(D), rtol=1e-14)


def test_lines_in_logs_of_examples() -> None:
    assert slope(lambda x: get("alignment_power")(x, a=0.2, b=0.17), 1e3) == pytest.approx(0.17, rel=1e-12)
    law = get("math_sft_log")
    gain = law(2e4, a=-0.3, b=0.07) - law(1e4, a=-0.3, b=0.07)
    np.testing.assert_allclose(gain, 0.07 * np.log(2), rtol=1e-12)


def test_accuracy_is_a_line_in_the_loss_within_its_range() -> None:
    law, params = get("acc_linear_loss"), dict(c0=1.5, c1=0.4)
    assert float(jax.grad(lambda L: law(L, **params))(2.0)) == pytest.approx(-0.4, rel=1e-12)
    np.testing.assert_array_equal(law(np.array([0.1, 9.0]), **params), [1.0, 0.0])


def test_nothing_is_forgotten_before_finetuning() -> None:
    value = get("forgetting")(0.0, 1e9, 2.3, A=5.0, beta=0.4, alpha=0.3, E=0.01)
    np.testing.assert_allclose(value, 2.31, rtol=1e-14)


def test_changes_in_continual_pretraining_at_their_ends() -> None:
    domain, general = get("cmr_domain"), get("cmr_general")
    np.testing.assert_allclose(domain(1e30, a1=-0.2, s1=-0.5, b1=0.1), 0.1, rtol=1e-12)
    np.testing.assert_allclose(domain(1e-30, a1=-0.2, s1=0.5, b1=0.1), 0.1, rtol=1e-12)
    T = np.geomspace(0.1, 1e3, 9)
    one = general(T, a2=-0.2, s2=0.3, a3=0.0, s3=0.9, b2=0.1)
    np.testing.assert_allclose(one, domain(T, a1=-0.2, s1=0.3, b1=0.1), rtol=1e-14)
    course = np.diff(np.asarray(general(T, a2=0.05, s2=0.2, a3=-0.005, s3=0.6, b2=0.0)))
    assert course[0] > 0 > course[-1] and np.count_nonzero(np.diff(np.sign(course))) == 1


def test_the_critical_share_grows_as_a_power_of_the_model() -> None:
    sizes, shares = np.array([460e6, 940e6, 1.6e9, 3.1e9]), np.array([0.298, 0.349, 0.414, 0.478])
    power, level = np.polyfit(np.log(sizes), np.log(shares), 1)
    assert power == pytest.approx(0.253, rel=5e-3)
    predicted = get("cmr_ratio")(sizes, a4=np.exp(level), s4=0.253, b3=0.0)
    np.testing.assert_allclose(predicted, shares, rtol=0.02)


def test_continual_pretraining_without_its_second_phase_and_in_the_end() -> None:
    law, params = get("cpt_dynamics"), published("cpt_dynamics", "wang2025_target")
    S1, S2 = np.array([0.5, 3.0, 12.0]), 0.2
    first = params["L0"] + params["A"] * S1 ** -params["alpha"] - params["C1"] * S2
    np.testing.assert_allclose(law(S1, 0.0, S2, 0.0, **params), first, rtol=1e-14)
    np.testing.assert_allclose(law(1.0, 1e300, 0.0, 0.0, **params), params["L0"] + params["B"], rtol=1e-12)


def test_the_best_teacher_is_not_the_strongest() -> None:
    L_T = np.linspace(1.3, 2.6, 13001)
    loss = np.asarray(DISTILLED(1e9, 2e10, L_T, **PARAMS))
    assert L_T[np.argmin(loss)] == pytest.approx(1.723, rel=1e-3)
    assert loss.min() == pytest.approx(2.252, rel=1e-3)


def test_a_poor_teacher_does_not_help() -> None:
    np.testing.assert_allclose(DISTILLED(N, D, 50.0, **PARAMS), 50.0, rtol=1e-12)


def test_distillation_in_stages_is_distillation() -> None:
    outer = {key: PARAMS[f"{key}_s"] for key in ("A", "alpha", "B", "beta", "gamma")}
    Ls = PARAMS["E_s"] + (outer["A"] / N ** outer["alpha"] + outer["B"] / D ** outer["beta"]) ** outer["gamma"]
    rest = {key: value for key, value in PARAMS.items() if not key.endswith("_s")}
    staged = get("distillation_staged")(N, D, 2.0, Ls, **rest)
    np.testing.assert_allclose(staged, DISTILLED(N, D, 2.0, **PARAMS), rtol=1e-12)
