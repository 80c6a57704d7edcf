"""Checkpoints: after any interruption, the same call ends with bitwise equal results."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxscale import JournalError, designs, fit, fit_many, noise, start_grid
from jaxscale.cli import parsing
from jaxscale.engine.runner import Runner
from jaxscale.utils.checkpoint import Journal
from tests.sweeps import small, sweep

Call = Callable[..., bytes]


def one(**more: Any) -> bytes:
    """With this noise standard errors come from resamples, which are stored as parts too."""
    return fit(small, sweep(), **{"noise": noise.huber(1e-3), "n_resamples": 300, **more}).to_json().encode()


def from_a_grid(**more: Any) -> bytes:
    axes = dict(E=np.linspace(0.1, 1.7, 12), A=np.geomspace(10, 1e4, 12), alpha=np.linspace(0.1, 0.9, 12))
    return fit(small, sweep(), starts=start_grid(**axes), noise=noise.squared("log"), **more).to_json().encode()


def many(**more: Any) -> bytes:
    weights = np.random.default_rng(0).multinomial(20, np.ones(20) / 20, size=70).astype(float)
    fits = fit_many(small, [sweep(seed) for seed in range(9)], weight=[weights] * 9, **more)
    arrays = [*fits.params.values(), fits.objective, fits.status, fits.agree, fits.polished, fits.steps]
    return b"".join(array.tobytes() for array in arrays)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Killed(BaseException):
    """An exception that the library does not catch."""


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many parts every call of a runner computed."""
    counts: list[int] = []
    whole = Runner._run

    def counting(self: Runner, program: Any, parts: Any) -> Any:
        counts.append(len(parts))
        return whole(self, program, parts)

    monkeypatch.setattr(Runner, "_run", counting)
    return counts


