"""Results of the competitors in the benchmarks."""

import os
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from benchmarks import peers, peers_jax, peers_packages, startup
from jaxscale.cli import app

OPTIMUM = 0.00101827401781
# One of the 8 % of the published grid from which L-BFGS-B converges to the optimum.
GOOD = dict(e=0.5, a=5.0, b=20.0, alpha=0.5, beta=1.0)
PUBLISHED_GEMSTONES = [
    [0.3966402, 1.0738808, -0.2097603, 6.2174536, 10.9040518, 0.2052808, 0.4741416, 0.3720965, 0.5116481]
]


@pytest.fixture
def tables(data, monkeypatch):
    monkeypatch.setenv("JAXSCALE_DATA", str(data))


@pytest.fixture
def sweep(tables):
    from benchmarks.common import epoch_sweep

    return epoch_sweep()


@pytest.fixture
def starts():
    """Six starts, from the first of which L-BFGS-B reaches the optimum."""
    points = np.random.default_rng(0).uniform(0.8, 1.2, (6, 5))
    points[0] = 1
    return {name: value * points[:, k] for k, (name, value) in enumerate(GOOD.items())}


@pytest.mark.parametrize("inputs", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_agree_with_differences(inputs, weighted):
    rng = np.random.default_rng(inputs)
    logs = list(rng.uniform(1, 3, (inputs, 50)))
    x = rng.uniform(0.2, 1, 2 * inputs + 1)
    weights = rng.poisson(1, 50).astype(float) if weighted else None
    objective = peers.power_objective(logs, rng.normal(1, 0.3, 50), 0.1, weights)
    _, gradient = objective(x)
    assert gradient == pytest.approx(approx_fprime(x, lambda x: objective(x)[0], 1e-7), rel=1e-4, abs=1e-4)


def test_the_objective_is_the_sum_of_huber_losses():
    size, loss = np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 1.9])
    objective = peers.power_objective([np.log(size), np.log(size)], np.log(loss), 0.01)
    r = np.log(1 + 2 / size + 0.5 / size**2) - np.log(loss)
    huber = np.where(abs(r) <= 0.01, r**2 / 2, 0.01 * (abs(r) - 0.005))
    x = np.array([0, np.log(2), np.log(0.5), 1, 2])
    assert objective(x)[0] == pytest.approx(huber.sum(), rel=1e-12)
    assert objective(x - [800, 0, 0, 0, 0])[0] > 0  # By log-sum-exp: no term underflows into a logarithm of zero.


def test_the_jax_objectives_are_the_same(x64):
    rng = np.random.default_rng(0)
    data = tuple(rng.uniform(1, 3, (3, 50)))
    x = rng.uniform(0.2, 1, 5)
    value, _ = peers.power_objective(list(data[:2]), data[2], 0.1)(x)
    point, rows = jnp.asarray(x), tuple(map(jnp.asarray, data))
    assert float(peers_jax.objective(point, rows, 0.1)) == pytest.approx(value, rel=1e-12)
    roots = np.asarray(peers_jax.root_residuals(point, rows, 0.1))
    assert roots @ roots / 2 == pytest.approx(value, rel=1e-12)


def test_one_scipy_run_reaches_the_optimum(sweep):
    value, parameters = peers.scipy_single(sweep)
    assert value == pytest.approx(OPTIMUM, rel=1e-9)
    assert parameters == pytest.approx([1.817218, 477.826, 2143.417, 0.3473105, 0.3671724], rel=1e-6)


def test_scipy_ends_at_or_above_the_optimum(sweep, starts):
    ends = peers.scipy_grid(sweep, starts)
    assert ends.shape == (6,) and np.all(ends >= OPTIMUM * (1 - 1e-9))
    assert ends[0] == pytest.approx(OPTIMUM, rel=1e-6)


def test_warm_refit_agrees_with_a_fit_of_repeated_rows(sweep):
    counts = np.random.default_rng(0).multinomial(240, np.full(240, 1 / 240), 3)
    values, parameters = peers.scipy_bootstrap(sweep, np.vstack([np.ones(240), counts]))
    assert values[0] == pytest.approx(OPTIMUM, rel=1e-9)
    for row, value, found in zip(counts, values[1:], parameters[1:], strict=True):
        alone, there = peers.scipy_single({name: np.repeat(column, row) for name, column in sweep.items()})
        assert value == pytest.approx(alone, rel=1e-7)
        assert found == pytest.approx(there, rel=1e-2)


