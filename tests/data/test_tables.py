import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale.data.readers import read_table
from jaxscale.data.tables import Table, is_empty, number
from jaxscale.utils.errors import DataError


def written(folder: Path, content: bytes | str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(source: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(source)
    assert type(caught.value) is DataError
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


def test_csv_cells_stay_text_and_rows_are_lines_of_the_file(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, '\ufeffparams, loss,note\r\n1e9,2.5,"two\nlines"\r\n\r\n2e9,,x\r\n'))
    assert list(table.columns) == ["params", "loss", "note"]
    assert table.columns["params"].tolist() == ["1e9", "2e9"]
    assert table.columns["note"].tolist() == ["two\nlines", "x"]
    assert table.rows.tolist() == [2, 5]
    assert table.name == "runs.csv"
    assert len(table) == 2


def test_the_fingerprint_of_a_file_is_the_one_sha256sum_prints(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "abc\n1\n"))
    assert table.sha256 == "5cb310b6f87a23bce211e77652daf4e4931a010ffbca35148659961a9207e0fb"
    assert read_table(written(tmp_path, "abc\n1\n", "copy.CSV")).sha256 == table.sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["runs.csv is empty"]),
        (b"\n \n", ["runs.csv is empty"]),
        (b"\xef\xbb\xbf", ["runs.csv is empty"]),
        (b"params,loss\n", ["runs.csv has no rows", "besides the header"]),
        (b"loss,params, loss\n1,2,3\n", ["'loss' 2 times", "rename"]),
        (b"a,b\n1,2\n1,2,3\n", ["line 3", "3 cells under a header of 2", "quote"]),
        (b"a,b\n1,2\n1\n", ["line 3", "1 cells under a header of 2"]),
        (b"a,b\n1,2\n1,\xff\n", ["line 3", "0xff is not UTF-8", "save the file as UTF-8"]),
        (b"a,b\n1,2\n1,\0\n", ["line 3", "NUL", "save the file"]),
        (b"a,b\n1,2\n" + b"9" * 200_000 + b",1\n", ["line 3", "field larger than field limit", "correct"]),
        (b'a,b\n1,2\n"1"2,3\n', ["line 3", "expected after", "quotes"]),
        (b'a,b\n1,2\n"1,3\n', ["line 3", "unexpected end of data"]),
        (b"a;b\n1;2\n", ["'a;b' has no commas", "separate"]),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused_with_its_row_and_a_cure(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    message = refusal(written(tmp_path, content))
    for word in words:
        assert word in message


def test_a_file_that_is_missing_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    assert f"There is no file {tmp_path / 'none.csv'}; check the path." == refusal(tmp_path / "none.csv")
    assert "ends in '.xlsx'" in refusal(written(tmp_path, "a\n1\n", "runs.xlsx"))
    assert "use a file in .csv, .jsonl, .ndjson or .parquet" in refusal(str(tmp_path / "runs"))
    (tmp_path / "folder.csv").mkdir()
    assert "cannot be read" in refusal(tmp_path / "folder.csv")
    assert "cannot be read" in refusal("a\0.csv")


def test_jsonl_rows_are_lines_and_a_missing_key_is_an_empty_cell(tmp_path: Path) -> None:
    content = '{"N": 1, "loss": 2.5, "tag": "a\u2028b"}\n\n{"N": 2.5, "ok": true, "tag": null}\n'
    table = read_table(written(tmp_path, content, "runs.jsonl"))
    assert table.columns["N"].tolist() == [1.0, 2.5]
    assert table.columns["loss"].tolist() == [2.5, None]
    assert table.columns["tag"].tolist() == ["a\u2028b", None]
    assert table.columns["ok"].tolist() == [None, True]
    assert table.rows.tolist() == [1, 3]
    assert read_table(written(tmp_path, content, "runs.ndjson")).sha256 == table.sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1}\n{"a": \n', ["line 2", "not a JSON object", "one object"]),
        ('{"a": 1}\n[1, 2]\n', ["line 2", "[1, 2] is not a JSON object"]),
        ('{"a": 1}\n7\n', ["line 2", "7 is not a JSON object"]),
        ('{"a": 1}\n{"a": {"b": 2}}\n', ["column 'a', line 2", "{'b': 2} is nested", "column of its own"]),
        ('{"a": 1, "a": 2}\n', ["line 1", "a key appears twice"]),
        ("[" * 100_000 + "\n", ["line 1", "not a JSON object"]),
        ("{}\n", ["has no columns"]),
        ('{"a": "\0"}\n', ["line 1", "NUL"]),
    ],
)
def test_a_jsonl_file_that_cannot_be_read_is_refused_with_its_row(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    message = refusal(written(tmp_path, content, "runs.jsonl"))
    for word in words:
        assert word in message


def test_parquet_is_read_with_rows_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"N": [1, None], "name": ["a", None]}), path)
    table = read_table(path)
    assert table.columns["N"].tolist() == [1, None]
    assert table.columns["name"].tolist() == ["a", None]
    assert table.rows.tolist() == [1, 2]
    assert table.name == "runs.parquet"


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    assert "is not a readable Parquet file" in refusal(written(tmp_path, b"PAR1 but no more", "runs.parquet"))


def test_without_pyarrow_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'jaxscale[parquet]'" in refusal(written(tmp_path, b"PAR1", "runs.parquet"))


FRAMES = [pandas.DataFrame, polars.DataFrame, pyarrow.table, dict]


