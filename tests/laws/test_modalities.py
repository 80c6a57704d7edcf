"""Laws of modalities: limits, slopes, reductions and fits to published data."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")


def test_best_size_and_tokens_of_diffusion_use_up_the_compute() -> None:
    C = 1e21
    used = laws.get("dit_scaling_n")(C, n0=9e-4, p=0.5681) * laws.get("dit_scaling_d")(C, d0=186.8535, p=0.4319)
    np.testing.assert_allclose(C / used, 5.95, rtol=1e-3)


@pytest.mark.parametrize(("source", "rows", "expected"), [("LAION", 29, -0.10125), ("CLIP-WIT", 3, -0.16377)])
def test_power_of_contrastive_models_on_the_published_errors(
    data: Path, source: str, rows: int, expected: float
) -> None:
    with open(data / "openclip_zeroshot.csv", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["downstream_dataset"] == "imagenet1k"]
    points = [
        (math.log10(float(row["macs_total"])), math.log10(float(row["error"])))
        for row in table
        if row["upstream_dataset"].startswith(source)
    ]
    assert len(points) == rows
    log_C, log_error = np.array(points).T
    alpha, log_beta = np.polyfit(log_C, log_error, 1)
    np.testing.assert_allclose(alpha, expected, rtol=1e-4)
    predicted = laws.get("clip_pareto")(10.0**log_C, beta=10.0**log_beta, alpha=alpha)
    np.testing.assert_allclose(np.log10(predicted), log_beta + alpha * log_C, rtol=1e-12)


def test_a_shared_power_keeps_the_ratio_of_two_errors() -> None:
    sizes = np.geomspace(1e4, 1e10, 5)
    inside, outside = (laws.get("tsfm_power")(sizes, X_c=X_c, alpha_X=0.07) for X_c in (1e3, 1e5))
    np.testing.assert_allclose(outside / inside, 100.0**0.07, rtol=1e-12)


def test_laws_in_a_logarithm_add_the_same_for_every_factor() -> None:
    embedding, attack, information = map(laws.get, ("embedding_log", "attack_success_log", "mutual_info_log"))
    np.testing.assert_allclose(np.diff(embedding(np.array([64.0, 128.0]), a=0.1, b=0.03)), 0.03 * math.log(2))
    np.testing.assert_allclose(np.diff(attack(np.array([1e8, 1e9]), a=1.0, b=0.032)), -0.032)
    np.testing.assert_allclose(information(np.array([1e6, 1e7]), k=2.0, N_c=1e6), [0.0, 2.0], atol=1e-14)


def test_success_of_a_policy_becomes_certain() -> None:
    curve = laws.get("factored_curve")
    params = dict(a=0.8, b=-0.5, n_base=5.0)
    np.testing.assert_allclose(curve(1e14, **params), 1.0, rtol=1e-6)
    np.testing.assert_allclose((curve(20.0, **params) - curve(0.0, **params)) / 20, (0.84 - 0.6422) / 20, rtol=1e-3)


def test_values_at_which_a_law_is_1() -> None:
    np.testing.assert_allclose(laws.get("ar3d_power")(1e6, beta=1e-6, alpha=-0.3), 1.0)
    np.testing.assert_allclose(laws.get("resolution_limited")(1e6, X_c=1e6, alpha=0.5), 1.0)
    np.testing.assert_allclose(laws.get("attention_entropy_temp")(256.0, 256.0, 64.0, c=1.0), 1 / 8)
    np.testing.assert_allclose(laws.get("loglog_batches")(math.exp(math.e), c=1.0), 1.0)
