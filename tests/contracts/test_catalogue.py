"""Contracts that every law of the catalogue keeps."""

import inspect
import json
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.engine.newton import CONVERGED, NONFINITE
from jaxscale.engine.solve import solve
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
from jaxscale.law.derivatives import check_traceable, value
from jaxscale.reporting import law_page
from tests.contracts.law_contracts import (
    BATCH,
    EVERY_LAW,
    POINTS,
    Contracts,
    Rows,
    assert_close,
    central_point,
    evaluated,
    in_batches,
    plausible,
    random_inputs,
    random_params,
    random_point,
    values,
    with_slopes,
)

pytestmark = pytest.mark.usefixtures("x64")
CONTRACTS = Contracts()

# Laws that leave single precision somewhere in their plausible ranges, where double precision does not: sizes above
# 3e38 on the way, or a chance that rounds to 0 or 1.
LARGE = {
    "data_constrained", "dit_scaling_d", "dit_scaling_n", "exp_growth", "farseer", "hp_compute_power_batch",
    "ladder_one_step_c", "multifractal", "resolution_limited", "skill_isoflop_n", "speech_skill_compute",
    "value_rl_compute", "video_dit_loss_n", "vocab_optimum", "choice_probability_loss",
}  # fmt: skip
CERTAIN = {"passuntil_circuits1", "passuntil_circuits2", "passuntil_circuits3"}


def is_finite(rows: Rows) -> bool:
    return all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves((rows.y, rows.slopes)))


def assert_sound(law: Law, rows: Rows) -> None:
    assert rows.y.dtype == np.float64
    for path, leaf in jax.tree_util.tree_leaves_with_path((rows.y, rows.slopes)):
        assert np.all(np.isfinite(leaf)), path
    if law.response.domain in (positive, unit):
        assert np.all((rows.y > law.response.domain.low) & (rows.y < law.response.domain.high))


@CONTRACTS.add
def the_signature_is_the_declaration(law: Law) -> None:
    parameters = inspect.signature(law.function).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == list(law.inputs)
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(law.parameters)
    assert laws.get(law.name) is law


@CONTRACTS.add
def a_law_explains_itself(law: Law) -> None:
    assert law.summary.endswith(".")
    _, formula, *others = (inspect.getdoc(law.function) or "").split("\n\n")
    assert formula.startswith("``") and others[-1].startswith("Source: ")
    assert law.formula and law.source
    assert law.formula.count("{") == law.formula.count("}")
    assert all(kind.meaning for kind in law.parameters.values())
    assert law.inputs and all(kind.low < kind.high for kind in law.inputs.values())
    assert all(kind.low < kind.sizes[0] < kind.sizes[1] < kind.high for kind in law.inputs.values())


@CONTRACTS.add
def what_an_input_is_raised_to_is_an_exponent(law: Law) -> None:
    for name, kind in law.parameters.items():
        for _, power in kind.powers:
            assert law.parameters[power.lstrip("-")].kind == "exponent", name


def restored(facts: Mapping[str, Any]) -> tuple[dict[str, Input], dict[str, Parameter]]:
    """Inputs and parameters after a round trip through JSON."""
    supports: dict[str, Support] = {support.name: support for support in (real, positive, unit)}
    inputs = {
        name: Input(
            entry["unit"],
            low=-math.inf if entry["low"] is None else entry["low"],
            high=math.inf if entry["high"] is None else entry["high"],
            lower=entry["lower"],
            typical=tuple(entry["typical"]),
        )
        for name, entry in facts["inputs"].items()
    }
    parameters = {
        name: Parameter(
            entry["kind"],
            supports[entry["support"]],
            tuple(entry["range"]),
            tuple(entry["powers"].items()),
            **{key: entry[key] for key in ("input", "unit", "meaning", "declared")},
        )
        for name, entry in facts["parameters"].items()
    }
    return inputs, parameters


@CONTRACTS.add
def json_holds_the_whole_declaration(law: Law) -> None:
    facts = json.loads(json.dumps(law_page.facts(law), allow_nan=False))
    assert facts == law_page.facts(law)
    inputs, parameters = restored(facts)
    assert parameters == law.parameters
    assert {name: (kind.unit, kind.low, kind.high, kind.lower, kind.sizes) for name, kind in inputs.items()} == {
        name: (kind.unit, kind.low, kind.high, kind.lower, kind.sizes) for name, kind in law.inputs.items()
    }
    assert facts["published"] == {label: dict(values) for label, values in law.published.items()}
    assert (facts["affine"], facts["decreasing"]) == (list(law.affine), list(law.decreasing))


