"""Layout of plain text at 80 columns."""

import textwrap

WIDTH = 80
_LABEL = 15


def fold(text: str) -> str:
    """Wrap the long lines of a text.

    Args:
        text: lines of any length.
    """
    lines = text.split("\n")
    return "\n".join(part for line in lines for part in ([line] if len(line) <= WIDTH else wrap(line)))


def item(label: str, text: str) -> list[str]:
    """Lines of a labelled entry with a hanging indent."""
    return wrap(text, f"{label:<{_LABEL}}", " " * _LABEL)


def wrap(text: str, indent: str = "", rest: str | None = None) -> list[str]:
    """Wrap a text, with ``indent`` before the first line and ``rest`` before the others."""
    rest = indent if rest is None else rest
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False)


def align(rows: list[tuple[str, ...]], sides: str) -> list[str]:
    """Lines of a table with columns two spaces apart; the last column is wrapped."""
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
