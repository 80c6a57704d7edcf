"""The command line: ``jaxscale demo``, ``laws``, ``simulate``, ``check``, ``fit``, ``posterior``, ``notices``, ...

Exit status: 0 success; 2 an argument, the data or the design is invalid, and nothing was written;
3 results were written but are not reliable (not converged, starts disagree, worse than a constant, no degrees of
freedom, draws not usable); 130 interrupted.

With ``--json``, a refusal is a line of JSON on standard output too, also where ``--json`` names a file, which is not
written then: ``{"code": "argument", "argument": "fixed", "message": "Option --fix ...", "exit_status": 2}``.
"""

import gc
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jaxscale.cli.options import (
    AsJson,
    Fix,
    Inputs,
    JsonCommand,
    LawName,
    NoiseLevel,
    Seed,
    TableName,
    Task,
    Tie,
    Where,
    with_task,
)
from jaxscale.cli.output import INTERRUPTED, MARKED, REFUSED, complain, deliver, in_shell, refusal
from jaxscale.utils.errors import ArgumentError, Reference, StructuredError, UsageError

# Commands import what they need, so that help and errors in options are immediate.
if TYPE_CHECKING:
    from jaxscale.results.fit import Fit

# Typer exports no base class of its usage errors.
_UsageError: Any = typer.BadParameter.__base__
# Where a context says whether --json is given.
_JSON = "jaxscale.json"


class _Commands(TyperGroup):
    """Commands that report errors as one sentence on standard error, without a traceback."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help`` with default False: for None, Typer imports Pydantic."""
        option = super().get_help_option(ctx)
        if option is not None and option.default is None:
            option.default = False
        return option

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether a program reads what is printed, which Typer does not say once a command is refused."""
        ctx.meta[_JSON] = any(word.partition("=")[0] == "--json" for word in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            complain("interrupted; nothing was written")
            raise typer.Exit(INTERRUPTED) from None
        except _UsageError as error:
            if ctx.meta[_JSON]:
                typer.echo(refusal("usage", _parameter(error), error.format_message()))
            raise
        except (ValueError, TypeError, OSError) as error:
            code, argument, message = _facts(
                error, partial(in_shell, commands=self.commands, running=ctx.invoked_subcommand)
            )
            complain(message)
            if ctx.meta[_JSON]:
                typer.echo(refusal(code, argument, message))
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    cls=_Commands,
    help="Fit scaling laws to tables of training runs, with uncertainty of the parameters.",
    epilog="Exit status: 0 success, 2 error and nothing written, 3 written but not reliable, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; the entry point of the console script."""
    # During imports and tracing, full garbage collections take a tenth of a command's CPU time and free almost nothing.
    gc.set_threshold(100_000, 50, 100)
    # Matrices are small: more threads of OpenBLAS cost several times the CPU time. It reads this on import of NumPy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app(prog_name="jaxscale")


def _version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        typer.echo(f"jaxscale {version('jaxscale')}")
        raise typer.Exit
    return asked


@app.callback()
def _shared(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for demo.csv, demo.json and demo.png.")
    ] = Path(),
    seed: Seed = 0,
) -> None:
    """Simulate 99 runs with known constants, fit them, and compare."""
    from jaxscale import designs, laws
    from jaxscale.cli import parsing
    from jaxscale.data.observations import Observations
    from jaxscale.fitting.fit import fit as fit_law
    from jaxscale.results import fit_report
    from jaxscale.utils.files import write_together

    paths = {ending: output / f"demo.{ending}" for ending in ("csv", "json", "png")}
    parsing.check_outputs(*paths.values())
    law = laws.get("chinchilla")
    sweep = parsing.csv_text(designs.example()).encode()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "demo.csv")
        table.write_bytes(sweep)
        observations = Observations.from_table(table, inputs=list(law.inputs), response="loss")
    parsing.enable_compilation_cache()
    fitted = fit_law(law, observations, seed=seed)
    files = {path: make() for path, make in _files(fitted, paths["json"], paths["png"]).items()}
    files = {paths["csv"]: sweep, **files}
    write_together(files)
    typer.echo(fit_report.text(fitted))
    typer.echo("\nThe runs were simulated with known constants:\n")
    typer.echo(fit_report.constants(fitted, next(iter(law.published.values()))))
    typer.echo(f"\nWritten: {', '.join(map(str, files))}")
    _exit_unless_converged(fitted)


