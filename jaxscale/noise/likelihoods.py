"""Likelihoods: how responses scatter about a law, for posteriors.

A fit minimises a loss; a posterior needs a density. Residuals are taken in a space (log, linear, logit) and are
normal, Student-t or Laplace there, with an inferred scale; or the response is a share of counted successes. Counts
need an input that holds the number of trials, censored responses one that holds 1 where the response is only a
lower bound: name their columns in ``Observations.from_table(inputs=...)`` beside the law's own inputs.
"""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.special as special
import jax.scipy.stats as stats
import numpy as np

from jaxscale.law import Response
from jaxscale.noise.noise import Noise, default
from jaxscale.noise.spaces import SPACES

Family = Literal["normal", "student_t", "laplace", "binomial", "beta_binomial"]
ScaleBy = Literal["constant", "level", "group"]
COUNTS = ("binomial", "beta_binomial")
# Gauss-Legendre on the interval from 0 to 1.
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(64) + np.array([[1.0], [0.0]])) * 0.5


class Likelihood(eqx.Module):
    """A density of responses about the law; make one with :func:`normal`, :func:`student_t`, :func:`laplace`, ...

    Args:
        family: of the residuals or counts.
        space: where residuals are taken.
        df: degrees of freedom of Student-t; inferred where None.
        scale_by: "constant": one scale; "level": ``scale * law**power``; "group": a scale for every group.
        runs: whether the rows of a run share a random effect, normal with standard deviation ``run_ratio`` in units of
            each row's own scale; None: where a run has several rows.
        trials: input that holds the number of trials, for counts.
        censored: input that is 1 where the response is only a lower bound.
    """

    family: Family = eqx.field(static=True)
    space: str = eqx.field(static=True, default="linear")
    df: Any = eqx.field(default=None, converter=lambda v: None if v is None else np.asarray(v, float))
    scale_by: ScaleBy = eqx.field(static=True, default="constant")
    runs: bool | None = eqx.field(static=True, default=None)
    trials: str | None = eqx.field(static=True, default=None)
    censored: str | None = eqx.field(static=True, default=None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs that it needs beside those of the law."""
        return tuple(name for name in (self.trials, self.censored) if name is not None)

    @property
    def marginal(self) -> bool:
        """Whether the effects of runs are integrated out: in closed form where normal, else by quadrature."""
        return bool(self.runs) and self.family in ("normal", "student_t") and self.censored is None

    def describe(self) -> str:
        """The likelihood in words, as a report prints it."""
        if self.family in COUNTS:
            told = self.family.replace("_", "-") + " counts"
        else:
            freedom = "" if self.family != "student_t" else f"(df {'inferred' if self.df is None else f'{self.df:g}'})"
            told = f"{self.family}{freedom} on {self.space} residuals"
            told += {"constant": "", "level": ", scale a power of the level", "group": ", a scale for each group"}[
                self.scale_by
            ]
        return told + (", with an effect of each run" if self.runs else "")


def normal(
    space: str = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> Likelihood:
    """Normal residuals, ``t(y) ~ Normal(t(law), scale)``."""
    return _checked(Likelihood("normal", space, None, scale_by, runs, None, censored))


def student_t(
    df: float | None = None,
    space: str = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> Likelihood:
    """Student-t residuals, ``t(y) ~ StudentT(df, t(law), scale)``; the degrees of freedom are inferred where None."""
    if df is not None and not df > 0:
        raise ValueError(f"Argument df must be above 0, but is {df!r}.")
    return _checked(Likelihood("student_t", space, df, scale_by, runs, None, censored))


def laplace(
    space: str = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> Likelihood:
    """Laplace residuals, ``t(y) ~ Laplace(t(law), scale)``."""
    return _checked(Likelihood("laplace", space, None, scale_by, runs, None, censored))


def binomial(trials: str) -> Likelihood:
    """Counted successes, ``successes ~ Binomial(trials, law)``.

    Args:
        trials: input that holds the number of trials. The response is the number of successes (whole numbers, some of
            them above 1) or their share of the trials; 0 and 1 are allowed.
    """
    return Likelihood("binomial", trials=trials, runs=False)


def beta_binomial(trials: str) -> Likelihood:
    """Counts that scatter more: ``successes ~ BetaBinomial(trials, mean law, inferred concentration)``.

    Args:
        trials: as for :func:`binomial`.
    """
    return Likelihood("beta_binomial", trials=trials, runs=False)


def _checked(likelihood: Likelihood) -> Likelihood:
    if likelihood.space not in SPACES:
        raise ValueError(f"Argument space must be one of {', '.join(SPACES)}, but is {likelihood.space!r}.")
    if likelihood.scale_by not in ("constant", "level", "group"):
        raise ValueError(f"Argument scale_by must be constant, level or group, but is {likelihood.scale_by!r}.")
    return likelihood


def of_noise(noise: Noise) -> Likelihood:
    """The likelihood that a noise stands for: Huber and absolute losses are none and become Student-t."""
    if noise.loss.quadratic:
        return normal(noise.space.name)
    return student_t(noise.loss.settings.get("df"), noise.space.name)


def of_response(response: Response) -> Likelihood:
    """The likelihood of the default noise for a response."""
    return of_noise(default(response))


def stretch(space: str, y: Any) -> Any:
    """``log |t'(y)|``: what turns a density of residuals into one of responses."""
    return SPACES[space].log_derivative(y)


def scales(likelihood: Likelihood, sites: Mapping[str, Any], level: Any, group: Any) -> Any:
    """The scale of every row's residual, shape (n,)."""
    if likelihood.scale_by == "level":
        return sites["scale"] * jnp.exp(sites["power"] * jnp.log(jnp.abs(level)))
    return sites["scale"][group] if likelihood.scale_by == "group" else jnp.broadcast_to(sites["scale"], level.shape)


def rows(likelihood: Likelihood, sites: Mapping[str, Any], level: Any, y: Any, data: Mapping[str, Any]) -> Any:
    """Log density of every row's residual (or count) about the law's value, shape (n,); ``data`` as in the model."""
    if likelihood.family in COUNTS:
        return _counted(likelihood, sites, level, y, data[str(likelihood.trials)])
    transform = SPACES[likelihood.space].forward
    s = scales(likelihood, sites, level, data["group"])
    offset = 0.0
    if likelihood.runs and not likelihood.marginal:
        offset = sites["run_ratio"] * s * sites["run_effect"][data["run"]]
    t = (transform(y) - transform(level) - offset) / s
    family = likelihood.family
    df = sites.get("df", likelihood.df)
    if family == "normal":
        density, survival = stats.norm.logpdf, stats.norm.logsf
    elif family == "laplace":
        density = stats.laplace.logpdf
        survival = _laplace_survival
    else:
        density = lambda t: stats.t.logpdf(t, df)  # noqa: E731
        survival = lambda t: _t_survival(t, df)  # noqa: E731
    seen = density(t) - jnp.log(s)
    if likelihood.censored is None:
        return seen
    return jnp.where(data[likelihood.censored] > 0, survival(t), seen)


def _laplace_survival(t: Any) -> Any:
    return jnp.where(t > 0, jnp.log(0.5) - t, jnp.log1p(-0.5 * jnp.exp(jnp.minimum(t, 0.0))))


def _t_survival(t: Any, df: Any) -> Any:
    """``log P(T > t)`` by quadrature: the incomplete beta function has no derivative in df, and underflows far out.

    Up to 2 the density is integrated from 0. Further out ``T = sqrt(df) / tan(psi)`` gives the integral of
    ``sin(psi)**(df - 1)`` over ``psi < end``, and ``sin(psi) = sin(end) * exp(-q**2 / df)`` a smooth one over q.
    """
    near, far = jnp.clip(t, -2.0, 2.0), jnp.maximum(jnp.abs(t), 2.0)
    inside = near * jnp.sum(_WEIGHTS * jnp.exp(stats.t.logpdf(near[..., None] * _NODES, df)), axis=-1)
    q = 7.0 * _NODES
    cosine, sine = far * far / (df + far * far), df / (df + far * far)
    slope = 2 * q * jnp.exp(-q * q) / jnp.sqrt(cosine[..., None] - sine[..., None] * jnp.expm1(-2 * q * q / df))
    constant = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df) - 0.5 * jnp.log(jnp.pi) - jnp.log(df)
    tail = constant + 0.5 * df * jnp.log(sine) + jnp.log(7.0 * jnp.sum(_WEIGHTS * slope, axis=-1))
    return jnp.where(jnp.abs(t) < 2, jnp.log(0.5 - inside), jnp.where(t > 0, tail, jnp.log1p(-jnp.exp(tail))))


