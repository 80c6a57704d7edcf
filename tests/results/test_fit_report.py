"""Text report of a fit."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import designs, noise
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import Input, Response, coefficient, law
from jaxscale.results import fit_report
from jaxscale.results.fit import Fit
from jaxscale.results.parts import Basin, Residuals, StandardErrors
from jaxscale.utils import notices
from jaxscale.utils import text as text_module
from jaxscale.utils.notices import CODES, Notice


@law(
    inputs={"x": Input("")},
    response=Response(""),
    a=coefficient(),
    b=coefficient(),
    c=coefficient(),
    d=coefficient(),
    e=coefficient(),
    f=coefficient(),
    source="a test",
)
def six(x: Any, *, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Six parameters."""
    return a + b * x + c * x**2 + d * x**3 + e * x**4 + f * x**5


@pytest.fixture(scope="module")
def fitted() -> Fit:
    """A fit of the example sweep, reported as if one parameter were fixed."""
    observations = Observations.from_table(designs.example(), inputs=["N", "D"], response="loss")
    found = fit("chinchilla", observations, starts=256)
    free = found.free[:4]
    return replace(
        found,
        free=free,
        fixed={"beta": 0.3658},
        params={**found.params, "beta": 0.3658},
        stderr={name: found.stderr[name] for name in free},
        correlation=tuple(row[:4] for row in found.correlation[:4]),
    )


def changed(fitted: Fit, **entries: Any) -> str:
    return fit_report.text(replace(fitted, **entries))


def flowing(text: str) -> str:
    """A report without line breaks."""
    return " ".join(text.split())


def line_of(text: str, start: str) -> str:
    return next(line for line in text.split("\n") if line.startswith(start))


def test_report_is_80_columns_wide_without_final_newline(fitted: Fit) -> None:
    text = fit_report.text(fitted)
    assert max(map(len, text.split("\n"))) <= text_module.WIDTH
    assert text == text.rstrip()
    assert str(fitted) == text


def test_report_states_data_method_and_diagnostics(fitted: Fit) -> None:
    message = flowing(fit_report.text(fitted))
    assert message.startswith("chinchilla fitted to dict (99 of 99 rows)")
    assert "Status converged" in message
    assert f"Noise huber (delta = scale, scale = {fitted.scale:.4g}) on log residuals" in message
    assert "(predicted relative decrease below 1e-12)" in message
    assert f"Residuals {100 * math.expm1(fitted.residuals.rms):.3g} % root mean square" in message
    assert f"largest in row {fitted.residuals.largest_row}: prediction" in message
    assert "classical (homoscedastic noise); intervals by t quantiles with 94 degrees of freedom" in message
    assert f"{fitted.landscape.scored} scored, {fitted.landscape.polished} polished" in message
    assert f"{fitted.landscape.agree} of {fitted.landscape.independent} independent starts reached" in message
    assert "Other basins none" in message
    assert "Design check identified (at 0.5 % noise; condition number" in message
    assert f"N = N, D = D, response = loss; sha256 {fitted.provenance.data_sha256[:12]}" in message
    assert "seed 0; python" in message and f"jax {fitted.provenance.versions['jax']}" in message


def test_every_parameter_has_a_line_and_fixed_ones_are_marked(fitted: Fit) -> None:
    text = fit_report.text(fitted)
    low, high = fitted.intervals()["E"]
    cells = line_of(text, "E ").split()
    assert cells[1] == fit_report.number(fitted.params["E"], fitted.stderr["E"])
    assert float(cells[2]) == pytest.approx(fitted.stderr["E"], rel=5e-3)
    assert [float(cells[-3]), float(cells[-1])] == pytest.approx([low, high], abs=0.01 * fitted.stderr["E"])
    assert line_of(text, "beta").split() == ["beta", "0.3658", "fixed"]


def test_missing_standard_error_is_printed_as_none(fitted: Fit) -> None:
    missing = {**fitted.stderr, "A": math.nan}
    text = changed(fitted, stderr=missing, observations=None)
    assert line_of(text, "A ").split()[2:] == ["none", "none"]
    # The interval is that of the profile likelihood.
    cells = line_of(changed(fitted, stderr=missing), "A ").split()
    assert cells[2] == "none" and cells[4] == "to"
    assert [float(cells[3]), float(cells[5])] == pytest.approx(fitted.intervals()["A"], rel=0.05)


def test_strong_correlations_are_listed_from_the_strongest(fitted: Fit) -> None:
    table = np.eye(4)
    for i, j, value in [(1, 2, 0.95), (0, 3, -0.99), (0, 1, 0.9)]:
        table[i, j] = table[j, i] = value
    fit_with_correlations = changed(fitted, correlation=tuple(map(tuple, table.tolist())))
    assert line_of(fit_with_correlations, "Correlations").split(maxsplit=1)[1] == "E and B -0.990; A and alpha +0.950"
    none = changed(fitted, correlation=tuple(map(tuple, np.eye(4).tolist())))
    assert line_of(none, "Correlations").endswith("none above 0.9 in absolute value")


