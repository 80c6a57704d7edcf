# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false
"""The calibration benchmark: coverage counts, designs, quick run."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

import jaxscale
from benchmarks import calibration, calibration_coverage, calibration_reality, calibration_sbc, calibration_sweeps
from jaxscale import Observations, laws, likelihoods
from jaxscale.data.readers import read_table
from jaxscale.sampling.calibration_region import RUNS, RUNS_PER_PARAMETER, limitation, rank_correlation, variant_of
from jaxscale.utils.notices import Notice


def test_holm_correction_stops_at_the_first_non_rejection():
    """Holm's thresholds are level / n, level / (n - 1), ...; after the first non-rejection none is rejected."""
    assert calibration_coverage.holm([0.01, 0.04, 0.03, 0.5]).tolist() == [True, False, False, False]
    assert calibration_coverage.holm([0.001, 0.01, 0.02, 0.5]).tolist() == [True, True, True, False]


def test_a_share_inside_the_band_has_p_one_and_others_are_tested_against_the_nearer_edge():
    """88 to 92 of 100 are inside; fewer are a binomial test of 88 %."""
    assert calibration_coverage.p_value(88, 100) == calibration_coverage.p_value(92, 100) == 1.0
    assert calibration_coverage.p_value(80, 100) == stats.binomtest(80, 100, 0.88).pvalue
    assert calibration_coverage.p_value(99, 100) == stats.binomtest(99, 100, 0.92).pvalue


def test_intervals_are_counted_on_both_sides():
    """An undefined interval covers nothing."""
    cell = calibration_coverage.count_covered(np.array([0.0, 2.0, -2.0, np.nan]), np.array([2.0, 3.0, 0.0, 1.0]), 1.0)
    assert (cell["count"], cell["hits"], cell["too high"], cell["too low"]) == (4, 1, 1, 1)
    assert cell["width"] == 2.0


@pytest.mark.parametrize("design", list(calibration_sweeps.DESIGNS))
def test_sweeps_are_the_same_for_a_seed_and_lie_in_the_law_s_domain(design):
    """Every law of the coverage study can be drawn in every design."""
    for case in calibration_sweeps.CASES:
        law, shape = laws.get(case.law), calibration_sweeps.DESIGNS[design]
        columns, response, run, sets = calibration_sweeps.sweeps(case, law, shape, 2, seed=1)
        again = calibration_sweeps.sweeps(case, law, shape, 2, seed=1)[1]
        assert np.array_equal(response, again) and np.all(np.isfinite(response))
        assert response.shape == (2, shape.runs * shape.checkpoints) and len(sets) == 2
        assert (run is not None) == (shape.checkpoints > 1)
        for name, column in columns.items():
            assert np.all((column >= law.inputs[name].low) & (column <= law.inputs[name].high))


def test_every_sbc_case_has_a_prior_for_all_that_is_inferred():
    """Truths and data come from the priors; data sets are finite and in the response's domain."""
    for case in calibration_sbc.CASES:
        law = laws.get(case.law)
        truth, sets = calibration_sbc.simulate(case, law, 3, seed=0)
        assert set(law.parameters) <= set(truth)
        assert all(np.all(np.isfinite(one.response)) for one in sets)


def test_uniform_ranks_pass_and_concentrated_ones_fail():
    """A chi-square over 16 bins of 64 possible ranks."""
    assert calibration_sbc.p_value(np.full(64, 10)) == 1.0
    assert calibration_sbc.p_value(np.where(np.arange(64) < 32, 20, 1)) < 1e-9


def test_sbc_of_a_straight_law_passes(tmp_path):
    """64 posteriors of a power law: no quantity's ranks are far from uniform."""
    calibration_sbc.run(tmp_path, only="transfer_tokens", sets=64, say=lambda _: None)
    sets = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert set(sets["ranks"]) == {"k", "alpha", "beta", "scale", "log likelihood"}
    assert all(sum(counts) == 64 for counts in sets["ranks"].values())
    assert min(calibration_sbc.p_value(np.array(counts)) for counts in sets["ranks"].values()) > 1e-4
    assert "transfer_tokens" in calibration_sbc.summary(tmp_path)