@CONTRACTS.add
def published_values_are_plausible(law: Law) -> None:
    for label, constants in law.published.items():
        for key, number in constants.items():
            low, high = law.parameters[key].range
            assert low < number < high, (label, key)


def test_ranges_of_kinds_contain_common_starts() -> None:
    starts = [
        (floor(), (0.1, 3)), (amplitude(), (1, 1e6)), (exponent(), (0.05, 1.5)), (positive_number(), (1, 100))
    ]  # fmt: skip
    for kind, (low, high) in starts:
        assert kind.range[0] <= low and high <= kind.range[1], kind.kind


@CONTRACTS.add
def plausible_ranges_contain_the_starts_of_the_field(law: Law) -> None:
    terms = {power.lstrip("-") for kind in law.parameters.values() for _, power in kind.powers}
    for name, kind in law.parameters.items():
        low, high = kind.range
        if name in terms and kind.support is positive:
            assert (low <= 0.05 and high >= 1.5) is ((law.name, name) not in NARROW), name
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


@CONTRACTS.add
def a_plausible_range_lies_in_its_support(law: Law) -> None:
    for key, kind in law.parameters.items():
        assert kind.support.low <= kind.range[0] and kind.range[1] <= kind.support.high, key
        assert all(map(math.isfinite, kind.range)), key


@CONTRACTS.add
def scalars_arrays_and_vmap_agree(law: Law) -> None:
    rows = plausible(law)
    (batched,) = in_batches(jax.vmap(lambda row, params: law(*row, **params)), [(rows.inputs, rows.params)])
    assert_close(batched, rows.y, rtol=1e-13)
    for k in range(3):
        params = {name: float(column[k]) for name, column in rows.params.items()}
        with jax.disable_jit():
            alone = law(*(float(column[k]) for column in rows.inputs), **params)
        assert_close(alone, rows.y[k], rtol=1e-13)


@CONTRACTS.add
def the_engine_computes_the_law(law: Law) -> None:
    def at_rows(inputs: list[Any], params: dict[str, Any]) -> Any:
        columns = dict(zip(law.inputs, inputs, strict=True))
        found = jax.vmap(lambda row, params: value(law, row, params))(columns, params)
        assert found.shape == (BATCH * POINTS,) and found.dtype == np.float64
        return found

    rows = plausible(law)
    # The law is traced before, so that nested jit is in the trace.
    check_traceable(law, dict(zip(law.inputs, rows.inputs, strict=True)))
    (found,) = in_batches(at_rows, [(rows.inputs, rows.params)])
    assert_close(found, rows.y, rtol=1e-13)


@CONTRACTS.add
def values_and_gradients_are_finite_over_the_plausible_ranges(law: Law) -> None:
    assert_sound(law, plausible(law))


@CONTRACTS.add
def values_and_gradients_are_finite_at_published_values(law: Law) -> None:
    for label in law.published:
        assert_sound(law, evaluated(law)[label])


@CONTRACTS.add
def single_precision_is_finite_over_the_plausible_ranges_but_for_known_laws(law: Law) -> None:
    (rows,) = with_slopes(law, [random_point(law, 1, np.float32)])
    assert rows.y.dtype == np.float32
    assert is_finite(rows) is (law.name not in LARGE | CERTAIN)


@CONTRACTS.add
def derivatives_agree_with_differences(law: Law) -> None:
    kinds = [*law.inputs.values(), *law.parameters.values()]
    inputs, params = central_point(law)
    point = np.array([*inputs, *params.values()])
    logs = [(kind.sizes if isinstance(kind, Input) else kind.range)[0] > 0 for kind in kinds]
    z = [np.log(column) if log else column for column, log in zip(point, logs, strict=True)]
    drawn = np.random.default_rng(5).standard_normal((len(z), POINTS))
    direction = drawn / np.linalg.norm(drawn, axis=0)
    # Compared as a share of the value, which may be a count of tokens, unless it is 0.
    centre = evaluated(law)["centre"]
    size = np.abs(centre.y[0]) or 1.0

    def f(z: list[Any]) -> Any:
        values = [jnp.exp(column) if log else column for column, log in zip(z, logs, strict=True)]
        count = len(law.inputs)
        y = law(*values[:count], **dict(zip(law.parameters, values[count:], strict=True)))
        return jnp.broadcast_to(y, BATCH * POINTS) / size

    def with_slope(z: list[Any], direction: list[Any]) -> Any:
        return jax.jvp(f, (z,), (direction,))

    def all_orders(z: list[Any], more: dict[str, Any]) -> Any:
        (y, slope), (_, second) = jax.jvp(lambda z: with_slope(z, more["v"]), (z,), (more["v"],))
        return y, slope, second

    step = 1e-5
    places = [[x + side * step * v for x, v in zip(z, direction, strict=True)] for side in (0.0, 1.0, -1.0)]
    at, up, down = in_batches(all_orders, [(place, {"v": list(direction)}) for place in places])
    _, slope, second = at
    slopes = [*centre.slopes[0], *(centre.slopes[1][name] for name in law.parameters)]
    back = [
        np.asarray(part) * (column if log else 1.0) / size
        for part, column, log in zip(slopes, point, logs, strict=True)
    ]
    assert_close(np.sum(back * direction, axis=0), slope, rtol=1e-9, atol=1e-12)
    assert_close(slope, (up[0] - down[0]) / (2 * step), rtol=1e-4, atol=1e-5)
    assert_close(second, (up[1] - down[1]) / (2 * step), rtol=1e-4, atol=1e-5)


