"""Algebra: new laws from old ones, still pure functions with names.

>>> from jaxscale import laws
>>> tied = tie(laws.chinchilla, beta="alpha")
>>> tied
<law chinchilla(beta=alpha)(N, D; E, A, alpha, B)>
>>> tie(laws.chinchilla, beta="alpha") is tied
True
>>> compose(laws.chinchilla, N=laws.precision_capacity).inputs.keys()
dict_keys(['N', 'P_w', 'P_a', 'P_kv', 'D'])

A law made twice in the same way is the same law, so its compiled programs are used again; it is pickled as the way in
which it was made. Inputs of one name are one input. Parameters of one name are refused unless they are ``shared``, or
those of the later law get a ``prefix`` or, with :func:`rename`, another name.
"""

from collections.abc import Hashable, Iterable, Sequence
from types import NotImplementedType
from typing import Any

from jaxscale.law.algebra_builders import BUILDERS, alike
from jaxscale.law.declaration import Input, Response
from jaxscale.law.declare import Law
from jaxscale.law.fixed_values import why_not
from jaxscale.utils.arrays import Number
from jaxscale.utils.errors import LawError, did_you_mean

_MADE: dict[Any, Law] = {}


def fix(law: Law, /, *, name: str | None = None, **values: float | int) -> Law:
    """A law with some parameters held at numbers.

    Args:
        law: the law.
        name: of the new law; ``chinchilla(E=1.69)`` unless given.
        **values: parameters by name.

    Raises:
        LawError: a name is no parameter, a value lies outside its support (its ends are allowed), or nothing is left.
    """
    _known(law, "fix", values)
    if wrong := why_not(law, {key: float(value) for key, value in values.items()}):
        raise LawError(f"fix of {law.name} {wrong}")
    if set(values) == set(law.parameters):
        raise LawError(f"fix must leave a parameter of {law.name} free, but holds all of {', '.join(values)}")
    return made("fix", (law,), name, tuple((key, float(values[key])) for key in law.parameters if key in values))


def tie(law: Law, /, *, name: str | None = None, **ties: str) -> Law:
    """A law in which some parameters equal others: ``tie(chinchilla, beta="alpha")``.

    Args:
        law: the law.
        name: of the new law; ``chinchilla(beta=alpha)`` unless given.
        **ties: a parameter that goes, and the one whose value it takes.

    Raises:
        LawError: a name is no parameter, a parameter is tied to one that goes, or their supports differ.
    """
    _known(law, "tie", [*ties, *ties.values()])
    for key, kept in ties.items():
        if kept in ties:
            raise LawError(f"tie sets {key} of {law.name} to {kept}, which itself goes; name a parameter that stays")
        inner, outer = law.parameters[kept].support, law.parameters[key].support
        if inner.low < outer.low or inner.high > outer.high:
            raise LawError(
                f"tie sets {key} of {law.name} ({outer.name}) to {kept}, whose support ({inner.name}) is wider"
            )
    return made("tie", (law,), name, tuple((key, ties[key]) for key in law.parameters if key in ties))


def bound(law: Law, /, *, name: str | None = None, **bounds: Sequence[Number]) -> Law:
    """A law some of whose parameters lie between bounds: ``bound(power_law_floor, c=(0, 2))``.

    Args:
        law: the law.
        name: of the new law; ``power_law_floor(0.0<c<2.0)`` unless given.
        **bounds: parameter to its least and largest value, either of which may be infinite.

    Raises:
        LawError: a name is no parameter, or no value lies between the bounds and in the parameter's support.
    """
    _known(law, "bound", bounds)
    ends = []
    for key in (key for key in law.parameters if key in bounds):
        given, support = bounds[key], law.parameters[key].support
        try:
            low, high = (float(end) for end in given)
        except (TypeError, ValueError):
            raise LawError(f"bound needs two numbers for {key} of {law.name}, but got {given!r}") from None
        low, high = max(low, support.low), min(high, support.high)
        if not low < high:
            raise LawError(
                f"bound leaves no value for {key} of {law.name} between {given[0]:g} and {given[1]:g}, as its support "
                f"is {support.name}"
            )
        ends.append((key, low, high))
    spelled = ", ".join(f"{low!r}<{key}<{high!r}" for key, low, high in ends)
    return made("bound", (law,), name or f"{law.name}({spelled})", tuple(ends))


