"""The command line of uncertainty: ``jaxscale posterior``, ``bootstrap``, ``profile`` and ``foretell``."""

import json
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxscale.cli.model_options import LIKELIHOODS, likelihood_of, prior_of, refuse_model, without
from jaxscale.cli.options import Level, Save, Task
from jaxscale.cli.output import INTERRUPTED, MARKED, complain, deliver, keeping
from jaxscale.cli.parsing import one_of
from jaxscale.utils.errors import ArgumentError

# What commands need is imported inside them, so that help and mistyped options answer at once.
if TYPE_CHECKING:
    from jaxscale.data.observations import Observations
    from jaxscale.law import Law
    from jaxscale.noise.likelihood import Likelihood
    from jaxscale.results.draws import Draws
    from jaxscale.results.fit import Fit
    from jaxscale.results.intervals import Intervals
    from jaxscale.utils.notices import Notice

# Options of a fit that foretelling has its own way with, and what it says of them.
_FITTED_ITS_OWN_WAY: dict[str, str] = dict.fromkeys(
    ("noise", "starts", "polish", "noise_level"),
    "fits by least squares from its own starts",
)
_FITTED_ITS_OWN_WAY["checkpoint"] = "keeps no parts to go on from"


def posterior(
    task: Task,
    *,
    method: Annotated[str, typer.Option(help="auto, importance, nuts or laplace; auto takes what can be trusted.")] = (
        "auto"
    ),
    likelihood: Annotated[
        str | None, typer.Option(help=f"{', '.join(LIKELIHOODS[:-1])} or {LIKELIHOODS[-1]}; in place of --noise.")
    ] = None,
    scale_by: Annotated[
        str | None, typer.Option(help="level or group: what the scatter depends on, where it is not one for all.")
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the number of trials, where responses are counts or shares."),
    ] = None,
    censored: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that is 1 where the response is only a lower bound.")
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIST", help="A prior, such as alpha=Normal(0.3,0.1); may be repeated."),
    ] = None,
    num_chains: Annotated[int, typer.Option(help="Chains of NUTS.")] = 8,
    num_samples: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    num_warmup: Annotated[int, typer.Option(help="Warm-up draws of each chain, which are dropped.")] = 500,
    level: Level = 0.9,
    save: Save = None,
) -> None:
    """Draw from the posterior distribution of the parameters, given data and priors."""
    from jaxscale.cli import parsing
    from jaxscale.results.intervals import check_level
    from jaxscale.sampling import adaptive_sampler
    from jaxscale.sampling import posterior as sampling

    task.refuse_sigma("posterior")
    _check_outputs(task, save)
    if task.group is not None and not task.pool and scale_by != "group":
        raise ArgumentError(
            "group",
            "needs --pool NAME=partial or NAME=none, for parameters that groups do not share, or "
            "--scale-by group, for their scatter; add one of them or leave out --group.",
        )
    check_level(level)
    adaptive_sampler.refuse(method, num_chains, num_samples, num_warmup)
    settings: dict[str, Any] = {
        "priors": {name: prior_of(name, text) for name, text in _given(prior, "priors", "NAME=DIST").items()},
        "pooling": task.pooling(),
        "method": method,
        "num_chains": num_chains,
        "num_samples": num_samples,
        "num_warmup": num_warmup,
        "seed": task.seed,
    }
    if likelihood is None:
        without(scale_by=scale_by, trials=trials, censored=censored)
        fitted = task.fitted(
            part="fit", check=lambda rows: refuse_model(task, rows, settings["priors"], settings["pooling"])
        )
        source, notices = (fitted, None), fitted.notices
    else:
        law = task.found()
        settings["likelihood"], more = likelihood_of(task, law, likelihood, scale_by, trials, censored)
        settings["fixed"] = task.fixed()
        observations = task.observations(law, more)
        source, notices = (
            (law, observations),
            _design(task, law, observations, settings["likelihood"]),
        )
        parsing.enable_compilation_cache()
    with keeping(task.checkpoint):
        drawn = sampling.posterior(*source, checkpoint=task.inside("posterior"), **settings)
    _end(task, drawn.intervals(level), notices, drawn.observations, drawn=drawn, save=save)


