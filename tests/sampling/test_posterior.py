# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Posteriors: closed forms, numerical integrals, NumPyro densities, method agreement, validation."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density
from scipy import stats
from scipy.special import betaln, expit, gammaln, logsumexp, xlog1py, xlogy

import jaxscale
from jaxscale import Observations, noise
from jaxscale.engine.runner import Runner
from jaxscale.noise import likelihoods
from tests.sampling_models import FEW, TRUE, X, level, line, modelled, of, power, powers, share, straight


def integrated(logs: np.ndarray, *values: np.ndarray) -> list[tuple[float, float]]:
    """Mean and standard deviation of functions on a grid, given unnormalised log densities."""
    weight = np.exp(logs - logsumexp(logs))
    means = [float(np.sum(weight * value)) for value in values]
    return [(m, float(np.sqrt(np.sum(weight * (v - m) ** 2)))) for m, v in zip(means, values, strict=True)]


def alike(drawn: np.ndarray, target: tuple[float, float], share: float = 0.08) -> None:
    """Moments of thousands of draws agree with the given ones."""
    mean, sd = target
    assert abs(np.mean(drawn) - mean) < share * sd
    assert np.std(drawn) == pytest.approx(sd, rel=share)


def straight_truth(observations: Observations) -> list[tuple[float, float]]:
    """Moments of a, b and scale: normal given the scale, which is integrated on a grid."""
    X, y = np.column_stack([np.ones(len(observations)), observations.inputs["x"]]), observations.response
    logs, scales = np.linspace(np.log(0.02), np.log(3.0), 4001), []
    # The range of the slope is declared for inputs with a spread of 1; these have 3.
    prior = np.diag(np.array([6 / 3.92, 2 / 3.92]) ** -2)
    moments, weights = [], []
    for log in logs:
        precision = X.T @ X * np.exp(-2 * log) + prior
        covariance = np.linalg.inv(precision)
        mean = covariance @ (X.T @ y) * np.exp(-2 * log)
        fitted = -len(y) * log - 0.5 * np.exp(-2 * log) * y @ y + 0.5 * mean @ precision @ mean
        weights.append(fitted - 0.5 * np.linalg.slogdet(precision)[1] + stats.norm.logpdf(log, 0.0, 5.0))
        moments.append([*mean, *np.diag(covariance)])
        scales.append(np.exp(log))
    weight = np.exp(np.array(weights) - logsumexp(weights))
    a, b, va, vb = np.array(moments).T
    found = [(m := float(weight @ k), float(np.sqrt(weight @ (v + (k - m) ** 2)))) for k, v in ((a, va), (b, vb))]
    return [*found, *integrated(np.array(weights), np.array(scales))]


@pytest.fixture(scope="module")
def fitted() -> jaxscale.Fit:
    return jaxscale.fit(power, powers(), n_resamples=0, starts=64)


@pytest.mark.parametrize("method", ["auto", "nuts"])
def test_a_line_with_normal_residuals(method: Any) -> None:
    observations = straight()
    drawn = jaxscale.posterior(line, observations, method=method, num_chains=4, num_samples=2000, progress=False)
    assert drawn.method == ("importance" if method == "auto" else "nuts") and drawn.ok
    values = (drawn.params["a"], drawn.params["b"], drawn.nuisance["scale"])
    for value, target in zip(values, straight_truth(observations), strict=True):
        alike(value, target)


def test_importance_sampling_and_nuts_agree(fitted: jaxscale.Fit) -> None:
    posteriors = [jaxscale.posterior(fitted, method=method, **FEW) for method in ("importance", "nuts")]
    target = "student_t(df inferred) on log residuals (in place of the huber loss)"
    for drawn in posteriors:
        assert drawn.about["likelihood"] == target
        assert len(drawn) == drawn.about["draws"] == 2000 and drawn.ok
        assert set(drawn.nuisance) == {"scale", "df"}
        assert drawn.about["priors"]["df"] == "Gamma(2, 0.1)"
    for name in ("E", "A", "alpha"):
        spread = np.log(posteriors[1].params[name])
        alike(np.log(posteriors[0].params[name]), (float(np.mean(spread)), float(np.std(spread))), 0.15)
    again = jaxscale.posterior(fitted, method="nuts", **FEW)
    assert all(np.array_equal(again.params[name], posteriors[1].params[name]) for name in again.params)
    other = jaxscale.posterior(fitted, method="nuts", seed=1, **FEW)
    assert not np.array_equal(other.params["E"], posteriors[1].params["E"])


