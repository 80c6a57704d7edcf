"""Schedule laws on published curves: errors of the published constants, and fits at least as good."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import Observations, laws, noise, prepare
from tests.rates import at, constant, cosine, decayed, two_stage

pytestmark = pytest.mark.usefixtures("x64", "optimised")
multi_power, annealing = laws.get("multi_power"), laws.get("lr_annealing")
REAL = ("cosine_24000", "constant_24000", "wsdcon_9")


def published_schedule(name: str) -> np.ndarray:
    """The schedules of the published curves; the rates in the table are these."""
    kind, *_, last = name.split("_")
    if kind == "wsdcon":
        return two_stage(16000, int(last) * 1e-5)
    makers = dict(cosine=cosine, constant=constant, wsd=lambda n: decayed(n, True), wsdld=lambda n: decayed(n, False))
    return makers[kind](int(last))


def published_curves(data: Path, where: str, names: Any, **settings: Any) -> Observations:
    return Observations.from_table(
        data / "lr_schedule_curves.csv",
        inputs=dict(step="step", schedule="schedule"),
        response="loss",
        where=where,
        series=dict(schedule={name: published_schedule(name) for name in names}),
        **settings,
    )


TESTED = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdcon_18", "wsdcon_3", "wsdld_20000_24000")
SIZES = [("25M", 0.003760, 2.912e-4), ("100M", 0.004348, 2.810e-4)]


@pytest.mark.parametrize(("size", "error", "objective"), SIZES)
def test_published_constants_on_the_published_curves(data: Path, size: str, error: float, objective: float) -> None:
    params = multi_power.published[f"luo2025_{size.lower()}"]
    mean = []
    for name in TESTED:
        rows = prepare(multi_power, published_curves(data, f"model_size == '{size}' and schedule == '{name}'", TESTED))
        mean.append(np.abs(at(multi_power, rows.inputs, params) - rows.response).mean())
    assert np.mean(mean) == pytest.approx(error, abs=5e-7)
    rows = prepare(multi_power, published_curves(data, f"model_size == '{size}' and split == 'fit'", REAL))
    r = np.abs(np.log(at(multi_power, rows.inputs, params)) - np.log(rows.response))
    huber = np.sum(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 1e-3 / 2)))
    assert huber == pytest.approx(objective, rel=5e-4)


@pytest.mark.parametrize(("size", "error", "objective"), SIZES)
def test_fits_of_the_published_curves(data: Path, size: str, error: float, objective: float) -> None:
    rows = published_curves(data, f"model_size == '{size}' and split == 'fit'", REAL)
    robust = noise.huber(1e-3)
    fit = jaxscale.fit(multi_power, rows, noise=robust, starts=512, polish=16, n_resamples=0, allow_unidentified=True)
    assert fit.objective <= objective * (1 - 1e-6)
    assert fit.status == "converged"
    sums = jaxscale.fit(annealing, rows, noise=robust, starts=256, polish=16, n_resamples=0)
    assert fit.objective <= sums.objective <= objective
    assert sums.design is not None and sums.design.verdict == "identified"
