"""Limits, reductions and ratios of laws of precision, hyper-parameters, transfer and distillation."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import Law

pytestmark = pytest.mark.usefixtures("x64")
N = np.array([1e7, 1e9, 1e11])
D = np.array([2e9, 2e10, 5e12])
BASE = dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
FAR = 1e60
get = laws.get


def published(name: str, label: str) -> dict[str, float]:
    return dict(get(name).published[label])


def slope(function: Callable[[Any], Any], at: float) -> float:
    """The log-log slope."""
    return float(jax.grad(lambda u: jnp.log(jnp.abs(function(jnp.exp(u)))))(float(np.log(at))))


# Precision.

CAPACITY = published("precision_capacity", "kumar2024")
WITHOUT = {**CAPACITY, "n_w": 0.0, "n_a": 0.0, "n_kv": 0.0}


def test_capacity_without_loss_of_precision_is_the_model() -> None:
    np.testing.assert_allclose(get("precision_capacity")(N, 1e4, 1e4, 1e4, **CAPACITY), N, rtol=1e-14)
    loss = get("precision_capacity_loss")(N, D, 1e4, 1e4, 1e4, **BASE, **CAPACITY)
    np.testing.assert_allclose(loss, get("chinchilla")(N, D, **BASE), rtol=1e-14)


@pytest.mark.parametrize(("place", "bits"), [(0, 0.8122), (1, 3.110), (2, 2.316)])
def test_capacity_ends_at_the_offset(place: int, bits: float) -> None:
    def kept(P: float) -> float:
        precisions = [1e9] * 3
        precisions[place] = P
        return float(get("precision_capacity")(1.0, *precisions, **CAPACITY))

    assert kept(0.999 * bits) == pytest.approx(1e-6, rel=1e-5) == kept(0.1 * bits)
    assert 1e-5 < kept(1.001 * bits) < 2e-2


@pytest.mark.parametrize(("params", "best"), [(CAPACITY, 7.00), (WITHOUT, 3.47)])
def test_bits_that_give_most_capacity_for_their_memory(params: dict[str, float], best: float) -> None:
    P = np.linspace(2.0, 16.0, 14001)
    worth = np.asarray(get("precision_capacity")(1.0, P, P, P, **params)) / P
    assert P[np.argmax(worth)] == pytest.approx(best, abs=0.005)


PTQ = published("precision_ptq_wide", "kumar2024")
RATES = dict(C_w=0.3, C_a=0.5, C_kv=0.7)


def test_many_bits_in_training_leave_the_wide_law() -> None:
    P_post = np.array([2.0, 3.0, 6.0])
    wide = get("precision_ptq_wide")(1e9, 1e11, P_post, **PTQ)
    full = get("precision_ptq")(1e9, 1e11, P_post, 16.0, 16.0, 16.0, **PTQ, C_w=1e3, C_a=1e3, C_kv=1e3)
    np.testing.assert_allclose(full, wide, rtol=1e-14)
    kept = np.prod([1 - np.exp(-C * (8 - P_post)) for C in RATES.values()], axis=0)
    eight = get("precision_ptq")(1e9, 1e11, P_post, 8.0, 8.0, 8.0, **PTQ, **RATES)
    np.testing.assert_allclose(eight, wide * kept, rtol=1e-12)


@pytest.mark.parametrize("bits", [(4.0, 16.0, 16.0), (16.0, 3.0, 16.0), (8.0, 8.0, 2.0)])
def test_no_fewer_bits_after_training_than_in_it_add_nothing(bits: tuple[float, float, float]) -> None:
    assert float(get("precision_ptq")(1e9, 1e11, 4.0, *bits, **PTQ, **RATES)) == 0.0


@pytest.mark.parametrize(("b", "expected"), [(0.0, 2.946e11), (1.1277, 9.574e10)])
def test_tokens_beyond_which_more_of_them_harm_a_quantized_model(b: float, expected: float) -> None:
    tokens = np.geomspace(1e10, 1e12, 20001)
    trained = get("chinchilla")(1e9, tokens, E=2.7648, A=4.299e3, alpha=0.4965, B=1.806e4, beta=0.4965)
    total = np.asarray(trained + get("precision_ptq_wide")(1e9, tokens, 4.0, **{**PTQ, "b": b}))
    assert tokens[np.argmin(total)] == pytest.approx(expected, rel=1e-3)
    K = 0.0598 * np.exp(-4 / 0.5907 + b) / 1e9**0.3439
    assert (0.4965 * 1.806e4 / (0.5068 * K)) ** (1 / (0.4965 + 0.5068)) == pytest.approx(expected, rel=1e-3)


def test_groups_of_weights_in_quantized_training() -> None:
    params = dict(k=0.1, g_D=0.07, g_G=0.8, g_N=0.2)
    delta = get("qat_delta")
    np.testing.assert_allclose(delta(1e9, 1e11, 128.0, **params) / delta(1e9, 1e11, 32.0, **params), 1.4**0.8)
    assert float(delta(1e9, 1e11, 1.0, **params)) == 0.0
    assert delta(2e9, 1e11, 32.0, **params) < delta(1e9, 1e11, 32.0, **params) < delta(1e9, 2e11, 32.0, **params)


def test_power_and_exponential_in_the_bits_part_above_four() -> None:
    power, exponential = published("qid_low_bit", "ouyang2024"), PTQ
    for low, high, of_power, of_exponential in ((2.0, 4.0, 45.15, 29.54), (4.0, 8.0, 45.15, 872.7)):
        first = get("qid_low_bit")(7e9, 1e12, low, **power) / get("qid_low_bit")(7e9, 1e12, high, **power)
        assert float(first) == pytest.approx(of_power, rel=1e-3)
        wide = get("precision_ptq_wide")
        second = wide(7e9, 1e12, low, **exponential) / wide(7e9, 1e12, high, **exponential)
        assert float(second) == pytest.approx(of_exponential, rel=1e-3)


def test_best_share_of_quantized_training_at_its_ends() -> None:
    share = get("qat_fraction")
    assert float(share(1e300, a=6.7297)) > 0.99
    assert float(share(1.01, a=6.7297)) < 1e-200
    S = 300.0
    np.testing.assert_allclose(share(S, a=6.7297), np.exp(np.log(S) - 6.7297 / np.log(S)) / S, rtol=1e-14)


def test_a_dense_representation_is_chinchilla() -> None:
    expected = get("chinchilla")(N, D, **BASE)
    np.testing.assert_allclose(get("representation_capacity")(N, D, **BASE, rho=1.0), expected, rtol=1e-14)
    np.testing.assert_allclose(get("representation_capacity_bits")(N, D, 1e4, **BASE, g=2.0), expected, rtol=1e-14)
    rho = 1 - np.exp(-4 / 2.0)
    few = get("representation_capacity_bits")(N, D, 4.0, **BASE, g=2.0)
    np.testing.assert_allclose(few, get("representation_capacity")(N, D, **BASE, rho=rho), rtol=1e-14)


# Learning rate and batch size.


def test_ratios_of_the_learning_rate_over_horizons() -> None:
    law, params = get("horizon_lr"), dict(c=1.0, alpha=0.23, beta=0.32)
    assert float(law(1e9, 1e11, **params) / law(1e9, 1e10, **params)) == pytest.approx(0.4786, rel=1e-3)
    assert float(law(1e10, 1e10, **params) / law(1e9, 1e10, **params)) == pytest.approx(0.5888, rel=1e-3)


def test_ratios_of_batch_sizes() -> None:
    crit = get("batch_tokens_power_crit")
    assert float(crit(1e11, k=3.0, m=0.47) / crit(1e10, k=3.0, m=0.47)) == pytest.approx(2.951, rel=1e-3)
    np.testing.assert_allclose(get("bcrit_linear")(2e10, k=1e-4), 2 * get("bcrit_linear")(1e10, k=1e-4), rtol=1e-14)
    np.testing.assert_allclose(crit(D, k=1e-4, m=1.0), get("bcrit_linear")(D, k=1e-4), rtol=1e-12)


def test_steps_and_examples_lie_on_a_hyperbola() -> None:
    B, S_min, B_c = np.geomspace(1.0, 1e5, 11), 1e3, 400.0
    S = get("batch_hyperbola_steps")(B, S_min=S_min, B_c=B_c)
    E = get("batch_hyperbola_examples")(B, E_min=B_c * S_min, B_c=B_c)
    np.testing.assert_allclose((S / S_min - 1) * (E / (B_c * S_min) - 1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(E, B * S, rtol=1e-13)
    assert float(get("batch_hyperbola_steps")(B_c, S_min=S_min, B_c=B_c)) == 2 * S_min
    assert float(get("batch_hyperbola_examples")(B_c, E_min=7.0, B_c=B_c)) == 14.0


def test_steps_with_a_free_power_end_in_the_hyperbola_and_the_floor() -> None:
    law, B = get("steps_batch_floor"), np.geomspace(1.0, 1e5, 11)
    hyperbola = get("batch_hyperbola_steps")(B, S_min=1e3, B_c=100.0)
    np.testing.assert_allclose(law(B, a=1e3, b=1e5, gamma=1.0), hyperbola, rtol=1e-14)
    np.testing.assert_allclose(law(FAR, a=1e3, b=1e5, gamma=0.7), 1e3, rtol=1e-14)


def test_batch_size_that_takes_a_fifth_more_steps_than_linear_scaling() -> None:
    law, params, B = get("steps_batch_floor"), dict(a=1e3, b=1e5, gamma=1.0), np.linspace(2.0, 100.0, 98001)
    excess = np.asarray(law(B, **params)) - 1.2 * float(law(1.0, **params)) / B
    assert B[np.argmax(excess > 0)] == pytest.approx(21.2, rel=5e-3)


def test_the_noise_scale_follows_from_two_batch_sizes() -> None:
    B1, B2 = 10.0, 20.0
    g1, g2 = (float(get("noise_scale")(B, G2=1.0, B_simple=90.0)) for B in (B1, B2))
    assert (B2 * g2 - B1 * g1) / (B2 - B1) == pytest.approx(1.0, rel=1e-12)
    assert (g1 - g2) / (1 / B1 - 1 / B2) == pytest.approx(90.0, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "most"), [("lr_batch_saturation_lr", "eta_max"), ("lr_batch_saturation_gain", "dL_max")]
)
def test_saturation_in_the_batch_size(name: str, most: str) -> None:
    law, params = get(name), {most: 0.3, "B_noise": 500.0}
    np.testing.assert_allclose(law(500.0, **params), 0.15, rtol=1e-14)
    np.testing.assert_allclose(law(FAR, **params), 0.3, rtol=1e-14)
    assert slope(lambda B: law(B, **params), 1e-6) == pytest.approx(1.0, rel=1e-6)


def test_the_average_keeps_its_half_life_in_samples() -> None:
    kappa = np.array([0.5, 1.0, 8.0, 64.0])
    momentum = get("batch_scaling_rules_ema")(kappa, rho=0.9999)
    np.testing.assert_allclose(kappa * np.log(0.5) / np.log(momentum), np.log(0.5) / np.log(0.9999), rtol=1e-9)
    np.testing.assert_allclose(get("batch_scaling_rules_sgd")(kappa, eta=0.1), 0.1 * kappa, rtol=1e-14)
    np.testing.assert_allclose(get("batch_scaling_rules_adam")(kappa, eta=0.1), 0.1 * kappa**0.5, rtol=1e-14)


def test_the_learning_rate_has_three_regimes_in_the_tokens() -> None:
    params = dict(k=1e-6, t1=1e10, t2=1e14, f=0.2)
    law = get("horizon_lr_regimes")
    for tokens, expected in ((1e5, 0.5), (1e12, 0.0), (1e20, -0.5)):
        assert slope(lambda T: law(T, 1.0, **params), tokens) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(law(1e12, 1.0, **params), 0.1, rtol=1e-6)
    np.testing.assert_allclose(law(1e5, 1.0, **params), 1e-6 * 1e5**0.5, rtol=1e-12)


def test_a_bowl_is_a_parabola_in_the_log_learning_rate() -> None:
    params = dict(L_min=2.5, a=0.04, eta_opt=1e-3)
    eta = np.geomspace(1e-4, 1e-2, 7)
    loss = get("lr_loss_bowl_lr")(eta, **params)
    q2, q1, q0 = np.polyfit(np.log(eta), loss, 2)
    assert np.exp(-q1 / (2 * q2)) == pytest.approx(1e-3, rel=1e-9)
    assert q0 - q1**2 / (4 * q2) == pytest.approx(2.5, rel=1e-9)
    x = np.sqrt(0.0025 * 2.5 / 0.04)
    edges = get("lr_loss_bowl_lr")(1e-3 * np.exp([-x, x]), **params)
    np.testing.assert_allclose(edges, 1.0025 * 2.5, rtol=1e-12)
    flat = get("lr_loss_bowl")(eta, 1e6, **params, b=0.0, c=0.0, B_opt=3e5)
    np.testing.assert_allclose(flat, loss, rtol=1e-14)


def read(file: Path) -> dict[str, np.ndarray]:
    with open(file, newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def test_the_step_law_finds_nearly_the_best_run_of_every_cell(data: Path) -> None:
    table = read(data / "lr_batch_dense.csv")
    rate = get("step_law_lr")(table["params"], table["tokens"], **published("step_law_lr", "li2025"))
    batch = get("step_law_batch")(table["tokens"], **published("step_law_batch", "li2025"))
    distance = np.abs(np.log(table["lr"] / rate)) + np.abs(np.log(table["batch_size"] / batch))
    cells = np.unique(np.stack([table["params"], table["tokens"]]), axis=1).T
    excess = []
    for size, tokens in cells:
        rows = np.flatnonzero((table["params"] == size) & (table["tokens"] == tokens))
        chosen = rows[np.argmin(distance[rows])]
        excess.append(table["loss"][chosen] / table["loss"][rows].min() - 1)
    assert len(cells) == 17
    assert 100 * np.mean(excess) == pytest.approx(0.104, rel=5e-3)
    assert 100 * np.max(excess) == pytest.approx(0.310, rel=5e-3)


# Weight decay and width.


def test_weight_decay_keeps_the_best_timescale() -> None:
    params = published("adamw_timescale_lambda", "bergsma2025")
    law = get("adamw_timescale_lambda")
    B, eta = np.array([1e5, 1e6, 4e6]), 0.01
    decay = law(B, eta, 2e10, 1e9, **params)
    np.testing.assert_allclose(decay / B, decay[0] / B[0], rtol=1e-12)
    np.testing.assert_allclose(B / (eta * decay * 2e10), get("adamw_timescale_tau")(2e10, 1e9, **params), rtol=1e-12)


def test_width_rules_keep_the_top_singular_value() -> None:
    d = np.array([256.0, 1024.0, 4096.0])
    eta, decay = get("weight_decay_width_lr")(d, k=2.0), get("weight_decay_width_lambda")(d, k=0.01)
    np.testing.assert_allclose([eta[0] / eta[1], decay[1] / decay[0]], [4.0, 2.0], rtol=1e-12)
    top = get("weight_decay_width_sigma")(eta, decay, d, c=0.3)
    np.testing.assert_allclose(top / top[0], 1.0, rtol=1e-12)


def test_a_quadratic_bowl_doubles_the_power_of_the_error() -> None:
    n = np.geomspace(64.0, 8192.0, 5)
    error = get("hp_transfer_speed_error")(n, H=3.0, b=0.4)
    cost = get("hp_transfer_speed_tuning")(n, K=0.5, H=3.0, b=0.4)
    np.testing.assert_allclose(cost, 0.25 * error**2, rtol=1e-13)
    np.testing.assert_allclose(cost, get("hp_transfer_speed_loss")(n, A=0.25 * 9.0, a=0.8), rtol=1e-12)


def test_without_a_slope_the_learning_rate_transfers() -> None:
    np.testing.assert_array_equal(get("mup_invariance")(np.array([64.0, 4096.0]), k=0.01, s=0.0), 0.01)


# Fine-tuning and transfer.


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


# Continual pre-training.


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


# Distillation.

DISTILLED: Law = get("distillation")
RECALLED = DISTILLED.checks[0].params
PARAMS = {} if isinstance(RECALLED, str) else dict(RECALLED)


def test_the_best_teacher_is_not_the_strongest() -> None:
    L_T = np.linspace(1.3, 2.6, 13001)
    loss = np.asarray(DISTILLED(1e9, 2e10, L_T, **PARAMS))
    assert L_T[np.argmin(loss)] == pytest.approx(1.723, rel=1e-3)
    assert loss.min() == pytest.approx(2.252, rel=1e-3)


def test_a_poor_teacher_is_all_that_its_student_learns() -> None:
    np.testing.assert_allclose(DISTILLED(N, D, 50.0, **PARAMS), 50.0, rtol=1e-12)


def test_distillation_in_stages_is_distillation() -> None:
    outer = {key: PARAMS[f"{key}_s"] for key in ("A", "alpha", "B", "beta", "gamma")}
    Ls = PARAMS["E_s"] + (outer["A"] / N ** outer["alpha"] + outer["B"] / D ** outer["beta"]) ** outer["gamma"]
    rest = {key: value for key, value in PARAMS.items() if not key.endswith("_s")}
    staged = get("distillation_staged")(N, D, 2.0, Ls, **rest)
    np.testing.assert_allclose(staged, DISTILLED(N, D, 2.0, **PARAMS), rtol=1e-12)
