"""Algebra of laws: fix, tie, bound, rename, add, multiply and compose.

>>> from jaxscale import laws
>>> tied = tie(laws.chinchilla, beta="alpha")
>>> tied
<law chinchilla(beta=alpha)(N, D; E, A, alpha, B)>
>>> tie(laws.chinchilla, beta="alpha") is tied
True
>>> compose(laws.chinchilla, N=laws.precision_capacity).inputs.keys()
dict_keys(['N', 'P_w', 'P_a', 'P_kv', 'D'])

The result of an operation is cached, so that the same operation returns the same law and its compiled programs are
reused; a law is pickled as the operation that created it. Inputs of the same name are identified. Parameters of the
same name raise an error unless they are ``shared``, or those of the later law are renamed by ``prefix`` or
:func:`rename`.
"""

from collections.abc import Hashable, Iterable, Sequence
from types import NotImplementedType
from typing import Any

from jaxscale.law.algebra_builders import BUILDERS, compatible_units
from jaxscale.law.declaration import Input, Response
from jaxscale.law.declare import Law
from jaxscale.law.fixed_values import describe_invalid
from jaxscale.utils.arrays import Number
from jaxscale.utils.errors import LawError, did_you_mean

_CACHE: dict[Any, Law] = {}


def fix(law: Law, /, *, name: str | None = None, **values: float | int) -> Law:
    """Fix parameters of a law at given values.

    Args:
        law: the law.
        name: name of the new law; by default, for example, ``chinchilla(E=1.69)``.
        **values: parameters by name.

    Raises:
        LawError: a name is not a parameter, a value is outside its support (its ends are allowed), or no parameter is
            left.
    """
    _check_names(law, "fix", values)
    if wrong := describe_invalid(law, {key: float(value) for key, value in values.items()}):
        raise LawError(f"fix of {law.name} {wrong}")
    if set(values) == set(law.parameters):
        raise LawError(f"fix must leave a parameter of {law.name} free, but holds all of {', '.join(values)}")
    return apply_operation(
        "fix", (law,), name, tuple((key, float(values[key])) for key in law.parameters if key in values)
    )


def tie(law: Law, /, *, name: str | None = None, **ties: str) -> Law:
    """Tie parameters of a law to others: ``tie(chinchilla, beta="alpha")``.

    Args:
        law: the law.
        name: name of the new law; by default, for example, ``chinchilla(beta=alpha)``.
        **ties: ``removed="kept"``: a parameter to remove, and the one whose value it takes.

    Raises:
        LawError: a name is not a parameter, a parameter is tied to one that is removed, or their supports differ.
    """
    _check_names(law, "tie", [*ties, *ties.values()])
    for key, kept in ties.items():
        if kept in ties:
            raise LawError(f"tie sets {key} of {law.name} to {kept}, which is tied itself; name another parameter")
        inner, outer = law.parameters[kept].support, law.parameters[key].support
        if inner.low < outer.low or inner.high > outer.high:
            raise LawError(
                f"tie sets {key} of {law.name} ({outer.name}) to {kept}, whose support ({inner.name}) is wider"
            )
    return apply_operation("tie", (law,), name, tuple((key, ties[key]) for key in law.parameters if key in ties))


def bound(law: Law, /, *, name: str | None = None, **bounds: Sequence[Number]) -> Law:
    """Restrict parameters of a law to intervals: ``bound(power_law_floor, c=(0, 2))``.

    Args:
        law: the law.
        name: name of the new law; by default, for example, ``power_law_floor(0.0<c<2.0)``.
        **bounds: parameter to its lower and upper bound, either of which may be infinite.

    Raises:
        LawError: a name is not a parameter, or the interval does not overlap the parameter's support.
    """
    _check_names(law, "bound", bounds)
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
    label = ", ".join(f"{low!r}<{key}<{high!r}" for key, low, high in ends)
    return apply_operation("bound", (law,), name or f"{law.name}({label})", tuple(ends))


def by_group(law: Law, /, labels: Sequence[str], params: Sequence[str], *, name: str | None = None) -> Law:
    """Give parameters of a law one value for each group: ``by_group(power_law, ["small", "large"], ["a"])``.

    The new law has an additional input ``group``, the index of a row's group among the labels, and in place of a
    parameter ``a`` one for every group, ``a[small]`` and ``a[large]``.

    Args:
        law: the law.
        labels: labels of the groups.
        params: parameters that have one value for each group.
        name: name of the new law; by default, for example, ``power_law(a by ["small", "large"])``.

    Raises:
        LawError: a name is not a parameter, there are no labels or duplicates, or ``group`` is a name of the law.
    """
    _check_names(law, "by_group", params)
    labels = tuple(map(str, labels))
    if not labels or len(set(labels)) < len(labels):
        raise LawError(f"by_group needs different labels for {law.name}, but got {', '.join(labels) or 'none'}")
    if "group" in (*law.inputs, *law.parameters):
        raise LawError(f"by_group adds an input 'group', but {law.name} has one of that name; rename it")
    return apply_operation("by_group", (law,), name, (labels, tuple(key for key in law.parameters if key in params)))


