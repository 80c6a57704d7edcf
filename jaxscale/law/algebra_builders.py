"""Declarations of derived laws: parameters, inputs, formulas, and properties that the operations preserve."""

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Shaped

from jaxscale.law.declaration import Input, Parameter, Response, categorical, interval, positive, real, unit
from jaxscale.law.declare import Law
from jaxscale.law.declare import law as declare
from jaxscale.law.family import OTHERS, with_signature
from jaxscale.utils.arrays import Array, Numbers
from jaxscale.utils.errors import LawError


def _fix(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, float], ...]) -> Law:
    (old,), values = parts, dict(options)
    parameters = {key: kind for key, kind in old.parameters.items() if key not in values}
    text = ", ".join(f"{key}={value:g}" for key, value in values.items())
    plausible = all(
        old.parameters[key].range[0] <= value <= old.parameters[key].range[1] for key, value in values.items()
    )
    return _law(
        parts,
        name or f"{old.name}({text})",
        old.inputs,
        {key: _adapt(kind, dict.fromkeys(values)) for key, kind in parameters.items()},
        old.response,
        lambda given: _value(old, {**given, **values}),
        f"{old.name} with {text.replace('=', ' = ')}.",
        ",\\; ".join([old.formula, *(f"{_symbol(key)} = {value:g}" for key, value in values.items())]),
        affine=[key for key in old.affine if key not in values],
        decreasing=old.decreasing if plausible else (),
        published={
            label: {key: value for key, value in entry.items() if key not in values}
            for label, entry in old.published.items()
            if all(entry[key] == value for key, value in values.items())
        },
    )


def _tie(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, str], ...]) -> Law:
    (old,), ties = parts, dict(options)
    parameters = {key: kind for key, kind in old.parameters.items() if key not in ties}
    # The law is not affine in a parameter that replaces one in which it is not affine.
    bent = {kept for removed, kept in ties.items() if removed not in old.affine}
    text = ", ".join(f"{removed}={kept}" for removed, kept in ties.items())
    return _law(
        parts,
        name or f"{old.name}({text})",
        old.inputs,
        {key: _adapt(kind, ties) for key, kind in parameters.items()},
        old.response,
        lambda given: _value(old, {**given, **{removed: given[kept] for removed, kept in ties.items()}}),
        f"{old.name} with {text.replace('=', ' = ')}.",
        ",\\; ".join([old.formula, *(f"{_symbol(removed)} = {_symbol(kept)}" for removed, kept in ties.items())]),
        affine=[key for key in old.affine if key not in ties and key not in bent],
        decreasing=old.decreasing,
        published={
            label: {key: value for key, value in entry.items() if key not in ties}
            for label, entry in old.published.items()
            if all(entry[removed] == entry[kept] for removed, kept in ties.items())
        },
    )


def _bound(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, float, float], ...]) -> Law:
    (old,), ends = parts, {key: (low, high) for key, low, high in options}
    parameters = {}
    for key, kind in old.parameters.items():
        if key in ends:
            low, high = ends[key]
            plausible = max(low, kind.range[0]), min(high, kind.range[1])
            both = plausible if plausible[0] < plausible[1] else (max(low, -1e300), min(high, 1e300))
            kind = dataclasses.replace(kind, support=interval(low, high), range=both)
        parameters[key] = kind
    text = ", ".join(f"{low:g} < {key} < {high:g}" for key, (low, high) in ends.items())
    return _law(
        parts,
        name or old.name,
        old.inputs,
        parameters,
        old.response,
        lambda given: _value(old, given),
        f"{old.name} with {text}.",
        old.formula,
        affine=old.affine,
        decreasing=old.decreasing,
    )


def _by_group(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, ...], tuple[str, ...]]) -> Law:
    (old,), (labels, own) = parts, options
    names = [{key: copy_of(key, label) for key in own} for label in labels]
    parameters = {}
    for key, kind in old.parameters.items():
        # A shared amplitude whose exponent differs between groups is centred by the exponent of the first group.
        copies = names if key in own else names[:1]
        parameters |= {each.get(key, key): _adapt(kind, each) for each in copies}

    def value(given: Mapping[str, Numbers]) -> Numbers:
        place = jnp.round(given["group"])
        indicators = [jnp.where(place == k, 1.0, 0.0) for k in range(len(labels))]
        # A sum of products, since its slopes are the indicators themselves.
        selected = {
            key: sum(is_in * given[each[key]] for is_in, each in zip(indicators, names, strict=True)) for key in own
        }
        return _value(old, {**given, **selected})

    listed = ", ".join(own)
    return _law(
        parts,
        name or f"{old.name}({listed} by {json.dumps(labels, ensure_ascii=False)})",
        {**old.inputs, "group": categorical(labels)},
        parameters,
        old.response,
        value,
        f"{old.name} with {listed} by group.",
        ",\\; ".join([old.formula, *(rf"{_symbol(key)} = {_symbol(key)}[\mathrm{{group}}]" for key in own)]),
        affine=[each.get(key, key) for key in old.affine for each in (names if key in own else names[:1])],
        decreasing=old.decreasing,
    )


