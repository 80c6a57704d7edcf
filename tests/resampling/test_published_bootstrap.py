"""The published bootstrap of the Chinchilla replication: 4,000 resamples of its 240 rows."""

from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from jaxscale.data.observations import Observations

PUBLISHED = dict(A=124.52, B=1293.28, E=0.02566, alpha=0.01540, beta=0.02060)
SHARE = {"a": lambda p: p["beta"] / (p["alpha"] + p["beta"])}


@pytest.fixture(scope="module")
def fit(data: Path) -> jaxscale.Fit:
    observations = Observations.from_table(
        data / "chinchilla_epoch.csv",
        inputs=dict(N="params", D="tokens"),
        response="loss",
        where="in_published_fit == 1",
    )
    return jaxscale.fit("chinchilla", observations, noise=noise.huber(1e-3), n_resamples=0)


def test_the_published_resamples_have_the_published_standard_errors(fit) -> None:
    # The published resamples are those of NumPy's old generator with seed 42; each was refitted from the constants of
    # Hoffmann et al., which reaches the same optimum.
    old = np.random.RandomState(42)
    counts = np.stack([np.bincount(old.choice(240, size=240), minlength=240) for _ in range(4000)])
    fits = jaxscale.fit_many("chinchilla", fit.observations, noise=noise.huber(1e-3), weight=counts)
    assert fits.ok.all()
    for name, value in PUBLISHED.items():
        assert np.std(fits.params[name], ddof=1) == pytest.approx(value, rel=5e-4), name
    low, high = np.quantile(SHARE["a"](fits.params), [0.1, 0.9])
    assert high - low == pytest.approx(0.0514, abs=5e-5)


def test_other_resamples_agree_within_their_own_error(fit) -> None:
    draws = jaxscale.bootstrap(fit, n_resamples=4000)
    assert draws.about["failed"] == 0
    # Over 25 keys: alpha -2.2 +- 1.1 %, beta -1.6 +- 1.5 %, E -1.1 +- 1.3 %, A -3.1 +- 1.2 %, B 4.5 +- 5.4 % from
    # the published ones, which are one such draw themselves; the width is 0.0496 +- 0.0006.
    for name, share in dict(alpha=0.05, beta=0.05, E=0.05, A=0.08, B=0.2).items():
        assert np.std(draws.params[name], ddof=1) == pytest.approx(PUBLISHED[name], rel=share), name
    low, high = jaxscale.bootstrap_intervals(draws, fit, level=0.8, quantity=SHARE)["a"]
    assert high - low == pytest.approx(0.0496, abs=0.002)
