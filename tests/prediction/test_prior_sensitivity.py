"""Power-scaling against conjugate normals, whose scaled posteriors are known."""

import importlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxscale.prediction.prior_sensitivity import CONFLICT, STRONG, distance, prior_sensitivity
from jaxscale.results.draws import Draws
from jaxscale.utils.errors import NotUsableError

COUNT, SPREAD = 20_000, 1.0


def scaled(prior: tuple[float, float], data: tuple[float, int], a: float, b: float) -> tuple[float, float]:
    """Mean and standard deviation of the posterior of prior^a likelihood^b, from (mean, sd) and (mean, rows)."""
    one, other = a / prior[1] ** 2, b * data[1] / SPREAD**2
    return (one * prior[0] + other * data[0]) / (one + other), 1 / math.sqrt(one + other)


def drawn(prior: tuple[float, float], data: tuple[float, int]) -> Draws:
    mean, sd = scaled(prior, data, 1.0, 1.0)
    m = np.random.default_rng(0).normal(mean, sd, COUNT)
    log_prior = stats.norm.logpdf(m, *prior)
    log_likelihood = -0.5 * data[1] * (m - data[0]) ** 2 / SPREAD**2
    stat = {"log_prior": log_prior, "log_likelihood": log_likelihood}
    return Draws("constant", {"m": m}, "importance", ("m",), stats=stat)


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Cumulative Jensen-Shannon distance between two normals, on a fine grid."""
    low = min(one[0] - 9 * one[1], other[0] - 9 * other[1])
    high = max(one[0] + 9 * one[1], other[0] + 9 * other[1])
    x = np.linspace(low, high, 200_001)
    sides = []
    for cumulative in (stats.norm.cdf, stats.norm.sf):
        p, q = cumulative(x, *one), cumulative(x, *other)
        terms = p * np.log2(np.where(p > 0, 2 * p / (p + q), 1)) + q * np.log2(np.where(q > 0, 2 * q / (p + q), 1))
        # Beyond one standard deviation from the draws' ends the distribution function is 0 or 1 and adds nothing new.
        inside = (p > 1 / COUNT) & (p < 1 - 1 / COUNT)
        sides.append(math.sqrt(np.sum(terms[inside]) / np.sum((p + q)[inside])))
    return max(sides)


@pytest.mark.parametrize(
    "prior, data, diagnosis",
    [
        ((0.0, 0.5), (3.0, 5), CONFLICT),
        ((0.0, 100.0), (3.0, 5), ""),
        ((0.0, 0.1), (0.02, 3), STRONG),
    ],
    ids=["conflict", "weak prior", "strong prior"],
)
def test_conjugate_normals_are_diagnosed(prior: tuple[float, float], data: tuple[float, int], diagnosis: str) -> None:
    found = prior_sensitivity(drawn(prior, data))
    row = found.rows["m"]
    assert row["diagnosis"] == diagnosis
    now = scaled(prior, data, 1.0, 1.0)
    for part, powers in {"prior": lambda a: (a, 1.0), "likelihood": lambda a: (1.0, a)}.items():
        expected = np.mean([apart(now, scaled(prior, data, *powers(a))) / abs(math.log2(a)) for a in (0.8, 1.25)])
        assert row[part] == pytest.approx(expected, rel=0.15, abs=0.004)
    assert all(khat < 0.7 for khat in found.khat.values())


def test_the_distance_is_that_of_arviz() -> None:
    base: Any = importlib.import_module("arviz_stats.base.array")
    generator = np.random.default_rng(1)
    values = generator.standard_normal(500)
    lower, upper = (w / w.sum() for w in generator.uniform(0.1, 1, (2, 500)))
    expected = base.array_stats.power_scale_sense(values[None], lower[None], upper[None], 0.8, 1.25)
    found = 0.5 * (distance(values, lower) / -math.log2(0.8) + distance(values, upper) / math.log2(1.25))
    assert found == pytest.approx(float(expected), rel=1e-9)


def test_distance_lies_between_0_and_1() -> None:
    values = np.random.default_rng(2).standard_normal(1000)
    assert distance(values, np.full(1000, 1e-3)) == pytest.approx(0, abs=1e-7)
    assert distance(np.ones(10), np.arange(10) / 45) == 0
    last = np.zeros(1000)
    last[np.argmax(values)] = 1.0
    assert 0.5 < distance(values, last) <= 1
    assert distance(values, last) == pytest.approx(distance(7 - 3 * values, last), rel=1e-12)


def test_threshold_is_a_quarter_of_a_standard_deviation() -> None:
    assert apart((0.0, 1.0), (0.25, 1.0)) == pytest.approx(0.05, rel=0.1)


def test_group_effects_are_not_scaled() -> None:
    draws = drawn((0.0, 100.0), (3.0, 5))
    offset = np.random.default_rng(3).standard_normal((COUNT, 40))
    log_density = draws.stats["log_prior"] + stats.norm.logpdf(offset).sum(axis=1)
    grouped = replace(draws, nuisance={"m_offset": offset}, stats=draws.stats | {"log_prior": log_density})
    found = prior_sensitivity(grouped)
    plain = prior_sensitivity(draws).rows["m"]
    for part in ("prior", "likelihood"):
        assert found.rows["m"][part] == pytest.approx(plain[part], rel=1e-6)
    assert found.rows["m_offset[39]"]["prior"] < 0.05 and len(found.rows) == 41


def test_flat_prior_has_no_sensitivity() -> None:
    draws = drawn((0.0, 100.0), (3.0, 5))
    found = prior_sensitivity(replace(draws, stats=draws.stats | {"log_prior": np.zeros(COUNT)}))
    assert found.rows["m"]["prior"] == pytest.approx(0, abs=1e-6) and found.rows["m"]["diagnosis"] == ""


def test_table_is_80_columns_wide() -> None:
    lines = str(prior_sensitivity(drawn((0.0, 0.5), (3.0, 5)))).splitlines()
    assert lines[0].split() == ["Quantity", "prior", "likelihood", "diagnosis"]
    assert lines[2].startswith("m  ") and lines[2].endswith(CONFLICT)
    assert lines[4] == "Distance per doubling of the power; above 0.05 a quantity is sensitive."
    assert max(map(len, lines)) <= 80


def test_high_khat_is_reported() -> None:
    draws = drawn((0.0, 0.5), (3.0, 5))
    heavy = np.random.default_rng(4).standard_cauchy(COUNT) * 20
    table = str(prior_sensitivity(replace(draws, stats=draws.stats | {"log_likelihood": heavy})))
    assert "Unreliable for the likelihood: k-hat of the weights is above 0.7." in " ".join(table.split())


def test_draws_without_log_densities_raise() -> None:
    draws = drawn((0.0, 0.5), (3.0, 5))
    with pytest.raises(ValueError, match=r"^These draws \(case bootstrap\) have no log_prior among their stats, so"):
        prior_sensitivity(replace(draws, method="case bootstrap", stats={}))
    with pytest.raises(ValueError, match=r"have no log_likelihood among their stats.*; sample them with posterior\.$"):
        prior_sensitivity(replace(draws, stats={"log_prior": np.zeros(COUNT)}))
    with pytest.raises(NotUsableError, match="are not usable: "):
        prior_sensitivity(replace(draws, ok=False))
