"""Pareto-smoothed importance sampling against ArviZ's, and resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

from jaxscale.bayes import psis


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("count", [200, 4096])
def test_weights_and_khat_agree_with_arviz(scale: float, count: int) -> None:
    ratios = scale * np.random.default_rng(0).standard_t(5, count)
    weights, khat = psis.smooth(ratios)
    # ArviZ takes log likelihoods, whose negatives are the leave-one-out log ratios.
    known, shape = array_stats.psislw(-ratios)
    np.testing.assert_allclose(weights, known, rtol=1e-8, atol=1e-8)
    assert khat == pytest.approx(float(shape), rel=1e-8)


def test_a_constant_in_the_ratios_does_not_matter() -> None:
    ratios = np.random.default_rng(1).standard_normal(500)
    kept = ratios.copy()
    weights, khat = psis.smooth(ratios)
    moved, shape = psis.smooth(ratios + 300.0)
    np.testing.assert_allclose(moved, weights, rtol=1e-9)
    assert shape == pytest.approx(khat, rel=1e-9)
    np.testing.assert_array_equal(ratios, kept)


def test_draws_of_zero_density_have_no_weight() -> None:
    ratios = np.random.default_rng(2).standard_normal(400)
    ratios[:3] = [-np.inf, np.nan, -np.inf]
    weights, khat = psis.smooth(ratios)
    assert np.all(weights[:3] == -np.inf)
    assert np.isfinite(khat)
    assert np.exp(weights).sum() == pytest.approx(1)


def test_equal_ratios_have_no_tail() -> None:
    weights, khat = psis.smooth(np.zeros(100))
    assert psis.effective_sample_size(weights) == pytest.approx(100)
    assert khat == -np.inf


def test_short_tail_has_infinite_khat() -> None:
    weights, khat = psis.smooth(np.array([0.0, -1.0, -2.0, 0.5]))
    assert khat == np.inf
    assert np.exp(weights).sum() == pytest.approx(1, rel=1e-12)


def test_zero_density_everywhere_has_infinite_khat() -> None:
    assert psis.smooth(np.full(100, -np.inf))[1] == np.inf


def test_systematic_resampling_is_within_one_of_the_weights() -> None:
    with jax.enable_x64(True):
        weights = jax.nn.log_softmax(jnp.asarray(np.random.default_rng(3).standard_normal(50)))
        chosen = np.asarray(psis.systematic(jax.random.key(0), weights, 1000))
    counts = np.bincount(chosen, minlength=50)
    assert np.all(np.diff(chosen) >= 0)
    assert np.all(np.abs(counts - 1000 * np.exp(np.asarray(weights))) <= 1)
