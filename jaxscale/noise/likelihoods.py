"""Likelihoods of responses given a law, for posteriors and for fits of counts.

A fit minimises a loss; a posterior needs a density. Residuals in a space (log, linear, logit) are normal, Student-t or
Laplace, with an inferred scale; or the response is a count, with or without a number of trials. Counts with trials
need an input with the number of trials, censored responses an input that is 1 where the response is only a lower
bound: map their columns in ``Observations.from_table(inputs=...)`` in addition to the inputs of the law.
"""

from importlib import import_module
from pathlib import Path

from jaxscale.law import Response
from jaxscale.noise.count_likelihoods import *  # noqa: F403
from jaxscale.noise.count_loss import CountLoss
from jaxscale.noise.likelihood import Likelihood as Likelihood
from jaxscale.noise.likelihood import replicate as replicate
from jaxscale.noise.noise import Noise, default
from jaxscale.noise.residual_likelihoods import *  # noqa: F403
from jaxscale.noise.residual_likelihoods import normal, student_t

# Every file of this folder whose name ends so; the two that are imported above are named for type checkers only.
MODULES = tuple(
    import_module(f"jaxscale.noise.{file.stem}") for file in sorted(Path(__file__).parent.glob("*_likelihoods.py"))
)
globals().update({name: getattr(module, name) for module in MODULES for name in module.__all__})


def of_noise(noise: Noise) -> Likelihood:
    """Likelihood that corresponds to a noise; for Huber and absolute losses it is Student-t."""
    if isinstance(noise.loss, CountLoss):
        return noise.loss.likelihood
    if noise.loss.quadratic:
        return normal(noise.space)
    return student_t(noise.loss.settings.get("df"), noise.space)


def of_response(response: Response) -> Likelihood:
    """Likelihood that corresponds to the default noise of a response."""
    return of_noise(default(response))


def classes() -> dict[str, type[Likelihood]]:
    """All likelihoods by name."""
    values = [value for module in MODULES for value in vars(module).values()]
    kinds = [value for value in values if isinstance(value, type) and issubclass(value, Likelihood) and value.name]
    return {each.name: each for each in kinds}
