"""``fit``: arguments, standard errors, notices, files, compilations, intervals."""

import json
from typing import Any

import jax
import numpy as np
import pytest

import jaxscale
from jaxscale import laws, noise
from jaxscale.data.designs import isoflop
from jaxscale.data.observations import Observations
from jaxscale.data.simulation import simulate
from jaxscale.engine import descent, linearize
from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive
from jaxscale.noise.losses import huber_with_scale
from jaxscale.results.parts import StandardErrors

TRUE = laws.get("chinchilla").published["besiroglu2024"]
traces = [0]


@law(
    inputs=dict(N=Input("parameters"), D=Input("tokens")),
    response=Response("nat/token", positive),
    E=floor(),
    A=amplitude(N="alpha"),
    alpha=exponent(),
    B=amplitude(D="beta"),
    beta=exponent(),
    affine=("E", "A", "B"),
    source="a test",
    published=dict(here=dict(TRUE)),
)
def counted(N, D, *, E, A, alpha, B, beta):
    """The Chinchilla law with a counter of traces."""
    traces[0] += 1
    return E + A / N**alpha + B / D**beta


def observed(seed: int = 0, run: bool = False, rows: int = 45, **more) -> Observations:
    """Runs at five budgets with 0.5 % noise; with ``run``, three in a row share a run."""
    design = isoflop(np.geomspace(1e18, 1e22, 5).tolist(), 9)
    columns = {name: values[:rows] for name, values in design.items()}
    table = dict(simulate(laws.get("chinchilla"), TRUE, columns, seed=seed))
    table["run"] = np.arange(rows) // 3
    return Observations.from_table(table, inputs=["N", "D"], response="loss", run="run" if run else None, **more)


@pytest.fixture(scope="module")
def huber_fit() -> jaxscale.Fit:
    return jaxscale.fit(counted, observed(), n_resamples=64)


def test_default_noise_and_provenance(huber_fit):
    scale = huber_fit.scale
    assert huber_fit.noise.to_dict() == {"loss": "huber", "space": "log", "delta": "scale"}
    # Huber's proposal 2: the clipped residuals have the variance of clipped normal ones, with 40 of 45 spare.
    seen = observed()
    residual = np.log(huber_fit.predict(**seen.inputs)) - np.log(seen.response)
    clipped = np.clip(residual / scale, -huber_with_scale.TUNING, huber_with_scale.TUNING)
    assert np.sum(clipped**2) == pytest.approx(40 * huber_with_scale.CONSISTENT, rel=1e-6)
    assert huber_fit.rows_used == huber_fit.rows_read == 45
    assert huber_fit.provenance.seed == 0
    assert set(huber_fit.provenance.versions) == {"python", "jaxscale", "jax", "jaxlib", "numpy"}
    assert len(huber_fit.provenance.data_sha256) == 64
    assert huber_fit.provenance.columns == {"N": "N", "D": "D", "response": "loss"}
    assert huber_fit.design.verdict == "identified" and huber_fit.design.allowed is False
    assert all(isinstance(value, float) for value in huber_fit.params.values())


def test_landscape_counts(huber_fit):
    starts = huber_fit.landscape
    # An easy problem needs only the first, small wave.
    assert starts.scored == 512
    # An easy problem: the first wave is enough.
    assert starts.independent == 16
    assert starts.polished == 32
    assert starts.agree_all >= 0.9 * starts.polished
    assert starts.agree <= starts.independent
    assert sum(basin.count for basin in huber_fit.landscape.basins) <= starts.polished
    assert huber_fit.landscape.basins[0].objective == pytest.approx(huber_fit.objective, rel=1e-9)


def test_second_data_set_and_new_delta_do_not_retrace(huber_fit):
    before = traces[0]
    jaxscale.fit(counted, observed(seed=1), n_resamples=64)
    jaxscale.fit(counted, observed(seed=2, rows=40), noise=noise.huber(2e-3), n_resamples=32)
    assert traces[0] == before


