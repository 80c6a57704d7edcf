"""Contracts that every law of the catalogue keeps."""

import functools
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws, pages
from jaxscale.derivatives import value
from jaxscale.law import (
    Input,
    Law,
    LawError,
    Parameter,
    Response,
    Support,
    amplitude,
    between,
    exponent,
    floor,
    law,
    positive,
    positive_number,
    real,
    unit,
)
from jaxscale.solver import solve

pytestmark = pytest.mark.usefixtures("x64")
CATALOGUE = laws.catalogue()
EVERY_LAW = pytest.mark.parametrize("law", CATALOGUE.values(), ids=CATALOGUE)
PUBLISHED = [(law, name) for law in CATALOGUE.values() for name in law.published]
EVERY_SET = pytest.mark.parametrize(("law", "name"), PUBLISHED, ids=[f"{law.name}-{name}" for law, name in PUBLISHED])
POINTS = 64

# Laws that leave single precision somewhere in their plausible ranges, where double precision does not: sizes above
# 3e38 on the way, or a chance that rounds to 0 or 1.
LARGE = {
    "data_constrained", "dit_scaling_d", "dit_scaling_n", "exp_growth", "farseer", "hp_compute_power_batch",
    "ladder_one_step_c", "multifractal", "resolution_limited", "skill_isoflop_n", "speech_skill_compute",
    "value_rl_compute", "video_dit_loss_n", "vocab_optimum", "choice_probability_loss",
}  # fmt: skip
CERTAIN = {"passuntil_circuits1", "passuntil_circuits2", "passuntil_circuits3"}


@dataclass(frozen=True)
class Rows:
    """A law and its slopes at rows of its own."""

    inputs: list[Any]
    params: dict[str, Any]
    y: Any
    slopes: Any


def random_inputs(law: Law, draws: np.random.Generator, dtype: Any = np.float64) -> list[Any]:
    shares = draws.uniform(size=(len(law.inputs), POINTS))
    return [jnp.asarray(between(*kind.sizes, u), dtype) for kind, u in zip(law.inputs.values(), shares, strict=True)]


def random_params(law: Law, draws: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    # Ends are left out: a support is open, and the ranges of floors and fractions begin at its end.
    return {
        name: jnp.asarray(between(*kind.range, draws.uniform(0.001, 0.999, POINTS)), dtype)
        for name, kind in law.parameters.items()
    }


def evaluated(law: Law, inputs: list[Any], params: Mapping[str, Any]) -> Rows:
    """The law at all rows at once, operation by operation: what is compiled serves the whole catalogue."""

    def total(inputs: list[Any], params: dict[str, Any]) -> Any:
        y = jnp.broadcast_to(law(*inputs, **params), POINTS)
        return jnp.sum(y), y

    (_, y), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(inputs, dict(params))
    return Rows(inputs, dict(params), y, slopes)


@functools.cache
def plausible(law: Law) -> Rows:
    draws = np.random.default_rng(1)
    return evaluated(law, random_inputs(law, draws), random_params(law, draws))


def is_finite(rows: Rows) -> bool:
    return all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves((rows.y, rows.slopes)))


def assert_sound(law: Law, rows: Rows) -> None:
    assert rows.y.dtype == np.float64
    for path, leaf in jax.tree_util.tree_leaves_with_path((rows.y, rows.slopes)):
        assert np.all(np.isfinite(leaf)), path
    if law.response.domain in (positive, unit):
        assert np.all((rows.y > law.response.domain.low) & (rows.y < law.response.domain.high))


@EVERY_LAW
def test_the_signature_is_the_declaration(law: Law) -> None:
    parameters = inspect.signature(law.function).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == list(law.inputs)
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(law.parameters)
    assert CATALOGUE[law.name] is law


@EVERY_LAW
def test_a_law_explains_itself(law: Law) -> None:
    assert law.summary.endswith(".")
    _, formula, *others = (inspect.getdoc(law.function) or "").split("\n\n")
    assert formula.startswith("``") and others[-1].startswith("Source: ")
    assert law.formula and law.source
    assert law.formula.count("{") == law.formula.count("}")
    assert all(kind.meaning for kind in law.parameters.values())
    assert law.inputs and all(kind.low < kind.high for kind in law.inputs.values())
    assert all(kind.low < kind.sizes[0] < kind.sizes[1] < kind.high for kind in law.inputs.values())


