"""Plots of draws: contents and files."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from jaxscale import Observations, designs, laws, likelihoods, simulate
from jaxscale.bayes.build_model import model_of
from jaxscale.plots import style
from jaxscale.plots.draws import forest, pair, trace
from jaxscale.plots.predictive import band, predictive
from jaxscale.results.draws import Draws

COUNT, SCALE = 400, 0.02
LAW = laws.get("chinchilla")
TRUTH = LAW.published["besiroglu2024"]


def observed(**more: Any) -> Observations:
    design = designs.grid(N=(1e8, 1e10, 5), D=(1e9, 1e12, 4))
    table: dict[str, Any] = {**simulate(LAW, TRUTH, design, noise=SCALE, seed=1)}
    table["family"] = ["a", "b"] * 10
    return Observations.from_table(table, inputs=["N", "D"], response="loss", **more)


def drawn(data: Observations, likelihood: Any = None, **nuisance: Any) -> Draws:
    """Simulated draws about the true parameters, with a model."""
    generator = np.random.default_rng(0)
    params = {name: np.full(COUNT, value) for name, value in TRUTH.items()}
    for name in ("E", "alpha"):
        params[name] = params[name] * np.exp(0.01 * generator.standard_normal(COUNT))
    fixed = {name: TRUTH[name] for name in ("A", "B", "beta")}
    with jax.enable_x64(True):
        model = model_of(LAW, data, likelihood or likelihoods.normal(), fixed=fixed)
    return Draws(
        LAW,
        params,
        "nuts",
        ("E", "alpha"),
        {"scale": np.full(COUNT, SCALE), **nuisance},
        chains=4,
        stats={"diverging": (np.arange(COUNT) == 130).astype(float)},
        observations=data,
        model=model,
    )


DATA = observed()


@pytest.fixture(scope="module")
def draws() -> Draws:
    return drawn(DATA)


def test_trace_shows_chains_and_divergences(draws: Draws) -> None:
    figure = trace(draws)
    assert len(figure.axes) == 2 * 3
    right = figure.axes[1]
    assert right.get_ylabel() == "E" and len(right.lines) == 4 + 1
    np.testing.assert_array_equal(right.lines[1].get_ydata(), draws.params["E"][100:200])
    assert right.lines[-1].get_xdata().tolist() == [30]
    assert figure.get_suptitle() == "chinchilla, nuts: 4 chains, 1 divergences"
    one = trace(replace(draws, chains=1, method="importance", stats={}), ["alpha"])
    assert len(one.axes) == 2 and one.get_suptitle() == "chinchilla, importance: independent draws"


def test_pair_shows_all_pairs(draws: Draws) -> None:
    figure = pair(draws, ["E", "alpha", "scale"])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(figure.axes) == 9 and len(shown) == 6
    cloud, bad = figure.axes[3].collections
    np.testing.assert_array_equal(cloud.get_offsets(), np.stack([draws.params["E"], draws.params["alpha"]], axis=1))
    np.testing.assert_array_equal(bad.get_offsets(), [[draws.params["E"][130], draws.params["alpha"][130]]])
    assert (figure.axes[6].get_xlabel(), figure.axes[6].get_ylabel()) == ("E", "scale")
    assert figure.get_suptitle().endswith("400 draws, 1 divergences")


def test_forests_hold_the_intervals(draws: Draws) -> None:
    moved = replace(draws, params={**draws.params, "E": draws.params["E"] + 1}, method="laplace")
    figure = forest({"nuts": draws, "laplace": moved})
    first = figure.axes[0]
    assert [axes.get_xlabel() for axes in figure.axes] == ["E", "alpha"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["nuts", "laplace"]
    wide, narrow, middle = first.lines[3:]
    np.testing.assert_allclose(wide.get_xdata(), np.quantile(moved.params["E"], [0.05, 0.95]))
    np.testing.assert_allclose(narrow.get_xdata(), np.quantile(moved.params["E"], [0.25, 0.75]))
    assert middle.get_xdata() == pytest.approx(np.median(moved.params["E"]))


def test_groups_are_plotted_separately(draws: Draws) -> None:
    wide = np.stack([draws.params["E"], draws.params["E"] + 1], axis=1)
    figure = forest({"nuts": replace(draws, params={**draws.params, "E": wide})})
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_visible()] == ["E[0]", "E[1]", "alpha"]


def edges(collection: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of a band at 100 inputs."""
    y = collection.get_paths()[0].vertices[:, 1]
    return y[1:101], y[102:202][::-1]


