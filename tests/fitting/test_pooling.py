"""Fits with one parameter value per group."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import laws, noise
from jaxscale.data.observations import Observations
from jaxscale.plots import band, plot
from jaxscale.results.draws import Draws
from jaxscale.results.fit import Fit
from jaxscale.utils.errors import DataError

LOG = noise.squared("log")
TRUTH = {"small": dict(a=4.0, b=0.2), "a/b (2)": dict(a=4.0, b=0.5), "3": dict(a=4.0, b=0.3)}


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    """Power laws of three groups with one percent of noise, eight rows each, in mixed order."""
    generator = np.random.default_rng(0)
    x = np.tile(np.geomspace(1e2, 1e6, 8), 3)
    labels = np.repeat(list(TRUTH), 8)
    y = [TRUTH[g]["a"] * v ** TRUTH[g]["b"] for g, v in zip(labels, x, strict=True)]
    y *= np.exp(0.01 * generator.standard_normal(24))
    order = generator.permutation(24)
    return {"x": x[order].tolist(), "y": y[order].tolist(), "g": labels[order].tolist()}


def observed(table: dict[str, list[Any]], group: str | None = "g", where: str | None = None) -> Observations:
    return Observations.from_table(table, inputs=["x"], response="y", group=group, where=where)


def fitted(rows: Observations, **settings: Any) -> Fit:
    return jaxscale.fit("power_law", rows, **{"noise": LOG, "starts": 64, "progress": False} | settings)


@pytest.fixture(scope="module")
def shared_size(table) -> Fit:
    """A common amplitude with one exponent per group."""
    return fitted(observed(table), pooling={"a": "complete", "b": "none"})


def linear(table: dict[str, list[Any]], own_size: bool) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and standard errors of least squares in logs, groups in the order of appearance."""
    labels = list(dict.fromkeys(table["g"]))
    is_in = np.array([[g == label for label in labels] for g in table["g"]], float)
    size = is_in if own_size else np.ones((len(is_in), 1))
    design = np.column_stack([size, is_in * np.log(table["x"])[:, None]])
    found, squares, *_ = np.linalg.lstsq(design, np.log(table["y"]), rcond=None)
    covariance = np.linalg.inv(design.T @ design) * squares[0] / (len(design) - design.shape[1])
    return found, np.sqrt(np.diag(covariance))


def test_each_group_has_its_own_value_under_its_label(table, shared_size: Fit) -> None:
    labels = list(dict.fromkeys(table["g"]))
    names = [f"b[{label}]" for label in labels]
    found, errors = linear(table, own_size=False)
    assert shared_size.status == "converged" and list(shared_size.params) == ["a", *names]
    assert [shared_size.params[name] for name in names] == pytest.approx(found[1:].tolist(), rel=1e-8)
    assert shared_size.params["a"] == pytest.approx(np.exp(found[0]), rel=1e-8)
    assert [shared_size.stderr[name] for name in names] == pytest.approx(errors[1:].tolist(), rel=1e-6)
    assert shared_size.provenance.columns["group"] == "g"


def test_without_pooling_each_group_is_fitted_separately(table) -> None:
    together = fitted(observed(table), pooling={"a": "none", "b": "none"})
    for label in TRUTH:
        alone = fitted(observed(table, None, where=f"g == '{label}'"))
        own = {name: together.params[f"{name}[{label}]"] for name in ("a", "b")}
        assert own == pytest.approx(alone.params, rel=1e-6)


def test_pooling_options_agree_with_the_posterior(table, shared_size: Fit) -> None:
    pooling = {"a": "complete", "b": "none"}
    drawn = jaxscale.posterior("power_law", observed(table), pooling=pooling, method="laplace")
    for k, label in enumerate(dict.fromkeys(table["g"])):
        name = f"b[{label}]"
        assert np.mean(drawn.params["b"][:, k]) == pytest.approx(shared_size.params[name], abs=shared_size.stderr[name])


def test_one_value_for_all_groups_is_the_fit_without_groups(table) -> None:
    assert fitted(observed(table), pooling={"b": "complete"}).params == fitted(observed(table, None)).params


def test_a_prediction_names_its_group(table, shared_size: Fit) -> None:
    own = {"a": shared_size.params["a"], "b": shared_size.params["b[3]"]}
    assert shared_size.predict(x=1e4, group="3") == pytest.approx(float(laws.get("power_law")(1e4, **own)), rel=1e-12)
    assert shared_size.predict(x=1e4, group=3) == shared_size.predict(x=1e4, group="3")
    both = shared_size.predict(x=[1e4, 1e4], group=["3", "small"])
    assert both.tolist() == [shared_size.predict(x=1e4, group="3"), shared_size.predict(x=1e4, group="small")]
    with pytest.raises(ValueError, match=r"^Input group must be one of .*, but is .smal. .did you mean .small.\?.\.$"):
        shared_size.predict(x=1e4, group="smal")
    with pytest.raises(ValueError, match="needs the input group to predict"):
        shared_size.predict(x=1e4)