def test_fit_leaves_jax_precision_unchanged():
    before = dict(jax.config.values)
    fit = jaxscale.fit(counted, observed(), n_resamples=2)
    assert dict(jax.config.values) == before
    assert fit.predict(N=1e9, D=2e10) == pytest.approx(2.53, rel=0.02)
    assert fit.predict(N=np.array([1e9, 1e10]), D=2e10).dtype == np.float64


def test_json_round_trip_bit_for_bit(huber_fit, tmp_path):
    path = tmp_path / "fit.json"
    huber_fit.save(path)
    text = huber_fit.to_json()
    again = jaxscale.Fit.load(path, law=counted)
    assert again == huber_fit
    assert again.to_json() == text == path.read_text()
    entries = json.loads(text)
    expected = {"law", "params", "stderr", "objective", "rows_read", "rows_used", "starts", "basins", "notices"}
    assert expected | {"status", "seed", "versions", "data_sha256"} <= set(entries)
    assert again.predict(N=1e9, D=2e10) == huber_fit.predict(N=1e9, D=2e10)


def test_from_json_rejects_other_files(tmp_path):
    for text in ("{}", '{"law": 1}', "{not json"):
        with pytest.raises(ValueError, match="This is not a fit written by jaxscale"):
            jaxscale.Fit.from_json(text)


def test_squared_loss_has_classical_errors_and_repeated_runs_cluster():
    alone = jaxscale.fit(counted, observed(), noise=noise.squared("log"))
    assert alone.errors == StandardErrors("classical", 40)
    clustered = jaxscale.fit(counted, observed(run=True), noise=noise.squared("log"))
    assert clustered.errors == StandardErrors("cluster sandwich", 14)
    assert clustered.params == alone.params
    robust = jaxscale.fit(counted, observed(run=True))
    assert robust.errors == StandardErrors("cluster sandwich", 14)
    resampled = jaxscale.fit(counted, observed(run=True), noise=noise.huber(1e-3), n_resamples=64)
    errors = resampled.errors
    assert (errors.method, errors.freedom, errors.n_resamples) == ("cluster bootstrap", 14, 64)
    assert set(errors.percentiles) == {*TRUE} and not alone.errors.percentiles
    assert jaxscale.Fit.from_json(resampled.to_json(), law=counted) == resampled


def test_wide_huber_is_smooth_and_gets_a_sandwich():
    fit = jaxscale.fit(counted, observed(), noise=noise.huber(0.1))
    assert fit.errors.method == "sandwich"
    squared = jaxscale.fit(counted, observed(), noise=noise.squared("log"))
    assert fit.objective == pytest.approx(squared.objective, rel=1e-12)
    assert fit.stderr["alpha"] == pytest.approx(squared.stderr["alpha"], rel=0.5)


def test_intervals_cover_by_t_quantiles_and_stay_positive(huber_fit):
    ends = huber_fit.intervals(0.95)
    t = 2.0210753903  # 97.5 % quantile of t with 40 degrees of freedom
    for name, value in huber_fit.params.items():
        half = t * huber_fit.stderr[name] / value
        assert np.log(np.array(ends[name]) / value) == pytest.approx([-half, half], rel=1e-9)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        huber_fit.intervals(95.0)


def test_intervals_of_checkpoints_cover_the_truth():
    """48 checkpoints of 12 runs with run effects: cluster-robust intervals cover, independent ones do not."""
    hits = {True: 0, False: 0}
    sweeps, design = 40, isoflop(np.geomspace(1e18, 1e22, 4).tolist(), 3)
    for seed in range(sweeps):
        columns = {name: np.repeat(values, 4) * np.tile(np.geomspace(1, 1.6, 4), 12) for name, values in design.items()}
        columns["N"] = np.repeat(design["N"], 4)
        exact = simulate(laws.get("chinchilla"), TRUE, columns, noise=1e-9, seed=0)["loss"]
        generator = np.random.default_rng(seed)
        errors = np.repeat(generator.standard_normal(12) * 0.005, 4) + 0.001 * generator.standard_normal(48)
        table = {**columns, "loss": exact * np.exp(errors), "run": np.repeat(np.arange(12), 4)}
        for clustered in hits:
            observations = Observations.from_table(
                table, inputs=["N", "D"], response="loss", run="run" if clustered else None
            )
            fit = jaxscale.fit(
                counted,
                observations,
                noise=noise.squared("log"),
                starts={name: [value] for name, value in TRUE.items()},
            )
            low, high = fit.intervals(0.95)["alpha"]
            hits[clustered] += low <= TRUE["alpha"] <= high
    # 40 draws at 95 %: fewer than 33 have a probability of 1 in 1,000.
    assert hits[True] >= 33
    assert hits[False] <= 30