def test_band_shows_responses_and_law(draws: Draws) -> None:
    figure = band(draws, DATA, "N", {"D": 1e11}, to=1e12)
    top, bottom = figure.axes
    line = np.asarray(top.lines[0].get_xdata())
    level = draws.predict(N=line, D=1e11)
    np.testing.assert_allclose(top.lines[0].get_ydata(), np.median(level, axis=0), rtol=1e-12)
    np.testing.assert_allclose(top.lines[1].get_ydata(), np.quantile(level, 0.05, axis=0), rtol=1e-12)
    assert (line[0], line[-1]) == pytest.approx((1e8, 1e12))
    wide, narrow = (np.log(edges(collection)) for collection in top.collections[:2])
    spread = np.sqrt(SCALE**2 + np.var(np.log(level), axis=0))
    np.testing.assert_allclose(np.mean((wide[1] - wide[0]) / spread), 2 * 1.645, rtol=0.05)
    np.testing.assert_allclose(np.mean((narrow[1] - narrow[0]) / spread), 2 * 0.674, rtol=0.05)
    # Moving observations to the curve keeps their residuals.
    x, y = top.collections[2].get_offsets().T
    residual = np.log(DATA.response) - np.log(np.median(draws.predict(**DATA.inputs), axis=0))
    np.testing.assert_allclose(np.log(y / np.median(draws.predict(N=x, D=1e11), axis=0)), residual, atol=1e-12)
    np.testing.assert_allclose(bottom.collections[2].get_offsets()[:, 1], 100 * residual, atol=1e-10)
    assert bottom.get_ylabel() == "above the median (%)" and bottom.get_xlabel() == "N (parameters)"
    assert (top.get_xscale(), top.get_yscale()) == ("log", "linear")


def test_other_inputs_may_follow_the_first(draws: Draws) -> None:
    top = band(draws, DATA, "N", {"D": lambda N: 20 * N}).axes[0]
    line = np.asarray(top.lines[0].get_xdata())
    assert line[-1] == pytest.approx(1e11) and top.get_yscale() == "log"
    expected = np.median(draws.predict(N=line, D=20 * line), axis=0)
    np.testing.assert_allclose(top.lines[0].get_ydata(), expected, rtol=1e-12)
    assert top.get_legend().get_texts()[-1].get_text() == "observations, moved to its D"


def test_band_without_a_model_shows_only_the_law(draws: Draws) -> None:
    top = band(replace(draws, model=None), DATA, "D", {"N": 1e9}).axes[0]
    assert len(top.collections) == 1 and len(top.lines) == 4


def test_a_group_has_its_own_band() -> None:
    data = observed(group="family")
    scale = np.tile([SCALE, 0.2], (COUNT, 1))
    draws = drawn(data, likelihoods.normal(scale_by="group"), scale=scale)
    wide = np.stack([draws.params["E"], draws.params["E"] + 1], axis=1)
    draws = replace(draws, params={**draws.params, "E": wide})
    first, other = (band(draws, data, "N", {"D": 1e11}, group=k).axes for k in data.groups)
    assert len(first[0].collections[2].get_offsets()) == 10
    assert np.all(other[0].lines[0].get_ydata() > first[0].lines[0].get_ydata() + 0.9)
    assert np.mean(np.ptp(edges(other[1].collections[0]), axis=0)) > 5 * np.mean(
        np.ptp(edges(first[1].collections[0]), axis=0)
    )


def test_predictive_check_shows_replicated_responses(draws: Draws) -> None:
    left, right = predictive(draws).axes
    order = np.argsort(np.median(draws.predict(**DATA.inputs), axis=0))
    residual = 100 * (np.log(DATA.response) - np.log(np.median(draws.predict(**DATA.inputs), axis=0)))
    np.testing.assert_allclose(left.lines[0].get_ydata(), residual[order], atol=1e-10)
    np.testing.assert_allclose(right.lines[1].get_ydata(), np.sort(residual), atol=1e-10)
    heights = [np.ptp(segment[:, 1]) for segment in left.collections[0].get_segments()]
    spread = np.sqrt(SCALE**2 + np.var(np.log(draws.predict(**DATA.inputs)), axis=0))
    assert np.mean(heights / spread[order]) == pytest.approx(2 * 164.5, rel=0.05)
    assert right.get_xlabel() == "sorted replicated residuals, median (%)"
    again = predictive(draws).axes[1]
    np.testing.assert_array_equal(again.lines[1].get_xdata(), right.lines[1].get_xdata())
    assert np.any(predictive(draws, seed=1).axes[1].lines[1].get_xdata() != right.lines[1].get_xdata())


