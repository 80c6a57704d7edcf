from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale.data import validation
from jaxscale.data.observations import Observations
from jaxscale.data.padding import pad
from jaxscale.law import (
    Input,
    Law,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    location,
    positive,
    positive_number,
    unit,
)
from jaxscale.noise.spaces import default_space, space_of
from jaxscale.utils.errors import ArgumentError, DataError, Setting
from jaxscale.utils.notices import CODES, Notice
from jaxscale.utils.padding import bucket

COLUMNS = {"N": [1e8, 2e8, 4e8, 8e8], "D": [1e9, 4e9, 2e9, 8e9], "loss": [4.0, 3.5, 3.2, 3.0]}
FREE = ("E", "A", "alpha")


def checked(law: Law, observations: Observations, free: Sequence[str], space: str | None = None, **more: Any) -> Any:
    """Check observations for residuals in a space, or in the one that suits the response."""
    chosen = default_space(law.response.domain) if space is None else space_of(space)
    return validation.validate(law, observations, free, chosen, **more)


@law(
    inputs={"N": Input("parameters", lower=1e5), "D": Input("tokens", lower=1e6)},
    response=Response("nat/token", positive),
    E=floor(),
    A=amplitude(N="alpha"),
    alpha=exponent(),
    B=amplitude(D="-beta"),
    beta=exponent(),
    source="a test",
)
def two_terms(N: Any, D: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """Two terms."""
    return E + A / N**alpha + B * D**beta


@law(
    inputs={"x": Input("", high=10.0), "k": Input("", low=-1.0)},
    response=Response("", unit),
    middle=location("x"),
    width=positive_number(),
    slope=coefficient(),
    source="a test",
)
def step(x: Any, k: Any, *, middle: Any, width: Any, slope: Any) -> Any:
    """A step in x."""
    return (x / middle) ** width * slope * k


def observed(columns: Any = None, **settings: Any) -> Observations:
    settings = {"inputs": ["N", "D"], "response": "loss"} | settings
    return Observations.from_table(COLUMNS if columns is None else columns, **settings)


def changed(**columns: Sequence[Any]) -> dict[str, Any]:
    return {**COLUMNS, **columns}


def refusal(columns: Any = None, **settings: Any) -> str:
    with pytest.raises((DataError, ArgumentError)) as caught:
        observed(columns, **settings)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


def law_refusal(law: Law, observations: Observations, free: Sequence[str]) -> str:
    with pytest.raises(DataError) as caught:
        checked(law, observations, free)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


def test_from_table_keeps_what_is_used_in_float64(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss,w,seed,corpus\n1e8,1e9,4.0,1,b,x\n2e8,bad,3.5,0,a,x\n 4e8 ,2e9,3.2,2,b,y\n")
    observations = observed(
        path,
        inputs={"N": "params", "D": "tokens"},
        where="params != 2e8",
        weight="w",
        run="seed",
        group="corpus",
    )
    assert observations.inputs["N"].tolist() == [1e8, 4e8]
    assert observations.inputs["D"].dtype == observations.weight.dtype == np.float64
    assert observations.response.tolist() == [4.0, 3.2]
    assert observations.weight.tolist() == [1.0, 2.0]
    assert observations.run is not None and observations.run.tolist() == [0, 0]
    assert observations.group is not None and observations.group.tolist() == [0, 1]
    assert observations.groups == observations.group_names == ("x", "y")
    assert observations.columns == (("N", "params"), ("D", "tokens"), ("response", "loss"), ("group", "corpus"))
    assert observations.rows == (2, 4)
    assert (len(observations), observations.rows_read, observations.name) == (2, 3, "runs.csv")
    assert len(observations.sha256) == 64


def test_without_weight_run_and_group_rows_count_alike() -> None:
    observations = observed()
    assert observations.weight.tolist() == [1.0] * 4
    assert observations.run is None and observations.group is None


def test_observations_are_a_tree_of_arrays_with_hashable_labels() -> None:
    leaves, structure = jax.tree.flatten(observed())
    assert len(leaves) == 4
    assert hash(structure) == hash(jax.tree.structure(observed()))


def test_booleans_in_a_frame_are_zero_and_one() -> None:
    columns = changed(N=[True, False, True, True])
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns), columns):
        assert observed(frame).inputs["N"].tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("abc", "'abc' is not a number; correct it or leave its row out with where=."),
        ("", "the cell is empty; correct it"),
        (None, "the cell is empty; correct it"),
        ("nan", "nan is not a number; correct it"),
        (float("nan"), "nan is not a number; correct it"),
        ("-inf", "-inf is infinite; correct it"),
        (float("inf"), "inf is infinite; correct it"),
        ("1e999", "1e999 is infinite; correct it"),
        ("1_000", "'1_000' is not a number (remove its underscores)"),
        ("1,000", "'1,000' is not a number (remove its thousands separators, and write a decimal point)"),
        ("1 000", "'1 000' is not a number (remove its spaces)"),
        ("9" * 50 + "x", "'" + "9" * 37 + "...' is not a number; correct it"),
    ],
)
def test_a_bad_cell_is_refused_with_column_row_value_and_cure(cell: Any, words: str) -> None:
    assert f"dict, column 'loss', row 2: {words}" in refusal(changed(loss=[4.0, cell, 3.2, 3.0]))
    assert "column 'N', row 4: " in refusal(changed(N=["1e8", "2e8", "3e8", cell]))


