"""Fits of counts: direct maximum likelihood, standard errors, validation."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

import jaxscale
from jaxscale import DataError, Fit, Observations, likelihoods, noise
from jaxscale.noise import Noise
from jaxscale.noise.count_loss import CountLoss, count_noise

X = np.geomspace(1.0, 1000.0, 24)
RNG = np.random.default_rng(3)
TRIALS = RNG.integers(20, 200, len(X)).astype(float)
SHARE = 1 / (1 + np.exp(-(np.log(X) - 3.0)))
COUNTS = {
    "poisson": RNG.poisson(4 * X**0.4),
    "negative_binomial": RNG.negative_binomial(4, 4 / (4 + 4 * X**0.5)),
    "binomial": RNG.binomial(TRIALS.astype(int), SHARE),
    "beta_binomial": RNG.binomial(TRIALS.astype(int), RNG.beta(8 * SHARE, 8 * (1 - SHARE))),
}


def law_of(name: str) -> str:
    return "power_law" if name in ("poisson", "negative_binomial") else "hill"


def rows_of(name: str, **more: Any) -> Observations:
    table = dict(x=X, y=COUNTS[name].astype(float), n=TRIALS, run=np.arange(len(X)) // 3)
    return Observations.from_table(table, inputs=["x", "n"], response="y", **more)


def likelihood_of(name: str) -> Any:
    make = getattr(likelihoods, name)
    return make() if law_of(name) == "power_law" else make("n")


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    fixed = {"power_law": {}, "hill": dict(lo=0.001, hi=0.999)}
    return {
        name: jaxscale.fit(
            law_of(name), rows_of(name), likelihood=likelihood_of(name), fixed=fixed[law_of(name)], starts=128
        )
        for name in COUNTS
    }


def nats(name: str, theta: np.ndarray) -> float:
    """Negative log likelihood; theta holds the two free parameters and the log nuisance parameter."""
    y, n, k = COUNTS[name], TRIALS, np.exp(theta[2]) if len(theta) > 2 else 0.0
    if law_of(name) == "power_law":
        m = theta[0] * X ** theta[1]
        if name == "poisson":
            return -float(np.sum(y * np.log(m) - m - special.gammaln(y + 1)))
        ways = special.gammaln(y + k) - special.gammaln(k) - special.gammaln(y + 1)
        return -float(np.sum(ways + y * np.log(m / (m + k)) + k * np.log(k / (m + k))))
    p = 0.001 + 0.998 * X ** theta[1] / (theta[0] ** theta[1] + X ** theta[1])
    ways = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    if name == "binomial":
        return -float(np.sum(ways + y * np.log(p) + (n - y) * np.log1p(-p)))
    return -float(np.sum(ways + special.betaln(y + p * k, n - y + (1 - p) * k) - special.betaln(p * k, (1 - p) * k)))


def theta_of(fit: Fit) -> np.ndarray:
    return np.array([*(fit.params[name] for name in fit.free), *([] if fit.scale is None else [np.log(fit.scale)])])


@pytest.mark.parametrize("name", COUNTS)
def test_optimum_agrees_with_direct_maximum_likelihood(name: str, fits: dict[str, Fit]) -> None:
    fit = fits[name]
    theta = theta_of(fit)
    # JAX's log beta function has seven digits.
    close = 1e-6 if name == "beta_binomial" else 1e-8
    assert fit.status == "converged" and fit.certificate < 1e-12
    assert fit.objective == pytest.approx(nats(name, theta), rel=close)
    found = optimize.minimize(
        lambda u: nats(name, theta * (1 + u)),
        np.full(len(theta), 1e-3),
        method="Nelder-Mead",
        options=dict(xatol=1e-11, fatol=1e-13, maxiter=4000, maxfev=4000),
    )
    # A function value determines its optimum to half of its digits; the gradient determines the rest.
    np.testing.assert_allclose(found.x, 0.0, atol=1e-5 if close > 1e-8 else 3e-7)
    step = np.eye(len(theta)) * 1e-4
    slope = [(nats(name, theta * (1 + d)) - nats(name, theta * (1 - d))) / 2e-4 for d in step]
    bend = [(nats(name, theta * (1 + d)) + nats(name, theta * (1 - d)) - 2 * nats(name, theta)) / 1e-8 for d in step]
    assert np.max(np.abs(slope) / np.abs(bend)) < 1e-6


@pytest.mark.parametrize("name", COUNTS)
def test_standard_errors_are_those_of_the_observed_information(name: str, fits: dict[str, Fit]) -> None:
    fit = fits[name]
    theta, size = theta_of(fit), len(theta_of(fit))
    step = 2e-3 * np.maximum(np.abs(theta), 0.1)

    def second(i: int, j: int) -> float:
        a, b = np.eye(size)[i] * step[i], np.eye(size)[j] * step[j]
        corners = [nats(name, theta + s * a + t * b) * s * t for s in (-1, 1) for t in (-1, 1)]
        return sum(corners) / (4 * step[i] * step[j])

    information = np.array([[second(i, j) for j in range(size)] for i in range(size)])
    known = np.sqrt(np.diag(np.linalg.inv(information)))[: len(fit.free)]
    np.testing.assert_allclose([fit.stderr[key] for key in fit.free], known, rtol=2e-3)
    assert fit.errors.method == "observed information"
    assert all(low < fit.params[key] < high for key, (low, high) in fit.intervals(0.9).items())


def test_score_equations_of_a_poisson_fit(fits: dict[str, Fit]) -> None:
    """The score equations of a log-linear Poisson model hold to 1e-8."""
    params, y = fits["poisson"].params, COUNTS["poisson"]
    m = params["a"] * X ** params["b"]
    assert abs(np.sum(y - m)) < 1e-8 * np.sum(y) and abs(np.sum((y - m) * np.log(X))) < 1e-8 * np.sum(y * np.log(X))
    solved = optimize.root(
        lambda t: [np.sum(y - np.exp(t[0]) * X ** t[1]), np.sum((y - np.exp(t[0]) * X ** t[1]) * np.log(X))],
        [np.log(params["a"]) + 0.01, params["b"] - 0.01],
        tol=1e-13,
    )
    np.testing.assert_allclose([params["a"], params["b"]], [np.exp(solved.x[0]), solved.x[1]], rtol=1e-8)


@pytest.mark.parametrize("name", COUNTS)
def test_derivatives_of_the_cost_are_exact(name: str, x64: None) -> None:
    loss = CountLoss(likelihood_of(name))
    m = jnp.asarray([0.2, 0.5, 0.9]) * (1.0 if name.endswith("binomial") and "neg" not in name else 30.0)
    y = jnp.asarray([0.1, 0.5, 1.0]) if loss.columns else jnp.asarray([0.0, 12.0, 40.0])
    data, s = {"n": jnp.asarray([10.0, 10.0, 20.0])}, jnp.full(3, 1.2)
    each = lambda m, s, k: loss.cost(m, y, s, data)[k]  # noqa: E731
    first, second, expected = loss.derivatives(m, y, s, data)
    for k in range(3):
        np.testing.assert_allclose(first[k], jax.grad(each)(m, s, k)[k], rtol=1e-10)
        np.testing.assert_allclose(second[k], jax.hessian(each)(m, s, k)[k, k], rtol=1e-10)
    assert np.all(np.asarray(expected) > 0)
    assert np.isinf(np.asarray(loss.cost(-m, y, s, data))).all()


def test_the_report_and_the_file_name_the_likelihood(fits: dict[str, Fit], tmp_path: Path) -> None:
    for name in ("negative_binomial", "binomial"):
        fit, path = fits[name], tmp_path / f"{name}.json"
        words = likelihood_of(name).describe()
        assert f"Likelihood     {words}" in str(fit) and "observed information" in str(fit)
        fit.save(path)
        read = Fit.load(path)
        assert read.noise.describe() == words and read.scale == fit.scale
        assert (
            read.noise.to_dict()["likelihood"] == name and str(read).split("Design")[0] == str(fit).split("Design")[0]
        )
        assert Noise.from_dict(fit.noise.to_dict()).to_dict() == fit.noise.to_dict()
    assert f"(dispersion = {fits['negative_binomial'].scale:.4g})" in str(fits["negative_binomial"])


def test_bootstrap_profile_and_posterior_of_a_count_fit(fits: dict[str, Fit]) -> None:
    fit = fits["negative_binomial"]
    resamples = jaxscale.bootstrap(fit, n_resamples=200)
    assert np.std(resamples.params["b"]) == pytest.approx(fit.stderr["b"], rel=0.5)
    with pytest.raises(ValueError) as caught:
        jaxscale.bootstrap(fit, kind="residual", n_resamples=20)
    assert str(caught.value) == "Argument kind must be 'case' or 'cluster' for a fit of counts, but is 'residual'."
    lower = jaxscale.profile(fit, ["b"]).intervals()["b"][0]
    assert lower == pytest.approx(fit.intervals(0.9)["b"][0], abs=0.3 * fit.stderr["b"])
    drawn = jaxscale.posterior(fit, num_samples=100, num_chains=4, progress=False)
    assert drawn.about["likelihood"] == "negative-binomial counts"
    assert np.mean(drawn.params["b"]) == pytest.approx(fit.params["b"], abs=fit.stderr["b"])


def test_clustered_counts_have_sandwich_errors() -> None:
    fit = jaxscale.fit("power_law", rows_of("poisson", run="run"), likelihood=likelihoods.poisson(), starts=128)
    assert fit.errors.method == "cluster sandwich" and fit.errors.freedom == 7
    assert all(0 < error < np.inf for error in fit.stderr.values())


def test_counts_of_zero_and_an_array_of_trials() -> None:
    y = np.zeros(len(X))
    y[10:] = np.round(X[10:] ** 0.5)
    rows = Observations.from_table(dict(x=X, y=y), inputs=["x"], response="y")
    assert jaxscale.fit("power_law", rows, likelihood=likelihoods.poisson(), starts=128).status == "converged"
    bare = Observations.from_table(dict(x=X, y=COUNTS["binomial"].astype(float)), inputs=["x"], response="y")
    fixed = dict(lo=0.001, hi=0.999)
    array = jaxscale.fit("hill", bare, likelihood=likelihoods.binomial(TRIALS), fixed=fixed, starts=128)
    named = jaxscale.fit("hill", rows_of("binomial"), likelihood=likelihoods.binomial("n"), fixed=fixed, starts=128)
    assert array.params == named.params


def test_counts_without_overdispersion_reduce_to_poisson(fits: dict[str, Fit]) -> None:
    fit = jaxscale.fit("power_law", rows_of("poisson"), likelihood=likelihoods.negative_binomial(), starts=128)
    assert fit.scale is not None and fit.scale > 20
    poisson = fits["poisson"]
    for key in ("a", "b"):
        assert fit.params[key] == pytest.approx(poisson.params[key], abs=0.01 * poisson.stderr[key])
        assert fit.stderr[key] == pytest.approx(poisson.stderr[key], rel=1e-3)
    assert "no_overdispersion" in [notice.code for notice in fit.notices]


POISSON = likelihoods.poisson()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(likelihood=likelihoods.normal()),
            "Argument likelihood must be one of counts, such as likelihoods.poisson(), but is normal on log residuals; "
            "fit residuals with noise=..., such as noise.squared('log').",
        ),
        (
            dict(likelihood=POISSON, noise=noise.squared()),
            "Argument noise must not be given with a likelihood; leave out one of the two.",
        ),
        (
            dict(likelihood=likelihoods.binomial("tried")),
            "dict: the likelihood needs the input 'tried'; map it to a column in addition to the law's "
            "inputs: inputs={'tried': 'COLUMN'}.",
        ),
        (
            dict(likelihood=likelihoods.binomial(TRIALS[:5])),
            "dict has 24 rows, but the array of trials has shape (5,); give one number for each row, or name a column.",
        ),
    ],
)
def test_invalid_arguments_of_a_count_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, DataError)) as caught:
        jaxscale.fit("power_law", rows_of("poisson"), **arguments)
    assert str(caught.value) == message


def test_non_counts_and_known_errors_raise() -> None:
    table = dict(x=X, y=COUNTS["poisson"] + 0.5, sd=np.ones(len(X)))
    rows = Observations.from_table(table, inputs=["x"], response="y")
    with pytest.raises(DataError, match=r"^dict, row 1: the response is [\d.]+; counts must be non-negative"):
        jaxscale.fit("power_law", rows, likelihood=POISSON)
    known = Observations.from_table(table, inputs=["x"], response="y", sigma="sd")
    with pytest.raises(ValueError, match=r"^Argument observations must hold no known errors \(sigma\) for counts;"):
        jaxscale.fit("power_law", known, likelihood=POISSON)


def test_the_noise_of_counts_is_described_by_its_likelihood() -> None:
    assert count_noise(POISSON).describe() == "poisson counts"