def rename(law: Law, /, *, name: str | None = None, **names: str | Input) -> Law:
    """Rename inputs and parameters of a law: ``rename(power_law, a="B")``.

    Args:
        law: the law.
        name: name of the new law; by default, for example, ``power_law(a→B)``.
        **names: old name to new name; or, for an input, to a new declaration, if its unit has to match that of another
            law.

    Raises:
        LawError: a name is neither an input nor a parameter, or a new name is already used.
    """
    every = [*law.inputs, *law.parameters]
    for key, new in names.items():
        if key not in every:
            raise LawError(f"rename names {key!r}, which {law.name} does not have{did_you_mean(key, every)}")
        if isinstance(new, Input) and key not in law.inputs:
            raise LawError(f"rename gives an input for {key!r}, which is a parameter of {law.name}")
    taken = [key if isinstance(names.get(key, key), Input) else names.get(key, key) for key in every]
    for new in taken:
        if taken.count(new) > 1:
            raise LawError(f"rename uses the name {new!r} twice in {law.name}; choose another")
    return apply_operation("rename", (law,), name, tuple((key, names[key]) for key in every if key in names))


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
    """Sum of two laws, also written ``first + second``.

    Args:
        first: the first law.
        second: the second law.
        shared: names of parameters that the laws have in common; each becomes one parameter.
        prefix: prefix of the names of parameters of ``second`` that ``first`` has too.
        name: name of the new law; ``first + second`` by default.
        response: response of the new law; needed only if units differ.

    Raises:
        LawError: names of parameters clash, inputs of the same name or the responses differ in unit, or a
            parameter cannot be shared.
    """
    if response is None and not compatible_units(first.response.unit, second.response.unit):
        raise LawError(
            f"the responses of {first.name} ({first.response.unit}) and {second.name} ({second.response.unit}) "
            "are in different units; convert one, or give the unit of the sum as response"
        )
    return apply_operation("add", (first, second), name, (tuple(shared), prefix, response))


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
    """Product of two laws, also written ``first * second``; arguments as for :func:`add`."""
    return apply_operation("multiply", (first, second), name, (tuple(shared), prefix, response))


def compose(law: Law, /, *, shared: Sequence[str] = (), prefix: str = "", name: str | None = None, **inner: Law) -> Law:
    """Composition: replace inputs of a law by other laws, as in ``compose(chinchilla, N=precision_capacity)``.

    Args:
        law: the outer law.
        shared: names of parameters that the laws have in common; each becomes one parameter.
        prefix: prefix of the names of parameters of an inner law that an earlier law has too.
        name: name of the new law; by default, for example, ``chinchilla(N=precision_capacity)``.
        **inner: input of the outer law to the law that replaces it.

    Raises:
        LawError: a name is not an input, units differ, names of parameters clash, or a parameter cannot be shared.
    """
    if not inner:
        raise LawError(f"compose needs a law for at least one input of {law.name}: {', '.join(law.inputs)}")
    for key, replacing in inner.items():
        if key not in law.inputs:
            raise LawError(f"compose names {key!r}, which is no input of {law.name}{did_you_mean(key, law.inputs)}")
        if not compatible_units(replacing.response.unit, law.inputs[key].unit):
            raise LawError(
                f"{replacing.name} is in {replacing.response.unit}, but the input {key} of {law.name} in "
                f"{law.inputs[key].unit}; convert, or redeclare the input with rename"
            )
    keys = tuple(key for key in law.inputs if key in inner)
    return apply_operation("compose", (law, *(inner[key] for key in keys)), name, (keys, tuple(shared), prefix))


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
    """Composition of two laws: the response of the first is an input of the second.

    ``chain(chinchilla, accuracy_sigmoid_loss, through="L")`` predicts an accuracy from parameters and tokens. It is
    ``compose(accuracy_sigmoid_loss, L=chinchilla)``.

    Args:
        first: the inner law.
        second: the outer law.
        through: input of ``second`` that is replaced; by default its only input.
        shared: names of parameters that the laws have in common; each becomes one parameter.
        prefix: prefix of the names of parameters of ``first`` that ``second`` has too.
        name: name of the new law.

    Raises:
        LawError: as for :func:`compose`, or ``second`` has several inputs and ``through`` is not given.
    """
    if through is None and len(second.inputs) > 1:
        raise LawError(f"chain needs through, the input of {second.name} to replace: {', '.join(second.inputs)}")
    return compose(second, shared=shared, prefix=prefix, name=name, **{through or next(iter(second.inputs)): first})


def apply_operation(operation: str, parts: tuple[Law, ...], name: str | None, options: tuple[Hashable, ...]) -> Law:
    """Apply an operation to laws, cached; pickled laws are reconstructed with it."""
    recipe = (operation, parts, name, options)
    if recipe not in _CACHE:
        law = BUILDERS[operation](parts, name, options)
        object.__setattr__(law, "recipe", (apply_operation, recipe))
        _CACHE.setdefault(recipe, law)
    return _CACHE[recipe]


def _check_names(law: Law, operation: str, names: Iterable[str]) -> None:
    names = list(names)
    if not names:
        raise LawError(f"{operation} needs at least one parameter of {law.name}: {', '.join(law.parameters)}")
    for key in names:
        if key not in law.parameters:
            hint = did_you_mean(key, law.parameters)
            raise LawError(f"{operation} names {key!r}, which is no parameter of {law.name}{hint}")


def _sum(self: Law, other: Any) -> Law | NotImplementedType:
    """Sum of two laws, see :func:`add`."""
    return add(self, other) if isinstance(other, Law) else NotImplemented


def _product(self: Law, other: Any) -> Law | NotImplementedType:
    """Product of two laws, see :func:`multiply`."""
    return multiply(self, other) if isinstance(other, Law) else NotImplemented


# The operators are defined here because the operations import the class.
Law.__add__ = _sum
Law.__mul__ = _product