def copy_of(name: str, label: str) -> str:
    """Name of the copy of a parameter for one group."""
    return f"{name}[{label}]"


def copies(law: Law) -> dict[str, list[str]]:
    """Copies of each parameter in a law created by ``by_group``; empty for other laws."""
    if law.recipe is None or law.recipe[1][0] != "by_group":
        return {}
    (old,), (labels, own) = law.recipe[1][1], law.recipe[1][3]
    return {key: [copy_of(key, label) for label in labels] if key in own else [key] for key in old.parameters}


def _rename(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, str | Input], ...]) -> Law:
    (old,) = parts
    declared = {key: value for key, value in options if isinstance(value, Input)}
    names = {key: value for key, value in options if not isinstance(value, Input)}
    text = ", ".join(f"{key}→{new}" for key, new in names.items())
    return _law(
        parts,
        name or (f"{old.name}({text})" if text else f"{old.name}({', '.join(declared)})"),
        {names.get(key, key): declared.get(key, entry) for key, entry in old.inputs.items()},
        {names.get(key, key): _adapt(kind, names) for key, kind in old.parameters.items()},
        old.response,
        lambda given: _value(old, given, names),
        f"{old.name} in other letters." if text else f"{old.name} of other units.",
        ",\\; ".join([old.formula, *(rf"{_symbol(key)} \to {_symbol(new)}" for key, new in names.items())]),
        affine=[names.get(key, key) for key in old.affine],
        decreasing=[names.get(key, key) for key in old.decreasing],
        published={
            label: {names.get(key, key): value for key, value in entry.items()}
            for label, entry in old.published.items()
        },
        names=names,
    )


def _add(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, ...], str, Response | None]) -> Law:
    return _combine(parts, name, options, "+", jnp.add)


def _multiply(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, ...], str, Response | None]) -> Law:
    return _combine(parts, name, options, "*", jnp.multiply)


def _combine(
    parts: tuple[Law, ...],
    name: str | None,
    options: tuple[tuple[str, ...], str, Response | None],
    sign: str,
    operation: Callable[..., Any],
) -> Law:
    first, second = parts
    shared, prefix, response = options
    parameters, names = _merge_parameters(parts, shared, prefix)
    inputs = _merge_inputs([(old.name, old.inputs) for old in parts])
    affine = [_translate(old.affine, own) for old, own in zip(parts, names, strict=True)]
    if sign == "+":
        owners = [_translate(old.parameters, own) for old, own in zip(parts, names, strict=True)]
        affine_names = [
            key
            for key in parameters
            if all(key in bent or key not in own for bent, own in zip(affine, owners, strict=True))
        ]
        declared, label = _sum_of(first.response, second.response), f"{first.name} + {second.name}"
        formula = f"{_right(first.formula)} + {_right(second.formula)}"
    else:
        others = _translate(second.parameters, names[1]), _translate(first.parameters, names[0])
        alone = [[key for key in own if key not in other] for own, other in zip(affine, others, strict=True)]
        affine_names = alone[0] or alone[1]
        declared = _product_of(first.response, second.response)
        label = " * ".join(f"({old.name})" if " + " in old.name else old.name for old in parts)
        formula = rf"\left({_right(first.formula)}\right) \left({_right(second.formula)}\right)"
    # Both parts decrease in the input or do not depend on it; a product of decreasing laws needs positive parts.
    fall = sign == "+" or all(old.response.domain in (positive, unit) for old in parts)
    return _law(
        parts,
        name or label,
        inputs,
        parameters,
        response or declared,
        lambda given: operation(_value(first, given, names[0]), _value(second, given, names[1])),
        f"{'Sum' if sign == '+' else 'Product'} of {first.name} and {second.name}.",
        formula,
        affine=affine_names,
        decreasing=[
            key for key in inputs if fall and all(key in old.decreasing or key not in old.inputs for old in parts)
        ],
    )