@pytest.mark.parametrize("call", [one, from_a_grid, many])
def test_a_run_that_stops_after_any_part_goes_on_to_the_same_bits(
    call: Call, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = call()
    computed.clear()
    assert call(checkpoint=tmp_path / "whole") == plain
    total = sum(computed)
    assert total == len(list((tmp_path / "whole").glob("*.part"))) >= 5
    written = Journal.write
    for finished in range(total):
        left = [finished]

        def dying(self: Journal, key: str, arrays: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            written(self, key, arrays)

        folder = tmp_path / str(finished)
        monkeypatch.setattr(Journal, "write", dying)
        with pytest.raises(Killed):
            call(checkpoint=folder)
        monkeypatch.setattr(Journal, "write", written)
        assert len(list(folder.glob("*.part"))) == finished
        computed.clear()
        assert call(checkpoint=folder) == plain
        assert sum(computed) == total - finished
        assert contents(folder) == contents(tmp_path / "whole")


def test_a_finished_run_computes_nothing_again(tmp_path: Path, computed: list[int]) -> None:
    first = one(checkpoint=tmp_path)
    before = contents(tmp_path)
    computed.clear()
    assert one(checkpoint=tmp_path) == first
    assert computed == [] and contents(tmp_path) == before


def test_any_part_that_is_gone_is_computed_again(tmp_path: Path, computed: list[int]) -> None:
    first = one(checkpoint=tmp_path)
    before = contents(tmp_path)
    for path in sorted(tmp_path.glob("*.part"))[::3]:
        path.unlink()
    gone = len(before) - len(contents(tmp_path))
    computed.clear()
    assert one(checkpoint=tmp_path) == first
    assert sum(computed) == gone and contents(tmp_path) == before


def test_what_a_killed_process_leaves_behind_does_not_matter(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.json.abc123").write_bytes(b'{"law"')
    first = one(checkpoint=folder)
    (folder / ".0123.part.xyz").write_bytes(b"half")
    assert one(checkpoint=folder) == first == one()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    def message(**more: Any) -> str:
        """Message of a call that refuses the folder and leaves it unchanged."""
        before = contents(tmp_path)
        with pytest.raises(JournalError) as refusal:
            one(checkpoint=tmp_path, **more)
        assert contents(tmp_path) == before
        return str(refusal.value)

    return message


@pytest.mark.parametrize("damage", [lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: c[: len(c) // 2], lambda c: b""])
def test_a_damaged_part_is_refused(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[bytes], bytes]
) -> None:
    whole = one(checkpoint=tmp_path)
    place = sorted(tmp_path.glob("*.part"))[1]
    place.write_bytes(damage(place.read_bytes()))
    assert refused() == f"Checkpoint file {place} is damaged; delete it to compute its part again."
    place.unlink()
    assert one(checkpoint=tmp_path) == whole


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (dict(seed=1), "seed"),
        (dict(starts=2048, polish=32), "polish, starts"),
        (dict(n_resamples=20), "n_resamples"),
        (dict(noise=noise.squared("log")), "data_sha256, noise"),
        (dict(fixed={"E": 1.7}), "fixed"),
        (dict(starts=dict(E=1.7, A=300.0, alpha=0.34)), "given"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    tmp_path: Path, refused: Callable[..., str], more: dict[str, Any], differs: str
) -> None:
    one(checkpoint=tmp_path)
    message = refused(**more)
    assert message == (
        f"Checkpoint {tmp_path} belongs to another run (it differs in {differs}); give another folder, or delete "
        "this one."
    )


def test_a_folder_of_other_data_or_another_law_is_refused(tmp_path: Path) -> None:
    one(checkpoint=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(JournalError, match=r"differs in data_sha256\)"):
        fit(small, sweep(1), noise=noise.huber(1e-3), n_resamples=300, checkpoint=tmp_path)
    with pytest.raises(JournalError, match="differs in given, n_resamples, nested, noise, "):
        fit_many(small, sweep(), noise=noise.huber(1e-3), checkpoint=tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "thesis.tex").write_text("irreplaceable")
    assert refused() == f"Checkpoint {tmp_path} is not empty and holds no run.json; give an empty folder."


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", "\udcff"])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, refused: Callable[..., str], content: str) -> None:
    (tmp_path / "run.json").write_bytes(content.encode(errors="surrogateescape"))
    assert refused() == f"Checkpoint {tmp_path / 'run.json'} cannot be read; delete the folder to start over."


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("content")
    with pytest.raises(JournalError) as refusal:
        one(checkpoint=place)
    assert str(refusal.value) == f"Checkpoint {place} is a file; give a folder."
    assert contents(tmp_path) == {"file": b"content"}


def test_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a" / "b", {"law": "small"})
    arrays = [np.array([0.1, np.nan, -0.0, np.inf]), np.arange(6, dtype=np.int32).reshape(2, 3), np.array(True)]
    arrays += [np.zeros((0, 3))]
    key = journal.key("program", arrays)
    assert journal.read(key) is None
    journal.write(key, arrays)
    back = Journal(tmp_path / "a" / "b", {"law": "small"}).read(key)
    assert back is not None
    for array, again in zip(arrays, back, strict=True):
        assert (array.dtype, array.shape, array.tobytes()) == (again.dtype, again.shape, again.tobytes())


def test_parts_differ_by_program_number_shape_and_precision(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {})
    parts = [
        np.zeros(4),
        np.zeros((2, 2)),
        np.zeros(4, np.float32),
        np.zeros(8, np.float32),
        np.array([0, 0, 0, 1e-300]),
    ]
    keys = {journal.key(program, [part]) for program in ("score", "settle") for part in parts}
    assert len(keys) == 2 * len(parts)
    assert journal.key("score", {"a": parts[0]}) == journal.key("score", {"a": parts[0].copy()})


def test_a_process_killed_at_any_moment_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(parsing.csv_text(designs.example()))
    words = [sys.executable, "-m", "jaxscale", "fit", "runs.csv", "--law", "chinchilla", "--starts", "200000"]
    words += ["--resamples", "40", "--quiet"]
    subprocess.run([*words, "--json", "whole.json"], check=True)
    folder = Path("kept")
    words += ["--checkpoint", str(folder), "--json", "out.json"]
    for parts in (1, 3, 6):
        process = subprocess.Popen(words)
        while process.poll() is None and len(list(folder.glob("*.part"))) < parts:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not Path("out.json").exists() and len(list(folder.glob("*.part"))) >= parts
    subprocess.run(words, check=True)
    assert Path("out.json").read_bytes() == Path("whole.json").read_bytes()
