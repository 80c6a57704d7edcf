"""Laws of precision: limits, slopes, reductions and fits to published data."""

import numpy as np
import pytest

from jaxscale import laws

pytestmark = pytest.mark.usefixtures("x64")
N = np.array([1e7, 1e9, 1e11])
D = np.array([2e9, 2e10, 5e12])
BASE = dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
get = laws.get
RATES = dict(C_w=0.3, C_a=0.5, C_kv=0.7)


def published(name: str, label: str) -> dict[str, float]:
    return dict(get(name).published[label])


CAPACITY = published("precision_capacity", "kumar2024")


def test_capacity_without_loss_of_precision_is_the_model() -> None:
    np.testing.assert_allclose(get("precision_capacity")(N, 1e4, 1e4, 1e4, **CAPACITY), N, rtol=1e-14)
    loss = get("precision_capacity_loss")(N, D, 1e4, 1e4, 1e4, **BASE, **CAPACITY)
    np.testing.assert_allclose(loss, get("chinchilla")(N, D, **BASE), rtol=1e-14)


@pytest.mark.parametrize(("place", "bits"), [(0, 0.8122), (1, 3.110), (2, 2.316)])
def test_capacity_ends_at_the_offset(place: int, bits: float) -> None:
    def kept(P: float) -> float:
        precisions = [1e9] * 3
        precisions[place] = P
        return float(get("precision_capacity")(1.0, *precisions, **CAPACITY))

    assert kept(0.999 * bits) == pytest.approx(1e-6, rel=1e-5) == kept(0.1 * bits)
    assert 1e-5 < kept(1.001 * bits) < 2e-2


WITHOUT = {**CAPACITY, "n_w": 0.0, "n_a": 0.0, "n_kv": 0.0}


@pytest.mark.parametrize(("params", "best"), [(CAPACITY, 7.00), (WITHOUT, 3.47)])
def test_bits_that_give_most_capacity_for_their_memory(params: dict[str, float], best: float) -> None:
    P = np.linspace(2.0, 16.0, 14001)
    worth = np.asarray(get("precision_capacity")(1.0, P, P, P, **params)) / P
    assert P[np.argmax(worth)] == pytest.approx(best, abs=0.005)


PTQ = published("precision_ptq_wide", "kumar2024")


def test_many_bits_in_training_leave_the_wide_law() -> None:
    P_post = np.array([2.0, 3.0, 6.0])
    wide = get("precision_ptq_wide")(1e9, 1e11, P_post, **PTQ)
    full = get("precision_ptq")(1e9, 1e11, P_post, 16.0, 16.0, 16.0, **PTQ, C_w=1e3, C_a=1e3, C_kv=1e3)
    np.testing.assert_allclose(full, wide, rtol=1e-14)
    kept = np.prod([1 - np.exp(-C * (8 - P_post)) for C in RATES.values()], axis=0)
    eight = get("precision_ptq")(1e9, 1e11, P_post, 8.0, 8.0, 8.0, **PTQ, **RATES)
    np.testing.assert_allclose(eight, wide * kept, rtol=1e-12)


@pytest.mark.parametrize("bits", [(4.0, 16.0, 16.0), (16.0, 3.0, 16.0), (8.0, 8.0, 2.0)])
def test_no_fewer_bits_after_training_than_in_it_add_nothing(bits: tuple[float, float, float]) -> None:
    assert float(get("precision_ptq")(1e9, 1e11, 4.0, *bits, **PTQ, **RATES)) == 0.0


def test_groups_of_weights_in_quantized_training() -> None:
    params = dict(k=0.1, g_D=0.07, g_G=0.8, g_N=0.2)
    delta = get("qat_delta")
    np.testing.assert_allclose(delta(1e9, 1e11, 128.0, **params) / delta(1e9, 1e11, 32.0, **params), 1.4**0.8)
    assert float(delta(1e9, 1e11, 1.0, **params)) == 0.0
    assert delta(2e9, 1e11, 32.0, **params) < delta(1e9, 1e11, 32.0, **params) < delta(1e9, 2e11, 32.0, **params)


def test_power_and_exponential_in_the_bits_part_above_four() -> None:
    power, exponential = published("qid_low_bit", "ouyang2024"), PTQ
    for low, high, of_power, of_exponential in ((2.0, 4.0, 45.15, 29.54), (4.0, 8.0, 45.15, 872.7)):
        first = get("qid_low_bit")(7e9, 1e12, low, **power) / get("qid_low_bit")(7e9, 1e12, high, **power)
        assert float(first) == pytest.approx(of_power, rel=1e-3)
        wide = get("precision_ptq_wide")
        second = wide(7e9, 1e12, low, **exponential) / wide(7e9, 1e12, high, **exponential)
        assert float(second) == pytest.approx(of_exponential, rel=1e-3)


def test_best_share_of_quantized_training_at_its_ends() -> None:
    share = get("qat_fraction")
    assert float(share(1e300, a=6.7297)) > 0.99
    assert float(share(1.01, a=6.7297)) < 1e-200
    S = 300.0
    np.testing.assert_allclose(share(S, a=6.7297), np.exp(np.log(S) - 6.7297 / np.log(S)) / S, rtol=1e-14)


def test_a_dense_representation_is_chinchilla() -> None:
    expected = get("chinchilla")(N, D, **BASE)
    np.testing.assert_allclose(get("representation_capacity")(N, D, **BASE, rho=1.0), expected, rtol=1e-14)
    np.testing.assert_allclose(get("representation_capacity_bits")(N, D, 1e4, **BASE, g=2.0), expected, rtol=1e-14)
    rho = 1 - np.exp(-4 / 2.0)
    few = get("representation_capacity_bits")(N, D, 4.0, **BASE, g=2.0)
    np.testing.assert_allclose(few, get("representation_capacity")(N, D, **BASE, rho=rho), rtol=1e-14)
