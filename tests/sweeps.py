"""A small law and simulated sweeps, for tests of the execution of fits."""

from typing import Any

import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive

TRUE = dict(E=1.7, A=300.0, alpha=0.34)


@law(
    inputs=dict(N=Input("parameters")),
    response=Response("nat/token", positive),
    E=floor(),
    A=amplitude(N="alpha"),
    alpha=exponent(),
    affine=("E", "A"),
    source="a test",
)
def small(N, *, E, A, alpha):
    """Three parameters, so that programs compile quickly."""
    return E + A / N**alpha


def sweep(seed: int = 0, rows: int = 20, **more: Any) -> Observations:
    """Runs with 0.5 % noise."""
    N = np.geomspace(1e6, 1e9, rows)
    noise = np.random.default_rng(seed).standard_normal(rows)
    loss = (TRUE["E"] + TRUE["A"] / N ** TRUE["alpha"]) * np.exp(0.005 * noise)
    return Observations.from_table({"N": N, "loss": loss, **more}, inputs=["N"], response="loss", **_weighted(more))


def _weighted(more: dict[str, Any]) -> dict[str, Any]:
    return {"weight": "weight"} if "weight" in more else {}
