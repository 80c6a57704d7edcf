"""Default priors as NumPyro distributions."""

import numpy as np
import numpyro.distributions as dist
import pytest

from jaxscale import likelihoods, priors
from tests.sweeps import small, sweep


def test_default_priors_are_numpyro_distributions_that_hold_the_declared_ranges() -> None:
    found = priors.default(small, sweep())
    assert {"E", "A", "alpha", "scale"} <= set(found)
    assert all(isinstance(prior, dist.Distribution) for prior in found.values())
    low, high = small.parameters["alpha"].range
    assert found["alpha"].icdf(np.array([0.025, 0.975])) == pytest.approx([low, high], rel=1e-2)


def test_fixed_parameters_have_no_prior_and_the_likelihood_decides_what_else_has() -> None:
    found = priors.default(small, sweep(), likelihood=likelihoods.normal("log"), fixed={"E": 1.7})
    assert list(found) == ["A", "alpha", "scale"]


def test_a_lognormal_prior_has_95_percent_between_two_numbers() -> None:
    assert priors.lognormal(0.1, 0.6).icdf(np.array([0.025, 0.975])) == pytest.approx([0.1, 0.6], rel=1e-2)
    with pytest.raises(ValueError, match=r"^Argument low must lie between 0 and high, but low is 1\.0 and high 0\.5"):
        priors.lognormal(1.0, 0.5)
