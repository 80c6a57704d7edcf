"""Published and recomputed optima of real sweeps, at default settings."""

from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import noise
from jaxscale.data.observations import Observations
from jaxscale.results.parts import StandardErrors
from tests.real_sweeps import COLUMNS, sweep

PUBLISHED_EXPONENTS = {"alpha": 0.0154, "beta": 0.0206}
BASE = dict(
    A=float(np.exp(6.255414)),
    B=float(np.exp(7.3049974)),
    E=float(np.exp(0.6254804)),
    alpha=0.3526596,
    beta=0.3526596,
)


@pytest.fixture(scope="module")
def epoch(data: Path) -> Observations:
    return sweep(data, "chinchilla_epoch", "in_published_fit == 1")


@pytest.fixture(scope="module")
def huber_fit(epoch: Observations) -> jaxscale.Fit:
    return jaxscale.fit("chinchilla", epoch, noise=noise.huber(1e-3))


def test_the_replication_of_chinchilla(huber_fit):
    assert huber_fit.rows_used == 240
    assert huber_fit.objective <= 0.00101827401781
    published = dict(alpha=0.3473105, beta=0.3671724, E=1.817218, A=477.826, B=2143.417)
    digits = dict(alpha=5e-8, beta=5e-8, E=5e-7, A=5e-4, B=5e-4)
    for name, value in published.items():
        assert huber_fit.params[name] == pytest.approx(value, abs=digits[name]), name
    assert huber_fit.status == "converged"
    assert huber_fit.certificate < 1e-12


def test_its_bootstrap_standard_errors_are_the_published_ones(huber_fit):
    assert huber_fit.errors.method == "bootstrap"
    for name, value in PUBLISHED_EXPONENTS.items():
        assert huber_fit.stderr[name] == pytest.approx(value, rel=0.15), name


def test_the_published_table_is_the_absolute_loss_optimum(epoch):
    fit = jaxscale.fit("chinchilla", epoch, noise=noise.absolute(), n_resamples=2)
    assert fit.objective == pytest.approx(1.1294946536, abs=5e-11)
    published = dict(A=482.00605, B=2085.43625, E=1.81686413, alpha=0.34781307, beta=0.36585416)
    digits = dict(A=5e-6, B=5e-6, E=5e-9, alpha=5e-9, beta=5e-9)
    for name, value in published.items():
        assert fit.params[name] == pytest.approx(value, abs=digits[name]), name
    assert fit.certificate < 1e-14
    with np.errstate(all="raise"):
        residual = np.log(fit.predict(N=epoch.inputs["N"], D=epoch.inputs["D"])) - np.log(epoch.response)
    assert np.sum(np.abs(residual) < 1e-12) == 5  # A vertex: as many rows are fitted exactly as there are parameters.


def test_squared_and_student_optima_of_the_same_rows(epoch):
    squared = jaxscale.fit("chinchilla", epoch, noise=noise.squared("log"))
    assert squared.params["beta"] == pytest.approx(0.4059, abs=5e-5)
    assert squared.params["E"] == pytest.approx(1.8645, abs=1e-4)
    student = jaxscale.fit("chinchilla", epoch, noise=noise.student_t(4))
    assert student.params["beta"] == pytest.approx(0.363, abs=5e-4)
    assert student.stderr["beta"] == pytest.approx(0.010, rel=0.5)
    raw = jaxscale.fit("chinchilla", epoch, noise=noise.huber(1e-3, "linear"), n_resamples=2)
    assert raw.params["beta"] == pytest.approx(0.37297, abs=5e-6)


@pytest.mark.parametrize(
    ("name", "where", "delta", "objective"),
    [
        ("chinchilla_epoch", None, 1e-3, 0.00182601052307 * (1 + 1e-8)),
        ("gemstones", None, 1e-3, 0.0065925341645 * (1 + 1e-8)),
        ("gemstones", None, 1e-4, 0.00069232891),
        ("gemstones", "in_fit_le_100b == 1", 1e-3, 0.00198161281),
        ("gemstones", "in_fit_le_100b == 1", 1e-4, 0.00020750516),
        ("gemstones", "in_fit_120b_plus == 1", 1e-3, 0.0038623994),
        ("gemstones", "in_fit_120b_plus == 1", 1e-4, 0.00040807853),
        ("gemstones", "in_fit_width_512 == 1", 1e-3, 7.92507e-5),
    ],
)
def test_reference_objectives(data, name, where, delta, objective):
    observations = sweep(data, name, where)
    fit = jaxscale.fit(
        "chinchilla", observations, noise=noise.huber(delta), n_resamples=2, allow_unidentified="512" in str(where)
    )
    assert fit.objective <= objective


def test_gemstones_without_embeddings(data):
    observations = sweep(data, "gemstones", "in_fit_le_100b == 1", dict(N="params_no_embed", D="tokens"))
    for delta, objective in ((1e-3, 0.0017466699), (1e-4, 0.0001838567)):
        fit = jaxscale.fit("chinchilla", observations, noise=noise.huber(delta), n_resamples=2)
        assert fit.objective <= objective


def test_gemstones_by_run_has_clustered_errors(data):
    observations = sweep(data, "gemstones", "in_fit_le_100b == 1", run="run")
    clustered = jaxscale.fit("chinchilla", observations, noise=noise.squared("log"))
    alone = jaxscale.fit("chinchilla", sweep(data, "gemstones", "in_fit_le_100b == 1"), noise=noise.squared("log"))
    assert clustered.params == alone.params
    assert clustered.errors == StandardErrors("cluster sandwich", 21)
    # Checkpoints of a run are correlated: 220 rows are less informative about alpha than 220 runs.
    assert clustered.stderr["alpha"] > 1.5 * alone.stderr["alpha"]


@pytest.fixture(scope="module")
def repeated(data: Path) -> Observations:
    return sweep(data, "data_constrained_c4", columns=COLUMNS | dict(U_D="unique_tokens"))


def test_data_constrained_has_three_minima(repeated):
    fit = jaxscale.fit("data_constrained", repeated, noise=noise.huber(1e-3), fixed=BASE, n_resamples=2)
    assert fit.objective <= 0.014459442
    assert fit.params["R_D"] == pytest.approx(57.3249, abs=5e-5)
    assert fit.params["R_N"] == pytest.approx(2.28275, abs=5e-6)
    listed = [basin.objective for basin in fit.landscape.basins]
    assert listed[1:3] == pytest.approx([0.0144651027, 0.0144869455], rel=1e-8)
    assert fit.landscape.basins[2].params["R_D"] == pytest.approx(13.698, abs=1e-3)
    assert "other_basins" in [notice.code for notice in fit.notices]


def test_data_constrained_all_free(repeated):
    fit = jaxscale.fit("data_constrained", repeated, noise=noise.huber(1e-3), n_resamples=2, allow_unidentified=True)
    assert fit.objective <= 0.0062322


def test_the_benchmark_dataset_is_found_by_name(data, monkeypatch):
    monkeypatch.setenv("JAXSCALE_DATA", str(data))
    assert len(jaxscale.datasets.load("chinchilla_epoch")) == 245
