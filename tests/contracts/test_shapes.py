"""Array shapes: wrong ones are refused where types are checked, and few arguments are of any type."""

from collections.abc import Callable
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest

import jaxscale
from benchmarks import architecture
from jaxscale import Observations, laws, likelihoods
from jaxscale.bayes.build_model import model_of
from jaxscale.bayes.psis import smooth
from jaxscale.engine import newton
from jaxscale.engine.descent import run_pool
from jaxscale.engine.linearize import Linear
from jaxscale.engine.objective import Local, evaluate
from jaxscale.engine.optimum import Optimum
from jaxscale.engine.solve import Solution
from jaxscale.engine.starts import score
from jaxscale.fitting.optimise import problem_of
from jaxscale.fitting.sandwich import classical
from jaxscale.law.slopes import slopes
from jaxscale.noise import huber
from jaxscale.prediction.cross_validation import Elpd
from jaxscale.profiling.contour import Contour
from jaxscale.profiling.profile import Curve
from jaxscale.results.draws import Draws
from jaxscale.results.fits import Fits
from jaxscale.sampling.importance import Proposal
from jaxscale.sampling.modes import Mode

# The largest share of arguments of any type.
LARGEST_SHARE = 0.05
LAW = laws.get("power_law_floor")
ROWS = Observations(inputs={"x": np.arange(1.0, 9.0)}, response=np.arange(1.0, 9.0), weight=np.ones(8))
PROBLEM, WIDE = problem_of(LAW, tuple(LAW.parameters), {}, huber(0.1), ROWS)
N, SIZE = len(WIDE), PROBLEM.size
LANES = newton.init_lanes(PROBLEM, np.zeros((SIZE, 4)), xp=np)
LINEAR = Linear({}, np.ones(N), np.ones(N), np.ones((N, SIZE)), np.ones((N, SIZE)), np.ones((SIZE, SIZE)))


def four(*shape: int) -> np.ndarray:
    """An array for four of something."""
    return np.ones((*shape, 4))


# What is called with an array of a wrong shape: lengths that differ, an axis too few or too many.
WRONG: dict[str, Callable[[], object]] = {
    "Local": lambda: Local(four(), np.ones((SIZE, 3)), four(2, 2), four(2, 2), four(), four()),
    "Lanes": lambda: replace(LANES, delta=np.ones(3)),
    "Problem": lambda: replace(PROBLEM, inputs={"x": np.ones(())}),
    "Linear": lambda: replace(LINEAR, residual=np.ones(N + 1)),
    "Optimum": lambda: Optimum(PROBLEM, np.ones(SIZE), np.ones(N), np.ones(N + 1), LINEAR),
    "Solution": lambda: Solution({"a": four()}, four(), np.ones((4, 2), int)),
    "Observations": lambda: replace(ROWS, weight=np.ones(7)),
    "Model": lambda: replace(model_of(LAW, ROWS, likelihoods.normal()), response=np.ones(3)),
    "Draws": lambda: Draws("a law", {"a": np.ones(4)}, "laplace", ("a",), {"scale": np.ones(5)}),
    "Fits": lambda: Fits(
        LAW, ("a",), (), {"a": four()}, four(), np.ones(3, int), np.ones(4, int), np.ones(4, int), np.ones(4, int)
    ),
    "Mode": lambda: Mode(four(2), np.ones(2), np.ones((2, 4, 3)), np.ones(2)),
    "Proposal": lambda: Proposal(four(2), np.ones((2, 4, 4)), np.ones((2, 4, 4)), np.ones(3)),
    "Curve": lambda: Curve("a", 1.0, 0.1, np.ones(5), np.ones(5), np.ones(4), {}, 0.9, 1.1),
    "Contour": lambda: Contour("a law", ("a", "b"), (0.9,), (4.6,), (1.0, 1.0), np.ones((1, 8, 3))),
    "Elpd": lambda: Elpd("a law", "loo", 0.0, 1.0, 1.0, np.ones(4), np.ones(5), "row", np.arange(4)),
    "solve_damped": lambda: newton.solve_damped(np.ones((2, 2, 4)), np.ones((2, 3))),
    "init_lanes": lambda: newton.init_lanes(PROBLEM, np.zeros(SIZE)),
    "evaluate": lambda: evaluate(PROBLEM, LANES.z, LANES.delta, np.ones((4, N)), np.ones((3, N))),
    "run_pool": lambda: run_pool(PROBLEM, LANES, np.ones((4, N)), np.ones((4, N + 1)), 2, 2),
    "score": lambda: score(PROBLEM, four(SIZE), four(SIZE), np.ones(3, bool), np.ones(N), np.ones(N)),
    "slopes": lambda: slopes(LAW, ("a",), {"x": np.ones(8)}, {"a": np.ones((3, 1))}),
    "classical": lambda: classical(np.ones((8, 2)), np.ones(7), np.ones(8)),
    "smooth": lambda: smooth(np.ones((100, 2))),
    "solve": lambda: jaxscale.solve(LAW, {"x": np.ones(8)}, np.ones(7)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_shape_is_refused(name: str) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        WRONG[name]()


def test_few_arguments_are_of_any_type() -> None:
    offenders, count = architecture.arguments_of_any_type()
    assert len(offenders) < LARGEST_SHARE * count, f"{len(offenders)} of {count}:\n" + "\n".join(offenders)
