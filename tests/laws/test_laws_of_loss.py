"""What the literature fixes of the laws of loss: limits, identities, and the published runs."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
CHINCHILLA, CONSTRAINED = laws.get("chinchilla").published, laws.get("data_constrained").published["muennighoff2023"]
KAPLAN_ND = laws.get("kaplan_nd").published["kaplan2020"]


def test_without_an_excess_the_constrained_law_is_the_unconstrained_one() -> None:
    params = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}
    np.testing.assert_allclose(laws.get("chinchilla")(2.8e9, 4e10, **params), 2.3802, rtol=1e-3)


def test_log_log_slope_of_kaplan_is_minus_alpha() -> None:
    slope = jax.grad(lambda u: jnp.log(laws.get("kaplan_single")(jnp.exp(u), X_c=8.8e13, alpha=0.076)))
    np.testing.assert_allclose(slope(20.0), -0.076, rtol=1e-13)


def test_power_law_on_the_certified_problem_danwood() -> None:
    x = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
    y = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
    residual = laws.get("power_law")(x, a=0.76886226176, b=3.8604055871) - y
    np.testing.assert_allclose(residual @ residual, 4.3173084083e-3, rtol=1e-9)


def test_optimal_ratio_of_the_tied_law_is_constant() -> None:
    tied = laws.get("chinchilla_tied")
    params = tied.published["muennighoff2023"]
    for compute in (1e19, 1e23):
        ratios = np.geomspace(5, 80, 20001)
        N = np.sqrt(compute / (6 * ratios))
        best = ratios[np.argmin(tied(N, compute / (6 * N), **params))]
        np.testing.assert_allclose(best, 19.55, rtol=1e-3)


def test_slopes_of_the_broken_law_on_either_side_of_its_break() -> None:
    params = dict(a=0.0, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
    slope = jax.grad(lambda u: jnp.log(laws.get("bnsl1")(jnp.exp(u), **params)))
    np.testing.assert_allclose([slope(-20.0), slope(60.0)], [-0.1, -0.4], rtol=1e-12)


def test_a_sharp_break_does_not_overflow() -> None:
    params = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1.0, f1=0.001)
    np.testing.assert_allclose(laws.get("bnsl1")(1e6, **params), 0.1 + 5 * 1e6**-0.4, rtol=1e-12)


ND = np.array([[1e7, 1e9, 1e11], [2e9, 2e10, 5e12]])
BASE = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}
ONE_BREAK = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
X = np.geomspace(1e2, 1e10, 9)


def test_chinchilla_with_one_exponent_is_the_tied_law() -> None:
    tied = dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)
    expected = laws.get("chinchilla")(*ND, **tied, beta=0.353)
    np.testing.assert_allclose(laws.get("chinchilla_tied")(*ND, **tied), expected, rtol=1e-15)


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


def test_kaplan_nd_ends_in_the_single_laws() -> None:
    single = laws.get("kaplan_single")
    many = laws.get("kaplan_nd")(ND[0], 1e60, **KAPLAN_ND)
    np.testing.assert_allclose(many, single(ND[0], X_c=KAPLAN_ND["N_c"], alpha=KAPLAN_ND["alpha_N"]), rtol=1e-6)
    large = laws.get("kaplan_nd")(1e60, ND[1], **KAPLAN_ND)
    np.testing.assert_allclose(large, single(ND[1], X_c=KAPLAN_ND["D_c"], alpha=KAPLAN_ND["alpha_D"]), rtol=1e-6)


def test_without_a_change_of_slope_a_break_vanishes() -> None:
    floor = laws.get("power_law_floor")(X, c=0.1, a=5.0, b=0.1)
    np.testing.assert_allclose(laws.get("bnsl1")(X, **{**ONE_BREAK, "c1": 0.0}), floor, rtol=1e-14)
    second = laws.get("bnsl2")(X, **ONE_BREAK, c2=0.0, d2=1e8, f2=1.0)
    np.testing.assert_allclose(second, laws.get("bnsl1")(X, **ONE_BREAK), rtol=1e-14)


def test_without_a_shift_the_shifted_law_is_the_power_law_with_a_floor() -> None:
    shifted = laws.get("shifted_power")(X, c=0.2, a=5.0, x0=0.0, b=0.35)
    np.testing.assert_allclose(shifted, laws.get("power_law_floor")(X, c=0.2, a=5.0, b=0.35), rtol=1e-14)


def test_without_a_floor_the_power_law_remains() -> None:
    bare = laws.get("power_law_floor")(X, c=0.0, a=5.0, b=0.35)
    np.testing.assert_allclose(bare, laws.get("power_law")(X, a=5.0, b=-0.35), rtol=1e-14)


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
