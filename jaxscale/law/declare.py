"""Declaration of a law: a pure JAX function with inputs, response and parameters.

A law is declared with :func:`law` and the kinds of its parameters:

>>> from jaxscale.law import Input, Response, amplitude, exponent, floor, law, positive
>>> @law(
...     inputs=dict(N=Input("parameters")),
...     response=Response("nat/token", positive),
...     E=floor(), A=amplitude(N="alpha"), alpha=exponent(),
...     source="a textbook", affine=("E", "A"),
... )
... def my_law(N, *, E, A, alpha):
...     '''Irreducible loss plus a power law in model size.'''
...     return E + A / N**alpha
>>> float(my_law(100.0, E=1.0, A=10.0, alpha=0.5))
2.0
"""

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxscale.law.declaration import (
    Check,
    Input,
    Parameter,
    Range,
    Response,
)
from jaxscale.utils.arrays import Numbers, Value
from jaxscale.utils.errors import LawError


@dataclass(frozen=True, eq=False)
class Law:
    """A pure function of inputs and parameters with its declaration; created by :func:`law`.

    Call it with inputs by position and parameters by name, also under ``jit``, ``vmap`` or ``grad``.
    Laws compare and hash by identity: each is created once, at import, or by a ``recipe`` from other
    laws (:mod:`jaxscale.law.algebra`).
    """

    name: str
    function: Callable[..., Any]
    inputs: Mapping[str, Input]
    response: Response
    parameters: Mapping[str, Parameter]
    source: str
    formula: str = ""
    affine: tuple[str, ...] = ()
    decreasing: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    coordinates: tuple[Callable[..., Any], Callable[..., Any]] | None = None
    prepare: Callable[..., Mapping[str, Any]] | None = None
    either_sign: str | None = None
    recipe: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def __call__(self, *inputs: Numbers, **params: Numbers) -> Any:
        """Evaluate the law: inputs by position in the declared order, parameters by name."""
        return self.function(*map(_avoid_overflow, inputs), **params)

    if TYPE_CHECKING:

        def __add__(self, other: "Law") -> "Law":
            """Sum of two laws; defined in :mod:`jaxscale.law.algebra`."""
            ...

        def __mul__(self, other: "Law") -> "Law":
            """Product of two laws; defined in :mod:`jaxscale.law.algebra`."""
            ...

    def __str__(self) -> str:
        """The name of the law."""
        return self.name

    def __repr__(self) -> str:
        """Name and signature of the law."""
        return f"<law {self.name}({', '.join(self.inputs)}; {', '.join(self.parameters)})>"

    def __reduce__(self) -> Any:
        """Pickle by name or by recipe, so that a law keeps its identity and its compiled programs."""
        return self.recipe or (_find, (self.function.__module__, self.name))

    @property
    def family(self) -> str:
        """Family of the law: the ``FAMILY`` of its file, by default the name of the file."""
        module = self.function.__module__
        return getattr(sys.modules.get(module), "FAMILY", module.rpartition(".")[2])

    @property
    def sources(self) -> tuple[str, ...]:
        """Inputs from which ``prepare`` computes others: the arguments of its signature without a default."""
        if self.prepare is None:
            return ()
        arguments = inspect.signature(self.prepare).parameters.values()
        return tuple(argument.name for argument in arguments if argument.default is argument.empty)

    @property
    def code(self) -> str:
        """Source code of the law's function, or of the laws from which it is derived."""
        if self.recipe is not None:
            operation, parts, _, options = self.recipe[1]
            return "\n".join([operation, *(part.code for part in parts), repr(options)])
        try:
            return inspect.getsource(self.function)
        except (OSError, TypeError):
            return ""

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def typical(self) -> dict[str, float]:
        """Typical parameters: the first published set, or values from the middle of each plausible range.

        Locations are inside the range of their input. Parameters whose names differ only in a number are evenly
        spaced, as are locations on one input, so that repeated terms differ. A real parameter is positive and at most
        1, or 2, 3, ..., since zero would remove its term; a real floor is at most half of that, so that two levels
        differ. Amplitudes and scales make their terms 1 in the middle of the inputs, as far as their ranges allow.
        """
        if self.published:
            return dict(next(iter(self.published.values())))
        alike: dict[Any, list[str]] = {}
        for name, kind in self.parameters.items():
            alike.setdefault(kind.input or (kind.kind, name.rstrip("0123456789")), []).append(name)
        values = {}
        for group in alike.values():
            for place, name in enumerate(group, 1):
                kind = self.parameters[name]
                low, high = kind.range if kind.input is None else _common(kind.range, self.inputs[kind.input].sizes)
                share = place / (len(group) + 1)
                signed = kind.input is None and low < 0 < high
                most = place / 2 if kind.kind == "floor" else float(place)
                values[name] = min(high * share / 2, most) if signed else float(between(low, high, share))
        for name, kind in self.parameters.items():
            if kind.powers and all(self.inputs[key].sizes[0] > 0 for key, _ in kind.powers):
                values[name] = min(max(self._unit_term(kind, values), kind.range[0]), kind.range[1])
        return {name: values[name] for name in self.parameters}

    def _unit_term(self, kind: Parameter, values: Mapping[str, float]) -> float:
        """Amplitude or scale for which the term is 1 in the middle of the inputs."""
        size = 0.0
        for key, power in kind.powers:
            sign = -1.0 if power.startswith("-") else 1.0
            steepness = 1.0 if kind.kind == "scale" else sign * values[power.lstrip("-")]
            size += steepness * math.log(between(*self.inputs[key].sizes, 0.5))
        return math.exp(size)