def test_of_many_bad_cells_three_are_shown_and_all_are_counted() -> None:
    message = refusal(changed(N=["a", "b", 1.0, 2.0], loss=["c", None, 3.0, 4.0]))
    assert message == (
        "dict, column 'N', row 1: 'a' is not a number; column 'N', row 2: 'b' is not a number; column 'loss', row 1: "
        "'c' is not a number; and 1 more, 4 bad cells in all; correct them or leave their rows out with where=."
    )


def test_cells_that_are_not_used_may_hold_anything() -> None:
    columns = changed(loss=[4.0, "diverged", 3.2, 3.0], note=["x", None, "nan", ""])
    assert observed(columns, where="loss != diverged").rows == (1, 3, 4)


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        (None, {"response": "los"}, "has no column 'los' (did you mean 'loss'?)"),
        (None, {"inputs": {"N": "params"}}, "has no column 'params'; its columns are N, D, loss"),
        (None, {"weight": "w"}, "has no column 'w'"),
        (None, {"run": "seed"}, "has no column 'seed'"),
        (None, {"inputs": []}, "Argument inputs is empty"),
        (None, {"inputs": "N"}, "must be a mapping or a list of columns, but is 'N'; write ['N']"),
        (None, {"inputs": {"response": "N"}}, "names an input 'response', which is reserved"),
        (None, {"where": "N > 1e12"}, "keeps none of the 4 rows"),
        (changed(w=[1, -1, -2, 1]), {"weight": "w"}, "column 'w', row 2: the weight -1 is negative; column 'w', row 3"),
        (changed(w=[0, 0, 0, 0]), {"weight": "w"}, "column 'w': all weights are zero; at least one must be positive"),
        (changed(w=[1, "x", 1, 1]), {"weight": "w"}, "column 'w', row 2: 'x' is not a number"),
        (changed(r=["a", "", None, "b"]), {"run": "r"}, "column 'r', row 2: the cell is empty; column 'r', row 3"),
        (changed(g=[1.0, np.nan, 2.0, 1.0]), {"group": "g"}, "column 'g', row 2: the cell is empty"),
    ],
)
def test_columns_and_weights_that_cannot_be_used_are_refused(columns: Any, settings: Any, words: str) -> None:
    assert words in refusal(columns, **settings)


def test_good_observations_give_no_notice() -> None:
    assert checked(two_terms, observed(), FREE) == []


def test_a_missing_input_of_the_law_is_refused() -> None:
    message = law_refusal(two_terms, observed(inputs=["N"]), FREE)
    assert message == (
        "dict: two_terms needs the input 'D', but only N is given; map it to a column with inputs={'D': 'COLUMN'}."
    )


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-3.0, "-3")])
def test_an_input_that_is_not_positive_is_refused(value: float, shown: str) -> None:
    observations = observed(changed(params=[1e8, value, 2e8, 3e8]), inputs={"N": "params", "D": "D"})
    assert law_refusal(two_terms, observations, FREE) == (
        f"dict, column 'params' (input N), row 2: {shown} must be above 0 for two_terms; "
        "correct it or leave its row out with where=."
    )


def test_inputs_and_responses_stay_inside_their_open_intervals() -> None:
    columns = {"x": [1.0, 10.0, 3.0, 4.0], "k": [0.0, -1.0, 1.0, 2.0], "y": [0.5, 1.0, 0.0, 0.2]}
    message = law_refusal(step, observed(columns, inputs=["x", "k"], response="y"), ["middle"])
    assert "column 'x' (input x), row 2: 10 must be below 10" in message
    assert "column 'k' (input k), row 2: -1 must be above -1" in message
    assert message.endswith("row 2: -1 must be above -1 for step; correct them or leave their rows out with where=.")


