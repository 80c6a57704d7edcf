# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Simulated sweeps of laws with known parameters, for coverage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.engine.starts import hypercube
from jaxscale.law import Law

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A law with true parameters and the ranges of its inputs.

    Args:
        law: name of the law.
        truth: true parameters.
        sizes: input to (lowest, highest); logarithmically spaced, or linearly for inputs in ``even``.
        noise: standard deviation of the noise in logs, or in the unit of the response.
        beyond: two points beyond the data, inputs by name.
        space: residual space.
        fixed: names of the parameters that are not inferred.
        inside: maps columns to valid inputs of the law (at most as many distinct tokens as tokens).
        optimum: whether the law has the optimal size of ``E + A / N**alpha + B / D**beta``.
        even: inputs that are linearly spaced.
    """

    law: str
    truth: Mapping[str, float]
    sizes: Mapping[str, tuple[float, float]]
    noise: float
    beyond: tuple[Mapping[str, float], Mapping[str, float]]
    space: str = "log"
    fixed: tuple[str, ...] = ()
    inside: Callable[[Columns], Columns] = field(default=lambda columns: columns)
    optimum: bool = False
    even: tuple[str, ...] = ()

    @property
    def held(self) -> dict[str, float]:
        """Values of the parameters that are not inferred."""
        return {name: self.truth[name] for name in self.fixed}


def _to_distinct_tokens(columns: Columns) -> Columns:
    """Replace the number of epochs in the third column by the number of distinct tokens."""
    return {**columns, "U_D": columns["D"] / columns["U_D"]}


_ND = {"N": (10**7.5, 10**9.5), "D": (1e9, 1e11)}
_FAR = ({"N": 10**10.5, "D": 1e12}, {"N": 10**11.5, "D": 1e13})
_BESIROGLU = dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
_MUENNIGHOFF = dict(E=1.87, A=521.0, alpha=0.353, B=1488.0, beta=0.353, R_D=15.387756, R_N=5.309743)
# Published parameters (the catalogue gives their sources), else typical ones.
CASES: tuple[Case, ...] = (
    Case("chinchilla", _BESIROGLU, _ND, 0.005, _FAR, optimum=True),
    Case("chinchilla_tied", dict(E=1.87, A=521.0, B=1488.0, alpha=0.353), _ND, 0.005, _FAR, optimum=True),
    Case(
        "kaplan_nd",
        dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103),
        {"N": (1e6, 1e9), "D": (1e8, 1e10)},
        0.01,
        ({"N": 1e10, "D": 1e11}, {"N": 1e11, "D": 1e12}),
    ),
    Case(
        "compute_power_floor",
        dict(E=1.7, A=710.0, alpha=0.15),
        {"X": (1e17, 1e21)},
        0.005,
        ({"X": 1e22}, {"X": 1e23}),
    ),
    Case(
        "data_constrained",
        _MUENNIGHOFF,
        {"N": (1e8, 1e10), "D": (1e9, 1e11), "U_D": (1.0, 60.0)},
        0.005,
        ({"N": 1e11, "D": 1e12, "U_D": 1e11}, {"N": 1e12, "D": 1e13, "U_D": 1e12}),
        fixed=("E", "A", "alpha", "B", "beta"),
        inside=_to_distinct_tokens,
    ),
    Case(
        "qid_low_bit",
        dict(k=0.017, beta=0.5251, alpha=0.2261, gamma=5.4967),
        {"N": (1e8, 1e10), "D": (1e9, 1e11), "P": (2.0, 4.0)},
        0.1,
        ({"N": 1e11, "D": 1e12, "P": 4.0}, {"N": 1e12, "D": 1e13, "P": 4.0}),
    ),
    Case(
        "routed_bilinear",
        dict(a=-0.082, b=-0.108, c=0.009, d=1.104, E_start=1.847, E_max=314.478),
        {"N": (1e7, 1e9), "E": (1.5, 256.0)},
        0.005,
        ({"N": 1e10, "E": 256.0}, {"N": 1e11, "E": 256.0}),
        fixed=("E_start", "E_max"),
    ),
    Case(
        "exp_decay_floor",
        dict(c=1.0, a=1.0, b=0.03162),
        {"x": (0.0, 100.0)},
        0.01,
        ({"x": 200.0}, {"x": 1000.0}),
        "linear",
        even=("x",),
    ),
    Case(
        "hill",
        dict(lo=0.1, hi=0.9, x0=100.0, n=1.0),
        {"x": (1.0, 1e4)},
        0.01,
        ({"x": 1e5}, {"x": 1e6}),
        "linear",
    ),
    Case(
        "accuracy_sigmoid_loss",
        dict(a=-0.7, k=5.0, L0=2.5, b=0.95),
        {"L": (1.9, 3.6)},
        0.01,
        ({"L": 1.7}, {"L": 1.5}),
        "linear",
        even=("L",),
    ),
)


@dataclass(frozen=True)
class Design:
    """Number of runs, and distribution of the noise.

    Args:
        runs: number of runs.
        checkpoints: rows of each run.
        scatter: "normal", "t3" (Student-t, 3 degrees of freedom), "level" (scale a power of the level) or "halves"
            (twice the scale in every second row).
    """

    runs: int
    checkpoints: int = 1
    scatter: str = "normal"


DESIGNS: dict[str, Design] = {
    "12 runs": Design(12),
    "25 runs": Design(25),
    "240 runs": Design(240),
    "12 runs x 8": Design(12, 8),
    "40 runs, t3": Design(40, scatter="t3"),
    "40 runs, by level": Design(40, scatter="level"),
    "40 runs, by halves": Design(40, scatter="halves"),
}
# Standard deviations of the random effect of runs and of the residuals of checkpoints, in units of the case's noise.
RUN, RESIDUAL = 1.0, 0.4
# The input along which checkpoints are spaced, and the ratio of the last to the first one.
CHECKPOINTS = {"D": 8.0, "X": 8.0, "x": 8.0, "E": 8.0, "L": 1.2}


def levels(law: Law, columns: Mapping[str, np.ndarray], params: Mapping[str, Any]) -> np.ndarray:
    """Values of the law for columns of shape (sets, n) or (n,), and parameters that are scalars or of shape (sets,)."""
    names = list(law.inputs)
    with jax.enable_x64(True):
        values = _levels(law)(
            {name: np.asarray(columns[name], float) for name in names},
            {name: np.asarray(params[name], float)[..., None] for name in law.parameters},
        )
        return np.asarray(values)


_PROGRAMS: dict[str, Any] = {}


def _levels(law: Law) -> Any:
    if law.name not in _PROGRAMS:
        names = list(law.parameters)

        def whole(columns: Any, params: Any) -> Any:
            shape = np.broadcast_shapes(*(v.shape for v in (*columns.values(), *params.values())))
            wide = [jax.numpy.broadcast_to(columns[name], shape).ravel() for name in law.inputs]
            own = [jax.numpy.broadcast_to(params[name], shape).ravel() for name in names]
            each = lambda row, p: law(*row, **dict(zip(names, p, strict=True)))  # noqa: E731
            return jax.vmap(each)(wide, own).reshape(shape)

        _PROGRAMS[law.name] = jax.jit(whole)
    return _PROGRAMS[law.name]


def inputs(case: Case, law: Law, design: Design, sets: int, generator: np.random.Generator) -> Columns:
    """Inputs of several sweeps, each of shape (sets, rows): one Latin hypercube sample for each sweep."""
    shares = np.stack([hypercube(generator, design.runs, len(law.inputs)) for _ in range(sets)])
    columns = {}
    for k, (name, (low, high)) in enumerate(case.sizes.items()):
        share = shares[:, k]
        columns[name] = low + share * (high - low) if name in case.even else low * (high / low) ** share
    columns = case.inside(columns)
    if design.checkpoints > 1:
        along = next(name for name in CHECKPOINTS if name in columns)
        steps = np.geomspace(1 / CHECKPOINTS[along], 1.0, design.checkpoints)
        columns = {name: np.repeat(column, design.checkpoints, axis=1) for name, column in columns.items()}
        columns[along] = columns[along] * np.tile(steps, design.runs)
        if "U_D" in columns:
            columns["U_D"] = np.minimum(columns["U_D"], columns["D"])
    return columns


def noises(case: Case, design: Design, exact: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise of the responses (or of their logarithms), shape (sets, rows)."""
    sets, rows = exact.shape
    if design.checkpoints > 1:
        own = RUN * np.repeat(generator.standard_normal((sets, design.runs)), design.checkpoints, axis=1)
        return case.noise * (own + RESIDUAL * generator.standard_normal((sets, rows)))
    if design.scatter == "t3":
        return case.noise * generator.standard_t(3.0, (sets, rows))
    e = case.noise * generator.standard_normal((sets, rows))
    if design.scatter == "level":
        return e * (np.abs(exact) / np.median(np.abs(exact), axis=1, keepdims=True)) ** 2
    return e * np.where(np.arange(rows) % 2, 2.0, 1.0) if design.scatter == "halves" else e


