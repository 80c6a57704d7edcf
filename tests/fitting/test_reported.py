"""Regression tests of user reports, with independent least squares or reported values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxscale
from jaxscale import noise
from jaxscale.law import Input, Response, coefficient, law, real

RAW = noise.squared("linear")
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def table(data: Path) -> Callable[[str], pd.DataFrame]:
    """Reads one of the files."""
    return lambda name: pd.read_csv(data / "reported" / f"{name}.csv")


def fitted(law: Any, frame: pd.DataFrame, inputs: dict[str, str], response: str, **settings: Any) -> jaxscale.Fit:
    rows = jaxscale.Observations.from_table(frame, inputs=inputs, response=response)
    return jaxscale.fit(law, rows, **{"noise": RAW, "progress": False} | settings)


def close(fit: jaxscale.Fit, rel: float = 2e-3, **values: float) -> None:
    assert {name: fit.params[name] for name in values} == pytest.approx(values, rel=rel)


def codes(fit: jaxscale.Fit) -> set[str]:
    return {notice.code for notice in fit.notices}


def test_an_offset_may_have_either_sign(table) -> None:
    fit = fitted("power_law_offset", table("offset_of_either_sign"), {"x": "r"}, "y")
    close(fit, a=2.1655, b=-0.3481, c=-3.465)
    floor = fitted("power_law_floor", table("offset_of_either_sign"), {"x": "r"}, "y")
    assert floor.errors.at_bound == {"c": 0.0}
    assert any("power_law_offset" in notice.message for notice in floor.notices if notice.code == "at_bound")


def test_a_sigmoid_of_seven_points_is_fitted_with_its_zeros(table) -> None:
    frame = table("sigmoid_seven_points")
    free = fitted("logistic3", frame, {"x": "x"}, "y")
    close(free, b1=0.926, b3=0.00876)
    assert free.params["b2"] / free.params["b3"] == pytest.approx(1045.8, rel=1e-4)
    close(fitted("logistic4", frame, {"x": "x"}, "y", fixed=dict(lo=0.0, hi=1.0)), k=0.00729, x0=1074.4)


def test_bounds_hold_and_active_ones_are_reported(table) -> None:
    frame, bounds = table("bounded_power_law"), {"a": (0, 20), "b": (0, 20), "c": (0, 400)}
    fit = fitted("power_law_offset", frame, {"x": "x"}, "y", bounds=bounds)
    close(fit, a=20.0, b=0.4677, c=274.07)
    assert fit.errors.at_bound == {"a": 20.0} and "at_bound" in codes(fit)
    for name, (low, high) in fit.intervals().items():
        assert bounds[name][0] <= low < high <= bounds[name][1]
    assert 2 * fitted("power_law_offset", frame, {"x": "x"}, "y").objective == pytest.approx(1651, rel=1e-3)


def test_counts_of_zero_are_fitted_by_least_squares(table) -> None:
    fit = fitted("exp_decay_floor", table("counts_with_zeros"), {"x": "x"}, "count")
    assert 2 * fit.objective == pytest.approx(253104, rel=1e-5)


@law(
    inputs=dict(T=Input("")),
    response=Response("", real),
    a=coefficient(),
    b=coefficient(),
    c=coefficient(),
    source="a user",
    affine=("a", "c"),
)
def rising(T, *, a, b, c):
    """An exponential without declared ranges."""
    return a * jnp.exp(b * T) + c


@pytest.mark.parametrize("which", ["exp_offset", rising], ids=["catalogue", "own law"])
def test_rising_exponential_has_no_false_notices(table, which) -> None:
    name = "T" if which is rising else "x"
    fit = fitted(which, table("rising_exponential"), {name: "temperature"}, "intensity")
    close(fit, b=0.15980, c=112.93, a=4.728e-19, rel=1e-4)
    assert not codes(fit) & {"flat", "outside_range", "not_converged"}
    assert fit.stderr["b"] < 1e-3 * fit.params["b"]


def test_twelve_runs_have_their_standard_errors_at_the_bound(table) -> None:
    frame = table("twelve_runs_suffixes")
    unit = {"M": 1e6, "B": 1e9}
    columns = {
        name: [float(cell[:-1]) * unit[cell[-1]] for cell in frame[column]]
        for name, column in zip("ND", frame.columns, strict=False)
    }
    runs = pd.DataFrame({**columns, "loss": frame.iloc[:, 2]})
    fit = fitted("chinchilla", runs, {"N": "N", "D": "D"}, "loss")
    close(fit, alpha=0.253, beta=0.334, rel=1e-2)
    assert fit.errors.at_bound == {"E": 0.0}
    errors = {name: fit.stderr[name] for name in ("E", "alpha", "beta")}
    assert errors == pytest.approx({"E": 1.67, "alpha": 0.181, "beta": 0.127}, rel=2e-2)
    # The profile of the same sum of squares by SciPy.
    ends = fit.intervals(0.9)
    assert ends["E"] == pytest.approx((0.0, 1.180), abs=5e-3)
    assert ends["alpha"] == pytest.approx((0.1263, 0.5490), rel=1e-2)
    assert ends["beta"] == pytest.approx((0.2731, 0.4817), rel=1e-2)


def test_undetermined_parameter_of_a_wide_table_is_reported(table) -> None:
    frame = table("rl_curves_wide")
    fit = fitted("logistic4", frame[["Step", "0.6b"]].dropna(), {"x": "Step"}, "0.6b")
    close(fit, hi=0.6752, k=0.451)
    lost = fitted("logistic4", frame[["Step", "14b"]].dropna(), {"x": "Step"}, "14b")
    assert "not_determined" in codes(lost) and np.isnan(lost.stderr["lo"]) and lost.stderr["hi"] < 0.01


def test_floor_at_its_bound_leaves_the_exponent_uncertain(table) -> None:
    frame = table("tracker_chart_export")
    curve = frame[["Step", next(c for c in frame if "k_is_10" in c and "__" not in c)]].dropna()
    curve.columns = ["tokens", "loss"]
    fit = fitted("power_law_floor", curve, {"x": "tokens"}, "loss")
    close(fit, b=0.0661, rel=1e-2)
    assert fit.errors.at_bound == {"c": 0.0} and fit.stderr["b"] == pytest.approx(0.088, rel=0.03)
    low, high = fit.intervals(0.95)["b"]
    assert 0.050 < low < 0.063 and high > 0.2


def test_a_law_that_does_not_describe_the_rows_is_marked(table) -> None:
    frame = table("memorising_regime")
    inputs = {"N": "num_params", "D": "num_tokens"}
    assert fitted("chinchilla", frame, inputs, "val_loss", noise=None).status == "worse_than_constant"
    fit_of_subset = fitted("chinchilla", frame[frame.num_tokens <= 250000], inputs, "val_loss", noise=None)
    assert fit_of_subset.status == "converged" and "worse_than_constant" not in codes(fit_of_subset)


def test_a_shift_in_raw_flops_is_no_flat_direction(table) -> None:
    frame = table("segmentation_frontier")
    fit = fitted("shifted_power", frame, {"x": "gflops"}, "err")
    assert fit.status == "converged" and "flat" not in codes(fit)
    assert fit.landscape.agree > fit.landscape.independent / 2


def test_one_flat_direction_leaves_the_other_standard_errors(table) -> None:
    fit = fitted("logistic4", table("step_with_zeros"), {"x": "x"}, "y")
    close(fit, hi=1.103)
    assert np.isfinite([fit.stderr["lo"], fit.stderr["hi"]]).all()
    assert np.isnan([fit.stderr["k"], fit.stderr["x0"]]).all()


@pytest.mark.parametrize("name", ["logistic4", "exp_growth", "gaussian_peaks1"])
def test_curves_of_training_steps_are_fitted_in_steps(table, name) -> None:
    fit = fitted(name, table("sigmoid_of_training_steps"), {"x": "x"}, "y")
    assert fit.status == "converged"
    if name == "logistic4":
        close(fit, hi=0.9, x0=4e5, k=1 / 9e4, rel=0.03)


def test_the_exponent_of_cities_is_that_of_pooled_least_squares(table) -> None:
    inputs = {"x": "population_district"}
    fit = fitted("power_law", table("cities_with_groups"), inputs, "total_frequency", noise=noise.squared("log"))
    assert (fit.params["b"], fit.stderr["b"]) == pytest.approx((1.43370, 0.11944), rel=1e-4)


def test_each_city_may_have_an_exponent_of_its_own(table) -> None:
    frame = table("cities_with_groups")
    rows = jaxscale.Observations.from_table(
        frame, inputs={"x": "population_district"}, response="total_frequency", group="city"
    )
    fit = jaxscale.fit("power_law", rows, noise=noise.squared("log"), pooling={"b": "none"}, progress=False)
    cities = list(dict.fromkeys(frame["city"]))
    is_in = np.array([[city == each for each in cities] for city in frame["city"]], float)
    design = np.column_stack([np.ones(len(frame)), is_in * np.log(frame["population_district"].to_numpy())[:, None]])
    expected, *_ = np.linalg.lstsq(design, np.log(frame["total_frequency"]), rcond=None)
    assert [fit.params[f"b[{city}]"] for city in cities] == pytest.approx(expected[1:].tolist(), rel=1e-6)
