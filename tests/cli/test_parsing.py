"""Shared functions of commands: laws from files, output paths, atomic writes, compilation cache."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import laws
from jaxscale.cli import lookup, parsing
from jaxscale.utils import files
from tests.commands import LAW_FILE
from tests.unconfigured import unconfigured_cache


def test_a_law_is_found_by_name_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LAW_FILE)
    assert lookup.find_law("chinchilla") is laws.get("chinchilla")
    assert lookup.find_law(f"{file}:my_law").source == "a test"
    assert lookup.find_law(str(file)).name == "my_law"


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("def f(:\n", "my_law", "laws.py, line 1: invalid syntax; correct this line."),
        ("x = 1\ny = nope\n", "my_law", "laws.py, line 2: NameError: name 'nope' is not defined"),
        ("raise SystemExit('no')\n", "my_law", "laws.py, line 1: SystemExit: no"),
        (LAW_FILE.replace('source="a test"', 'source=""'), "my_law", "line 5: LawError: law 'my_law', field 'source'"),
        ("x = 1\n", "my_law", "laws.py declares no law; decorate a function with jaxscale.law."),
        (LAW_FILE, "my_low", "laws.py declares no law 'my_low' (did you mean 'my_law'?); name one as laws.py:my_law"),
        (LAW_FILE + LAW_FILE.replace("my_law", "two"), "", "laws.py declares several laws; name one as laws.py:my_law"),
    ],
)
def test_error_in_a_file_of_laws_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("laws.py").write_text(content)
    with pytest.raises(ValueError) as refusal:
        lookup.find_law(f"laws.py:{name}" if name else "laws.py")
    assert message in str(refusal.value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_csv_round_trip_is_bitwise(values: list[float]) -> None:
    lines = parsing.csv_text({"a": np.array(values), "b": np.arange(len(values))}).splitlines()
    assert lines[0] == "a,b"
    assert [float(line.split(",")[0]) for line in lines[1:]] == values


def test_read_only_folder_is_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The user that runs the tests may have write access everywhere.
    monkeypatch.setattr(parsing.os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="is not writable; choose another folder"):
        parsing.check_outputs(tmp_path / "out.json")


def test_full_folder_is_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsing.check_outputs(tmp_path / "out.json")
    assert not list(tmp_path.iterdir()), "the trial leaves nothing behind"

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parsing.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(
        ValueError, match=r"cannot be written in .* \(No space left on device\); choose another folder\."
    ):
        parsing.check_outputs(tmp_path / "out.json")


def test_files_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes() == b"12"
    whole = files.write_atomically

    def failing(path: Path, content: bytes) -> None:
        if content == b"4":
            raise OSError("full")
        whole(path, content)

    monkeypatch.setattr(files, "write_atomically", failing)
    with pytest.raises(OSError, match="full"):
        files.write_together({tmp_path / "a": b"3", tmp_path / "b": b"4"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_unusable_compilation_cache_is_reported_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with unconfigured_cache() as settings:
        parsing.enable_compilation_cache()
        assert settings()[0] is None
        folder = tmp_path.resolve() / "file" / "jaxscale" / "xla"
        message = f"jaxscale: compiled programs are not kept in {folder}: {folder.parent}: Not a directory.\n"
        assert capsys.readouterr().err == message
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        parsing.enable_compilation_cache()
        assert settings()[0] == str(tmp_path.resolve() / "cache" / "jaxscale" / "xla")
        assert capsys.readouterr() == ("", "")
