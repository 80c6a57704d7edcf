"""A straight line and data around it, for which least squares has closed forms."""

from typing import Any

import numpy as np

import jaxscale
from jaxscale import noise
from jaxscale.data.observations import Observations
from jaxscale.law import Input, Response, coefficient, law, real

ROWS = 30
X = np.linspace(-2.0, 3.0, ROWS)
WEIGHT = np.where(np.arange(ROWS) % 7 == 3, 0.0, np.linspace(0.5, 2.0, ROWS))
RUN = np.arange(ROWS) // 4


@law(
    inputs=dict(x=Input("", low=-np.inf)),
    response=Response("", real),
    c=coefficient(),
    m=coefficient(),
    source="a test",
)
def line(x, *, c, m):
    """A straight line."""
    return c + m * x


def observed(seed: int = 0, **columns: np.ndarray) -> Observations:
    """Rows around a line, with skewed noise that grows with x, and optional weights, runs or groups."""
    generator = np.random.default_rng(seed)
    y = 1.0 + 0.5 * X + 0.2 * (generator.exponential(size=ROWS) - 1) * (3 + X)
    if "run" in columns:
        y = y + 0.3 * generator.standard_normal(ROWS)[columns["run"]]
    named: Any = {name: name for name in columns}
    return Observations.from_table({"x": X, "y": y, **columns}, inputs=["x"], response="y", **named)


def fitted(observations: Observations, **settings: Any) -> jaxscale.Fit:
    """The line by least squares, or another noise."""
    return jaxscale.fit(line, observations, **{"noise": noise.squared(), "starts": 64, "polish": 8} | settings)


def columns_of(observations: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns and response times ``sqrt(w)`` of the rows with positive weight, and a mask of these."""
    used = observations.weight > 0
    root = np.sqrt(observations.weight[used])
    columns = np.stack([np.ones(ROWS), X], axis=1)[used] * root[:, None]
    return columns, observations.response[used] * root, used


def least_squares(response: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares of many data sets, shape (lanes, 2), from responses and weights of shape (lanes, n)."""
    columns = np.stack([np.ones(ROWS), X], axis=1)
    gram = np.einsum("bn,np,nq->bpq", weight, columns, columns)
    return np.linalg.solve(gram, np.einsum("bn,bn,np->bp", weight, response, columns)[..., None])[..., 0]
