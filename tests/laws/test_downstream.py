"""Laws of downstream: limits, slopes, reductions and fits to published data."""

import csv
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
N = np.geomspace(1e7, 1e11, 9)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("rpj", dict(eps=0.85699, k=2.2065, gamma=0.71459)),
        ("c4_original", dict(eps=0.84974, k=2.0789, gamma=0.75612)),
    ],
)
def test_error_exp_loss_is_least_squares_on_the_published_runs(data: Path, name: str, params: dict) -> None:
    with open(data / "overtraining.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["dataset"] == name and float(r["in_published_error_fit"]) == 1]
    loss, error = (np.array([float(row[key]) for row in rows]) for key in ("loss_c4_eval", "error_avg_17"))

    def residuals(z):
        return laws.get("error_exp_loss")(loss, **dict(zip(params, z, strict=True))) - error

    z = np.array(list(params.values()))
    step = np.linalg.lstsq(np.asarray(jax.jacfwd(residuals)(z)), -np.asarray(residuals(z)), rcond=None)[0]
    np.testing.assert_allclose(step, 0.0, atol=1e-3 * np.abs(z).max())


def test_error_exp_loss_ends_at_its_chance_level() -> None:
    params = dict(eps=0.85, k=2.2, gamma=0.7)
    error = laws.get("error_exp_loss")
    np.testing.assert_allclose(error(200.0, **params), 0.85, rtol=1e-12)
    perplexity = np.array([5.0, 50.0])
    np.testing.assert_allclose(error(np.log(perplexity), **params), 0.85 - 2.2 * perplexity**-0.7, rtol=1e-12)


def test_accuracy_sigmoid_loss_between_ceiling_and_chance() -> None:
    params = dict(a=-0.5, k=4.0, L0=1.2, b=0.75)
    accuracy = laws.get("accuracy_sigmoid_loss")
    np.testing.assert_allclose(accuracy(np.array([-50.0, 1.2, 50.0]), **params), [0.75, 0.5, 0.25], rtol=1e-12)
    turned = dict(a=0.5, k=-4.0, L0=1.2, b=0.25)
    L = np.linspace(0.5, 3.0, 7)
    np.testing.assert_allclose(accuracy(L, **turned), accuracy(L, **params), rtol=1e-12)


def test_one_step_ladders_are_compositions() -> None:
    loss, D = dict(E=1.8, A=480.0, alpha=0.35, B=2000.0, beta=0.36), 20 * N
    k, L0 = 3.0, 2.4
    two = laws.get("accuracy_sigmoid_loss")(laws.get("chinchilla")(N, D, **loss), a=-0.6, k=k, L0=L0, b=0.9)
    scaled = dict(loss, A=k * loss["A"], B=k * loss["B"], E=k * (loss["E"] - L0))
    np.testing.assert_allclose(laws.get("ladder_one_step_nd")(N, D, a=-0.6, b=0.9, **scaled), two, rtol=1e-12)
    floor = laws.get("power_law_floor")(N, c=0.5, a=40.0, b=0.2)
    two = laws.get("accuracy_sigmoid_loss")(floor, a=-0.6, k=1.0, L0=0.0, b=0.9)
    one = laws.get("ladder_one_step_c")(N, a=-0.6, b=0.9, A=40.0, alpha=0.2, E=0.5)
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_logarithmic_trends_gain_the_same_at_every_scale() -> None:
    trend = laws.get("acc_log_n")
    np.testing.assert_allclose(trend(10 * N, a=-3.0, b=5.0) - trend(N, a=-3.0, b=5.0), 5.0, rtol=1e-12)
    np.testing.assert_allclose(trend(10.0 ** ((40 + 3) / 5), a=-3.0, b=5.0), 40.0, rtol=1e-12)


def test_performance_law_gains_nothing_past_saturation() -> None:
    law, weights = laws.get("performance_law"), dict(b=1.0, w1=2.0, w2=3.0, w3=4.0, w4=5.0)
    assert law(32.0, 4096.0, 11008.0, 2e13, 1e13, **weights) == law(32.0, 4096.0, 11008.0, 1e13, 1e13, **weights)
    assert law(32.0, 4096.0, 11008.0, 5e12, 1e13, **weights) < law(32.0, 4096.0, 11008.0, 1e13, 1e13, **weights)


def test_without_weights_skills_do_not_matter() -> None:
    skills = np.linspace(-3, 3, 5)
    flat = laws.get("observational_skill2")(skills, -skills, h=0.8, alpha0=0.3, beta1=0.0, beta2=0.0)
    np.testing.assert_allclose(flat, 0.8 / (1 + np.exp(-0.3)), rtol=1e-13)


def test_sloth_lies_between_guessing_and_everything() -> None:
    theta = np.array([-50.0, 0.0, 50.0])
    found = laws.get("sloth2")(theta, theta, c=0.25, b=0.0, Lam1=1.0, Lam2=0.5)
    np.testing.assert_allclose(found, [0.25, 0.625, 1.0], rtol=1e-12)


def test_one_benchmark_of_sloth_is_its_skill_in_its_link() -> None:
    skill, t = dict(alpha=0.3, beta1=0.4, beta2=0.2, beta3=0.05), 20 * N
    theta = laws.get("sloth_skill")(N, t, **skill)
    linked = laws.get("sloth1")(theta, c=0.25, b=0.0, Lam1=1.0)
    np.testing.assert_allclose(laws.get("sloth_benchmark")(N, t, c=0.25, **skill), linked, rtol=1e-13)
    np.testing.assert_allclose(laws.get("sloth_skill")(1e9, 1e12, **skill), 0.3, rtol=1e-12)


def test_equal_options_share_the_probability() -> None:
    np.testing.assert_allclose(laws.get("choice_probability[4]")(0.1, 0.1, 0.1, 0.1, 0.1), 0.2, rtol=1e-13)


def curvature(law, **params) -> np.ndarray:
    return np.diff(np.log(-np.log(law(N, **params))), 2)


def test_one_step_and_one_circuit_are_passuntil() -> None:
    single = laws.get("passuntil")(N, c=1e3, alpha=0.35)
    for name in ("passuntil_steps1", "passuntil_circuits1"):
        np.testing.assert_allclose(laws.get(name)(N, c1=1e3, alpha1=0.35), single, rtol=1e-12)
    np.testing.assert_allclose(curvature(laws.get("passuntil"), c=1e3, alpha=0.35), 0.0, atol=1e-12)
    np.testing.assert_allclose(laws.get("passuntil")(1e60, c=1e3, alpha=0.35), 1.0, rtol=1e-12)


def test_steps_are_convex_and_circuits_concave() -> None:
    steps = curvature(laws.get("passuntil_steps2"), c1=300.0, alpha1=0.3, c2=2e4, alpha2=0.5)
    np.testing.assert_allclose([steps.min(), steps.max()], [0.01155, 0.01322], rtol=1e-3)
    circuits = curvature(laws.get("passuntil_circuits2"), c1=1e3, alpha1=0.35, c2=1e2, alpha2=0.2)
    np.testing.assert_allclose([circuits.min(), circuits.max()], [-0.02378, -0.01683], rtol=1e-3)


def test_the_mirage_is_passuntil_for_one_token() -> None:
    accuracy = laws.get("mirage_accuracy")(N, 1.0, c=1e8, alpha=-0.3)
    np.testing.assert_allclose(accuracy, laws.get("passuntil")(N, c=1e8**0.3, alpha=0.3), rtol=1e-12)
    edit = laws.get("mirage_edit")
    np.testing.assert_allclose(edit(N, 1.0, c=1e8, alpha=-0.3), 1 - accuracy, rtol=1e-12)
    np.testing.assert_allclose(edit(N, 7.0, c=1e8, alpha=-0.3), 7 * (1 - accuracy), rtol=1e-12)


def test_parity_of_speech_and_text() -> None:
    compute = laws.get("speech_skill_compute")
    ratio = (0.04 / 0.01) ** (1 / 0.1)
    np.testing.assert_allclose(compute(1e20 * ratio, k=0.01, g=0.1), compute(1e20, k=0.04, g=0.1), rtol=1e-12)


def test_negation_inverts_accuracy() -> None:
    law, x = laws.get("negation_composite"), np.array([-1.0, 0.0, 1.0])
    a = 0.6 + 0.2 * x
    for x0, expected in ((100.0, 1 - a), (-100.0, a)):
        np.testing.assert_allclose(law(x, a0=0.6, a1=0.2, k=5.0, x0=x0), expected, rtol=1e-12)
    np.testing.assert_allclose(law(1.0, a0=np.array([-3.0, 0.6, 3.0]), a1=0.2, k=5.0, x0=1.0), 0.5, rtol=1e-12)
