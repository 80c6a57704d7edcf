"""Simulated sweeps: designs, noise and errors."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import laws
from jaxscale.data.designs import example, grid, isoflop
from jaxscale.data.simulation import simulate
from jaxscale.law import Input, Law, Response, coefficient, law, real, unit

CHINCHILLA = laws.get("chinchilla")
PARAMS = CHINCHILLA.published["besiroglu2024"]
DESIGN = isoflop([1e19, 1e21], 50)


@law(inputs=dict(x=Input("", low=-math.inf)), response=Response("", real), source="a textbook", a=coefficient())
def line(x, *, a):
    """A straight line."""
    return a * x


@law(inputs=dict(x=Input("")), response=Response("", unit), source="a textbook", a=coefficient())
def odds(x, *, a):
    """A share with odds ``a * x``."""
    return a * x / (1 + a * x)


def test_without_noise_the_law_comes_out_in_float64() -> None:
    table = simulate(CHINCHILLA, PARAMS, DESIGN, noise=0.0)
    expected = PARAMS["E"] + PARAMS["A"] / DESIGN["N"] ** PARAMS["alpha"] + PARAMS["B"] / DESIGN["D"] ** PARAMS["beta"]
    assert list(table) == ["N", "D", "loss"]
    assert all(isinstance(column, np.ndarray) and column.dtype == np.float64 for column in table.values())
    np.testing.assert_allclose(table["loss"], expected, rtol=1e-14)
    assert jax.numpy.ones(1).dtype == np.float32


def test_a_seed_fixes_the_numbers() -> None:
    first, again, other = (simulate(CHINCHILLA, PARAMS, DESIGN, seed=seed)["loss"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.mark.parametrize(
    ("law", "low", "to_line"),
    [(line, -5.0, lambda y: y), (odds, 0.1, lambda y: np.log(y) - np.log1p(-y))],
    ids=["real", "unit"],
)
def test_noise_is_added_in_the_default_space_of_the_response(law: Law, low: float, to_line: Any) -> None:
    inputs = dict(x=np.linspace(low, 5, 4000))
    exact, noisy = (simulate(law, dict(a=2.0), inputs, noise=noise, response="y")["y"] for noise in (0.0, 0.3))
    assert_standard((to_line(noisy) - to_line(exact)) / 0.3)


def test_noise_on_a_positive_response_is_a_factor() -> None:
    inputs = isoflop([1e20], 4000)
    exact, noisy = (simulate(CHINCHILLA, PARAMS, inputs, noise=noise)["loss"] for noise in (0.0, 0.3))
    assert_standard(np.log(noisy / exact) / 0.3)


def assert_standard(sample: np.ndarray) -> None:
    """Four thousand standard normal numbers: mean and deviation within four standard errors."""
    assert abs(sample.mean()) < 4 / math.sqrt(sample.size)
    assert abs(sample.std() - 1) < 4 / math.sqrt(2 * sample.size)
    assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 4 / math.sqrt(sample.size)


def test_fractions_of_zero_and_one_have_no_noise() -> None:
    @law(inputs=dict(x=Input("")), response=Response("", unit), source="a textbook", a=coefficient())
    def step(x, *, a):
        """Nothing, then all."""
        return a * jnp.where(x > 1, 1.0, 0.0)

    np.testing.assert_array_equal(simulate(step, dict(a=1.0), dict(x=[0.5, 2.0]))["loss"], [0.0, 1.0])


def test_rows_of_one_run_share_their_noise() -> None:
    labels = np.array(["a", "b", "a", "b", "c"])
    inputs = dict(x=np.arange(1.0, 6.0))
    table = simulate(line, dict(a=1.0), inputs, noise=0.1, run=labels)
    error = table["loss"] - inputs["x"]
    np.testing.assert_array_equal(table["run"], labels)
    np.testing.assert_allclose(error[[0, 1]], error[[2, 3]], atol=1e-15)
    assert len(np.unique(error.round(12))) == 3


@given(
    st.lists(st.floats(1e15, 1e26), min_size=1, max_size=4),
    st.integers(1, 9),
    st.floats(1.0, 100.0),
    st.floats(0.1, 1000.0),
)
def test_isoflop_spends_every_budget_exactly(budgets: list[float], count: int, spread: float, ratio: float) -> None:
    design = isoflop(budgets, count, spread=spread, tokens_per_parameter=ratio)
    np.testing.assert_allclose(6 * design["N"] * design["D"], np.repeat(budgets, count), rtol=1e-12)
    sizes = design["N"].reshape(len(budgets), count)
    middle = np.sqrt(np.asarray(budgets) / (6 * ratio))
    np.testing.assert_allclose(sizes[:, 0] * spread, middle, rtol=1e-9)
    if count > 1:
        np.testing.assert_allclose(sizes[:, -1] / spread, middle, rtol=1e-9)


def test_grid_crosses_evenly_in_logs() -> None:
    design = grid(N=(1e7, 1e9, 3), D=(1e9, 1e10, 2))
    np.testing.assert_allclose(design["N"], [1e7, 1e7, 1e8, 1e8, 1e9, 1e9], rtol=1e-12)
    np.testing.assert_allclose(design["D"], [1e9, 1e10] * 3, rtol=1e-12)
    np.testing.assert_allclose(grid(x=(5.0, 5.0, 1))["x"], [5.0])


def test_the_example_is_about_a_hundred_reproducible_runs() -> None:
    table = example()
    assert sorted(table) == ["D", "N", "loss"] and {len(column) for column in table.values()} == {99}
    np.testing.assert_array_equal(table["loss"], example()["loss"])
    exact = simulate(CHINCHILLA, PARAMS, {name: table[name] for name in "ND"}, noise=0.0)["loss"]
    assert 0.003 < np.std(np.log(table["loss"] / exact)) < 0.007
    assert len(np.unique(np.round(np.log10(6 * table["N"] * table["D"]), 6))) == 9


ONE = dict(x=[1.0, 2.0])
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "missing parameter": (dict(params={}), "Law line needs the parameter a; its parameters are a."),
    "unknown parameter": (dict(params=dict(a=1.0, b=2.0)), "Law line has no parameter b; its parameters are a."),
    "missing input": (dict(inputs={}), "Law line needs the input x; its inputs are x."),
    "unknown input": (dict(inputs=dict(x=[1.0], z=[1.0])), "Law line has no input z; its inputs are x."),
    "scalar input": (dict(inputs=dict(x=1.0)), "Inputs of line must be columns of one length of at least 1, but have"),
    "no rows": (dict(inputs=dict(x=[])), "Inputs of line must be columns of one length of at least 1, but have"),
    "negative noise": (dict(noise=-0.1), "Argument noise must be zero or positive, but is -0.1."),
    "noise nan": (dict(noise=math.nan), "Argument noise must be zero or positive, but is nan."),
    "response is an input": (dict(response="x"), "Argument response must differ from the other columns, but is 'x'."),
    "response is the run": (dict(response="run"), "Argument response must differ from the other columns, but is 'run'"),
    "runs too short": (dict(run=["a"]), "Argument run must hold one label for each of the 2 rows, but has (1,)."),
    "not finite": (dict(params=dict(a=math.nan)), "Law line has no finite value in row 1 of the inputs."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_simulate_refuses(case: str) -> None:
    changed, message = REFUSED[case]
    arguments: dict[str, Any] = {"params": dict(a=1.0), "inputs": ONE, **changed}
    with pytest.raises(ValueError) as raised:
        simulate(line, **arguments)
    assert str(raised.value).startswith(message)


def test_simulate_refuses_inputs_outside_the_law() -> None:
    with pytest.raises(ValueError, match="^Input N of chinchilla must lie between 0 and inf in every row.$"):
        simulate(CHINCHILLA, PARAMS, dict(N=[1e9, 0.0], D=[1e9, 1e9]))
    with pytest.raises(ValueError, match="^Inputs of chinchilla must be columns of one length"):
        simulate(CHINCHILLA, PARAMS, dict(N=[1e9], D=[1e9, 1e9]))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (dict(budgets=[]), "budgets"),
        (dict(budgets=[0.0]), "budgets"),
        (dict(budgets=[math.inf]), "budgets"),
        (dict(sizes_per_budget=0), "sizes_per_budget"),
        (dict(spread=0.5), "spread"),
        (dict(tokens_per_parameter=0.0), "tokens_per_parameter"),
    ],
)
def test_isoflop_refuses(changed: dict[str, Any], name: str) -> None:
    arguments: dict[str, Any] = {"budgets": [1e20], "sizes_per_budget": 3, **changed}
    with pytest.raises(ValueError, match=f"^Argument {name} must "):
        isoflop(**arguments)


@pytest.mark.parametrize("axis", [(0.0, 1.0, 2), (2.0, 1.0, 2), (1.0, 2.0, 0), (1.0, math.inf, 2), (math.nan, 1.0, 2)])
def test_grid_refuses(axis: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="^Axis x must be "):
        grid(x=axis)
