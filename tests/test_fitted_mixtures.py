"""Mixtures fitted to draws, and what they do for the cheap rung."""

import jax.numpy as jnp
import jax.scipy.stats as stats
import numpy as np
import pytest

import jaxscale
from jaxscale import Observations, laws, likelihoods
from jaxscale.uncertainty.fitted_mixtures import TOGETHER, fitted

RNG = np.random.default_rng(0)


def seeds(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.uint32).reshape(count, 2)


def test_two_clusters_are_found_with_their_shares_places_and_spreads() -> None:
    far = RNG.uniform(size=(3, 20000)) < 0.3
    x = RNG.normal(size=(3, 20000, 2)) * np.where(far[..., None], [0.5, 2.0], [1.0, 1.0])
    x = x + np.where(far[..., None], [20.0, -20.0], [0.0, 5.0])
    weights, means, roots = fitted(x, seeds(3), 2)
    for w, m, root in zip(weights, means, roots, strict=True):
        order = np.argsort(w)
        np.testing.assert_allclose(w[order], [0.3, 0.7], atol=0.01)
        np.testing.assert_allclose(m[order], [[20.0, -20.0], [0.0, 5.0]], atol=0.06)
        covariances = (root @ root.transpose(0, 2, 1))[order]
        # Shrunk a little towards half of the covariance of all draws: by 8 draws among 6,000 and 14,000.
        np.testing.assert_allclose(np.diagonal(covariances, axis1=1, axis2=2), [[0.25, 4.0], [1.0, 1.0]], rtol=0.5)


def test_the_mixture_has_the_mean_of_the_draws_and_roots_are_triangular() -> None:
    x = RNG.standard_t(5.0, size=(4, 1000, 3)) @ np.array([[1.0, 0.0, 0.0], [5.0, 0.1, 0.0], [0.0, 0.0, 1e-6]])
    weights, means, roots = fitted(x, seeds(4), 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.einsum("bk,bki->bi", weights, means), x.mean(axis=1), atol=1e-6 * x.std(axis=1).max())
    assert (np.triu(roots, 1) == 0).all() and (np.diagonal(roots, axis1=-2, axis2=-1) > 0).all()


def test_a_fit_does_not_depend_on_the_others_beside_it() -> None:
    x = RNG.normal(size=(TOGETHER + 3, 60, 2)) ** 3
    whole = fitted(x, seeds(len(x)), 3)
    alone = fitted(x[-2:], seeds(len(x))[-2:], 3)
    for many, few in zip(whole, alone, strict=True):
        np.testing.assert_allclose(many[-2:], few, rtol=1e-9, atol=1e-12)


def bent(x, _):
    """A normal whose second coordinate follows the square of the first: no normal proposal is near it."""
    return stats.norm.logpdf(x[0]) + stats.norm.logpdf(x[1], x[0] ** 2, 0.3)


def test_a_bent_density_stays_on_the_cheap_rung_with_its_moments() -> None:
    draws = jaxscale.sample(bent, jnp.zeros(2), None, chains=4, draws=2000, key=3)
    x = np.asarray(draws.params["x"])
    assert draws.method == "importance" and draws.about["khat"] < 0.7 and draws.about["ess"] > 0.4 * 4 * len(x)
    # Monte-Carlo error is 0.011 of a standard deviation for the means.
    np.testing.assert_allclose(x.mean(axis=0), [0.0, 1.0], atol=0.06)
    np.testing.assert_allclose(x.std(axis=0), [1.0, np.sqrt(2 + 0.09)], rtol=0.05)
    assert np.quantile(x[:, 1], 0.99) == pytest.approx(6.6, rel=0.1)


def test_a_laplace_likelihood_is_climbed_and_kept_on_the_cheap_rung() -> None:
    law, x, generator = laws.get("hill"), np.geomspace(1.0, 1e4, 24), np.random.default_rng(0)
    share = 0.1 + 0.8 * x / (100.0 + x)
    columns = dict(x=x, y=share + generator.laplace(scale=0.01, size=24))
    sweep = Observations.from_table(columns, inputs=["x"], response="y")
    draws = jaxscale.posterior(law, sweep, likelihood=likelihoods.laplace("linear"), key=0, progress=False)
    assert draws.method == "importance" and draws.usable