@pytest.mark.parametrize("method", ["bfgs", "lm"])
def test_optimistix_agrees_with_scipy(sweep, starts, method):
    ends = peers_jax.optimistix_grid(sweep, starts, method)
    assert ends.dtype == np.float64 and np.all(ends >= OPTIMUM * (1 - 1e-9))
    assert ends.min() == pytest.approx(OPTIMUM, rel=1e-8)
    assert method == "bfgs" or ends.max() == pytest.approx(OPTIMUM, rel=1e-6)


def test_optax_agrees_with_scipy(sweep, starts):
    ends = peers_jax.optax_grid(sweep, {name: column[:2] for name, column in starts.items()})
    assert ends.dtype == np.float64 and np.all(ends >= OPTIMUM * (1 - 1e-9))
    assert ends.min() == pytest.approx(OPTIMUM, rel=1e-8)


def test_the_published_gemstones_objective(tables):
    sweep = peers.gemstones_sweep()
    value, gradient = peers.gemstones_objective(sweep)(np.array(PUBLISHED_GEMSTONES[0]))
    assert value == pytest.approx(0.0026427674, abs=5e-11)
    assert np.abs(gradient).max() < 1e-3
    assert peers.scipy_gemstones(sweep, np.array(PUBLISHED_GEMSTONES))[0] <= value