def test_at_most_ten_correlations_are_listed(fitted: Fit) -> None:
    free = tuple("abcdef")
    numbers = dict.fromkeys(free, 1.0)
    table = tuple(tuple(0.92 + 0.001 * (i + j) if i != j else 1.0 for j in range(6)) for i in range(6))
    changes = replace(fitted, law=six, free=free, params=numbers, stderr=numbers, correlation=table)
    message = flowing(fit_report.text(changes))
    assert "Correlations e and f +0.929; d and f +0.928;" in message
    assert message.count(" +0.9") == 10 and "; and 5 more above 0.9 in absolute value Starts" in message


def test_missing_standard_errors_are_explained(fitted: Fit) -> None:
    reason = "no resamples were requested, which this loss needs"
    errors = StandardErrors("none", 90, 0, reason)
    missing = dict(stderr=dict.fromkeys(fitted.free, math.nan), correlation=tuple((math.nan,) * 4 for _ in range(4)))
    text = flowing(changed(fitted, errors=errors, **missing))
    assert f"Std. errors none, as {reason} Correlations none Starts" in text
    left = StandardErrors("none", 0, 0, "there are no degrees of freedom: 4 rows")
    text = flowing(changed(fitted, errors=left, rows_used=4, **missing))
    assert "Std. errors none, as there are no degrees of freedom: 4 rows Correlations none Starts" in text
    assert "R^2 not meaningful with as many free parameters as rows" in text
    text = flowing(changed(fitted, errors=StandardErrors("classical", 1)))
    assert "classical (homoscedastic noise); no intervals, with one degree of freedom" in text


@pytest.mark.parametrize(
    ("value", "error", "interval"),
    [
        (100.0, 5000.0, "undetermined"),
        (100.0, 1000.0, r"6\.10e-06 to 1\.64e\+09"),
        (100.0, 50.0, r"43\.6 to 229"),
        (100.0, math.nan, "none"),
    ],
)
def test_interval_ends_are_rounded_to_their_precision(fitted: Fit, value: float, error: float, interval: str) -> None:
    changes = {"params": {**fitted.params, "A": value}, "stderr": {**fitted.stderr, "A": error}, "observations": None}
    assert re.search(rf"  {interval}$", line_of(changed(fitted, **changes), "A "))


@pytest.mark.parametrize(
    "method, message",
    [
        ("classical", "classical (homoscedastic noise);"),
        ("hc3", "HC3, as the residuals are heteroscedastic;"),
        ("sandwich", "sandwich (from curvature and scores);"),
        ("cluster sandwich", "sandwich (from curvature and scores), clustered by run;"),
        ("cluster bootstrap", "middle 68 % of 7 bootstrap resamples, clustered by run;"),
        ("known errors", "from the known errors of the rows; intervals by normal quantiles"),
    ],
)
def test_the_source_of_the_standard_errors_is_named(fitted: Fit, method: str, message: str) -> None:
    reason = "the residuals are heteroscedastic" if method == "hc3" else ""
    text = flowing(changed(fitted, errors=StandardErrors(method, 2, 7, reason)))
    by = "percentiles" if "bootstrap" in method else "t quantiles"
    assert message + f" intervals by {by} with 2 degrees of freedom" * (method != "known errors") in text


def test_basins_design_and_status_are_reported(fitted: Fit) -> None:
    basins = tuple(Basin(1.5 + 0.1 * i, 1 + i, fitted.params) for i in range(8))
    assert fitted.design is not None
    text = flowing(
        changed(
            fitted,
            landscape=replace(fitted.landscape, basins=basins),
            design=replace(fitted.design, verdict="not identified", allowed=True),
        )
    )
    # With 95 degrees of freedom those up to 1.5 * (1 + 50 / 95) = 2.29 matter.
    assert "objective 1.6 (2 starts); objective 1.7 (3 starts); objective 1.8 (4 starts); and 4 more" in text
    far = (Basin(900.0, 1, fitted.params),)
    assert "Other basins none of comparable objective; 1 much worse" in flowing(
        changed(fitted, landscape=replace(fitted.landscape, basins=basins[:1] + far))
    )
    both = flowing(changed(fitted, landscape=replace(fitted.landscape, basins=basins[:2] + far)))
    assert "Other basins objective 1.6 (2 starts); 1 much worse" in both
    assert "not identified, overridden" in text
    assert "Status starts disagree" in flowing(changed(fitted, status="starts_disagree"))


