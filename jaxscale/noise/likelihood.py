"""The abstract likelihood: the density of responses about the values of a law, for a posterior or a fit of counts."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import DataError, Setting

ScaleBy = Literal["constant", "level", "group"]


@dataclass(frozen=True)
class Site:
    """A nuisance parameter: its default prior, its initial value and whether every group has its own.

    Args:
        family: of the prior, by NumPyro's name.
        numbers: of the prior, by NumPyro's names.
        initial: where the mode search begins, unless the likelihood estimates a value from the residuals.
        by_group: whether every group has its own.
    """

    family: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    initial: float = 1.0
    by_group: bool = False


class Likelihood(eqx.Module):
    """The density of responses about the values of a law; subclasses are abstract or final.

    A final class has the formula in its docstring, ``name`` (that of its constructor in :mod:`jaxscale.likelihoods`)
    and the methods below, in one file of this folder whose name ends in ``_likelihoods.py`` and which lists the
    constructor in ``__all__``: the command line, the reports and the tests find it there.

    ``data`` of a method holds the likelihood's own columns and the codes ``run`` and ``group``, shape (n,). ``level``
    is the value of the law, shape (n,), and ``sites`` are the nuisance parameters by name.
    """

    # The name of the constructor; whether responses are counts; whether the density has two derivatives everywhere.
    name: ClassVar[str] = ""
    counts: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    # The kinds of scale whose intervals the coverage study measured; empty: none.
    calibrated: ClassVar[tuple[ScaleBy, ...]] = ()
    # Where residuals are taken, or shown where there are none.
    space: eqx.AbstractVar[Space]
    scale_by: eqx.AbstractVar[ScaleBy]
    runs: eqx.AbstractVar[bool | None]
    censored: eqx.AbstractVar[str | None]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The inputs that it needs beside those of the law."""

    @property
    @abstractmethod
    def sampled_with(self) -> tuple[str, ...]:
        """Those of its columns without which new responses cannot be drawn."""

    @property
    @abstractmethod
    def marginal(self) -> bool:
        """Whether the effects of runs are integrated out: in closed form where normal, else by quadrature."""

    @property
    @abstractmethod
    def sites(self) -> dict[str, Site]:
        """The nuisance parameters by name, in the order of their coordinates."""

    @property
    @abstractmethod
    def surrogate(self) -> Noise:
        """The noise whose fit gives the initial values of the mode search."""

    @abstractmethod
    def describe(self) -> str:
        """The likelihood in words, as a report prints it."""

    @abstractmethod
    def bind(self, observations: Observations) -> tuple["Likelihood", Observations]:
        """The likelihood and the observations in the form that :meth:`log_prob` takes, which may be so already.

        Raises:
            DataError: an array that the likelihood holds does not have one entry for each row.
        """

    @abstractmethod
    def check(self, observations: Observations) -> None:
        """Refuse observations, bound before, whose responses or columns the likelihood does not allow.

        Raises:
            DataError: there is such a row; the message names it.
        """

    @abstractmethod
    def check_unambiguous(self, observations: Observations) -> None:
        """Refuse observations, not bound before, that could be meant in two ways.

        Raises:
            DataError: there is such a row; the message names it.
        """

    @abstractmethod
    def log_prob(self, sites: Mapping[str, Any], level: Any, y: Any, data: Mapping[str, Any]) -> Any:
        """Log density of every row's residual (or count), shape (n,); that of a run where ``sites`` has its effect."""

    @abstractmethod
    def log_prob_of_runs(self, sites: Mapping[str, Any], level: Any, y: Any, data: Mapping[str, Any], rows: Any) -> Any:
        """Log density of all rows of a run together, its effect integrated out, shape (runs,).

        Args:
            sites: nuisance by name.
            level: the law's values, shape (n,).
            y: responses, shape (n,).
            data: as for the other methods, and ``weight``.
            rows: which rows each run has, see :func:`jaxscale.noise.random_effects.places`.
        """

    @abstractmethod
    def log_jacobian(self, y: Any, data: Mapping[str, Any]) -> Any:
        """What turns the log density of a residual into that of its response, ``log |t'(y)|``, shape (n,)."""

    @abstractmethod
    def sample(self, key: Any, sites: Mapping[str, Any], level: Any, data: Mapping[str, Any]) -> Any:
        """New responses, shape (n,); runs have new effects unless ``sites`` holds theirs."""

    @abstractmethod
    def interior(self, response: np.ndarray) -> np.ndarray:
        """Responses moved off the ends of their range, where logarithms are finite."""

    @abstractmethod
    def surrogate_data(self, observations: Observations) -> Observations:
        """Observations that the surrogate's fit takes."""

    @abstractmethod
    def initial(self, residual: np.ndarray, target: np.ndarray, free: int) -> dict[str, float]:
        """Initial values of the nuisance parameters.

        Args:
            residual: of the surrogate's fit, ``t(law) - t(y)``, shape (n,); some may not be finite.
            target: what it is taken from, ``t(y)``, shape (n,).
            free: number of parameters of the law that are inferred.
        """

    @abstractmethod
    def smoothed(self) -> "Likelihood":
        """The likelihood whose mode and curvature stand for this one's: itself where it is differentiable."""

    @abstractmethod
    def with_runs(self, runs: bool) -> "Likelihood":
        """The same with effects of runs, or without."""

    @abstractmethod
    def of_one_group(self) -> "Likelihood":
        """The same for the rows of one group."""

    @property
    def by_group(self) -> tuple[str, ...]:
        """The nuisance parameters that every group has to itself."""
        return tuple(name for name, site in self.sites.items() if site.by_group)


def check_columns(likelihood: Likelihood, observations: Observations) -> None:
    """Refuse observations without a column that the likelihood needs.

    Raises:
        DataError: there is none.
    """
    for name in likelihood.columns:
        if name not in observations.inputs:
            raise DataError(
                f"{observations.name}: the likelihood needs the input {name!r}; map it to a column beside the law's "
                f"own: ",
                Setting("inputs", {name: "COLUMN"}),
                ".",
                argument="inputs",
            )


@compiled
def _sampled(likelihood: Likelihood, keys: Any, sites: dict[str, Any], level: Any, data: dict[str, Any]) -> Any:
    return jax.vmap(likelihood.sample, in_axes=(0, 0, 0, None))(keys, sites, level, data)


def replicated(
    likelihood: Likelihood, seed: int, sites: Mapping[str, Any], level: np.ndarray, data: Mapping[str, Any]
) -> np.ndarray:
    """New responses for every draw, shape (draws, n): what a posterior predictive check and a forecast look at.

    Args:
        likelihood: the likelihood.
        seed: of the random numbers.
        sites: nuisance by name, leading axis (draws,); every run has a new effect.
        level: the law's values, shape (draws, n).
        data: ``run`` and ``group`` codes and the likelihood's own columns, shape (n,).
    """
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed % 2**63), len(level))
        own = {name: np.asarray(sites[name]) for name in likelihood.sites}
        columns = {name: np.asarray(data[name]) for name in ("run", "group", *likelihood.sampled_with)}
        return np.asarray(_sampled(likelihood, keys, own, np.asarray(level, float), columns))
