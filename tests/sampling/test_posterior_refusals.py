# pyright: reportArgumentType=false
"""Validation of posterior arguments, before fitting."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxscale
from jaxscale import likelihoods
from jaxscale.bayes import priors
from jaxscale.utils.errors import DataError
from tests.sampling_models import line, modelled, of, power, powers, straight

BINOMIAL = likelihoods.binomial("n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="mcmc"), "Argument method must be one of auto, importance, nuts, laplace, but is 'mcmc'."),
        (dict(num_chains=0), "Argument num_chains must be a positive number, but is 0."),
        (dict(num_samples=1.5), "Argument num_samples must be a positive number, but is 1.5."),
        (dict(num_warmup=True), "Argument num_warmup must be a positive number, but is True."),
        (dict(seed=-1), "Argument seed must not be negative, but is -1."),
        (dict(observations=None), "Argument observations must be given with a law."),
        (dict(fixed={"c": 1}), "Argument fixed names 'c', which is no parameter of line"),
        (dict(priors={"slope": dist.Normal()}), "Argument priors names 'slope', which is nothing that is inferred"),
        (dict(priors={"a": 3.0}), "Argument priors must hold NumPyro distributions of single numbers, but a has 3.0."),
        (dict(priors={"a": dist.Normal(np.zeros(2), 1.0)}), "Argument priors must hold NumPyro distributions"),
        (dict(pooling={"c": "none"}), "Argument pooling names 'c', which is no free parameter of line"),
        (dict(pooling={"a": "some"}), "Argument pooling must be complete, partial or none, but is 'some' for a."),
        (dict(pooling={"a": "none"}), "pooling needs groups; name their column with group="),
        (dict(likelihood=BINOMIAL), "the likelihood needs the input 'n'; map it to a column in addition to the law's"),
        (dict(likelihood=likelihoods.normal("linear", scale_by="group")), "a scale per group needs groups"),
        (dict(likelihood=likelihoods.normal("linear", runs=True)), "run effects need runs"),
    ],
)
def test_invalid_arguments_of_posterior(arguments: dict[str, Any], message: str, untyped: None) -> None:
    with pytest.raises((ValueError, DataError)) as caught:
        jaxscale.posterior(line, **(dict(observations=straight()) | arguments))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("log", "log residuals need responses above 0, but 1 of 4 are not; use a likelihood of linear residuals"),
        ("logit", "logit residuals need responses between 0 and 1, but 3 of 4 are not; use a likelihood of linear"),
    ],
)
def test_responses_outside_the_residual_space_raise(space: Any, message: str) -> None:
    observations = of(dict(x=[1.0, 2.0, 3.0, 4.0], y=[0.5, 0.0, 2.0, 1.0]), "x")
    starts = {"a": np.zeros(1), "b": np.ones(1)}
    with pytest.raises(DataError) as caught:
        jaxscale.posterior_many(line, [observations], likelihood=likelihoods.normal(space), starts=starts)
    assert message in str(caught.value)


def test_other_invalid_arguments(x64: None) -> None:
    fitted = jaxscale.fit(power, powers(), n_resamples=0, starts=64)
    with pytest.raises(ValueError, match="Argument fixed must not be given with a fit, whose own fixed values are"):
        jaxscale.posterior(fitted, fixed={"E": 1.0})
    with pytest.raises(ValueError, match="Argument observations must not be empty"):
        jaxscale.posterior_many(line, [])
    with pytest.raises(ValueError, match="Argument pooling must be empty for farseer, which has coordinates of its"):
        rows = dict(N=np.geomspace(1e8, 1e10, 12), D=np.geomspace(1e10, 1e9, 12), y=np.linspace(0.9, 0.5, 12))
        grouped_data = of(rows | dict(g=np.arange(12) % 2), "N", "D", group="g")
        modelled(likelihoods.normal(), grouped_data, jaxscale.laws.get("farseer"), pooling={"s": "none"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: likelihoods.student_t(0.0), "Argument df must be above 0, but is 0.0."),
        (lambda: likelihoods.normal("cube"), "Argument space must be one of "),  # pyright: ignore
        (
            lambda: likelihoods.laplace(scale_by="run"),
            "Argument scale_by must be constant, level or group, but is 'run'",
        ),  # pyright: ignore
        (lambda: jaxscale.sample(lambda x, _: x @ x, np.zeros((5, 2))), "Argument start must have shape (size,) or"),
        (lambda: jaxscale.sample(lambda x, _: jnp.log(x[0]), [-1.0]), "Argument start must be where the log density"),
    ],
)
def test_invalid_likelihoods_and_densities(make: Any, message: str, untyped: None) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_prior_text_rounds_its_midpoint() -> None:
    assert priors.describe(dist.LogNormal(4.441e-16, 1.5)) == "LogNormal(0, 1.5)"
    assert priors.describe(dist.Normal(-1e-3, 0.25)) == "Normal(-0.001, 0.25)"
