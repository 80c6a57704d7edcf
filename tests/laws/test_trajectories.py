"""Laws of trajectories: limits, slopes, reductions and fits to published data."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
TRAJECTORY = laws.get("trajectory_implicit").published["kaplan2020"]
N, S, B = (column.ravel() for column in np.meshgrid([1e6, 1e9, 1e12], [1e3, 1e5, 1e7], [1e4, 1e6, 1e9]))


def at_large_batch(p: Mapping[str, float]) -> Any:
    return (p["N_c"] / N) ** p["a_N"] + (p["S_c"] / S) ** p["a_S"]


def test_the_trajectory_solves_its_equation() -> None:
    p = TRAJECTORY
    L = laws.get("trajectory_implicit")(N, S, B, **p)
    critical = p["B_star"] / L ** (1 / p["a_B"])
    right = (p["N_c"] / N) ** p["a_N"] + (p["S_c"] / (S / (1 + critical / B))) ** p["a_S"]
    np.testing.assert_allclose(L, right, rtol=1e-12)
    assert np.all(L > at_large_batch(p))


def test_the_trajectory_at_a_large_batch_is_the_law_of_size_and_steps() -> None:
    limit = laws.get("trajectory_implicit")(N, S, 1e30, **TRAJECTORY)
    np.testing.assert_allclose(limit, at_large_batch(TRAJECTORY), rtol=1e-12)


def test_the_trajectory_is_solved_in_single_precision() -> None:
    exact = laws.get("trajectory_implicit")(N, S, B, **TRAJECTORY)
    with jax.enable_x64(False):
        narrow = [np.asarray(column, np.float32) for column in (N, S, B)]
        np.testing.assert_allclose(laws.get("trajectory_implicit")(*narrow, **TRAJECTORY), exact, rtol=1e-5)


def test_power_and_level_of_slow_runs_follow_the_size_of_the_model() -> None:
    sets = laws.get("loss_deceleration").published.values()
    log_N = np.log([14e6, 144e6, 472e6, 1e9, 7e9])
    for name, expected in (("r_d", 0.2263), ("L_d", -0.0689)):
        fitted = np.polyfit(log_N, np.log([entry[name] for entry in sets]), 1)[0]
        np.testing.assert_allclose(fitted, expected, rtol=1e-3)


def test_a_sharp_break_of_a_trajectory_joins_two_power_laws() -> None:
    params = dict(b=9.0, c0=0.3, c1=-0.25, t_d=5e3, f=1e-4)
    t = np.array([1e2, 4e3, 6e3, 1e6])
    expected = 9.0 * t**-0.3 * np.maximum(t / 5e3, 1.0) ** 0.25
    np.testing.assert_allclose(laws.get("one_break_trajectory")(t, **params), expected, rtol=1e-12)


def test_a_cooldown_is_flat_before_and_zero_after() -> None:
    cooldown = laws.get("wsd_sqrt_cooldown")
    n = np.array([0.0, 7e3, 8e3, 8.5e3, 1e4, 3e4])
    np.testing.assert_allclose(cooldown(n, 8e3, 2e3, eta_max=3e-4), [3e-4, 3e-4, 3e-4, 1.5e-4, 0.0, 0.0], atol=1e-18)
    rates = jax.vmap(jax.grad(lambda n: cooldown(n, 8e3, 2e3, eta_max=3e-4)))(n)
    assert np.all(np.isfinite(rates))
