"""Curves of spectra: peaks on a background, and a line with an arctangent step."""

import math
from typing import Any

import jax.numpy as jnp

from jaxscale.law import Input, Law, Response, coefficient, law, location, positive_number, real
from jaxscale.law.family import Family, with_signature
from jaxscale.utils.arrays import Numbers

FAMILY = "curves"
ANYTHING = Response("", real)
LEVEL = (-1e5, 1e6)
STANDARD = "a standard form without a single source"
AXIS = Input("", low=-math.inf, typical=(-10.0, 10.0))


def _declarations(count: int) -> dict[str, Any]:
    """The parameters of a number of peaks: three each."""
    declared = {}
    for i in range(1, count + 1):
        area, width, place = (f"b{3 * i - k}" for k in (2, 1, 0))
        declared[area] = coefficient(range=LEVEL, meaning=f"height times width of peak {i}")
        declared[width] = positive_number(range=(0.1, 1e2), meaning=f"width of peak {i}, its standard deviation")
        declared[place] = location("x", real, range=(-1e3, 1e3), meaning=f"place of peak {i}")
    return declared


def _areas(count: int) -> tuple[str, ...]:
    """The names of the parameters that multiply a peak."""
    return tuple(f"b{3 * i + 1}" for i in range(count))


def _peaks(x: Numbers, b: dict[str, Numbers], count: int) -> Numbers:
    """The sum of the peaks."""
    total = 0.0
    for i in range(count):
        area, width, place = b[f"b{3 * i + 1}"], b[f"b{3 * i + 2}"], b[f"b{3 * i + 3}"]
        total = total + area / width * jnp.exp(-0.5 * ((x - place) / width) ** 2)
    return total


def _bare(count: int) -> Law:
    """``count`` peaks on nothing."""
    declared = _declarations(count)

    def peaks(x, **b):
        """Peaks with the shape of a normal density.

        ``y = sum_i (b1 / b2) * exp(-((x - b3) / b2)**2 / 2)``, with ``b4, b5, b6`` for the second peak and so on

        ``b1`` is the height times the width: the area is ``b1 * sqrt(2 * pi)``. Peaks can swap: order them by place
        when reading a fit.

        Source: a standard form without a single source.
        """
        return _peaks(x, b, count)

    return law(
        name=f"gaussian_peaks{count}",
        inputs=dict(x=AXIS),
        response=ANYTHING,
        formula=rf"y = \sum_{{i=1}}^{count} \frac{{b_{{3i-2}}}}{{b_{{3i-1}}}} "
        r"\exp\left(-\frac{(x - b_{3i})^2}{2 b_{3i-1}^2}\right)",
        source=f"the sum of Gaussian peaks, {STANDARD}",
        affine=_areas(count),
        **declared,
    )(with_signature(peaks, ["x"], declared))


def _raised(count: int) -> Law:
    """``count`` peaks on an exponential."""
    declared: dict[str, Any] = dict(
        a=coefficient(range=LEVEL, meaning="background at x = 0"),
        k=positive_number(range=(1e-4, 1.0), meaning="rate at which the background falls"),
    ) | _declarations(count)

    def peaks(x, **params):
        """Peaks with the shape of a normal density on a background that falls exponentially.

        ``y = a * exp(-k * x) + sum_i (b1 / b2) * exp(-((x - b3) / b2)**2 / 2)``, with ``b4, b5, b6`` for the second
        peak and so on

        A peak written ``h * exp(-(x - m)**2 / w**2)`` has ``b2 = w / sqrt(2)`` and ``b1 = h * b2``. Peaks can swap:
        order them by place when reading a fit.

        Source: a standard form without a single source.
        """
        return params["a"] * jnp.exp(-params["k"] * x) + _peaks(x, params, count)

    return law(
        name=f"gaussian_peaks_baseline{count}",
        inputs=dict(x=AXIS),
        response=ANYTHING,
        formula=rf"y = a e^{{-k x}} + \sum_{{i=1}}^{count} \frac{{b_{{3i-2}}}}{{b_{{3i-1}}}} "
        r"\exp\left(-\frac{(x - b_{3i})^2}{2 b_{3i-1}^2}\right)",
        source=f"Gaussian peaks on an exponential, {STANDARD}",
        affine=("a", *_areas(count)),
        **declared,
    )(with_signature(peaks, ["x"], declared))


gaussian_peaks = Family("gaussian_peaks", _bare, largest=6, listed=(1, 2))
gaussian_peaks_baseline = Family("gaussian_peaks_baseline", _raised, largest=6, listed=(1, 2))


@law(
    inputs=dict(x=Input("", low=-math.inf, typical=(0.0, 100.0))),
    response=ANYTHING,
    b1=coefficient(range=LEVEL, meaning="value at x = 0 of the line far above the step"),
    b2=coefficient(range=(-1e5, 1e5), meaning="slope of the line, with its sign turned"),
    b3=positive_number(range=(1e-2, 1e5), meaning="width of the step"),
    b4=coefficient(range=(-1e4, 1e4), meaning="place of the step"),
    formula=r"y = b_1 - b_2 x - \frac{1}{\pi} \arctan\frac{b_3}{x - b_4}",
    source="the arctangent step of quantum defects, a standard form, problem Roszman1 of the NIST Statistical "
    "Reference Datasets",
    affine=("b1", "b2"),
)
def arctan_step(x, *, b1, b2, b3, b4):
    """A straight line from which an arctangent departs near ``b4``.

    ``y = b1 - b2 * x - arctan(b3 / (x - b4)) / pi`` for ``x > b4``

    The formula jumps by 1 at ``x = b4``, so all data must lie on one side; on the lower side, as in the reference
    problem, the arctangent adds to the line.

    Source: a standard form; NIST Statistical Reference Datasets, problem Roszman1.
    """
    return b1 - b2 * x - jnp.arctan(b3 / (x - b4)) / jnp.pi