def test_predictive_check_excludes_rows_of_weight_zero() -> None:
    design = {name: DATA.inputs[name] for name in ("N", "D")}
    table = {**design, "loss": DATA.response, "w": np.where(np.arange(20) < 12, 1.0, 0.0)}
    weighted = Observations.from_table(table, inputs=["N", "D"], response="loss", weight="w")
    assert len(predictive(drawn(weighted)).axes[0].lines[0].get_ydata()) == 12


def test_band_of_counts_simulates_counts() -> None:
    law, k = laws.get("coverage_beta_binomial"), np.geomspace(1, 1000, 12).round()
    params = {name: np.full(COUNT, 1.0) for name in law.parameters}
    share = np.asarray(law(k, **{name: 1.0 for name in law.parameters}))
    table = {"k": k, "share": np.round(50 * share) / 50, "trials": np.full(12, 50.0)}
    data = Observations.from_table(table, inputs=["k", "trials"], response="share")
    with jax.enable_x64(True):
        model = model_of(law, data, likelihoods.binomial("trials"))
    draws = Draws(law, params, "importance", tuple(params), observations=data, model=model)
    top, bottom = band(draws, data, "k").axes
    low, high = edges(top.collections[0])
    assert np.all((low >= 0) & (high <= 1)) and np.allclose(50 * low, np.round(50 * low), atol=0.51)
    wide = 2 * 1.645 * np.sqrt(0.25 / 50)
    assert np.max(high - low) == pytest.approx(wide, rel=0.2)
    assert top.get_legend().get_texts()[-1].get_text() == "observations"
    left, right = predictive(draws).axes
    assert len(right.lines[1].get_ydata()) == 12 and left.get_ylabel().startswith("response above the law")


def test_predictive_check_includes_run_effects() -> None:
    design = {name: np.repeat(DATA.inputs[name], 3) for name in ("N", "D")}
    table = {**design, "loss": np.repeat(DATA.response, 3), "run": np.repeat(np.arange(20), 3)}
    data = Observations.from_table(table, inputs=["N", "D"], response="loss", run="run")
    ratio = np.full(COUNT, 5.0)
    plain = predictive(drawn(data, likelihoods.normal(runs=False))).axes[1]
    together = predictive(drawn(data, likelihoods.normal(runs=True), run_ratio=ratio)).axes[1]
    assert np.ptp(together.lines[1].get_xdata()) > 2 * np.ptp(plain.lines[1].get_xdata())


def test_figures_are_reproducible(draws: Draws) -> None:
    for figure in (trace(draws), pair(draws), forest({"a": draws}), band(draws, DATA, "N", {"D": 1e11})):
        assert style.render(figure, "png") == style.render(figure, "png")


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(input="M"), r"^Argument input names 'M', which is no input of chinchilla"),
        (dict(at={"Z": 1.0}), r"^Argument at names 'Z', which is no input of chinchilla"),
        (dict(at={}), r"^Argument at must give D, which chinchilla needs beside N\.$"),
        (dict(to=1e7), r"^Argument to must lie above the smallest observed N, 1e\+08, but is 1e\+07\.$"),
    ],
)
def test_invalid_arguments_of_band(draws: Draws, given: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = dict(input="N", at={"D": 1e11}) | given
    with pytest.raises(ValueError, match=message):
        band(draws, DATA, **arguments)


def test_unknown_names_raise(draws: Draws) -> None:
    for plot in (trace, pair, lambda d, names: forest({"a": d}, names)):
        with pytest.raises(
            ValueError, match=r"^Argument params holds 'gamma', which was not drawn.*; there are E, A, alpha"
        ):
            plot(draws, ["gamma"])
        with pytest.raises(ValueError, match=r"^Argument params must name something that was drawn, but is empty\.$"):
            plot(draws, [])
    with pytest.raises(ValueError, match=r"^Argument several must not be empty\.$"):
        forest({})
    with pytest.raises(ValueError, match=r"^These draws \(nuts\) have no model to replicate responses; "):
        predictive(replace(draws, model=None))


def test_plotting_selects_no_backend() -> None:
    program = """
import sys
import numpy as np
from jaxscale.results.draws import Draws
from jaxscale.plots.draws import trace
imported = "matplotlib" in sys.modules
trace(Draws("constant", {"m": np.arange(9.0)}, "case bootstrap", ("m",)))
print(imported, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False False"), done.stderr
