# pyright: reportArgumentType=false
"""Validation of the arguments of draws and of functions of draws."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale import Input, Observations, Response, likelihoods
from jaxscale.law import amplitude, coefficient, law, positive, real
from jaxscale.noise import huber
from jaxscale.prediction.comparison import compare
from jaxscale.prediction.cross_validation import leave_future_out, loo
from jaxscale.prediction.stacking import stacking
from jaxscale.results.draws import Draws
from jaxscale.results.quantities import by_name
from jaxscale.utils.random import generator_of
from tests.lines import line


@law(
    inputs=dict(N=Input("parameters"), D=Input("tokens")),
    response=Response("nats", positive),
    A=amplitude(N="b"),
    b=coefficient(),
    source="a test",
)
def two(N, D, *, A, b):
    """A law of two inputs."""
    return A * N**-b + 1 / D


@law(inputs=dict(w=Input(""), N=Input("")), response=Response("", real), c=coefficient(), source="a test")
def mixed(w, N, *, c):
    """A law whose input has several numbers per row."""
    return c * jnp.sum(w, axis=0) + N


DRAWS = Draws(two, {"A": np.ones(3), "b": np.array([0.1, 0.2, 0.3])}, "laplace", ("A", "b"))
TABLE = {"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 2.5]}
DATA = Observations.from_table(TABLE, inputs=["x"], response="y")


def test_levels_are_numbers_between_0_and_1(untyped: None) -> None:
    for level in ("0.9", 0, 1, 90, None, float("nan")):
        with pytest.raises(ValueError) as caught:
            DRAWS.intervals(level)
        assert str(caught.value) == f"Argument level must lie between 0 and 1, but is {level!r}."
    for levels, bad in ((1.5, "1.5"), ([0.1, -0.1], "-0.1"), ("0.9x", "'0.9x'"), (np.nan, "nan")):
        with pytest.raises(
            ValueError, match="^Argument levels must hold numbers between 0 and 1, but holds "
        ) as caught:
            DRAWS.quantiles(levels)
        assert bad in str(caught.value)
    assert DRAWS.quantiles([0.0, 1.0])["b"].tolist() == [0.1, 0.3]


def ratio(p: dict[str, Any]) -> Any:
    return p["A"] / p["b"]


def test_single_function_is_named_by_its_definition() -> None:
    assert DRAWS.intervals(quantity=ratio).params == DRAWS.intervals(quantity={"ratio": ratio}).params
    assert list(DRAWS.intervals(quantity=lambda p: p["b"]).params) == ["quantity"]
    assert list(by_name(functools.partial(ratio))) == ["quantity"]


@pytest.mark.usefixtures("untyped")
def test_invalid_quantities_raise() -> None:
    mapping = (
        "Argument quantity must be a function of the parameters or map names to functions, such as {'ratio': lambda"
    )
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: DRAWS.intervals(quantity="b"), mapping),
        (
            lambda: DRAWS.intervals(quantity={"b": 1.0}),
            "Argument quantity must map names to functions of the parameters",
        ),
        (lambda: DRAWS.derive("b"), "Argument quantity must be a function of the parameters, such as lambda p: ..., b"),
        (lambda: DRAWS.quantiles(0.5, {"b": ratio}), "Argument quantity must be a function of the parameters, such a"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(message) and str(caught.value).endswith(".")


def test_inputs_broadcast_and_lie_in_their_domains() -> None:
    with pytest.raises(ValueError) as caught:
        DRAWS.predict(N=[1.0, 2.0, 3.0], D=[1.0, 2.0])
    assert str(caught.value) == "Inputs must be numbers or equally long arrays, but have shapes N (3,), D (2,)."
    with pytest.raises(ValueError, match=r"^Argument N must lie above 0, but holds -1\.$"):
        DRAWS.predict(N=[1.0, -1.0], D=1.0)
    with pytest.raises(ValueError, match=r"^Argument D must lie above 0, but holds nan\.$"):
        DRAWS.predict(N=1.0, D=np.nan)
    assert DRAWS.predict(N=np.ones((3, 1)), D=np.ones(2)).shape == (3, 3, 2)
    several = Draws(mixed, {"c": np.ones(4)}, "laplace", ("c",))
    assert several.predict(w=np.ones((5, 3)), N=np.ones(3)).shape == (4, 3)
    # One mixture of five numbers for all rows.
    assert several.predict(w=np.ones(5), N=np.ones(3)).shape == (4, 3)


def test_derive_reports_unknown_parameters_and_numpy() -> None:
    with pytest.raises(ValueError) as caught:
        DRAWS.derive(lambda p: p["B"])
    assert str(caught.value).startswith("A function of the parameters uses 'B', which is not a parameter of two")
    assert str(caught.value).endswith("its parameters are A, b.")
    wrong: list[Callable[[dict[str, Any]], Any]] = [
        lambda p: np.log(p["A"]),
        lambda p: math.log(p["A"]),
        lambda p: 1.0 if p["A"] > 0 else 0.0,
    ]
    for of in wrong:
        for call in (DRAWS.derive, lambda of: DRAWS.quantiles(0.5, of), lambda of: DRAWS.intervals(quantity={"f": of})):
            with pytest.raises(ValueError, match=r"must use JAX operations: jax.numpy instead of numpy and math,"):
                call(of)
    np.testing.assert_allclose(
        DRAWS.derive(lambda p: jnp.log(p["b"]) + sum(p.values())), np.log([0.1, 0.2, 0.3]) + [1.1, 1.2, 1.3]
    )


def test_responses_of_counts_need_trials() -> None:
    counted = replace(DRAWS, likelihood=likelihoods.binomial("n"))
    with pytest.raises(
        ValueError, match=r"^Simulated counts need their number of trials \(n\) in addition to the law's inputs;"
    ):
        counted.responses(N=1.0, D=1.0)
    cut = replace(DRAWS, nuisance={"scale": np.full(3, 0.1)}, likelihood=likelihoods.normal(censored="seen"))
    assert cut.responses(N=[1.0, 2.0], D=1.0).shape == (3, 2)


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.nc"
    with pytest.raises(FileNotFoundError) as caught:
        DRAWS.save(path)
    assert str(caught.value) == f"{path} cannot be written: there is no folder {path.parent}; create it first."


@pytest.mark.parametrize("seed", ["abc", 1.5, None, np.float64(2.0), [1, 2], True])
def test_non_integer_seeds_raise(seed: Any, untyped: None) -> None:
    with pytest.raises(ValueError) as caught:
        generator_of(seed)
    assert str(caught.value) == f"Argument seed must be a whole number, but is {seed!r}."


def test_numpy_integers_are_seeds() -> None:
    assert generator_of(np.int64(7))[0] == 7


def test_arguments_of_wrong_type_raise(untyped: None) -> None:
    expected_message = (
        r"^Argument observations must be Observations \(make them with Observations.from_table\), but is "
    )
    for other, name in (("demo.csv", "str"), (TABLE, "dict")):
        with pytest.raises(TypeError, match=expected_message + name):
            jaxscale.posterior("chinchilla", other)
        with pytest.raises(TypeError, match=expected_message + "str"):
            jaxscale.posterior_many("chinchilla", other)
    with pytest.raises(TypeError, match=r"^Argument observations must be a sequence of Observations, but is a single"):
        jaxscale.posterior_many(line, DATA)
    for other in ("normal", huber()):
        expected_message = "^Argument likelihood must be one of jaxscale.noise.likelihoods, such as likelihoods.normal"
        with pytest.raises(TypeError, match=expected_message):
            jaxscale.posterior(line, DATA, likelihood=other)
        with pytest.raises(TypeError, match=expected_message):
            jaxscale.posterior_many(line, [DATA], likelihood=other)
    assert isinstance(likelihoods.normal(), likelihoods.Likelihood)


def test_comparison_of_wrong_types_raises(untyped: None) -> None:
    with pytest.raises(TypeError, match=r"^Argument draws must be what posterior returned, but is Intervals\.$"):
        loo(DRAWS.intervals())
    with pytest.raises(TypeError, match=r"^Argument draws must be what posterior returned, but is NoneType\.$"):
        leave_future_out(lambda data: None, DATA, "x")
    with pytest.raises(TypeError, match=r"^Argument models must hold laws or map names to what loo .* holds float\.$"):
        compare([1.0])
    with pytest.raises(TypeError, match=r"^Argument elpds must map names to what loo returned, .* holds list\.$"):
        stacking([1.0])
    for call, name in ((compare, "models"), (stacking, "elpds")):
        with pytest.raises(TypeError, match=rf"^Argument {name} must map names to what loo returned.* Draws\.$"):
            call({"two": DRAWS})


@pytest.mark.parametrize("candidates", [0, -1, 1.5, True])
def test_new_group_needs_positive_candidates(candidates: Any, untyped: None) -> None:
    with pytest.raises(ValueError) as caught:
        jaxscale.new_group(DRAWS, candidates=candidates)
    assert str(caught.value) == f"Argument candidates must be a positive number, but is {candidates!r}."
    with pytest.raises(TypeError, match="^Argument observations must be Observations .* but is dict"):
        jaxscale.new_group(DRAWS, TABLE)
