"""Plots of fits and laws: panels, axes and files."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxscale import designs, laws, noise, simulate
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import curve as curve_module
from jaxscale.plots import fit as fit_module
from jaxscale.plots import law as law_module
from jaxscale.plots import style
from jaxscale.results.fit import Fit

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF"}


def sweep() -> Observations:
    table = designs.example()
    return Observations.from_table(
        {"params": table["N"], "D": table["D"], "nats": table["loss"], "w": np.arange(99) > 9},
        inputs={"N": "params", "D": "D"},
        response="nats",
        weight="w",
    )


@pytest.fixture(scope="module")
def fitted() -> Fit:
    """The example sweep without its first ten rows."""
    return fit("chinchilla", sweep(), starts=256, n_resamples=40)


@pytest.fixture(scope="module")
def figure(fitted: Fit) -> Any:
    return fit_module.plot(fitted, sweep())


@pytest.fixture(scope="module")
def curve(fitted: Fit) -> tuple[Fit, Observations]:
    """A law of one input at the constants that generated its data."""
    law, truth = laws.get("power_law_floor"), dict(c=1.7, a=300.0, b=0.33)
    table = simulate(law, truth, {"x": np.geomspace(1e7, 1e11, 40)}, noise=0.01)
    known = replace(fitted, law=law, params=truth)
    return known, Observations.from_table(table, inputs=["x"], response="loss")


def labels(axes: Any) -> tuple[str, str]:
    return axes.get_xlabel(), axes.get_ylabel()


def points(axes: Any) -> np.ndarray:
    return np.asarray(axes.collections[-1].get_offsets())


def test_two_inputs_show_agreement_and_residuals_coloured_by_the_other_input(figure: Any) -> None:
    left, right, bar = figure.axes
    assert labels(left) == ("predicted nats (nat/token)", "observed nats (nat/token)")
    assert labels(right) == ("D (tokens)", "prediction above observation (%)")
    assert bar.get_ylabel() == "N (parameters)"
    assert right.get_xscale() == "log" and bar.get_yscale() == "log"
    assert figure.get_suptitle().startswith("chinchilla fitted to dict: 89 rows, root mean square residual 0.")


def test_points_are_the_rows_of_positive_weight(figure: Any, fitted: Fit) -> None:
    table = {name: column[10:] for name, column in designs.example().items()}
    predicted = fitted.predict(N=table["N"], D=table["D"])
    left, right, _ = figure.axes
    assert points(left) == pytest.approx(np.stack([predicted, table["loss"]], axis=1), rel=1e-12)
    residual = 100 * np.log(predicted / table["loss"])
    assert points(right) == pytest.approx(np.stack([table["D"], residual], axis=1), rel=1e-9, abs=1e-12)


def test_one_input_shows_data_and_curve(curve: tuple[Fit, Observations]) -> None:
    fitted, observations = curve
    left, right = fit_module.plot(fitted, observations).axes
    assert labels(left) == ("x", "loss")
    assert labels(right)[0] == "x"
    assert (left.get_xscale(), left.get_yscale(), right.get_xscale()) == ("log", "log", "log")
    line = left.lines[0]
    assert np.asarray(line.get_ydata()) == pytest.approx(fitted.predict(x=np.asarray(line.get_xdata())), rel=1e-12)


def test_the_band_is_twice_the_residuals_root_mean_square(curve: tuple[Fit, Observations]) -> None:
    fitted, observations = curve
    left, right = fit_module.plot(fitted, observations).axes
    low, high = np.log(left.collections[0].get_paths()[0].vertices[:, 1][[1, -2]])
    assert abs(high - low) == pytest.approx(4 * fitted.residuals.rms, rel=1e-9)
    spread = right.patches[0].get_bbox()
    assert (spread.y0, spread.y1) == pytest.approx((-200 * fitted.residuals.rms, 200 * fitted.residuals.rms))


@pytest.mark.parametrize(
    "space, message",
    [("linear", "prediction minus observation (nat/token)"), ("logit", "prediction minus observation (logit)")],
)
def test_residuals_are_drawn_in_the_space_of_the_noise(fitted: Fit, space: str, message: str) -> None:
    # A logit needs responses between 0 and 1.
    params = {**fitted.params, "E": 0.1, "A": 0.1 * fitted.params["A"], "B": 0.1 * fitted.params["B"]}
    table = simulate(laws.get("chinchilla"), params, {name: sweep().inputs[name] for name in ("N", "D")})
    observations = Observations.from_table(table, inputs=["N", "D"], response="loss")
    changed = replace(fitted, params=params, noise=noise.squared(space), status="not_converged")
    figure = fit_module.plot(changed, observations)
    assert labels(figure.axes[1])[1] == message
    assert figure.get_suptitle().endswith("[not converged]")
    assert style.render(figure, "png").startswith(MAGIC["png"])


def test_three_inputs_are_drawn_too(fitted: Fit) -> None:
    law = laws.get("data_constrained")
    truth = law.published["muennighoff2023"]
    design = designs.grid(N=(1e8, 1e10, 4), D=(1e9, 1e12, 5), U_D=(1e9, 2e9, 2))
    observations = Observations.from_table(simulate(law, truth, design), inputs=list(law.inputs), response="loss")
    known = replace(fitted, law=law.name, params=dict(truth))
    _, right, bar = fit_module.plot(known, observations).axes
    assert (right.get_xlabel(), bar.get_ylabel()) == ("D (tokens)", "N (parameters)")


def test_an_input_without_a_unit_shows_its_column(curve: tuple[Fit, Observations]) -> None:
    fitted, observations = curve
    table = {"tokens": observations.inputs["x"], "loss": observations.response}
    renamed = Observations.from_table(table, inputs={"x": "tokens"}, response="loss")
    assert labels(fit_module.plot(fitted, renamed).axes[0])[0] == "x (tokens)"


@pytest.mark.parametrize("ending", style.ENDINGS)
def test_figure_is_saved_by_extension_reproducibly(figure: Any, tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending.upper()}"
    style.save(figure, first)
    style.save(figure, second)
    assert first.read_bytes().startswith(MAGIC[ending])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_unsupported_extension_raises_and_writes_nothing(figure: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fit\.jpg does not end in .* end it in \.png, \.svg or \.pdf\.$"):
        style.save(figure, tmp_path / "fit.jpg")
    assert list(tmp_path.iterdir()) == []


def test_observations_must_hold_the_inputs_of_the_law(fitted: Fit) -> None:
    table = designs.example()
    lacking = Observations.from_table(table, inputs=["N"], response="loss")
    with pytest.raises(ValueError, match="chinchilla needs the input D to predict"):
        fit_module.plot(fitted, lacking)


def test_plotting_selects_no_backend(fitted: Fit, tmp_path: Path) -> None:
    program = f"""
import sys
from jaxscale import Fit, Observations, designs, plots
fitted = Fit.from_json({fitted.to_json()!r})
observations = Observations.from_table(designs.example(), inputs=["N", "D"], response="loss")
plots.save(plots.plot(fitted, observations), {str(tmp_path / "fit.png")!r})
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_the_shape_of_a_law_has_a_panel_for_every_input() -> None:
    law = laws.get("precision_capacity_loss")
    figure = law_module.plot_law(law)
    *panels, spare = figure.axes
    assert [axes.get_xlabel() for axes in panels] == [f"{name} ({kind.unit})" for name, kind in law.inputs.items()]
    assert not spare.get_visible()
    assert [axes.get_ylabel() for axes in panels] == ["nat/token", "", "", "nat/token", ""]
    assert (panels[0].get_xscale(), panels[0].get_yscale()) == ("log", "log")
    x, y = panels[1].lines[0].get_data()
    np.testing.assert_allclose(y, curve_module.curve(law, "D")[1])
    flat = law_module.plot_law(laws.get("sinusoids1")).axes[0]
    assert (flat.get_xscale(), flat.get_yscale()) == ("linear", "linear")
    assert style.render(figure, "png").startswith(MAGIC["png"])
