"""Design check: verdicts, messages and added runs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxscale import laws
from jaxscale.data.datasets import load
from jaxscale.data.designs import isoflop
from jaxscale.identification.fisher_information import COLLINEAR, EXPONENT_LIMIT, FLOOR_LIMIT
from jaxscale.identification.identifiability import DesignCheck, check
from jaxscale.law import Input, Response, amplitude, coefficient, exponent, floor, law, positive, real
from tests.designs import BAD, GOOD, Design, Draws, by_ratio, crossed

CHINCHILLA = laws.get("chinchilla")
TRUTH = CHINCHILLA.published["besiroglu2024"]


@law(
    inputs=dict(N=Input(""), D=Input("")),
    response=Response("", positive),
    source="a textbook",
    E=floor(),
    A=amplitude(N="alpha", D="beta"),
    alpha=exponent(),
    beta=exponent(),
    published=dict(one=dict(E=1.0, A=1e3, alpha=0.3, beta=0.2)),
)
def product(N, D, *, E, A, alpha, beta):
    """A floor and one term of two inputs."""
    return E + A / N**alpha / D**beta


def truth_near(draw: Draws) -> dict[str, float]:
    """Constants around those of the refitted law."""
    spread = dict(E=0.1, A=0.3, alpha=0.08, B=0.3, beta=0.08)
    return {name: value * math.exp(spread[name] * draw.generator.uniform(-1, 1)) for name, value in TRUTH.items()}


def flags(kinds: list[Callable[[Draws], Design]], count: int, seed: int, near: bool) -> list[str]:
    """Kinds of the designs that are flagged, of ``count`` designs in alternation."""
    draw, flagged = Draws(seed), []
    for i in range(count):
        kind = kinds[i % len(kinds)]
        found = check_only(kind(draw), params=truth_near(draw) if near else None)
        flagged += [kind.__name__] if found.verdict == "not identified" else []
    return flagged


def check_only(design: Design, **settings: Any) -> DesignCheck:
    found = check(CHINCHILLA, design, **settings)
    assert (
        (found.verdict == "identified")
        == (found.parameters == ())
        == (found.suggested_runs == [] and found.confounded == ())
    )
    return found


@pytest.mark.parametrize("near", [False, True], ids=["published", "constants nearby"])
def test_all_bad_designs_are_flagged(near: bool) -> None:
    flagged = flags(BAD, 200, seed=11, near=near)
    assert {kind.__name__: flagged.count(kind.__name__) for kind in BAD} == {kind.__name__: 20 for kind in BAD}


@pytest.mark.parametrize("near", [False, True], ids=["published", "constants nearby"])
def test_hardly_any_good_design_is_flagged(near: bool) -> None:
    assert len(flags(GOOD, 200, seed=12, near=near)) <= 2


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_added_runs_identify_the_law(kind: Callable[[Draws], Design]) -> None:
    draw = Draws(13)
    for _ in range(6):
        design = kind(draw)
        runs = check(CHINCHILLA, design).suggested_runs
        assert 1 <= len(runs) <= 8
        more = {name: np.append(values, [run[name] for run in runs]) for name, values in design.items()}
        assert check(CHINCHILLA, more).verdict == "identified"


def test_added_runs_cost_no_more_than_the_most_expensive_run_if_possible() -> None:
    N = np.geomspace(1e7, 1e9, 8)
    runs = check(CHINCHILLA, dict(N=N, D=20 * N)).suggested_runs
    assert runs
    for run in runs:
        assert run["N"] * run["D"] <= 20 * N[-1] ** 2 * (1 + 1e-9)


def test_added_runs_are_more_expensive_if_necessary() -> None:
    design = crossed(np.geomspace(5e10, 6e10, 6), np.geomspace(5e12, 6e12, 6))
    found = check(CHINCHILLA, design)
    assert max(run["N"] * run["D"] for run in found.suggested_runs) > 3.6e23


def test_the_points_of_the_refit_are_identified(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(data))
    table = load("chinchilla_epoch")
    found = check(CHINCHILLA, dict(N=table.column("params"), D=table.column("tokens")))
    assert found.verdict == "identified"
    assert found.rows == 245
    assert max(found.stderr["alpha"], found.stderr["beta"]) < 0.01


# What a fixed parameter or another law changes.


@pytest.mark.parametrize("ratio", [5.0, 20.0, 100.0])
def test_known_constants_of_one_term_make_a_proportional_design_good(ratio: float) -> None:
    N = np.geomspace(1e7, 1e10, 20)
    design = dict(N=N, D=ratio * N)
    assert check(CHINCHILLA, design).verdict == "not identified"
    found = check(CHINCHILLA, design, fixed=dict(B=TRUTH["B"], beta=TRUTH["beta"]))
    assert found.verdict == "identified"
    assert list(found.stderr) == ["E", "A", "alpha"]


def test_a_known_floor_makes_two_sizes_good() -> None:
    design = crossed([1e8, 1e9], np.geomspace(1e9, 1e11, 5))
    assert check(CHINCHILLA, design).verdict == "not identified"
    assert check(CHINCHILLA, design, fixed=dict(E=TRUTH["E"])).verdict == "identified"


def test_a_known_exponent_makes_two_sizes_good() -> None:
    design = crossed([1e8, 1e9], np.geomspace(1e9, 1e11, 5))
    assert check(CHINCHILLA, design, fixed=dict(alpha=0.34)).verdict == "identified"


def test_a_fixed_exponent_leaves_the_size_of_its_term() -> None:
    design = isoflop([1e19, 1e20, 1e21], 5)
    plain, moved = (check(CHINCHILLA, design, fixed=dict(alpha=alpha)) for alpha in (0.35, 0.7))
    assert moved.stderr["beta"] == pytest.approx(plain.stderr["beta"], rel=0.5)


def test_a_tied_exponent_is_identified_by_one_budget_but_its_amplitudes_not_by_one_ratio() -> None:
    tied = laws.get("chinchilla_tied")
    N = np.geomspace(1e7, 1e10, 12)
    assert check(tied, dict(N=N, D=20 * N)).parameters == ("A", "B")
    assert "D is proportional to N (D / N = 20)" in check(tied, dict(N=N, D=20 * N)).message
    assert check(tied, dict(N=N, D=1e20 / N)).verdict == "identified"


def test_inputs_that_move_together_are_flagged_though_curvature_would_do() -> None:
    found = check(CHINCHILLA, isoflop([1e21], 30, spread=100.0))
    assert max(found.stderr["alpha"], found.stderr["beta"]) < EXPONENT_LIMIT / 4
    assert found.parameters == ("A", "alpha", "B", "beta")
    assert "only curvature separates their terms (log-correlation -1.00000)" in found.message
    assert check(CHINCHILLA, isoflop([1e21], 30, spread=100.0), fixed=dict(alpha=0.35)).verdict == "identified"


def test_the_exponents_of_one_term_need_inputs_that_move_apart() -> None:
    N = np.geomspace(1e3, 1e6, 10)
    assert check(product, dict(N=N, D=20 * N)).parameters == ("A", "alpha", "beta")
    assert check(product, crossed([1e3, 1e5], np.geomspace(1e3, 1e7, 5))).verdict == "identified"


def test_a_law_of_two_scales() -> None:
    kaplan = laws.get("kaplan_nd")
    N = np.geomspace(1e7, 1e9, 8)
    assert check(kaplan, dict(N=N, D=20 * N)).parameters == ("N_c", "D_c", "alpha_N", "alpha_D")
    assert check(kaplan, isoflop([1e19, 1e20, 1e21], 5)).verdict == "identified"
    assert check(kaplan, crossed([1e7, 1e9], [1e9, 1e11])).stderr["alpha_N"] < 0.01


def test_unique_tokens_that_never_bind() -> None:
    data_constrained = laws.get("data_constrained")
    design = isoflop([1e19, 1e20, 1e21], 5)
    fresh = check(data_constrained, {**design, "U_D": 2 * design["D"]})
    assert "R_D" in fresh.parameters and fresh.stderr["R_D"] == math.inf
    assert fresh.stderr["alpha"] < EXPONENT_LIMIT
    assert "the response does not depend on R_D" in fresh.message
    repeated = {name: np.tile(values, 2) for name, values in design.items()}
    repeated["U_D"] = np.concatenate([design["D"], design["D"] / 30])
    assert check(data_constrained, repeated).verdict == "identified"


@pytest.mark.parametrize("name", ["power_law", "power_law_floor", "shifted_power", "bnsl1", "kaplan_single"])
def test_many_points_over_decades_identify_a_law_of_one_input(name: str) -> None:
    curve = laws.get(name)
    found = check(curve, {next(iter(curve.inputs)): np.geomspace(1e3, 1e7, 40)})
    assert found.verdict == "identified"
    assert set(found.stderr) == set(curve.parameters)


def test_three_points_of_a_power_law_with_a_floor() -> None:
    curve = laws.get("power_law_floor")
    narrow = check(curve, dict(x=np.array([1.0, 1.5, 2.0])))
    assert narrow.verdict == "not identified"
    assert "c" in narrow.parameters
    assert check(curve, dict(x=np.array([1.0, 30.0, 1000.0]))).verdict == "identified"
    assert check(curve, dict(x=np.array([1.0, 1000.0]))).stderr["b"] == math.inf
    assert check(curve, dict(x=np.array([1.0, 1.5, 2.0])), fixed=dict(c=0.5)).verdict == "identified"


@pytest.mark.parametrize("name", ["power_law_floor", "shifted_power", "bnsl1"])
def test_the_cure_of_a_law_of_one_input(name: str) -> None:
    curve = laws.get(name)
    x = np.geomspace(1.0, 3.0, 7)
    found = check(curve, dict(x=x))
    assert found.verdict == "not identified"
    more = dict(x=np.append(x, [run["x"] for run in found.suggested_runs]))
    worst = [
        max(design.stderr[key] for key, kind in curve.parameters.items() if kind.kind == "exponent")
        for design in (found, check(curve, more))
    ]
    assert worst[1] < worst[0] / 4


def test_columns_counted_in_billions_are_judged_by_plausible_constants() -> None:
    design = isoflop([1e19, 1e20, 1e21, 1e22], 7)
    billions = {name: values / 1e9 for name, values in design.items()}
    assert check(CHINCHILLA, billions).verdict == "identified"
    N = billions["N"]
    assert check(CHINCHILLA, dict(N=N, D=20 * N)).verdict == "not identified"


# What it says.


@pytest.mark.parametrize(
    ("design", "words"),
    [
        (dict(N=np.geomspace(1e7, 1e9, 6), D=np.full(6, 1e10)), "D takes one value (1e+10)"),
        (dict(N=np.geomspace(1e8, 1.04e8, 6), D=np.geomspace(1e9, 1e11, 6)), "N hardly varies around 1.02e+08"),
        (crossed([1e8, 1e9], np.geomspace(1e9, 1e11, 5)), "N takes only two values"),
        (by_ratio(np.geomspace(1e7, 1e9, 8), 20.0), "D is proportional to N (D / N = 20)"),
        (isoflop([6e20], 9), "all rows lie on one budget (N * D = 1e+20)"),
        (dict(N=np.geomspace(1e7, 1e9, 8), D=np.geomspace(1e7, 1e9, 8) ** 1.2), "D follows N as N**1.2"),
        (by_ratio([1e8, 1e9], [5, 80]), "the rows are fewer than the 5 free parameters"),
        (
            crossed(np.geomspace(1e7, 3e7, 4), np.geomspace(1e8, 3e8, 4)),
            "too far from the asymptote to determine",
        ),
    ],
)
def test_the_message_gives_the_reason(design: Design, words: str) -> None:
    found = check(CHINCHILLA, design)
    assert words in found.message
    assert found.message.endswith(".")


def test_the_message_names_parameters_and_runs() -> None:
    found = check(CHINCHILLA, by_ratio(np.geomspace(6.6e6, 124e6, 8), 20.0))
    assert found.message.startswith(
        "The inputs of the 8 rows do not identify E, A, alpha, B and beta of chinchilla: D is"
    )
    assert "A and B trade off against each other" in found.message
    assert "Expected standard errors at 0.5 % noise: alpha " in found.message
    for run in found.suggested_runs:
        assert f"N={run['N']:.3g}, D={run['D']:.3g}" in found.message


def test_message_of_a_good_design() -> None:
    found = check(CHINCHILLA, isoflop([1e19, 1e20, 1e21], 5))
    assert found.message.startswith("The inputs of the 15 rows identify every free parameter of chinchilla. Expected ")
    assert (str(found.law), found.rows, found.noise_level) == ("chinchilla", 15, 0.005)


def test_a_parameter_without_any_effect_can_only_be_fixed() -> None:
    @law(inputs=dict(x=Input("")), response=Response("", real), source="a textbook", a=coefficient(), b=coefficient())
    def idle(x, *, a, b):
        """A parameter without effect."""
        return a * x

    found = check(idle, dict(x=np.geomspace(1, 10, 5)))
    assert found.parameters == ("b",)
    assert "would help but not suffice, so fix b too." in found.message


def test_the_report_is_a_table() -> None:
    text = str(check(CHINCHILLA, by_ratio(np.geomspace(6.6e6, 124e6, 8), 20.0)))
    lines = text.splitlines()
    assert lines[0] == "Design check of chinchilla: not identified"
    assert lines[1].startswith("8 rows, noise 0.5 %, condition number ")
    assert [line.split()[0] for line in lines[4:9]] == ["E", "A", "alpha", "B", "beta"]
    assert all(line.endswith("not identified") for line in lines[4:9])
    assert "Runs to add:" in lines
    assert "Runs to add:" not in str(check(CHINCHILLA, isoflop([1e19, 1e20, 1e21], 5)))


def test_numbers_are_plain_floats_and_the_check_cannot_be_changed() -> None:
    found = check(CHINCHILLA, by_ratio(np.geomspace(6.6e6, 124e6, 8), 20.0))
    numbers = [
        found.condition,
        found.noise_level,
        *found.stderr.values(),
        *(v for run in found.suggested_runs for v in run.values()),
    ]
    assert all(type(number) is float for number in numbers)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.rows = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_the_limits_are_those_of_the_message() -> None:
    assert check.__doc__ is not None
    assert (EXPONENT_LIMIT, FLOOR_LIMIT, COLLINEAR) == (0.25, 1 / 8, 0.999)
    for words in ("above 0.25", "above an eighth", "above 0.999"):
        assert words in " ".join(check.__doc__.split())


# What it refuses.

INPUTS = isoflop([1e19, 1e20, 1e21], 5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (dict(inputs=dict(N=INPUTS["N"])), "Law chinchilla needs the input D; its inputs are N, D."),
        (dict(inputs=dict(N=INPUTS["N"], D=INPUTS["D"][1:])), "must be columns of one length, but have shapes"),
        (dict(inputs=dict(N=1e8, D=1e9)), "must be columns of one length, but have shapes"),
        (dict(inputs=dict(N=-INPUTS["N"], D=INPUTS["D"])), "Input N of chinchilla must lie between 0 and inf"),
        (dict(inputs=dict(N=INPUTS["N"] * np.nan, D=INPUTS["D"])), "Input N of chinchilla must lie between 0 and inf"),
        (dict(inputs=dict(N=[], D=[])), "Argument inputs must hold at least one row with positive weight"),
        (dict(weight=np.zeros(15)), "Argument inputs must hold at least one row with positive weight"),
        (dict(weight=np.ones(14)), "Argument weight must hold a finite number of at least 0 for each of the 15 rows."),
        (dict(weight=-np.ones(15)), "Argument weight must hold a finite number of at least 0"),
        (dict(noise_level=0.0), "Argument noise_level must be positive and finite, but is 0.0."),
        (dict(noise_level=math.nan), "Argument noise_level must be positive and finite, but is nan."),
        (dict(fixed=dict(gamma=1.0)), "Argument fixed names 'gamma', which is no parameter of chinchilla"),
        (dict(fixed=dict(Alpha=1.0)), "did you mean 'alpha'?"),
        (
            dict(fixed=dict(alpha=-1.0)),
            r"Argument fixed must keep alpha in its support \(positive\), but sets it to -1.0.",
        ),
        (dict(fixed=dict(TRUTH)), "Argument fixed must leave a parameter free, but fixes all of E, A, alpha, B, beta."),
        (dict(params=dict(E=1.0)), "Argument params must give every free parameter, but lacks A, alpha, B, beta."),
        (dict(params={**TRUTH, "C": 1.0}), "Argument params names 'C', which is no parameter of chinchilla"),
        (dict(params={**TRUTH, "A": 0.0}), r"Argument params must keep A in its support \(positive\)"),
        (dict(params=[]), "Argument params must hold at least one parameter set, but is empty."),
        (dict(params={**TRUTH, "alpha": 1e-300, "A": 1e308, "B": 1e308}), "has no finite value and slope"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any], words: str) -> None:
    arguments = {"inputs": INPUTS, **changed}
    with pytest.raises(ValueError, match=words):
        check(CHINCHILLA, arguments.pop("inputs"), **arguments)


def test_given_parameters_need_not_hold_the_fixed_ones() -> None:
    params = {name: value for name, value in TRUTH.items() if name != "E"}
    assert check(CHINCHILLA, INPUTS, params=params, fixed=dict(E=1.8)).verdict == "identified"


def test_no_more_runs_are_added_than_needed() -> None:
    found = check(CHINCHILLA, by_ratio(np.geomspace(6.6e6, 124e6, 8), 20.0))
    design = by_ratio(np.geomspace(6.6e6, 124e6, 8), 20.0)
    fewer = {
        name: np.append(values, [run[name] for run in found.suggested_runs[:-1]]) for name, values in design.items()
    }
    assert check(CHINCHILLA, fewer).verdict == "not identified"
