"""The number of memory maps of this process."""

from pathlib import Path

import pytest

from jaxscale.utils import memory_maps


def test_maps_are_counted_and_compared_with_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("MAPS", "map\n" * 6), ("LIMIT", "24\n")):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(memory_maps, name, path)
    assert memory_maps.count() == 6
    assert memory_maps.share() == 0.25


@pytest.mark.parametrize("missing", ["MAPS", "LIMIT"])
def test_share_is_zero_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(memory_maps, missing, Path("no_such_file"))
    assert memory_maps.share() == 0.0