def bootstrap(
    task: Task,
    *,
    kind: Annotated[str, typer.Option(help="case, cluster, residual, wild or parametric.")] = "case",
    cluster: Annotated[
        str | None, typer.Option(metavar="UNIT", help="What the kinds cluster and wild keep together: run or group.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Resamples.")] = 1000,
    intervals: Annotated[str, typer.Option(help="percentile, basic, bca or studentised.")] = "percentile",
    level: Level = 0.9,
    save: Save = None,
) -> None:
    """Bootstrap a fit: intervals from refits of resampled data."""
    from jaxscale.resampling import bootstrap as bootstrap_module
    from jaxscale.resampling import intervals as intervals_module
    from jaxscale.results.intervals import check_level

    _check_outputs(task, save)
    check_level(level)
    if cluster != "group":
        task.refuse_unused_groups("--cluster group, which resamples whole groups, or ")
    one_of("kind", kind, bootstrap_module.KINDS)
    one_of("method", intervals, intervals_module.METHODS)
    law, fixed = task.found(), task.fixed()
    noise = task.noise_of(law)
    bootstrap_module.refuse(kind, cluster, "rademacher", resamples, noise.loss)
    intervals_module.refuse(intervals, noise)

    def check(rows: "Observations") -> None:
        free = [name for name in task.grouped(law, rows).parameters if name not in fixed]
        bootstrap_module.unit_of(rows, free, cluster, kind)

    fitted = task.fitted(part="fit", pooling=task.pooling(), check=check)
    begun = time.perf_counter()
    with keeping(task.checkpoint):
        drawn = bootstrap_module.bootstrap(
            fitted,
            kind=kind,
            cluster=cluster,
            n_resamples=resamples,
            seed=task.seed,
            checkpoint=task.inside("bootstrap"),
        )
    table = intervals_module.bootstrap_intervals(drawn, fitted, level=level, method=intervals)
    _end(
        task,
        _from_fit(table, fitted, begun),
        fitted.notices,
        fitted.observations,
        drawn=drawn,
        save=save,
        status=fitted.status,
    )


def profile(
    task: Task,
    *,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A parameter; all unless given; may be repeated.")
    ] = None,
    level: Level = 0.9,
) -> None:
    """Compute profile likelihood intervals."""
    from jaxscale.profiling import profile as profiling
    from jaxscale.results.intervals import check_level

    task.check_outputs()
    task.refuse_unused_groups()
    check_level(level)
    law, fixed = task.found(), task.fixed()

    def check(rows: "Observations") -> None:
        for name in param or ():
            one_of("params", name, task.grouped(law, rows).parameters)
            if name in fixed:
                raise ArgumentError("params", f"names {name}, which --fix holds; leave out one of the two.")

    fitted = task.fitted(part="fit", pooling=task.pooling(), check=check)
    begun = time.perf_counter()
    found = profiling.profile(fitted, param or None, level=level, seed=task.seed)
    _end(task, _from_fit(found.intervals(), fitted, begun), fitted.notices, fitted.observations, status=fitted.status)


def forecast(
    task: Task,
    *,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBERS", help="Inputs of the new runs, such as N=7e10,4e11; for every input."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The input that is the size, or several; all unless given."),
    ] = None,
    level: Level = 0.9,
) -> None:
    """Forecast larger runs, with intervals that allow for error in the form of the law."""
    from jaxscale.cli import parsing
    from jaxscale.prediction import forecast as forecasting
    from jaxscale.results.intervals import check_level

    task.check_outputs()
    task.refuse_groups("forecast")
    task.refuse_sigma("forecast")
    check_level(level)
    own_way = _FITTED_ITS_OWN_WAY | dict.fromkeys(task.settings, _FITTED_ITS_OWN_WAY["noise"])
    for name, how in own_way.items():
        if name in task.settings or getattr(task, name) != getattr(Task, name):
            raise ArgumentError(name, f"must not be given to forecast, which {how}; leave it out.")
    law = task.found()
    places = parsing.lists(at, "at")
    if not places:
        wanted = " ".join(f"--at {name}=..." for name in law.sources or law.inputs)
        raise ArgumentError("at", f"must give the inputs of the new runs: {wanted}.")
    observations = task.observations(law)
    parsing.enable_compilation_cache()
    begun = time.perf_counter()
    found = forecasting.forecast(
        law,
        observations,
        at=places,
        size=size or None,
        level=level,
        fixed=task.fixed(),
        space=None if task.space is None else task.noise_of(law).space,
        seed=task.seed,
        allow_unidentified=task.allow_unidentified,
    )
    about = {**found.about, "seconds": time.perf_counter() - begun}
    _end(task, replace(found, about=about, notices=()), found.notices, observations, status=about["status"])


