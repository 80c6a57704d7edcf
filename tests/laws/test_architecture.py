"""Laws of architecture: limits, slopes, reductions and fits to published data."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from tests.law_tables import BASE, D, N, column, grid, published, read

pytestmark = pytest.mark.usefixtures("x64")
VOCABULARY = dict(A2=0.196 * 1e6**0.671, B=2.124 * 1e9**0.447, alpha1=0.447, alpha2=0.671)


def test_a_dense_model_of_the_sparse_law_is_chinchilla() -> None:
    params = dict(a_S=16.8, b_S=0.722, c_S=45.0, b_N=0.245, a_D=6.9e8, b_D=0.203, c=0.651)
    base = dict(E=0.651, A=16.8 + 45.0, alpha=0.245, B=6.9e8**0.203, beta=0.203)
    np.testing.assert_allclose(laws.get("sparse_nd")(0.0, N, D, **params), laws.get("chinchilla")(N, D, **base))


def test_no_further_training_undoes_pruning() -> None:
    params = dict(gamma=-1.0, delta=0.02, N_C=100.0, alpha=0.3, D_C=300.0, beta=0.3, E=0.1)
    offset = 0.3 * 1e9**-0.02 * (100 / 1e9**0.3 + 0.1)
    np.testing.assert_allclose(laws.get("p2_pruning")(2.0, 1e9, 1e60, 0.3, **params), 2 + offset, rtol=1e-6)


def test_the_average_size_of_a_pruned_model() -> None:
    np.testing.assert_allclose(
        laws.get("average_params")(N, D, **BASE), laws.get("chinchilla")(N, D, **BASE), rtol=1e-14
    )
    time = np.linspace(0.0, 1.0, 100001)
    assert np.mean(np.interp(time, [0.25, 0.75], [1.0, 0.5])) == pytest.approx(0.75, rel=1e-4)


def test_one_stream_is_a_power_law_with_a_floor() -> None:
    params = dict(E=0.75, A=1.12e7, alpha=0.222)
    expected = laws.get("power_law_floor")(N, c=0.75, a=1.12e7**0.222, b=0.222)
    np.testing.assert_allclose(laws.get("parallel_streams")(N, 1.0, **params, k=0.4), expected, rtol=1e-13)
    np.testing.assert_allclose(laws.get("parallel_streams_rho")(N, 1.0, **params, rho=0.3), expected, rtol=1e-13)


def test_eight_streams_equal_a_larger_model() -> None:
    params = dict(E=0.75, A=1.12e7, alpha=0.222, k=0.4)
    larger = laws.get("parallel_streams")(1.832 * N, 1.0, **params)
    np.testing.assert_allclose(laws.get("parallel_streams")(N, 8.0, **params), larger, rtol=1e-4)


@pytest.mark.parametrize(
    ("group", "params", "rms"),
    [
        ("stack", dict(E=0.750, A=1.12e7, k=0.413, alpha=0.222), 0.0023),
        ("pile", dict(E=1.340, A=1.56e8, k=0.351, alpha=0.210), 0.0015),
    ],
)
def test_residuals_of_parallel_streams(data: Path, group: str, params: dict[str, float], rms: float) -> None:
    rows = [row for row in read(data, "scalebench_parallel_train.csv") if row["group"] == group]
    assert len(rows) == 18
    loss = laws.get("parallel_streams")(column(rows, "params"), column(rows, "parallel_streams"), **params)
    residual = np.log(loss) - np.log(column(rows, "loss"))
    np.testing.assert_allclose(np.sqrt(np.mean(residual**2)), rms, atol=5e-5)


def test_correlated_streams_gain_nothing_and_independent_ones_divide_the_loss() -> None:
    law, params = laws.get("parallel_streams_rho"), dict(A=1.12e7, alpha=0.222)
    one = law(N, 1.0, E=0.0, rho=0.5, **params)
    np.testing.assert_allclose(law(N, 8.0, E=0.0, rho=1.0, **params), one, rtol=1e-13)
    np.testing.assert_allclose(law(N, 8.0, E=0.0, rho=0.0, **params), one / 8, rtol=1e-13)
    diversity = (7 * 0.3 + 1) ** (-1 / 0.222)
    np.testing.assert_allclose(
        law(N, 8.0, E=0.0, rho=0.3, **params), (1.12e7 / (N * 8 ** (1 / 0.222) * diversity)) ** 0.222, rtol=1e-13
    )


def test_the_cost_of_a_ratio_is_the_same_at_every_size() -> None:
    law = laws.get("aspect_ratio")
    np.testing.assert_allclose(
        law(N, D, 50.0, **BASE, eps=0.0, gamma=0.2), laws.get("chinchilla")(N, D, **BASE), rtol=1e-14
    )
    ratio = law(N, D, 50.0, **BASE, eps=0.01, gamma=0.2) / law(N, D, 5.0, **BASE, eps=0.01, gamma=0.2)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-14)
    tied = laws.get("aspect_ratio_tied")(N, D, 50.0, E=1.8, A=400.0, B=410.0, eps=0.0, alpha=0.3)
    np.testing.assert_allclose(tied, laws.get("chinchilla_tied")(N, D, E=1.8, A=400.0, B=410.0, alpha=0.3), rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("width_depth_tokens", ("width", "depth", "tokens"), 4.201e-4),
        ("width_depth_params_tokens", ("width", "depth", "params", "tokens"), 2.9504e-4),
    ],
)
def test_objective_of_the_published_shape_laws(
    data: Path, name: str, columns: tuple[str, ...], expected: float
) -> None:
    rows = read(data, "gemstones.csv")
    assert len(rows) == 770
    loss = laws.get(name)(*(column(rows, key) for key in columns), **published(name, "mcleish2025"))
    r = np.abs(np.log(loss) - np.log(column(rows, "loss")))
    objective = np.sum(np.where(r <= 1e-4, r**2 / 2, 1e-4 * (r - 1e-4 / 2)))
    np.testing.assert_allclose(objective, expected, rtol=1e-3)


def test_an_ample_shape_leaves_the_token_law() -> None:
    params = published("width_depth_tokens", "mcleish2025")
    ample = laws.get("width_depth_tokens")(1e200, 1e200, D, **params)
    np.testing.assert_allclose(ample, params["C"] / D ** params["c"], rtol=1e-6)


def test_the_size_that_reaches_a_loss_with_given_heads() -> None:
    loss = laws.get("gqa_loss")(N, a_H=2e8, b_H=0.3, E_H=1.6)
    np.testing.assert_allclose(2e8 / (loss - 1.6) ** (1 / 0.3), N, rtol=1e-9)
    np.testing.assert_allclose(laws.get("gqa_heads")(1e300, a=0.5, b=-0.4, c=2.0), 2.0, rtol=1e-12)


def test_memory_and_compute_of_attention_heads() -> None:
    shape = (1e9, 131072.0, 24.0, 64.0, 16.0, 4.0)
    np.testing.assert_allclose(laws.get("gqa_cost")(*shape, lam=1.0) ** 2, 2.611e9, rtol=1e-3)
    np.testing.assert_allclose(laws.get("gqa_cost")(*shape, lam=0.0) ** 3, 1.488e10, rtol=1e-3)


def test_slopes_of_two_kinds_of_attention() -> None:
    law, sizes = laws.get("attention_exponent"), np.array([1e9, 2e9, 3.5e9])
    slopes = []
    for nll, expected in (((0.3277, 0.2987, 0.2781), 0.1311), ((0.3302, 0.2942, 0.2718), 0.1558)):
        alpha, beta = np.polyfit(np.log(sizes), -np.log(nll), 1)
        assert alpha == pytest.approx(expected, rel=1e-3)
        np.testing.assert_allclose(law(sizes, alpha=alpha, beta=beta), nll, rtol=1e-2)
        slopes.append(alpha)
    assert slopes[1] / slopes[0] == pytest.approx(1.188, rel=1e-3)


def test_shares_of_compound_scaling_multiply_to_the_flops() -> None:
    s, shares = np.array([1.0, 4.0, 100.0]), (0.2, 0.5, 0.3)
    depth = laws.get("fast_compound_d")(s, e_d=shares[0])
    width = laws.get("fast_compound_w")(s, e_w=shares[1])
    resolution = laws.get("fast_compound_r")(s, e_r=shares[2])
    np.testing.assert_allclose(depth * width**2 * resolution**2, s, rtol=1e-13)
    activations = laws.get("fast_compound_a")(s, e_w=shares[1])
    np.testing.assert_allclose(activations, depth * width * resolution**2, rtol=1e-13)


@pytest.mark.parametrize(("alpha", "expected"), [(1 / 3, 0.833), (0.8, 0.6), (1.0, 0.5)])
def test_exponents_of_the_activations_of_the_fast_family(alpha: float, expected: float) -> None:
    activations = laws.get("fast_compound_a")(math.e, e_w=alpha)
    assert math.log(activations) == pytest.approx(expected, rel=5e-3)


def test_compound_multipliers_make_up_the_flops() -> None:
    depth = laws.get("efficientnet_compound_d")(4.0, alpha=1.2)
    width = laws.get("efficientnet_compound_w")(4.0, beta=1.1)
    resolution = laws.get("efficientnet_compound_r")(4.0, gamma=1.15)
    assert depth * width**2 * resolution**2 == pytest.approx(13.60, rel=1e-3)


def test_the_log_variance_is_a_line_in_the_layer() -> None:
    logs = np.log(laws.get("layer_variance_growth")(np.arange(1.0, 5.0), v0=2.0, c=0.3))
    np.testing.assert_allclose(np.diff(logs), 0.3, rtol=1e-12)


def test_errors_of_autoencoders_end_in_their_floors() -> None:
    params = dict(alpha=-0.50, b_k=0.26, b_n=-0.017, gamma=-0.042, zeta=-1.32, eta=-0.085)
    np.testing.assert_allclose(laws.get("sae_joint")(1e300, 32.0, **params), math.exp(-1.32) * 32**-0.085, rtol=1e-6)
    np.testing.assert_allclose(laws.get("sae_floor")(1e30, err_nl=0.2, A=3.0, alpha=0.5), 0.2, rtol=1e-12)


def test_the_published_vocabulary_law_on_the_runs_of_its_authors(data: Path) -> None:
    rows = read(data, "scalebench_vocab_train.csv")
    size, V, H = (column(rows, key) for key in ("params_non_vocab", "vocab_size", "characters"))
    widths = dict(zip(np.unique(size), (512, 768, 768, 1024, 1536, 2048), strict=True))
    N_v = V * np.array([widths[each] for each in size])
    loss = column(rows, "unigram_normalized_loss")
    params, counted = published("vocab_loss", "tao2024"), published("vocab_loss_tokens", "tao2024")

    def residual(tokens: Any) -> np.ndarray:
        return np.asarray(laws.get("vocab_loss")(size, N_v, tokens, **params)) - loss

    thousands = residual(laws.get("vocab_loss_tokens")(H, V / 1000, **counted))
    np.testing.assert_allclose(np.mean(np.abs(thousands)), 0.0673, rtol=5e-3)
    np.testing.assert_allclose(np.mean(thousands), 0.0036, atol=1e-4)
    np.testing.assert_allclose(1 - np.sum(thousands**2) / np.sum((loss - loss.mean()) ** 2), 0.982, atol=5e-4)
    np.testing.assert_allclose(np.mean(residual(laws.get("vocab_loss_tokens")(H, V, **counted))), 0.592, rtol=5e-3)
    np.testing.assert_allclose(np.mean(np.abs(residual(H))), 0.112, rtol=5e-3)


def stationary(log_v: Any, N_nv: Any, F: Any, *, A2: Any, B: Any, alpha1: Any, alpha2: Any) -> Any:
    """The log of the two sides' ratio in the condition that the best vocabulary meets."""
    total = jnp.logaddexp(jnp.log(N_nv), log_v)
    left = jnp.log(alpha2 * A2) - (alpha2 + 1) * log_v
    return left - jnp.log(alpha1 * B) - alpha1 * jnp.log(6 / F) - (alpha1 - 1) * total