def test_a_file_is_read_back(table, shared_size: Fit, tmp_path: Path) -> None:
    shared_size.save(tmp_path / "fit.json")
    back = Fit.load(tmp_path / "fit.json")
    assert back == shared_size and back.predict(x=1e4, group="3") == shared_size.predict(x=1e4, group="3")
    rows = observed(table)
    assert np.array_equal(back.influence("b[3]", rows), shared_size.influence("b[3]"))
    curve = jaxscale.profile(back, ["b[3]"], observations=rows)
    low, high = curve.intervals()["b[3]"]
    assert low < back.params["b[3]"] < high and high - low == pytest.approx(3.44 * back.stderr["b[3]"], rel=0.05)


def test_other_groups_are_refused(table, shared_size: Fit) -> None:
    renamed = {**table, "g": [g.replace("small", "tiny") for g in table["g"]]}
    with pytest.raises(DataError, match="has no group 'tiny'; its groups are "):
        jaxscale.prepare(shared_size.law, observed(renamed))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="needs groups; name their column with group="):
        jaxscale.prepare(shared_size.law, observed(table, None))  # pyright: ignore[reportArgumentType]


def test_refits_and_plots_know_the_groups(table, shared_size: Fit, tmp_path: Path) -> None:
    draws = jaxscale.bootstrap(shared_size, n_resamples=50)
    assert np.std(draws.params["b[3]"]) == pytest.approx(shared_size.stderr["b[3]"], rel=0.5)
    draws.save(tmp_path / "draws.nc")
    back = Draws.load(tmp_path / "draws.nc")
    assert all(np.array_equal(back.params[name], values) for name, values in draws.params.items())
    assert back.predict(x=1e4, group="3").shape == (50,)
    assert plot(shared_size, observed(table)).axes[2].get_ylabel() == "group (g)"
    assert band(draws, observed(table), "x", {"group": "3"}).axes
    for refitted in (
        lambda: jaxscale.bootstrap(shared_size, kind="cluster", cluster="group"),
        lambda: jaxscale.jackknife(shared_size, cluster="group"),
    ):
        with pytest.raises(ValueError, match="^Argument cluster must not be 'group' for power_law"):
            refitted()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": {"c": "none"}}, "Argument pooling names 'c', which is no parameter of power_law; its parameters "),
        ({"pooling": {"b": "some"}}, "Argument pooling must be complete or none, but is 'some' for b."),
        (
            {"pooling": {"b": "partial"}},
            "Argument pooling must be complete or none in a fit, but is partial for b; use jaxscale.posterior, which "
            "pools partially.",
        ),
        ({"pooling": {"b": "none"}, "fixed": {"b": 0.3}}, "Argument pooling must leave out b, which is fixed."),
    ],
)
def test_invalid_pooling_raises(table, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        fitted(observed(table), **settings)
    assert str(error.value).startswith(message)


def test_groups_that_are_missing_or_too_small_are_refused(table) -> None:
    with pytest.raises(DataError, match="^dict: pooling needs groups; name their column with group=.$"):
        fitted(observed(table, None), pooling={"b": "none"})
    few = {name: [*values, values[0]] for name, values in table.items()}
    few["g"][-1] = "alone"
    message = (
        "^dict: group 'alone' has 1 row with positive weight for 2 parameters of its own \\(a, b\\); leave the group "
        "out with where=, or let groups share parameters.$"
    )
    with pytest.raises(DataError, match=message):
        fitted(observed(few), pooling={"a": "none", "b": "none"})


def test_design_check_names_the_group_that_lacks_runs(table) -> None:
    flat = {**table, "x": [1e3 if g == "3" else v for g, v in zip(table["g"], table["x"], strict=True)]}
    rows = jaxscale.prepare(law := jaxscale.by_group(laws.get("power_law"), list(TRUTH), ["a", "b"]), observed(flat))
    found = jaxscale.check(law, rows.inputs)
    assert found.verdict == "not identified" and set(found.parameters) == {"a[3]", "b[3]"}
    assert (
        {run["group"] for run in found.suggested_runs} == {"3"} and "group=3" in found.message and "  3\n" in str(found)
    )
