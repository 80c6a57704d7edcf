"""Likelihoods of residuals ``t(y) - t(law)`` in a space (log, linear, logit), with an inferred scale."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.special as special
import jax.scipy.stats as stats
import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.data.observations import Observations
from jaxscale.noise.likelihood import Likelihood, ScaleBy, Site
from jaxscale.noise.losses.squared import squared
from jaxscale.noise.losses.student_t import student_t as student_t_loss
from jaxscale.noise.noise import Noise
from jaxscale.noise.random_effects import student_t_runs
from jaxscale.noise.spaces import Space, space_of
from jaxscale.utils.arrays import Array, Number, Numbers, RandomKey
from jaxscale.utils.errors import ArgumentError, DataError, Setting

__all__ = ["laplace", "normal", "student_t"]

# Gauss-Legendre nodes and weights on the interval from 0 to 1.
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(64) + np.array([[1.0], [0.0]])) * 0.5


class ResidualLikelihood(Likelihood):
    """Abstract likelihood of residuals: ``t(y) = t(law) + scale * (run_ratio * b_run + e)``.

    ``e`` has a standard distribution and ``b_run ~ Normal(0, 1)``.

    Args:
        space: residual space.
        scale_by: "constant": one scale; "level": ``scale * law**power``; "group": a scale for every group.
        runs: whether the rows of a run share a random effect, normal with standard deviation ``run_ratio`` in units of
            each row's own scale; None: if a run has several rows.
        censored: input that is 1 where the response is right-censored.
    """

    space: Space = eqx.field(static=True)
    scale_by: ScaleBy = eqx.field(static=True, default="constant")
    runs: bool | None = eqx.field(static=True, default=None)
    censored: str | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.scale_by not in ("constant", "level", "group"):
            raise ArgumentError("scale_by", f"must be constant, level or group, but is {self.scale_by!r}.")

    @abstractmethod
    def log_density(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log density of a standardised residual."""

    @abstractmethod
    def log_survival(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """``log P(T > t)`` of a standardised residual."""

    @abstractmethod
    def draw_standardised(
        self, key: RandomKey, shape: tuple[int, ...], sites: Mapping[str, Numbers]
    ) -> Float[Array, "..."]:
        """Draw standardised residuals."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Indicator of censoring, if there is one."""
        return () if self.censored is None else (self.censored,)

    @property
    def sampled_with(self) -> tuple[str, ...]:
        """No columns: drawn responses are not censored."""
        return ()

    @property
    def marginal(self) -> bool:
        """False by default."""
        return False

    @property
    def sites(self) -> dict[str, Site]:
        """Sites ``scale`` and, if they are inferred, ``power`` and ``run_ratio``.

        The prior of ``scale`` is log-normal with median 1 % for logs and logits, and wide for linear residuals; that of
        ``run_ratio`` (the standard deviation of runs over that of rows) is log-normal with median 1.
        """
        loc, width = (0.0, 5.0) if not self.space.relative else (math.log(0.01), 2.5)
        sites = {"scale": Site("LogNormal", dict(loc=loc, scale=width), 0.1, by_group=self.scale_by == "group")}
        if self.scale_by == "level":
            sites["power"] = Site("Normal", dict(loc=0.0, scale=2.0), 0.0)
        sites |= self.shape_sites
        if self.runs:
            sites["run_ratio"] = Site("LogNormal", dict(loc=0.0, scale=1.5), 1.0)
        return sites

    @property
    def shape_sites(self) -> dict[str, Site]:
        """Nuisance parameters of the standardised residual."""
        return {}

    @property
    def surrogate(self) -> Noise:
        """Student-t with 4 degrees of freedom."""
        return student_t_loss(4.0, space=self.space)

    @property
    def label(self) -> str:
        """Name of the distribution in :meth:`describe`."""
        return self.name

    def describe(self) -> str:
        """Description of the likelihood, as reports print it."""
        scale = {"constant": "", "level": ", scale a power of the level", "group": ", a scale for each group"}
        effect = ", with an effect of each run" if self.runs else ""
        return f"{self.label} on {self.space} residuals{scale[self.scale_by]}{effect}"

    def bind(self, observations: Observations) -> tuple[Likelihood, Observations]:
        """Return likelihood and observations unchanged."""
        return self, observations

    def check(self, observations: Observations) -> None:
        """Check the indicators of censoring, and that responses are in the support of the space."""
        _check_censored(observations, self.censored)
        y = observations.response[observations.weight > 0]
        domain = self.space.support
        outside = int(np.sum(~((domain.low < y) & (y < domain.high))))
        if outside:
            where = (
                f"between {domain.low:g} and {domain.high:g}" if np.isfinite(domain.high) else f"above {domain.low:g}"
            )
            shares = np.all((y >= 0) & (y <= 1))
            linear = Setting("likelihood", "normal", (Setting("space", "linear"),))
            counts = Setting("likelihood", "binomial", (Setting("trials"),))
            of_counts = (" or, for proportions of counted trials, that of counts (", counts, ")") if shares else ()
            raise DataError(
                f"{observations.name}: {self.space} residuals need responses {where}, but {outside} of {len(y)} are "
                f"not; use a likelihood of linear residuals (",
                linear,
                ")",
                *of_counts,
                ".",
            )

    def check_unambiguous(self, observations: Observations) -> None:
        """Do nothing: responses are never ambiguous."""

    def scales(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], group: Int[Array, " row"]
    ) -> Float[Array, "*lane row"]:
        """Scale of the residual of every row, shape (n,)."""
        if self.scale_by == "level":
            return sites["scale"] * jnp.exp(sites["power"] * jnp.log(jnp.abs(level)))
        return sites["scale"][group] if self.scale_by == "group" else jnp.broadcast_to(sites["scale"], level.shape)

    def log_prob(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Log density ``log p((t(y) - t(law)) / scale) - log(scale)``, or log survival if censored; shape (n,)."""
        transform = self.space.forward
        s = self.scales(sites, level, data["group"])
        offset = 0.0
        if "run_effect" in sites:
            offset = sites["run_ratio"] * s * sites["run_effect"][data["run"]]
        t = (transform(y) - transform(level) - offset) / s
        observed = self.log_density(t, sites) - jnp.log(s)
        if self.censored is None:
            return observed
        return jnp.where(data[self.censored] > 0, self.log_survival(t, sites), observed)

    def log_prob_of_runs(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        y: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
        rows: Int[Array, "run most"],
    ) -> Float[Array, " run"]:
        """Marginal log density of the residuals of every run, shape (runs,) by code (0 for padding).

        The effect ``b ~ Normal(0, run_ratio)`` that the rows of a run share, in units of each row's own scale, is
        integrated out.
        """
        transform = self.space.forward
        of_runs = lambda values: jnp.where(rows >= 0, values[rows], 0.0)  # noqa: E731
        weight = of_runs(data["weight"])
        s = jnp.where(weight > 0, of_runs(self.scales(sites, level, data["group"])), 1.0)
        z = jnp.where(weight > 0, of_runs(transform(y) - transform(level)), 0.0) / s
        return self.log_density_of_runs(z, weight, jnp.sum(weight * jnp.log(s), axis=1), sites)

    def log_density_of_runs(
        self,
        z: Float[Array, "run most"],
        weight: Float[Array, "run most"],
        scaled: Float[Array, " run"],
        sites: Mapping[str, Numbers],
    ) -> Float[Array, " run"]:
        """Log density of standardised residuals z, shape (runs, most), less ``scaled = sum w log s``; shape (runs,).

        Defined where effects of runs are integrated out (``marginal``); elsewhere they are sampled.
        """
        raise NotImplementedError(f"Effects of runs of {self.name} residuals are sampled.")

    def log_jacobian(self, y: Float[Array, " row"], data: Mapping[str, Real[Array, "... row"]]) -> Float[Array, " row"]:
        """Log Jacobian ``log |t'(y)|``; 0 for a censored row, whose likelihood is a probability."""
        slope = self.space.log_derivative(y)
        return slope if self.censored is None else jnp.where(data[self.censored] > 0, 0.0, slope)

    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw responses ``t^-1(t(law) + scale * (run_ratio * b_run + e))``, shape (n,)."""
        first, second = jr.split(key)
        e = self.draw_standardised(first, level.shape, sites)
        if self.runs and "run_effect" in sites:
            e = e + sites["run_ratio"] * sites["run_effect"][data["run"]]
        elif self.runs:
            _, codes = jnp.unique(data["run"], return_inverse=True, size=len(level))
            e = e + sites["run_ratio"] * jr.normal(second, level.shape)[codes]
        return self.space.inverse(self.space.forward(level) + self.scales(sites, level, data["group"]) * e)

    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Return responses unchanged."""
        return response

    def surrogate_data(self, observations: Observations) -> Observations:
        """Return observations unchanged."""
        return observations

    def initial(
        self, residual: Float[np.ndarray, " row"], target: Float[np.ndarray, " row"], free: int
    ) -> dict[str, float]:
        """Initial scale from the size of the residuals, smaller if there are effects of runs."""
        values = {name: site.initial for name, site in self.sites.items()}
        r = residual[np.isfinite(residual)]
        if not len(r):
            return values
        floor = 1e-9 + 1e-9 * np.abs(target).max()
        scale = float(max(self.spread(r, free), floor))
        return values | {"scale": scale / np.sqrt(2.0) if self.runs else scale}

    def spread(self, residual: Float[np.ndarray, " row"], free: int) -> float:
        """Robust standard deviation of residuals: 1.4826 times the median of their absolute values."""
        return 1.4826 * float(np.median(np.abs(residual)))

    def smooth_surrogate(self) -> Likelihood:
        """The likelihood itself."""
        return self

    def with_runs(self, runs: bool) -> Likelihood:
        """Likelihood with or without random effects of runs."""
        return replace(self, runs=runs)

    def of_one_group(self) -> Likelihood:
        """Likelihood with a constant scale in place of a scale for each group."""
        return replace(self, scale_by="constant") if self.scale_by == "group" else self


class Normal(ResidualLikelihood):
    """Normal residuals, ``t(y) ~ Normal(t(law), scale)``."""

    name: ClassVar[str] = "normal"
    calibrated: ClassVar[tuple[ScaleBy, ...]] = ("constant", "level", "group")

    @property
    def marginal(self) -> bool:
        """Whether effects of runs are integrated out: in closed form, without censoring."""
        return bool(self.runs) and self.censored is None

    @property
    def surrogate(self) -> Noise:
        """Squared error, or Student-t with censoring."""
        return squared(self.space) if self.censored is None else student_t_loss(4.0, space=self.space)

    def log_density(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log density ``-t^2 / 2 - log(2 pi) / 2``."""
        return stats.norm.logpdf(t)

    def log_survival(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log survival ``log Phi(-t)``."""
        return stats.norm.logsf(t)

    def draw_standardised(
        self, key: RandomKey, shape: tuple[int, ...], sites: Mapping[str, Numbers]
    ) -> Float[Array, "..."]:
        """Draw from the standard normal distribution."""
        return jr.normal(key, shape)

    def log_density_of_runs(
        self,
        z: Float[Array, "run most"],
        weight: Float[Array, "run most"],
        scaled: Float[Array, " run"],
        sites: Mapping[str, Numbers],
    ) -> Float[Array, " run"]:
        """Log density ``-log(1 + v W) / 2 - (sum w z^2 - v (sum w z)^2 / (1 + v W)) / 2`` up to constants.

        With residuals ``z_i`` in units of their scales, weights ``w_i``, ``W = sum w_i`` and ``v = run_ratio^2``.
        """
        v = sites["run_ratio"] ** 2
        heavy, pulled = jnp.sum(weight, axis=1), jnp.sum(weight * z, axis=1)
        alone = -scaled - jnp.sum(weight * (0.5 * jnp.log(2 * jnp.pi) + 0.5 * z * z), axis=1)
        return alone - 0.5 * jnp.log1p(v * heavy) + 0.5 * v * pulled**2 / (1 + v * heavy)

    def spread(self, residual: Float[np.ndarray, " row"], free: int) -> float:
        """Standard deviation of residuals."""
        return float(np.sqrt(np.sum(residual * residual) / max(len(residual) - free, 1)))


class StudentT(ResidualLikelihood):
    """Student-t residuals, ``t(y) ~ StudentT(df, t(law), scale)``.

    Args:
        df: degrees of freedom; if None they are inferred with the prior Gamma(2, 0.1).
    """

    name: ClassVar[str] = "student_t"
    calibrated: ClassVar[tuple[ScaleBy, ...]] = ("constant",)
    df: Float[np.ndarray, ""] | None = eqx.field(
        default=None, converter=lambda v: None if v is None else np.asarray(v, float)
    )

    @property
    def marginal(self) -> bool:
        """Whether effects of runs are integrated out: by quadrature, without censoring."""
        return bool(self.runs) and self.censored is None

    @property
    def shape_sites(self) -> dict[str, Site]:
        """Site ``df``, if it is inferred."""
        return {"df": Site("Gamma", dict(concentration=2.0, rate=0.1), 8.0)} if self.df is None else {}

    @property
    def label(self) -> str:
        """Name of the distribution with its degrees of freedom."""
        return f"student_t(df {'inferred' if self.df is None else f'{self.df:g}'})"

    def log_density(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log density ``-(df + 1) / 2 log(1 + t^2 / df)`` up to a constant."""
        return stats.t.logpdf(t, sites.get("df", self.df))

    def log_survival(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log survival ``log P(T > t)``."""
        return _t_survival(t, sites.get("df", self.df))

    def draw_standardised(
        self, key: RandomKey, shape: tuple[int, ...], sites: Mapping[str, Numbers]
    ) -> Float[Array, "..."]:
        """Draw from the standard Student-t distribution."""
        return jr.t(key, sites.get("df", self.df), shape)

    def log_density_of_runs(
        self,
        z: Float[Array, "run most"],
        weight: Float[Array, "run most"],
        scaled: Float[Array, " run"],
        sites: Mapping[str, Numbers],
    ) -> Float[Array, " run"]:
        """Log density ``log int Normal(b; 0, run_ratio) prod_i t(z_i - b; df)^w_i db``, by quadrature."""
        each = student_t_runs(z, weight, sites["run_ratio"], sites.get("df", self.df))
        return jnp.where(jnp.any(weight > 0, axis=1), each - scaled, 0.0)


class Laplace(ResidualLikelihood):
    """Laplace residuals, ``t(y) ~ Laplace(t(law), scale)``."""

    name: ClassVar[str] = "laplace"
    differentiable: ClassVar[bool] = False

    def log_density(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log density ``-|t| - log(2)``."""
        return stats.laplace.logpdf(t)

    def log_survival(self, t: Float[Array, "*shape"], sites: Mapping[str, Numbers]) -> Float[Array, "*shape"]:
        """Log survival, ``log(1/2) - t`` above 0."""
        return jnp.where(t > 0, jnp.log(0.5) - t, jnp.log1p(-0.5 * jnp.exp(jnp.minimum(t, 0.0))))

    def draw_standardised(
        self, key: RandomKey, shape: tuple[int, ...], sites: Mapping[str, Numbers]
    ) -> Float[Array, "..."]:
        """Draw from the standard Laplace distribution."""
        return jr.laplace(key, shape)

    def smooth_surrogate(self) -> Likelihood:
        """Student-t likelihood with 4 degrees of freedom, since the Laplace density is not differentiable at 0."""
        return StudentT(self.space, self.scale_by, self.runs, self.censored, df=4.0)


def normal(
    space: str | Space = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> Normal:
    """Normal residuals, ``t(y) ~ Normal(t(law), scale)``; with t the logarithm, the default, y is log-normal.

    Args:
        space: residual space t: "log", "linear" or "logit".
        scale_by: "constant": one scale; "level": ``scale * law**power``; "group": a scale for every group.
        runs: whether the rows of a run share a random effect; None: if a run has several rows.
        censored: input that is 1 where the response is right-censored.
    """
    return Normal(space_of(space), scale_by, runs, censored)


def student_t(
    df: float | None = None,
    space: str | Space = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> StudentT:
    """Student-t residuals, ``t(y) ~ StudentT(df, t(law), scale)``; the degrees of freedom are inferred if None.

    For the other arguments see :class:`ResidualLikelihood`.

    Raises:
        ValueError: an argument is wrong.
    """
    if df is not None and not df > 0:
        raise ArgumentError("df", f"must be above 0, but is {df!r}.")
    return StudentT(space_of(space), scale_by, runs, censored, df=df)


def laplace(
    space: str | Space = "log",
    *,
    scale_by: ScaleBy = "constant",
    runs: bool | None = None,
    censored: str | None = None,
) -> Laplace:
    """Laplace residuals, ``t(y) ~ Laplace(t(law), scale)``; for the arguments see :class:`ResidualLikelihood`."""
    return Laplace(space_of(space), scale_by, runs, censored)


def _check_censored(observations: Observations, name: str | None) -> None:
    """Check that indicators of censoring are 0 or 1, and that not every row is censored."""
    if name is None:
        return
    used, marks = observations.weight > 0, observations.inputs[name]
    bad = used & ~np.isin(marks, (0.0, 1.0))
    if bad.any():
        raise DataError(
            f"{observations.first(bad)}: the indicator of censoring ({name}) is {marks[bad][0]:g}; it must "
            "be 1 where the response is only a lower bound, else 0."
        )
    if np.all(marks[used] == 1):
        raise DataError(
            f"{observations.name}: every row is censored ({name} is 1), so there is no observed "
            "response; add rows that were observed."
        )


def _t_survival(t: Float[Array, "*shape"], df: Number) -> Float[Array, "*shape"]:
    """Log survival ``log P(T > t)`` by quadrature, differentiable in df and accurate in the tails.

    JAX's incomplete beta function has no derivative in df, and underflows. Up to 2 the density is integrated from 0.
    Beyond that ``T = sqrt(df) / tan(psi)`` gives the integral of ``sin(psi)**(df - 1)`` over ``psi < end``, and
    ``sin(psi) = sin(end) * exp(-q**2 / df)`` a smooth integral over q.
    """
    near, far = jnp.clip(t, -2.0, 2.0), jnp.maximum(jnp.abs(t), 2.0)
    nodes, weights = (jnp.expand_dims(a, tuple(range(near.ndim))) for a in (_NODES, _WEIGHTS))
    inside = near * jnp.sum(weights * jnp.exp(stats.t.logpdf(near[..., None] * nodes, df)), axis=-1)
    q = 7.0 * nodes
    cosine, sine = far * far / (df + far * far), df / (df + far * far)
    slope = 2 * q * jnp.exp(-q * q) / jnp.sqrt(cosine[..., None] - sine[..., None] * jnp.expm1(-2 * q * q / df))
    constant = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df) - 0.5 * jnp.log(jnp.pi) - jnp.log(df)
    tail = constant + 0.5 * df * jnp.log(sine) + jnp.log(7.0 * jnp.sum(weights * slope, axis=-1))
    return jnp.where(jnp.abs(t) < 2, jnp.log(0.5 - inside), jnp.where(t > 0, tail, jnp.log1p(-jnp.exp(tail))))