def random_optima(count: int = 2000) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    draws = np.random.default_rng(0)
    N_nv, F = 10 ** draws.uniform(5, 13, count), 10 ** draws.uniform(14, 28, count)
    A2, B = 10 ** draws.uniform(0, 9, (2, count))
    alpha1, alpha2 = draws.uniform(0.05, 1.5, (2, count))
    return N_nv, F, dict(A2=A2, B=B, alpha1=alpha1, alpha2=alpha2)


def test_the_best_vocabulary_is_stationary_over_the_plausible_ranges() -> None:
    N_nv, F, params = random_optima()
    N_v = laws.get("vocab_optimum")(N_nv, F, **params)
    assert np.all(np.isfinite(N_v)) and np.all(N_v > 0)
    np.testing.assert_allclose(stationary(jnp.log(N_v), N_nv, F, **params), 0.0, atol=1e-10)


def test_the_best_vocabulary_has_the_least_loss() -> None:
    F, N_v = (7e9 * 12) ** 2, grid(1e6, 1e10)
    loss = laws.get("vocab_loss")(7e9, N_v, F / (6 * (7e9 + N_v)), **published("vocab_loss", "tao2024"))
    np.testing.assert_allclose(laws.get("vocab_optimum")(7e9, F, **VOCABULARY), N_v[np.argmin(loss)], rtol=1e-3)