def _common(first: Range, second: Range) -> Range:
    """Intersection of two ranges; the first one if they do not overlap."""
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, high) if low < high else first


def between(low: float, high: float, share: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """Interpolate in a range at a fraction ``share``, logarithmically if the range is positive."""
    return low * (high / low) ** share if low > 0 else low + share * (high - low)


def _avoid_overflow(value: Numbers) -> Numbers:
    # JAX's default integers have 32 bits and overflow silently, for example for 70 billion.
    if isinstance(value, int | np.integer) or (isinstance(value, np.ndarray) and value.dtype.kind in "iu"):
        return value if np.all(np.abs(value) < 2**31) else np.asarray(value, float)
    return value


def _find(module: str, name: str) -> Law:
    import importlib

    namespace = vars(importlib.import_module(module))
    for value in namespace.values():
        if isinstance(value, Law) and value.name == name:
            return value
    from jaxscale.laws import get

    return get(name)


def law(
    *,
    inputs: Mapping[str, Input],
    response: Response,
    source: str = "",
    formula: str = "",
    affine: tuple[str, ...] = (),
    decreasing: tuple[str, ...] = (),
    published: Mapping[str, Mapping[str, float]] | None = None,
    checks: Sequence[Check] = (),
    coordinates: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    prepare: Callable[..., Mapping[str, Any]] | None = None,
    either_sign: str | None = None,
    name: str | None = None,
    **parameters: Parameter,
) -> Callable[[Callable[..., Any]], Law]:
    """Declare a law with a decorator; the decorated function computes one observation in the symbols of the paper.

    Args:
        inputs: name to :class:`Input`, in the order of the function's positional arguments.
        response: unit and domain of the response.
        source: source of the formula; required. Papers are separated by ``"; "`` and each is written
            ``"Title, First-author Year"`` or ``"Title, First-author Year, arXiv:number"``.
        formula: the equation as LaTeX.
        affine: parameters in which the function is jointly affine; their starts come from least squares.
        decreasing: inputs in which the response decreases for all parameters in their plausible ranges.
        published: named parameter sets from the literature.
        checks: published values of the law.
        prepare: computes inputs by name, once per data set, from the inputs in its signature, such as a schedule;
            arguments and results are NumPy arrays whose last axis is that of rows.
        coordinates: custom unconstrained coordinates ``(to_params, from_params)``, in place of those of the kinds:
            ``to_params(z, centre)`` returns the parameters by name, ``from_params(params, centre)`` the vector.
        either_sign: name of the law of the catalogue that contains this one and whose parameters may have either sign.
        name: identifier; by default the name of the function.
        **parameters: kind of each parameter: ``alpha=exponent()``.

    Returns:
        A decorator that converts the function to a :class:`Law`.

    Raises:
        LawError: the declaration and the function's signature disagree; the message names law and field.
    """

    def decorate(function: Callable[..., Any]) -> Law:
        declared = Law(
            name=name or function.__name__,
            function=function,
            inputs=MappingProxyType(dict(inputs)),
            response=response,
            parameters=MappingProxyType(dict(parameters)),
            source=source,
            formula=formula,
            affine=tuple(affine),
            decreasing=tuple(decreasing),
            published=MappingProxyType({k: MappingProxyType(dict(v)) for k, v in (published or {}).items()}),
            checks=tuple(checks),
            coordinates=coordinates,
            prepare=prepare,
            either_sign=either_sign,
        )
        _check(declared)
        for attribute in ("__module__", "__doc__", "__wrapped__"):
            object.__setattr__(
                declared, attribute, function if attribute == "__wrapped__" else getattr(function, attribute)
            )
        return declared

    return decorate


def _check(law: Law) -> None:
    """Raise :class:`LawError` if declaration and signature disagree."""

    def wrong(field: str, what: str) -> LawError:
        return LawError(f"law {law.name!r}, field {field!r}: {what}")

    signature = inspect.signature(law.function).parameters.values()
    positional = [p.name for p in signature if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keyword = [p.name for p in signature if p.kind is p.KEYWORD_ONLY]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature)
    if not law.source:
        raise wrong("source", "must name the source of the formula, but is empty")
    for key, value in law.inputs.items():
        if not isinstance(value, Input):
            raise wrong(key, f"must be an Input(...), but is {value!r}")
    for key, value in law.parameters.items():
        if not isinstance(value, Parameter):
            raise wrong(key, f"must be a parameter kind such as exponent(), but is {value!r}")
    if positional != list(law.inputs):
        unknown = sorted(set(law.inputs) ^ set(positional)) or positional
        raise wrong("inputs", f"must match the positional arguments {positional}, but differs in {unknown}")
    for key in keyword:
        if key not in law.parameters:
            raise wrong(key, "is a parameter of the function without a kind; add e.g. " + f"{key}=exponent()")
    for key, value in law.parameters.items():
        if key not in keyword and not open_ended:
            raise wrong(key, "has a kind, but the function has no such keyword-only parameter")
        low, high = value.range
        if not low < high:
            raise wrong(key, f"needs a range with low < high, but has {value.range}")
        for named, power in value.powers:
            if named not in law.inputs:
                raise wrong(key, f"names the unknown input {named!r}; inputs are {list(law.inputs)}")
            if power.lstrip("-") not in law.parameters:
                raise wrong(key, f"names the unknown exponent {power!r}; parameters are {list(law.parameters)}")
        if value.input is not None and value.input not in law.inputs:
            raise wrong(key, f"names the unknown input {value.input!r}; inputs are {list(law.inputs)}")
    for key in law.affine:
        if key not in law.parameters:
            raise wrong("affine", f"names the unknown parameter {key!r}; parameters are {list(law.parameters)}")
    for key in law.decreasing:
        if key not in law.inputs:
            raise wrong("decreasing", f"names the unknown input {key!r}; inputs are {list(law.inputs)}")
    for check in law.checks:
        if set(check.at) != set(law.inputs):
            raise wrong("checks", f"must give exactly the inputs {list(law.inputs)}, but one gives {list(check.at)}")
        named = isinstance(check.params, str)
        if check.params not in law.published if named else set(check.params) != set(law.parameters):
            what = "a published set" if named else f"exactly the parameters {list(law.parameters)}"
            raise wrong("checks", f"must name {what}, but one names {check.params!r}")
    for label, values in law.published.items():
        if set(values) != set(law.parameters):
            raise wrong("published", f"set {label!r} must hold exactly the parameters {list(law.parameters)}")
        for key, value in values.items():
            if not law.parameters[key].support.contains(value):
                support = law.parameters[key].support.name
                raise wrong("published", f"set {label!r} has {key} = {value}, outside its support ({support})")
