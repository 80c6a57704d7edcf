"""Contracts that every law of the catalogue keeps, and the numbers that the literature fixes."""

import csv
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxscale import laws
from jaxscale.law import Input, Law, LawError, Parameter, Response, exponent, law, positive, unit

pytestmark = pytest.mark.usefixtures("x64")
CATALOGUE = laws.catalogue()
EVERY_LAW = pytest.mark.parametrize("law", CATALOGUE.values(), ids=CATALOGUE)
PUBLISHED = [(law, name) for law in CATALOGUE.values() for name in law.published]
EVERY_SET = pytest.mark.parametrize(("law", "name"), PUBLISHED, ids=[f"{law.name}-{name}" for law, name in PUBLISHED])
POINTS = 64


def logarithmic(kind: Parameter) -> bool:
    """Whether a plausible range spans sizes rather than plain numbers."""
    return kind.range[0] > 0


def between(low: float, high: float, u: Any) -> Any:
    """The point at the share ``u`` of a range: in logs where it spans sizes."""
    return low * (high / low) ** u if low > 0 else low + u * (high - low)


def at(kind: Parameter, u: Any) -> Any:
    """The point of a plausible range that lies at the share ``u`` of it."""
    return between(*kind.range, u)


def middle(law: Law) -> dict[str, float]:
    """The first published set, or the middle of the plausible ranges."""
    if law.published:
        return dict(next(iter(law.published.values())))
    return {name: float(at(kind, 0.5)) for name, kind in law.parameters.items()}


def sizes(law: Law) -> dict[str, tuple[float, float]]:
    """Plausible sizes of the inputs."""
    return {
        name: kind.typical or (max(kind.lower, 1e-2), 1e13 if kind.lower else 1e6) for name, kind in law.inputs.items()
    }


def random_inputs(law: Law, draws: np.random.Generator) -> list[np.ndarray]:
    shares = draws.uniform(size=(len(law.inputs), POINTS))
    return [between(low, high, u) for (low, high), u in zip(sizes(law).values(), shares, strict=True)]


def random_params(law: Law, draws: np.random.Generator) -> dict[str, np.ndarray]:
    # Ends are left out: a support is open, and the ranges of floors and fractions begin at its end.
    return {name: at(kind, draws.uniform(0.001, 0.999, POINTS)) for name, kind in law.parameters.items()}


@EVERY_LAW
def test_the_signature_is_the_declaration(law: Law) -> None:
    parameters = inspect.signature(law.function).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == list(law.inputs)
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(law.parameters)
    assert CATALOGUE[law.name] is law


@EVERY_LAW
def test_a_law_explains_itself(law: Law) -> None:
    assert law.summary.endswith(".")
    assert "Source: " in (law.__doc__ or "")
    assert law.formula and law.source
    assert law.formula.count("{") == law.formula.count("}")
    assert all(kind.meaning for kind in law.parameters.values())
    assert law.inputs and all(kind.low < kind.high for kind in law.inputs.values())


@EVERY_SET
def test_published_values_are_plausible(law: Law, name: str) -> None:
    for key, value in law.published[name].items():
        low, high = law.parameters[key].range
        assert low < value < high, key


# Where the specification of a form says in which range its fits start.
SOURCE_STARTS: dict[str, dict[str, tuple[float, float]]] = {
    "chinchilla": dict(E=(0.1, 3), A=(1, 1e6), B=(1, 1e6), alpha=(0.05, 1.5), beta=(0.05, 1.5)),
    "chinchilla_tied": dict(E=(0.1, 3), A=(1, 1e6), B=(1, 1e6), alpha=(0.05, 1.5)),
    "data_constrained": dict(
        E=(0.1, 3), A=(1, 1e6), B=(1, 1e6), alpha=(0.05, 1.5), beta=(0.05, 1.5), R_D=(1, 100), R_N=(1, 100)
    ),
    "repetition_tokens": dict(R_D=(1, 100)),
    "kaplan_single": dict(alpha=(0.05, 1.5)),
    "kaplan_nd": dict(alpha_N=(0.05, 1.5), alpha_D=(0.05, 1.5)),
    "power_law_floor": dict(b=(0.05, 1.5)),
    "shifted_power": dict(b=(0.05, 1.5)),
    "bnsl1": dict(f1=(0.05, 5)),
    "bnsl2": dict(f1=(0.05, 5), f2=(0.05, 5)),
    "bnsl3": dict(f1=(0.05, 5), f2=(0.05, 5), f3=(0.05, 5)),
}


