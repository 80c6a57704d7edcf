"""Prior densities agree with NumPyro's, with an order of hyperparameters that is fixed between processes."""

import os
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to

from jaxscale.bayes.prior_density import FAMILIES, NumPyroPrior, StandardPrior, prior_of

pytestmark = pytest.mark.usefixtures("x64")
GIVEN: dict[str, dict[str, float]] = {
    "Normal": dict(loc=0.3, scale=1.7),
    "LogNormal": dict(loc=-1.0, scale=0.4),
    "HalfNormal": dict(scale=2.5),
    "Gamma": dict(concentration=2.0, rate=0.1),
    "Beta": dict(concentration1=2.0, concentration0=0.7),
}
OTHERS = [
    dist.StudentT(np.asarray(4.0), np.asarray(0.5), np.asarray(2.0)),
    dist.TruncatedNormal(np.asarray(0.3), np.asarray(0.1), low=np.asarray(0.0)),
    dist.TruncatedNormal(np.asarray(0.3), np.asarray(0.1), low=np.asarray(-1.0), high=np.asarray(2.0)),
    dist.Uniform(np.asarray(0.1), np.asarray(0.9)),
    dist.TransformedDistribution(
        dist.Normal(np.asarray(0.0), np.asarray(1.0)), dist.transforms.AffineTransform(1.0, 2.0)
    ),
    dist.MixtureSameFamily(
        dist.Categorical(np.array([0.3, 0.7])), dist.Normal(np.array([-1.0, 2.0]), np.array([0.5, 1.0]))
    ),
]


def test_every_implemented_family_is_tested() -> None:
    assert set(GIVEN) == set(FAMILIES)


@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize("family", GIVEN)
def test_implemented_families_agree_with_numpyro(family: str) -> None:
    own, known = StandardPrior.of(family, **GIVEN[family]), getattr(dist, family)(**GIVEN[family])
    assert isinstance(prior_of(known), StandardPrior)
    assert str(prior_of(known)) == str(own)
    z = np.linspace(-3.0, 3.0, 41)
    x, slope = own.constrained(z)
    change = biject_to(known.support)
    np.testing.assert_allclose(x, change(z), rtol=1e-12)
    np.testing.assert_allclose(slope, change.log_abs_det_jacobian(z, change(z)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(own.unconstrained(x), z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(own.log_prob(x), known.log_prob(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(own.contains(x), known.support(x))
    assert bool(own.contains(-1.0)) == (own.ends[0] is None)
    assert type(own.distribution) is type(known)
    np.testing.assert_allclose(own.distribution.log_prob(x), known.log_prob(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("known", OTHERS, ids=lambda prior: type(prior).__name__)
def test_other_distributions_round_trip(known: Any) -> None:
    own = prior_of(known)
    assert isinstance(own, NumPyroPrior)
    x = np.linspace(0.15, 0.85, 9)
    leaves, structure = jax.tree.flatten(own)
    again = jax.tree.unflatten(structure, leaves)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = known.log_prob(x)
    np.testing.assert_array_equal(again.log_prob(x), expected)
    np.testing.assert_allclose(jax.jit(lambda prior: prior.log_prob(x))(own), expected, rtol=1e-13)
    z = own.unconstrained(x)
    np.testing.assert_allclose(own.constrained(z)[0], x, rtol=1e-9)
    assert bool(own.contains(0.5))


@pytest.mark.parametrize(
    ("known", "domain"),
    [
        (OTHERS[0], "real"),
        (OTHERS[1], "positive"),
        (OTHERS[2], None),
        (dist.Kumaraswamy(2.0, 3.0), "unit"),
        (dist.HalfCauchy(1.0), "positive"),
    ],
    ids=["StudentT", "TruncatedNormal", "interval", "Kumaraswamy", "HalfCauchy"],
)
def test_support_is_known_inside_a_program(known: Any, domain: str | None) -> None:
    seen = []
    jax.jit(lambda prior: seen.append(prior.domain) or prior.log_prob(0.5))(prior_of(known))
    assert seen == [domain]


PROGRAM = """
import hashlib, re
import jax, numpy as np, numpyro.distributions as dist
from jaxscale import Observations, laws, likelihoods
from jaxscale.bayes.build_model import model_of
from jaxscale.bayes.model import stack
from jaxscale.sampling import density_programs, posterior
x = np.geomspace(1.0, 1e4, 30)
rows = Observations.from_table(dict(x=x, y=2 * x**-0.3 + 1.7), inputs=["x"], response="y")
given = dict(b=dist.TruncatedNormal(0.3, 0.1, low=0.0), scale=dist.LogNormal(-4.0, 1.0), c=dist.StudentT(4.0, 1.0, 1.0))
with jax.enable_x64(True):
    model = stack([model_of(laws.get("power_law_floor"), rows, likelihoods.student_t(), given=given)])
    draws = np.zeros((1, 8, model.size))
    programs = [(density_programs.curvatures, draws[:, 0]), (density_programs.log_densities, draws)]
    for program, x in (*programs, (posterior._sites_and_params, draws)):
        print(program.__name__, hashlib.sha256(program.jitted.lower(model, x).as_text().encode()).hexdigest())
print(posterior.prior_families(model))
"""


def test_no_program_depends_on_the_hash_seed() -> None:
    printed = []
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert len(printed[0].splitlines()) == 4
    assert printed[0] == printed[1] == printed[2]
