"""Validation of models: counts, censoring, names and priors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxscale
from jaxscale import DataError, Input, Observations, Response, likelihoods
from jaxscale.bayes.build_model import model_of
from jaxscale.bayes.model import Model
from jaxscale.law import coefficient, fraction, law, positive, real, unit
from jaxscale.results.draws import Draws

NORMAL = likelihoods.normal("linear")


@law(inputs=dict(x=Input("")), response=Response("share", unit), p=fraction(), source="a test")
def share(x, *, p):
    """A constant probability."""
    return p + 0 * x


@law(inputs=dict(x=Input("")), response=Response("", positive), a=coefficient(), source="a test")
def falling(x, *, a):
    """A fraction declared as a positive response."""
    return jnp.exp(-a * x)


@law(inputs=dict(x=Input("")), response=Response("", real), scale=coefficient(), b=coefficient(), source="a test")
def scaled(x, *, scale, b):
    """A line whose level has the name of the noise's scale."""
    return scale + b * x


@law(inputs=dict(x=Input("")), response=Response("", real), b=coefficient(), b_spread=coefficient(), source="a test")
def spread(x, *, b, b_spread):
    """A line with a parameter named like the spread of another."""
    return b_spread + b * x


def counted(response: list[float], trials: list[float], weight: Any = None) -> Observations:
    table = {"x": np.arange(1.0, len(response) + 1), "y": response, "n": trials, "w": weight or [1.0] * len(response)}
    return Observations.from_table(table, inputs=["x", "n"], response="y", weight="w")