@EVERY_LAW
def test_what_an_input_is_raised_to_is_an_exponent(law: Law) -> None:
    for name, kind in law.parameters.items():
        for _, power in kind.powers:
            assert law.parameters[power.lstrip("-")].kind == "exponent", name


def restored(told: Mapping[str, Any]) -> tuple[dict[str, Input], dict[str, Parameter]]:
    """Inputs and parameters from what JSON holds of them."""
    supports: dict[str, Support] = {support.name: support for support in (real, positive, unit)}
    inputs = {
        name: Input(
            entry["unit"],
            low=-math.inf if entry["low"] is None else entry["low"],
            high=math.inf if entry["high"] is None else entry["high"],
            lower=entry["lower"],
            typical=tuple(entry["typical"]),
        )
        for name, entry in told["inputs"].items()
    }
    parameters = {
        name: Parameter(
            entry["kind"],
            supports[entry["support"]],
            tuple(entry["range"]),
            tuple(entry["powers"].items()),
            **{key: entry[key] for key in ("input", "unit", "meaning")},
        )
        for name, entry in told["parameters"].items()
    }
    return inputs, parameters


@EVERY_LAW
def test_json_holds_the_whole_declaration(law: Law) -> None:
    told = json.loads(json.dumps(pages.facts(law), allow_nan=False))
    assert told == pages.facts(law)
    inputs, parameters = restored(told)
    assert parameters == law.parameters
    assert {name: (kind.unit, kind.low, kind.high, kind.lower, kind.sizes) for name, kind in inputs.items()} == {
        name: (kind.unit, kind.low, kind.high, kind.lower, kind.sizes) for name, kind in law.inputs.items()
    }
    assert told["published"] == {label: dict(values) for label, values in law.published.items()}
    assert (told["affine"], told["decreasing"]) == (list(law.affine), list(law.decreasing))


@EVERY_SET
def test_published_values_are_plausible(law: Law, name: str) -> None:
    for key, number in law.published[name].items():
        low, high = law.parameters[key].range
        assert low < number < high, key


def test_kinds_contain_the_starts_of_the_field() -> None:
    starts = [
        (floor(), (0.1, 3)), (amplitude(), (1, 1e6)), (exponent(), (0.05, 1.5)), (positive_number(), (1, 100))
    ]  # fmt: skip
    for kind, (low, high) in starts:
        assert kind.range[0] <= low and high <= kind.range[1], kind.kind


@EVERY_LAW
def test_plausible_ranges_contain_the_starts_of_the_field(law: Law) -> None:
    terms = {power.lstrip("-") for kind in law.parameters.values() for _, power in kind.powers}
    for name, kind in law.parameters.items():
        low, high = kind.range
        if name in terms and kind.support is positive and (law.name, name) not in NARROW:
            assert low <= 0.05 and high >= 1.5, name
        if kind.meaning.startswith("width of ") and " in log " in kind.meaning:
            assert low <= 0.05 and high >= 5.0, name


# Powers that theory keeps above some bound.
NARROW = {
    ("allee_myers", "th"),
    ("fractal_boundary", "D_f"),
    ("fss_collapse", "a"),
    ("fss_collapse", "b"),
    ("superposition_exponent_rival", "a"),
    ("superposition_exponent_weak", "a"),
    ("tail_power_mle", "a"),
    ("tails_truncation", "beta"),
}


@EVERY_LAW
def test_a_plausible_range_lies_in_its_support(law: Law) -> None:
    for key, kind in law.parameters.items():
        assert kind.support.low <= kind.range[0] and kind.range[1] <= kind.support.high, key
        assert all(map(math.isfinite, kind.range)), key


@EVERY_LAW
def test_scalars_arrays_and_vmap_agree(law: Law) -> None:
    rows = plausible(law)
    batched = jax.vmap(lambda row, params: law(*row, **params))(rows.inputs, rows.params)
    np.testing.assert_allclose(batched, rows.y, rtol=1e-13)
    for k in range(3):
        params = {name: float(column[k]) for name, column in rows.params.items()}
        alone = law(*(float(column[k]) for column in rows.inputs), **params)
        np.testing.assert_allclose(alone, rows.y[k], rtol=1e-13)