@pytest.mark.parametrize("code", CODES)
def test_notice_is_printed_with_its_remedy(fitted: Fit, code: str) -> None:
    text = flowing(changed(fitted, notices=(Notice(code, "Something was found."),)))
    assert f"{code}: Something was found. Remedy: {' '.join(CODES[code][1].split())}" in text
    assert f"{code}: {CODES[code][0]} Remedy: {CODES[code][1]}" in flowing(notices.listing())


@pytest.mark.parametrize(
    "chosen, message, unit",
    [
        (
            noise.squared(),
            "squared on linear residuals",
            "0.25 root mean square, 0.125 median absolute;",
        ),
        (
            noise.student_t(4.0, 0.01, space="logit"),
            "student_t (df = 4, scale = 0.01) on logit residuals",
            "0.25 root mean square, 0.125 median absolute (in logits);",
        ),
    ],
)
def test_residuals_are_reported_in_the_residual_space(
    fitted: Fit, chosen: noise.Noise, message: str, unit: str
) -> None:
    residuals = Residuals(0.25, 0.125, -1.0, 3, "row", math.nan, math.nan)
    scale = chosen.loss.settings.get("scale")
    text = flowing(changed(fitted, noise=chosen, scale=scale, residuals=residuals))
    assert message in text and unit in text
    assert "largest in row 3: prediction 1 below the response" in text
    assert "R^2 undefined" in text


@pytest.mark.parametrize(
    ("largest", "message"),
    [
        (-1.1394, "prediction 68 % below"),
        (0.01, "prediction 1.01 % above"),
        (2.62, "prediction 1274 % above"),
        (-40.0, "prediction 100 % below"),
        (800.0, "prediction over 1000000 % above"),
    ],
)
def test_residuals_of_logarithms_are_shares_of_the_response(fitted: Fit, largest: float, message: str) -> None:
    text = flowing(changed(fitted, residuals=replace(fitted.residuals, largest=largest, row_unit="line")))
    assert f"largest in line {fitted.residuals.largest_row}: {message} the response" in text


@pytest.mark.parametrize(
    "certificate, message",
    [
        (1e-9, "below 1e-08"),
        (3e-3, "0.003"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_certificate_is_reported_as_predicted_decrease(fitted: Fit, certificate: float, message: str) -> None:
    assert f"predicted relative decrease {message})" in flowing(changed(fitted, certificate=certificate))


@pytest.mark.parametrize(
    "r2, message", [(0.9994, "0.99940"), (0.5, "0.5000"), (1.0, "1.000000000000"), (-3.0, "-3.0000")]
)
def test_r2_has_digits_where_it_differs_from_one(fitted: Fit, r2: float, message: str) -> None:
    assert line_of(changed(fitted, residuals=replace(fitted.residuals, r2=r2)), "R^2").split()[1] == message


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e6))
def test_a_number_keeps_two_digits_beyond_its_standard_error(value: float, error: float) -> None:
    shown = float(fit_report.number(value, error))
    finest = 10.0 ** (math.floor(math.log10(error)) - 2)
    digits = math.log10(abs(value)) - math.log10(finest) if value else 0.0
    assert abs(shown - value) <= (0.51 * finest if digits < 11 else 1e-10 * abs(value))


def test_a_number_without_a_standard_error_has_six_digits() -> None:
    assert fit_report.number(1234.56789) == "1234.57"
    assert fit_report.number(1234.56789, math.inf) == "1234.57"
    assert fit_report.number(math.nan, 1.0) == "nan"
    assert fit_report.number(0.0, 0.5) == "0.000"


@pytest.mark.parametrize(
    "share, message",
    [(1000.0, "over 10000 %"), (0.52, "52 %"), (3.0, "300 %"), (0.0123, "1.2 %"), (7e-37, "below 1e-10 %")],
)
def test_a_relative_error_is_short(fitted: Fit, share: float, message: str) -> None:
    stderr = {**fitted.stderr, "E": share * fitted.params["E"]}
    assert f"  {message}  " in line_of(changed(fitted, stderr=stderr), "E ")


def test_true_and_fitted_constants_are_tabulated(fitted: Fit) -> None:
    truth = {**fitted.params, "E": fitted.params["E"] - 2 * fitted.stderr["E"]}
    text = fit_report.constants(fitted, truth)
    assert line_of(text, "E ").endswith("+2.0 std. errors")
    assert line_of(text, "A ").endswith("+0.0 std. errors")
    assert "beta" not in text


def test_long_lines_are_folded_between_words() -> None:
    message = "a table  kept\n" + "word " * 30
    folded = text_module.fold(message.rstrip())
    assert folded.split("\n")[0] == "a table  kept"
    assert max(map(len, folded.split("\n"))) <= text_module.WIDTH
    assert folded.split() == message.split()
