"""Results of selected fits, posteriors and forecasts are equal to the recorded ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reference_results import CASES, differences

RECORDED = json.loads(Path(__file__).with_name("reference_results.json").read_text())
QUICK = [name for name, case in CASES.items() if case.quick]


def numbers(record: Any) -> Any:
    """A record without texts, whose wording may change."""
    if isinstance(record, dict):
        return {key: numbers(value) for key, value in record.items() if key != "text"}
    return record


@pytest.mark.parametrize("name", QUICK)
def test_results_are_those_recorded(name: str) -> None:
    """With a tolerance of 1e-6, since bits differ between processors."""
    found = json.loads(json.dumps(CASES[name].run()))
    assert differences(numbers(RECORDED[name]), numbers(found)) < 1e-6


def test_every_quick_case_is_recorded() -> None:
    assert sorted(RECORDED) == sorted(QUICK)


def test_comparison_detects_any_difference() -> None:
    record: Any = {"a": [1.0, 2.0], "b": {"c": float("nan")}, "d": "text"}
    assert differences(record, json.loads(json.dumps(record))) == 0
    assert differences(record, record | {"a": [1.0, 2.5]}) == pytest.approx(0.2)
    for other in (record | {"d": "other"}, record | {"a": [1.0]}, {"a": [1.0, 2.0]}, record | {"b": {"c": 0.0}}):
        assert not differences(record, other) < 1e-6