def test_ignoring_clusters_reduces_coverage(tmp_path):
    """Cluster-robust Wald intervals cover the truth far more often; existing results are not overwritten."""
    settings: dict[str, Any] = dict(only="compute_power_floor", groups=(("12 runs x 8",),), sets=48, say=lambda _: None)
    calibration_coverage.run(tmp_path, chosen=("Wald", "Wald, by runs"), **settings)
    cells = calibration_coverage.gather(tmp_path)
    naive, by_runs = (
        np.mean([cell["hits"] / cell["count"] for key, cell in cells.items() if key[3] == method])
        for method in ("Wald", "Wald, by runs")
    )
    assert naive < 0.7 < 0.8 < by_runs
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    calibration_coverage.run(tmp_path, chosen=("Wald", "Wald, by runs"), **settings)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert "| Wald, by runs" in calibration_coverage.summary(cells)


def test_posterior_intervals_are_counted_for_every_quantity(tmp_path):
    """The parameters, and two extrapolated predictions."""
    settings: dict[str, Any] = dict(only="compute_power_floor", groups=(("12 runs",),), sets=8, say=lambda _: None)
    calibration_coverage.run(tmp_path, chosen=("posterior, normal",), **settings)
    cells = calibration_coverage.gather(tmp_path)
    assert {key[2] for key in cells} == {"E", "A", "alpha", "value near", "value far"}
    assert all(cell["count"] == 8 and cell["hits"] >= 4 for cell in cells.values())


def test_the_largest_third_is_held_out_and_runs_stay_whole():
    """Held out by size; runs are not split."""
    rows = read_table(
        {
            "params": [1.0, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6],
            "loss": [2.0] * 12,
            "run": ["a", "b", "c", "d", "e", "f"] * 2,
        }
    )
    size = np.array(rows.column("params"), float)
    arguments: Any = (rows, np.ones(12, bool), {"X": "params"}, "loss", size)
    plain = calibration_reality._sweep("made", "all", "compute_power_floor", *arguments)
    assert plain.held.sum() == 4 and size[plain.held].min() >= 5
    whole = calibration_reality._sweep("made", "all", "compute_power_floor", *arguments, run="run")
    assert whole.run is not None
    assert set(whole.run[whole.held]) == {4, 5} and whole.held.sum() == 4


def test_the_best_row_of_each_cell_is_kept():
    """The smallest response of every combination."""
    rows = read_table({"N": [1.0, 1, 2, 2], "loss": [3.0, 2, 1, 4]})
    assert calibration_reality._best(rows, np.ones(4, bool), "loss", "N").tolist() == [False, True, True, False]


def test_wald_predictions_of_a_line_agree_with_theory():
    """``t sqrt(s^2 + g' V g)`` in logs, for a power law: the prediction interval of a straight line."""

    generator = np.random.default_rng(3)
    C = np.geomspace(1e15, 1e19, 15)
    y = 5.0 * C**-0.05 * np.exp(0.02 * generator.standard_normal(15))
    held = np.arange(15) >= 10
    sweep = calibration_reality.Sweep("made", "all", "clip_pareto", {"C": C}, y, held)
    line: Any = stats.linregress(np.log(C[~held]), np.log(y[~held]))
    places = {"beta": [np.exp(line.intercept)], "alpha": [line.slope]}
    ends = calibration_reality.by_curvature(laws.get("clip_pareto"), [sweep], places, False)[0]
    x, new = np.log(C[~held]), np.log(C[held])
    s = np.sqrt(np.sum((np.log(y[~held]) - line.intercept - line.slope * x) ** 2) / 8)
    leverage = 1 / 10 + (new - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
    half = stats.t.ppf(0.95, 8) * s * np.sqrt(1 + leverage)
    np.testing.assert_allclose(np.log(ends), line.intercept + line.slope * new + np.stack([-half, half]), rtol=1e-6)
    score = calibration_reality.score(sweep, ends)
    assert score["count"] == 5 and score["hits"] + score["above"] + score["below"] == 5


def test_the_command_knows_its_three_parts():
    """Other arguments raise an error."""
    assert calibration.parse_options(["sbc", "--fast"]).fast
    with pytest.raises(SystemExit) as ending:
        calibration.parse_options(["nothing"])
    assert ending.value.code == 2


FEW = int(RUNS_PER_PARAMETER * 5) - 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (dict(rows=FEW + 1), ""),
        (dict(rows=240, likelihood=likelihoods.student_t(), method="nuts"), ""),
        (dict(rows=8 * RUNS, runs=RUNS, checkpoints=8.0), ""),
        (dict(rows=FEW), f"There are {FEW} runs for 5 inferred parameters of chinchilla"),
        (dict(rows=240, efficiency=0.3), ""),
        (dict(rows=240, efficiency=0.08), "The effective sample size is 8% of the proposal's draws"),
        (dict(rows=240, efficiency=0.08, method="nuts"), ""),
        (dict(rows=240, method="laplace"), "Intervals by laplace were not studied."),
        (
            dict(rows=240, likelihood=likelihoods.laplace()),
            "Intervals of a laplace likelihood were not studied.",
        ),
        (dict(rows=96, runs=RUNS, checkpoints=8.0, likelihood=likelihoods.student_t()), ""),
        (dict(rows=96, pooled=True), "Pooled groups: intervals of these were not studied."),
        (dict(rows=240, uneven=(0.6, 0.01)), ""),
        (
            dict(rows=240, uneven=(0.62, 1e-5)),
            "The residuals are heteroscedastic: larger where the level is high (rank correlation 0.62)",
        ),
        (dict(rows=240, uneven=(-0.5, 1e-5)), "The residuals are heteroscedastic: smaller where the level is high"),
        (dict(rows=80, runs=RUNS - 1, checkpoints=8.0), f"There are {RUNS - 1} runs with several rows each"),
    ],
)
def test_posterior_outside_the_calibrated_designs_is_reported(facts, message):
    """Inside them there is no message; outside it becomes a notice."""
    whole: dict[str, Any] = dict(law="chinchilla", free=5, likelihood=likelihoods.normal(), method="importance") | facts
    reason = limitation(**whole)
    assert reason.startswith(message) and bool(reason) == bool(message)
    assert Notice("not_calibrated", reason).code == "not_calibrated"