def _compose(parts: tuple[Law, ...], name: str | None, options: tuple[tuple[str, ...], tuple[str, ...], str]) -> Law:
    keys, shared, prefix = options
    outer, inner = parts[0], dict(zip(keys, parts[1:], strict=True))
    parameters, names = _merge_parameters(parts, shared, prefix, hidden=keys)
    own = dict(zip(keys, names[1:], strict=True))
    text = ", ".join(f"{key}={law.name}" for key, law in inner.items())
    pieces = [
        (inner[key].name, inner[key].inputs) if key in inner else (outer.name, {key: entry})
        for key, entry in outer.inputs.items()
    ]
    within = {key for law in inner.values() for key in law.inputs}
    used = {new for law, new in zip(parts[1:], names[1:], strict=True) for new in _translate(law.parameters, new)}

    def value(given: Mapping[str, Numbers]) -> Numbers:
        values = {key: _value(law, given, own[key]) for key, law in inner.items()}
        return _value(outer, {**given, **values}, names[0])

    return _law(
        parts,
        name or f"{outer.name}({text})",
        _merge_inputs(pieces),
        parameters,
        outer.response,
        value,
        f"{outer.name} with {text.replace('=', ' = ')}.",
        ",\\; ".join([outer.formula, *(f"{_symbol(key)} = {_right(law.formula)}" for key, law in inner.items())]),
        affine=[key for key in outer.affine if key not in used],
        decreasing=[key for key in outer.decreasing if key not in inner and key not in within],
    )


def _law(
    parts: Sequence[Law],
    name: str,
    inputs: Mapping[str, Input],
    parameters: Mapping[str, Parameter],
    response: Response,
    value: Callable[[Mapping[str, Numbers]], Numbers],
    summary: str,
    formula: str,
    *,
    affine: Iterable[str],
    decreasing: Iterable[str],
    published: Mapping[str, Mapping[str, float]] | None = None,
    names: Mapping[str, str] | None = None,
) -> Law:
    """Declare a law from ``value``, a function of inputs and parameters by name."""
    for key in inputs:
        if key in parameters:
            raise LawError(f"{key!r} is an input and a parameter of {name}; give one of them another name with rename")

    beside = {key for key in parameters if not key.isidentifier()}

    def function(*columns: Numbers, **params: Numbers) -> Numbers:
        given = inspect.signature(function).bind(*columns, **params).arguments
        others = given.pop(OTHERS, {})
        for key in sorted(beside ^ others.keys()):
            raise TypeError(f"{'missing' if key in beside else 'unexpected'} parameter of {name}: {key!r}")
        return value({**given, **others})

    papers = dict.fromkeys(paper for old in parts for paper in old.source.split("; "))
    source = "; ".join(papers)
    function.__name__, function.__doc__ = name, f"{summary}\n\nSource: {source}."
    kinds: dict[str, Any] = dict(parameters)
    return declare(
        inputs=inputs,
        response=response,
        source=source,
        formula=formula,
        affine=tuple(affine),
        decreasing=tuple(decreasing),
        published=published,
        prepare=_preparation(parts, names or {}),
        name=name,
        **kinds,
    )(with_signature(function, inputs, parameters))


def _preparation(parts: Sequence[Law], names: Mapping[str, str]) -> Callable[..., Mapping[str, Any]] | None:
    """Features of the parts, with renamed inputs under their new names."""
    having = list({part.prepare: part for part in parts if part.prepare is not None}.values())
    if not having:
        return None
    if len(having) == 1 and not any(key in names for key in having[0].inputs):
        return having[0].prepare

    def prepare(**given: Shaped[Array, "..."]) -> dict[str, Shaped[Array, "..."]]:
        computed: dict[str, Any] = {}
        for part in having:
            features = part.prepare(**{name: given[name] for name in part.sources}) if part.prepare else {}
            computed |= {names.get(key, key): value for key, value in features.items()}
        return computed

    return with_signature(prepare, (), dict.fromkeys(name for part in having for name in part.sources))


def _value(law: Law, given: Mapping[str, Numbers], names: Mapping[str, str] | None = None) -> Numbers:
    """Value of a law at inputs and parameters that have other names."""
    names = names or {}
    columns = (given[names.get(key, key)] for key in law.inputs)
    return law(*columns, **{key: given[names.get(key, key)] for key in law.parameters})


