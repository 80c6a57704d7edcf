"""A process that works on many laws keeps room for its compiled programs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.utils import room


def compiled(count: int) -> None:
    for k in range(count):
        jax.jit(lambda x, k=k: jnp.sin(x) * k)(np.float32(k)).block_until_ready()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two programs between looks, 10 areas of which a process may have 24; returns the file that says so."""
    monkeypatch.setattr(room, "BETWEEN", 2)
    for name, text in (("MAPS", "area\n" * 10), ("LIMIT", "24\n")):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(room, name, path)
    monkeypatch.setattr(room, "_compiled", 0)
    return tmp_path / "LIMIT"


def test_programs_are_let_go_only_where_areas_are_many(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    assert not room.make_room()
    compiled(2)
    assert room._compiled >= 2
    # Half of 24 is above 10 areas; half of 18 is not.
    assert not room.make_room() and room._compiled == 0
    few.write_text("18\n")
    assert not room.make_room()
    compiled(2)
    assert room.make_room() and cleared == [True]
    assert not room.make_room()
    # A third of 36 is above 10 areas; a quarter of 36 is not.
    few.write_text("36\n")
    for most, cleared_then in ((1 / 3, False), (1 / 4, True)):
        compiled(2)
        assert room.make_room(most) is cleared_then


@pytest.mark.parametrize("missing", ["MAPS", "LIMIT"])
def test_nothing_is_done_where_areas_cannot_be_counted(
    few: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(room, missing, few.parent / "none")
    compiled(2)
    assert not room.make_room()
