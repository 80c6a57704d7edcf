"""The compilation cache: the folder, when it is refused, and that another process loads programs from it."""

import inspect
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest

import jaxscale
from jaxscale.utils import compilation_cache
from tests.unconfigured import SETTINGS, unconfigured_cache


@pytest.fixture
def settings() -> Iterator[Callable[[], list[object]]]:
    with unconfigured_cache() as read:
        yield read


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_default_folder_is_created_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[[], list[object]], umask: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = os.umask(umask)
    try:
        used = jaxscale.enable_compilation_cache()
    finally:
        os.umask(before)
    folder = tmp_path.resolve() / "cache" / "jaxscale" / "xla"
    assert used == str(folder)
    assert settings() == [str(folder), 0.0, -1]
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_folder_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[[], list[object]]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path.resolve() / "a" / "b"
    assert jaxscale.enable_compilation_cache("~/a/b") == str(folder) == settings()[0]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert jaxscale.enable_compilation_cache(folder) == str(folder)


def test_a_folder_that_is_configured_stays_in_use_with_its_settings(
    tmp_path: Path, settings: Callable[[], list[object]]
) -> None:
    own = str(tmp_path / "own")
    jax.config.update(SETTINGS[0], own)
    before = settings()
    assert jaxscale.enable_compilation_cache() == own
    assert jaxscale.enable_compilation_cache(tmp_path / "other") == own
    assert settings() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o702])
@pytest.mark.parametrize("which", ["the folder", "its parent"])
def test_a_folder_that_others_can_write_to_is_refused(
    tmp_path: Path, settings: Callable[[], list[object]], which: str, mode: int
) -> None:
    folder = tmp_path.resolve() / "parent" / "programs"
    folder.mkdir(parents=True, mode=0o700)
    changed = folder if which == "the folder" else folder.parent
    changed.chmod(mode)
    before = settings()
    message = (
        f"compiled programs are not kept in {folder}: it belongs to another user or can be written by others; give"
    )
    with pytest.warns(UserWarning, match=f"^{message}"):
        assert jaxscale.enable_compilation_cache(folder) is None
    assert settings() == before
    with pytest.raises(OSError, match=f"^{message}"):
        compilation_cache.configure(folder)
    changed.chmod(0o700)
    assert jaxscale.enable_compilation_cache(folder) == str(folder)


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[[], list[object]]
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(compilation_cache.os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(OSError, match="it belongs to another user"):
        compilation_cache.configure(folder)
    assert settings()[0] is None


def test_a_parent_where_others_cannot_replace_the_folder_is_accepted(
    tmp_path: Path, settings: Callable[[], list[object]]
) -> None:
    """A sticky folder such as that for temporary files: all users write to it, and only owners replace their files."""
    tmp_path.chmod(0o1777)
    folder = tmp_path.resolve() / "programs"
    assert jaxscale.enable_compilation_cache(folder) == str(folder) == settings()[0]


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path, settings: Callable[[], list[object]]) -> None:
    (tmp_path / "file").write_text("")
    before = settings()
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "a" / "b", "Not a directory")):
        with pytest.warns(UserWarning, match=rf"^compiled programs are not kept in .*: .*/file.*: {reason}\.$"):
            assert jaxscale.enable_compilation_cache(folder) is None
    assert settings() == before


def test_a_second_process_loads_the_programs_of_the_first(tmp_path: Path) -> None:
    program = """
import collections, jax, jaxscale
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event.rpartition("/")[2]]))
law = jaxscale.laws.get("chinchilla")
numbers = law.published["besiroglu2024"]
jax.numpy.ones(1)
assert not counts["cache_hits"] + counts["cache_misses"]
folder = jaxscale.enable_compilation_cache()
value = float(jax.jit(law)(1e9, 1e11, **numbers))
print(folder, value, counts["cache_misses"], counts["cache_hits"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}

    def run() -> list[str]:
        words = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first, second = run(), run()
    folder = tmp_path.resolve() / "jaxscale" / "xla"
    assert first[0] == second[0] == str(folder)
    assert first[1] == second[1]
    compiled = int(first[2])
    assert compiled > 0 and first[3] == "0"
    assert second[2:] == ["0", str(compiled)]
    assert len([path for path in folder.iterdir() if path.name.startswith("jit_")]) >= compiled


def test_it_is_documented_where_python_users_look() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme[readme.index("\n## Python") : readme.index("\n### Uncertainty")]
    assert "jaxscale.enable_compilation_cache()" in section
    assert "jaxscale.enable_compilation_cache()" in str(inspect.getdoc(jaxscale.enable_compilation_cache))
