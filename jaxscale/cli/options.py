"""Options shared by commands."""

import inspect
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from jaxscale.cli.output import LOSSES, PRINTED, keeping
from jaxscale.utils.errors import ArgumentError

# Methods import what they need, so that help and errors in options are immediate.
if TYPE_CHECKING:
    from jaxscale.data.observations import Observations
    from jaxscale.law import Law
    from jaxscale.noise import Noise
    from jaxscale.results.fit import Fit


def _data(help: str, *names: str, metavar: str = "COLUMN") -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel="Data")


def _setting(help: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel="Fit")


LawName = Annotated[
    str, typer.Option("--law", metavar="LAW", help="A law of the catalogue, or my_laws.py:my_law from a file.")
]
TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="A .csv, .jsonl or .parquet file, or the name of a public data set.")
]
Inputs = Annotated[
    list[str] | None,
    _data("Column of an input; default: the column of the same name.", "--input", metavar="NAME=COLUMN"),
]
Where = Annotated[str | None, _data("Rows to keep, such as \"N > 1e8 and split == 'a'\".", metavar="FILTER")]
Fix = Annotated[list[str] | None, _setting("Fix a parameter; repeatable.", metavar="NAME=NUMBER")]
Tie = Annotated[
    list[str] | None,
    _setting("Tie a parameter to another, such as beta=alpha; repeatable.", metavar="NAME=OTHER"),
]
NoiseLevel = Annotated[float, _setting("Relative noise assumed by the design check.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals, between 0 and 1.")]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="FILE.nc", help="Write the draws as a NetCDF file for ArviZ.")
]


def noise_settings() -> dict[str, str]:
    """Settings of losses with their help texts; each is an option of every command that fits."""
    return {each.name: each.help for arguments in LOSSES.values() for each in arguments if each.name != "space"}


_LOSS_NAMES = " or ".join(", ".join(LOSSES).rsplit(", ", 1))