def test_unidentified_designs_are_refused_and_overrides_recorded():
    N = np.geomspace(1e7, 1e9, 8)
    table = simulate(laws.get("chinchilla"), TRUE, {"N": N, "D": 20 * N}, seed=0)
    observations = Observations.from_table(table, inputs=["N", "D"], response="loss")
    with pytest.raises(jaxscale.UnidentifiedError, match="alpha") as refused:
        jaxscale.fit(counted, observations)
    assert refused.value.design.suggested_runs
    fit = jaxscale.fit(counted, observations, allow_unidentified=True, n_resamples=8)
    assert fit.design is not None and fit.design.allowed is True
    assert "unidentified" in [notice.code for notice in fit.notices]


def test_fixed_parameters(huber_fit):
    fit = jaxscale.fit(counted, observed(), fixed={"alpha": 0.34, "E": 1.8}, n_resamples=2)
    assert fit.params["alpha"] == 0.34 and fit.params["E"] == 1.8
    assert fit.free == ("A", "B", "beta") and set(fit.stderr) == {"A", "B", "beta"}
    assert fit.objective >= huber_fit.objective


def test_rows_of_weight_zero_have_no_effect():
    whole = observed()
    table = {**whole.inputs, "loss": whole.response.copy(), "w": np.ones(45)}
    table["loss"][7], table["w"][7] = 50.0, 0.0
    with_weights = Observations.from_table(table, inputs=["N", "D"], response="loss", weight="w")
    kept = {name: np.delete(values, 7) for name, values in table.items()}
    without = Observations.from_table(kept, inputs=["N", "D"], response="loss")
    one = jaxscale.fit(counted, with_weights, noise=noise.squared("log"))
    other = jaxscale.fit(counted, without, noise=noise.squared("log"))
    assert one.rows_used == 44
    for name in one.params:
        assert one.params[name] == pytest.approx(other.params[name], rel=1e-8)
        assert one.stderr[name] == pytest.approx(other.stderr[name], rel=1e-6)


def test_explicit_starts_and_grid(huber_fit):
    one = jaxscale.fit(counted, observed(), starts=dict(TRUE), n_resamples=2)
    assert one.objective == pytest.approx(huber_fit.objective, rel=1e-10)
    assert one.landscape.scored == 1
    axes = dict(E=[1.0, 2.0], A=[100.0, 1000.0], alpha=[0.2, 0.5], B=[100.0, 1000.0], beta=[0.2, 0.5])
    crossed = jaxscale.fit(counted, observed(), starts=jaxscale.start_grid(**axes), n_resamples=2)
    assert crossed.landscape.scored == 32
    assert crossed.objective == pytest.approx(huber_fit.objective, rel=1e-10)


def test_seeds_are_reproducible():
    resampled: dict[str, Any] = dict(noise=noise.huber(1e-3), n_resamples=8)
    one = jaxscale.fit(counted, observed(), seed=7, **resampled)
    again = jaxscale.fit(counted, observed(), seed=7, **resampled)
    assert one == again
    other = jaxscale.fit(counted, observed(), seed=8, **resampled)
    assert other.params["alpha"] == pytest.approx(one.params["alpha"], rel=1e-7)
    assert other.stderr != one.stderr


def test_noise_free_data_are_fitted_exactly():
    design = isoflop(np.geomspace(1e18, 1e22, 5).tolist(), 9)
    table = simulate(laws.get("chinchilla"), TRUE, design, noise=0.0, seed=0)
    fit = jaxscale.fit(counted, Observations.from_table(table, inputs=["N", "D"], response="loss"), n_resamples=2)
    assert fit.status == "converged"
    for name, value in TRUE.items():
        assert fit.params[name] == pytest.approx(value, rel=1e-8)


