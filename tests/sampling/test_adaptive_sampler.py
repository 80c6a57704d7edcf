"""Choice between importance sampling and NUTS."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxscale.engine.runner import Runner
from jaxscale.results.intervals import Intervals
from jaxscale.sampling import adaptive_sampler
from jaxscale.sampling.adaptive_sampler import ImportanceSettings, NutsSettings, adaptive_sample
from jaxscale.sampling.densities import Densities
from jaxscale.sampling.log_density import Density
from jaxscale.sampling.modes import Mode
from jaxscale.sampling.sampler_result import SamplerResult

# Three posteriors without densities.
EMPTY = Densities(
    Runner(),
    Density(lambda x, _: -0.5 * (x @ x), None),
    Mode(np.zeros((3, 1, 2)), np.zeros((3, 1)), np.zeros((3, 1, 2, 2)), np.zeros((3, 1))),
    np.zeros((3, 1)),
    np.random.default_rng(0),
)


def sampled(method: str, khat: float, share: float, rhat: float, count: int = 3) -> SamplerResult:
    every = lambda value: np.full(count, value)  # noqa: E731
    stats = {name: np.full((count, 8), 1.0 if method == "nuts" else 0.0) for name in ("energy", "diverging", "steps")}
    x = np.full((count, 8, 2), 1.0 if method == "nuts" else 0.0)
    methods = np.full(count, method, dtype=object)
    return SamplerResult(x, methods, every(khat), every(100 * share), every(share), 2, stats, every(rhat), every(1))


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SamplerResult]:
    """The adaptive sampler on three posteriors, with given results of importance sampling and NUTS."""

    def run(khat: list[float], share: list[float], rhat: list[float]) -> SamplerResult:
        def importance_sample(*_: Any) -> SamplerResult:
            return replace(sampled("importance", 0.0, 0.0, np.nan), khat=np.asarray(khat), share=np.asarray(share))

        def nuts_sample(densities: Any, members: np.ndarray, settings: Any) -> SamplerResult:
            return replace(sampled("nuts", np.nan, np.nan, 1.0, len(members)), rhat=np.asarray(rhat)[members])

        monkeypatch.setattr(adaptive_sampler, "importance_sample", importance_sample)
        monkeypatch.setattr(adaptive_sampler, "nuts_sample", nuts_sample)
        return adaptive_sample(EMPTY, "auto", NutsSettings(2, 4, 250))

    return run


@pytest.mark.parametrize(
    ("khat", "effective", "rhat", "method"),
    [
        (0.3, 0.5, 1.0, "importance"),
        (0.3, 0.15, 1.0, "nuts"),
        (0.8, 0.5, 1.0, "nuts"),
        (0.3, 0.15, 1.03, "nuts"),
        # Chains that have not mixed replace unreliable weights, but not uneven weights with a good k-hat.
        (0.3, 0.15, 1.2, "importance"),
        (0.3, 0.15, np.nan, "importance"),
        (0.3, 0.05, 1.2, "nuts"),
        (0.8, 0.15, 1.2, "nuts"),
    ],
)
def test_falls_back_to_nuts_when_weights_are_poor(
    auto: Callable[..., SamplerResult], khat: float, effective: float, rhat: float, method: str
) -> None:
    # The other posteriors: one for importance sampling, one for NUTS.
    found = auto([khat, 0.1, 0.9], [effective, 0.6, 0.6], [rhat, 1.0, 1.0])
    assert found.method.tolist() == [method, "importance", "nuts"]
    ends = [1.0 if one == "nuts" else 0.0 for one in found.method]
    assert found.x[:, 0, 0].tolist() == ends and found.stats["steps"][:, 0].tolist() == ends


def test_keeps_importance_sampling_where_chains_do_not_mix(auto: Callable[..., SamplerResult]) -> None:
    found = auto([0.3, 0.2, 0.1], [0.15, 0.12, 0.11], [1.3, 1.2, 1.1])
    assert found.method.tolist() == ["importance"] * 3 and (found.x == 0).all()


@pytest.mark.parametrize(
    ("khat", "share", "reason"),
    [
        (0.31, 0.14, "relative effective sample size 14% is below 20%"),
        (0.82, 0.4, "k-hat 0.82 is not below 0.7"),
    ],
)
def test_the_reason_for_nuts_is_the_criterion_that_failed(
    auto: Callable[..., SamplerResult], khat: float, share: float, reason: str
) -> None:
    found = auto([khat, 0.1, 0.1], [share, 0.6, 0.6], [1.0] * 3)
    about = found.about(0) | {"chains": 2, "draws": 8}
    assert about["fallback"] == reason and "fallback" not in found.about(1)
    shown = str(Intervals("chinchilla", "nuts", 0.9, {}, about))
    assert f"fallback from importance sampling: {reason}" in " ".join(shown.split())


def test_settings_give_the_numbers_of_draws() -> None:
    nuts = NutsSettings(chains=4, draws=600, warmup=300)
    assert (nuts.total, nuts.blocks, nuts.warmup_blocks) == (2400, 3, 2)
    assert (ImportanceSettings(100).proposals, ImportanceSettings(4000).proposals) == (8192, 16000)
