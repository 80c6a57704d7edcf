"""Partial pooling over groups, and posteriors of new groups."""

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale import DataError, Input, Response, likelihoods
from jaxscale.bayes.build_model import model_of
from jaxscale.bayes.model import Model
from jaxscale.law import coefficient, law, real
from jaxscale.sampling.new_group import new_group


@law(
    inputs=dict(x=Input("units", low=-np.inf)),
    response=Response("units", real),
    a=coefficient(),
    b=coefficient(),
    source="a textbook",
    affine=("a", "b"),
)
def line(x, *, a, b):
    """A line."""
    return a + b * x


# 1,000 draws: means have errors of a thirtieth of a standard deviation, more than fine enough for what is asserted.
NUTS: dict[str, Any] = dict(likelihood=likelihoods.normal("linear"), method="nuts", num_chains=4, num_samples=250)
LEVELS = np.array([1.0, 1.4, 0.7, 1.1, 1.9, 1.3])


def grouped(rows: int, seed: int = 0, levels: np.ndarray = LEVELS) -> jaxscale.Observations:
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (len(levels), rows))
    y = levels[:, None] + 0.5 * x + 0.1 * generator.standard_normal(x.shape)
    table = {"x": x.ravel(), "y": y.ravel(), "family": np.repeat([f"f{k}" for k in range(len(levels))], rows)}
    return jaxscale.Observations.from_table(table, inputs=["x"], response="y", group="family")


def built(rows: int, **pooling: str) -> Model:
    with jax.enable_x64(True):
        return model_of(line, grouped(rows), likelihoods.normal("linear"), pooling=pooling)


@pytest.fixture(scope="module")
def draws() -> jaxscale.Draws:
    return jaxscale.posterior(line, grouped(8), pooling={"a": "partial"}, **NUTS)


def test_centred_and_noncentred_parameterisations_agree() -> None:
    """The density of the sites does not depend on the parameterisation of the groups."""
    model = built(8, a="partial")
    assert model.centred_groups and not built(2, a="partial").centred_groups
    other = eqx.tree_at(lambda m: m.response, dataclasses.replace(model, centred_groups=False), model.response)
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).standard_normal(model.size))
        sites, bend = model.sites(x)
        parts = other.parts(x)
        parts["a_offset"] = sites["a_offset"]
        vector = jnp.concatenate([jnp.ravel(parts[name]) for name in other.shapes])
        same, plain = other.sites(vector)
        for name in sites:
            np.testing.assert_allclose(same[name], sites[name], rtol=1e-12)
        # The map from centred to non-centred coordinates scales by the spread.
        np.testing.assert_allclose(plain - bend, len(LEVELS) * jnp.log(sites["a_spread"]), rtol=1e-10)
        np.testing.assert_allclose(model.log_density(x) - bend, other.log_density(vector) - plain, rtol=1e-12)


def test_groups_and_population_are_recovered(draws: jaxscale.Draws) -> None:
    assert draws.ok, draws.notices
    own = draws.params["a"]
    assert own.shape == (len(draws), len(LEVELS))
    assert np.all(np.abs(own.mean(axis=0) - LEVELS) < 4 * own.std(axis=0))
    assert own.std(axis=0).max() < 0.06
    table = draws.intervals(0.99)
    low, high = table["a_population"]
    np.testing.assert_array_equal(draws.params["a_population"], draws.nuisance["a_population"])
    assert {f"a[f{k}]" for k in range(6)} < set(table.params) and table["a[f4]"][0] > table["a[f2]"][1]
    with pytest.raises(KeyError, match=r"a_popul: no parameter has this name \(did you mean 'a_population'\?\)"):
        draws.params["a_popul"]
    assert low < LEVELS.mean() < high
    assert 0.2 < np.median(draws.nuisance["a_spread"]) < 1.0


def test_partial_pooling_shrinks_group_estimates() -> None:
    """With two noisy rows the level of a group shrinks towards the others; the least squares mean does not."""
    observations = grouped(2, seed=3)
    # The spreads of the means are 0.400 and 0.407; with 500 draws they have errors of less than 0.001.
    few: dict[str, Any] = {**NUTS, "num_chains": 2}
    partial = jaxscale.posterior(line, observations, pooling={"a": "partial"}, **few)
    apart = jaxscale.posterior(line, observations, pooling={"a": "none"}, **few)
    assert partial.params["a"].mean(axis=0).std() < apart.params["a"].mean(axis=0).std()
    assert set(apart.nuisance) == {"scale"}


def test_run_of_a_new_group_informs_its_parameters(draws: jaxscale.Draws) -> None:
    run = jaxscale.Observations.from_table({"x": [0.3], "y": [2.0 + 0.15]}, inputs=["x"], response="y")
    blind, seen = new_group(draws), new_group(draws, run)
    assert blind.params["a"].std() > 4 * seen.params["a"].std()
    assert abs(seen.params["a"].mean() - 2.0) < 0.2
    assert seen.ok
    assert seen.predict(x=[0.0, 1.0]).shape == (len(draws), 2)
    # Shared parameters are unchanged.
    assert abs(seen.params["b"].mean() - draws.params["b"].mean()) < 0.05
    np.testing.assert_array_equal(new_group(draws, run).params["a"], seen.params["a"])


