"""Gaussian mixtures fitted to draws, as proposals of importance sampling."""

import jax.numpy as jnp
import jax.scipy.stats as stats
import numpy as np
import pytest

import jaxscale
from jaxscale import Observations, laws, likelihoods
from jaxscale.sampling.gaussian_mixture import fit_mixture
from jaxscale.sampling.importance import temper

RNG = np.random.default_rng(0)


def seed(k: int) -> np.ndarray:
    return np.array([2 * k, 2 * k + 1], dtype=np.uint32)


@pytest.mark.parametrize("k", range(3))
def test_two_clusters_are_found_with_their_shares_places_and_spreads(k: int) -> None:
    far = RNG.uniform(size=20000) < 0.3
    x = RNG.normal(size=(20000, 2)) * np.where(far[:, None], [0.5, 2.0], [1.0, 1.0])
    x = x + np.where(far[:, None], [20.0, -20.0], [0.0, 5.0])
    found = fit_mixture(x, seed(k), 2)
    order = np.argsort(found.weights)
    np.testing.assert_allclose(found.weights[order], [0.3, 0.7], atol=0.01)
    np.testing.assert_allclose(found.means[order], [[20.0, -20.0], [0.0, 5.0]], atol=0.06)
    covariances = (found.roots @ found.roots.transpose(0, 2, 1))[order]
    # Slightly shrunk towards half of the covariance of all draws: by 8 draws among 6,000 and 14,000.
    np.testing.assert_allclose(np.diagonal(covariances, axis1=1, axis2=2), [[0.25, 4.0], [1.0, 1.0]], rtol=0.5)


def test_the_mixture_has_the_moments_of_the_draws_and_roots_are_triangular() -> None:
    x = RNG.standard_t(5.0, size=(1000, 3)) @ np.array([[1.0, 0.0, 0.0], [5.0, 0.1, 0.0], [0.0, 0.0, 1e-6]])
    found = fit_mixture(x, seed(0), 4)
    np.testing.assert_allclose(found.weights.sum(), 1.0)
    np.testing.assert_allclose(found.weights @ found.means, x.mean(axis=0), atol=1e-6 * x.std(axis=0).max())
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.root @ found.root.T, np.cov(x.T, bias=True), rtol=1e-6)
    for roots in (found.roots, found.root):
        assert (np.triu(roots, 1) == 0).all() and (np.diagonal(roots, axis1=-2, axis2=-1) > 0).all()


def test_mixture_is_reproducible_by_seed() -> None:
    x = RNG.normal(size=(60, 2)) ** 3
    one, same, other = (fit_mixture(x, seed(k), 3) for k in (0, 0, 1))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(np.sort(one.weights), np.sort(other.weights), rtol=1e-6)


def test_few_or_duplicate_draws_give_no_singular_component() -> None:
    x = np.repeat(RNG.normal(size=(5, 3)), 200, axis=0)
    found = fit_mixture(x, seed(0), 4)
    assert all(np.isfinite(part).all() for part in found)
    covariances = found.roots @ found.roots.transpose(0, 2, 1)
    assert (np.linalg.eigvalsh(covariances) > 0).all()


@pytest.mark.parametrize("enough", [20.0, 100.0])
def test_uneven_weights_are_tempered_until_enough_draws_are_effective(enough: float) -> None:
    log_weights = 5.0 * RNG.normal(size=4000)
    effective = lambda w: np.exp(w).sum() ** 2 / np.exp(2 * w).sum()  # noqa: E731
    assert effective(log_weights - log_weights.max()) < 20
    even = temper(log_weights, enough)
    assert effective(even) == pytest.approx(enough, rel=1e-4)
    np.testing.assert_allclose(np.corrcoef(even, log_weights)[0, 1], 1.0)


def test_even_weights_are_not_tempered() -> None:
    log_weights = np.log(RNG.uniform(0.5, 1.5, size=400))
    assert temper(log_weights, 100.0) is log_weights


def test_zero_weights_stay_zero() -> None:
    log_weights = np.append(np.full(3000, -np.inf), 5.0 * RNG.normal(size=1000))
    even = temper(log_weights, 100.0)
    assert np.isneginf(even[:3000]).all() and np.isfinite(even[3000:]).all()


def bent(x, _):
    """A banana-shaped density, for which a normal proposal is poor."""
    return stats.norm.logpdf(x[0]) + stats.norm.logpdf(x[1], x[0] ** 2, 0.3)


def test_importance_sampling_recovers_moments_of_a_curved_density() -> None:
    draws = jaxscale.sample(bent, jnp.zeros(2), None, num_chains=4, num_samples=2000, seed=3)
    x = np.asarray(draws.params["x"])
    assert draws.method == "importance" and draws.about["khat"] < 0.7 and draws.about["ess"] > 0.4 * 4 * len(x)
    # Monte-Carlo error is 0.011 of a standard deviation for the means.
    np.testing.assert_allclose(x.mean(axis=0), [0.0, 1.0], atol=0.06)
    np.testing.assert_allclose(x.std(axis=0), [1.0, np.sqrt(2 + 0.09)], rtol=0.05)
    assert np.quantile(x[:, 1], 0.99) == pytest.approx(6.6, rel=0.1)


def test_a_laplace_likelihood_needs_no_chains() -> None:
    law, x, generator = laws.get("hill"), np.geomspace(1.0, 1e4, 24), np.random.default_rng(0)
    share = 0.1 + 0.8 * x / (100.0 + x)
    columns = dict(x=x, y=share + generator.laplace(scale=0.01, size=24))
    sweep = Observations.from_table(columns, inputs=["x"], response="y")
    draws = jaxscale.posterior(law, sweep, likelihood=likelihoods.laplace("linear"), seed=0, progress=False)
    assert draws.method == "importance" and draws.ok
