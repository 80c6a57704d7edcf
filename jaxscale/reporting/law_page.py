"""Pages of laws and listings of the catalogue, as plain text, JSON and Markdown."""

import inspect
import math
import re
from collections.abc import Iterable
from typing import Any

from jaxscale.law import Law, Parameter, between
from jaxscale.law.curve import sketch
from jaxscale.reporting import citation
from jaxscale.reporting.formula_text import readable
from jaxscale.utils.text import align, item, wrap


def listing(laws: Iterable[Law]) -> str:
    """One entry per law: name, inputs, response, number of parameters, summary, source.

    Args:
        laws: the laws to list.
    """
    head = "Law (inputs): response, parameters; summary; source"
    entries = []
    for law in laws:
        title = f"{law.name} ({', '.join(law.inputs)}): {law.response.unit or 'any unit'}, {_count(law)}"
        entries += [*wrap(title, "", "    "), *wrap(_plain(law.summary), "  ")]
        entries += wrap(f"[{citation.short(law)}]", "  ")
    return "\n".join([head, "-" * len(head), *entries])


def page(law: Law) -> str:
    """A law's page: formula, inputs, parameters, published constants, shape and source.

    Args:
        law: the law.
    """
    summary, *paragraphs = [entry for entry in _paragraphs(law) if not entry.startswith("Source:")]
    formula = readable(_plain(paragraphs.pop(0))) if paragraphs and paragraphs[0].startswith("``") else "none"
    inputs = [
        f"{name}: {entry.unit or 'any unit'}, {_interval(entry.low, entry.high)}" for name, entry in law.inputs.items()
    ]
    domain = law.response.domain
    rows = [("Parameter", "kind", "support", "plausible", "meaning")]
    rows += [(name, p.kind, p.support.name, _range(p), _meaning(p)) for name, p in law.parameters.items()]
    published = [
        wrap(f"{label}: " + ", ".join(f"{name}={value:g}" for name, value in values.items()), "  ", "    ")
        for label, values in law.published.items()
    ]
    blocks = [
        [law.name, "=" * len(law.name)],
        wrap(_plain(summary)),
        [
            *item("Formula", formula),
            *item("LaTeX", law.formula or "none"),
            *item("Response", f"{law.response.unit or 'any unit'}, {_interval(domain.low, domain.high)}"),
            *(line for i, entry in enumerate(inputs) for line in item("" if i else "Inputs", entry)),
            *item("Family", law.family),
            *item("Source", law.source),
            *(item("Any sign", f"{law.either_sign}, which contains this law") if law.either_sign else []),
        ],
        *(wrap(_plain(entry)) for entry in paragraphs),
        align(rows, "<<<<<") if law.parameters else ["It has no parameters to fit."],
        ["Published constants", *(line for entry in published for line in entry)] if published else [],
        _shape(law),
        [citation.bibtex(law)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def facts(law: Law) -> dict[str, Any]:
    """A law's declaration as a JSON-serialisable mapping; infinite ends are None.

    Args:
        law: the law.
    """
    return {
        "law": law.name,
        "family": law.family,
        "summary": law.summary,
        "formula": law.formula,
        "source": law.source,
        "response": {"unit": law.response.unit, "domain": law.response.domain.name},
        "inputs": {
            name: {
                "unit": entry.unit,
                "low": _finite(entry.low),
                "high": _finite(entry.high),
                "lower": entry.lower,
                "typical": list(entry.sizes),
            }
            for name, entry in law.inputs.items()
        },
        "parameters": {
            name: {
                "kind": p.kind,
                "support": p.support.name,
                "range": list(p.range),
                "declared": p.declared,
                "powers": dict(p.powers),
                "input": p.input,
                "unit": p.unit,
                "meaning": p.meaning,
            }
            for name, p in law.parameters.items()
        },
        "affine": list(law.affine),
        "decreasing": list(law.decreasing),
        "either_sign": law.either_sign,
        "published": {label: dict(values) for label, values in law.published.items()},
    }


def markdown(laws: Iterable[Law]) -> str:
    """The catalogue as Markdown, with one table per family.

    Args:
        laws: the laws to list.
    """
    blocks = []
    for family, members in by_family(laws).items():
        rows = [
            f"| `{law.name}` | {', '.join(law.inputs)} | {law.response.unit or 'any'} | {len(law.parameters)} "
            f"| {law.summary.replace('``', '`')} | {citation.short(law)} |"
            for law in members
        ]
        head = ["| law | inputs | response | parameters | summary | source |", "| --- " * 6 + "|"]
        blocks.append("\n".join([f"## {family}", "", *head, *rows]))
    return "\n\n".join(blocks)


def families(laws: Iterable[Law]) -> str:
    """The families of the catalogue as a Markdown table, with numbers of laws and examples.

    Args:
        laws: the laws to count.
    """
    rows = ["| family | laws | such as |", "| --- " * 3 + "|"]
    for family, members in by_family(laws).items():
        firsts = {law.function.__module__: law for law in reversed(members)}
        examples = ", ".join(sorted(f"`{law.name}`" for law in firsts.values())[:4])
        rows.append(f"| [{family}](LAWS.md#{family}) | {len(members)} | {examples} |")
    return "\n".join(rows)


def by_family(laws: Iterable[Law]) -> dict[str, list[Law]]:
    """Laws grouped by family, both sorted by name.

    Args:
        laws: the laws to sort.
    """
    groups: dict[str, list[Law]] = {}
    for law in sorted(laws, key=lambda law: (law.family, law.name)):
        groups.setdefault(law.family, []).append(law)
    return groups


def _shape(law: Law) -> list[str]:
    """A sketch of the law along the first input, with the values of the others."""
    first, *others = law.inputs
    low, high = law.inputs[first].sizes
    scale = "log " if low > 0 else ""
    at = ", ".join(f"{name} = {between(*law.inputs[name].sizes, 0.5):.3g}" for name in others)
    label = next(iter(law.published), None)
    constants = f"constants of {label}" if label else "constants at the middle of their plausible ranges"
    caption = f"Shape: the response against {scale}{first}{f', at {at}' if at else ''}"
    return [*wrap(caption + (f"; {constants}" if law.parameters else "")), *sketch(law, first)]


def _paragraphs(law: Law) -> list[str]:
    return [entry for entry in (inspect.getdoc(law.function) or "").split("\n\n") if entry]


def _count(law: Law) -> str:
    count = len(law.parameters)
    return f"{count or 'no'} parameter{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text.replace("``", ""))


def _interval(low: float, high: float) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"between {low:g} and {high:g}"
    if math.isfinite(low):
        return f"above {low:g}"
    return f"below {high:g}" if math.isfinite(high) else "any real number"


def _range(parameter: Parameter) -> str:
    return f"{parameter.range[0]:g} to {parameter.range[1]:g}"


def _meaning(parameter: Parameter) -> str:
    return f"{parameter.meaning} ({parameter.unit})" if parameter.unit else parameter.meaning


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