def _counted(likelihood: Likelihood, sites: Mapping[str, Any], level: Any, share: Any, trials: Any) -> Any:
    k = share * trials
    ways = special.gammaln(trials + 1) - special.gammaln(k + 1) - special.gammaln(trials - k + 1)
    tiny = jnp.finfo(level.dtype).tiny
    p = jnp.clip(level, tiny, 1 - jnp.finfo(level.dtype).epsneg)
    if likelihood.family == "binomial":
        return ways + special.xlogy(k, p) + special.xlog1py(trials - k, -p)
    a, b = p * sites["concentration"], (1 - p) * sites["concentration"]
    return ways + special.betaln(k + a, trials - k + b) - special.betaln(a, b)


def replicated(
    likelihood: Likelihood,
    generator: np.random.Generator,
    sites: Mapping[str, np.ndarray],
    level: np.ndarray,
    data: Mapping[str, np.ndarray],
) -> np.ndarray:
    """New responses for every draw, shape (draws, n): what a posterior predictive check and a forecast look at.

    Args:
        likelihood: the likelihood.
        generator: the source of randomness.
        sites: nuisance by name, leading axis (draws,).
        level: the law's values, shape (draws, n).
        data: ``run`` and ``group`` codes and the likelihood's own columns, shape (n,).
    """
    draws = len(level)
    if likelihood.family in COUNTS:
        trials = np.asarray(data[str(likelihood.trials)]).astype(int)
        p = np.clip(level, 0.0, 1.0)
        if likelihood.family == "beta_binomial":
            c = sites["concentration"][:, None]
            p = generator.beta(np.maximum(p * c, 1e-300), np.maximum((1 - p) * c, 1e-300))
        return generator.binomial(trials, p) / trials
    space = SPACES[likelihood.space]
    scale = sites["scale"]
    s = scale[:, data["group"]] if likelihood.scale_by == "group" else np.broadcast_to(scale[:, None], level.shape)
    if likelihood.scale_by == "level":
        s = s * np.abs(level) ** sites["power"][:, None]
    if likelihood.family == "normal":
        e = generator.standard_normal(level.shape)
    elif likelihood.family == "laplace":
        e = generator.laplace(size=level.shape)
    else:
        df = sites["df"][:, None] if "df" in sites else float(likelihood.df)
        e = generator.standard_t(df, size=level.shape)
    if likelihood.runs:
        codes = np.unique(data["run"], return_inverse=True)[1]
        effect = generator.standard_normal((draws, codes.max() + 1))[:, codes]
        e = e + sites["run_ratio"][:, None] * effect
    return np.asarray(space.inverse(np.asarray(space.forward(level)) + s * e))
