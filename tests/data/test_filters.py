import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jaxscale.data.filters import FilterError, where
from jaxscale.data.readers import read_table
from jaxscale.data.tables import Table
from jaxscale.utils.errors import DataError

TEXT = read_table(
    {
        "params": ["1", " 2.0 ", "3e0", ""],
        "split": ["train", "test", "train", "1"],
        "learning rate": ["0.1", "0.2", "0.3", "0.4"],
        "model": ["1B", "2", "", None],
        "and": ["1", "2", "3", "4"],
    }
)
NUMBERS = read_table({"N": [1, 2, 3, 4], "loss": [4.0, 3.0, np.nan, 1.0], "ok": [True, False, True, False]})


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("params == 1.0", [1, 0, 0, 0]),
        ("params = 1", [1, 0, 0, 0]),
        ("params != 1", [0, 1, 1, 1]),
        ("params < 2", [1, 0, 0, 0]),
        ("params <= 2", [1, 1, 0, 0]),
        ("params > 2", [0, 0, 1, 0]),
        ("params >= 2.", [0, 1, 1, 0]),
        ("params>=-1e3", [1, 1, 1, 0]),
        ("params == ''", [0, 0, 0, 1]),
        ("split == train", [1, 0, 1, 0]),
        ("split == 'train'", [1, 0, 1, 0]),
        ('split != "train"', [0, 1, 0, 1]),
        ("split == 1", [0, 0, 0, 1]),
        ("split == '1'", [0, 0, 0, 1]),
        ("model == 2", [0, 1, 0, 0]),
        ("model == 1B", [1, 0, 0, 0]),
        ("model = ''", [0, 0, 1, 1]),
        ("`learning rate` > 0.25", [0, 0, 1, 1]),
        ("`and` > 3", [0, 0, 0, 1]),
        ("split == train and params > 1", [0, 0, 1, 0]),
        ("split == train AND NOT params > 1", [1, 0, 0, 0]),
        ("split == test Or split == train and params < 2", [1, 1, 0, 0]),
        ("(split == test or split == train) and params < 2", [1, 0, 0, 0]),
        ("not (split == test or split == train)", [0, 0, 0, 1]),
        ("not not ((params == 2))  ", [0, 1, 0, 0]),
    ],
)
def test_filters_on_text_cells(expression: str, kept: list[int]) -> None:
    assert where(expression, TEXT).tolist() == [bool(entry) for entry in kept]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("N > 2", [0, 0, 1, 1]),
        ("N == '2'", [0, 1, 0, 0]),
        ("loss < 3.5", [0, 1, 0, 1]),
        ("loss == ''", [0, 0, 1, 0]),
        ("loss != ''", [1, 1, 0, 1]),
        ("ok == True", [1, 0, 1, 0]),
        ("ok == 0", [0, 1, 0, 1]),
        ("ok != false", [1, 0, 1, 0]),
    ],
)
def test_filters_on_number_columns(expression: str, kept: list[int]) -> None:
    assert where(expression, NUMBERS).tolist() == [bool(entry) for entry in kept]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", ["is wrong at its end", "expected a column name"]),
        ("params", ["at its end", "expected one of =="]),
        ("params >", ["at its end", "expected a number or a text"]),
        ("params > and", ["at position 10, before 'and'", "expected a number or a text"]),
        ("params > `split`", ["position 10", "expected a number or a text"]),
        ("params > 1 split == train", ["position 12, before 'split == train'", "expected 'and', 'or' or the end"]),
        ("params > 1)", ["position 11, before ')'", "expected 'and', 'or' or the end"]),
        ("(params > 1", ["at its end", "expected ')'"]),
        ("params > 1 and", ["at its end", "expected a column name"]),
        ("and > 1", ["position 1", "expected a column name"]),
        ("'split' == train", ["position 1", "backticks rather than quotation marks"]),
        ("split == 'train", ["position 10", "this cannot be read"]),
        ("split == train & params > 1", ["position 16, before '& params > 1'", "expected 'and'"]),
        ("split === train", ["position 9", "expected a number or a text"]),
        ("params ! 1", ["position 8, before '! 1'", "this cannot be read"]),
        ("parms > 1", ["cannot be applied", "has no column 'parms' (did you mean 'params'?)"]),
        ("`param` > 1", ["has no column 'param'", "did you mean"]),
        ("split < 3", ["column 'split', row 1: 'train' is not a number", "use == or !="]),
        ("params < abc", ["cannot be compared with the text 'abc' by <; use a number"]),
        ("params >= '3'", ["cannot be compared with the text '3' by >="]),
        ("params > 100", ["keeps none of the 4 rows of dict"]),
        ("(" * 60 + "params > 1" + ")" * 60, ["nested more than 50 deep"]),
        ("not " * 100_000 + "params > 1", ["nested more than 50 deep"]),
    ],
)
def test_filter_errors_are_one_sentence(expression: str, words: list[str]) -> None:
    with pytest.raises(FilterError) as caught:
        where(expression, TEXT)
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).endswith(".") and len(str(caught.value)) < 300
    assert isinstance(caught.value, DataError)


def test_a_number_column_is_not_compared_with_a_word() -> None:
    with pytest.raises(FilterError, match="Column 'N' of dict holds numbers, not 'many'; use a number"):
        where("N == many", NUMBERS)


def test_a_long_chain_is_no_deep_nesting() -> None:
    assert where(" or ".join(["params == 1"] * 500), TEXT).tolist() == [True, False, False, False]


def mask_or_refusal(expression: str, table: Table) -> None:
    try:
        mask = where(expression, table)
    except FilterError:
        return
    assert mask.dtype == bool and mask.shape == (len(table),) and mask.any()


@given(st.text(max_size=40))
@example("`")
@example("\x1f\x85 params > 1")
def test_any_text_is_a_mask_or_refused(expression: str) -> None:
    mask_or_refusal(expression, TEXT)


pieces = st.sampled_from(
    ["params", "split", "`and`", "N", "ok", "loss", "==", "=", "<", ">=", "!=", "1", "'x'", "train", "(", ")"]
    + ["and", "or", "not", "nan", "inf", "''", "1e999"]
)


@given(st.lists(pieces, max_size=12).map(" ".join))
def test_any_row_of_tokens_is_a_mask_or_refused(expression: str) -> None:
    mask_or_refusal(expression, TEXT)
    mask_or_refusal(expression, NUMBERS)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), st.data())
def test_a_comparison_is_numpys_comparison(values: list[float], draw: st.DataObject) -> None:
    limit = draw.draw(st.sampled_from(values))
    for columns in ({"x": values}, {"x": [repr(value) for value in values]}):
        assert (where(f"x <= {limit!r}", read_table(columns)) == (np.array(values) <= limit)).all()
        assert (where(f"not x > {limit!r}", read_table(columns)) == (np.array(values) <= limit)).all()
