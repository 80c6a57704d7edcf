"""Laws, data and models that tests of posteriors share."""

from typing import Any

import numpy as np

import jaxscale
from jaxscale import Observations
from jaxscale.bayes.build_model import model_of
from jaxscale.law import Input, Response, amplitude, coefficient, exponent, floor, fraction, law, positive, real, unit

FEW: Any = dict(num_chains=4, num_samples=500, progress=False)


X = np.linspace(-1.0, 2.0, 12)


TRUE = dict(E=1.8, A=30.0, alpha=0.4)


@law(
    inputs=dict(x=Input("", low=-np.inf)),
    response=Response("", real),
    a=coefficient(range=(-3.0, 3.0)),
    b=coefficient(range=(-3.0, 3.0)),
    affine=("a", "b"),
    source="a test",
)
def line(x, *, a, b):
    """A straight line."""
    return a + b * x


@law(inputs=dict(x=Input("")), response=Response("", real), c=coefficient(), source="a test")
def level(x, *, c):
    """One number."""
    return c + 0 * x


@law(inputs=dict(x=Input("")), response=Response("share", unit), p=fraction(), source="a test")
def share(x, *, p):
    """One probability."""
    return p + 0 * x


@law(
    inputs=dict(N=Input("parameters")),
    response=Response("nat/token", positive),
    E=floor(),
    A=amplitude(N="alpha", range=(0.1, 1e5)),
    alpha=exponent(),
    affine=("E", "A"),
    source="a test",
)
def power(N, *, E, A, alpha):
    """A power of size above a floor."""
    return E + A / N**alpha


def of(columns: dict[str, Any], *inputs: str, **more: Any) -> Observations:
    return Observations.from_table(columns, inputs=list(inputs), response="y", **more)


def straight(seed: int = 0) -> Observations:
    e = np.random.default_rng(seed).standard_normal(len(X))
    return of(dict(x=X, y=0.5 + 1.2 * X + 0.3 * e), "x")


def powers(rows: int = 40, seed: int = 0, **more: Any) -> Observations:
    draws = np.random.default_rng(seed)
    N = 10 ** draws.uniform(1, 5, rows)
    y = (TRUE["E"] + TRUE["A"] * N ** -TRUE["alpha"]) * np.exp(0.01 * draws.standard_t(4, rows))
    columns = dict(N=N, y=y, run=np.arange(rows) // 4, group=np.arange(rows) % 3, seen=np.zeros(rows))
    return of(columns, "N", *more.pop("also", []), **more)


def modelled(likelihood: Any, observations: Observations | None = None, law: Any = power, **more: Any) -> Any:
    given = powers(also=["seen"], run="run", group="group") if observations is None else observations
    return model_of(law, jaxscale.prepare(law, given), likelihood, **more)


def counting(counts: Any) -> Observations:
    """Counts at sizes from 1 to 1000."""
    return of(dict(x=np.geomspace(1.0, 1000.0, len(counts)), y=np.asarray(counts, float)), "x")