@EVERY_LAW
def test_the_engine_computes_the_law(law: Law) -> None:
    rows = plausible(law)
    inputs = dict(zip(law.inputs, rows.inputs, strict=True))
    computed = jax.vmap(lambda row, params: value(law, row, params))(inputs, rows.params)
    np.testing.assert_allclose(computed, rows.y, rtol=1e-9)


@EVERY_LAW
def test_values_and_gradients_are_finite_over_the_plausible_ranges(law: Law) -> None:
    assert_sound(law, plausible(law))


@EVERY_SET
def test_values_and_gradients_are_finite_at_published_values(law: Law, name: str) -> None:
    params = {key: jnp.full(POINTS, number) for key, number in law.published[name].items()}
    assert_sound(law, evaluated(law, plausible(law).inputs, params))


@EVERY_LAW
def test_single_precision_is_finite_over_the_plausible_ranges_but_for_known_laws(law: Law) -> None:
    draws = np.random.default_rng(1)
    inputs, params = random_inputs(law, draws, np.float32), random_params(law, draws, np.float32)
    rows = evaluated(law, inputs, params)
    assert rows.y.dtype == np.float32
    assert is_finite(rows) is (law.name not in LARGE | CERTAIN)


@EVERY_LAW
def test_derivatives_agree_with_differences(law: Law) -> None:
    kinds = [*law.inputs.values(), *law.parameters.values()]
    # The last input is the smallest, so that an input capped by another is away from its corner.
    shares = [0.4 + 0.1 * i / max(len(law.inputs) - 1, 1) for i in range(len(law.inputs))]
    inputs = [between(*kind.sizes, u) for kind, u in zip(law.inputs.values(), shares, strict=True)]
    point = np.array([*inputs, *law.typical.values()])
    logs = np.array([(kind.sizes if isinstance(kind, Input) else kind.range)[0] > 0 for kind in kinds])
    centre = np.where(logs, np.log(np.where(logs, point, 1.0)), point)
    # Compared as a share of the value, which may be a count of tokens.
    size = abs(float(law(*inputs, **law.typical)))

    def f(z: list[Any]) -> Any:
        values = [jnp.exp(column) if log else column for column, log in zip(z, logs, strict=True)]
        count = len(law.inputs)
        y = law(*values[:count], **dict(zip(law.parameters, values[count:], strict=True)))
        return jnp.broadcast_to(y, POINTS) / size

    # One column a variable, as many rows as elsewhere: what is compiled serves the whole catalogue.
    z = [jnp.full(POINTS, number) for number in centre]
    drawn = np.random.default_rng(5).standard_normal((len(z), POINTS))
    direction = list(map(jnp.asarray, drawn / np.linalg.norm(drawn, axis=0)))

    def slope(z: list[Any]) -> Any:
        return jax.jvp(f, (z,), (direction,))[1]

    def difference(g: Any, step: float = 1e-5) -> Any:
        up, down = ([x + side * step * v for x, v in zip(z, direction, strict=True)] for side in (1.0, -1.0))
        return (g(up) - g(down)) / (2 * step)

    back = jax.vjp(f, z)[1](jnp.ones(POINTS))[0]
    along = np.sum([part * v for part, v in zip(back, direction, strict=True)], axis=0)
    np.testing.assert_allclose(along, slope(z), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slope(z), difference(f), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jvp(slope, (z,), (direction,))[1], difference(slope), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("law", [law for law in CATALOGUE.values() if law.affine], ids=lambda law: law.name)
def test_affine_parameters_enter_affinely(law: Law) -> None:
    draws = np.random.default_rng(3)
    inputs = random_inputs(law, draws)
    start, end = random_params(law, draws), random_params(law, draws)

    def moved(share: float) -> Any:
        mixed = {key: start[key] + share * (end[key] - start[key]) for key in law.affine}
        return law(*inputs, **{**start, **mixed})

    first, last = moved(0.0), moved(1.0)
    scale = np.maximum(np.abs(first), np.abs(last))
    for share in (-0.5, 0.3, 1.7):
        np.testing.assert_allclose(moved(share) / scale, (first + share * (last - first)) / scale, atol=1e-12)


STATED = [(law, k) for law in CATALOGUE.values() for k in range(len(law.checks))]


@pytest.mark.parametrize(("law", "k"), STATED, ids=[f"{law.name}-{k}" for law, k in STATED])
def test_a_law_gives_the_values_that_its_source_prints(law: Law, k: int) -> None:
    check = law.checks[k]
    params = law.published[check.params] if isinstance(check.params, str) else check.params
    inputs = [float(check.at[name]) for name in law.inputs]
    np.testing.assert_allclose(law(*inputs, **params), check.value, rtol=check.rtol)


FALLING = [(law, name) for law in CATALOGUE.values() for name in law.decreasing]


@pytest.mark.parametrize(("law", "name"), FALLING, ids=[f"{law.name}-{name}" for law, name in FALLING])
def test_a_law_falls_where_it_says_so(law: Law, name: str) -> None:
    rows = plausible(law)
    place = list(law.inputs).index(name)
    further = list(rows.inputs)
    further[place] = jnp.minimum(rows.inputs[place] * 1.5, 0.5 * (rows.inputs[place] + law.inputs[name].sizes[1]))
    below = law(*further, **rows.params)
    assert np.all(below <= rows.y + 1e-12 * np.abs(rows.y))


def test_in_single_precision_a_fit_is_finite_or_says_so() -> None:
    entry = laws.get("exp_growth")
    x = between(*entry.inputs["x"].sizes, np.linspace(0.0, 1.0, 24))
    y = np.asarray(entry(x, **entry.typical), np.float32)
    with jax.enable_x64(False):
        solution = solve(entry, {"x": jnp.asarray(x, jnp.float32)}, jnp.asarray(y))
    finite = all(np.isfinite(leaf) for leaf in jax.tree.leaves((solution.params, solution.objective)))
    assert solution.objective.dtype == np.float32
    assert finite or solution.status != 0


def test_amplitudes_of_data_constrained_are_not_affine() -> None:
    params = laws.get("data_constrained").typical
    low, mid, high = (laws.get("data_constrained")(1e10, 4e10, 1e10, **{**params, "A": A}) for A in (300, 500, 700))
    assert abs(low + high - 2 * mid) > 1e-4 * mid


def test_the_catalogue_lists_what_it_finds() -> None:
    assert laws.names() == sorted(laws.catalogue())
    assert {"chinchilla", "data_constrained", "bnsl1", "bnsl3", "power_law"} <= set(laws.names())
    assert laws.get("chinchilla") is laws.chinchilla
    assert laws.catalogue() is not laws.catalogue()


def test_a_family_answers_to_its_counts() -> None:
    assert laws.get("bnsl") is laws.get("bnsl1") is laws.get("bnsl[1]") is laws.bnsl[1]
    assert laws.get("bnsl[2]") is laws.bnsl[2]
    assert laws.get("bnsl8").name == "bnsl8"
    assert list(laws.bnsl[2].parameters) == ["a", "b", "c0", "c1", "d1", "f1", "c2", "d2", "f2"]
    assert repr(laws.bnsl) == "<law family bnsl[1..8]>"
    with pytest.raises(ValueError, match="^Law family bnsl takes a count from 1 to 8, but got 9.$"):
        laws.get("bnsl[9]")
    with pytest.raises(ValueError, match="but got 0.$"):
        laws.bnsl[0]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^Law 'chinchila' is not in the catalogue; nearest are chinchilla, "):
        laws.get("chinchila")
    with pytest.raises(ValueError, match=r"catalogue; jaxscale.laws.names\(\) lists all.$"):
        laws.get("zzz")
    with pytest.raises(ValueError, match="is not in the catalogue"):
        laws.get("")
    with pytest.raises(AttributeError, match="nearest are chinchilla"):
        _ = laws.chinchila


def declared_in(file: str) -> ModuleType:
    @law(inputs=dict(x=Input("")), response=Response(""), source="a textbook", b=exponent(), name="twin")
    def twin(x, *, b):
        """One of two."""
        return x**b

    module = ModuleType(file)
    module.__file__ = f"{file}.py"
    vars(module)["twin"] = twin
    return module


def test_two_laws_of_one_name_are_refused_with_both_files() -> None:
    with pytest.raises(LawError, match="^law 'twin' is declared in first.py and again in second.py; rename one of"):
        laws.collect([declared_in("first"), declared_in("second")])
    module = declared_in("first")
    assert list(laws.collect([module, module])[0]) == ["twin"]