@dataclass(frozen=True)
class Task:
    """The options of every command that fits: law, data, fit settings and outputs."""

    table: TableName
    law: LawName
    inputs: Inputs = None
    response: Annotated[str | None, _data("Column of the response; default: loss.")] = None
    where: Where = None
    weight: Annotated[str | None, _data("Column of weights: factors on each row's loss or log likelihood.")] = None
    sigma: Annotated[str | None, _data("Column of known standard errors of the responses (squared error).")] = None
    run: Annotated[str | None, _data("Column of run labels (clusters), where a run has several rows.")] = None
    group: Annotated[str | None, _data("Column of groups.")] = None
    pool: Annotated[
        list[str] | None,
        _setting(
            "Pooling of a parameter over groups: complete, partial (posterior only) or none; repeatable.",
            metavar="NAME=HOW",
        ),
    ] = None
    series: Annotated[
        list[str] | None,
        _data(
            "Sequences of an input by label, such as the learning rate schedule of each run.",
            metavar="INPUT=FILE.csv:LABEL_COLUMN:VALUE_COLUMN",
        ),
    ] = None
    noise: Annotated[str | None, _setting(f"Loss: {_LOSS_NAMES}; default: by the law's response.")] = None
    space: Annotated[
        str | None,
        _setting("Residual space: log, linear or logit; default: by the law's response (linear for squared noise)."),
    ] = None
    starts: Annotated[
        int,
        _setting("Starts to score; an easy problem stops after an eighth of them, a hard one scores up to fourfold."),
    ] = 4096
    polish: Annotated[
        int, _setting("Starts to polish, half of them the best; an easy problem stops after half of them.")
    ] = 64
    fix: Fix = None
    tie: Tie = None
    bound: Annotated[
        list[str] | None,
        _setting("Bounds of a parameter, either of which may be omitted; repeatable.", metavar="NAME=LOW:HIGH"),
    ] = None
    noise_level: NoiseLevel = 0.005
    allow_unidentified: Annotated[bool, _setting("Fit even if the design check fails.", "--allow-unidentified")] = False
    seed: Seed = 0
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for finished parts, to resume after an interruption."),
    ] = None
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="[FILE.json]", help="Write JSON; print it if no file is given.")
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no report.")] = False
    settings: dict[str, str] = field(default_factory=dict)

    def check_outputs(self, *others: Path | None) -> None:
        """Validate output paths before any work."""
        from jaxscale.cli import parsing

        own = None if self.json_path == PRINTED else self.json_path
        parsing.check_outputs(own, *others, read=self.table)

    def resolve_law(self) -> "Law":
        """The law with the requested ties and bounds.

        Raises:
            ValueError: there is no such law, or a tie or a bound does not suit it.
        """
        from jaxscale.cli import lookup

        return lookup.apply_bounds(lookup.apply_ties(lookup.find_law(self.law), self.tie), self.bound)

    def fixed(self) -> dict[str, float]:
        """Values of parameters that are not fitted."""
        from jaxscale.cli import parsing

        return parsing.numbers(self.fix, "fixed")

    def pooling(self) -> dict[str, str]:
        """Pooling over groups by parameter."""
        from jaxscale.cli import parsing
        from jaxscale.cli.parsing import one_of
        from jaxscale.fitting.arguments import POOLING

        given = parsing.assignments(self.pool, "pooling", "NAME=HOW")
        return {name: one_of("pooling", how, POOLING) for name, how in given.items()}

    def apply_pooling(self, law: "Law", observations: "Observations") -> "Law":
        """The law with one value per group of every parameter that is not pooled."""
        from jaxscale.fitting.arguments import apply_pooling

        return apply_pooling(law, observations, self.pooling(), self.fixed())

    def noise_of(self, law: "Law") -> "Noise":
        """The noise of the fit."""
        from jaxscale.noise import default, named, squared

        if self.noise is None and not self.settings:
            noise = default(law.response, self.space)
            return noise if self.sigma is None else squared(noise.space)
        loss = default(law.response).loss.name if self.noise is None else self.noise
        # As in Python, where squared() without a space means linear residuals.
        space = "linear" if loss == "squared" and self.noise and not self.space else self.space
        return named(loss, space, response=law.response, **self.settings)

    def observations(self, law: "Law", more: Mapping[str, str] | None = None) -> "Observations":
        """The data.

        Args:
            law: the law whose inputs are read.
            more: name to column of additional inputs.
        """
        from jaxscale.cli import lookup, parsing
        from jaxscale.data.observations import Observations

        sequences = lookup.series_of(law, self.series)
        read = lookup.find_table(self.table)
        given = parsing.assignments(self.inputs, "inputs", "NAME=COLUMN")
        return Observations.from_table(
            read,
            inputs=lookup.columns_of(law, read, given, sources=bool(sequences)) | dict(more or {}),
            response=lookup.response_of(read, self.response),
            where=self.where,
            weight=self.weight,
            run=self.run,
            group=self.group,
            sigma=self.sigma,
            series=sequences,
        )

    def reject_groups(self, command: str) -> None:
        """Reject groups for a command that fits all rows together.

        Args:
            command: its name.

        Raises:
            ValueError: groups are given.
        """
        if self.group is not None or self.pool:
            raise ArgumentError(
                "pooling" if self.group is None else "group",
                f"must not be given to {command}, which fits one set of parameters to all rows; choose a group with "
                "--where.",
            )

    def reject_unused_groups(self, others: str = "") -> None:
        """Reject groups that no parameter depends on.

        Args:
            others: other options that use groups, for the message.

        Raises:
            ValueError: groups are given but not used.
        """
        if self.group is not None and "none" not in self.pooling().values():
            raise ArgumentError(
                "group",
                f"needs {others}--pool NAME=none, for parameters that groups do not share; add it or "
                "leave out --group.",
            )

    def reject_sigma(self, command: str) -> None:
        """Reject known errors for a command that infers the noise.

        Args:
            command: its name.

        Raises:
            ValueError: known errors are given.
        """
        if self.sigma is not None:
            raise ArgumentError("sigma", f"must not be given to {command}, which infers the noise; leave it out.")

    def fit(
        self,
        *,
        n_resamples: int = 0,
        errors: Any = None,
        part: str | None = None,
        pooling: Mapping[str, str] | None = None,
        check: "Callable[[Observations], Any] | None" = None,
        likelihood: str | None = None,
        trials: str | None = None,
    ) -> "Fit":
        """The fit requested by the options.

        Args:
            n_resamples: bootstrap resamples for its standard errors.
            errors: which standard errors of least squares.
            part: folder inside the checkpoint, for commands that store more than the fit there.
            pooling: parameter to pooling; default: complete.
            check: validates the data for later steps, before the fit.
            likelihood: name of the likelihood of counts, in place of the noise.
            trials: column of the number of trials of binomial counts.
        """
        from jaxscale.cli import parsing
        from jaxscale.fitting import fit

        law, fixed = self.resolve_law(), self.fixed()
        settings, columns = self._noise_or_counts(law, likelihood, trials)
        observations = self.observations(law, columns)
        if check is not None:
            check(observations)
        parsing.enable_compilation_cache()
        with keeping(self.checkpoint):
            return fit.fit(
                law,
                observations,
                **settings,
                starts=self.starts,
                polish=self.polish,
                seed=self.seed,
                fixed=fixed,
                pooling=pooling,
                n_resamples=n_resamples,
                errors=errors,
                noise_level=self.noise_level,
                allow_unidentified=self.allow_unidentified,
                checkpoint=self.checkpoint_folder(part),
            )

    def _noise_or_counts(
        self, law: "Law", likelihood: str | None, trials: str | None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The noise or the likelihood of a fit, and the columns that it needs."""
        from jaxscale.cli.model_options import counts_of, require_likelihood

        if likelihood is None:
            require_likelihood(trials=trials)
            return {"noise": self.noise_of(law)}, {}
        counts, columns = counts_of(self, law, likelihood, trials)
        return {"likelihood": counts}, columns

    def checkpoint_folder(self, part: str | None) -> Path | None:
        """A subfolder of the checkpoint, if there is one."""
        return self.checkpoint if self.checkpoint is None or part is None else self.checkpoint / part


class JsonCommand(TyperCommand):
    """A command whose ``--json`` has an optional path; without one, JSON is printed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the path of standard output after a ``--json`` that an option or the table follows."""
        if "--json" not in args:
            return super().parse_args(ctx, args)
        from jaxscale.data.readers import ENDINGS

        given = []
        tables = sum(word.lower().endswith(ENDINGS) for word in args)
        for word, after in zip(args, [*args[1:], "--"], strict=True):
            given.append(word)
            option, table = after[:1] == "-" and after != "-", tables == 1 and after.lower().endswith(ENDINGS)
            if word == "--json" and (option or table):
                given.append(str(PRINTED))
        return super().parse_args(ctx, given)


def with_task(command: Callable[..., None], hidden: Collection[str] = ()) -> Callable[..., None]:
    """A command with an option for every field of :class:`Task` in place of its argument ``task``.

    Args:
        command: takes a task, and options of its own by keyword.
        hidden: fields whose options are hidden in its help: the command rejects them with a reason.
    """
    shared = dict(inspect.signature(Task, eval_str=True).parameters)
    del shared["settings"]
    settings = noise_settings()
    for name in hidden:
        kind, option = get_args(shared[name].annotation)
        option = copy(option)
        option.hidden = True
        shared[name] = shared[name].replace(annotation=Annotated[kind, option])
    own = [each for name, each in inspect.signature(command, eval_str=True).parameters.items() if name != "task"]
    # The command's own options precede those of outputs.
    last, after = list(shared).index("seed"), list(shared).index("space") + 1
    of_noise = [_noise_parameter(name, text, "noise" in hidden) for name, text in settings.items()]
    arguments = list(shared.values())
    ordered = [*arguments[:after], *of_noise, *arguments[after:last], *own, *arguments[last:]]

    def spread(**given: Any) -> None:
        loss_settings = {name: value for name in settings if (value := given.pop(name)) is not None}
        task = Task(**{name: given.pop(name) for name in shared}, settings=loss_settings)
        command(task, **given)

    spread.__name__, spread.__doc__ = command.__name__, command.__doc__
    whole = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in ordered]
    spread.__signature__ = inspect.Signature(whole)  # pyright: ignore[reportFunctionMemberAccess]
    return spread


def _noise_parameter(name: str, text: str, hidden: bool) -> inspect.Parameter:
    """The option of a setting of losses; a number or a word, parsed by the loss."""
    option = _setting(text, f"--{name.replace('_', '-')}", metavar="NUMBER")
    option.hidden = hidden
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )
