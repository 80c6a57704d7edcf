"""The NIST reference problems as laws: formula, kinds, and ranges around the first published start."""

import csv
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxscale.law import (
    Input,
    Law,
    Parameter,
    Response,
    amplitude,
    coefficient,
    exponent,
    law,
    location,
    positive_number,
    real,
)


def saturation(x, q, *, b1, b2):
    """Saturation, ``b1 (1 - (1 + q b2 x)**(-1/q))``: exponential for q = 0, hyperbolic for q = 1."""
    order = jnp.where(q > 0, q, 1.0)
    return -b1 * jnp.expm1(-jnp.where(q > 0, jnp.log1p(order * b2 * x) / order, b2 * x))


def chwirut(x, *, b1, b2, b3):
    """An exponential over a line."""
    return jnp.exp(-b1 * x) / (b2 + b3 * x)


def power(x, *, b1, b2):
    """A power law."""
    return b1 * x**b2


def enso(x, *, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    """A yearly cycle and two of unknown period."""
    turn = 2 * jnp.pi * x
    return (
        b1
        + b2 * jnp.cos(turn / 12)
        + b3 * jnp.sin(turn / 12)
        + b5 * jnp.cos(turn / b4)
        + b6 * jnp.sin(turn / b4)
        + b8 * jnp.cos(turn / b7)
        + b9 * jnp.sin(turn / b7)
    )


def peak(x, *, b1, b2, b3):
    """A Gaussian peak."""
    return b1 / b2 * jnp.exp(-0.5 * ((x - b3) / b2) ** 2)


def peaks(x, *, b1, b2, b3, b4, b5, b6, b7, b8):
    """Two Gaussian peaks on an exponential."""
    first = b3 * jnp.exp(-(((x - b4) / b5) ** 2))
    return b1 * jnp.exp(-b2 * x) + first + b6 * jnp.exp(-(((x - b7) / b8) ** 2))


def hahn(x, *, b1, b2, b3, b4, b5, b6, b7):
    """A cubic over a cubic."""
    return (b1 + x * (b2 + x * (b3 + x * b4))) / (1 + x * (b5 + x * (b6 + x * b7)))


def kirby(x, *, b1, b2, b3, b4, b5):
    """A quadratic over a quadratic."""
    return (b1 + x * (b2 + x * b3)) / (1 + x * (b4 + x * b5))


def lanczos(x, *, b1, b2, b3, b4, b5, b6):
    """Three exponentials."""
    return b1 * jnp.exp(-b2 * x) + b3 * jnp.exp(-b4 * x) + b5 * jnp.exp(-b6 * x)


def mgh09(x, *, b1, b2, b3, b4):
    """Kowalik and Osborne's enzyme reaction."""
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def mgh17(x, *, b1, b2, b3, b4, b5):
    """Two exponentials and a constant."""
    return b1 + b2 * jnp.exp(-x * b4) + b3 * jnp.exp(-x * b5)


def nelson(x, x2, *, b1, b2, b3):
    """Degradation under stress, in the log of the response."""
    return b1 - b2 * x * jnp.exp(-b3 * x2)


def ratkowsky(x, *, b1, b2, b3):
    """A logistic curve."""
    return b1 / (1 + jnp.exp(b2 - b3 * x))


def roszman(x, *, b1, b2, b3, b4):
    """A line and an arctangent step."""
    return b1 - b2 * x - jnp.arctan(b3 / (x - b4)) / jnp.pi


rate, number = positive_number, coefficient


@dataclass(frozen=True)
class Form:
    """A formula with the kind of each parameter, those it is affine in, and terms that can be swapped.

    ``constants`` are inputs that all rows of a problem share. Problems with the same formula share one law, and with it
    the compiled programs.
    """

    function: Callable[..., Any]
    affine: tuple[str, ...]
    kinds: dict[str, Callable[..., Parameter]] = field(default_factory=dict)
    swaps: tuple[tuple[str, ...], ...] = ()
    constants: dict[str, float] = field(default_factory=dict)


def _period(range: tuple[float, float]) -> Parameter:
    """Period of at least two months: shorter ones are aliased in monthly data."""
    return positive_number(range=(max(range[0], 2.0), range[1]))


def _amplitude(range: tuple[float, float]) -> Parameter:
    return amplitude(real, range=range, x="-b2")


def _exponent(range: tuple[float, float]) -> Parameter:
    return exponent(real, range=range)


def _location(range: tuple[float, float]) -> Parameter:
    return location("x", real, range=range)


LANCZOS = Form(lanczos, ("b1", "b3", "b5"), dict(b2=rate, b4=rate, b6=rate), (("b1", "b2"), ("b3", "b4"), ("b5", "b6")))
PEAKS = Form(
    peaks,
    ("b1", "b3", "b6"),
    dict(b2=rate, b4=_location, b5=rate, b7=_location, b8=rate),
    (("b3", "b4", "b5"), ("b6", "b7", "b8")),
)


def _saturation(q: float) -> Form:
    return Form(saturation, ("b1",), dict(b2=rate), constants=dict(q=q))


FORMS: dict[str, Form] = {
    "BoxBOD": _saturation(0.0),
    "Chwirut2": Form(chwirut, (), dict(b1=rate, b2=rate, b3=rate)),
    "DanWood": Form(power, ("b1",), dict(b1=_amplitude, b2=_exponent)),
    "ENSO": Form(
        enso,
        ("b1", "b2", "b3", "b5", "b6", "b8", "b9"),
        dict(b4=_period, b7=_period),
        (("b4", "b5", "b6"), ("b7", "b8", "b9")),
    ),
    "Eckerle4": Form(peak, ("b1",), dict(b2=rate, b3=_location)),
    "Gauss1": PEAKS,
    "Gauss2": PEAKS,
    "Hahn1": Form(hahn, ("b1", "b2", "b3", "b4")),
    "Kirby2": Form(kirby, ("b1", "b2", "b3")),
    "Lanczos1": LANCZOS,
    "Lanczos3": LANCZOS,
    "MGH09": Form(mgh09, ("b1",), dict(b2=rate, b3=rate, b4=rate)),
    "MGH17": Form(mgh17, ("b1", "b2", "b3"), dict(b4=rate, b5=rate), (("b2", "b4"), ("b3", "b5"))),
    "Misra1a": _saturation(0.0),
    "Misra1b": _saturation(0.5),
    "Misra1c": _saturation(2.0),
    "Misra1d": _saturation(1.0),
    "Nelson": Form(nelson, ("b1", "b2")),
    "Rat42": Form(ratkowsky, ("b1",), dict(b3=rate)),
    "Roszman1": Form(roszman, ("b1", "b2"), dict(b3=rate)),
}


@dataclass(frozen=True)
class Problem:
    """One reference problem: law, columns, starts, certified answer."""

    law: Law
    inputs: dict[str, np.ndarray]
    response: np.ndarray
    starts: tuple[dict[str, float], dict[str, float]]
    certified: dict[str, float]
    stderr: dict[str, float]
    rss: float
    swaps: tuple[tuple[str, ...], ...]

    def digits(self, params: dict[str, float]) -> float:
        """Matching digits of the worst parameter, at most 11; swappable terms compared in sorted order."""
        mine, theirs = self.aligned(params, params), self.aligned(self.certified, self.certified)
        worst = min(-np.log10(abs(mine[k] - theirs[k]) / abs(theirs[k]) + 1e-300) for k in theirs)
        return float(min(worst, 11.0))

    def aligned(self, params: dict[str, float], values: dict[str, float]) -> dict[str, float]:
        """Values with their swappable terms in the order in which those of ``params`` sort."""
        order = sorted(self.swaps, key=lambda term: tuple(params[name] for name in term))
        moved = dict(values)
        for term, source in zip(self.swaps, order, strict=True):
            moved |= {name: values[other] for name, other in zip(term, source, strict=True)}
        return moved


def around(*starts: float) -> tuple[float, float]:
    """Two decades to either side of some starts, with their sign."""
    ends = [scale * start for start in starts for scale in (0.01, 100.0)]
    return min(ends), max(ends)


def certified_of(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of the parameters of one problem."""
    with open(folder / "nist_strd_certified.csv") as file:
        return [row for row in csv.DictReader(file) if row["problem"] == name]


@cache
def law_of(folder: Path, function: Callable[..., Any]) -> Law:
    """The law of all problems with one formula, with ranges around the first published start of each."""
    names = [name for name, form in FORMS.items() if form.function is function]
    form = FORMS[names[0]]
    starts: dict[str, list[float]] = {}
    for row in (row for name in names for row in certified_of(folder, name)):
        starts.setdefault(row["parameter"], []).append(float(row["start1"]))
    kinds: dict[str, Any] = {key: form.kinds.get(key, number)(range=around(*values)) for key, values in starts.items()}
    inputs = [key for key, value in inspect.signature(function).parameters.items() if value.kind != value.KEYWORD_ONLY]
    return law(
        inputs={column: Input("", low=-np.inf) for column in inputs},
        response=Response("", real),
        source="NIST StRD nonlinear regression",
        affine=form.affine,
        name=function.__name__,
        **kinds,
    )(function)


def problem(folder: Path, name: str) -> Problem:
    """Read one problem."""
    entries = certified_of(folder, name)
    with open(folder / "nist_strd_data.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["problem"] == name]
    form = FORMS[name]
    law = law_of(folder, form.function)
    y = np.array([float(row["y"]) for row in rows])
    starts = tuple({row["parameter"]: float(row[key]) for row in entries} for key in ("start1", "start2"))
    return Problem(
        law=law,
        inputs={column: np.array([float((row | form.constants)[column]) for row in rows]) for column in law.inputs},
        response=np.log(y) if entries[0]["response"] == "log(y)" else y,
        starts=(starts[0], starts[1]),
        certified={row["parameter"]: float(row["certified"]) for row in entries},
        stderr={row["parameter"]: float(row["certified_se"]) for row in entries},
        rss=float(entries[0]["residual_ss"]),
        swaps=form.swaps,
    )
