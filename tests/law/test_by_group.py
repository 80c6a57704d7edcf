"""Laws some of whose parameters differ between groups."""

import pickle

import pytest

import jaxscale
from jaxscale import laws
from jaxscale.law import Input, LawError, Response, coefficient, law
from jaxscale.law.dimensions import dimensions, factors, fixed_units

LABELS = ("small", "2, <1/3 = B> (深圳)")
FIRST, SECOND = LABELS
GROUPED = jaxscale.by_group(laws.chinchilla, LABELS, ["alpha", "A"])
VALUES = {f"A[{FIRST}]": 1.0, f"A[{SECOND}]": 400.0, f"alpha[{FIRST}]": 0.1, f"alpha[{SECOND}]": 0.34}


def test_a_group_takes_its_own_values() -> None:
    shared = dict(E=1.7, B=410.0, beta=0.28)
    for place, label in enumerate(LABELS):
        own = {name: VALUES[f"{name}[{label}]"] for name in ("A", "alpha")}
        expected = float(laws.chinchilla(1e9, 2e10, **own, **shared))
        assert float(GROUPED(1e9, 2e10, place, **VALUES, **shared)) == pytest.approx(expected, rel=1e-6)


def test_declarations_are_kept() -> None:
    kinds, old = GROUPED.parameters, laws.chinchilla.parameters
    assert list(kinds) == ["E", *(f"{name}[{label}]" for name in ("A", "alpha") for label in LABELS), "B", "beta"]
    for name in kinds:
        kind = old[name.split("[")[0]]
        assert (kinds[name].kind, kinds[name].support, kinds[name].range) == (kind.kind, kind.support, kind.range)
    assert kinds[f"A[{SECOND}]"].powers == (("N", f"alpha[{SECOND}]"),)
    assert GROUPED.affine == ("E", f"A[{FIRST}]", f"A[{SECOND}]", "B")
    assert GROUPED.decreasing == laws.chinchilla.decreasing and GROUPED.response == laws.chinchilla.response
    assert GROUPED.inputs["group"].categories == LABELS


def test_a_shared_amplitude_is_centred_by_an_exponent_of_the_groups() -> None:
    kinds = jaxscale.by_group(laws.chinchilla, LABELS, ["alpha"]).parameters
    assert kinds["A"].powers == (("N", f"alpha[{FIRST}]"),)


def test_units_are_those_of_the_law() -> None:
    old = laws.get("exp_decay_floor")
    name, *_ = dimensions(old)
    new = jaxscale.by_group(old, LABELS, [name])
    assert dimensions(new)[f"{name}[{SECOND}]"] == dimensions(old)[name]
    assert (fixed_units(new), factors(new)) == (fixed_units(old), factors(old))


def test_it_is_found_by_name_and_pickled() -> None:
    assert laws.get(GROUPED.name) is GROUPED and pickle.loads(pickle.dumps(GROUPED)) is GROUPED
    bounded = jaxscale.by_group(jaxscale.bound(jaxscale.tie(laws.chinchilla, beta="alpha"), E=(0, 2)), LABELS, ["E"])
    assert laws.get(bounded.name) is bounded


def test_it_can_be_changed_further() -> None:
    tied = jaxscale.tie(GROUPED, beta=f"alpha[{SECOND}]")
    values = {**VALUES, "E": 1.7, "B": 410.0}
    assert float(tied(1e9, 2e10, 1, **values)) == float(GROUPED(1e9, 2e10, 1, beta=0.34, **values))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"B": 1.0}, "missing parameter of"),
        ({"E": 1.0, "B": 1.0, "beta": 0.3, "A[other]": 1.0}, "unexpected parameter of"),
    ],
)
def test_parameters_are_checked(wrong: dict[str, float], message: str) -> None:
    given = {"E": 1.0, "B": 1.0, "beta": 0.3, **VALUES} if "A[other]" in wrong else {"E": 1.0, "B": 1.0, "beta": 0.3}
    with pytest.raises(TypeError, match=message):
        GROUPED(1e9, 2e10, 1, **given | wrong)


def test_refusals() -> None:
    with pytest.raises(LawError, match="by_group names 'gamma', which is no parameter of chinchilla"):
        jaxscale.by_group(laws.chinchilla, LABELS, ["gamma"])
    with pytest.raises(LawError, match="by_group needs different labels for chinchilla, but got a, a"):
        jaxscale.by_group(laws.chinchilla, ["a", "a"], ["A"])
    with pytest.raises(LawError, match="by_group needs different labels for chinchilla, but got none"):
        jaxscale.by_group(laws.chinchilla, [], ["A"])
    declared = law(inputs={"group": Input("")}, response=Response(""), source="a test", a=coefficient())
    with pytest.raises(LawError, match="by_group adds an input 'group', but line has one of that name; rename it"):
        jaxscale.by_group(declared(line), LABELS, ["a"])


def line(group, *, a):
    """A line through zero."""
    return a * group