@pytest.mark.parametrize("name", SOURCE_STARTS)
def test_plausible_ranges_contain_the_known_starts(name: str) -> None:
    for key, (low, high) in SOURCE_STARTS[name].items():
        plausible = laws.get(name).parameters[key].range
        assert plausible[0] <= low and high <= plausible[1], key


@EVERY_LAW
def test_a_plausible_range_lies_in_its_support(law: Law) -> None:
    for key, kind in law.parameters.items():
        assert kind.support.low <= kind.range[0] and kind.range[1] <= kind.support.high, key
        assert all(map(math.isfinite, kind.range)), key


@EVERY_LAW
def test_scalars_arrays_and_vmap_agree(law: Law) -> None:
    draws = np.random.default_rng(0)
    inputs, params = random_inputs(law, draws), middle(law)
    rows = list(zip(*inputs, strict=True))[:4]
    loop = [float(law(*map(float, row), **params)) for row in rows]
    columns = [column[:4] for column in inputs]
    np.testing.assert_allclose(law(*columns, **params), loop, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(lambda *row: law(*row, **params))(*columns), loop, rtol=1e-13)


@EVERY_LAW
def test_values_and_gradients_are_finite_over_the_plausible_ranges(law: Law) -> None:
    draws = np.random.default_rng(1)
    inputs, params = random_inputs(law, draws), random_params(law, draws)
    assert_finite(law, inputs, params)


@EVERY_SET
def test_values_and_gradients_are_finite_at_published_values(law: Law, name: str) -> None:
    inputs = random_inputs(law, np.random.default_rng(2))
    assert_finite(law, inputs, {key: np.full(POINTS, value) for key, value in law.published[name].items()})


def assert_finite(law: Law, inputs: list[np.ndarray], params: Mapping[str, np.ndarray]) -> None:
    def value(row: list[Any], values: dict[str, Any]) -> Any:
        return law(*row, **values)

    y, slopes = jax.jit(jax.vmap(jax.value_and_grad(value, argnums=(0, 1))))(inputs, dict(params))
    assert y.dtype == np.float64
    assert np.all(np.isfinite(y))
    if law.response.domain in (positive, unit):
        assert np.all((y > law.response.domain.low) & (y < law.response.domain.high))
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.all(np.isfinite(slope)), path


@EVERY_LAW
def test_derivatives_agree_with_differences(law: Law) -> None:
    params = middle(law)
    logs = {key: logarithmic(kind) for key, kind in law.parameters.items()}
    point = {key: math.log(value) if logs[key] else value for key, value in params.items()}
    # The last input is the smallest, so that an input capped by another is away from its corner.
    shares = [0.4 + 0.1 * i / max(len(law.inputs) - 1, 1) for i in range(len(law.inputs))]
    centre = [between(low, high, u) for (low, high), u in zip(sizes(law).values(), shares, strict=True)]
    straight = [low <= 0 for low, _ in sizes(law).values()]

    # Compared as a share of the value, which may be a count of tokens.
    size = float(law(*centre, **params))

    def value(log_inputs: list[Any], z: dict[str, Any]) -> Any:
        values = {key: jnp.exp(v) if logs[key] else v for key, v in z.items()}
        columns = [v if plain else jnp.exp(v) for v, plain in zip(log_inputs, straight, strict=True)]
        return law(*columns, **values) / size

    moved = [x if plain else math.log(x) for x, plain in zip(centre, straight, strict=True)]
    check_grads(value, (moved, point), order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-5)


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
    draws = np.random.default_rng(4)
    inputs, params = random_inputs(law, draws), random_params(law, draws)
    place = list(law.inputs).index(name)
    further = list(inputs)
    further[place] = np.minimum(inputs[place] * 1.5, 0.5 * (inputs[place] + sizes(law)[name][1]))
    y, below = law(*inputs, **params), law(*further, **params)
    assert np.all(below <= y + 1e-12 * np.abs(y))