def test_one_group_predicts_by_its_own_parameters(draws: jaxscale.Draws) -> None:
    with pytest.raises(ValueError, match="Each group has its own a; choose one first"):
        draws.predict(x=1.0)
    third = draws.of_group("f2").predict(x=0.0)
    np.testing.assert_allclose(third, draws.params["a"][:, 2])
    np.testing.assert_array_equal(draws.params["a[f2]"], draws.params["a"][:, 2])


def test_draws_of_one_group_exclude_shared_quantities(draws: jaxscale.Draws) -> None:
    """Rows of all groups cannot be scored with the parameters of one group."""
    own = draws.of_group("f1")
    assert own.model is None and own.observations is None
    assert set(own.params) == {"a", "b"} and set(own.nuisance) == {"scale"}
    assert set(own.stats) == {"energy", "diverging", "steps"}
    with pytest.raises(ValueError, match=r"These draws \(nuts\) have no model"):
        jaxscale.loo(own)
    assert "log_likelihood" not in own.to_arviz().children
    # New responses have the noise of all groups.
    new = own.responses(x=np.zeros(20))
    assert new.shape == (len(draws), 20)
    scatter = np.sqrt(own.params["a"].var() + np.mean(own.nuisance["scale"] ** 2))
    assert new.std() == pytest.approx(scatter, rel=0.02)
    assert new_group(draws).responses(x=0.0).std() > 3 * new.std()


def test_a_group_has_its_own_scale() -> None:
    one, scale = np.ones(400), np.repeat([[0.1, 2.0]], 400, axis=0)
    likelihood = likelihoods.normal("linear", scale_by="group")
    with jax.enable_x64(True):
        model = model_of(line, grouped(4, levels=LEVELS[:2]), likelihood)
    draws = jaxscale.Draws(line, {"a": one, "b": one}, "nuts", ("a", "b"), {"scale": scale}, model=model)
    with pytest.raises(ValueError, match=r"^Each group has its own scale; choose a group first: draws.of_group\('0'\)"):
        draws.responses(x=1.0)
    for group, size in enumerate((0.1, 2.0)):
        assert draws.of_group(group).responses(x=np.ones(50)).std() == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize("group", [6, "f6", 1.0, True, None])
def test_unknown_groups_raise(draws: jaxscale.Draws, group: Any, untyped: None) -> None:
    with pytest.raises(ValueError) as caught:
        draws.of_group(group)
    assert str(caught.value).startswith(f"Argument group must be one of f0, f1, f2, f3, f4, f5, but is {group!r}")
    with pytest.raises(ValueError, match="These draws have no parameters of groups; use them "):
        draws.of_group("f0").of_group(group)


def test_draws_from_a_file_have_no_model(draws: jaxscale.Draws, tmp_path: Path) -> None:
    draws.save(tmp_path / "draws.nc")
    loaded = jaxscale.Draws.load(tmp_path / "draws.nc", line)
    assert loaded.groups == draws.groups and loaded.params["a[f3]"].tolist() == draws.params["a"][:, 3].tolist()
    message = r"have no model \(draws of one group, refits and files read without observations have none\)"
    with pytest.raises(ValueError, match=r"^Argument draws must come from posterior, but these \(nuts\) " + message):
        new_group(loaded)
    with pytest.raises(
        ValueError, match=r"^These draws \(nuts\) " + message + ", so the likelihood of responses is unknown"
    ):
        loaded.responses(x=1.0)
    with pytest.raises(
        ValueError, match=r"^These draws \(nuts\) " + message + ", so their likelihood cannot be computed"
    ):
        jaxscale.loo(loaded)
    draws_with_model = jaxscale.Draws.load(
        tmp_path / "draws.nc", line, observations=draws.observations, likelihood=likelihoods.normal("linear")
    )
    np.testing.assert_array_equal(new_group(draws_with_model).params["a"], new_group(draws).params["a"])
    np.testing.assert_array_equal(jaxscale.loo(draws_with_model).pointwise, jaxscale.loo(draws).pointwise)


def test_refusals(draws: jaxscale.Draws) -> None:
    observations = grouped(3)
    normal = likelihoods.normal("linear")
    with pytest.raises(ValueError, match="Argument pooling names 'c', which is no free parameter of line"):
        jaxscale.posterior(line, observations, likelihood=normal, pooling={"c": "partial"})
    with pytest.raises(ValueError, match="Argument pooling must be complete, partial or none, but is 'some' for a"):
        jaxscale.posterior(line, observations, likelihood=normal, pooling={"a": "some"})
    bare = jaxscale.Observations.from_table({"x": [1.0, 2, 3], "y": [1.0, 2, 2.5]}, inputs=["x"], response="y")
    with pytest.raises(DataError, match="pooling needs groups; name their column with group="):
        jaxscale.posterior(line, bare, likelihood=normal, pooling={"a": "partial"})
    with pytest.raises(DataError, match="a scale per group needs groups"):
        jaxscale.posterior(line, bare, likelihood=likelihoods.normal("linear", scale_by="group"))
    with pytest.raises(ValueError, match="must come from a posterior with partial pooling, but pools nothing so"):
        new_group(dataclasses.replace(draws, model=dataclasses.replace(draws.model, pooling=())))
    mixed = dataclasses.replace(draws.model, pooling=(("a", "partial"), ("b", "none")))
    with pytest.raises(ValueError, match="A new group has no prior of b"):
        new_group(dataclasses.replace(draws, model=mixed))