def test_the_best_vocabulary_of_a_large_model_is_larger_than_216_thousand() -> None:
    F = (7e10 * math.exp(2.48465)) ** 2
    assert laws.get("vocab_optimum_v")(7e10, 8192.0, F, **VOCABULARY) > 216e3


def test_slopes_of_the_best_vocabulary_follow_the_implicit_function() -> None:
    inputs, law = (7e9, 7e21), laws.get("vocab_optimum")
    log_v = jnp.log(law(*inputs, **VOCABULARY))
    by_hand = jax.grad(stationary, argnums=(0, 1, 2))(log_v, *inputs, **VOCABULARY)
    found = jax.jit(jax.grad(lambda *x: jnp.log(law(*x, **VOCABULARY)), argnums=(0, 1)))(*inputs)
    np.testing.assert_allclose(found, [-slope / by_hand[0] for slope in by_hand[1:]], rtol=1e-10)
    of_params = jax.grad(lambda p: jnp.log(law(*inputs, **p)))(VOCABULARY)
    condition = jax.grad(lambda p: stationary(log_v, *inputs, **p))(VOCABULARY)
    for name, slope in of_params.items():
        np.testing.assert_allclose(slope, -condition[name] / by_hand[0], rtol=1e-10, err_msg=name)


def test_each_tenfold_vocabulary_lowers_the_loss_by_one_amount() -> None:
    m = 10.0 ** np.arange(4, 8)
    loss = laws.get("over_tokenized")(m, **published("over_tokenized", "huang2025"))
    np.testing.assert_allclose(np.diff(loss), -0.0256, rtol=1e-10)
