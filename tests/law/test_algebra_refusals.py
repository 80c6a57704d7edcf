"""Errors of the algebra of laws: one sentence that names the law and what to do."""

from typing import Any

import pytest

from jaxscale import chain, compose, fix, laws, rename, tie
from jaxscale.law import Input, LawError, Response, algebra
from tests.law_examples import bits, capacity, chinchilla, power_law, power_law_floor, ratio, shares, signed

pytestmark = pytest.mark.usefixtures("x64")

REFUSED: dict[str, tuple[Any, str]] = {
    "fix nothing": (lambda: fix(chinchilla), "fix needs at least one parameter of chinchilla: E, A, alpha, B, beta"),
    "fix unknown": (
        lambda: fix(chinchilla, Alpha=1.0),
        "fix names 'Alpha', which is no parameter of chinchilla (did you mean 'alpha'?)",
    ),
    "fix outside": (
        lambda: fix(chinchilla, A=-1.0),
        "fix of chinchilla must keep A in its support (positive), but sets it to -1.0",
    ),
    "fix all": (
        lambda: fix(power_law, a=1.0, b=1.0),
        "fix must leave a parameter of power_law free, but holds all of a, b",
    ),
    "tie nothing": (lambda: tie(chinchilla), "tie needs at least one parameter of chinchilla: E, A, alpha, B, beta"),
    "tie unknown": (lambda: tie(chinchilla, beta="gamma"), "tie names 'gamma', which is no parameter of chinchilla"),
    "tie in a row": (
        lambda: tie(chinchilla, beta="alpha", alpha="E"),
        "tie sets beta of chinchilla to alpha, which is tied itself; name another parameter",
    ),
    "tie to itself": (
        lambda: tie(chinchilla, beta="beta"),
        "tie sets beta of chinchilla to beta, which is tied itself; name another parameter",
    ),
    "tie wider": (
        lambda: tie(signed, q="a"),
        "tie sets q of signed (positive) to a, whose support (real) is wider",
    ),
    "rename unknown": (
        lambda: rename(chinchilla, betta="b"),
        "rename names 'betta', which chinchilla does not have (did you mean 'beta'?)",
    ),
    "rename taken": (
        lambda: rename(chinchilla, beta="alpha"),
        "rename uses the name 'alpha' twice in chinchilla; choose another",
    ),
    "declare a parameter": (
        lambda: rename(chinchilla, beta=Input("tokens")),
        "rename gives an input for 'beta', which is a parameter of chinchilla",
    ),
    "sum of units": (
        lambda: chinchilla + bits,
        "the responses of chinchilla (nat/token) and bits (bit/token) are in different units; convert one, or give "
        "the unit of the sum as response",
    ),
    "equal names": (
        lambda: power_law_floor + power_law,
        "power_law_floor and power_law both have a parameter 'a'; identify them with shared=['a'], or rename that "
        "of power_law (rename, or prefix)",
    ),
    "shared by one": (
        lambda: algebra.add(power_law_floor, shares, shared=["s"]),
        "shared names 's', which must be a parameter of at least two of power_law_floor and shares",
    ),
    "shared in two supports": (
        lambda: algebra.add(rename(power_law_floor, a="q", c="a"), rename(signed, q="c"), shared=["a"]),
        "a cannot be shared: it is positive in power_law_floor(c→a, a→q) and real in signed(q→c)",
    ),
    "inputs of two units": (
        lambda: algebra.add(chinchilla, laws.get("kaplan_nd"), prefix="k_"),
        "the input N is in parameters in chinchilla, but in non-embedding parameters in kaplan_nd; rename or redeclare "
        "one with rename",
    ),
    "input and parameter": (
        lambda: algebra.add(chinchilla, ratio, response=Response("nat/token")),
        "'N' is an input and a parameter of chinchilla + ratio; give one of them another name with rename",
    ),
    "compose nothing": (lambda: compose(chinchilla), "compose needs a law for at least one input of chinchilla: N, D"),
    "compose unknown": (
        lambda: compose(chinchilla, M=capacity),
        "compose names 'M', which is no input of chinchilla",
    ),
    "compose units": (
        lambda: compose(chinchilla, D=capacity),
        "precision_capacity is in parameters, but the input D of chinchilla in tokens; convert, or redeclare the input "
        "with rename",
    ),
    "chain through one of two": (
        lambda: chain(capacity, chinchilla),
        "chain needs through, the input of chinchilla to replace: N, D",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(LawError) as caught:
        make()
    assert str(caught.value) == message
