"""Endings: how a command tells, writes and leaves; the exit statuses."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from jaxscale.utils.files import write_together
from jaxscale.utils.signatures import constructors

REFUSED, MARKED, INTERRUPTED = 2, 3, 130
# The path that stands for standard output.
PRINTED = Path("-")

# Options by the names of the library's arguments.
_SAME = "at cluster size errors group kind level method noise polish run series sigma space starts weight"
# Losses and their settings, each of which is an option.
LOSSES = constructors(Path(__file__).parents[1] / "noise" / "losses", "Noise")
_SETTINGS = {each.name: each.name.replace("_", "-") for arguments in LOSSES.values() for each in arguments}
_OPTIONS = (
    {name: name for name in _SAME.split()}
    | _SETTINGS
    | {
        "bounds": "bound",
        "budgets": "isoflop",
        "fixed": "fix",
        "inputs": "input",
        "n_resamples": "resamples",
        "num_chains": "num-chains",
        "num_samples": "num-samples",
        "num_warmup": "num-warmup",
        "params": "param",
        "seed": "seed",
        "noise_level": "noise-level",
        "pooling": "pool",
        "priors": "prior",
        "scale_by": "scale-by",
        "sizes_per_budget": "sizes",
    }
)
# What a message of the library says, and what a person types instead.
_WORDS = (
    (r"Argument kind must not be 'studentised'", "Option --intervals must not be 'studentised'"),
    (r"\buse kind='bca'", "use --intervals bca"),
    (r"\buse kind='(\w+)'", r"use --kind \1"),
    (r"jaxscale\.laws\.names\(\)", "jaxscale laws"),
    (r"noise=squared\('linear'\)", "--noise squared --space linear"),
    (r"likelihoods\.normal\('linear'\)", "--likelihood normal --space linear"),
    (r"\bspace='linear'", "--space linear"),
    (r"likelihoods\.binomial\b", "jaxscale posterior --likelihood binomial --trials COLUMN"),
    (r"jaxscale\.(bootstrap|fit|posterior|profile)\b", r"jaxscale \1"),
    (r"read them with Observations\.from_table\(\.\.\., (\w+)=column\)", r"name their column with --\1 COLUMN"),
    (r"\bwith (group|run|weight)=(?!\w)", r"with --\1 COLUMN"),
    (r"\binputs=\{(?:\.\.\., )?'(\w+)': column\}", r"--input \1=COLUMN"),
    (r"\bwith (where|series)\b", r"with --\1"),
    (r"\bwith inputs\b", "with --input"),
    (r"\(fixed=\.\.\.\)", "(--fix NAME=NUMBER)"),
    (r" or starts by name\b", ""),
)


def complain(message: str) -> None:
    """One sentence on standard error."""
    print(f"jaxscale: {message}", file=sys.stderr)


def in_shell(message: str) -> str:
    """A message of the library in the words of the command line.

    >>> in_shell("Argument fixed names 'F'; use kind='wild', or name their column with run=.")
    "Option --fix names 'F'; use --kind wild, or name their column with --run COLUMN."

    Args:
        message: one that speaks of arguments; one that speaks of options stays as it is.
    """
    if message.startswith("Option"):
        return message

    def option(found: re.Match[str]) -> str:
        name = _OPTIONS.get(found[1])
        return found[0] if name is None else f"Option --{name}"

    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    return re.sub(r"\bArgument (\w+)", option, message)


def deliver(report: Callable[[], str], files: Mapping[Path, Callable[[], bytes]], quiet: bool) -> None:
    """Write all files or none, and print the report, unless a file is printed in its place.

    The report is printed even where the files cannot be written: it may have cost hours.

    Args:
        report: makes the text for a person.
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