def _merge_parameters(
    parts: Sequence[Law], shared: Sequence[str], prefix: str, hidden: Sequence[str] = ()
) -> tuple[dict[str, Parameter], list[dict[str, str]]]:
    """Parameters of several laws under their new names, and the new names of each law, without ``hidden`` inputs."""
    for key in shared:
        count = sum(key in law.parameters for law in parts)
        if count < 2:
            raise LawError(f"shared names {key!r}, which must be a parameter of at least two of {_names(parts)}")
    merged: dict[str, Parameter] = {}
    owner: dict[str, Law] = {}
    every = []
    for place, part in enumerate(parts):
        clashing = [key for key in part.parameters if key in merged and key not in shared]
        names = {key: prefix + key for key in clashing if prefix}
        for key, kind in part.parameters.items():
            new = names.get(key, key)
            if new in merged and key in shared:
                if merged[new].support is not kind.support:
                    raise LawError(
                        f"{key} cannot be shared: it is {merged[new].support.name} in {owner[new].name} and "
                        f"{kind.support.name} in {part.name}"
                    )
            elif new in merged:
                raise LawError(
                    f"{owner[new].name} and {part.name} both have a parameter {new!r}; identify them with "
                    f"shared=[{new!r}], or rename that of {part.name} (rename, or prefix)"
                )
            else:
                inside = {name for other in parts[1:] for name in other.inputs}
                removed = {name: None for name in hidden if place == 0 and name not in inside}
                merged[new], owner[new] = _adapt(kind, {**names, **removed}), part
        every.append(names)
    return merged, every


def _merge_inputs(pieces: Sequence[tuple[str, Mapping[str, Input]]]) -> dict[str, Input]:
    """Inputs of several laws; inputs of the same name are identified, on the intersection of their domains."""
    merged: dict[str, Input] = {}
    owner: dict[str, str] = {}
    for law, inputs in pieces:
        for key, entry in inputs.items():
            if key not in merged:
                merged[key], owner[key] = entry, law
                continue
            known = merged[key]
            if not compatible_units(known.unit, entry.unit):
                raise LawError(
                    f"the input {key} is in {known.unit} in {owner[key]}, but in {entry.unit} in {law}; rename or "
                    f"redeclare one with rename"
                )
            merged[key] = Input(
                known.unit or entry.unit,
                max(known.low, entry.low),
                min(known.high, entry.high),
                max(known.lower, entry.lower),
                known.typical or entry.typical,
            )
    return merged


def _adapt(kind: Parameter, names: Mapping[str, str | None]) -> Parameter:
    """Parameter kind with inputs and exponents renamed or (None) removed."""
    powers = []
    for key, power in kind.powers:
        bare = power.removeprefix("-")
        new, by = names.get(key, key), names.get(bare, bare)
        if new is not None and by is not None:
            powers.append((new, power.replace(bare, by)))
    place = None if kind.input is None else names.get(kind.input, kind.input)
    what = kind.kind
    if what == "scale" and not powers or what == "location" and place is None:
        what = "positive_number" if kind.support is positive else "coefficient"
    return dataclasses.replace(kind, kind=what, powers=tuple(powers), input=place)


def _names(parts: Sequence[Law]) -> str:
    return " and ".join(law.name for law in parts)


def _translate(keys: Iterable[str], names: Mapping[str, str]) -> list[str]:
    return [names.get(key, key) for key in keys]


def compatible_units(first: str, second: str) -> bool:
    """Whether two units, which may be alternatives "one or another", are compatible; an empty unit matches any."""
    return not first or not second or bool(set(first.split(" or ")) & set(second.split(" or ")))


def _sum_of(first: Response, second: Response) -> Response:
    below = all(response.domain in (positive, unit) for response in (first, second))
    return Response(first.unit or second.unit, positive if below else real)


def _product_of(first: Response, second: Response) -> Response:
    domains = {first.domain, second.domain}
    domain = unit if domains == {unit} else positive if domains <= {positive, unit} else real
    return Response(" ".join(part for part in (first.unit, second.unit) if part), domain)


def _right(formula: str) -> str:
    """Right-hand side of a formula."""
    return formula.split("=", 1)[-1].strip()


_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
).split()


def _symbol(name: str) -> str:
    """LaTeX of a name."""
    stem, _, index = name.partition("_")
    letter = rf"\{stem}" if stem in _GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    return rf"{letter}_{{\mathrm{{{index}}}}}" if index else letter


BUILDERS: dict[str, Callable[..., Law]] = {
    "fix": _fix,
    "tie": _tie,
    "bound": _bound,
    "by_group": _by_group,
    "rename": _rename,
    "add": _add,
    "multiply": _multiply,
    "compose": _compose,
}
