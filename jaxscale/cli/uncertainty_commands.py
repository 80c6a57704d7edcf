"""Commands for uncertainty: ``jaxscale posterior``, ``bootstrap``, ``profile`` and ``forecast``."""

import json
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxscale.cli.model_options import LIKELIHOODS, check_model, likelihood_of, prior_of, require_likelihood
from jaxscale.cli.options import Level, Save, Task
from jaxscale.cli.output import INTERRUPTED, MARKED, complain, deliver, keeping
from jaxscale.cli.parsing import one_of
from jaxscale.utils.errors import ArgumentError

# Commands import what they need, so that help and errors in options are immediate.
if TYPE_CHECKING:
    from jaxscale.data.observations import Observations
    from jaxscale.law import Law
    from jaxscale.noise.likelihood import Likelihood
    from jaxscale.results.draws import Draws
    from jaxscale.results.fit import Fit
    from jaxscale.results.intervals import Intervals
    from jaxscale.utils.notices import Notice

# Options of a fit that forecasts do not support, with the reason.
_UNSUPPORTED: dict[str, str] = dict.fromkeys(
    ("noise", "starts", "polish", "noise_level"),
    "fits by least squares from its own starts",
)
_UNSUPPORTED["checkpoint"] = "has no checkpoint"


def posterior(
    task: Task,
    *,
    method: Annotated[
        str,
        typer.Option(
            help="auto, importance, nuts or laplace (normal approximation); auto is importance with nuts as fallback."
        ),
    ] = ("auto"),
    likelihood: Annotated[
        str | None, typer.Option(help=f"{', '.join(LIKELIHOODS[:-1])} or {LIKELIHOODS[-1]}; in place of --noise.")
    ] = None,
    scale_by: Annotated[
        str | None,
        typer.Option(
            help="Heteroscedastic noise: level (scale a power of the expected response) or group (a scale per group)."
        ),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the number of trials of binomial counts."),
    ] = None,
    censored: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that is 1 where the response is right-censored.")
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIST", help="Prior of a parameter, such as alpha=Normal(0.3,0.1); repeatable."),
    ] = None,
    num_chains: Annotated[int, typer.Option(help="Number of chains of NUTS.")] = 8,
    num_samples: Annotated[int, typer.Option(help="Draws per chain after warm-up.")] = 1000,
    num_warmup: Annotated[int, typer.Option(help="Warm-up draws per chain.")] = 500,
    level: Level = 0.9,
    save: Save = None,
) -> None:
    """Sample the posterior distribution of the parameters."""
    from jaxscale.cli import parsing
    from jaxscale.results.intervals import check_level
    from jaxscale.sampling import adaptive_sampler
    from jaxscale.sampling import posterior as sampling

    task.reject_sigma("posterior")
    _check_outputs(task, save)
    if task.group is not None and not task.pool and scale_by != "group":
        raise ArgumentError(
            "group",
            "needs --pool NAME=partial or NAME=none, for parameters that groups do not share, or "
            "--scale-by group, for a noise scale per group; add one of them or leave out --group.",
        )
    check_level(level)
    adaptive_sampler.check_settings(method, num_chains, num_samples, num_warmup)
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
        require_likelihood(scale_by=scale_by, trials=trials, censored=censored)
        fitted = task.fit(
            part="fit", check=lambda rows: check_model(task, rows, settings["priors"], settings["pooling"])
        )
        source, notices = (fitted, None), fitted.notices
    else:
        law = task.resolve_law()
        settings["likelihood"], more = likelihood_of(task, law, likelihood, scale_by, trials, censored)
        settings["fixed"] = task.fixed()
        observations = task.observations(law, more)
        source, notices = (
            (law, observations),
            _design(task, law, observations, settings["likelihood"]),
        )
        parsing.enable_compilation_cache()
    with keeping(task.checkpoint):
        draws = sampling.posterior(*source, checkpoint=task.checkpoint_folder("posterior"), **settings)
    _finish(task, draws.intervals(level), notices, draws.observations, draws=draws, save=save)


