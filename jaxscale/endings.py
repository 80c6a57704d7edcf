"""Endings: how a command tells, writes and leaves; the exit statuses."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

REFUSED, MARKED, INTERRUPTED = 2, 3, 130
# The path that stands for standard output.
PRINTED = Path("-")


def complain(message: str) -> None:
    """One sentence on standard error."""
    print(f"jaxscale: {message}", file=sys.stderr)


def deliver(report: Callable[[], str], files: Mapping[Path, bytes], quiet: bool) -> None:
    """Write all files or none, then print the report, unless a file is printed in its place.

    Args:
        report: makes the text for a person.
        files: path to content; the path ``-`` is printed.
        quiet: whether to leave the report out.
    """
    from jaxscale import console

    written = {path: content for path, content in files.items() if path != PRINTED}
    console.write_together(written)
    if PRINTED in files:
        typer.echo(files[PRINTED].decode(), nl=False)
    elif not quiet:
        typer.echo(report())
        if written:
            typer.echo(f"\nWritten: {', '.join(map(str, written))}")


@contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Say where finished parts are kept when the work inside is interrupted.

    Args:
        folder: of the checkpoint, if there is one.
    """
    try:
        yield
    except KeyboardInterrupt:
        if folder is None:
            raise
        complain(f"interrupted; finished parts are kept in {folder}: the same command goes on there")
        raise typer.Exit(INTERRUPTED) from None