def by_group(law: Law, /, labels: Sequence[str], params: Sequence[str], *, name: str | None = None) -> Law:
    """A law some of whose parameters differ between groups: ``by_group(power_law, ["small", "large"], ["a"])``.

    It has a further input ``group``, the place of a row's group among the labels, and in place of a parameter ``a`` one
    for every group, ``a[small]`` and ``a[large]``.

    Args:
        law: the law.
        labels: the names of the groups.
        params: parameters of which each group has its own.
        name: of the new law; ``power_law(a by ["small", "large"])`` unless given.

    Raises:
        LawError: a name is no parameter, a label occurs twice or there is none, or the law has something named group.
    """
    _known(law, "by_group", params)
    labels = tuple(map(str, labels))
    if not labels or len(set(labels)) < len(labels):
        raise LawError(f"by_group needs different labels for {law.name}, but got {', '.join(labels) or 'none'}")
    if "group" in (*law.inputs, *law.parameters):
        raise LawError(f"by_group adds an input 'group', but {law.name} has one of that name; rename it")
    return made("by_group", (law,), name, (labels, tuple(key for key in law.parameters if key in params)))


def rename(law: Law, /, *, name: str | None = None, **names: str | Input) -> Law:
    """A law with other names for some of its inputs and parameters: ``rename(power_law, a="B")``.

    Args:
        law: the law.
        name: of the new law; ``power_law(a→B)`` unless given.
        **names: a name and the one to take its place; or, for an input, its declaration anew, where
            its unit has to match another law's.

    Raises:
        LawError: a name is neither an input nor a parameter, or a new one is taken.
    """
    every = [*law.inputs, *law.parameters]
    for key, new in names.items():
        if key not in every:
            raise LawError(f"rename names {key!r}, which {law.name} has not{did_you_mean(key, every)}")
        if isinstance(new, Input) and key not in law.inputs:
            raise LawError(f"rename declares {key!r} anew, which is a parameter of {law.name} and no input")
    taken = [key if isinstance(names.get(key, key), Input) else names.get(key, key) for key in every]
    for new in taken:
        if taken.count(new) > 1:
            raise LawError(f"rename gives two things in {law.name} the name {new!r}; choose another")
    return made("rename", (law,), name, tuple((key, names[key]) for key in every if key in names))


def add(
    first: Law,
    second: Law,
    /,
    *,
    shared: Sequence[str] = (),
    prefix: str = "",
    name: str | None = None,
    response: Response | None = None,
) -> Law:
    """The sum of two laws, also written ``first + second``.

    Args:
        first: a law.
        second: another.
        shared: names of parameters that both have and that are to be one.
        prefix: put before the names of parameters of ``second`` that ``first`` has too.
        name: of the new law; ``first + second`` unless given.
        response: of the new law; needed only where units differ.

    Raises:
        LawError: parameters have one name, inputs of one name or the responses differ in unit, or a
            parameter cannot be shared.
    """
    if response is None and not alike(first.response.unit, second.response.unit):
        raise LawError(
            f"the responses of {first.name} ({first.response.unit}) and {second.name} ({second.response.unit}) "
            "are in different units; convert one, or say what their sum is with response"
        )
    return made("add", (first, second), name, (tuple(shared), prefix, response))


def multiply(
    first: Law,
    second: Law,
    /,
    *,
    shared: Sequence[str] = (),
    prefix: str = "",
    name: str | None = None,
    response: Response | None = None,
) -> Law:
    """The product of two laws, also written ``first * second``; arguments as for :func:`add`."""
    return made("multiply", (first, second), name, (tuple(shared), prefix, response))