def sweeps(
    case: Case, law: Law, design: Design, sets: int, seed: int
) -> tuple[Columns, np.ndarray, np.ndarray | None, list[Observations]]:
    """Simulate sweeps: inputs and responses of shape (sets, rows), codes of runs, and the observations."""
    generator = np.random.default_rng([seed, design.runs, design.checkpoints, len(design.scatter)])
    columns = inputs(case, law, design, sets, generator)
    exact = levels(law, columns, case.truth)
    e = noises(case, design, exact, generator)
    response = exact * np.exp(e) if case.space == "log" else exact + e
    run = np.repeat(np.arange(design.runs), design.checkpoints) if design.checkpoints > 1 else None
    group = np.arange(columns[next(iter(columns))].shape[1]) % 2 if design.scatter == "halves" else None
    rows = [{name: column[k] for name, column in columns.items()} for k in range(sets)]
    data_sets = [to_observations(law, own, y, run, group) for own, y in zip(rows, response, strict=True)]
    return columns, response, run, data_sets


def to_observations(
    law: Law, columns: Mapping[str, np.ndarray], response: np.ndarray, run: Any = None, group: Any = None
) -> Observations:
    """Create observations from columns."""
    table = {name: columns[name] for name in law.inputs} | {"response": response}
    more = {name: codes for name, codes in (("run", run), ("group", group)) if codes is not None}
    named: Any = {name: name for name in more}
    return Observations.from_table(table | more, inputs=list(law.inputs), response="response", **named)
