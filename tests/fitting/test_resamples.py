"""Failed and interrupted bootstrap refits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale.engine import descent, runner
from jaxscale.fitting import refits
from jaxscale.resampling import schemes
from tests.lines import ROWS, WEIGHT, fitted, observed

MANY = 4000


def test_resamples_with_fewer_distinct_rows_than_parameters_are_counted_as_failed() -> None:
    three = fitted(observed(weight=np.where(np.isin(np.arange(ROWS), (3, 12, 20)), 1.0, 0.0)))
    draws = jaxscale.bootstrap(three, n_resamples=MANY, seed=2)
    assert three.observations is not None
    drawn = schemes.case_weights(three.observations.weight, None, MANY, np.random.default_rng(2))
    alone = np.sum(drawn > 0, axis=1) < 2
    # A resample of three rows is three times the same one with a chance of 1 / 9.
    assert draws.about["failed"] == alone.sum() == pytest.approx(MANY / 9, rel=0.1)
    np.testing.assert_array_equal(draws.stats["replicate"], np.flatnonzero(~alone))
    assert not draws.ok and [notice.code for notice in draws.notices] == ["resamples_failed"]
    # Without the run of three rows one row is left.
    run = np.where(np.arange(ROWS) == 15, 1, 0)
    lopsided = fitted(observed(weight=np.where(np.isin(np.arange(ROWS), (2, 5, 9, 15)), 1.0, 0.0), run=run))
    with pytest.raises(ValueError, match="Only 1 of 2 refits of line converged"):
        jaxscale.jackknife(lopsided)


def test_jackknife_left_out_indexes_observations() -> None:
    fit = fitted(observed(weight=WEIGHT))
    draws = jaxscale.jackknife(fit)
    used = np.flatnonzero(WEIGHT > 0)
    assert used[-1] > len(used) and list(draws.stats["left_out"]) == list(used)
    last = fitted(observed(weight=np.where(np.arange(ROWS) == draws.stats["left_out"][-1], 0.0, WEIGHT)))
    assert draws.params["m"][-1] == pytest.approx(last.params["m"], rel=1e-8)
    assert "index of the row among the observations" in " ".join((jaxscale.jackknife.__doc__ or "").split())


def in_parts_of(pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refits, "sizes", lambda _: replace(descent.CORE, pool=pool))
    monkeypatch.setattr(runner.Runner, "parallel_parts", 1)


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt after a number of descents."""
    descend, calls = refits.descend, []

    def once(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return descend(*arguments, **more)

    monkeypatch.setattr(refits, "descend", once)


@pytest.mark.parametrize("kind", ["case", "wild"])
def test_bootstrap_does_not_depend_on_block_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitted(observed())
    whole = jaxscale.bootstrap(fit, kind=kind, n_resamples=50)
    in_parts_of(7, monkeypatch)
    parts = jaxscale.bootstrap(fit, kind=kind, n_resamples=50)
    for name in whole.free:
        np.testing.assert_array_equal(parts.params[name], whole.params[name])
    np.testing.assert_array_equal(parts.stats["objective"], whole.stats["objective"])
    assert parts.about == whole.about and "finished" not in whole.about


def test_interruption_keeps_finished_refits(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitted(observed())
    whole = jaxscale.bootstrap(fit, n_resamples=48)
    in_parts_of(8, monkeypatch)
    interrupted(4, monkeypatch)
    interrupted_draws = jaxscale.bootstrap(fit, n_resamples=48)
    np.testing.assert_array_equal(interrupted_draws.params["m"], whole.params["m"][:32])
    assert (
        len(interrupted_draws),
        interrupted_draws.about["finished"],
        interrupted_draws.about["n_resamples"],
        interrupted_draws.about["failed"],
    ) == (32, 32, 48, 0)
    assert [(n.code, n.message) for n in interrupted_draws.notices] == [
        ("interrupted", "Resampling was interrupted; 32 of 48 refits finished.")
    ]
    assert interrupted_draws.ok and "case bootstrap, 32 of 48 refits, all converged" in str(interrupted_draws)
    monkeypatch.undo()
    table = jaxscale.bootstrap_intervals(interrupted_draws, fit, method="studentised")
    assert table["m"][0] < fit.params["m"] < table["m"][1] and table.notices == interrupted_draws.notices


def test_interruption_without_finished_refits_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitted(observed())
    in_parts_of(8, monkeypatch)
    interrupted(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        jaxscale.bootstrap(fit, n_resamples=48)
    with pytest.raises(KeyboardInterrupt):
        jaxscale.jackknife(fit)
