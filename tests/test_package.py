"""The package as a whole: its public names, what importing it does, and what a newcomer is told to type."""

import importlib.metadata
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jaxscale
from tests.conftest import CHECKOUT, real_data

README = CHECKOUT / "README.md"
LATE_IMPORTS = ("matplotlib", "narwhals", "numpyro", "optax", "optimistix", "pandas", "polars", "pyarrow", "rich")
LATE_IMPORTS += ("scipy", "typer")


def python(program: str) -> str:
    """What a program prints in a fresh interpreter in which every warning is an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_is_sorted_and_equals_what_is_visible() -> None:
    """A name that a person can see is a name that the project keeps."""
    assert list(jaxscale.__all__) == sorted(set(jaxscale.__all__))
    public = {name for name in dir(jaxscale) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(jaxscale, name), types.ModuleType)}
    declared = set(jaxscale.__all__) - {"__version__"}
    assert declared <= public
    assert public - modules <= declared
    assert all(getattr(jaxscale, name) is not None for name in declared)


def test_version_is_that_of_the_installed_package() -> None:
    assert jaxscale.__version__ == importlib.metadata.version("jaxscale")


def test_importing_changes_no_jax_setting_and_starts_no_device() -> None:
    program = """
import jax
from jax._src import xla_bridge
before = dict(jax.config.values)
import jaxscale, jaxscale.laws
after = jax.config.values
print([name for name in before | after if name not in before or name not in after or before[name] != after[name]])
print(xla_bridge.backends_are_initialized())
"""
    assert python(program).splitlines() == ["[]", "False"]


def test_importing_leaves_what_only_some_calls_need() -> None:
    program = f"import sys, jaxscale; print([name for name in {LATE_IMPORTS} if name in sys.modules])"
    assert python(program).strip() == "[]"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(jaxscale.__file__).parent / "py.typed").is_file()


def source_files() -> list[Path]:
    """Every file of the source tree: the files at its top and all below the folders that belong to the project."""
    # In a worktree .git is a file.
    found = [path for path in CHECKOUT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in ("jaxscale", "tests", "benchmarks", "notebooks", ".ci", ".github"):
        found += [path for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts]


def test_no_file_names_a_path_of_one_machine() -> None:
    own = re.compile(rb"(^|[^\w.])/(?:" + b"|".join([b"work", b"root", b"home", b"Users"]) + rb")/", re.MULTILINE)
    files = source_files()
    assert README in files and Path(__file__).resolve() in files
    assert [str(path) for path in files if own.search(path.read_bytes())] == []


@pytest.mark.parametrize("number, last", [(1, "jaxscale demo"), (2, "pytest -n 2")])
def test_ci_runs_the_two_blocks_that_open_the_readme(number: int, last: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    printed = subprocess.run([CHECKOUT / ".ci" / "readme_block", str(number)], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == blocks[number - 1]
    assert printed.stdout.splitlines()[-1] == last
    assert f".ci/readme_block {number}" in (CHECKOUT / ".ci" / "run").read_text()


def test_a_block_that_the_readme_lacks_is_an_error() -> None:
    printed = subprocess.run([CHECKOUT / ".ci" / "readme_block", "99"], capture_output=True, text=True)
    assert printed.returncode != 0
    assert printed.stderr == "README.md has no sh block 99\n"


def test_real_data_are_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(tmp_path))
    assert real_data() == tmp_path


@pytest.mark.parametrize("environment", [{"CI": ""}, {"CI": "true", "JAXSCALE_SIMULATED_ONLY": "1"}])
def test_without_real_data_a_test_is_skipped_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]
) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(tmp_path / "absent"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(pytest.skip.Exception, match="absent: set JAXSCALE_DATA"):
        real_data()


def test_without_real_data_a_test_fails_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(tmp_path / "absent"))
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("JAXSCALE_SIMULATED_ONLY", raising=False)
    with pytest.raises(pytest.fail.Exception, match="absent: set JAXSCALE_DATA"):
        real_data()
