"""The package as a whole: public names, effects of importing it, and the examples of the README."""

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jaxscale
from tests.conftest import CHECKOUT, real_data

README = CHECKOUT / "README.md"
# Packages that neither the import nor a fit needs.
LATE_IMPORTS = ("matplotlib", "narwhals", "numpyro", "optax", "optimistix", "pandas", "polars", "pyarrow", "rich")
LATE_IMPORTS += ("scipy", "typer")
# Every submodule, but not the one that runs the command line.
SUBMODULES = [
    found.name for found in pkgutil.walk_packages(jaxscale.__path__, "jaxscale.") if not found.name.endswith("__main__")
]


def python(program: str) -> str:
    """Output of a program in a new interpreter in which warnings are errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded() -> dict[str, object]:
    """Attributes of the package after import of every submodule and public name."""
    for name in SUBMODULES:
        importlib.import_module(name)
    assert all(getattr(jaxscale, name) is not None for name in jaxscale.__all__)
    return dict(vars(jaxscale))


def test_the_package_holds_its_public_names_and_its_submodules_and_nothing_else() -> None:
    """Every public attribute is either declared or a submodule, whatever has been imported."""
    assert jaxscale.__all__ == sorted(set(jaxscale.__all__))
    # The import hook that checks types in tests binds the name jaxtyping in every module.
    public = {name: value for name, value in loaded().items() if not name.startswith("_") and name != "jaxtyping"}
    declared = set(jaxscale.__all__) - {"__version__"}
    assert declared <= set(public)
    submodules = {name for name in public if f"jaxscale.{name}" in SUBMODULES}
    assert set(public) - declared - submodules == set()
    assert all(public[name] is sys.modules[f"jaxscale.{name}"] for name in submodules)


def test_a_public_name_is_a_module_only_where_it_is_declared_as_one() -> None:
    """Importing a submodule binds its name in the package, which must not replace a function of that name."""
    stub = ast.parse((Path(jaxscale.__file__).parent / "__init__.pyi").read_text())
    stated = {alias.name: each.module for each in stub.body if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert sorted([*stated, "__version__"]) == jaxscale.__all__
    values = loaded()
    for name, module in stated.items():
        assert isinstance(values[name], types.ModuleType) == (module == "jaxscale"), name
        if module != "jaxscale":
            assert values[name] is getattr(sys.modules[str(module)], name), name


def test_a_public_name_is_found_in_any_order_of_imports() -> None:
    program = """
import importlib, sys, types
from jaxscale import fit
import jaxscale.fitting.fit, jaxscale.data.simulation
import jaxscale
assert isinstance(fit, types.FunctionType) and jaxscale.fit is fit is sys.modules["jaxscale.fitting.fit"].fit
assert jaxscale.simulate is sys.modules["jaxscale.data.simulation"].simulate
names = {}
exec("from jaxscale import *", names)
print(sorted(set(names) - {"__builtins__"}) == jaxscale.__all__)
print("fit" in vars(jaxscale), dir(jaxscale) == jaxscale.__all__)
"""
    assert python(program).splitlines() == ["True", "True True"]


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="^module 'jaxscale' has no attribute 'fitt'$"):
        getattr(jaxscale, "fitt")  # noqa: B009
    with pytest.raises(ImportError, match="cannot import name 'fitt' from 'jaxscale'"):
        from jaxscale import fitt  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue]


def test_version_is_that_of_the_installed_package() -> None:
    assert jaxscale.__version__ == importlib.metadata.version("jaxscale")


def test_importing_changes_no_jax_setting_and_starts_no_device() -> None:
    program = """
import jax
from jax._src import xla_bridge
before = dict(jax.config.values)
def changed():
    after = jax.config.values
    return [name for name in before | after if name not in before or name not in after or before[name] != after[name]]
import jaxscale
print(changed(), "jaxscale.fitting.fit" in __import__("sys").modules)
jaxscale.fit, jaxscale.laws.names()
print(changed(), xla_bridge.backends_are_initialized())
from jaxscale import *
print(changed(), xla_bridge.backends_are_initialized())
"""
    assert python(program).splitlines() == ["[] False", "[] False", "[] False"]


def test_importing_the_package_imports_only_the_standard_library() -> None:
    program = """
import sys
before = set(sys.modules)
import jaxscale
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""
    assert python(program).strip() == "['jaxscale']"


def test_a_fit_and_the_catalogue_import_nothing_that_only_other_calls_need() -> None:
    program = f"""
import sys, jaxscale
jaxscale.fit, jaxscale.fit_many, jaxscale.solve, jaxscale.check, jaxscale.laws.names()
print([name for name in {LATE_IMPORTS} if name in sys.modules])
"""
    assert python(program).strip() == "[]"


def test_package_is_typed() -> None:
    assert (Path(jaxscale.__file__).parent / "py.typed").is_file()


def source_files() -> list[Path]:
    """Every file of the source tree: top-level files and those in the folders of the project."""
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


def test_importing_every_module_changes_no_setting_of_the_process() -> None:
    """Listeners, settings and caches of JAX, and settings of Python, NumPy and the environment."""
    program = f"""
import importlib
import jax
# These have settings of their own; they are imported first.
import matplotlib, numpyro, typer
from tests.global_state import settings

own = jax.jit(lambda x: x + 1)
own(1.0)
style, before = dict(matplotlib.rcParams), settings()
for name in {SUBMODULES!r}:
    importlib.import_module(name)
print(settings() == before, style == dict(matplotlib.rcParams), own._cache_size())
"""
    assert python(program).split() == ["True", "True", "1"]
