"""Laws of hyperparameters: limits, slopes, reductions and fits to published data."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
get = laws.get
D = np.array([2e9, 2e10, 5e12])
FAR = 1e60


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


def slope(function: Callable[[Any], Any], at: float) -> float:
    """The log-log slope."""
    return float(jax.grad(lambda u: jnp.log(jnp.abs(function(jnp.exp(u)))))(float(np.log(at))))


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


def published(name: str, label: str) -> dict[str, float]:
    return dict(get(name).published[label])


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
