"""Resamples that cannot be refitted, and those that an interruption leaves."""

import numpy as np
import pytest

import jaxscale
from jaxscale.uncertainty import schemes
from tests.lines import ROWS, WEIGHT, fitted, observed

MANY = 4000


def test_resamples_with_fewer_distinct_rows_than_parameters_are_counted_as_failed() -> None:
    three = fitted(observed(weight=np.where(np.isin(np.arange(ROWS), (3, 12, 20)), 1.0, 0.0)))
    draws = jaxscale.bootstrap(three, replicates=MANY, key=2)
    assert three.observations is not None
    drawn = schemes.resampled(three.observations.weight, None, MANY, np.random.default_rng(2))
    alone = np.sum(drawn > 0, axis=1) < 2
    # A resample of three rows is three times the same one with a chance of 1 / 9.
    assert draws.about["failed"] == alone.sum() == pytest.approx(MANY / 9, rel=0.1)
    np.testing.assert_array_equal(draws.stats["replicate"], np.flatnonzero(~alone))
    assert not draws.usable and [notice.code for notice in draws.notices] == ["resamples_failed"]
    # Without the run of three rows one row is left.
    run = np.where(np.arange(ROWS) == 15, 1, 0)
    lopsided = fitted(observed(weight=np.where(np.isin(np.arange(ROWS), (2, 5, 9, 15)), 1.0, 0.0), run=run))
    with pytest.raises(ValueError, match="Only 1 of 2 refits of line settled"):
        jaxscale.jackknife(lopsided)


def test_what_the_jackknife_left_out_is_a_row_of_the_observations() -> None:
    fit = fitted(observed(weight=WEIGHT))
    draws = jaxscale.jackknife(fit)
    used = np.flatnonzero(WEIGHT > 0)
    assert used[-1] > len(used) and list(draws.stats["left_out"]) == list(used)
    last = fitted(observed(weight=np.where(np.arange(ROWS) == draws.stats["left_out"][-1], 0.0, WEIGHT)))
    assert draws.params["m"][-1] == pytest.approx(last.params["m"], rel=1e-8)
    assert "place among the observations" in " ".join((jaxscale.jackknife.__doc__ or "").split())
