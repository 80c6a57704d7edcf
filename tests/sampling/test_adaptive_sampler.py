"""Which rung of the ladder a posterior ends on."""

import numpy as np
import pytest

from jaxscale.results.intervals import Intervals
from jaxscale.sampling.adaptive_sampler import Ladder, climbed
from jaxscale.sampling.sampler_result import Sampled


def sampled(rung: str, khat: float, share: float, rhat: float, count: int = 3) -> Sampled:
    every = lambda value: np.full(count, value)  # noqa: E731
    stats = {name: np.full((count, 8), 1.0 if rung == "nuts" else 0.0) for name in ("energy", "diverging", "steps")}
    x = np.full((count, 8, 2), 1.0 if rung == "nuts" else 0.0)
    methods = np.full(count, rung, dtype=object)
    return Sampled(x, methods, every(khat), every(100 * share), every(share), 2, stats, every(rhat), every(1))


class Faked(Ladder):
    """A ladder whose rungs end as they are told to."""

    def __init__(self, khat: list[float], effective: list[float], rhat: list[float]) -> None:
        self.count = 3
        self.khat, self.effective, self.rhat = map(np.asarray, (khat, effective, rhat))

    def importance(self, count: int, draws: int, rounds: int = 1) -> Sampled:
        found = sampled("importance", 0.0, 0.0, np.nan)
        found.khat, found.share = self.khat, self.effective
        return found

    def nuts(self, members: np.ndarray, chains: int, draws: int, warmup: int) -> Sampled:
        found = sampled("nuts", np.nan, np.nan, 1.0, len(members))
        found.rhat = self.rhat[members]
        return found


@pytest.mark.parametrize(
    ("khat", "effective", "rhat", "rung"),
    [
        (0.3, 0.5, 1.0, "importance"),
        (0.3, 0.15, 1.0, "nuts"),
        (0.8, 0.5, 1.0, "nuts"),
        (0.3, 0.15, 1.03, "nuts"),
        # Chains that are far from mixing are no better than uneven weights that can be trusted; but than others.
        (0.3, 0.15, 1.2, "importance"),
        (0.3, 0.15, np.nan, "importance"),
        (0.3, 0.05, 1.2, "nuts"),
        (0.8, 0.15, 1.2, "nuts"),
    ],
)
def test_the_rung_that_is_taken(khat: float, effective: float, rhat: float, rung: str) -> None:
    # The others beside it: one that importance sampling serves, one that only NUTS does.
    ladder = Faked([khat, 0.1, 0.9], [effective, 0.6, 0.6], [rhat, 1.0, 1.0])
    found = climbed(ladder, "auto", 2, 4, 250)
    assert found.rung.tolist() == [rung, "importance", "nuts"]
    ends = [1.0 if one == "nuts" else 0.0 for one in found.rung]
    assert found.x[:, 0, 0].tolist() == ends and found.stats["steps"][:, 0].tolist() == ends


def test_all_of_them_may_stay() -> None:
    ladder = Faked([0.3, 0.2, 0.1], [0.15, 0.12, 0.11], [1.3, 1.2, 1.1])
    found = climbed(ladder, "auto", 2, 4, 250)
    assert found.rung.tolist() == ["importance"] * 3 and (found.x == 0).all()


@pytest.mark.parametrize(
    ("khat", "share", "reason"),
    [
        (0.31, 0.14, "14% of its draws were effective, fewer than 20%"),
        (0.82, 0.4, "k-hat 0.82 is not below 0.7"),
    ],
)
def test_the_reason_for_nuts_is_the_criterion_that_failed(khat: float, share: float, reason: str) -> None:
    found = climbed(Faked([khat, 0.1, 0.1], [share, 0.6, 0.6], [1.0] * 3), "auto", 2, 4, 250)
    about = found.about(0) | {"chains": 2, "draws": 8}
    assert about["fallback"] == reason and "fallback" not in found.about(1)
    shown = str(Intervals("chinchilla", "nuts", 0.9, {}, about))
    assert f"importance sampling was not trusted: {reason}" in " ".join(shown.split())
