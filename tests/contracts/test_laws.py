"""Report of failed contracts: every check is run, and every failure is named."""

import pytest

from jaxscale import laws
from jaxscale.law import Law
from tests.contracts.law_contracts import Contracts

CHINCHILLA = laws.get("chinchilla")


def test_all_failures_of_a_law_are_raised_together() -> None:
    contracts, seen = Contracts(), []

    @contracts.add
    def has_one_input(law: Law) -> None:
        seen.append("first")
        assert len(law.inputs) == 1

    @contracts.add
    def has_inputs(law: Law) -> None:
        seen.append("second")
        assert law.inputs

    @contracts.add
    def has_an_input_x(law: Law) -> None:
        seen.append("third")
        assert law.inputs["x"]

    with pytest.raises(ExceptionGroup, match="^law chinchilla breaks 2 of its contracts") as caught:
        contracts.assert_all(CHINCHILLA)
    assert seen == ["first", "second", "third"]
    assert [type(error) for error in caught.value.exceptions] == [AssertionError, KeyError]
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["contract of chinchilla: has_one_input"],
        ["contract of chinchilla: has_an_input_x"],
    ]


def test_a_law_that_keeps_its_contracts_passes() -> None:
    contracts = Contracts()
    contracts.add(lambda law: None)
    contracts.assert_all(CHINCHILLA)
