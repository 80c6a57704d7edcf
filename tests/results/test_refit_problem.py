"""Refit problem of a fit read from a file, and the check of its observations."""

import json
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import laws
from jaxscale.data.observations import Observations
from jaxscale.results.provenance import fingerprint
from jaxscale.results.refit_problem import is_of
from tests.lines import ROWS, X, fitted, line, observed

Y = 1.0 + 0.5 * X + 0.1 * np.random.default_rng(0).standard_normal(ROWS)
TABLE = {
    "x": X,
    "y": Y,
    "other": Y + 1.0,
    "part": np.arange(ROWS) % 2,
    "w": 1.0 + np.arange(ROWS),
    "k": np.arange(ROWS) // 3,
}
OTHERS: list[dict[str, Any]] = [
    dict(response="other"),
    dict(where="part == 1"),
    dict(weight="w"),
    dict(run="k"),
    dict(inputs={"x": "w"}),
]


def read(table: dict[str, np.ndarray] = TABLE, **changes: Any) -> Observations:
    return Observations.from_table(table, **{"inputs": {"x": "x"}, "response": "y", "where": "part == 0"} | changes)


@pytest.fixture(scope="module")
def kept() -> str:
    return fitted(read()).to_json()


@pytest.mark.parametrize("changes", OTHERS)
def test_other_rows_of_the_same_table_raise(kept: str, changes: dict[str, Any]) -> None:
    again = jaxscale.Fit.from_json(kept, line)
    with pytest.raises(ValueError, match="must be those of the fit, but has other data or other rows"):
        again.influence("m", read(**changes))


def test_same_rows_of_a_longer_table_are_accepted(kept: str) -> None:
    again = jaxscale.Fit.from_json(kept, line)
    assert again == fitted(read()) and again.to_json() == kept
    longer = TABLE | {"more": np.arange(ROWS)}
    np.testing.assert_array_equal(again.influence("m", read(longer)), again.influence("m", read()))
    assert read(longer).sha256 != again.provenance.data_sha256
    assert is_of(again, read(group="k"))


def test_a_file_of_an_older_version_is_read_and_compared_by_table_rows_and_columns(kept: str) -> None:
    entries = json.loads(kept)
    del entries["used_sha256"]
    older = jaxscale.Fit.from_json(json.dumps(entries), line)
    assert older.provenance.used_sha256 == "" and is_of(older, read())
    assert not is_of(older, read(response="other")) and not is_of(older, observed())


def test_fingerprint_covers_a_schedule_as_read() -> None:
    law = laws.get("lr_annealing")
    rates = {"flat": np.full(50, 3e-4), "falling": np.linspace(3e-4, 1e-4, 50)}
    table = {
        "step": np.tile(np.arange(10, 50, 8), 2),
        "schedule": np.repeat(["flat", "falling"], 5),
        "loss": np.ones(10),
    }

    def along(rates: dict[str, np.ndarray]) -> Observations:
        return Observations.from_table(table, inputs=["step", "schedule"], response="loss", series=dict(schedule=rates))

    own = fingerprint(law, along(rates))
    assert fingerprint(law, jaxscale.prepare(law, along(rates))) == own
    assert fingerprint(law, along(dict(reversed(rates.items())))) == own
    assert fingerprint(law, along(rates | {"falling": np.linspace(3e-4, 2e-4, 50)})) != own