def test_vanishing_term_is_reported():
    design = isoflop(np.geomspace(1e18, 1e22, 5).tolist(), 9)
    wiggle = np.random.default_rng(0).standard_normal(45)
    # More tokens make the loss larger, which the term of the data cannot follow.
    falling = 1.0 + 1.5 * (design["N"] / 1e9) ** -0.1 - 0.02 * (design["D"] / 2e10) ** -0.3
    table = {**design, "loss": falling * np.exp(1e-3 * wiggle)}
    observations = Observations.from_table(table, inputs=["N", "D"], response="loss")
    fit = jaxscale.fit(counted, observations, n_resamples=2, allow_unidentified=True)
    messages = {notice.code: notice.message for notice in fit.notices}
    assert "outside_range" not in messages
    assert messages["flat"] == "The predictions do not depend on beta at the optimum."
    # The term of the data is that which the responses do not have.
    assert messages["at_bound"] == "B is at 0, the bound of its support."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(starts=0), "Argument starts must be a positive number"),
        (dict(starts=True), "Argument starts must be a positive number"),
        (dict(starts={"E": 1.0}), "Argument starts must give every free parameter, but lacks A, alpha, B, beta"),
        (dict(starts={"Z": 1.0}), "Argument starts names 'Z'"),
        (dict(starts={**TRUE, "E": [1.0, 2.0], "A": [1.0, 2.0, 3.0]}), "equally long sequences"),
        (dict(starts={**TRUE, "E": -1.0}), "Argument starts must keep E in its support"),
        (dict(fixed={"gamma": 1.0}), "Argument fixed names 'gamma'"),
        (dict(fixed={"E": -1.0}), "Argument fixed must keep E in its support"),
        (dict(fixed=dict(TRUE)), "Argument fixed must leave a parameter to fit"),
        (dict(seed=-1), "Argument seed must not be negative"),
        (dict(n_resamples=1), "Argument n_resamples must be 0 or at least 2"),
        (dict(polish=0), "Argument polish must be at least 1"),
    ],
)
def test_argument_messages(arguments, message):
    with pytest.raises(ValueError, match=message):
        jaxscale.fit(counted, observed(), **arguments)


def test_wrong_observations_and_unknown_laws_raise(untyped):
    wrong: Any = {"N": [1.0]}
    with pytest.raises(TypeError) as refusal:
        jaxscale.fit(counted, wrong)
    assert str(refusal.value) == (
        "Argument observations must be Observations (make them with Observations.from_table), but is dict."
    )
    with pytest.raises(ValueError, match="chinchilla"):
        jaxscale.fit("chinchila", observed())


def test_tracers_raise_with_advice_to_use_solve():
    observations = observed()

    def inside(value):
        return jaxscale.fit(counted, observations, fixed={"E": value}).objective

    with pytest.raises(TypeError, match=r"use jaxscale\.solve"):
        jax.jit(inside)(1.0)


def test_predict_needs_all_inputs(huber_fit):
    with pytest.raises(ValueError, match="needs the input D to predict"):
        huber_fit.predict(N=1e9)
    with pytest.raises(ValueError, match="has no input 'M'"):
        huber_fit.predict(N=1e9, D=1e10, M=1)


def program_sizes() -> dict[str, int]:
    """Number of compiled shapes of each program of a fit."""
    programs: dict[str, Any] = dict(settle=descent._run_pool, score=descent._score, linearise=linearize.linearise)
    return {name: program._cache_size() for name, program in programs.items()}


@pytest.mark.parametrize("delta", ["scale", 1e-3])
def test_another_data_set_does_not_recompile(delta):
    jaxscale.fit(counted, observed(seed=4), noise=noise.huber(delta), n_resamples=64)
    before = program_sizes()
    jaxscale.fit(counted, observed(seed=5), noise=noise.huber(delta), n_resamples=64)
    assert program_sizes() == before
