"""Conversion of draws to ArviZ trees and NetCDF files, and validation of files."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from jaxscale import Notice, Observations, likelihoods
from jaxscale.bayes import arviz_io
from jaxscale.bayes.build_model import model_of
from jaxscale.law import Law
from jaxscale.prediction.cross_validation import loo
from jaxscale.results.draws import Draws
from tests.lines import line

ROWS, CHAINS, DRAWS = 12, 4, 25


def sampled(runs: bool = False, excluded: int = 3) -> Draws:
    """Draws with groups, fixed parameters, chains, stats and a model, without fitting."""
    generator = np.random.default_rng(0)
    x = np.linspace(-1, 2, ROWS)
    table: dict[str, Any] = {"x": x, "y": 1 + x, "w": np.where(np.arange(ROWS) == excluded, 0.0, 1.0)}
    table |= {"run": np.arange(ROWS) // 3}
    data = Observations.from_table(table, inputs=["x"], response="y", weight="w", run="run" if runs else None)
    with jax.enable_x64(True):
        model = model_of(line, data, likelihoods.normal("linear"), fixed={"c": 0.1 + 0.2})
    count = CHAINS * DRAWS
    nuisance = {"scale": generator.uniform(0.5, 1.5, count)}
    if runs:
        nuisance["run_ratio"] = generator.uniform(0.5, 1.5, count)
    steps = generator.integers(1, 8, count).astype(float)
    stats = {"log_density": generator.standard_normal(count), "steps": steps, "energy": generator.normal(size=count)}
    stats |= {"diverging": (np.arange(count) == 7).astype(float), "log_prior": generator.standard_normal(count)}
    return Draws(
        law=line,
        params={"c": np.full(count, 0.1 + 0.2), "m": generator.standard_normal(count)},
        method="nuts",
        free=("m",),
        nuisance=nuisance,
        chains=CHAINS,
        stats=stats,
        about={"khat": 0.1 + 0.2, "priors": {"m": "Normal(0, 1)"}, "seed": 3},
        notices=(Notice("flat", "Something trades off."),),
        ok=False,
        observations=data,
        model=model,
    )


def same(one: Draws, other: Draws) -> None:
    for name in ("params", "nuisance", "stats"):
        a, b = getattr(one, name), getattr(other, name)
        assert list(a) == list(b)
        for key in a:
            assert (a[key].dtype, a[key].shape, a[key].tobytes()) == (b[key].dtype, b[key].shape, b[key].tobytes())
    for name in ("law", "method", "free", "chains", "about", "notices", "ok"):
        assert getattr(one, name) == getattr(other, name)


def test_file_round_trip_is_bitwise(tmp_path: Path) -> None:
    draws = sampled()
    draws.save(tmp_path / "draws.nc")
    again = Draws.load(tmp_path / "draws.nc", line)
    same(draws, again)
    assert again.law is line and again.model is None and again.observations is None
    assert [path.name for path in tmp_path.iterdir()] == ["draws.nc"]
    assert again.predict(x=2.0) == pytest.approx(draws.predict(x=2.0), rel=0)


def test_nan_infinities_and_long_text_round_trip(tmp_path: Path) -> None:
    draws = sampled()
    group = np.random.default_rng(1).standard_normal((100, 3))
    odd = group[:, 0].copy()
    odd[:4] = [np.nan, np.inf, -np.inf, -0.0]
    stats = {"log_density": odd, "diverging": odd, "count": np.arange(100), "small": odd.astype(np.float32)}
    about = {"words": "x" * 200_000, "nan": [1.5, None], "ends": (1, 2), "array": np.arange(2), "one": np.float64(0.1)}
    wide = replace(
        draws, params={"c": np.repeat(group[:1], 100, 0), "m": group}, stats=stats, about=about, model=None, chains=1
    )
    wide.save(tmp_path / "a.NC")
    again = Draws.load(tmp_path / "a.NC")
    plain = about | {"ends": [1, 2], "array": [0, 1], "one": 0.1}
    same(replace(wide, about=plain, law="line"), again)
    assert again.law == "line"


def test_the_tree_has_the_groups_of_arviz() -> None:
    draws = sampled()
    tree = draws.to_arviz()
    assert set(tree.children) == {
        "posterior",
        "sample_stats",
        "log_prior",
        "log_likelihood",
        "observed_data",
        "constant_data",
    }
    assert set(tree["posterior"].data_vars) == {"m", "scale"}
    assert tree["posterior"]["m"].dims == ("chain", "draw") and tree["posterior"]["m"].shape == (CHAINS, DRAWS)
    np.testing.assert_array_equal(tree["posterior"]["m"].values[1], draws.params["m"][DRAWS : 2 * DRAWS])
    assert set(tree["sample_stats"].data_vars) == {"lp", "n_steps", "energy", "diverging"}
    assert tree["sample_stats"]["diverging"].dtype == bool
    rows = [row for row in draws.observations.rows if row != draws.observations.rows[3]]  # pyright: ignore
    assert tree["observed_data"]["row"].values.tolist() == rows
    assert float(tree["constant_data"]["fixed_c"]) == 0.1 + 0.2
    assert tree["constant_data"]["x"].dims == ("row",)
    likelihood = tree["log_likelihood"]["response"]
    assert likelihood.dims == ("chain", "draw", "row") and likelihood.shape == (CHAINS, DRAWS, ROWS - 1)
    y, x = tree["observed_data"]["response"].values, tree["constant_data"]["x"].values
    c, m, s = draws.params["c"][0], draws.params["m"][0], draws.nuisance["scale"][0]
    expected = -0.5 * ((y - c - m * x) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(likelihood.values[0, 0], expected, rtol=1e-12)


def test_runs_that_share_an_effect_are_the_units() -> None:
    draws = sampled(runs=True, excluded=4)
    likelihood = draws.to_arviz()["log_likelihood"]["response"]
    assert likelihood["run"].values.tolist() == list(draws.observations.rows[::3])  # pyright: ignore
    assert likelihood.dims == ("chain", "draw", "run") and likelihood.shape == (CHAINS, DRAWS, ROWS // 3)


def test_arviz_works_on_the_tree() -> None:
    import importlib

    arviz_stats: Any = importlib.import_module("arviz_stats")
    tree = sampled().to_arviz()
    with pytest.warns(UserWarning, match="shape parameter of Pareto"):
        assert arviz_stats.loo(tree, pointwise=True).elpd_i.shape == (ROWS - 1,)
    assert set(arviz_stats.rhat(tree).data_vars) == {"m", "scale"}


def test_draws_without_a_model_convert() -> None:
    bare = Draws("line", {"c": np.arange(3.0), "m": np.arange(3.0)}, "case bootstrap", ("c", "m"))
    assert set(bare.to_arviz().children) == {"posterior"}
    same(bare, arviz_io.from_arviz(bare.to_arviz()))


@pytest.mark.parametrize("name", ["draws.json", "draws"])
def test_another_extension_raises(tmp_path: Path, name: str) -> None:
    reference = f"{name} does not end in .nc, as files of draws do; end it in .nc.$"
    with pytest.raises(ValueError, match=reference):
        sampled().save(tmp_path / name)
    with pytest.raises(ValueError, match=reference):
        Draws.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_invalid_files_of_draws_raise(tmp_path: Path) -> None:
    import xarray

    with pytest.raises(FileNotFoundError):
        Draws.load(tmp_path / "missing.nc")
    (tmp_path / "text.nc").write_text("some text")
    with pytest.raises(ValueError, match=r"text\.nc cannot be read as NetCDF; write draws with Draws\.save\.$"):
        Draws.load(tmp_path / "text.nc")
    sampled().save(tmp_path / "cut.nc")
    whole = (tmp_path / "cut.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.nc cannot be read as NetCDF; write draws with Draws\.save\.$"):
        Draws.load(tmp_path / "cut.nc")
    xarray.Dataset({"a": ("b", np.arange(3))}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(
        ValueError, match=r"^These are not draws written by jaxscale \(.*\); write them with Draws\.save"
    ):
        Draws.load(tmp_path / "other.nc")


def test_another_law_is_refused(tmp_path: Path) -> None:
    sampled().save(tmp_path / "draws.nc")
    other: Law = replace(line, name="curve")
    with pytest.raises(ValueError, match=r"^Argument law is curve, but the file holds the posterior of line\.$"):
        Draws.load(tmp_path / "draws.nc", other)


@pytest.mark.parametrize("runs", [False, True])
def test_model_is_rebuilt_from_observations(tmp_path: Path, runs: bool) -> None:
    draws = replace(sampled(runs), ok=True)
    with jax.enable_x64(True):
        sites = {name: (draws.params | draws.nuisance)[name] for name in draws.model.shapes}
        log_densities = {"log_likelihood": jax.vmap(lambda s: draws.model.rows(s).sum())(sites)}
        log_densities["log_prior"] = jax.vmap(draws.model.log_prior)(sites)
    draws = replace(draws, stats=draws.stats | {name: np.asarray(values) for name, values in log_densities.items()})
    path = tmp_path / "draws.nc"
    draws.save(path)
    own: dict[str, Any] = dict(observations=draws.observations, likelihood=likelihoods.normal("linear"))
    again = Draws.load(path, line, **own)
    same(draws, again)
    np.testing.assert_array_equal(loo(again).pointwise, loo(draws).pointwise)
    np.testing.assert_array_equal(again.responses(x=[1.0, 2.0]), draws.responses(x=[1.0, 2.0]))
    other = replace(own["observations"], response=own["observations"].response + 0.1)
    message = "^Argument {} and observations must be those that the draws were made with, but are others"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("likelihood", dict(likelihood=likelihoods.laplace("linear"))),
        ("likelihood", dict(likelihood=likelihoods.student_t(space="linear"))),
        ("likelihood", dict(observations=other)),
        ("priors", dict(priors={"scale": dist.LogNormal(0.0, 1.0)})),
    ]
    for name, changes in wrong:
        with pytest.raises(ValueError, match=message.format(name)):
            Draws.load(path, line, **(own | changes))
    with pytest.raises(ValueError, match="^Argument observations must be given with a likelihood or priors"):
        Draws.load(path, line, likelihood=own["likelihood"])
    replace(draws, stats={}, method="case bootstrap").save(path)
    with pytest.raises(
        ValueError, match=r"^These draws \(case bootstrap\) are not of a posterior, so they have no model"
    ):
        Draws.load(path, line, **own)


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = sampled()
    draws.save(tmp_path / "draws.nc")
    before = (tmp_path / "draws.nc").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        replace(draws, ok=True).save(tmp_path / "draws.nc")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("draws.nc", before)]


def test_importing_draws_does_not_import_xarray() -> None:
    names = ("xarray", "arviz_base", "arviz_stats", "numpyro")
    program = f"import sys, jaxscale.bayes.arviz_io; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
