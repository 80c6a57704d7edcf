"""Parts of a declaration: inputs, response, and the kinds of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Support:
    """Support of a number: an open interval with a name."""

    name: str
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether ``value`` is strictly inside."""
        return bool(self.low < value < self.high)

    @property
    def bounded(self) -> bool:
        """Whether it has a finite end."""
        return self.low > -math.inf or self.high < math.inf


real = Support("real", -math.inf, math.inf)
positive = Support("positive", 0.0, math.inf)
unit = Support("unit", 0.0, 1.0)


def interval(low: float, high: float) -> Support:
    """Create a support with two ends, either of which may be infinite."""
    for known in (real, positive, unit):
        if (low, high) == (known.low, known.high):
            return known
    return Support(f"{low:g} to {high:g}", low, high)


@dataclass(frozen=True)
class Input:
    """Input of a law: its unit and the open interval in which the law is defined.

    Args:
        unit: unit in words ("parameters", "tokens").
        low: lower end of the domain (0 if the law takes a log or a power).
        high: upper end of the domain.
        lower: value below which a column is probably in another unit, for a notice only (``params`` in billions).
        typical: range in which the law is used, plotted and tested; by default from ``lower`` to 1e13, or from 0.01
            to 1e6.
        categories: labels of a categorical input, whose values are indices into this tuple.
    """

    unit: str
    low: float = 0.0
    high: float = math.inf
    lower: float = 0.0
    typical: Range | None = None
    categories: tuple[str, ...] = ()

    @property
    def relative(self) -> bool:
        """Whether the declaration gives the sizes for which the ranges of parameters hold."""
        return self.typical is not None or self.lower > 0

    @property
    def sizes(self) -> Range:
        """Range in which the law is used."""
        return self.typical or (max(self.lower, 1e-2), 1e13 if self.lower else 1e6)


@dataclass(frozen=True)
class Response:
    """Response of a law.

    Args:
        unit: unit in words ("nat/token").
        domain: support of the responses, such as ``positive``, ``real`` or ``unit``.
    """

    unit: str
    domain: Support = positive


@dataclass(frozen=True)
class Parameter:
    """Parameter of a law: its role in the formula, its support, and its plausible range.

    ``powers`` lists (input, exponent) pairs: an amplitude multiplies ``input**-exponent`` for
    each; a scale occurs in ``(scale / input)**exponent``. An exponent written ``"-b"`` enters
    with the opposite sign. ``declared`` is False if the range is the default of its kind.
    """

    kind: str
    support: Support
    range: Range
    powers: tuple[tuple[str, str], ...] = ()
    input: str | None = None
    unit: str = ""
    meaning: str = ""
    declared: bool = True


@dataclass(frozen=True)
class Check:
    """Published value of a law, against which it is tested.

    Args:
        value: the response, transcribed from the source and not computed by the law.
        at: inputs by name.
        params: name of a published set, or parameters by name.
        rtol: relative tolerance, from the digits that the source prints.
    """

    value: float
    at: Mapping[str, float]
    params: str | Mapping[str, float]
    rtol: float = 1e-3


# Default ranges of the kinds.
_RANGES: dict[str, Range] = {
    "floor": (0.0, 10.0),
    "exponent": (0.01, 2.0),
    "amplitude": (1e-3, 1e9),
    "scale": (1.0, 1e20),
    "location": (1e-9, 1e30),
    "coefficient": (-10.0, 10.0),
    "positive_number": (1e-2, 1e2),
    "fraction": (0.0, 1.0),
}


def _parameter(
    kind: str, support: Support, range: Range | None, powers: tuple[tuple[str, str], ...] = (), **about: str
) -> Parameter:
    return Parameter(kind, support, range or _RANGES[kind], powers, declared=range is not None, **about)


def floor(support: Support = positive, *, range: Range | None = None, unit: str = "", meaning: str = "") -> Parameter:
    """Irreducible level of the response; starts are between 0 and the smallest response."""
    return _parameter("floor", support, range, unit=unit, meaning=meaning or "irreducible level")


def exponent(
    support: Support = positive, *, range: Range | None = None, unit: str = "", meaning: str = ""
) -> Parameter:
    """Exponent of an input."""
    return _parameter("exponent", support, range, unit=unit, meaning=meaning or "exponent")


def amplitude(
    support: Support = positive, *, range: Range | None = None, unit: str = "", meaning: str = "", **powers: str
) -> Parameter:
    """Factor of a term: ``amplitude(N="alpha")`` is the A of ``A * N**-alpha``, with alpha a parameter of the law.

    ``amplitude(N="alpha", D="beta")`` multiplies ``N**-alpha * D**-beta``. Starts and units follow from this.
    """
    return _parameter(
        "amplitude", support, range, tuple(powers.items()), unit=unit, meaning=meaning or "size of a term"
    )


def scale(*, range: Range | None = None, unit: str = "", meaning: str = "", **powers: str) -> Parameter:
    """Scale of an input: ``scale(N="alpha_N")`` is the ``N_c`` of ``(N_c / N)**alpha_N``."""
    return _parameter("scale", positive, range, tuple(powers.items()), unit=unit, meaning=meaning or "scale")


def location(
    input: str, support: Support = positive, *, range: Range | None = None, unit: str = "", meaning: str = ""
) -> Parameter:
    """Location on the axis of ``input``, inside the data: a break, a midpoint."""
    return _parameter("location", support, range, input=input, unit=unit, meaning=meaning or f"location on {input}")


def coefficient(*, range: Range | None = None, unit: str = "", meaning: str = "") -> Parameter:
    """Real parameter; a range on one side of zero determines the sign of its starts."""
    return _parameter("coefficient", real, range, unit=unit, meaning=meaning or "coefficient")


def positive_number(*, range: Range | None = None, unit: str = "", meaning: str = "") -> Parameter:
    """Positive parameter: a width, a rate, a number of epochs."""
    return _parameter("positive_number", positive, range, unit=unit, meaning=meaning or "positive number")


def fraction(*, range: Range | None = None, unit: str = "", meaning: str = "") -> Parameter:
    """Parameter between 0 and 1."""
    return _parameter("fraction", _UNIT, range, unit=unit, meaning=meaning or "fraction")


_UNIT = unit


def categorical(labels: Sequence[str], unit: str = "") -> Input:
    """Categorical input, whose labels the law receives as indices 0, 1, ..."""
    last = len(labels) - 1.0
    return Input(unit, -0.5, last + 0.5, typical=(0.0, last), categories=tuple(labels))