LIKELIHOODS = {
    "normal": likelihoods.normal(),
    "by level": likelihoods.normal("linear", scale_by="level"),
    "by group": likelihoods.student_t(scale_by="group"),
    "student": likelihoods.student_t(4.0),
    "laplace": likelihoods.laplace(),
    "runs": likelihoods.normal(runs=True),
    "student runs": likelihoods.student_t(runs=True),
    "runs sampled": likelihoods.student_t(runs=True, censored="seen"),
    "censored": likelihoods.normal(censored="seen"),
    "student censored": likelihoods.student_t(censored="seen"),
    "laplace censored": likelihoods.laplace(censored="seen"),
}


@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_density_is_that_of_its_numpyro_program_and_its_gradient_is_right(name: str, x64: None) -> None:
    censored = powers(also=["seen"], run="run", group="group")
    censored.inputs["seen"][::5] = 1.0
    model = modelled(LIKELIHOODS[name], censored)
    around = model.coordinates_of(TRUE, dict(scale=0.02, df=6.0, run_ratio=0.7, power=0.1))

    @jax.jit
    @jax.vmap
    def densities(x: Any) -> Any:
        sites, bend = model.sites(x)
        total, _ = log_density(model.numpyro(), (), {}, {name: sites[name] for name in model.shapes})
        # NumPyro's density is that of the responses, the engine's that of the residuals.
        slopes = model.likelihood.log_jacobian(jnp.asarray(model.response), model.data)
        return *jax.value_and_grad(model.log_density)(x), total + bend - jnp.sum(model.data["weight"] * slopes)

    along = np.random.default_rng(0).standard_normal(model.size)
    value, slope, by_numpyro = densities(around + 1e-5 * np.stack([0 * along, along, -along]))
    assert np.asarray(by_numpyro) == pytest.approx(np.asarray(value), rel=1e-12)
    assert float(slope[0] @ along) == pytest.approx(float(value[1] - value[2]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize("by", ["constant", "level", "group"])
def test_marginal_and_sampled_run_effects_agree(by: Any, x64: None) -> None:
    marginal = modelled(likelihoods.normal(runs=True, scale_by=by))
    sampled = modelled(likelihoods.normal(runs=True, scale_by=by, censored="seen"))
    assert marginal.likelihood.marginal and not sampled.likelihood.marginal and sampled.runs >= 10
    scale = jnp.linspace(0.01, 0.03, sampled.groups) if by == "group" else jnp.asarray(0.02)
    sites = TRUE | dict(scale=scale, run_ratio=jnp.asarray(1.5), power=jnp.asarray(0.8))
    nodes = np.linspace(-8.0, 8.0, 2001)
    at = jax.vmap(lambda node: sampled.rows(sites | dict(run_effect=jnp.full(sampled.runs, node))))(jnp.asarray(nodes))
    by_run = np.asarray(at)[:, :40].reshape(len(nodes), 10, 4).sum(axis=2)
    known = logsumexp(by_run + stats.norm.logpdf(nodes)[:, None] + np.log(nodes[1] - nodes[0]), axis=0).sum()
    assert float(jnp.sum(marginal.rows(sites))) == pytest.approx(known, rel=1e-10)


def test_rows_of_weight_zero_do_not_matter(x64: None) -> None:
    plain, wide = powers(), powers()
    N, y = np.append(plain.inputs["N"], [1e30, 1e-3]), np.append(plain.response, [1e9, 1e-9])
    wide = of(dict(N=N, y=y, w=np.append(np.ones(40), [0.0, 0.0])), "N", weight="w")
    models = [modelled(likelihoods.student_t(), data) for data in (plain, wide)]
    x = models[0].coordinates_of(TRUE, dict(scale=0.01, df=5.0))
    assert float(models[0].log_density(jnp.asarray(x))) == float(models[1].log_density(jnp.asarray(x)))


def test_user_priors_replace_defaults() -> None:
    given = dict(c=dist.Uniform(0.2, 0.4), scale=dist.LogNormal(0.0, 1.0))
    rows = of(dict(x=np.arange(1.0, 5), y=np.array([0.1, 0.5, 0.9, 0.7])), "x")
    drawn = jaxscale.posterior(level, rows, priors=given, method="nuts", **FEW)
    c, s = np.meshgrid(np.linspace(0.2, 0.4, 400), np.exp(np.linspace(-5, 4, 400)))
    logs = stats.norm.logpdf(rows.response, c[..., None], s[..., None]).sum(axis=-1) + stats.norm.logpdf(np.log(s))
    assert drawn.params["c"].min() > 0.2 and drawn.params["c"].max() < 0.4
    alike(drawn.params["c"], integrated(logs, c)[0])
    assert drawn.about["priors"]["c"] == "Uniform(0.2, 0.4)"


def test_normal_prior_of_a_positive_parameter_is_truncated_at_zero(x64: None) -> None:
    priors = dict(alpha=dist.Normal(-1.0, 0.5))
    model = modelled(likelihoods.normal(runs=False), law=power, given=priors)
    for z in (-6.0, 0.0, 3.0):
        x = np.array(model.coordinates_of(TRUE, dict(scale=0.02)))
        x[model.free.index("alpha")] = z
        sites, _ = model.sites(jnp.asarray(x))
        assert float(sites["alpha"]) > 0
        others = sum(float(model.priors[name].log_prob(sites[name])) for name in ("E", "scale"))
        # The amplitude's range is declared for inputs of size 1, since the law has no typical size.
        usual = np.exp(np.mean(np.log(powers().inputs["N"]))) ** -float(sites["alpha"])
        others += float(model.priors["A"].log_prob(sites["A"] * usual)) + np.log(usual)
        expected = others + stats.norm.logpdf(float(sites["alpha"]), -1.0, 0.5)
        assert float(model.log_prior(sites)) == pytest.approx(expected, rel=1e-12)


def counts(k: list[int], n: list[int]) -> Observations:
    columns = dict(x=np.arange(1.0, len(k) + 1), n=np.array(n, float), y=np.array(k) / np.array(n))
    return of(columns, "x", "n")


def test_shares_without_any_success() -> None:
    rows = counts([0, 0, 1, 0], [10, 20, 15, 5])
    drawn = jaxscale.posterior(share, rows, likelihood=likelihoods.binomial("n"), **FEW)
    known = stats.beta(2, 50)
    alike(drawn.params["p"], (known.mean(), known.std()))
    none = jaxscale.posterior(share, counts([0, 0, 0, 0], [10, 20, 15, 5]), likelihood=likelihoods.binomial("n"), **FEW)
    alike(none.params["p"], (1 / 52, stats.beta(1, 51).std()))
    drawn = jaxscale.posterior(share, rows, likelihood=likelihoods.beta_binomial("n"), **FEW)
    z, log = np.meshgrid(np.linspace(-12, 5, 500), np.linspace(-5, 13, 500))
    p, c = expit(z), np.exp(log)
    logs = np.log(p) + np.log1p(-p) + stats.norm.logpdf(log, 4.0, 2.0)
    for k, n in ((0, 10), (0, 20), (1, 15), (0, 5)):
        logs += betaln(k + p * c, n - k + (1 - p) * c) - betaln(p * c, (1 - p) * c)
    mean, sd = integrated(logs, z)[0]
    alike(np.log(drawn.params["p"]) - np.log1p(-drawn.params["p"]), (mean, sd), 0.1)


@pytest.mark.parametrize("family", ["binomial", "beta_binomial"])
def test_counts_are_counted(family: str, x64: None) -> None:
    model = modelled(getattr(likelihoods, family)("n"), counts([0, 3, 20], [10, 12, 20]), share)
    found = np.asarray(model.rows(dict(p=jnp.asarray(0.3), concentration=jnp.asarray(7.0))))[:3]
    k, n = np.array([0, 3, 20]), np.array([10, 12, 20])
    if family == "binomial":
        ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        known = ways + xlogy(k, 0.3) + xlog1py(n - k, -0.3)
    else:
        known = stats.betabinom.logpmf(k, n, 0.3 * 7, 0.7 * 7)
    # JAX's log beta function has seven digits.
    np.testing.assert_allclose(found, known, rtol=1e-6)


def test_censored_responses() -> None:
    y, seen = np.array([1.0, 1.4, 0.7, 1.5, 1.5, 1.5]), np.array([0.0, 0, 0, 1, 1, 1])
    rows = of(dict(x=np.arange(1.0, 7), y=y, seen=seen), "x", "seen")
    drawn = jaxscale.posterior(level, rows, likelihood=likelihoods.normal("linear", censored="seen"), **FEW)
    c, log = np.meshgrid(np.linspace(-10, 25, 900), np.linspace(-4, 5, 600))
    t = (y - c[..., None]) / np.exp(log)[..., None]
    each = np.where(seen > 0, stats.norm.logsf(t), stats.norm.logpdf(t) - log[..., None])
    logs = each.sum(axis=-1) + stats.norm.logpdf(c, 0.0, 20 / 3.92) + stats.norm.logpdf(log, 0.0, 5.0)
    for value, target in zip(
        (drawn.params["c"], np.log(drawn.nuisance["scale"])), integrated(logs, c, log), strict=True
    ):
        alike(value, target, 0.15)


def test_posterior_many_agrees_with_posterior(fitted: jaxscale.Fit) -> None:
    settings: Any = dict(likelihood=likelihoods.student_t(), **FEW)
    starts = {name: np.array([value]) for name, value in fitted.params.items()}
    many = jaxscale.posterior_many(power, [powers()], starts=starts, **settings)
    one = jaxscale.posterior(fitted, **settings)
    assert many.method.tolist() == [one.method] and many.ok.all() and len(many) == 1
    for name in ("E", "A", "alpha"):
        np.testing.assert_allclose(many.params[name][0], one.params[name], rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "nuts"])
def test_other_data_set_does_not_recompile(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    jaxscale.posterior(power, powers(seed=1), method=method, **FEW)
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        jaxscale.posterior(power, powers(seed=2), method=method, **FEW)
        jaxscale.posterior(power, powers(seed=2, rows=35), method=method, **FEW)
    assert [record.message for record in caplog.records if record.message.startswith("Compiling")] == []


@pytest.mark.parametrize("method", ["nuts", "auto"])
def test_interruption_keeps_finished_draws(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, run = [0], Runner.__call__

    def stopped(self: Any, program: Any, parts: Any) -> Any:
        drawing = program.__name__.startswith("advance_chains")
        calls[0] += drawing
        if drawing and calls[0] == 5:
            raise KeyboardInterrupt
        return run(self, program, parts)

    monkeypatch.setattr(Runner, "__call__", stopped)
    monkeypatch.setattr("jaxscale.sampling.adaptive_sampler.KHAT_LIMIT", -np.inf)
    settings: Any = FEW | dict(num_samples=1000)
    drawn = jaxscale.posterior(line, straight(), method=method, **settings)
    assert len(drawn) == 4 * 500 and drawn.about["draws"] == 2000
    assert "interrupted" in [notice.code for notice in drawn.notices]
    assert np.isfinite(drawn.params["a"]).all()
    calls[0] = 3
    with pytest.raises(KeyboardInterrupt):
        jaxscale.posterior(line, straight(), method=method, **settings)


def survives(t: Any, df: Any) -> Any:
    return likelihoods.student_t(censored="seen", space="linear").log_prob(
        dict(scale=jnp.ones(()), df=df),
        jnp.zeros_like(t),
        t,
        dict(seen=jnp.ones_like(t), group=jnp.zeros(t.shape, int)),
    )


def test_the_survival_of_students_t_and_its_slope_in_df(x64: None) -> None:
    t = jnp.asarray([-50.0, -5.0, -2.0, -1.0, 0.0, 1e-6, 0.5, 1.999, 2.001, 10.0, 1e3])
    df = np.array([0.5, 2.0, 4.5, 30.0])
    each = jax.vmap(lambda df: jax.jvp(lambda df: survives(t, df), (df,), (jnp.ones(()),)), out_axes=1)
    value, slope = each(jnp.asarray(df))
    np.testing.assert_allclose(value, stats.t.logsf(np.asarray(t)[:, None], df), rtol=1e-9, atol=1e-12)
    known = (
        stats.t.logsf(np.asarray(t)[:, None], df * 1.0001) - stats.t.logsf(np.asarray(t)[:, None], df * 0.9999)
    ) / (2e-4 * df)
    np.testing.assert_allclose(slope, known, rtol=2e-4, atol=1e-7)


def test_the_likelihood_of_a_fit_is_that_of_its_noise() -> None:
    target = [
        (noise.squared("log"), "normal on log residuals"),
        (noise.student_t(4.0), "student_t(df 4) on log residuals"),
        (noise.huber(1e-3, "linear"), "student_t(df inferred) on linear residuals"),
    ]
    for one, words in target:
        assert likelihoods.of_noise(one).describe() == words


def test_mode_search_starts_inside_the_support(x64: None) -> None:
    """A fraction fitted at 1 has no finite coordinate."""
    model = modelled(
        likelihoods.binomial("n"), of(dict(x=X + 2, n=np.full(12, 10.0), y=np.full(12, 1.0)), "x", "n"), share
    )
    for edge in (0.0, 1.0):
        assert np.isfinite(model.coordinates_of({name: edge for name in share.parameters}, {})).all()


def test_uncalibrated_design_is_reported() -> None:
    few = jaxscale.posterior(line, straight(), likelihood=likelihoods.laplace("linear"), method="importance", **FEW)
    target = {notice.code: notice.message for notice in few.notices}
    assert target["not_calibrated"] == (
        "Not calibrated for this design: Intervals of a laplace likelihood were not studied."
    )