def _check_outputs(task: Task, save: Path | None) -> None:
    from jaxscale.bayes import arviz_io

    task.check_outputs(save)
    if save is not None:
        arviz_io.refuse_ending(save)


def _given(entries: list[str] | None, argument: str, shape: str) -> dict[str, str]:
    from jaxscale.cli import parsing

    return parsing.assignments(entries, argument, shape)


def _design(task: Task, law: "Law", observations: "Observations", likelihood: "Likelihood") -> "list[Notice]":
    """What a fit would say of its data; refuses runs that cannot identify the law, unless that is allowed.

    Args:
        task: the options.
        law: the law.
        observations: the data.
        likelihood: how responses scatter; that of counts looks at the responses itself.
    """
    from jaxscale.data.features import prepare
    from jaxscale.data.validation import validate
    from jaxscale.fitting.fit import fit
    from jaxscale.identification import identifiability
    from jaxscale.noise import squared

    rows, fixed = prepare(law, observations), task.fixed()
    free = [name for name in law.parameters if name not in fixed]
    notices = [] if likelihood.counts else validate(law, rows, free, likelihood.space)
    design = identifiability.check_in_any_unit(law, rows.inputs, fixed, task.noise_level, rows.weight)
    if design is not None and design.verdict == "identified":
        return notices
    # What the inputs alone leave in doubt a fit decides.
    settings: Any = dict(fixed=fixed, n_resamples=0, noise_level=task.noise_level)
    settings["noise"] = squared("linear") if likelihood.counts else None
    fitted = fit(law, rows, allow_unidentified=task.allow_unidentified, progress=False, **settings)
    return [*notices, *(notice for notice in fitted.notices if notice.code == "unidentified")]


def _from_fit(intervals: "Intervals", fitted: "Fit", begun: float) -> "Intervals":
    """Intervals that say which loss was fitted, and how long the refits took."""
    told = {"fitted_with": fitted.noise.describe(), "seconds": time.perf_counter() - begun}
    return replace(intervals, about={**intervals.about, **told})


def _end(
    task: Task,
    intervals: "Intervals",
    notices: "Collection[Notice]",
    data: "Observations | None",
    *,
    drawn: "Draws | None" = None,
    save: Path | None = None,
    status: str = "converged",
) -> None:
    """Write what was asked for, print the report, and leave with the status that the result deserves."""
    from jaxscale.results import intervals_report
    from jaxscale.utils.files import replace_nonfinite

    about = {**intervals.about, **({"fixed": task.fixed()} if task.fix else {})}
    intervals = replace(intervals, about=about, notices=(*notices, *intervals.notices))
    files: dict[Path, Callable[[], bytes]] = {}
    if task.json_path is not None:
        entries = {"khat": None, "divergences": None, **intervals.to_dict()}
        files[task.json_path] = lambda: (
            json.dumps(replace_nonfinite(entries), indent=2, allow_nan=False) + "\n"
        ).encode()
    if save is not None and drawn is not None:
        files[save] = lambda: _saved(drawn)
    deliver(lambda: intervals_report.text(intervals, data), files, task.quiet)
    if any(notice.code == "interrupted" for notice in intervals.notices):
        where = f"; the same command goes on in {task.checkpoint}" if task.checkpoint is not None else ""
        complain(f"interrupted, and what was finished is kept{where}.")
        raise typer.Exit(INTERRUPTED)
    if status != "converged":
        complain(f"fitted, but {status.replace('_', ' ')}; see the notices of the report.")
        raise typer.Exit(MARKED)
    if drawn is not None and not drawn.ok:
        complain("drawn, but not to be acted on; see the notices of the report.")
        raise typer.Exit(MARKED)


def _saved(drawn: "Draws") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        drawn.save(Path(folder, "draws.nc"))
        return Path(folder, "draws.nc").read_bytes()


# Each command, and the shared options that it does not show.
COMMANDS = {posterior: (), bootstrap: (), profile: (), forecast: ("group", "pool", *_FITTED_ITS_OWN_WAY)}
