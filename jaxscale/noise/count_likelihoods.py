"""Likelihoods of counts: binomial and beta-binomial with trials, Poisson and negative binomial without."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.special as special
import numpy as np
from jaxtyping import Float, Int, Real

from jaxscale.data.observations import Observations
from jaxscale.law import Support, positive, unit
from jaxscale.noise.likelihood import Likelihood, ScaleBy, Site
from jaxscale.noise.losses.squared import squared
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import SPACES, Space
from jaxscale.utils.arrays import Array, Numbers, RandomKey
from jaxscale.utils.errors import ArgumentTypeError, DataError

__all__ = ["beta_binomial", "binomial", "negative_binomial", "poisson"]


class CountLikelihood(Likelihood):
    """Abstract likelihood of counts, which have no residuals, no scale and no random effects of runs."""

    counts: ClassVar[bool] = True
    # Support of the law's values, and a value inside.
    level: ClassVar[Support] = positive
    middle: ClassVar[float] = 1.0
    space: Space = eqx.field(static=True, default=SPACES["linear"], init=False)
    scale_by: ScaleBy = eqx.field(static=True, default="constant", init=False)
    runs: bool | None = eqx.field(static=True, default=False, init=False)
    censored: str | None = eqx.field(static=True, default=None, init=False)

    @abstractmethod
    def variance(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> Float[Array, "*lane row"]:
        """Variance of the response, shape (n,)."""

    @property
    def sampled_with(self) -> tuple[str, ...]:
        """All columns of the likelihood."""
        return self.columns

    @property
    def marginal(self) -> bool:
        """False: there are no effects of runs."""
        return False

    @property
    def sites(self) -> dict[str, Site]:
        """No nuisance parameters."""
        return {}

    def describe(self) -> str:
        """Description of the likelihood, as reports print it."""
        return f"{self.name.replace('_', '-')} counts"

    def log_prob_of_runs(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        y: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
        rows: Int[Array, "run most"],
    ) -> Float[Array, " run"]:
        """Not available: there are no effects of runs."""
        raise NotImplementedError(f"{self.name} counts have no effects of runs.")

    def log_jacobian(self, y: Float[Array, " row"], data: Mapping[str, Real[Array, "... row"]]) -> Float[Array, " row"]:
        """Zero: the distribution is discrete."""
        return jnp.zeros_like(y)

    def initial(
        self, residual: Float[np.ndarray, " row"], target: Float[np.ndarray, " row"], free: int
    ) -> dict[str, float]:
        """Initial values of the sites."""
        return {name: site.initial for name, site in self.sites.items()}

    def smooth_surrogate(self) -> Likelihood:
        """The likelihood itself."""
        return self

    def with_runs(self, runs: bool) -> Likelihood:
        """The likelihood itself."""
        return self

    def of_one_group(self) -> Likelihood:
        """The likelihood itself."""
        return self


class TrialsLikelihood(CountLikelihood):
    """Abstract likelihood of successes in a number of trials; the law is the probability of success.

    Args:
        trials: name of the input with the number of trials.
        numbers: numbers of trials, which :meth:`bind` stores as that input.
    """

    level: ClassVar[Support] = unit
    middle: ClassVar[float] = 0.5
    trials: str = eqx.field(static=True)
    numbers: Float[np.ndarray, "..."] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Input with the number of trials."""
        return (self.trials,)

    @property
    def surrogate(self) -> Noise:
        """Squared error of logits."""
        return squared("logit")

    def bind(self, observations: Observations) -> tuple[Likelihood, Observations]:
        """Store trials as an input, and convert responses to proportions.

        Responses that are integers, at least one above 1, are interpreted as numbers of successes.
        """
        likelihood: TrialsLikelihood = self
        if self.numbers is not None:
            likelihood, observations = self._with_column(observations)
        if likelihood.trials not in observations.inputs:
            return likelihood, observations
        trials, y = observations.inputs[likelihood.trials], observations.response
        used = observations.weight > 0
        whole = np.all(y[used] == np.round(y[used])) and np.all((y >= 0) & (y <= trials), where=used)
        if not (whole and np.any(y[used] > 1)):
            return likelihood, observations
        shares = np.where(used, y / np.maximum(trials, 1.0), y)
        return likelihood, eqx.tree_at(lambda o: o.response, observations, shares)

    def _with_column(self, observations: Observations) -> "tuple[TrialsLikelihood, Observations]":
        numbers = np.asarray(self.numbers, float)
        if self.trials in observations.inputs:
            raise DataError(
                f"{observations.name} has an input {self.trials!r}; name it (trials={self.trials!r}) in place of an "
                "array of trials."
            )
        if numbers.ndim and numbers.shape != (len(observations),):
            raise DataError(
                f"{observations.name} has {len(observations)} rows, but the array of trials has shape "
                f"{numbers.shape}; give one number for each row, or name a column."
            )
        inputs = observations.inputs | {self.trials: np.broadcast_to(numbers, (len(observations),)).copy()}
        return replace(self, numbers=None), replace(observations, inputs=inputs)

    def check_unambiguous(self, observations: Observations) -> None:
        """Check that responses are not ambiguous between numbers of successes and proportions."""
        likelihood, observations = self._with_column(observations) if self.numbers is not None else (self, observations)
        if likelihood.trials not in observations.inputs:
            return
        trials, y = observations.inputs[likelihood.trials], observations.response
        used = observations.weight > 0
        bad = used & (y == 1) & (trials > 1)
        if bad.any() and np.all(np.isin(y[used], (0.0, 1.0))):
            raise DataError(
                f"{observations.first(bad)}: with {trials[bad][0]:g} trials ({likelihood.trials}) a response of 1 may "
                "be one success or a proportion of 100 %, since every response is 0 or 1; divide successes by trials, "
                "or multiply proportions by trials."
            )

    def check(self, observations: Observations) -> None:
        """Check that trials and successes are integers, and that there are at most as many successes as trials."""
        used, trials = observations.weight > 0, observations.inputs[self.trials]
        bad = used & ~((trials >= 1) & (np.abs(trials - np.round(trials)) <= 1e-6))
        if bad.any():
            raise DataError(
                f"{observations.first(bad)}: {trials[bad][0]:g} trials ({self.trials}); trials must be positive "
                "integers."
            )
        hits = trials * observations.response
        wrong = (
            f"a response of {{:g}} with {{:g}} trials ({self.trials}); the response must be the number of successes "
            "in every row, or their proportion of the trials"
        )
        bad = used & ~((hits >= -1e-6) & (hits <= trials * (1 + 1e-6)))
        if bad.any():
            message = wrong.format(observations.response[bad][0], trials[bad][0])
            raise DataError(f"{observations.first(bad)}: {message}, from 0 to 1 (divide percents by 100).")
        bad = used & ~(np.abs(hits - np.round(hits)) <= 1e-6 * trials)
        if bad.any():
            message = wrong.format(observations.response[bad][0], trials[bad][0])
            raise DataError(f"{observations.first(bad)}: {message}, of which {hits[bad][0]:g} would be successes.")

    @abstractmethod
    def log_mass(
        self,
        sites: Mapping[str, Numbers],
        p: Float[Array, "*lane row"],
        hits: Float[Array, "*#lane row"],
        trials: Float[Array, "*#lane row"],
        ways: Float[Array, "*#lane row"],
    ) -> Float[Array, "*lane row"]:
        """Log probability of successes with expected proportion p.

        Args:
            sites: nuisance parameters by name.
            p: value of the law, between 0 and 1.
            hits: numbers of successes.
            trials: numbers of trials.
            ways: logarithm of the binomial coefficient.
        """

    def log_prob(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Log probability of the successes in every row, shape (n,)."""
        trials = data[self.trials]
        k = y * trials
        ways = special.gammaln(trials + 1) - special.gammaln(k + 1) - special.gammaln(trials - k + 1)
        tiny = jnp.finfo(level.dtype).tiny
        p = jnp.clip(level, tiny, 1 - jnp.finfo(level.dtype).epsneg)
        return self.log_mass(sites, p, k, trials, ways)

    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Clip proportions to 0.001 to 0.999."""
        return np.clip(response, 1e-3, 1 - 1e-3)

    def surrogate_data(self, observations: Observations) -> Observations:
        """Shrink proportions away from 0 and 1; rows of weight 0 may hold invalid values."""
        if self.trials not in observations.inputs:
            return observations
        trials = np.maximum(observations.inputs[self.trials], 1.0)
        shares = np.clip((observations.response * trials + 0.5) / (trials + 1), 1e-12, 1 - 1e-12)
        return eqx.tree_at(lambda o: o.response, observations, shares)


class Binomial(TrialsLikelihood):
    """Binomial likelihood, ``successes ~ Binomial(trials, law)``."""

    name: ClassVar[str] = "binomial"

    def variance(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> Float[Array, "*lane row"]:
        """Variance ``p (1 - p) / n``."""
        return level * (1 - level) / data[self.trials]

    def log_mass(
        self,
        sites: Mapping[str, Numbers],
        p: Float[Array, "*lane row"],
        hits: Float[Array, "*#lane row"],
        trials: Float[Array, "*#lane row"],
        ways: Float[Array, "*#lane row"],
    ) -> Float[Array, "*lane row"]:
        """Log probability ``k log p + (n - k) log(1 - p) + log C(n, k)``."""
        return ways + special.xlogy(hits, p) + special.xlog1py(trials - hits, -p)

    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw proportions of successes."""
        trials = jnp.asarray(data[self.trials], level.dtype)
        return jr.binomial(key, trials, jnp.clip(level, 0.0, 1.0)) / trials


class BetaBinomial(TrialsLikelihood):
    """Beta-binomial likelihood, ``successes ~ BetaBinomial(trials, law * c, (1 - law) * c)``, c the concentration."""

    name: ClassVar[str] = "beta_binomial"

    def variance(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> Float[Array, "*lane row"]:
        """Variance ``p (1 - p) / n (1 + (n - 1) / (concentration + 1))``."""
        trials = data[self.trials]
        return level * (1 - level) / trials * (1 + (trials - 1) / (sites["concentration"] + 1))

    @property
    def sites(self) -> dict[str, Site]:
        """Site ``concentration``: infinite for a binomial distribution."""
        return {"concentration": Site("LogNormal", dict(loc=4.0, scale=2.0), 50.0)}

    def log_mass(
        self,
        sites: Mapping[str, Numbers],
        p: Float[Array, "*lane row"],
        hits: Float[Array, "*#lane row"],
        trials: Float[Array, "*#lane row"],
        ways: Float[Array, "*#lane row"],
    ) -> Float[Array, "*lane row"]:
        """Log probability ``log B(k + a, n - k + b) - log B(a, b) + log C(n, k)``, ``a = p c``, ``b = (1 - p) c``."""
        a, b = p * sites["concentration"], (1 - p) * sites["concentration"]
        return ways + special.betaln(hits + a, trials - hits + b) - special.betaln(a, b)

    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw proportions of successes, with a beta-distributed probability in each row."""
        first, second = jr.split(key)
        p, trials = jnp.clip(level, 0.0, 1.0), jnp.asarray(data[self.trials], level.dtype)
        a, b = p * sites["concentration"], (1 - p) * sites["concentration"]
        chance = jr.beta(first, jnp.maximum(a, 1e-300), jnp.maximum(b, 1e-300))
        return jr.binomial(second, trials, chance) / trials


class MeanLikelihood(CountLikelihood):
    """Abstract likelihood of counts without a number of trials; the law is the mean."""

    @property
    def columns(self) -> tuple[str, ...]:
        """No further inputs."""
        return ()

    @property
    def surrogate(self) -> Noise:
        """Squared error of logarithms."""
        return squared("log")

    def bind(self, observations: Observations) -> tuple[Likelihood, Observations]:
        """Return likelihood and observations unchanged."""
        return self, observations

    def check_unambiguous(self, observations: Observations) -> None:
        """Do nothing: responses are never ambiguous."""

    def check(self, observations: Observations) -> None:
        """Check that responses are counts."""
        y = observations.response
        bad = (observations.weight > 0) & ~((y >= 0) & (y == np.round(y)))
        if bad.any():
            raise DataError(
                f"{observations.first(bad)}: the response is {y[bad][0]:g}; counts must be non-negative integers for "
                f"the likelihood {self.name}."
            )

    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Raise counts to at least 1/2."""
        return np.maximum(response, 0.5)

    def surrogate_data(self, observations: Observations) -> Observations:
        """Raise counts to at least 1/2; rows of weight 0 may hold invalid values."""
        return eqx.tree_at(lambda o: o.response, observations, self.interior(observations.response))


class Poisson(MeanLikelihood):
    """Poisson likelihood, ``count ~ Poisson(law)``, ``p(y) = law^y exp(-law) / y!``."""

    name: ClassVar[str] = "poisson"

    def variance(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> Float[Array, "*lane row"]:
        """Variance ``m``."""
        return level

    def log_prob(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Log probability ``y log m - m - log y!``."""
        m = _positive(level)
        return special.xlogy(y, m) - m - special.gammaln(y + 1)

    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw counts."""
        return jr.poisson(key, _positive(level)).astype(level.dtype)


class NegativeBinomial(MeanLikelihood):
    """Negative binomial likelihood, ``count ~ NegativeBinomial(mean m = law, dispersion k)``, variance ``m + m^2 / k``.

    ``p(y) = Gamma(y + k) / (Gamma(k) y!) (m / (m + k))^y (k / (m + k))^k``: a Poisson distribution with a
    gamma-distributed mean of shape k; the limit of infinite k is Poisson.
    """

    name: ClassVar[str] = "negative_binomial"

    def variance(
        self, sites: Mapping[str, Numbers], level: Float[Array, "*lane row"], data: Mapping[str, Real[Array, "... row"]]
    ) -> Float[Array, "*lane row"]:
        """Variance ``m + m^2 / k``."""
        return level + level * level / sites["dispersion"]

    @property
    def sites(self) -> dict[str, Site]:
        """Site ``dispersion``, the k of the variance."""
        return {"dispersion": Site("LogNormal", dict(loc=2.0, scale=2.0), 10.0)}

    def log_prob(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Log probability ``log Gamma(y + k) - log Gamma(k) - log y! + y log(m / (m + k)) + k log(k / (m + k))``."""
        m, k = _positive(level), sites["dispersion"]
        ways = special.gammaln(y + k) - special.gammaln(k) - special.gammaln(y + 1)
        return ways + special.xlogy(y, m / (m + k)) - k * jnp.log1p(m / k)

    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw counts."""
        first, second = jr.split(key)
        m, k = _positive(level), sites["dispersion"]
        return jr.poisson(second, m * jr.gamma(first, k, level.shape) / k).astype(level.dtype)

    def initial(
        self, residual: Float[np.ndarray, " row"], target: Float[np.ndarray, " row"], free: int
    ) -> dict[str, float]:
        """Moment estimate of the dispersion from the residuals of the surrogate's fit."""
        m = residual + target
        m, r = m[np.isfinite(m) & (m > 0)], residual[np.isfinite(m) & (m > 0)]
        extra = float(np.sum(r * r - m) / np.sum(m * m)) if len(m) else 0.1
        return {"dispersion": 1 / float(np.clip(extra, 1e-3, 1e3))}


def binomial(trials: str | float | Sequence[float] | Real[np.ndarray, " n"]) -> Binomial:
    """Binomial likelihood, ``successes ~ Binomial(trials, law)``.

    Args:
        trials: name of the input with the number of trials, or the numbers themselves, one for each row (or one for
            all). The response is the number of successes (integers, at least one above 1) or their proportion of the
            trials; 0 and 1 are allowed.
    """
    return Binomial(*_trials_input(trials))


def beta_binomial(trials: str | float | Sequence[float] | Real[np.ndarray, " n"]) -> BetaBinomial:
    """Beta-binomial likelihood of overdispersed successes, with mean ``law`` and an inferred concentration.

    Args:
        trials: as for :func:`binomial`.
    """
    return BetaBinomial(*_trials_input(trials))


def poisson() -> Poisson:
    """Poisson likelihood of counts without a number of trials, ``count ~ Poisson(law)``."""
    return Poisson()


def negative_binomial() -> NegativeBinomial:
    """Negative binomial likelihood of overdispersed counts: variance ``m + m^2 / dispersion``, inferred dispersion."""
    return NegativeBinomial()


def _trials_input(
    trials: str | float | Sequence[float] | Real[np.ndarray, " n"],
) -> tuple[str, Float[np.ndarray, "*row"] | None]:
    """Name of the input of trials, and the numbers if they are given."""
    if isinstance(trials, str):
        return trials, None
    try:
        numbers = np.asarray(trials, float)
    except (TypeError, ValueError):
        numbers = np.zeros((0, 0))
    if numbers.ndim > 1:
        raise ArgumentTypeError(
            "trials",
            f"must be the name of an input, a number, or an array of one number for each row, but is {trials!r}.",
        )
    return "trials", numbers


def _positive(level: Float[Array, "*lane row"]) -> Float[Array, "*lane row"]:
    return jnp.maximum(level, jnp.finfo(level.dtype).tiny)
