"""What all results have in common: law, ok, notices, intervals, predictions, frames and files."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from tests.sweeps import small, sweep

MODELS = (jaxscale.Fit, jaxscale.Fits, jaxscale.Draws)


@pytest.fixture(scope="module")
def fit() -> jaxscale.Fit:
    return jaxscale.fit(small, sweep(), noise=noise.squared("log"))


@pytest.fixture(scope="module")
def results(fit: jaxscale.Fit) -> dict[str, Any]:
    laplace = jaxscale.laplace(fit, num_samples=200)
    profile = jaxscale.profile(fit, ["alpha"])
    return {
        "fit": fit,
        "fits": jaxscale.fit_many(small, sweep(), noise=noise.squared("log")),
        "draws": laplace,
        "profile": profile,
        "fit intervals": fit.intervals(),
        "draws intervals": laplace.intervals(),
        "profile intervals": profile.intervals(),
    }


def test_every_result_has_its_law_whether_it_is_ok_its_notices_and_a_frame(results: dict[str, Any]) -> None:
    for name, result in results.items():
        assert result.law is small, name
        assert np.all(result.ok), name
        assert all(isinstance(notice, jaxscale.Notice) for notice in result.notices), name
        assert len(result.to_frame()) > 0, name


@pytest.mark.parametrize("kind", MODELS)
def test_models_predict_and_have_intervals_at_90_percent_and_files(kind: Any) -> None:
    assert {"predict", "intervals", "save", "load", "to_frame"} <= set(dir(kind))
    assert inspect.signature(kind.intervals).parameters["level"].default == 0.9


def test_every_level_is_90_percent_by_default() -> None:
    for name in jaxscale.__all__:
        value = getattr(jaxscale, name)
        members = [value, *vars(value).values()] if inspect.isclass(value) else [value]
        for member in filter(inspect.isfunction, members):
            if member.__name__ == "__init__":
                continue
            level = inspect.signature(member).parameters.get("level")
            assert level is None or level.default in (0.9, None), member


def test_arguments_have_one_name_for_one_thing() -> None:
    former = {"key", "of", "by", "replicates", "chains", "draws", "warmup", "weights"}
    taken = {"bootstrap_intervals", "new_group", "loo", "prior_sensitivity"}
    for name in jaxscale.__all__:
        value = getattr(jaxscale, name)
        if inspect.isfunction(value):
            names = set(inspect.signature(value).parameters)
            # solve takes a key of JAX; some functions take draws.
            allowed = {"key"} if name == "solve" else {"draws"} if name in taken else set()
            assert names & former <= allowed, name


def test_what_a_function_returns_is_exported() -> None:
    for name in jaxscale.__all__:
        value = getattr(jaxscale, name)
        if inspect.isfunction(value):
            returned = inspect.signature(value, eval_str=name != "default").return_annotation
            if getattr(returned, "__module__", "").startswith("jaxscale"):
                assert returned.__name__ in jaxscale.__all__, name


def test_intervals_are_a_mapping_to_both_ends(fit: jaxscale.Fit) -> None:
    intervals = fit.intervals()
    assert list(intervals) == list(fit.free) and len(intervals) == 3
    lower, upper = intervals["alpha"]
    assert lower < intervals.params["alpha"]["estimate"] == fit.params["alpha"] < upper
    frame = intervals.to_frame()
    assert list(frame.columns) == ["estimate", "sd", "lower", "upper"]
    assert frame.loc["alpha", "lower"] == lower
    assert "90 % interval" in str(intervals)


def test_draws_have_a_column_for_every_number(results: dict[str, Any]) -> None:
    frame = results["draws"].to_frame()
    assert list(frame.columns) == ["E", "A", "alpha"] and len(frame) == 200
    np.testing.assert_array_equal(frame["A"], results["draws"].params["A"])


def test_a_profile_has_a_row_for_every_point(results: dict[str, Any]) -> None:
    profile = results["profile"]
    frame = profile.to_frame()
    np.testing.assert_array_equal(frame.loc["alpha", "value"], profile["alpha"].values)
    assert profile.intervals(0.9)["alpha"] == profile.intervals()["alpha"]
    with pytest.raises(ValueError, match=r"^Argument level must be that of the profile, 0\.9, but is 0\.5; profile"):
        profile.intervals(0.5)


def test_files_of_fits_end_in_json_and_are_of_the_law(fit: jaxscale.Fit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Argument path must end in \.json, as files of fits do, but is 'fit\.nc'"):
        fit.save("fit.nc")
    fit.save(tmp_path / "fit.json")
    assert jaxscale.Fit.load(tmp_path / "fit.json", law=small) == fit
    assert jaxscale.Fit.load(tmp_path / "fit.json").law == "small"
    with pytest.raises(ValueError, match=r"^Argument law is chinchilla, but the file holds the fit of small\.$"):
        jaxscale.Fit.load(tmp_path / "fit.json", law=jaxscale.laws.chinchilla)


def test_a_design_check_is_a_dictionary_and_ok() -> None:
    check = jaxscale.check("chinchilla", {"N": [1e8, 2e8, 4e8], "D": [1e9, 2e9, 4e9]})
    assert not check.ok and check.law.name == "chinchilla"
    assert check.to_dict()["law"] == "chinchilla" and check.to_dict()["verdict"] == "not identified"
