"""Agreement with reference posteriors of posteriordb from Stan (the fast models)."""

from pathlib import Path

import pytest

from benchmarks.posterior_references import REFERENCES, compare_model

MODELS = {model.posterior: model for model in REFERENCES}


@pytest.mark.parametrize("method", ["auto", "nuts"])
@pytest.mark.parametrize("name", ["eight_schools-eight_schools_noncentered", "gp_pois_regr-gp_regr"])
def test_means_and_standard_deviations_agree_with_the_reference(data: Path, name: str, method: str) -> None:
    rows = compare_model(MODELS[name], data, method=method, num_samples=4000)
    assert {row.sampler for row in rows} == {"importance" if method == "auto" else "nuts"}
    assert [row.cells for row in rows if not row.passed] == []


def test_a_line_through_the_earnings(data: Path) -> None:
    rows = compare_model(MODELS["earnings-logearn_logheight_male"], data, num_samples=4000)
    assert [row.cells for row in rows if not row.passed] == []