def test_likelihood_without_calibration_is_named():
    """Scales by level or group of normal residuals were studied, without run effects."""
    kinds = likelihoods
    assert variant_of(kinds.normal()) == variant_of(kinds.student_t(runs=True)) == ""
    assert variant_of(kinds.normal(scale_by="group")) == variant_of(kinds.normal(scale_by="level")) == ""
    assert variant_of(kinds.student_t(scale_by="level")) == "A scale by level"
    assert variant_of(kinds.normal(scale_by="group", runs=True)) == "A scale by group and run effects"
    assert variant_of(kinds.normal(censored="cut")) == "Censored responses"


def test_heteroscedasticity_is_a_rank_correlation():
    """Rank correlation of absolute residuals; undefined for few, constant or NaN residuals."""
    level = np.arange(1.0, 21.0)
    assert rank_correlation(level * np.where(np.arange(20) % 2, 1.0, -1.0), level) == (1.0, 0.0)
    assert rank_correlation(1 / level, level)[0] == -1.0
    assert rank_correlation(np.append(level, np.nan), np.append(level, 1.0))[0] == 1.0
    assert rank_correlation(level[:7], level[:7]) == (0.0, 1.0) == rank_correlation(np.ones(20), level)


def test_rank_correlation_agrees_with_scipy():
    """With many, few and no ties, for trends of any strength."""
    for count, steps, slope in itertools.product((8, 9, 40, 240, 2000), (3, 1000, 10**9), (0.0, 0.1, -1.0, 30.0)):
        generator = np.random.default_rng(count)
        level = generator.standard_normal(count)
        residual = np.round(np.exp(slope * level) * generator.standard_normal(count) * steps) / steps
        residual[0] += 1
        expected = stats.spearmanr(np.abs(residual), level)
        assert rank_correlation(residual, level) == pytest.approx(
            (expected.statistic, expected.pvalue), rel=1e-12, abs=0
        )


@pytest.mark.parametrize("scale_by", ["constant", "level"])
def test_noise_that_grows_with_the_level_is_reported(scale_by):
    """By a notice of a posterior with a constant scale, with its remedy."""
    generator = np.random.default_rng(0)
    x = np.geomspace(1.0, 1e4, 60)
    level = 0.1 + 0.8 * x / (100.0 + x)
    columns = dict(x=x, y=level + 0.02 * level**2 * generator.standard_normal(60))
    sweep = Observations.from_table(columns, inputs=["x"], response="y")
    likelihood = likelihoods.normal("linear", scale_by=scale_by)
    drawn = jaxscale.posterior(
        "hill", sweep, likelihood=likelihood, method="importance", num_samples=100, progress=False
    )
    reason = [notice.message for notice in drawn.notices if notice.code == "not_calibrated"]
    assert any("use scale_by='level'" in one for one in reason) == (scale_by == "constant")
