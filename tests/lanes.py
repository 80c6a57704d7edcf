"""Problems and lanes for tests of the engine."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.engine.objective import Local, Problem
from jaxscale.engine.objective import evaluate as plainly
from jaxscale.law import Law
from jaxscale.law.coordinates import centre_of
from jaxscale.noise import Noise


def problem_of(law: Law, inputs: dict[str, np.ndarray], response: np.ndarray, noise: Noise) -> Problem:
    return Problem(law, tuple(law.parameters), noise, inputs, {}, centre_of(law, inputs, response, np))


def lane(lanes: Any, index: Any) -> Any:
    return jax.tree.map(lambda a: np.asarray(a)[..., index], lanes)


def evaluated(problem: Problem, z: Any, delta: Any, response: Any, weight: Any) -> Local:
    """Evaluate lanes that share their rows, or have rows of their own."""
    lanes = z.shape[1]
    rows = (jnp.broadcast_to(a, (lanes, a.shape[-1])) for a in (problem.noise.transform(response), weight))
    return plainly(problem, z, jnp.broadcast_to(delta, (lanes,)), *rows)


evaluate = jax.jit(evaluated)
