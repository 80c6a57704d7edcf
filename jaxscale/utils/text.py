"""Layout: plain text that reads well at 80 columns."""

import textwrap

WIDTH = 80
_LABEL = 15


def folded(said: str) -> str:
    """Text whose long lines are broken between words.

    Args:
        said: lines of any length.
    """
    lines = said.split("\n")
    return "\n".join(part for line in lines for part in ([line] if len(line) <= WIDTH else wrapped(line)))


def item(label: str, said: str) -> list[str]:
    """A labelled entry, wrapped under itself."""
    return wrapped(said, f"{label:<{_LABEL}}", " " * _LABEL)


def wrapped(said: str, indent: str = "", rest: str | None = None) -> list[str]:
    """Lines broken between words, the first one behind ``indent`` and the others behind ``rest``."""
    rest = indent if rest is None else rest
    return textwrap.wrap(said, WIDTH, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False)


def aligned(rows: list[tuple[str, ...]], sides: str) -> list[str]:
    """Columns two spaces apart, each as wide as its widest cell; the last one wraps under itself."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    lines = []
    for row in rows:
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
        if len(line) <= WIDTH or sides[-1] != "<" or indent > WIDTH - 20:
            lines.append(line)
            continue
        first, *rest = textwrap.wrap(row[-1], WIDTH - indent)
        lines += ["  ".join([*cells[:-1], first]), *(" " * indent + part for part in rest)]
    return lines