def test_the_space_of_the_residuals_decides_which_responses_are_refused() -> None:
    negative = observed(changed(loss=[4.0, 3.0, -1.0, 2.0]))
    assert law_refusal(two_terms, negative, FREE) == (
        "dict, column 'loss' (the response), row 3: -1 must be above 0 for log residuals of two_terms; correct it, or "
        "use linear residuals (noise=squared(space='linear'))."
    )
    assert checked(two_terms, negative, FREE, "linear") == []
    columns = {"x": [1.0, 2.0, 3.0, 4.0], "k": [0.0, 0.5, 1.0, 2.0], "y": [0.5, 1.0, 0.0, 0.2]}
    shares = observed(columns, inputs=["x", "k"], response="y")
    with pytest.raises(DataError) as caught:
        checked(step, shares, ["middle"], linear=Setting("space", "linear"))
    assert str(caught.value) == (
        "dict, column 'y' (the response), row 2: 1 must be below 1; column 'y' (the response), row 3: 0 must be above "
        "0 for logit residuals of step; correct them, or use linear residuals (space='linear') or, for proportions of "
        "counted trials, the likelihood of counts (jaxscale.fit(likelihood=binomial(trials=)))."
    )
    assert checked(step, shares, ["middle"], "linear") == []
    with pytest.raises(DataError, match="row 3: 0 must be above 0 for log residuals of step; correct it, or"):
        checked(step, shares, ["middle"], "log")


def test_shares_that_look_like_percent_are_noticed() -> None:
    columns = {"x": [1.0, 2.0, 3.0, 4.0], "k": [0.0, 0.5, 1.0, 2.0], "y": [0.0, 45.0, 50.0, 60.0]}
    (notice,) = checked(step, observed(columns, inputs=["x", "k"], response="y"), ["middle"], "linear")
    assert notice.code == "units" and "the largest is 60, which looks like percent; divide" in notice.message


def test_an_input_that_never_varies_is_refused_with_what_it_would_identify() -> None:
    still = observed(changed(D=[1e9] * 4))
    message = law_refusal(two_terms, still, ["E", "A", "B", "beta"])
    assert "column 'D': the input D is 1e+09 in every row, so the parameters B, beta cannot be identified" in message
    assert "parameters beta cannot" in law_refusal(two_terms, still, ["E", "A", "beta"])
    assert checked(two_terms, still, FREE) == []


def test_an_input_that_varies_only_in_rows_without_weight_never_varies() -> None:
    observations = observed(changed(D=[1e9, 1e9, 1e9, 2e9], w=[1, 1, 1, 0]), weight="w")
    assert "the input D is 1e+09 in every row" in law_refusal(two_terms, observations, ["beta"])


def test_an_input_that_no_free_parameter_belongs_to_may_be_constant() -> None:
    columns = {"x": [1.0, 2.0, 3.0], "k": [2.0, 2.0, 2.0], "y": [0.1, 0.2, 0.3]}
    observations = observed(columns, inputs=["x", "k"], response="y")
    assert checked(step, observations, ["middle", "slope"]) == []
    still = observed(columns | {"x": [2.0, 2.0, 2.0]}, inputs=["x", "k"], response="y")
    assert "so the parameters middle cannot be identified" in law_refusal(step, still, ["middle", "slope"])


def test_a_response_that_never_varies_is_refused_where_something_is_fitted() -> None:
    still = observed(changed(loss=[2.0] * 4))
    assert "column 'loss': the response is 2 in every row" in law_refusal(two_terms, still, FREE)
    assert checked(two_terms, still, []) == []


def test_fewer_rows_than_free_parameters_are_refused() -> None:
    observations = observed(changed(w=[1, 1, 0, 0]), weight="w")
    assert law_refusal(two_terms, observations, FREE) == (
        "dict has 2 rows with positive weight, but two_terms has 3 free parameters (E, A, alpha); "
        "add rows or fix parameters."
    )
    assert checked(two_terms, observations, ["E", "A"]) == []


def test_repeated_rows_are_noticed() -> None:
    columns = {key: [*values, values[0], values[1], values[0], values[0]] for key, values in COLUMNS.items()}
    (notice,) = checked(two_terms, observed(columns), FREE)
    assert notice.code == "duplicate_rows"
    assert "4 rows repeat the inputs and the response of an earlier one (rows 5, 6, 7, ...)" in notice.message
    (notice,) = checked(two_terms, observed(columns, where="loss < 3.9"), FREE)
    assert "1 row repeats the inputs and the response of an earlier one (row 6)" in notice.message


