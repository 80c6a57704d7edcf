"""Marginal likelihoods of runs against a dense quadrature rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxscale import likelihoods
from jaxscale.noise import random_effects

RUNS, MOST = 6, 4
# One program for all tests.
integrated = jax.jit(random_effects.student_t_runs)


def dense(z: np.ndarray, weight: np.ndarray, ratio: float, df: float) -> float:
    """The integral over one effect by many nodes: even ones over the effect, finer ones about each row."""
    ends = [
        np.linspace(-9 * ratio, 9 * ratio, 100_001),
        *(one + np.sinh(np.linspace(-9, 9, 10_001)) for one in [*z, 0]),
    ]
    b = np.unique(np.concatenate(ends))
    logs = stats.norm.logpdf(b, scale=ratio) + weight @ stats.t.logpdf(z[:, None] - b, df)
    return float(np.asarray(logsumexp(logs[1:-1] + np.log((b[2:] - b[:-2]) / 2))))


def rows_of(z: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and weights, shape (runs, most)."""
    residual, weight = np.zeros((RUNS, MOST)), np.zeros((RUNS, MOST))
    for k, own in enumerate(z):
        residual[k, : len(own)], weight[k, : len(own)] = own, 1.0
    return residual, weight


ALIKE = [[0.3], [-0.2, 0.5], [1.0, 1.5, 0.2], [0.1, -2.0, 0.4, 0.3], [6.0, 6.5]]
APART = [[0.0, 8.0], [0.0, 20.0], [0.0, 0.0, 15.0, 15.0], [-3.0, 40.0], [25.0]]


@pytest.mark.parametrize(
    ("z", "ratio", "df", "close"),
    [
        (ALIKE, 1.0, 8.0, 1e-5),
        (ALIKE, 0.1, 2.0, 1e-6),
        (ALIKE, 5.0, 3.0, 1e-5),
        (ALIKE, 3.0, 1.0, 1e-3),
        (APART, 5.0, 4.0, 2e-2),
        (APART, 30.0, 4.0, 2e-2),
        (APART, 30.0, 1.2, 2e-2),
    ],
)
def test_students_rows_share_an_effect(z: list[list[float]], ratio: float, df: float, close: float, x64: None) -> None:
    residual, weight = rows_of(z)
    found = integrated(residual, weight, ratio, df)
    known = [dense(r[w > 0], w[w > 0], ratio, df) for r, w in zip(residual[: len(z)], weight[: len(z)], strict=True)]
    np.testing.assert_allclose(found[: len(z)], known, atol=close)


def test_weights_count_rows_as_often(x64: None) -> None:
    twice, weight = rows_of([[0.4, -1.0]])
    thrice, ones = rows_of([[0.4, 0.4, -1.0]])
    weight[0, :2] = 2.0, 1.0
    found = [integrated(r, w, 1.3, 5.0)[0] for r, w in ((twice, weight), (thrice, ones))]
    assert float(found[0]) == pytest.approx(float(found[1]), abs=1e-7)


def test_slopes_are_those_of_the_integral(x64: None) -> None:
    residual, weight = map(jnp.asarray, rows_of(ALIKE))
    whole = lambda p: jnp.sum(random_effects.student_t_runs(residual * p[0], weight, p[1], p[2])[: len(ALIKE)])  # noqa: E731
    at, step = np.array([1.1, 1.5, 4.0]), 1e-4 * np.eye(3)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(whole)))(np.concatenate([[at], at + step, at - step]))
    for k in range(3):
        # The nodes follow the numbers, the slopes do not see them move: what is left is the error of the rule.
        assert float(slope[0, k]) == pytest.approx(float(value[1 + k] - value[4 + k]) / 2e-4, rel=1e-3)


def test_places_of_rows_by_run() -> None:
    run, used = np.array([2, 0, 2, 1, 2]), np.array([True, True, True, False, True])
    np.testing.assert_array_equal(
        random_effects.run_rows(run, used, 4, 3), [[1, -1, -1], [-1] * 3, [0, 2, 4], [-1] * 3]
    )
    assert random_effects.longest_run(run, used) == 3 and random_effects.longest_run(run, ~used) == 1


def test_runs_do_not_depend_on_each_other_or_on_padding(x64: None) -> None:
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(5), 3)
    level, y, weight = np.ones(15), np.exp(0.1 * rng.normal(size=15)), np.ones(15)
    likelihood = likelihoods.student_t(None, runs=True)
    sites = dict(scale=jnp.asarray(0.1), run_ratio=jnp.asarray(1.4), df=jnp.asarray(4.0))
    shared = jax.jit(lambda *arrays: likelihood.log_prob_of_runs(sites, *arrays))
    of = lambda order, shape: shared(  # noqa: E731
        level,
        y[order],
        dict(weight=weight, group=np.zeros(15, int)),
        random_effects.run_rows(run[order], weight > 0, *shape),
    )
    mixed = rng.permutation(15)
    small, wide = of(np.arange(15), (5, 3)), of(mixed, (8, 4))
    assert wide.shape == (8,) and (np.asarray(wide[5:]) == 0).all()
    np.testing.assert_allclose(small, wide[:5], rtol=1e-12)
