"""User priors: validation, truncation, checkpoints."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxscale
from jaxscale import Observations, laws, likelihoods
from jaxscale.bayes.model import move_inside, stack
from jaxscale.bayes.prior_density import prior_of
from jaxscale.engine.runner import Runner
from jaxscale.law import Input, Response, coefficient, law, real
from jaxscale.sampling.adaptive_sampler import COMPONENTS
from jaxscale.sampling.densities import densities_of
from jaxscale.sampling.log_density import Density
from jaxscale.utils import checkpoint
from tests.sampling_models import modelled, powers

X = np.geomspace(1.0, 1e4, 30)
Y = (2 * X**-0.3 + 1.7) * np.exp(0.01 * np.random.default_rng(0).normal(size=30))
ROWS = Observations.from_table(dict(x=X, y=Y), inputs=["x"], response="y")
FEW: dict[str, Any] = dict(num_chains=2, num_samples=1000, progress=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(c=dist.Uniform(-60.0, 60.0)), "gives c the prior Uniform(-60, 60), which reaches beyond what it may be"),
        (dict(c=dist.Uniform(-3.0, -2.0)), "which reaches beyond what it may be, above 0; give one that does not."),
        (dict(c=dist.TruncatedNormal(1.0, 1.0, high=3.0)), "which reaches beyond what it may be, above 0"),
        (dict(scale=dist.Normal(0.0, 1.0)), "gives scale the prior Normal(0, 1), which reaches beyond what it may be"),
        (dict(c=dist.Delta(0.3)), "Argument priors must hold densities, but c has Delta(0.3, 0); fix it instead."),
        (dict(c=dist.Poisson(3.0)), "Argument priors must hold densities over numbers, but c has Poisson(3)."),
    ],
)
def test_invalid_priors_raise(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        jaxscale.posterior("power_law_floor", ROWS, priors=given)
    assert message in str(caught.value)


@pytest.mark.parametrize("given", [dist.Uniform(0.0, 1.6), dist.Uniform(1.0, 1.6), dist.Pareto(1.8, 0.2)])
def test_initial_values_lie_inside_the_priors(given: dist.Distribution) -> None:
    drawn = jaxscale.posterior("power_law_floor", ROWS, priors=dict(c=given), method="importance", **FEW)
    low, high = prior_of(given).ends
    assert drawn.params["c"].min() >= low and (high is None or drawn.params["c"].max() <= high)
    near = high if high is not None else low
    # The maximum likelihood estimate is 1.71: the truncated posterior concentrates at the nearer end.
    assert abs(np.median(drawn.params["c"]) - near) < 0.02
    assert drawn.about["khat"] < 0.7


def test_unbounded_prior_is_truncated_to_the_support() -> None:
    drawn = jaxscale.posterior("power_law_floor", ROWS, priors=dict(c=dist.Normal(0.0, 30.0)), **FEW)
    assert drawn.params["c"].min() > 0 and np.median(drawn.params["c"]) == pytest.approx(1.71, abs=0.02)


@law(
    inputs=dict(x=Input("")),
    response=Response("", real),
    a=coefficient(range=(-5.0, 5.0)),
    b=coefficient(range=(-5.0, 5.0)),
    coordinates=(
        lambda z, centre: dict(a=z[0] - z[1], b=z[0] + z[1]),
        lambda params, centre: jnp.stack([(params["a"] + params["b"]) / 2, (params["b"] - params["a"]) / 2]),
    ),
    source="a test",
)
def own(x, *, a, b):
    """A line with its own coordinates."""
    return a + b * x


def test_priors_are_truncated_in_a_laws_own_coordinates() -> None:
    x = np.linspace(0.1, 1.0, 12)
    table = dict(x=x, y=0.5 + 2.0 * x + 0.1 * np.random.default_rng(1).normal(size=12))
    rows = Observations.from_table(table, inputs=["x"], response="y")
    given = dict(b=dist.Uniform(0.0, 1.9))
    drawn = jaxscale.posterior(own, rows, priors=given, likelihood=likelihoods.normal("linear"), **FEW)
    assert 0 < drawn.params["b"].min() and 1.85 < drawn.params["b"].max() < 1.9


@pytest.mark.parametrize(
    ("prior", "value", "moved"),
    [
        (dist.Uniform(0.0, 2.0), 5.0, 1.98),
        (dist.Uniform(0.0, 2.0), -1.0, 0.02),
        (dist.Uniform(0.0, 2.0), 1.5, 1.5),
        (dist.Pareto(2.0, 0.2), 1.0, 2.02),
        (dist.Normal(0.0, 1.0), -7.0, -7.0),
        (dist.LogNormal(0.0, 1.0), 3.0, 3.0),
        (dist.TruncatedNormal(0.0, 1.0, high=1.0), 3.0, 0.98),
    ],
)
def test_initial_value_is_moved_inside_the_support(
    prior: dist.Distribution, value: float, moved: float, x64: None
) -> None:
    assert float(move_inside(prior_of(prior), jnp.asarray(value))) == pytest.approx(moved, rel=1e-6)


def test_checkpoint_distinguishes_families_of_priors(tmp_path: Path) -> None:
    """Normal, Cauchy and Laplace have the same two hyperparameters."""
    given = dict(c=dist.Normal(1.0, 0.1))
    first = jaxscale.posterior("power_law_floor", ROWS, priors=given, checkpoint=tmp_path / "one", **FEW)
    again = jaxscale.posterior("power_law_floor", ROWS, priors=given, checkpoint=tmp_path / "one", **FEW)
    np.testing.assert_array_equal(first.params["c"], again.params["c"])
    other = dict(c=dist.Cauchy(1.0, 0.1))
    with pytest.raises(checkpoint.JournalError, match=r"belongs to another run \(it differs in priors\)"):
        jaxscale.posterior("power_law_floor", ROWS, priors=other, checkpoint=tmp_path / "one", **FEW)
    many: Any = dict(priors=given, checkpoint=tmp_path / "many", **FEW)
    jaxscale.posterior_many(laws.get("power_law_floor"), [ROWS, ROWS], **many)
    with pytest.raises(checkpoint.JournalError, match=r"it differs in priors"):
        jaxscale.posterior_many(laws.get("power_law_floor"), [ROWS, ROWS], **many | dict(priors=other))


def test_density_that_is_nowhere_finite_raises(x64: None) -> None:
    nowhere = stack([Density(lambda x, _: jnp.log(-1.0 - x @ x), None)])
    with pytest.raises(ValueError, match="The posterior density is nowhere finite near the fitted parameters"):
        densities_of(Runner(), nowhere, np.zeros((1, COMPONENTS, 2)), np.random.default_rng(0))


def test_the_density_of_every_site_counts_once(x64: None) -> None:
    model = modelled(likelihoods.student_t(), powers())
    sites, _ = model.sites(jnp.zeros(model.size))
    # The range of the amplitude, and hence its prior, is declared for inputs of size 1.
    usual = np.exp(np.mean(np.log(powers().inputs["N"]))) ** -float(sites["alpha"])
    counted = {**sites, "A": sites["A"] * usual}
    whole = sum(float(model.priors[name].log_prob(counted[name])) for name in model.shapes) + np.log(usual)
    assert float(model.log_prior(sites)) == pytest.approx(whole, rel=1e-12)
