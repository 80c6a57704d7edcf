"""Shared fixtures: real data, float64, one compilation cache, and reproducible hypothesis examples."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import jaxtyping
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# With a bound on its size the cache locks its files, which processes sharing it need. The lock makes an entry cost
# more than the smallest programs take to compile, so those are left out.
CACHE_SETTINGS = {
    "jax_compilation_cache_max_size": 4 * 2**30,
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
# Most tests compile much and compute little: without optimisation they take half the time. The environment decides if
# it says anything: JAX_DISABLE_MOST_OPTIMIZATIONS=false tests optimised programs throughout.
UNOPTIMISED = "jax_disable_most_optimizations"
# The strictest settings a caller may have: no implicit casts between types of arrays, and no implicit axes.
STRICT_PROMOTION = {"jax_numpy_dtype_promotion": "strict", "jax_numpy_rank_promotion": "raise"}

# Share of the memory maps that a process may have above which all compiled programs are dropped between tests: well
# below the share at which the package drops its own, which would disturb a test that counts compilations.
MOST_MAPS_BETWEEN_TESTS = 0.3
# Tests between two looks at the number of maps.
TESTS_BETWEEN_LOOKS = 8
_tests_done = itertools.count(1)


def in_ci() -> bool:
    """Whether this is a run in continuous integration."""
    return os.environ.get("CI") == "true"


hypothesis.settings.register_profile("jaxscale", deadline=None, derandomize=in_ci())
hypothesis.settings.load_profile("jaxscale")


def pytest_configure(config: pytest.Config) -> None:
    """Share compiled programs between the processes of one test run, and with none before it."""
    if not hasattr(config, "workerinput"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxscale-tests-")
        os.environ.update({name.upper(): str(value) for name, value in (CACHE_SETTINGS | STRICT_PROMOTION).items()})
        os.environ.setdefault(UNOPTIMISED.upper(), "true")
        # Matrices of tests are small: threads of BLAS on all cores would mostly wait for each other, at several times
        # the CPU time. This process has imported NumPy already; those of ``-n`` and those that tests start have not.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update(UNOPTIMISED, os.environ[UNOPTIMISED.upper()].lower() in ("true", "1"))
    for name, value in (CACHE_SETTINGS | STRICT_PROMOTION).items():
        jax.config.update(name, value)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the compiled programs of this test run."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_runtest_teardown() -> None:
    """Drop compiled programs before a process has more memory maps than Linux allows (65,530)."""
    # Not before the tests' own import of the package, whose types are checked.
    from jaxscale.utils import memory_maps

    if next(_tests_done) % TESTS_BETWEEN_LOOKS == 0 and memory_maps.share() > MOST_MAPS_BETWEEN_TESTS:
        jax.clear_caches()


def real_data() -> Path:
    """The folder with the real data; without it the test is skipped, and fails in continuous integration."""
    folder = Path(os.environ.get("JAXSCALE_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"needs the real data, which are not in {folder}: set JAXSCALE_DATA to their folder"
        if in_ci() and not os.environ.get("JAXSCALE_SIMULATED_ONLY"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with the real data, whatever a test does to the environment."""
    return real_data()


@pytest.fixture
def x64() -> Iterator[None]:
    """Compute in float64 inside the test, whatever the default of the process."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def implicit_promotion() -> Iterator[None]:
    """JAX's default promotion of types and ranks, on which NumPyro relies."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Compile with optimisation, as users do: for tests of bits, and for those that compute more than they compile.

    The compiled programs of other tests go before and after: no two that are compared differ in this.
    """
    before = jax.config.values[UNOPTIMISED]
    jax.clear_caches()
    jax.config.update(UNOPTIMISED, False)
    yield
    jax.clear_caches()
    jax.config.update(UNOPTIMISED, before)


@pytest.fixture
def untyped() -> Iterator[None]:
    """Disable type checks, so that arguments of a wrong type reach the library's own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def with_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own that holds the example as runs.csv, and a law of two terms."""
    from jaxscale import designs
    from jaxscale.cli import parsing
    from tests.commands import LAW_FILE

    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(parsing.csv_text(designs.example()))
    Path("my_laws.py").write_text(LAW_FILE)