def compose(law: Law, /, *, shared: Sequence[str] = (), prefix: str = "", name: str | None = None, **inner: Law) -> Law:
    """A law whose inputs are the values of other laws: ``compose(chinchilla, N=precision_capacity)``.

    Args:
        law: the outer law.
        shared: names of parameters that several of the laws have and that are to be one.
        prefix: put before the names of an inner law's parameters that a law before it has too.
        name: of the new law; ``chinchilla(N=precision_capacity)`` unless given.
        **inner: an input of the outer law, and the law whose value takes its place.

    Raises:
        LawError: a name is no input, units differ, parameters have one name, or one cannot be shared.
    """
    if not inner:
        raise LawError(f"compose needs a law for at least one input of {law.name}: {', '.join(law.inputs)}")
    for key, replacing in inner.items():
        if key not in law.inputs:
            raise LawError(f"compose names {key!r}, which is no input of {law.name}{did_you_mean(key, law.inputs)}")
        if not alike(replacing.response.unit, law.inputs[key].unit):
            raise LawError(
                f"{replacing.name} gives {replacing.response.unit}, but the input {key} of {law.name} counts "
                f"{law.inputs[key].unit}; convert, or declare the input anew with rename"
            )
    keys = tuple(key for key in law.inputs if key in inner)
    return made("compose", (law, *(inner[key] for key in keys)), name, (keys, tuple(shared), prefix))


def chain(
    first: Law,
    second: Law,
    /,
    *,
    through: str | None = None,
    shared: Sequence[str] = (),
    prefix: str = "",
    name: str | None = None,
) -> Law:
    """Two laws in a row: the response of the first is an input of the second.

    ``chain(chinchilla, accuracy_sigmoid_loss, through="L")`` predicts an accuracy from parameters and tokens. It is
    ``compose(accuracy_sigmoid_loss, L=chinchilla)``.

    Args:
        first: the law whose value is handed on.
        second: the law that takes it.
        through: the input of ``second`` that it becomes; its only input unless given.
        shared: names of parameters that both have and that are to be one.
        prefix: put before the names of parameters of ``first`` that ``second`` has too.
        name: of the new law.

    Raises:
        LawError: as for :func:`compose`, or ``second`` has several inputs and none is named.
    """
    if through is None and len(second.inputs) > 1:
        raise LawError(f"chain must say through which input of {second.name} it goes: {', '.join(second.inputs)}")
    return compose(second, shared=shared, prefix=prefix, name=name, **{through or next(iter(second.inputs)): first})


def made(operation: str, parts: tuple[Law, ...], name: str | None, options: tuple[Hashable, ...]) -> Law:
    """The law that an operation makes of others, made once and kept; what a pickled law is read back with."""
    recipe = (operation, parts, name, options)
    if recipe not in _MADE:
        built = BUILDERS[operation](parts, name, options)
        object.__setattr__(built, "recipe", (made, recipe))
        _MADE.setdefault(recipe, built)
    return _MADE[recipe]


def _known(law: Law, operation: str, names: Iterable[str]) -> None:
    names = list(names)
    if not names:
        raise LawError(f"{operation} needs at least one parameter of {law.name}: {', '.join(law.parameters)}")
    for key in names:
        if key not in law.parameters:
            hint = did_you_mean(key, law.parameters)
            raise LawError(f"{operation} names {key!r}, which is no parameter of {law.name}{hint}")


def _sum(self: Law, other: Any) -> Law | NotImplementedType:
    """The sum of two laws, see :func:`add`."""
    return add(self, other) if isinstance(other, Law) else NotImplemented


def _product(self: Law, other: Any) -> Law | NotImplementedType:
    """The product of two laws, see :func:`multiply`."""
    return multiply(self, other) if isinstance(other, Law) else NotImplemented


# The operators are defined here because the operations need the class that they belong to.
Law.__add__ = _sum
Law.__mul__ = _product
