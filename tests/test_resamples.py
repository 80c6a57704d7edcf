"""Resamples that cannot be refitted, and those that an interruption leaves."""

import numpy as np
import pytest

import jaxscale
from jaxscale.uncertainty import schemes
from tests.lines import ROWS, fitted, observed

MANY = 4000


def test_resamples_with_fewer_distinct_rows_than_parameters_are_counted_as_failed() -> None:
    three = fitted(observed(weight=np.where(np.isin(np.arange(ROWS), (3, 12, 20)), 1.0, 0.0)))
    draws = jaxscale.bootstrap(three, replicates=MANY, key=2)
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