@app.command("laws")
def list_laws(
    name: Annotated[str | None, typer.Argument(metavar="[LAW]", help="Show this law's page.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME", help="List laws with this input; repeatable.")
    ] = None,
    family: Annotated[str | None, typer.Option(metavar="FAMILY", help="List laws of this family, such as moe.")] = None,
    as_json: AsJson = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Plot the law.")] = None,
) -> None:
    """List the laws, or show one: formula, parameters, published constants, plot, source."""
    from jaxscale.cli import lookup, parsing
    from jaxscale.reporting import law_page
    from jaxscale.utils.files import write_together

    if name is None:
        if plot is not None:
            raise ArgumentError("plot", "needs the name of a law: jaxscale laws LAW --plot FILE.png.")
        selection = lookup.find_laws(inputs or (), family)
        if as_json:
            typer.echo(json.dumps([law_page.facts(law) for law in selection], indent=2))
        else:
            typer.echo(f"{law_page.listing(selection)}\n\nListed: {len(selection)}. For one law: jaxscale laws LAW.")
        return
    if inputs or family:
        raise UsageError(
            f"Options --input and --family filter the list; omit them to show {name}.",
            argument="inputs" if inputs else "family",
        )
    law = lookup.find_law(name)
    if plot is not None:
        from jaxscale import plots

        parsing.check_outputs(plot)
        write_together({plot: plots.render(plots.plot_law(law), plots.file_format(plot))})
    typer.echo(json.dumps(law_page.facts(law), indent=2) if as_json else law_page.page(law))


@app.command("notices")
def list_notices() -> None:
    """List the notices of results, with their meaning and remedy."""
    from jaxscale.utils import notices

    typer.echo(notices.listing())


@app.command()
def simulate(
    law: Annotated[str, typer.Argument(metavar="LAW", help="A law of the catalogue, or my_laws.py:my_law.")],
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Value of a parameter, in place of the published one."),
    ] = None,
    published: Annotated[
        str | None, typer.Option(metavar="SET", help="Published constants; the law's first set by default.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=LOWEST:HIGHEST:COUNT", help="An axis of a grid, evenly spaced in its logarithm."
        ),
    ] = None,
    isoflop: Annotated[
        str | None,
        typer.Option(metavar="LOWEST:HIGHEST:COUNT", help="Compute budgets 6 N D in FLOPs, in place of a grid."),
    ] = None,
    sizes: Annotated[int, typer.Option(help="Model sizes per budget of --isoflop.")] = 9,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise, relative to the response.")] = 0.005,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="File of the runs; default: standard output.")
    ] = None,
) -> None:
    """Simulate runs of a law with known constants, as CSV."""
    import numpy as np

    from jaxscale import designs
    from jaxscale import simulate as draw
    from jaxscale.cli import lookup, parsing
    from jaxscale.utils.files import write_together

    if (isoflop is None) == (not inputs):
        raise UsageError("Give the design either with --input NAME=LOWEST:HIGHEST:COUNT per input or with --isoflop.")
    parsing.check_outputs(output)
    scaling_law = lookup.find_law(law)
    params = {**_published(scaling_law, published), **parsing.numbers(param, "params")}
    if isoflop is not None:
        low, high, count = parsing.axis(isoflop, "budgets")
        if not 0 < low <= high < np.inf:
            raise ArgumentError("budgets", f"must run from a positive number up, but is {isoflop!r}.")
        design = designs.isoflop(np.geomspace(low, high, count).tolist(), sizes)
    else:
        axes = parsing.assignments(inputs, "inputs", "NAME=LOWEST:HIGHEST:COUNT")
        design = designs.grid(**{name: parsing.axis(text, "inputs") for name, text in axes.items()})
    text = parsing.csv_text(draw(scaling_law, params, design, noise=noise, seed=seed))
    if output is None:
        typer.echo(text, nl=False)
        return
    write_together({output: text.encode()})
    typer.echo(f"Written: {output}", err=True)


