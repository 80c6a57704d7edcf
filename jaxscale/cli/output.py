"""Reports, files and exit statuses of commands."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from jaxscale.utils.errors import Function, Reference, Subject
from jaxscale.utils.files import write_together
from jaxscale.utils.signatures import constructors

REFUSED, MARKED, INTERRUPTED = 2, 3, 130
# The path that stands for standard output.
PRINTED = Path("-")

# Losses and their settings, each of which is an option.
LOSSES = constructors(Path(__file__).parents[1] / "noise" / "losses", "Noise")
# Parameters of commands that have another name than the library's argument.
_PARAMETERS = {
    "bounds": "bound",
    "budgets": "isoflop",
    "fixed": "fix",
    "method": "intervals",
    "n_resamples": "resamples",
    "params": "param",
    "pooling": "pool",
    "priors": "prior",
    "sizes_per_budget": "sizes",
}


def complain(message: str) -> None:
    """One sentence on standard error."""
    print(f"jaxscale: {message}", file=sys.stderr)


def in_shell(part: Reference, commands: Mapping[str, Any], running: str | None) -> str:
    """A reference of a message as the command line spells it: ``Option --fix``, ``--kind wild``, ``jaxscale fit``.

    Args:
        part: the reference.
        commands: all commands by name.
        running: name of the one whose options are meant.
    """
    if isinstance(part, Function):
        name = part.name.partition(".")[0]
        return " ".join(["jaxscale", name, *(in_shell(each, commands, name) for each in part.settings)])
    option = _option(part.name, commands.get(running or ""))
    if option is None:
        return str(part)
    flag = option.opts[0]
    if isinstance(part, Subject):
        return f"Option {flag}"
    if part.value is True:
        words = [flag]
    elif part.value is None:
        words = [f"{flag} {option.metavar or option.name.upper()}"]
    elif isinstance(part.value, Mapping):
        words = [f"{flag} {name}={value}" for name, value in part.value.items()]
    else:
        words = [f"{flag} {part.value}"]
    return " ".join([*words, *(in_shell(each, commands, running) for each in part.settings)])


def _option(argument: str, command: Any) -> Any:
    """The option of a command for an argument of the library, if there is one."""
    options = {each.name: each for each in getattr(command, "params", ()) if each.param_type_name == "option"}
    return options.get(argument) or options.get(_PARAMETERS.get(argument, ""))


def refusal(code: str, argument: str | None, message: str) -> str:
    """A refusal as one line of JSON, for a program that called a command with ``--json``."""
    return json.dumps({"code": code, "argument": argument, "message": message, "exit_status": REFUSED})


def deliver(report: Callable[[], str], files: Mapping[Path, Callable[[], bytes]], quiet: bool) -> None:
    """Write all files or none, and print the report, unless a file is printed in its place.

    The report is printed even where the files cannot be written: it may have cost hours.

    Args:
        report: makes the text of the report.
        files: path to what makes its content; the path ``-`` is printed.
        quiet: whether to leave the report out.

    Raises:
        Exception: a file could not be made or written.
    """
    failure, written = None, [path for path in files if path != PRINTED]
    try:
        write_together({path: files[path]() for path in written})
    except Exception as error:
        failure = error
    if PRINTED in files:
        typer.echo(files[PRINTED]().decode(), nl=False)
    elif not quiet or failure is not None:
        typer.echo(report())
    if failure is not None:
        raise failure
    if written and not quiet and PRINTED not in files:
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