def grouped(groups: list[str], **more: Any) -> Observations:
    x = np.arange(1.0, len(groups) + 1)
    table = {"x": x, "y": 1 + 0.5 * x + 0.1 * np.sin(9 * x), "g": groups, "run": np.arange(len(x)) // 2, **more}
    return Observations.from_table(table, inputs=["x", *more], response="y", group="g", run="run")


def built(law: Any, observations: Observations, likelihood: Any, **more: Any) -> Model:
    with jax.enable_x64(True):
        return model_of(law, observations, likelihood, **more)


@pytest.mark.parametrize(
    ("response", "trials", "message"),
    [
        ([0.5, 1.25], [10, 200], "dict, row 2: a response of 1.25 with 200 trials (n); the response must be"),
        ([45.0, 80.0], [20, 20], "or their proportion of the trials, from 0 to 1 (divide percents by 100)."),
        ([0.5, -0.1], [10, 10], "dict, row 2: a response of -0.1 with 10 trials (n); the response must be the number"),
        ([0.5, 0.5, 0.11], [10, 4, 10], "their proportion of the trials, of which 1.1 would be successes."),
        ([0.11, 0.5], [10, 4], "dict, row 1: a response of 0.11 with 10 trials (n); the response must be the"),
        ([0.5, 0.0], [10, 0.0], "dict, row 2: 0 trials (n); trials must be positive integers."),
        ([0.5, 0.0], [10, 2.5], "dict, row 2: 2.5 trials (n); trials must be positive integers."),
    ],
)
def test_invalid_counts_raise(response: list[float], trials: list[float], message: str) -> None:
    for likelihood in (likelihoods.binomial("n"), likelihoods.beta_binomial("n")):
        with pytest.raises(DataError) as caught:
            built(share, counted(response, trials), likelihood)
        assert message in str(caught.value)


def test_whole_numbers_with_one_above_1_are_counts_of_successes() -> None:
    counts = counted([0.0, 1.0, 6.0, 164.0, 7.5], [164.0, 2.0, 164.0, 164.0, 3.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    _, found = likelihoods.binomial("n").bind(counts)
    np.testing.assert_allclose(found.response, [0.0, 0.5, 6 / 164, 1.0, 7.5], rtol=1e-15)
    model = built(share, counts, likelihoods.binomial("n"))
    np.testing.assert_allclose(model.response[:4], found.response[:4], rtol=1e-15)
    assert likelihoods.binomial("n").bind(found)[1] is found
    for shares in (counted([0.0, 1.0, 0.5], [2, 2, 2]), counted([0.0, 1.0], [1, 1])):
        likelihoods.binomial("n").check_unambiguous(shares)
        assert likelihoods.binomial("n").bind(shares)[1] is shares


def test_responses_of_0_and_1_with_several_trials_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        jaxscale.posterior(share, counted([0.0, 1.0, 0.0], [1, 164, 1]), likelihood=likelihoods.binomial("n"))
    assert str(caught.value) == (
        "dict, row 2: with 164 trials (n) a response of 1 may be one success or a proportion of 100 %, since every "
        "response is 0 or 1; divide successes by trials, or multiply proportions by trials."
    )


def test_rows_of_weight_0_are_not_validated() -> None:
    data = counted([0.5, 250.0, 0.3, 0.0], [10, 0.5, 10, 10], [1.0, 0.0, 1.0, 1.0])
    model = built(share, data, likelihoods.binomial("n"))
    assert np.isfinite(model.log_likelihood({"p": np.array([0.3])})).all()
    # The surrogate fit does not use them either.
    drawn = jaxscale.posterior(share, data, likelihood=likelihoods.binomial("n"), method="laplace", num_samples=20)
    assert np.isfinite(drawn.params["p"]).all()
    seen = grouped(["a", "b", "a"], seen=[0.0, 1.0, 2.0])
    with pytest.raises(DataError, match=r"row 3: the indicator of censoring \(seen\) is 2; it must be 1 where"):
        built(share, seen, likelihoods.normal("linear", censored="seen"))
    blind = Observations(seen.inputs, seen.response, np.array([1.0, 1.0, 0.0]))
    built(share, blind, likelihoods.normal("linear", censored="seen"))


def test_counts_of_a_law_of_positive_responses_may_be_none_or_all() -> None:
    data = counted([1.0, 0.8, 0.5, 0.2, 0.1, 0.0], [10.0] * 6)
    drawn = jaxscale.posterior(
        falling, data, likelihood=likelihoods.binomial("n"), num_chains=2, num_samples=200, progress=False
    )
    x, grid = data.inputs["x"], np.linspace(1e-3, 2, 4001)
    p = np.exp(-grid[:, None] * x)
    # The prior is wide enough to have no effect.
    weight = np.exp(np.sum(10 * data.response * np.log(p) + 10 * (1 - data.response) * np.log1p(-p), axis=1))
    mean = np.sum(weight * grid) / np.sum(weight)
    assert abs(drawn.params["a"].mean() - mean) < 0.01


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ([0.0, 1.0, 2.0], "dict, row 3: the indicator of censoring (seen) is 2; it must be 1 where the response is"),
        ([0.5, 1.0, 0.0], "dict, row 1: the indicator of censoring (seen) is 0.5; it must be 1 where the response is"),
        ([1.0, 1.0, 1.0], "dict: every row is censored (seen is 1), so there is no observed response; add rows that"),
    ],
)
def test_invalid_censoring_indicators_raise(seen: list[float], message: str) -> None:
    with pytest.raises(DataError) as caught:
        built(share, grouped(["a", "b", "a"], seen=seen), likelihoods.normal("linear", censored="seen"))
    assert message in str(caught.value)


def test_parameter_names_must_differ_from_nuisance_parameters() -> None:
    data = grouped(["a", "b"] * 4)
    with pytest.raises(ValueError) as caught:
        jaxscale.posterior(scaled, data, likelihood=NORMAL)
    assert str(caught.value) == (
        "Parameter 'scale' of scaled has the name of a parameter of the likelihood; rename it: "
        "jaxscale.rename(law, scale='scale_of_law')."
    )
    # A fixed parameter conflicts as well; other names do not.
    with pytest.raises(ValueError, match="Parameter 'scale' of scaled has the name"):
        built(scaled, data, NORMAL, fixed={"scale": 1.0})
    assert "scale_of_law" in built(jaxscale.rename(scaled, scale="scale_of_law"), data, NORMAL).shapes
    assert set(built(jaxscale.rename(scaled, scale="power"), data, NORMAL).shapes) >= {"power", "scale"}
    for name, likelihood in (
        ("power", likelihoods.normal("linear", scale_by="level")),
        ("df", likelihoods.student_t(space="linear")),
        ("run_ratio", likelihoods.normal("linear", runs=True)),
        ("run_effect", likelihoods.laplace("linear", runs=True)),
    ):
        with pytest.raises(ValueError, match=f"Parameter '{name}' of .* has the name of a parameter of the likelihood"):
            built(jaxscale.rename(scaled, scale=name), data, likelihood)
    with pytest.raises(ValueError, match="Parameter 'b_spread' of spread has the name of a parameter of pooling;"):
        built(spread, data, NORMAL, pooling={"b": "partial"})
    assert "b_spread" in built(spread, data, NORMAL, pooling={"b": "none"}).shapes


def test_draws_reject_duplicate_names() -> None:
    with pytest.raises(ValueError, match=r"Parameter 'scale' of scaled has the name of .*rename\(law, scale='scale_of"):
        Draws("scaled", {"scale": np.ones(3)}, "case bootstrap", ("scale",), {"scale": np.ones(3)})


@pytest.mark.parametrize(
    ("name", "width", "likelihood", "pooling"),
    [
        ("run_effect", "run_ratio", likelihoods.laplace("linear", runs=True), {}),
        ("run_effect", "run_ratio", likelihoods.normal("linear", runs=True), {}),
        ("b_offset", "b_spread", NORMAL, {"b": "partial"}),
    ],
)
def test_standard_normal_sites_take_no_prior(name: str, width: str, likelihood: Any, pooling: Any) -> None:
    given = {name: dist.Normal(0.0, 2.0)}
    law, data = jaxscale.rename(scaled, scale="a"), grouped(["a", "b"] * 4)
    with pytest.raises(ValueError) as caught:
        built(law, data, likelihood, given=given, pooling=pooling)
    assert str(caught.value) == (
        f"Argument priors must not name '{name}', which is Normal(0, 1) by construction; give a prior of '{width}', "
        "the width of what it multiplies."
    )
    assert width in built(law, data, likelihood, given={width: dist.HalfNormal(1.0)}, pooling=pooling).shapes


def test_partial_pooling_needs_two_groups() -> None:
    law = jaxscale.rename(scaled, scale="a")
    with pytest.raises(
        DataError, match="dict: partial pooling of a needs at least two groups, but there is one; leave"
    ):
        built(law, grouped(["f"] * 4), NORMAL, pooling={"a": "partial"})
    with jax.enable_x64(True):
        model = built(law, grouped(["f"] * 4), NORMAL, pooling={"a": "none"})
        assert np.isfinite(model.log_density(jnp.zeros(model.size)))