@app.command()
def check(
    table: TableName,
    law: LawName,
    inputs: Inputs = None,
    where: Where = None,
    fix: Fix = None,
    tie: Tie = None,
    noise_level: NoiseLevel = 0.005,
    as_json: AsJson = False,
) -> None:
    """Check whether planned or finished runs identify a law; no response is needed."""
    from jaxscale.cli import lookup, parsing
    from jaxscale.data.observations import Observations
    from jaxscale.identification import identifiability
    from jaxscale.utils import text as text_module
    from jaxscale.utils.files import replace_nonfinite

    scaling_law, fixed = lookup.apply_ties(lookup.find_law(law), tie), parsing.numbers(fix, "fixed")
    read = lookup.find_table(table)
    columns = lookup.columns_of(scaling_law, read, parsing.assignments(inputs, "inputs", "NAME=COLUMN"))
    # Planned runs have no response yet, and the check reads none.
    planned = Observations.from_table(read, inputs=columns, response=next(iter(columns.values())), where=where)
    parsing.enable_compilation_cache()
    design = identifiability.check(scaling_law, planned.inputs, fixed=fixed, noise_level=noise_level)
    typer.echo(json.dumps(replace_nonfinite(design.to_dict()), indent=2) if as_json else text_module.fold(str(design)))
    if not design.ok:
        raise typer.Exit(REFUSED)


def fit(
    task: Task,
    *,
    resamples: Annotated[
        int, typer.Option(help="Bootstrap resamples for standard errors, where needed; 0 for none.")
    ] = 400,
    errors: Annotated[
        str | None,
        typer.Option(
            help="Standard errors of least squares: classical or hc3; default: by a test for heteroscedasticity."
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(help="For counts, in place of --noise: poisson, negative_binomial, binomial or beta_binomial."),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the number of trials of binomial counts."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Plot the fit: .png, .svg or .pdf.")] = None,
) -> None:
    """Fit a law to a table of runs; print a report, write JSON and a plot."""
    from jaxscale import plots
    from jaxscale.results import fit_report

    task.check_outputs(plot)
    task.reject_unused_groups()
    if plot is not None:
        plots.file_format(plot)
    options: Any = dict(likelihood=likelihood, trials=trials, pooling=task.pooling())
    fitted = task.fit(n_resamples=resamples, errors=errors, **options)
    deliver(lambda: fit_report.text(fitted), _files(fitted, task.json_path, plot), task.quiet)
    _exit_unless_converged(fitted)


app.command(cls=JsonCommand)(with_task(fit))
# A file whose name ends so lists its commands, each with the shared options that its help does not show.
for file in sorted(Path(__file__).parent.glob("*_commands.py")):
    for command, hidden in importlib.import_module(f"jaxscale.cli.{file.stem}").COMMANDS.items():
        app.command(cls=JsonCommand)(with_task(command, hidden))


def _published(law: Any, label: str | None) -> dict[str, float]:
    """The constants of a published set; default: the first."""
    from jaxscale.utils.errors import did_you_mean

    if label is None:
        return dict(next(iter(law.published.values()), {}))
    if label not in law.published:
        known = f"its sets are {', '.join(law.published)}" if law.published else "it has none; give --param"
        raise UsageError(
            f"{law.name} has no published set {label!r}{did_you_mean(label, law.published)}; {known}.",
            argument="published",
        )
    return dict(law.published[label])


def _files(fitted: "Fit", json_path: Path | None, plot: Path | None) -> dict[Path, Callable[[], bytes]]:
    """The requested files, as path to a function that makes the content."""
    from jaxscale import plots

    files: dict[Path, Callable[[], bytes]] = {}
    if json_path is not None:
        files[json_path] = lambda: fitted.to_json().encode()
    if plot is not None:
        data, ending = fitted.observations, plots.file_format(plot)
        assert data is not None
        files[plot] = lambda: plots.render(plots.plot(fitted, data), ending)
    return files


def _exit_unless_converged(fitted: "Fit") -> None:
    if fitted.status != "converged":
        complain(f"fitted, but {fitted.status.replace('_', ' ')}; see the notices of the report.")
        raise typer.Exit(MARKED)


def _facts(error: BaseException, spell: Callable[[Reference], str]) -> tuple[str, str | None, str]:
    """Code, argument and message of a refusal."""
    if isinstance(error, StructuredError):
        return error.code, error.argument, error.sentence(spell)
    if isinstance(error, OSError):
        return "file", None, str(error) if error.filename is None else f"{error.filename}: {error.strerror}."
    return "type" if isinstance(error, TypeError) else "usage", None, str(error)


def _parameter(error: Any) -> str | None:
    """Name of the parameter that a usage error of Typer is about, if there is one."""
    param, option = getattr(error, "param", None), getattr(error, "option_name", None)
    for each in () if error.ctx is None else error.ctx.command.params:
        if param is each or option in each.opts:
            return each.name
    return None