def test_amplitudes_of_data_constrained_are_not_affine() -> None:
    params = middle(laws.get("data_constrained"))
    low, mid, high = (laws.get("data_constrained")(1e10, 4e10, 1e10, **{**params, "A": A}) for A in (300, 500, 700))
    assert abs(low + high - 2 * mid) > 1e-4 * mid


CHINCHILLA, CONSTRAINED = laws.get("chinchilla").published, laws.get("data_constrained").published["muennighoff2023"]
KAPLAN, KAPLAN_ND = laws.get("kaplan_single").published, laws.get("kaplan_nd").published["kaplan2020"]
REPEATED = dict(R_D=15.3878)
TWENTY = 2e10
CHECKS: dict[str, tuple[str, tuple[float, ...], Mapping[str, float], float]] = {
    "kaplan N": ("kaplan_single", (1e9,), KAPLAN["kaplan2020_parameters"], 2.376),
    "kaplan D": ("kaplan_single", (1e10,), KAPLAN["kaplan2020_tokens"], 2.262),
    "kaplan X_c": ("kaplan_single", (3.1e8,), KAPLAN["kaplan2020_compute"], 1.0),
    "kaplan N, D": ("kaplan_nd", (1e9, TWENTY), KAPLAN_ND, 2.374),
    "kaplan N, D infinite": ("kaplan_nd", (1e9, 1e30), KAPLAN_ND, 2.319),
    "chinchilla 1B": ("chinchilla", (1e9, TWENTY), CHINCHILLA["besiroglu2024"], 2.5301),
    "chinchilla 70B": ("chinchilla", (70e9, 1.4e12), CHINCHILLA["besiroglu2024"], 1.9739),
    "4 epochs": ("repetition_tokens", (1e9, 4e9), REPEATED, 0.9314 * 4e9),
    "16 epochs": ("repetition_tokens", (1e9, 16e9), REPEATED, 0.6614 * 16e9),
    "40 epochs": ("repetition_tokens", (1e9, 40e9), REPEATED, 0.3792 * 40e9),
    "ceiling": ("repetition_tokens", (1e9, 1e18), REPEATED, 16.388 * 1e9),
    "constrained": ("data_constrained", (2.8e9, 4e10, 1e10), CONSTRAINED, 2.4147),
    "constrained, one epoch": ("data_constrained", (2.8e9, 4e10, 4e10), CONSTRAINED, 2.3810),
    "unconstrained": (
        "chinchilla",
        (2.8e9, 4e10),
        {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")},
        2.3802,
    ),
    "one break": ("bnsl1", (1e6,), dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5), 1.2319),
    "shifted": ("shifted_power", (1e5,), dict(a=5.0, x0=1e3, b=0.35, c=0.2), 0.2886),
}


@pytest.mark.parametrize("check", CHECKS)
def test_known_values(check: str) -> None:
    name, inputs, params, expected = CHECKS[check]
    digits = len(f"{expected:g}".replace(".", "").rstrip("0"))
    np.testing.assert_allclose(laws.get(name)(*inputs, **params), expected, rtol=5e-3 if digits <= 3 else 1e-3)


def test_log_log_slope_of_kaplan_is_minus_alpha() -> None:
    slope = jax.grad(lambda u: jnp.log(laws.get("kaplan_single")(jnp.exp(u), X_c=8.8e13, alpha=0.076)))
    np.testing.assert_allclose(slope(20.0), -0.076, rtol=1e-13)


def test_power_law_on_the_certified_problem_danwood() -> None:
    x = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
    y = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
    residual = laws.get("power_law")(x, a=0.76886226176, b=3.8604055871) - y
    np.testing.assert_allclose(residual @ residual, 4.3173084083e-3, rtol=1e-9)