def test_rows_of_a_text_file_are_named_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1e8,1e9,3.5\n2e8,x,3.2\n\n1e8,1e9,3.5\n4e8,1e9,3.0\n")
    assert "runs.csv, column 'D', line 3: 'x' is not a number" in refusal(path)
    with pytest.raises(DataError, match="runs.csv, column 'D', line 3: 'x' is not a number and cannot be compared"):
        Observations.from_table(path, inputs=["N", "D"], response="loss", where="D > 1")
    observations = Observations.from_table(path, inputs=["N", "D"], response="loss", where="D == 1e9")
    assert [observations.position(i) for i in (0, 1)] == ["line 2", "line 5"]
    assert pad(observations, 16).position(1) == "line 5"
    (notice,) = checked(two_terms, observations, ["E", "A"])
    assert "(line 5)" in notice.message
    frame = Observations.from_table(COLUMNS, inputs=["N", "D"], response="loss", where="N > 1e8")
    assert frame.position(0) == "row 2"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.05, 0.2, 0.4, 70.0], "below 100000 parameters (the largest is 70), which looks like billions; multiply"),
        ([0.05, 0.2, 0.4, 1400], "(the largest is 1400), which looks like billions; multiply the column by 1e9 if so"),
        ([100, 200, 400, 70000], "(the largest is 70000), which looks like millions; multiply the column by 1e6"),
        ([1, 2, 4, 70], "which looks like millions or billions; multiply the column by 1e6 or 1e9 if so."),
        ([1e-6, 2, 4, 70], "(the largest is 70); check its unit."),
    ],
)
def test_counts_in_another_unit_are_noticed(values: list[float], words: str) -> None:
    (notice,) = checked(two_terms, observed(changed(N=values)), FREE)
    assert notice.code == "units"
    assert words in notice.message
    assert checked(two_terms, observed(changed(N=[*values[:3], 1e5])), FREE) == []


def test_every_notice_has_a_meaning_and_a_cure() -> None:
    for meaning, remedy in CODES.values():
        assert meaning.endswith(".") and remedy.endswith(".")
    with pytest.raises(ValueError, match="Argument code must be one of duplicate_rows.* but is 'odd'"):
        Notice("odd", "")


def test_buckets_are_powers_of_two_and_the_sizes_between() -> None:
    assert sorted({bucket(count) for count in range(400)}) == [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert [bucket(count) for count in (1, 16, 17, 24, 25, 245)] == [16, 16, 24, 24, 32, 256]


@given(st.integers(1, 10**7))
def test_a_bucket_holds_its_rows_with_at_most_half_padding(count: int) -> None:
    assert count <= bucket(count) <= max(16, count * 3 // 2)


def test_padding_repeats_the_first_row_without_weight() -> None:
    observations = observed(changed(r=list("abca"), g=[5, 5, 7, 7], w=[1, 2, 3, 4]), run="r", group="g", weight="w")
    wider = pad(observations, 6)
    assert len(wider) == 6
    assert wider.inputs["N"].tolist() == [*COLUMNS["N"], 1e8, 1e8]
    assert wider.response.tolist() == [*COLUMNS["loss"], 4.0, 4.0]
    assert wider.weight.tolist() == [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]
    assert wider.run is not None and wider.run.tolist() == [0, 1, 2, 0, 0, 0]
    assert wider.group is not None and wider.group.tolist() == [0, 0, 1, 1, 0, 0]
    assert wider.rows == (1, 2, 3, 4, 1, 1)
    assert (wider.columns, wider.rows_read, wider.sha256) == (observations.columns, 4, observations.sha256)
    assert pad(observed(), 5).run is None


def test_padding_changes_no_check() -> None:
    assert checked(two_terms, pad(observed(), 16), FREE) == []


def test_padding_to_fewer_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Argument size must be at least the number of rows 4, but is 3\."):
        pad(observed(), 3)


def test_the_published_rows_of_a_real_table_are_read(data: Path) -> None:
    observations = observed(
        data / "chinchilla_epoch.csv", inputs={"N": "params", "D": "tokens"}, where="in_published_fit == 1"
    )
    assert (len(observations), observations.rows_read) == (240, 245)
    assert observations.rows[:2] == (7, 8)
    assert checked(two_terms, observations, list(two_terms.parameters)) == []


@given(st.lists(st.floats() | st.text("0123456789.eE+-_, nainf", max_size=6) | st.none(), min_size=1, max_size=6))
def test_any_cells_are_finite_numbers_or_refused(cells: list[Any]) -> None:
    try:
        observations = observed({"x": cells}, inputs=["x"], response="x")
    except DataError as error:
        assert str(error).startswith("dict, column 'x', row ")
    else:
        assert np.isfinite(observations.response).all() and len(observations) == len(cells)
