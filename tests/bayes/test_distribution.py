"""Models as NumPyro programs: sites, plates, joint density, predictive draws, enclosing programs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import Predictive, log_likelihood
from numpyro.infer.util import log_density

import jaxscale
from jaxscale import likelihoods
from jaxscale.bayes.distribution import Responses
from jaxscale.bayes.model import Model
from tests.sampling_models import counting, modelled, of, powers, share

GROUPED: dict[str, Any] = dict(pooling={"E": "partial", "alpha": "none"})
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "normal": (likelihoods.normal(), {}),
    "by level": (likelihoods.normal("linear", scale_by="level"), {}),
    "student, pooled": (likelihoods.student_t(scale_by="group"), GROUPED),
    "laplace, runs": (likelihoods.laplace(runs=True), {}),
    "runs": (likelihoods.student_t(runs=True), {}),
    "normal runs, pooled": (likelihoods.normal(runs=True), GROUPED),
    "censored": (likelihoods.normal(censored="seen"), {}),
}


def counts_of(name: str) -> Model:
    if name in ("binomial", "beta_binomial"):
        rows = of(dict(x=np.arange(1.0, 4), n=[10.0, 12.0, 20.0], y=[0.0, 0.25, 1.0]), "x", "n")
        return modelled(getattr(likelihoods, name)("n"), rows, share)
    law = jaxscale.laws.get("power_law")
    return modelled(getattr(likelihoods, name)(), counting([3.0, 0.0, 8.0, 4.0, 9.0]), law)


def built(name: str) -> Model:
    if name not in CASES:
        return counts_of(name)
    likelihood, more = CASES[name]
    return modelled(likelihood, weighted(), **more)


def weighted() -> Any:
    """Rows of which one has weight 0, one counts twice and some are censored."""
    rows = powers(rows=12, also=["seen"], run="run", group="group")
    rows.inputs["seen"][::5] = 1.0
    rows.weight[:2] = 0.0, 2.0
    return rows


pytestmark = pytest.mark.usefixtures("implicit_promotion")
NAMES = [*CASES, "binomial", "beta_binomial", "poisson", "negative_binomial"]


def drawn(model: Model, count: int = 3, **more: Any) -> dict[str, Any]:
    return Predictive(model.numpyro(), num_samples=count)(jax.random.key(1), response=None, **more)


@pytest.mark.parametrize("name", NAMES)
def test_the_joint_density_is_that_of_the_model(name: str, x64: None) -> None:
    model = built(name)
    prior = drawn(model)
    sites = {site: prior[site] for site in model.shapes}
    expected = jax.jit(jax.vmap(model.log_prior))(sites) + model.log_likelihood(sites).sum(axis=1)
    found = jax.jit(jax.vmap(lambda one: log_density(model.numpyro(), (), {}, one)[0]))(sites)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    if not model.marginal:
        rows = log_likelihood(model.numpyro(), sites)["obs"] * model.data["weight"][model.data["weight"] > 0]
        np.testing.assert_allclose(rows, model.log_likelihood(sites), rtol=1e-10)


@pytest.mark.parametrize("name", ["student, pooled", "laplace, runs", "runs", "poisson"])
def test_every_parameter_is_a_site_and_rows_are_a_plate(name: str, x64: None) -> None:
    model = built(name)
    trace = handlers.trace(handlers.seed(model.numpyro(), 0)).get_trace()
    rows = int(np.sum(model.data["weight"] > 0))
    sampled = {key for key, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
    assert sampled == set(model.shapes)
    assert trace["obs"]["is_observed"] and trace["obs"]["value"].shape == (rows,) == trace["level"]["value"].shape
    plates = {key: site["value"].shape for key, site in trace.items() if site["type"] == "plate"}
    reference = {} if model.marginal else {"row": (rows,)}
    if model.pooling:
        reference["group"] = (model.groups,)
        assert trace["E"]["type"] == "deterministic" and trace["E"]["value"].shape == (model.groups,)
    if model.runs:
        reference["run"] = (model.runs,)
    assert plates == reference
    assert set(model.shapes) <= set(trace)


def test_predictive_draws_come_from_the_priors_and_from_draws(x64: None) -> None:
    model = built("poisson")
    prior = drawn(model, 400)
    assert np.array_equal(prior["obs"], np.round(prior["obs"])) and prior["obs"].shape == (400, 5)
    mean, sd = (float(model.priors["b"].distribution.mean), float(model.priors["b"].distribution.variance) ** 0.5)
    assert abs(np.mean(prior["b"]) - mean) < 0.2 * sd and np.std(prior["b"]) == pytest.approx(sd, rel=0.15)
    held = {"a": jnp.full(2000, 4.0), "b": jnp.full(2000, 0.1)}
    new = Predictive(model.numpyro(), held)(jax.random.key(0), response=None)["obs"]
    level = 4.0 * np.geomspace(1.0, 1000.0, 5) ** 0.1
    np.testing.assert_allclose(np.mean(new, axis=0), level, rtol=0.05)
    np.testing.assert_allclose(np.var(new, axis=0), level, rtol=0.15)


def test_rows_of_a_run_share_an_effect_in_predictive_draws(x64: None) -> None:
    model = built("runs")
    held = {"E": 1.8, "A": 30.0, "alpha": 0.4, "scale": 0.001, "run_ratio": 100.0, "df": 50.0}
    sites = {name: jnp.full(1500, value) for name, value in held.items()}
    found = Predictive(model.numpyro(), sites)(jax.random.key(0), response=None)
    residual = np.log(found["obs"]) - np.log(found["level"])
    table: Any = np.corrcoef(residual.T)
    run = np.asarray(model.data["run"])[np.asarray(model.data["weight"]) > 0]
    same = run[:, None] == run
    assert table[same].min() > 0.99 and np.abs(table[~same]).max() < 0.1


def test_enclosing_program_adds_a_plate_and_a_hierarchical_prior(x64: None) -> None:
    rows = powers(rows=12, group="group")
    model = modelled(likelihoods.normal(runs=False), rows)
    inner, family = model.numpyro(), np.asarray(rows.group)

    def families() -> None:
        mean = numpyro.sample("mean", dist.Normal(0.4, 0.05))
        with numpyro.plate("family", 3):
            alpha: Any = numpyro.sample("alpha", dist.Normal(mean, 0.02))
        inner(alpha=alpha[family])

    alpha: Any = jnp.array([0.38, 0.4, 0.43])
    sites = {"E": jnp.asarray(1.8), "A": jnp.asarray(30.0), "scale": jnp.asarray(0.02)}
    found, trace = log_density(families, (), {}, {**sites, "mean": jnp.asarray(0.41), "alpha": alpha})
    N, y = rows.inputs["N"], rows.response
    level = 1.8 + 30.0 * N ** -alpha[family]
    np.testing.assert_allclose(trace["level"]["value"], level, rtol=1e-12)
    known = dist.Normal(0.4, 0.05).log_prob(0.41) + dist.Normal(0.41, 0.02).log_prob(alpha).sum()
    known += dist.LogNormal(jnp.log(level), 0.02).log_prob(y).sum()
    # The amplitude's prior is scaled by the inputs' size to the power of the mean exponent.
    known += sum(model.priors[name].log_prob(sites[name]) for name in ("E", "scale"))
    unit = model.unit("A", {**sites, "alpha": jnp.mean(alpha[family])})
    known += model.priors["A"].log_prob(sites["A"] * jnp.exp(-unit)) - unit
    np.testing.assert_allclose(found, known, rtol=1e-10)


def test_values_of_wrong_name_or_shape_raise(x64: None) -> None:
    program = modelled(likelihoods.normal(runs=False), powers(rows=12)).numpyro()
    with pytest.raises(ValueError) as caught:
        program(beta=0.3)
    assert str(caught.value) == ("Argument beta is no site of the model of power; its sites are E, A, alpha, scale.")
    with pytest.raises(ValueError, match=r"^Argument alpha must be a number or have shape \(12,\), one number for"):
        program(alpha=np.ones(3))


def test_the_distribution_has_batches_of_rows_or_one_event_and_passes_through_jit(x64: None) -> None:
    data = {"run": np.array([0, 0, 1]), "group": np.zeros(3, int), "weight": np.ones(3)}
    sites = {"scale": jnp.asarray(0.1), "run_ratio": jnp.asarray(1.0)}
    rows = Responses(likelihoods.normal(runs=False), sites, jnp.ones(3), data)
    whole = Responses(likelihoods.normal(runs=True), sites, jnp.ones(3), data, np.array([[0, 1], [2, -1]]))
    assert (rows.batch_shape, rows.event_shape) == ((3,), ()) and (whole.batch_shape, whole.event_shape) == ((), (3,))
    for one in (rows, whole):
        new = one.sample(jax.random.key(0), (2, 4))
        assert new.shape == (2, 4, 3) and one.sample(jax.random.key(0)).shape == (3,)
        through = jax.jit(lambda d: d)(one)
        np.testing.assert_allclose(through.log_prob(new[0, 0]), one.log_prob(new[0, 0]), rtol=1e-14)
        assert through.support == one.support