def test_optimal_ratio_of_the_tied_law_is_constant() -> None:
    tied = laws.get("chinchilla_tied")
    params = tied.published["muennighoff2023"]
    for compute in (1e19, 1e23):
        ratios = np.geomspace(5, 80, 20001)
        N = np.sqrt(compute / (6 * ratios))
        best = ratios[np.argmin(tied(N, compute / (6 * N), **params))]
        np.testing.assert_allclose(best, 19.55, rtol=1e-3)


def test_slopes_of_the_broken_law_on_either_side_of_its_break() -> None:
    params = dict(a=0.0, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
    slope = jax.grad(lambda u: jnp.log(laws.get("bnsl1")(jnp.exp(u), **params)))
    np.testing.assert_allclose([slope(-20.0), slope(60.0)], [-0.1, -0.4], rtol=1e-12)


def test_a_sharp_break_does_not_overflow() -> None:
    params = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1.0, f1=0.001)
    np.testing.assert_allclose(laws.get("bnsl1")(1e6, **params), 0.1 + 5 * 1e6**-0.4, rtol=1e-12)


ND = np.array([[1e7, 1e9, 1e11], [2e9, 2e10, 5e12]])
BASE = {key: CONSTRAINED[key] for key in ("E", "A", "alpha", "B", "beta")}
ONE_BREAK = dict(a=0.1, b=5.0, c0=0.1, c1=0.3, d1=1e6, f1=0.5)
X = np.geomspace(1e2, 1e10, 9)


def test_chinchilla_with_one_exponent_is_the_tied_law() -> None:
    tied = dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)
    expected = laws.get("chinchilla")(*ND, **tied, beta=0.353)
    np.testing.assert_allclose(laws.get("chinchilla_tied")(*ND, **tied), expected, rtol=1e-15)


@pytest.mark.parametrize("beta", [0.353, 0.29])
def test_without_decay_data_constrained_is_chinchilla(beta: float) -> None:
    base = {**BASE, "beta": beta}
    limit = laws.get("data_constrained")(*ND, 1e9, **base, R_D=1e12, R_N=1e12)
    np.testing.assert_allclose(limit, laws.get("chinchilla")(*ND, **base), rtol=1e-6)


def test_with_ample_unique_data_data_constrained_is_chinchilla() -> None:
    limit = laws.get("data_constrained")(*ND, 1e16, **CONSTRAINED)
    np.testing.assert_allclose(limit, laws.get("chinchilla")(*ND, **BASE), rtol=1e-13)


def test_the_suited_model_size_is_the_optimum_on_the_unique_data() -> None:
    # Below 0.05115 parameters a unique token nothing is in excess, above it something is.
    constrained, plain = laws.get("data_constrained"), laws.get("chinchilla")
    for share, exact in ((0.0511, True), (0.0512, False)):
        N = share * 1e10
        same = abs(float(constrained(N, 1e10, 1e10, **CONSTRAINED) - plain(N, 1e10, **BASE))) < 1e-12
        assert same or not exact
        excess = float(constrained(2 * N, 1e10, 1e10, **CONSTRAINED) - plain(2 * N, 1e10, **BASE))
        assert excess > 1e-5
    above = laws.get("data_constrained")(1e30, 1e10, 1e10, **{**CONSTRAINED, "R_N": 1e-9, "E": 0.0})
    suited = plain(0.05115e10, 1e10, **{**BASE, "E": 0.0})
    np.testing.assert_allclose(above, suited, rtol=1e-4)


def test_repetition_is_the_identity_within_an_epoch_and_without_decay() -> None:
    repetition = laws.get("repetition_tokens")
    D = np.geomspace(1e6, 1e10, 9)
    np.testing.assert_array_equal(repetition(1e10, D, R_D=15.0), D)
    np.testing.assert_allclose(repetition(1e8, D, R_D=1e12), D, rtol=1e-6)


