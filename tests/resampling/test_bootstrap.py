"""Bootstrap, jackknife and Laplace draws against closed forms for a line."""

from typing import Any

import jax
import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from jaxscale.engine import descent, linearize, newton
from jaxscale.fitting import refits
from jaxscale.fitting.standard_errors import robust_covariance
from jaxscale.noise.student_t_fit import LARGEST_DF, student_t_fit
from jaxscale.resampling import bootstrap, schemes
from jaxscale.resampling.jackknife import jackknife_stderr
from jaxscale.results.draws import Draws
from jaxscale.results.refit_problem import RefitProblem, refit_problem
from tests import sweeps
from tests.lines import ROWS, RUN, WEIGHT, X, columns_of, fitted, least_squares, observed

MANY = 4000
# The variance of 4,000 normal draws has a relative error of 2.2 %.
VARIANCE = 0.09


@pytest.fixture(scope="module")
def plain() -> jaxscale.Fit:
    return fitted(observed())


@pytest.fixture(scope="module")
def weighted() -> jaxscale.Fit:
    return fitted(observed(weight=WEIGHT))


@pytest.fixture(scope="module")
def by_run() -> jaxscale.Fit:
    return fitted(observed(run=RUN, group=RUN // 2))


def parts(fit: jaxscale.Fit) -> tuple[RefitProblem, Any]:
    again = refit_problem(fit)
    return again, jax.tree.map(np.asarray, linearize.linearise(again.problem, again.z, again.wide.response))


def table(draws: Draws) -> np.ndarray:
    return np.stack([draws.params["c"], draws.params["m"]], axis=1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("which", "settings", "method", "unit"),
    [
        ("weighted", dict(kind="case"), "case bootstrap", "row"),
        ("by_run", dict(kind="case"), "cluster bootstrap", "run"),
        ("by_run", dict(kind="cluster", cluster="group"), "cluster bootstrap", "group"),
        ("weighted", dict(kind="residual"), "residual bootstrap", "row"),
        ("weighted", dict(kind="wild", signs="mammen"), "wild bootstrap", "row"),
        ("by_run", dict(kind="wild"), "wild cluster bootstrap", "run"),
        ("weighted", dict(kind="parametric"), "parametric bootstrap", "row"),
        ("by_run", dict(kind="parametric"), "parametric bootstrap", "run"),
    ],
)
def test_every_draw_is_the_least_squares_of_its_resample(which, settings, method, unit, request) -> None:
    fit = request.getfixturevalue(which)
    draws = jaxscale.bootstrap(fit, n_resamples=40, seed=3, **settings)
    assert (draws.method, len(draws), draws.ok) == (method, 40, True)
    about = dict(kind=settings["kind"], unit=unit, n_resamples=40, failed=0, seed=3)
    assert {name: draws.about[name] for name in about} == about
    again, lines = parts(fit)
    samples = bootstrap.resamples(again, lines, settings["kind"], unit, settings.get("signs", "rademacher"), 40, 3)
    response = np.broadcast_to(samples.response, (40, len(again.wide)))[:, :ROWS]
    weight = np.broadcast_to(samples.weight, (40, len(again.wide)))[:, :ROWS]
    np.testing.assert_allclose(table(draws), least_squares(response, weight), rtol=1e-8)
    assert np.std(table(draws), axis=0).min() > 0
    np.testing.assert_array_equal(draws.stats["replicate"], np.arange(40))
    assert np.all(draws.stats["objective"] > 0)


def test_the_residual_bootstrap_has_the_covariance_of_least_squares(weighted) -> None:
    columns, y, _ = columns_of(weighted.observations)
    u = y - columns @ np.array([weighted.params["c"], weighted.params["m"]])
    n = len(u)
    expected = np.mean((u - u.mean()) ** 2) * n / (n - 2) * np.linalg.inv(columns.T @ columns)
    draws = jaxscale.bootstrap(weighted, kind="residual", n_resamples=MANY)
    np.testing.assert_allclose(np.cov(table(draws).T), expected, rtol=VARIANCE)


def test_the_parametric_bootstrap_has_the_classical_standard_errors(weighted) -> None:
    draws = jaxscale.bootstrap(weighted, kind="parametric", n_resamples=MANY)
    for name in ("c", "m"):
        assert np.std(draws.params[name]) == pytest.approx(weighted.stderr[name], rel=VARIANCE / 2)
        assert np.mean(draws.params[name]) == pytest.approx(weighted.params[name], abs=5 * weighted.stderr[name] / 63)


@pytest.mark.usefixtures("x64")
def test_parametric_bootstrap_draws_run_effects(by_run) -> None:
    again, lines = parts(by_run)
    samples = schemes.parametric(again, lines, MANY, np.random.default_rng(0))
    errors = samples.response[:, :ROWS] - lines.prediction[:ROWS]
    row, run = samples.about["noise"]["scale"], samples.about["noise"]["scale_of_runs"]
    assert row > 0 and run > 0
    same = RUN[:, None] == RUN
    np.testing.assert_allclose(np.cov(errors.T), run**2 * same + row**2 * np.eye(ROWS), atol=0.1 * (run**2 + row**2))


@pytest.mark.parametrize("signs", ["rademacher", "mammen"])
def test_the_wild_bootstrap_has_the_covariance_hc2(weighted, signs: str) -> None:
    columns, y, _ = columns_of(weighted.observations)
    u = y - columns @ np.array([weighted.params["c"], weighted.params["m"]])
    bread = np.linalg.inv(columns.T @ columns)
    h = np.einsum("np,pq,nq->n", columns, bread, columns)
    expected = bread @ (columns.T * (u**2 / (1 - h))) @ columns @ bread
    draws = jaxscale.bootstrap(weighted, kind="wild", signs=signs, n_resamples=MANY)
    np.testing.assert_allclose(np.cov(table(draws).T), expected, rtol=VARIANCE)


def test_signs_have_mean_zero_and_variance_one() -> None:
    third = {"rademacher": 0.0, "mammen": 1.0}
    for name, (values, chances) in schemes.SIGNS.items():
        moments = [np.sum(np.array(values) ** k * chances) for k in range(4)]
        np.testing.assert_allclose(moments, [1, 0, 1, third[name]], atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_wild_cluster_bootstrap_has_the_cluster_sandwich_of_the_fit(by_run) -> None:
    again, lines = parts(by_run)
    samples = schemes.wild(again, lines, again.clusters, "rademacher", 1, np.random.default_rng(0))
    columns = np.stack([np.ones(ROWS), X], axis=1)
    moved = (samples.response[0, :ROWS] - lines.prediction[:ROWS])[:, None] * columns
    sums = np.stack([moved[run == RUN].sum(axis=0) for run in np.unique(RUN)])
    bread = np.linalg.inv(columns.T @ columns)
    # Over all signs the covariance is the sum of the contributions of the runs.
    expected = np.sqrt(np.diag(bread @ sums.T @ sums @ bread))
    assert by_run.errors.method == "cluster sandwich"
    np.testing.assert_allclose(expected, [by_run.stderr["c"], by_run.stderr["m"]], rtol=1e-8)


def test_moments_of_a_balanced_layout_are_its_analysis_of_variance() -> None:
    u = np.random.default_rng(0).standard_normal((6, 5)) + np.arange(6)[:, None]
    u -= u.mean()
    q = np.full((30, 1), 30**-0.5)
    codes = np.repeat(np.arange(6), 5)
    between = 5 * np.sum(u.mean(axis=1) ** 2) / 5
    within = np.sum((u - u.mean(axis=1, keepdims=True)) ** 2) / 24
    found = schemes.variance_components(u.ravel(), np.ones(30), q, codes)
    np.testing.assert_allclose(found, [(between - within) / 5, within])
    # Runs that vary less than their rows have zero variance.
    alike = u - u.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        schemes.variance_components(alike.ravel(), np.ones(30), q, codes), [0, np.sum(alike**2) / 29]
    )
    same = np.repeat(u.mean(axis=1), 5)
    found = schemes.variance_components(same, np.ones(30), q, codes)
    np.testing.assert_allclose(found, [np.sum(same**2) / 25, 0], atol=1e-12)


def test_student_t_of_residuals_maximises_the_likelihood() -> None:
    from scipy import stats

    u: Any = stats.t.rvs(3, scale=0.02, size=400, random_state=1)
    df, _, scale = stats.t.fit(u, floc=0)
    np.testing.assert_allclose(student_t_fit(u), [df, scale], rtol=1e-3)
    assert student_t_fit(np.random.default_rng(0).uniform(-1, 1, 300))[0] == pytest.approx(LARGEST_DF)


def test_robust_fits_resample_their_own_noise() -> None:
    observations = observed()
    for loss in (noise.huber(0.3, "linear"), noise.student_t(4, space="linear"), noise.absolute("linear")):
        fit = fitted(observations, noise=loss)
        for kind in ("case", "residual", "wild", "parametric"):
            draws = jaxscale.bootstrap(fit, kind=kind, n_resamples=200)
            assert draws.about["failed"] == 0
            for name in ("c", "m"):
                spread = np.std(draws.params[name])
                assert np.mean(draws.params[name]) == pytest.approx(fit.params[name], abs=0.5 * float(spread)), (
                    loss,
                    kind,
                )
                assert spread == pytest.approx(fit.stderr[name], rel=0.7), (loss, kind)
        assert ("scale" in draws.nuisance) == (loss.loss.name == "student_t")


def test_row_resampling_of_runs_is_reported(by_run) -> None:
    draws = jaxscale.bootstrap(by_run, kind="residual", n_resamples=4)
    assert [notice.code for notice in draws.notices] == ["runs_ignored"]


def test_failed_refits_are_counted(plain, monkeypatch: pytest.MonkeyPatch) -> None:
    refitted, failing = bootstrap.refit_batch, [4]

    def some_fail(*arguments: Any, **more: Any) -> Any:
        lanes, settled = refitted(*arguments, **more)
        settled[: failing[0]] = False
        return lanes, settled

    monkeypatch.setattr(bootstrap, "refit_batch", some_fail)
    draws = jaxscale.bootstrap(plain, n_resamples=100)
    assert (len(draws), draws.about["failed"], draws.ok) == (96, 4, True)
    assert [notice.code for notice in draws.notices] == ["resamples_failed"]
    assert draws.stats["replicate"][0] == 4
    failing[0] = 6
    assert not jaxscale.bootstrap(plain, n_resamples=100).ok
    failing[0] = 99
    with pytest.raises(ValueError, match=r"Only 1 of 100 refits of line converged; fix a parameter"):
        jaxscale.bootstrap(plain, n_resamples=100)


@pytest.mark.parametrize("settings", [dict(kind="case"), dict(kind="wild")])
def test_failed_refits_are_retried(plain, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    descend, calls = refits.descend, []

    def slow(*arguments: Any, **more: Any) -> Any:
        lanes = descend(*arguments, **more)
        if not calls:
            lanes.z[:, 5:9] += 1.0
            lanes.status[5:9] = newton.STALLED
        calls.append((lanes.z.shape[1], more))
        return lanes

    expected = jaxscale.bootstrap(plain, n_resamples=30, **settings)
    monkeypatch.setattr(refits, "descend", slow)
    found = jaxscale.bootstrap(plain, n_resamples=30, **settings)
    assert calls == [(30, dict(direct=True, warm=True)), (4, {})]
    assert found.about["failed"] == 0
    np.testing.assert_allclose(table(found), table(expected), rtol=1e-8)


def test_the_jackknife_leaves_out_every_row_in_turn(weighted) -> None:
    draws = jaxscale.jackknife(weighted)
    used = np.flatnonzero(WEIGHT > 0)
    weights = np.repeat(WEIGHT[None], len(used), axis=0)
    weights[np.arange(len(used)), used] = 0
    response = np.broadcast_to(weighted.observations.response, weights.shape)
    np.testing.assert_allclose(table(draws), least_squares(response, weights), rtol=1e-9)
    np.testing.assert_array_equal(draws.stats["left_out"], used)
    assert (draws.method, draws.about["unit"], draws.about["n_resamples"]) == ("jackknife", "row", len(used))
    n = len(used)
    expected = np.sqrt((n - 1) ** 2 / n * np.var(table(draws), axis=0, ddof=1))
    np.testing.assert_allclose([draws.about["stderr"]["c"], draws.about["stderr"]["m"]], expected)
    with pytest.raises(ValueError, match="not usable: The draws are leave-one-row-out refits"):
        draws.require_ok()


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(20)
    left = (values.sum() - values) / 19
    assert jackknife_stderr(left) == pytest.approx(np.std(values, ddof=1) / np.sqrt(20), rel=1e-12)


@pytest.mark.parametrize(("by", "codes"), [(None, RUN), ("group", RUN // 2), ("row", np.arange(ROWS))])
def test_the_jackknife_leaves_out_whole_runs_where_these_repeat(by_run, by, codes: np.ndarray) -> None:
    draws = jaxscale.jackknife(by_run, cluster=by)
    weights = np.stack([1.0 * (codes != code) for code in np.unique(codes)])
    response = np.broadcast_to(by_run.observations.response, weights.shape)
    np.testing.assert_allclose(table(draws), least_squares(response, weights), rtol=1e-9)


def test_laplace_draws_of_a_line_have_the_intervals_of_the_fit(weighted, by_run) -> None:
    for fit, how in ((weighted, "inverse Hessian"), (by_run, "cluster sandwich")):
        draws = jaxscale.laplace(fit, num_samples=100_000)
        assert (draws.method, draws.about["covariance"], len(draws)) == ("laplace", how, 100_000)
        assert draws.about["freedom"] == fit.errors.freedom
        for name, (low, high) in fit.intervals(0.9).items():
            found = np.quantile(draws.params[name], [0.05, 0.95])
            np.testing.assert_allclose(found, [low, high], atol=0.02 * (high - low))
        correlation = np.corrcoef(table(draws).T)[0, 1]
        assert correlation == pytest.approx(fit.correlation[0][1], abs=0.02)


def test_laplace_draws_stay_in_their_supports() -> None:
    fit = jaxscale.fit(sweeps.small, sweeps.sweep(rows=9), noise=noise.squared("log"), starts=256)
    draws = jaxscale.laplace(fit, seed=1)
    assert len(draws) == 4000 and all(np.all(value > 0) for value in draws.params.values())
    assert np.median(draws.params["A"]) == pytest.approx(fit.params["A"], rel=0.1)
    np.testing.assert_array_equal(jaxscale.laplace(fit, seed=1).params["A"], draws.params["A"])


def test_laplace_draws_of_robust_fits() -> None:
    observations = observed()
    student = fitted(observations, noise=noise.student_t(4, space="linear"))
    draws = jaxscale.laplace(student)
    assert draws.about["covariance"] == "sandwich"
    assert np.median(draws.nuisance["scale"]) == pytest.approx(student.scale, rel=0.05)
    median = fitted(observations, noise=noise.absolute("linear"))
    draws = jaxscale.laplace(median, num_samples=20_000)
    assert draws.about["covariance"] == "bootstrap"
    for fit, samples in ((median, draws), (student, jaxscale.laplace(student, num_samples=20_000))):
        freedom = fit.errors.freedom
        for name in ("c", "m"):
            wide = fit.stderr[name] * np.sqrt(freedom / (freedom - 2))
            assert np.std(samples.params[name]) == pytest.approx(wide, rel=0.05)
    without = fitted(observations, noise=noise.absolute("linear"), n_resamples=0)
    with pytest.raises(ValueError, match=r"The fit has no standard errors.*; fit again with n_resamples=400"):
        jaxscale.laplace(without)


@pytest.mark.usefixtures("x64")
def test_the_sandwich_of_the_coordinates_becomes_that_of_the_fit() -> None:
    fit = jaxscale.fit(sweeps.small, sweeps.sweep(), noise=noise.huber(0.01), starts=256)
    assert fit.errors.method == "sandwich"
    again, lines = parts(fit)
    draws = jaxscale.laplace(fit)
    assert draws.about["covariance"] == "sandwich"
    hessian = lines.slope.T @ ((again.wide.weight * (np.abs(lines.residual) <= 0.01))[:, None] * lines.slope)
    covariance, freedom = robust_covariance(again.optimum, hessian, np.eye(3), None)
    assert freedom == draws.about["freedom"] and np.all(np.isfinite(covariance))


def test_laplace_draws_of_an_interpolating_fit() -> None:
    # Five of eight rows lie inside delta, for three parameters: the curvature is not informative.
    fit = jaxscale.fit(sweeps.small, sweeps.sweep(rows=8), noise=noise.huber(1e-3), n_resamples=50)
    assert fit.errors.method == "bootstrap"
    assert jaxscale.laplace(fit).about["covariance"] == "bootstrap"


def test_laplace_needs_degrees_of_freedom(plain) -> None:
    few = np.where(np.isin(np.arange(ROWS), (3, 20)), 1.0, 0.0)
    exact = fitted(observed(weight=few))
    with pytest.raises(ValueError, match=r"The optimum of line has no finite covariance.*use jaxscale\.bootstrap"):
        jaxscale.laplace(exact)
    expected_message = (
        r"Resampling needs more rows than free parameters, but there are 2 rows and 2 parameters; add rows or fix"
    )
    for kind in bootstrap.KINDS:
        with pytest.raises(ValueError, match=expected_message):
            jaxscale.bootstrap(exact, kind=kind)
    with pytest.raises(ValueError, match=expected_message):
        jaxscale.jackknife(exact)


def test_another_data_set_does_not_recompile() -> None:
    def sizes(seed: int) -> list[int]:
        fit = fitted(observed(seed=seed))
        for kind in ("case", "residual", "wild", "parametric"):
            jaxscale.bootstrap(fit, kind=kind, n_resamples=50)
        jaxscale.laplace(fit)
        programs: Any = (descent._run_pool, linearize.linearise, linearize.params_at)
        return [program._cache_size() for program in programs]

    assert sizes(7) == sizes(8)


def test_bootstrap_resumes_from_a_checkpoint(plain, tmp_path) -> None:
    whole = jaxscale.bootstrap(plain, n_resamples=30)
    first = jaxscale.bootstrap(plain, n_resamples=30, checkpoint=tmp_path / "parts")
    again = jaxscale.bootstrap(plain, n_resamples=30, checkpoint=tmp_path / "parts")
    np.testing.assert_array_equal(first.params["m"], whole.params["m"])
    np.testing.assert_array_equal(again.params["m"], whole.params["m"])
    with pytest.raises(jaxscale.JournalError, match="belongs to another run"):
        jaxscale.bootstrap(plain, kind="wild", n_resamples=30, checkpoint=tmp_path / "parts")


def test_a_fit_read_from_a_file_needs_its_observations(plain) -> None:
    read = jaxscale.Fit.from_json(plain.to_json(), plain.law)
    for resample in (jaxscale.bootstrap, jaxscale.jackknife, jaxscale.laplace):
        with pytest.raises(ValueError, match="pass them as observations="):
            resample(read)
        resample(read, observations=plain.observations)
        with pytest.raises(ValueError, match="must be those of the fit"):
            resample(read, observations=observed(seed=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(kind="rows"), "Argument kind must be one of case, cluster, residual, wild, parametric, but is 'rows'."),
        (dict(cluster="run"), "Argument cluster must be given with kind 'cluster' or 'wild' only, but kind is 'case'."),
        (dict(kind="wild", cluster="row"), "Argument cluster must be 'run' or 'group', but is 'row'."),
        (dict(kind="wild", signs="webb"), "Argument signs must be one of rademacher, mammen, but is 'webb'."),
        (dict(n_resamples=1), "Argument n_resamples must be a whole number of at least 2, but is 1."),
        (dict(n_resamples=True), "Argument n_resamples must be a whole number of at least 2, but is True."),
        (dict(seed=-1), "Argument seed must not be negative, but is -1."),
        (dict(kind="cluster"), "they name no run: name their column with run=."),
        (dict(kind="wild", cluster="group"), "they name no group"),
    ],
)
def test_wrong_arguments_are_refused(plain, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        jaxscale.bootstrap(plain, **settings)
    assert message in str(caught.value)


def test_data_that_cannot_be_resampled_raise(plain) -> None:
    for draws in (1, True):
        with pytest.raises(
            ValueError, match=f"Argument num_samples must be a whole number of at least 2, but is {draws}"
        ):
            jaxscale.laplace(plain, num_samples=draws)
    with pytest.raises(ValueError, match="Argument cluster must be one of row, run, group, but is 'day'"):
        jaxscale.jackknife(plain, cluster="day")
    one = fitted(observed(run=RUN, group=np.zeros(ROWS)))
    with pytest.raises(ValueError, match="Argument cluster is 'group', but all rows belong to one group"):
        jaxscale.bootstrap(one, kind="cluster", cluster="group")
    # All variation lies within one run.
    lopsided = fitted(observed(run=np.where(X > X.min(), 0, 1)))
    with pytest.raises(ValueError, match=r"Argument kind must not be 'wild' here: without one of the runs"):
        jaxscale.bootstrap(lopsided, kind="wild")
    median = fitted(observed(), noise=noise.absolute("linear"), n_resamples=0)
    with pytest.raises(ValueError, match="Argument signs must be 'rademacher' with absolute noise"):
        jaxscale.bootstrap(median, kind="wild", signs="mammen")


@pytest.mark.parametrize("kind", ["case", "residual", "wild", "parametric"])
def test_seed_determines_the_resamples(kind: str, plain: jaxscale.Fit) -> None:
    first, again, other = (
        table(jaxscale.bootstrap(plain, kind=kind, n_resamples=20, seed=key))  # pyright: ignore[reportArgumentType]
        for key in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.any(np.all(np.isclose(first, other, rtol=1e-12, atol=0.0), axis=1))