def bootstrap(
    task: Task,
    *,
    kind: Annotated[str, typer.Option(help="case, cluster, residual, wild or parametric.")] = "case",
    cluster: Annotated[
        str | None,
        typer.Option(metavar="UNIT", help="Resampling unit of the cluster and wild bootstrap: run or group."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Number of resamples.")] = 1000,
    intervals: Annotated[str, typer.Option(help="percentile, basic, bca or studentised.")] = "percentile",
    level: Level = 0.9,
    save: Save = None,
) -> None:
    """Compute bootstrap confidence intervals."""
    from jaxscale.resampling import bootstrap as bootstrap_module
    from jaxscale.resampling import intervals as intervals_module
    from jaxscale.results.intervals import check_level

    _check_outputs(task, save)
    check_level(level)
    if cluster != "group":
        task.reject_unused_groups("--cluster group, which resamples whole groups, or ")
    one_of("kind", kind, bootstrap_module.KINDS)
    one_of("method", intervals, intervals_module.METHODS)
    law, fixed = task.resolve_law(), task.fixed()
    noise = task.noise_of(law)
    bootstrap_module.check_arguments(kind, cluster, "rademacher", resamples, noise.loss)
    intervals_module.check_method(intervals, noise)

    def check(rows: "Observations") -> None:
        free = [name for name in task.apply_pooling(law, rows).parameters if name not in fixed]
        bootstrap_module.unit_of(rows, free, cluster, kind)

    fitted = task.fit(part="fit", pooling=task.pooling(), check=check)
    start_time = time.perf_counter()
    with keeping(task.checkpoint):
        draws = bootstrap_module.bootstrap(
            fitted,
            kind=kind,
            cluster=cluster,
            n_resamples=resamples,
            seed=task.seed,
            checkpoint=task.checkpoint_folder("bootstrap"),
        )
    table = intervals_module.bootstrap_intervals(draws, fitted, level=level, method=intervals)
    _finish(
        task,
        _from_fit(table, fitted, start_time),
        fitted.notices,
        fitted.observations,
        draws=draws,
        save=save,
        status=fitted.status,
    )


def profile(
    task: Task,
    *,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Parameter to profile; default: all; repeatable.")
    ] = None,
    level: Level = 0.9,
) -> None:
    """Compute profile likelihood intervals."""
    from jaxscale.profiling import profile as profiling
    from jaxscale.results.intervals import check_level

    task.check_outputs()
    task.reject_unused_groups()
    check_level(level)
    law, fixed = task.resolve_law(), task.fixed()

    def check(rows: "Observations") -> None:
        for name in param or ():
            one_of("params", name, task.apply_pooling(law, rows).parameters)
            if name in fixed:
                raise ArgumentError("params", f"names {name}, which --fix holds; leave out one of the two.")

    fitted = task.fit(part="fit", pooling=task.pooling(), check=check)
    start_time = time.perf_counter()
    result = profiling.profile(fitted, param or None, level=level, seed=task.seed)
    _finish(
        task,
        _from_fit(result.intervals(), fitted, start_time),
        fitted.notices,
        fitted.observations,
        status=fitted.status,
    )


def forecast(
    task: Task,
    *,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBERS", help="Inputs of the new runs, such as N=7e10,4e11; once per input."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Input that measures size; default: the product of all; repeatable."),
    ] = None,
    level: Level = 0.9,
) -> None:
    """Forecast larger runs, with prediction intervals that include model discrepancy."""
    from jaxscale.cli import parsing
    from jaxscale.prediction import forecast as forecasting
    from jaxscale.results.intervals import check_level

    task.check_outputs()
    task.reject_groups("forecast")
    task.reject_sigma("forecast")
    check_level(level)
    own_way = _UNSUPPORTED | dict.fromkeys(task.settings, _UNSUPPORTED["noise"])
    for name, how in own_way.items():
        if name in task.settings or getattr(task, name) != getattr(Task, name):
            raise ArgumentError(name, f"must not be given to forecast, which {how}; leave it out.")
    law = task.resolve_law()
    places = parsing.lists(at, "at")
    if not places:
        example = " ".join(f"--at {name}=..." for name in law.sources or law.inputs)
        raise ArgumentError("at", f"must give the inputs of the new runs: {example}.")
    observations = task.observations(law)
    parsing.enable_compilation_cache()
    start_time = time.perf_counter()
    result = forecasting.forecast(
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
    about = {**result.about, "seconds": time.perf_counter() - start_time}
    _finish(task, replace(result, about=about, notices=()), result.notices, observations, status=about["status"])


def _check_outputs(task: Task, save: Path | None) -> None:
    from jaxscale.bayes import arviz_io

    task.check_outputs(save)
    if save is not None:
        arviz_io.check_extension(save)


def _given(entries: list[str] | None, argument: str, shape: str) -> dict[str, str]:
    from jaxscale.cli import parsing

    return parsing.assignments(entries, argument, shape)


def _design(task: Task, law: "Law", observations: "Observations", likelihood: "Likelihood") -> "list[Notice]":
    """Notices on the data and the design; raises an error for unidentified parameters unless that is allowed.

    Args:
        task: the options.
        law: the law.
        observations: the data.
        likelihood: likelihood of the responses; that of counts validates the responses itself.
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
    # A fit decides where the inputs alone are inconclusive.
    settings: Any = dict(fixed=fixed, n_resamples=0, noise_level=task.noise_level)
    settings["noise"] = squared("linear") if likelihood.counts else None
    fitted = fit(law, rows, allow_unidentified=task.allow_unidentified, progress=False, **settings)
    return [*notices, *(notice for notice in fitted.notices if notice.code == "unidentified")]


def _from_fit(intervals: "Intervals", fitted: "Fit", start_time: float) -> "Intervals":
    """Intervals with the noise of the fit and the run time."""
    entries = {"fitted_with": fitted.noise.describe(), "seconds": time.perf_counter() - start_time}
    return replace(intervals, about={**intervals.about, **entries})


def _finish(
    task: Task,
    intervals: "Intervals",
    notices: "Collection[Notice]",
    data: "Observations | None",
    *,
    draws: "Draws | None" = None,
    save: Path | None = None,
    status: str = "converged",
) -> None:
    """Write the requested files, print the report, and exit with the status of the result."""
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
    if save is not None and draws is not None:
        files[save] = lambda: _netcdf_bytes(draws)
    deliver(lambda: intervals_report.text(intervals, data), files, task.quiet)
    if any(notice.code == "interrupted" for notice in intervals.notices):
        where = f"; the same command resumes from {task.checkpoint}" if task.checkpoint is not None else ""
        complain(f"interrupted; finished draws are kept{where}.")
        raise typer.Exit(INTERRUPTED)
    if status != "converged":
        complain(f"fitted, but {status.replace('_', ' ')}; see the notices of the report.")
        raise typer.Exit(MARKED)
    if draws is not None and not draws.ok:
        complain("sampled, but not usable; see the notices of the report.")
        raise typer.Exit(MARKED)


def _netcdf_bytes(draws: "Draws") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        draws.save(Path(folder, "draws.nc"))
        return Path(folder, "draws.nc").read_bytes()


# Commands with their hidden shared options.
COMMANDS = {posterior: (), bootstrap: (), profile: (), forecast: ("group", "pool", *_UNSUPPORTED)}
