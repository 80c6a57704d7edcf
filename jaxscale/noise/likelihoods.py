"""Likelihoods: how responses scatter about a law, for posteriors and for fits of counts.

A fit minimises a loss; a posterior needs a density. Residuals are taken in a space (log, linear, logit) and are
normal, Student-t or Laplace there, with an inferred scale; or the response is a count, with a number of trials or
without. Counts with trials need an input that holds their number, censored responses one that holds 1 where the
response is only a lower bound: name their columns in ``Observations.from_table(inputs=...)`` beside the law's own
inputs.
"""

from importlib import import_module
from pathlib import Path

from jaxscale.law import Response
from jaxscale.noise.count_likelihoods import *  # noqa: F403
from jaxscale.noise.count_loss import CountLoss
from jaxscale.noise.likelihood import Likelihood as Likelihood
from jaxscale.noise.likelihood import replicated as replicated
from jaxscale.noise.noise import Noise, default
from jaxscale.noise.residual_likelihoods import *  # noqa: F403
from jaxscale.noise.residual_likelihoods import normal, student_t

# Every file of this folder whose name ends so; the two that are imported above are named for type checkers only.
MODULES = tuple(
    import_module(f"jaxscale.noise.{file.stem}") for file in sorted(Path(__file__).parent.glob("*_likelihoods.py"))
)
globals().update({name: getattr(module, name) for module in MODULES for name in module.__all__})


def of_noise(noise: Noise) -> Likelihood:
    """The likelihood that a noise stands for: Huber and absolute losses are none and become Student-t."""
    if isinstance(noise.loss, CountLoss):
        return noise.loss.likelihood
    if noise.loss.quadratic:
        return normal(noise.space)
    return student_t(noise.loss.settings.get("df"), noise.space)


def of_response(response: Response) -> Likelihood:
    """The likelihood of the default noise for a response."""
    return of_noise(default(response))


def classes() -> dict[str, type[Likelihood]]:
    """Every likelihood by name."""
    values = [value for module in MODULES for value in vars(module).values()]
    found = [value for value in values if isinstance(value, type) and issubclass(value, Likelihood) and value.name]
    return {each.name: each for each in found}
