"""Adaptive importance sampling: coverage of curved ridges, and moments of the draws."""

from collections.abc import Callable

import numpy as np
import pytest

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.sampling.adaptation import ROUNDS, Adaptation
from jaxscale.sampling.importance import EFFICIENT, Proposal

SIZE, BEND = 5, 0.15


def bent(x: np.ndarray) -> np.ndarray:
    """Log density of a curved ridge, of standard deviation 3 along the first coordinate."""
    rest = x[:, 1:].copy()
    rest[:, 0] -= BEND * (x[:, 0] ** 2 - 9.0)
    return -0.5 * (x[:, 0] / 3) ** 2 - 0.5 * np.sum(rest**2, axis=1)


def normal(x: np.ndarray) -> np.ndarray:
    """Log density of a standard normal."""
    return -0.5 * np.sum(x**2, axis=1)


def adapted(density: Callable[[np.ndarray], np.ndarray], seed: int, mode: np.ndarray) -> Adaptation:
    """Adaptation from a mode with the curvature of a standard normal, until it ends."""
    root = np.eye(SIZE)[None]
    found = Adaptation(Proposal(mode[None], root, root, np.zeros(1)), np.array([seed, 7], np.uint32))
    for _ in range(ROUNDS):
        if found.over:
            break
        x = found.propose(2048)
        found.add(x, density(x))
    return found


def test_curved_ridge_is_covered_to_its_ends() -> None:
    moments = []
    for seed in range(6):
        found = adapted(bent, seed, np.eye(SIZE)[1] * -9.0 * BEND)
        assert found.weighted.khat < KHAT_LIMIT
        x = found.weighted.x[found.resample(4000)]
        moments.append([x[:, 0].std() / 3, x[:, 1].std() / np.hypot(1, BEND * 9 * np.sqrt(2))])
    middle = np.mean(moments, axis=0)
    np.testing.assert_allclose(middle, 1.0, atol=0.04)


def test_normal_posterior_needs_two_rounds() -> None:
    found = adapted(normal, 0, np.zeros(SIZE))
    assert found.over and found.number == 2 and found.share > EFFICIENT
    x = found.weighted.x[found.resample(4000)]
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.08)
    np.testing.assert_allclose(np.cov(x.T), np.eye(SIZE), atol=0.1)


@pytest.mark.parametrize("worst", [-np.inf, np.nan])
def test_draws_without_a_density_have_no_weight(worst: float) -> None:
    found = adapted(lambda x: np.where(x[:, 0] > 0, normal(x), worst), 1, np.zeros(SIZE))
    x = found.weighted.x[found.resample(4000)]
    assert np.all(x[:, 0] > 0) and x[:, 0].mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)


def test_a_density_that_is_nowhere_finite_ends_the_rounds() -> None:
    found = adapted(lambda x: np.full(len(x), -np.inf), 1, np.zeros(SIZE))
    assert found.over and found.number == 1 and not found.weighted.khat < KHAT_LIMIT
