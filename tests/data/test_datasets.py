import csv
import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from jaxscale.data import datasets
from jaxscale.data.readers import read_table
from jaxscale.data.tables import number
from jaxscale.utils.errors import DataError
from jaxscale.utils.files import cache_folder

NAME = "chinchilla_epoch"
HEADER = "x,y,color,Model Size,Training FLOP,hex_color,loss\n"
PUBLISHED = HEADER + "".join(f"1,2,#a,{i}e8,{6 * i}e17,#b,{4 - i / 10}\n" for i in range(1, 9)) + "1,2,#a,,1e18,#b,3\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no data folder and a pinned file on disk in place of the network."""
    monkeypatch.delenv("JAXSCALE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pin(tmp_path / "published.csv", PUBLISHED, monkeypatch)
    return tmp_path / "cache" / "jaxscale"


def pin(path: Path, content: str, monkeypatch: pytest.MonkeyPatch, sha256: str | None = None) -> None:
    path.write_text(content)
    digest = sha256 or hashlib.sha256(content.encode()).hexdigest()
    source = dataclasses.replace(datasets.SOURCES[NAME], address=path.as_uri(), sha256=digest)
    monkeypatch.setitem(datasets.SOURCES, NAME, source)


def refusal(name: str = NAME) -> str:
    with pytest.raises(DataError) as caught:
        datasets.load(name)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_addresses_are_pinned_to_a_commit_and_a_checksum() -> None:
    for source in datasets.SOURCES.values():
        commit = source.address.split("/")[5]
        assert source.address.startswith("https://raw.githubusercontent.com/")
        assert len(commit) == 40 and int(commit, 16)
        assert len(source.sha256) == 64 and int(source.sha256, 16)


def test_a_fetched_file_is_prepared_and_kept(cache: Path, tmp_path: Path) -> None:
    table = datasets.load(NAME)
    assert list(table.columns) == ["params", "tokens", "flops", "loss", "in_published_fit"]
    assert table.columns["params"].tolist() == [i * 1e8 for i in range(1, 9)]
    np.testing.assert_allclose(table.columns["tokens"], 1e9, rtol=1e-15)
    assert table.columns["in_published_fit"].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert table.rows.tolist() == list(range(2, 10))
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.csv"]
    (tmp_path / "published.csv").unlink()
    assert datasets.load(NAME).sha256 == table.sha256 == hashlib.sha256(PUBLISHED.encode()).hexdigest()


def test_the_data_folder_comes_first_and_adds_names(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("JAXSCALE_DATA", str(folder))
    (folder / f"{NAME}.csv").write_text("params,loss\n1,2\n")
    (folder / "mine.csv").write_text("a\n7\n")
    assert datasets.names() == [NAME, "mine"]
    assert list(datasets.load(NAME).columns) == ["params", "loss"]
    assert datasets.load("mine").columns["a"].tolist() == ["7"]
    assert not cache.exists()


def test_a_file_as_published_may_lie_in_the_data_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(tmp_path))
    (tmp_path / f"{NAME}.csv").write_text(PUBLISHED)
    assert list(datasets.load(NAME).columns)[1] == "tokens"


def test_an_unknown_name_is_refused_with_the_nearest(cache: Path) -> None:
    assert datasets.names() == [NAME]
    assert "There is no data set 'chinchila' (did you mean 'chinchilla_epoch'?); known data sets are" in refusal(
        "chinchila"
    )
    assert "JAXSCALE_DATA" in refusal("../secret")


def test_without_a_network_the_message_gives_an_alternative(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "published.csv").unlink()
    message = refusal()
    assert "cannot be downloaded from file:" in message
    assert "put chinchilla_epoch.csv in a folder and set JAXSCALE_DATA to that folder." in message
    assert not cache.exists()


def test_a_file_that_is_not_the_pinned_one_is_refused_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path / "published.csv", PUBLISHED + "\n", monkeypatch, sha256="0" * 64)
    assert "but 000000000000... is expected" in refusal()
    assert not cache.exists()


def test_a_kept_file_that_has_changed_is_refused(cache: Path) -> None:
    datasets.load(NAME)
    (cache / f"{NAME}.csv").write_text("params\n1\n")
    assert str(cache / f"{NAME}.csv") in refusal()


def test_a_cache_that_cannot_be_written_is_refused(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert "cannot be written" in refusal() and "set XDG_CACHE_HOME" in refusal()


def test_a_failed_write_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(datasets.os, "replace", fail)
    assert "cannot be written (no space left)" in refusal()
    assert list(cache.iterdir()) == []


def test_a_data_folder_that_is_none_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXSCALE_DATA", str(cache / "none"))
    assert "JAXSCALE_DATA is" in refusal() and "which is not a folder" in refusal()


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "jaxscale"


def test_preparing_the_published_columns_gives_the_real_table(
    cache: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = read_table(data / f"{NAME}.csv")
    cells = zip(real.columns["params"], real.columns["flops"], real.columns["loss"], strict=True)
    with open(tmp_path / f"{NAME}.csv", "w", newline="") as file:
        csv.writer(file).writerows([("Model Size", "Training FLOP", "loss"), *cells])
    monkeypatch.setenv("JAXSCALE_DATA", str(tmp_path))
    table = datasets.load(NAME)
    for key, column in real.columns.items():
        assert table.columns[key].tolist() == [number(cell) for cell in column]