def test_the_gemstones_grid_is_the_published_one_and_lazy():
    grid = peers.gemstones_grid()
    assert len(grid) == 4_050_000
    assert list(grid[0]) == [-1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert list(grid[1]) == [-0.5, 0, 0, 0, 0, 0, 0, 0, 0]
    assert list(grid[len(grid) - 1]) == [1, 25, 25, 25, 25, 2, 2, 2, 2]
    assert len(np.unique(grid[: 5 * 6 * 6], axis=0)) == 180 and np.all(grid[:180][:, 1:3] == 0)
    some = peers.gemstones_grid(100)
    assert len(some) == 100 and some[:].shape == (100, 9)
    assert np.array_equal(some[[3, 99]], some[:][[3, 99]])
    with pytest.raises(IndexError, match="has 100 starts"):
        some[100]


def test_the_isoflop_sweeps(tables):
    isoflop = peers.isoflop_sweeps()
    assert {name: len(sweep["loss"]) for name, sweep in isoflop.items()} == {"llama3": 133, "comma": 85, "nemotron": 88}
    assert all(np.all(column > 0) for sweep in isoflop.values() for column in sweep.values())


def test_the_array_grid_scores_what_the_authors_function_scores():
    rng = np.random.default_rng(0)
    axes, x = tuple(axis[::5] for axis in peers.bnsl_grid()[:2]) + peers.bnsl_grid()[2:], np.array([3.0, 30.0, 300.0])
    y = rng.uniform(0.5, 2, 3)
    best = peers._best_of_grid(axes, x, np.log1p(y))
    with np.errstate(all="ignore"):
        scores = [
            np.mean((np.log1p(peers.bnsl(x, *point)) - np.log1p(y)) ** 2)
            for point in zip(*(rng.choice(axis, 2000) for axis in axes), strict=True)
        ]
        score = np.mean((np.log1p(peers.bnsl(x, *best)) - np.log1p(y)) ** 2)
    assert score <= np.nanmin(scores)


def test_brute_force_fits_a_broken_power_law(tables):
    assert np.prod([len(axis) for axis in peers.bnsl_grid()]) == 163_840
    x = np.geomspace(1, 1000, 60)
    truth = [0.3, 1.5, 0.1, 0.6, 40, 0.2]
    objective, found = peers.bnsl_brute_force(x, peers.bnsl(x, *truth))
    assert objective < 1e-18
    assert found == pytest.approx(truth, rel=1e-5)
    x, y = peers.learning_curve()
    assert len(x) == 68
    by_arrays, by_loop = (peers.bnsl_brute_force(x, y, loop=loop) for loop in (False, True))
    assert by_arrays[0] == pytest.approx(0.0001594526, rel=1e-6)
    assert by_arrays[0] == by_loop[0] and np.array_equal(by_arrays[1], by_loop[1])


def test_missing_package_reports_how_to_install_it(sweep, monkeypatch):
    monkeypatch.delenv(peers_packages.VARIABLE, raising=False)
    for run in (peers_packages.chinchilla_package(sweep), peers_packages.simple_scaling_laws_package(sweep)):
        assert run.note == "not installed: pip install chinchilla simple-scaling-laws" and np.isnan(run.objective)
    monkeypatch.setenv(peers_packages.VARIABLE, sys.executable)
    monkeypatch.setattr(peers_packages, "_SIMPLE", "import no_such_package")
    assert peers_packages.simple_scaling_laws_package(sweep).note == peers_packages.MISSING


@pytest.mark.skipif(not os.environ.get(peers_packages.VARIABLE), reason=f"needs {peers_packages.VARIABLE}")
def test_packages_find_what_they_minimise(sweep):
    run = peers_packages.chinchilla_package(sweep, every=900)
    assert run.starts == 5 and run.projected == pytest.approx(900 * run.seconds)
    assert run.objective == pytest.approx(OPTIMUM, rel=1e-4)
    run = peers_packages.simple_scaling_laws_package(sweep)
    assert run.own_objective == pytest.approx(0.0416019038, rel=1e-8)
    assert run.objective > OPTIMUM * 1.05


def test_the_startup_table_shows_medians_ratios_and_targets():
    turns = [(3.0, 4.0), (2.0, 9.0), (1.0, 5.0)]
    assert startup.cells("fit-filled", turns, 0.5) == [
        "jaxscale fit, 99 rows, filled cache",
        "2 s, 5 CPU s",
        "4.00",
        "2.4 x",
        "1.8 x",
    ]
    assert startup.cells("many-first", turns, 0.5)[1:] == ["2 s, 5 CPU s", "4.00", "12 s", ""]
    assert startup.cells("python-fit", turns, 0.5)[1:] == ["5 CPU s", "", "4 CPU s", "3 CPU s"]
    assert startup.cells("import", turns, 0.5)[1:] == ["2.00 x import jax, 5.00 in CPU s", "", "1.25 x", "1.1 x"]
    assert startup.cells("new-law-maps", turns, 0.5)[1:] == ["5 maps", "", "200 maps", ""]


def test_the_startup_rows_are_chosen_by_name(capsys):
    assert startup.parse_options([]).chosen == [name for name in startup.ROWS if name != "ones"]
    assert startup.parse_options(["--only", "many", "--only", "python-fit"]).chosen == [
        "python-fit",
        "many-first",
        "many-again",
    ]
    with pytest.raises(SystemExit):
        startup.parse_options(["--only", "nope"])
    assert "no row has nope in its name; rows are ones, posterior-filled" in capsys.readouterr().err


def test_the_startup_rows_hold_the_help_of_every_command():
    registered = [each.name or getattr(each.callback, "__name__", "") for each in app.app.registered_commands]
    assert sorted(startup.COMMANDS) == sorted(registered)
    assert set(startup.ONCE) <= set(startup.ROWS) and set(startup.HELP) <= set(startup.ROWS)


def test_the_startup_table_measures_each_row_in_each_round():
    message = []
    found = startup.measure_rows(["notices"], 2, message.append)
    assert message == [f"round {turn} of 2: {name}" for turn in (1, 2) for name in ("ones", "notices")]
    assert set(found) == {"ones", "notices"} and {len(turns) for turns in found.values()} == {2}
    assert all(np.all(np.isfinite(turns)) for turns in found.values())


def test_a_startup_process_has_a_cache_and_a_hash_seed_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "of the caller")
    monkeypatch.setenv("XDG_CACHE_HOME", "of the caller")
    names = ("XDG_CACHE_HOME", "PYTHONHASHSEED", "JAX_COMPILATION_CACHE_DIR")
    program = ["-c", f"import os; print([os.environ.get(name, '') for name in {names}])"]
    process = startup.Process(tmp_path)
    named, again, own = (process.run(program, cache, seed)[2] for cache, seed in (("a", 1), ("a", 2), ("", 3)))
    assert named == f"{[str(tmp_path / 'a'), '1', '']}\n" and again == f"{[str(tmp_path / 'a'), '2', '']}\n"
    assert own.startswith(f"['{tmp_path}") and "'3'" in own and not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="(?s)-c fail failed:.*NameError"):
        process.run(["-c", "fail"])