@CONTRACTS.add
def affine_parameters_enter_affinely(law: Law) -> None:
    draws = np.random.default_rng(3)
    inputs = random_inputs(law, draws)
    start, end = random_params(law, draws), random_params(law, draws)
    shares = (-0.5, 0.3, 1.7)

    def moved(share: float) -> Any:
        return inputs, {**start, **{key: start[key] + share * (end[key] - start[key]) for key in law.affine}}

    if law.affine:
        first, last, *between = values(law, [moved(share) for share in (0.0, 1.0, *shares)])
        # Terms that underflow are compared with the smallest number.
        scale = np.maximum(np.maximum(np.abs(first), np.abs(last)), np.finfo(float).tiny)
        for share, y in zip(shares, between, strict=True):
            assert_close(y / scale, (first + share * (last - first)) / scale, atol=1e-12)


@CONTRACTS.add
def a_law_gives_the_values_that_its_source_prints(law: Law) -> None:
    for check in law.checks:
        params = law.published[check.params] if isinstance(check.params, str) else check.params
        inputs = [float(check.at[name]) for name in law.inputs]
        with jax.disable_jit():
            found = law(*inputs, **params)
        assert_close(found, check.value, rtol=check.rtol)


@CONTRACTS.add
def a_law_falls_where_it_says_so(law: Law) -> None:
    rows = plausible(law)
    for name in law.decreasing:
        further = list(rows.inputs)
        place = list(law.inputs).index(name)
        further[place] = np.minimum(further[place] * 1.5, 0.5 * (further[place] + law.inputs[name].sizes[1]))
        (below,) = values(law, [(further, rows.params)])
        assert np.all(below <= rows.y + 1e-12 * np.abs(rows.y)), name
        assert np.any(below < rows.y), name


@EVERY_LAW
def test_a_law_keeps_its_contracts(law: Law) -> None:
    CONTRACTS.assert_all(law)


def test_in_single_precision_a_fit_is_finite_and_says_whether_it_converged() -> None:
    entry = laws.get("exp_growth")
    x = between(*entry.inputs["x"].sizes, np.linspace(0.0, 1.0, 24))
    y = np.asarray(entry(x, **entry.typical), np.float32)
    with jax.enable_x64(False):
        program = jax.jit(lambda x, y: solve(entry, {"x": x}, y, starts=64))
        fitted, overflown = (
            program(jnp.asarray(x, jnp.float32), response)
            for response in (y, np.where(np.arange(24) == 3, np.float32(np.inf), y))
        )
    for solution in (fitted, overflown):
        assert solution.objective.dtype == np.float32
        assert all(np.isfinite(number) for number in solution.params.values())
    assert int(fitted.status) == CONVERGED and np.isfinite(fitted.objective)
    assert {name: float(number) for name, number in fitted.params.items()} == pytest.approx(entry.typical, rel=1e-4)
    assert int(overflown.status) == NONFINITE and overflown.objective == np.inf


def test_amplitudes_of_data_constrained_are_not_affine() -> None:
    params = laws.get("data_constrained").typical
    low, mid, high = (laws.get("data_constrained")(1e10, 4e10, 1e10, **{**params, "A": A}) for A in (300, 500, 700))
    assert abs(low + high - 2 * mid) > 1e-4 * mid


def test_the_catalogue_lists_what_it_finds() -> None:
    assert laws.names() == sorted(laws.catalogue())
    assert {"chinchilla", "data_constrained", "bnsl1", "bnsl3", "power_law"} <= set(laws.names())
    assert laws.get("chinchilla") is laws.chinchilla
    assert laws.catalogue() is not laws.catalogue()


def test_a_family_is_found_by_its_counts() -> None:
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
