"""MCMC diagnostics: convergence, undefined values, numbers of draws."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale.results import mcmc_diagnostics
from jaxscale.results.draws import Draws

CHAINS, EACH = 4, 250


def chains(**params: np.ndarray) -> Draws:
    """Draws as returned by NUTS, with concatenated chains."""
    count = len(next(iter(params.values())))
    energy = np.random.default_rng(9).standard_normal(count)
    stats = {"diverging": np.zeros(count), "energy": energy}
    return Draws("line", params, "nuts", tuple(params), chains=CHAINS, stats=stats)


def good(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(CHAINS * EACH)


def codes(notices: tuple[jaxscale.Notice, ...]) -> list[str]:
    return [notice.code for notice in notices]


def test_mixed_chains_have_no_notices() -> None:
    assert mcmc_diagnostics.assess(chains(a=good(), b=good(1))) == ((), True)


@pytest.mark.parametrize("order", [("a", "b", "c"), ("b", "a", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_nan_diagnostics_count_as_failures(order: tuple[str, ...]) -> None:
    """Python's max and min keep or drop NaN depending on the order."""
    slow = good(1)
    # R-hat of about 1.03: a notice, but the draws are usable.
    slow[:EACH] += 0.6
    values = {"a": slow, "b": np.full(CHAINS * EACH, 2.0), "c": good(2)}
    alone, usable = mcmc_diagnostics.assess(chains(a=slow, c=good(2)))
    assert usable and codes(alone) == ["not_mixed", "few_draws"]
    notices, usable = mcmc_diagnostics.assess(chains(**{name: values[name] for name in order}))
    assert not usable
    assert codes(notices) == ["not_mixed", "few_draws"]
    assert notices[0].message.startswith("R-hat is above 1.01 for b (unknown), a 1.0")
    assert notices[1].message.startswith("The effective sample size is below 400 for b (unknown)")


def test_rhat_needs_four_draws_per_chain() -> None:
    x = np.random.default_rng(0).standard_normal((2, CHAINS, 4, 3))
    for count in (1, 2, 3):
        assert np.isnan(mcmc_diagnostics.largest_rhat(x[:, :, :count])).all()
    assert np.isfinite(mcmc_diagnostics.largest_rhat(x)).all()
    for count in (1, 2, 3):
        notices, usable = mcmc_diagnostics.assess(chains(a=good()[: CHAINS * count]))
        assert not usable and codes(notices)[:2] == ["not_mixed", "few_draws"]


def test_ebfmi_of_one_draw_is_nan() -> None:
    assert np.isnan(mcmc_diagnostics.ebfmi(np.ones((3, 1)))).all()
    assert np.isnan(mcmc_diagnostics.ebfmi(np.ones((3, 5)))).all()
    np.testing.assert_allclose(mcmc_diagnostics.ebfmi(np.array([[0.0, 2.0, 0.0, 2.0]])), 4.0)


@pytest.mark.parametrize("method", ["importance", "laplace"])
@pytest.mark.parametrize(
    ("count", "about", "message"),
    [
        (99, {}, "There are 99 draws, fewer than 100."),
        (100, {}, ""),
        (1000, {"ess": 99.0}, "The effective sample size of the importance weights is 99, below 100."),
        (1000, {"ess": float("nan")}, "The effective sample size of the importance weights is nan, below 100."),
        (1000, {"ess": 100.0}, ""),
        (5, {"ess": 3.0}, "There are 5 draws, fewer than 100."),
    ],
)
def test_too_few_independent_draws_are_reported(method: str, count: int, about: dict[str, Any], message: str) -> None:
    notices, usable = mcmc_diagnostics.assess(Draws("line", {"a": good()[:count]}, method, ("a",), about=about))
    assert usable == (not message)
    assert [(notice.code, notice.message) for notice in notices] == ([("few_draws", message)] if message else [])


def normal(x: Any, _: Any) -> Any:
    return -0.5 * jnp.sum(x * x)


def test_draws_of_a_density_can_be_printed() -> None:
    drawn = jaxscale.sample(normal, np.zeros(2), method="nuts", num_chains=2, num_samples=250)
    assert drawn.about["draws"] == len(drawn) == 500 and drawn.about["chains"] == drawn.chains == 2
    assert "NUTS, 2 chains of 250 draws" in str(drawn)
    few = jaxscale.sample(normal, np.zeros(2), method="importance", num_chains=2, num_samples=10)
    assert (few.about["draws"], few.about["chains"]) == (20, 1) and "importance sampling" in str(few)
    assert not few.ok and [notice.code for notice in few.notices] == ["few_draws"]
    assert "x[1]" in str(jaxscale.sample(normal, np.zeros(2), method="laplace"))
    # Three draws per chain are too few for R-hat.
    none = jaxscale.sample(normal, np.zeros(2), method="nuts", num_chains=2, num_samples=3)
    assert len(none) == 6 and not none.ok
    assert "R-hat is above 1.01 for x[0] (unknown), x[1] (unknown)" in none.notices[0].message