def test_kaplan_nd_ends_in_the_single_laws() -> None:
    single = laws.get("kaplan_single")
    many = laws.get("kaplan_nd")(ND[0], 1e60, **KAPLAN_ND)
    np.testing.assert_allclose(many, single(ND[0], X_c=KAPLAN_ND["N_c"], alpha=KAPLAN_ND["alpha_N"]), rtol=1e-6)
    large = laws.get("kaplan_nd")(1e60, ND[1], **KAPLAN_ND)
    np.testing.assert_allclose(large, single(ND[1], X_c=KAPLAN_ND["D_c"], alpha=KAPLAN_ND["alpha_D"]), rtol=1e-6)


def test_without_a_change_of_slope_a_break_vanishes() -> None:
    floor = laws.get("power_law_floor")(X, c=0.1, a=5.0, b=0.1)
    np.testing.assert_allclose(laws.get("bnsl1")(X, **{**ONE_BREAK, "c1": 0.0}), floor, rtol=1e-14)
    second = laws.get("bnsl2")(X, **ONE_BREAK, c2=0.0, d2=1e8, f2=1.0)
    np.testing.assert_allclose(second, laws.get("bnsl1")(X, **ONE_BREAK), rtol=1e-14)


def test_without_a_shift_the_shifted_law_is_the_power_law_with_a_floor() -> None:
    shifted = laws.get("shifted_power")(X, c=0.2, a=5.0, x0=0.0, b=0.35)
    np.testing.assert_allclose(shifted, laws.get("power_law_floor")(X, c=0.2, a=5.0, b=0.35), rtol=1e-14)


def test_without_a_floor_the_power_law_remains() -> None:
    bare = laws.get("power_law_floor")(X, c=0.0, a=5.0, b=0.35)
    np.testing.assert_allclose(bare, laws.get("power_law")(X, a=5.0, b=-0.35), rtol=1e-14)


def read(data: Path, name: str) -> dict[str, np.ndarray]:
    with open(data / name, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [key for key in rows[0] if key not in ("run", "dataset")]
    return {key: np.array([float(row[key]) for row in rows]) for key in numbers}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (CHINCHILLA["besiroglu2024"], 1.0228e-3),
        (CHINCHILLA["hoffmann2022"], 4.121e-3),
        (dict(E=1.817218, A=477.826, alpha=0.3473105, B=2143.417, beta=0.3671724), 1.01827402e-3),
    ],
)
def test_chinchilla_objective_on_the_published_runs(data: Path, params: Mapping[str, float], expected: float) -> None:
    table = read(data, "chinchilla_epoch.csv")
    keep = table["in_published_fit"] == 1
    predicted = laws.get("chinchilla")(table["params"][keep], table["tokens"][keep], **params)
    r = np.abs(np.log(predicted) - np.log(table["loss"][keep]))
    objective = np.sum(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 1e-3 / 2)))
    np.testing.assert_allclose(objective, expected, rtol=1e-3)


def test_fit_quality_of_data_constrained_on_the_published_runs(data: Path) -> None:
    table = read(data, "data_constrained_c4.csv")
    columns = (table["params"], table["tokens"], table["unique_tokens"])
    spread = np.sum((table["loss"] - table["loss"].mean()) ** 2)
    unrounded = dict(
        E=math.exp(0.6254804), A=math.exp(6.255414), alpha=0.3526596, B=math.exp(7.3049974), beta=0.3526596
    )
    for params, expected in (
        (CONSTRAINED, 0.7302),
        (dict(unrounded, R_D=15.387756, R_N=5.309743), 0.7368),
        (dict(unrounded, R_D=57.3249, R_N=2.28275), 0.75337),
    ):
        error = np.sum((laws.get("data_constrained")(*columns, **params) - table["loss"]) ** 2)
        np.testing.assert_allclose(1 - error / spread, expected, atol=1e-4)
    plain = laws.get("chinchilla")(*columns[:2], **BASE)
    np.testing.assert_allclose(1 - np.sum((plain - table["loss"]) ** 2) / spread, 0.353, atol=1e-3)


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
