"""Options for statistical models: likelihoods with their settings, and priors."""

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxscale.cli.options import Task
from jaxscale.cli.parsing import one_of
from jaxscale.utils.errors import ArgumentError, UsageError, did_you_mean

# Functions import what they need, so that help and errors in options are immediate.
if TYPE_CHECKING:
    from jaxscale.data.observations import Observations
    from jaxscale.law import Law
    from jaxscale.noise.likelihood import Likelihood


def _likelihoods() -> tuple[str, ...]:
    """The names of the likelihoods, parsed from their files, since importing these would import JAX."""
    import ast
    from pathlib import Path

    import jaxscale

    names: list[str] = []
    for file in Path(jaxscale.__file__).parent.glob("noise/*_likelihoods.py"):
        for statement in ast.parse(file.read_bytes()).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                names += ast.literal_eval(statement.value)
    return tuple(sorted(names))


LIKELIHOODS = _likelihoods()
_SCALES = ("constant", "level", "group")


def require_likelihood(**options: Any) -> None:
    """Reject options that need a likelihood.

    Raises:
        ValueError: one of them is given.
    """
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(name, "needs a likelihood that uses it; see --likelihood.")


def likelihood_of(
    task: Task, law: "Law", name: str, scale_by: str | None, trials: str | None, censored: str | None
) -> tuple["Likelihood", dict[str, str]]:
    """The requested likelihood, and the columns that it needs by input."""
    from jaxscale.noise import default, likelihoods

    one_of("likelihood", name, LIKELIHOODS)
    make = getattr(likelihoods, name)
    takes = inspect.signature(make).parameters
    options: dict[str, Any] = {"space": task.space, "scale_by": scale_by, "trials": trials, "censored": censored}
    for option, value in {"noise": task.noise, **task.settings, **options}.items():
        if value is not None and option not in takes:
            raise ArgumentError(option, f"must not be given with --likelihood {name}; leave it out.")
    if "trials" in takes and trials is None:
        raise UsageError(
            f"Option --likelihood {name} needs the number of trials; name its column with --trials.", argument="trials"
        )
    if scale_by is not None:
        one_of("scale_by", scale_by, _SCALES)
    settings = {key: value for key, value in options.items() if value is not None}
    settings |= {key: _number(key, text) for key, text in task.settings.items()}
    if "space" in takes:
        settings.setdefault("space", default(law.response).space)
    columns = {key: _free_name(key, law) for key in ("trials", "censored") if key in settings}
    return make(**settings | columns), {own: settings[key] for key, own in columns.items()}


def counts_of(task: Task, law: "Law", name: str, trials: str | None) -> tuple["Likelihood", dict[str, str]]:
    """The likelihood of counts of a fit, and the columns that it needs by input.

    Raises:
        ValueError: the likelihood is unknown, or not one of counts.
    """
    likelihood, columns = likelihood_of(task, law, name, None, trials, None)
    if not likelihood.counts:
        raise ArgumentError(
            "likelihood", f"must be one of counts for a fit, but is {name!r}; use --noise for residuals."
        )
    return likelihood, columns


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(option, f"must be a number, but is {text!r}.") from None


def _free_name(name: str, law: "Law") -> str:
    """A name that is not an input of the law."""
    while name in (*law.inputs, *law.sources):
        name += "_"
    return name


def prior_of(name: str, text: str) -> Any:
    """A NumPyro distribution from text such as ``Normal(0.3, 0.1)``, without evaluating code."""
    import jax
    import numpyro.distributions as dist

    prefix = f"gives {name} {text!r}"
    match = re.fullmatch(r"([A-Za-z]\w*)\s*\(([^()]*)\)", text)
    if match is None:
        raise ArgumentError(
            "priors", f"{prefix}; write a distribution and its numbers, such as {name}=Normal(0.3,0.1)."
        )
    kind, inside = match.groups()
    # Lower-case names are functions.
    known = [each for each in dist.__all__ if each[0].isupper()]
    if kind not in known:
        raise ArgumentError("priors", f"{prefix}, but NumPyro has no distribution {kind!r}{did_you_mean(kind, known)}.")
    places, names = [], {}
    for part in inside.split(",") if inside.strip() else []:
        key, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ArgumentError("priors", f"{prefix}, but {part.strip()!r} is not a number.") from None
        if equals:
            names[key.strip()] = value
        else:
            places.append(value)
    with jax.enable_x64(True):
        try:
            make = getattr(dist, kind)
            make(*places, **names, validate_args=True)
            distribution = make(*places, **names)
        except TypeError:
            takes = [each for each in inspect.signature(make).parameters if each != "validate_args"]
            raise ArgumentError("priors", f"{prefix}, but {kind} takes {', '.join(takes)}.") from None
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ArgumentError("priors", f"{prefix}, which is not a distribution: {reason}.") from None
    if not isinstance(distribution, dist.Distribution) or getattr(distribution.support, "is_discrete", True):
        raise ArgumentError("priors", f"{prefix}, but a parameter needs a distribution of real numbers.")
    return distribution


def check_model(
    task: Task, observations: "Observations", priors: Mapping[str, Any], pooling: Mapping[str, str]
) -> None:
    """Validate the priors and pooling of a posterior before the fit that precedes it.

    Args:
        task: the options.
        observations: the data.
        priors: parameter to distribution.
        pooling: parameter to "complete", "partial" or "none".

    Raises:
        DataError: the data do not suit the law, or have no groups.
        ValueError: a name is unknown or fixed.
    """
    import jax

    from jaxscale.bayes.build_model import model_of
    from jaxscale.data.features import prepare
    from jaxscale.data.validation import validate
    from jaxscale.noise import likelihoods

    law, fixed = task.resolve_law(), task.fixed()
    with jax.enable_x64(True):
        rows = prepare(law, observations)
        likelihood = likelihoods.of_noise(task.noise_of(law))
        validate(law, rows, [name for name in law.parameters if name not in fixed], likelihood.space)
        model_of(law, rows, likelihood, given=priors, fixed=fixed, pooling=pooling)
