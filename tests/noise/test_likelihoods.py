"""Likelihoods: registry, densities against SciPy, samples against densities, and errors."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxscale
from jaxscale import DataError, Observations
from jaxscale.cli.model_options import LIKELIHOODS
from jaxscale.noise import likelihoods
from jaxscale.noise.likelihood import Likelihood, replicate
from jaxscale.noise.spaces import SPACES
from tests.sampling_models import FEW, counting, modelled, of, power, share

CLASSES = likelihoods.classes()
# A value of every nuisance parameter, and rows of counts.
SITES = dict(scale=0.2, power=0.3, df=6.0, run_ratio=0.5, concentration=7.0, dispersion=3.0)
DATA = {"run": np.arange(3), "group": np.zeros(3, int), "n": np.array([10.0, 12.0, 20.0])}
LEVEL = np.array([0.3, 0.5, 0.6])


def constructed(name: str) -> Likelihood:
    make = getattr(jaxscale.likelihoods, name)
    return make("n") if "trials" in inspect.signature(make).parameters else make()


def sites_of(likelihood: Likelihood) -> dict[str, Any]:
    return {name: jnp.asarray(SITES[name]) for name in likelihood.sites}


def test_every_likelihood_is_one_class_that_its_constructor_makes() -> None:
    assert sorted(CLASSES) == list(LIKELIHOODS)
    for name, kind in CLASSES.items():
        likelihood = constructed(name)
        assert type(likelihood) is kind and isinstance(likelihood, jaxscale.likelihoods.Likelihood)
        assert not kind.__subclasses__() and "~ " in (kind.__doc__ or "") and likelihood.describe()
        assert {*sites_of(likelihood)} == {*likelihood.initial(np.array([0.1, -0.2, 0.1]), np.ones(3), 1)}


@pytest.mark.parametrize("space", SPACES)
def test_a_response_has_the_density_of_its_residual_times_the_slope_of_the_space(space: Any, x64: None) -> None:
    y = np.array([0.03, 0.4, 0.5, 0.97])
    slopes = jax.vmap(jax.grad(lambda y: SPACES[space].forward(y)))(jnp.asarray(y))
    found = likelihoods.normal(space).log_jacobian(jnp.asarray(y), {})
    np.testing.assert_allclose(found, np.log(np.abs(slopes)), atol=1e-12)


@pytest.mark.parametrize("name", ["normal", "student_t", "laplace"])
@pytest.mark.parametrize("space", ["log", "logit"])
def test_the_density_of_a_response_integrates_to_one(name: str, space: Any, x64: None) -> None:
    y = np.linspace(0.0, 1.0, 200_002)[1:-1] * (40.0 if space == "log" else 1.0)
    data = {"group": np.zeros(len(y), int), "run": np.zeros(len(y), int)}
    likelihood = getattr(likelihoods, name)(space=space, runs=False)
    density = likelihood.log_prob(sites_of(likelihood), jnp.full(len(y), 0.6), y, data)
    whole = np.exp(np.asarray(density) + np.asarray(likelihood.log_jacobian(jnp.asarray(y), data)))
    assert np.sum(whole) * (y[1] - y[0]) == pytest.approx(1.0, abs=1e-3 if name == "student_t" else 1e-5)


KNOWN = {
    "normal": lambda y, m: stats.norm.logpdf(np.log(y), np.log(m), 0.2),
    "student_t": lambda y, m: stats.t.logpdf(np.log(y), 6.0, np.log(m), 0.2),
    "laplace": lambda y, m: stats.laplace.logpdf(np.log(y), np.log(m), 0.2),
    "binomial": lambda y, m: stats.binom.logpmf(np.round(y * DATA["n"]), DATA["n"], m),
    "beta_binomial": lambda y, m: stats.betabinom.logpmf(np.round(y * DATA["n"]), DATA["n"], 7 * m, 7 * (1 - m)),
    "poisson": stats.poisson.logpmf,
    "negative_binomial": lambda y, m: stats.nbinom.logpmf(y, 3.0, 3.0 / (3.0 + m)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_density_is_that_of_scipy(name: str, x64: None) -> None:
    likelihood = constructed(name)
    y = np.array([0.2, 0.75, 0.4]) if likelihood.columns or not likelihood.counts else np.array([0.0, 3.0, 40.0])
    level = LEVEL * (1.0 if y.max() < 1 else 20.0)
    found = likelihood.log_prob(sites_of(likelihood), jnp.asarray(level), jnp.asarray(y), DATA)
    # JAX's log beta function has seven digits.
    np.testing.assert_allclose(found, KNOWN[name](y, level), rtol=1e-6 if name == "beta_binomial" else 1e-10)


MOMENTS = {
    "normal": (stats.norm(0, 0.2).mean(), stats.norm(0, 0.2).std()),
    "student_t": (0.0, stats.t(6.0, 0, 0.2).std()),
    "laplace": (0.0, stats.laplace(0, 0.2).std()),
}


@pytest.mark.parametrize("name", CLASSES)
def test_samples_scatter_as_the_density_says(name: str) -> None:
    likelihood, count = constructed(name), 4000
    level = np.tile(LEVEL * (1.0 if likelihood.columns or not likelihood.counts else 20.0), (count, 1))
    sites = {key: np.full(count, SITES[key]) for key in likelihood.sites}
    new = replicate(likelihood, 0, sites, level, DATA)
    n, m = DATA["n"], level[0]
    if name in MOMENTS:
        new, mean, sd = np.log(new), np.log(m), MOMENTS[name][1]
    elif likelihood.columns:
        mean = m
        sd = np.sqrt(m * (1 - m) / n) * (1.0 if name == "binomial" else np.sqrt(1 + (n - 1) / 8.0))
    else:
        mean, sd = m, np.sqrt(m + (m**2 / 3.0 if name == "negative_binomial" else 0.0))
    np.testing.assert_allclose(np.mean(new, axis=0), mean, atol=float(np.max(5 * sd / np.sqrt(count))))
    np.testing.assert_allclose(np.std(new, axis=0), np.broadcast_to(sd, 3), rtol=0.1)
    assert np.array_equal(replicate(likelihood, 0, sites, level, DATA), replicate(likelihood, 0, sites, level, DATA))


def test_rows_of_a_run_share_its_effect_in_a_sample() -> None:
    likelihood = likelihoods.normal("linear", runs=True)
    sites = dict(scale=np.full(3000, 0.1), run_ratio=np.full(3000, 3.0))
    data = {"run": np.array([7, 2, 7]), "group": np.zeros(3, int)}
    correlation = np.corrcoef(replicate(likelihood, 1, sites, np.zeros((3000, 3)), data).T)
    assert correlation[0, 2] == pytest.approx(0.9, abs=0.03) and abs(correlation[0, 1]) < 0.06
    # Where an effect is given it is taken.
    given = likelihood.sample(
        jax.random.key(0),
        dict(scale=jnp.asarray(1e-9), run_ratio=jnp.asarray(1e9), run_effect=jnp.arange(8.0)),
        jnp.zeros(3),
        data,
    )
    np.testing.assert_allclose(given, [7.0, 2.0, 7.0], atol=1e-4)


def test_counts_with_and_without_more_scatter() -> None:
    rows = counting(np.random.default_rng(1).negative_binomial(4.0, 4.0 / (4.0 + 50.0), 40))
    drawn = {name: jaxscale.posterior("power_law", rows, likelihood=constructed(name), **FEW) for name in COUNTED}
    assert drawn["negative_binomial"].about["likelihood"] == "negative-binomial counts"
    dispersion = drawn["negative_binomial"].nuisance["dispersion"]
    assert 2.0 < np.mean(dispersion) < 8.0 and not drawn["poisson"].nuisance
    # The scatter that the Poisson distribution does not know makes its intervals too narrow.
    assert np.std(drawn["poisson"].params["b"]) < 0.6 * np.std(drawn["negative_binomial"].params["b"])
    new = drawn["poisson"].responses(x=[10.0, 100.0])
    assert np.array_equal(new, np.round(new)) and new.min() >= 0


COUNTED = ("poisson", "negative_binomial")


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("wrong", [-1.0, 2.5])
def test_counts_that_are_none_are_refused_by_row(name: str, wrong: float) -> None:
    rows = counting([3.0, wrong, 8.0, 4.0, 9.0])
    with pytest.raises(DataError) as caught:
        jaxscale.posterior("power_law", rows, likelihood=constructed(name))
    assert str(caught.value) == (
        f"dict, row 2: the response is {wrong:g}; counts must be non-negative integers for the likelihood {name}."
    )


HITS, TRIALS = [4.0, 9.0, 7.0, 12.0], [10.0, 20.0, 15.0, 25.0]


def test_trials_are_an_array_or_a_column() -> None:
    x = np.arange(1.0, 5.0)
    bare, columns = of(dict(x=x, y=HITS), "x"), of(dict(x=x, y=HITS, trials=TRIALS), "x", "trials")
    whole = jaxscale.posterior(share, columns, likelihood=likelihoods.binomial("trials"), **FEW)
    array = jaxscale.posterior(share, bare, likelihood=likelihoods.binomial(np.array(TRIALS)), **FEW)
    assert np.array_equal(whole.params["p"], array.params["p"])
    assert array.observations is not None and array.model is not None
    np.testing.assert_array_equal(array.observations.inputs["trials"], TRIALS)
    assert array.model.likelihood.columns == ("trials",)
    same = likelihoods.beta_binomial(30.0).bind(bare)[1]
    np.testing.assert_array_equal(same.inputs["trials"], [30.0] * 4)


def test_trials_that_do_not_fit_the_rows_are_refused() -> None:
    bare = of(dict(x=np.arange(1.0, 5.0), y=HITS), "x")
    with pytest.raises(DataError) as caught:
        jaxscale.posterior(share, bare, likelihood=likelihoods.binomial(np.array(TRIALS[:3])))
    assert str(caught.value) == (
        "dict has 4 rows, but the array of trials has shape (3,); give one number for each row, or name a column."
    )
    taken = of(dict(x=np.arange(1.0, 5.0), y=HITS, trials=TRIALS), "x", "trials")
    with pytest.raises(DataError, match=r"^dict has an input 'trials'; name it \(trials='trials'\) in place of an"):
        jaxscale.posterior(share, taken, likelihood=likelihoods.binomial(np.array(TRIALS)))


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), ["a", 1.0], {"n": 1}])
def test_trials_of_another_kind_are_refused(wrong: Any, untyped: None) -> None:
    with pytest.raises(TypeError, match="^Argument trials must be the name of an input, a number, or an array of one"):
        likelihoods.binomial(wrong)


def test_effects_of_runs_under_laplace_residuals_are_sampled_in_the_smooth_model_too(x64: None) -> None:
    model = modelled(likelihoods.laplace(runs=True))
    smooth = model.smooth
    assert model.runs and not smooth.marginal and smooth.likelihood.name == "student_t"
    x = model.coordinates_of(dict(E=1.8, A=30.0, alpha=0.4), dict(scale=0.02, run_ratio=0.7))
    far = x.at[0].add(1.0)
    assert float(smooth.log_density(x)) > float(smooth.log_density(far)) + 100
    assert modelled(likelihoods.normal(), law=power).smooth.likelihood.differentiable


def test_effects_of_runs_that_cannot_be_integrated_out(x64: None) -> None:
    for likelihood in (likelihoods.laplace(runs=True), likelihoods.poisson()):
        assert not likelihood.marginal
        y, data, rows = jnp.asarray(LEVEL), DATA | {"weight": jnp.ones(3)}, np.array([[0, 1, 2]])
        with pytest.raises(NotImplementedError, match="effects of runs|Effects of runs"):
            likelihood.log_prob_of_runs(SITES, y, y, data, rows)


def test_observations_name_the_first_row_that_is_wrong() -> None:
    assert Observations({"x": np.ones(3)}, np.ones(3), np.ones(3)).first(np.array([False, True, True])) == "dict, row 2"