@pytest.mark.parametrize("make", FRAMES)
def test_frames_and_mappings_give_the_same_columns(make: Any) -> None:
    table = read_table(make({"N": [1, 2], "loss": [2.5, 3.5], "ok": [True, False], "tag": ["a", None]}))
    assert table.columns["N"].tolist() == [1, 2]
    assert table.columns["loss"].dtype == np.float64
    assert table.columns["ok"].tolist() == [True, False]
    assert table.columns["tag"].tolist() == ["a", None]
    assert table.rows.tolist() == [1, 2]
    assert table.name == ("dict" if make is dict else "data frame")


def test_the_fingerprint_of_columns_follows_their_content_only() -> None:
    columns = {"N": [1.0, 2.0], "tag": ["a", "b"]}
    prints = {read_table(make(columns)).sha256 for make in FRAMES}
    assert len(prints) == 1
    changed = {"N": [1.0, 2.5], "tag": ["a", "b"]}, {"N": [1.0, 2.0], "tag": ["a", "c"]}, {"M": [1.0, 2.0]}
    assert len({read_table(entry).sha256 for entry in changed} | prints) == 4


def test_nullable_frame_columns_keep_their_gaps() -> None:
    frame = pandas.DataFrame({"N": pandas.array([1, None], dtype="Int64"), "loss": [1.5, None]})
    table = read_table(frame)
    assert table.columns["N"].tolist() == [1, None]
    assert np.isnan(table.columns["loss"][1])


def test_mappings_of_odd_arrays_are_understood() -> None:
    table = read_table(
        {
            "masked": np.ma.masked_array([1.0, 2.0], [False, True]),
            "huge": [10**30, 1],
            "mixed": [1, "a"],
            "series": pandas.Series([1, 2], index=[7, 8]),
        }
    )
    assert table.columns["masked"].tolist() == [1.0, None]
    assert [number(cell) for cell in table.columns["huge"]] == [1e30, 1.0]
    assert table.columns["mixed"].tolist() == [1, "a"]
    assert table.columns["series"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "dict has no columns"),
        ({"a": []}, "dict has no rows"),
        ({"a": [1], "b": [1, 2]}, "column 'b' has 2 rows, but column 'a' has 1"),
        ({"a": np.eye(2)}, "dict, column 'a': the values are not one-dimensional"),
        ({"a": [[1], [2, 3]]}, "dict, column 'a': the values are not one-dimensional"),
        ({"a": 3}, "dict, column 'a': the values are not one-dimensional"),
        ({"a": "text"}, "dict, column 'a': 'text' is not a list of values"),
        ([1, 2], "A table cannot be read from list"),
        (polars.DataFrame({"a": [1]}).lazy(), "A table cannot be read from LazyFrame"),
        (pandas.DataFrame([[1, 2]], columns=pandas.Index(["a", "a"])), "give its columns distinct names"),
    ],
)
def test_sources_that_are_no_tables_are_refused(source: Any, words: str) -> None:
    assert words in refusal(source)


def test_a_table_is_returned_as_it_is() -> None:
    table = read_table({"a": [1]})
    assert read_table(table) is table


def test_an_unknown_column_is_refused_with_the_nearest_names() -> None:
    table = read_table({"params": [1], "tokens": [1], "loss": [1]})
    with pytest.raises(DataError, match=r"dict has no column 'Los' \(did you mean 'loss'\?\); its columns are params"):
        table.column("Los")
    with pytest.raises(DataError, match=r"has no column 'zzz'; its columns are params, tokens, loss\.$"):
        table.column("zzz")
    with pytest.raises(DataError, match=r"c11, \.\.\.\.$"):
        read_table({f"c{i}": [1] for i in range(20)}).column("zzz")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1e9", 1e9),
        (" 3.5 ", 3.5),
        ("-.5", -0.5),
        ("+5.", 5.0),
        (True, 1.0),
        (np.bool_(False), 0.0),
        (7, 7.0),
        (10**400, np.inf),
        (-(10**400), -np.inf),
        ("-Inf", -np.inf),
        ("1_000", None),
        ("1,000", None),
        ("\u0661", None),
        ("0x10", None),
        ("", None),
        (None, None),
        (1 + 2j, None),
        (np.datetime64("2024-01-01", "ns"), None),
        ([1], None),
    ],
)
def test_number_reads_plain_numbers_only(cell: Any, value: float | None) -> None:
    assert number(cell) == value


def test_not_a_number_is_a_float_and_blanks_are_empty() -> None:
    assert np.isnan(number("nan") or 0.0)
    assert [is_empty(cell) for cell in (None, "", "  ", "0", 0, float("nan"))] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@given(st.floats(allow_nan=False))
def test_every_float_survives_its_text(value: float) -> None:
    assert number(repr(value)) == value


def read_or_refuse(path: Path) -> None:
    try:
        table = read_table(path)
    except DataError as error:
        assert str(error).endswith(".")
    else:
        assert isinstance(table, Table)
        assert {len(column) for column in table.columns.values()} == {len(table)}
        assert (np.diff(table.rows) > 0).all()


@given(st.binary(max_size=200) | st.text('ab,"\n\r1; \0\ufeff', max_size=60).map(str.encode))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    read_or_refuse(written(folder, content, "fuzz.csv"))
    read_or_refuse(written(folder, content, "fuzz.jsonl"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values), max_size=4))
def test_any_json_objects_are_a_table_or_refused(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    content = "\n".join(json.dumps(record) for record in records)
    read_or_refuse(written(tmp_path_factory.getbasetemp(), content, "fuzz.ndjson"))


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_a_written_csv_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("first", "second"), *rows])
    table = read_table(written(tmp_path_factory.getbasetemp(), buffer.getvalue(), "round.csv"))
    assert list(zip(table.columns["first"], table.columns["second"], strict=True)) == rows
