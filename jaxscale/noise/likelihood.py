"""Abstract likelihood: density of responses given the values of a law, for a posterior or a fit of counts."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int, Key, Real

from jaxscale.data.observations import Observations
from jaxscale.noise.noise import Noise
from jaxscale.noise.spaces import Space
from jaxscale.utils.arrays import Array, Numbers, RandomKey
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import DataError, Setting

ScaleBy = Literal["constant", "level", "group"]


@dataclass(frozen=True)
class Site:
    """Nuisance parameter of a likelihood: default prior and initial value.

    Args:
        family: NumPyro name of the prior.
        numbers: parameters of the prior, by NumPyro's names.
        initial: initial value of the mode search, unless the likelihood estimates one from the residuals.
        by_group: whether every group has its own value.
    """

    family: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    initial: float = 1.0
    by_group: bool = False


class Likelihood(eqx.Module):
    """Density of responses given the values of a law; subclasses are abstract or final.

    A final class has the formula in its docstring, ``name`` (that of its constructor in :mod:`jaxscale.likelihoods`)
    and the methods below, in one file of this folder whose name ends in ``_likelihoods.py`` and which lists the
    constructor in ``__all__``: the command line, the reports and the tests find it there.

    ``data`` of a method holds the likelihood's own columns and the codes ``run`` and ``group``, shape (n,). ``level``
    is the value of the law, shape (n,), and ``sites`` are the nuisance parameters by name.
    """

    # Name of the constructor; whether responses are counts; whether the density is twice differentiable everywhere.
    name: ClassVar[str] = ""
    counts: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    # Kinds of scale that the coverage study included.
    calibrated: ClassVar[tuple[ScaleBy, ...]] = ()
    # Space of the residuals, or of the residuals that reports show for counts.
    space: eqx.AbstractVar[Space]
    scale_by: eqx.AbstractVar[ScaleBy]
    runs: eqx.AbstractVar[bool | None]
    censored: eqx.AbstractVar[str | None]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Inputs that the likelihood needs in addition to those of the law."""

    @property
    @abstractmethod
    def sampled_with(self) -> tuple[str, ...]:
        """Columns that :meth:`sample` needs."""

    @property
    @abstractmethod
    def marginal(self) -> bool:
        """Whether the random effects of runs are integrated out, in closed form or by quadrature."""

    @property
    @abstractmethod
    def sites(self) -> dict[str, Site]:
        """Nuisance parameters by name, in the order of their coordinates."""

    @property
    @abstractmethod
    def surrogate(self) -> Noise:
        """Noise whose fit gives the initial values of the mode search."""

    @abstractmethod
    def describe(self) -> str:
        """Description of the likelihood, as reports print it."""

    @abstractmethod
    def bind(self, observations: Observations) -> tuple["Likelihood", Observations]:
        """Convert likelihood and observations to the form that :meth:`log_prob` takes; idempotent.

        Raises:
            DataError: an array that the likelihood holds does not have one entry for each row.
        """

    @abstractmethod
    def check(self, observations: Observations) -> None:
        """Validate the responses and columns of bound observations.

        Raises:
            DataError: a row is invalid; the message names it.
        """

    @abstractmethod
    def check_unambiguous(self, observations: Observations) -> None:
        """Check that unbound observations have only one interpretation.

        Raises:
            DataError: a row is ambiguous; the message names it.
        """

    @abstractmethod
    def log_prob(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, "*lane row"],
        y: Float[Array, "*#lane row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, "*lane row"]:
        """Log density of the residual (or count) of every row, shape (n,), given effects of runs in ``sites``."""

    @abstractmethod
    def log_prob_of_runs(
        self,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        y: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
        rows: Int[Array, "run most"],
    ) -> Float[Array, " run"]:
        """Marginal log density of the rows of each run, with its effect integrated out, shape (runs,).

        Args:
            sites: nuisance parameters by name.
            level: values of the law, shape (n,).
            y: responses, shape (n,).
            data: as for the other methods, and ``weight``.
            rows: indices of the rows of each run, see :func:`jaxscale.noise.random_effects.run_rows`.
        """

    @abstractmethod
    def log_jacobian(self, y: Float[Array, " row"], data: Mapping[str, Real[Array, "... row"]]) -> Float[Array, " row"]:
        """Log Jacobian of the residual in the response, ``log |t'(y)|``, shape (n,)."""

    @abstractmethod
    def sample(
        self,
        key: RandomKey,
        sites: Mapping[str, Numbers],
        level: Float[Array, " row"],
        data: Mapping[str, Real[Array, "... row"]],
    ) -> Float[Array, " row"]:
        """Draw responses, shape (n,); effects of runs are drawn too unless ``sites`` holds them."""

    @abstractmethod
    def interior(self, response: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Move responses off the ends of their range, so that logarithms are finite."""

    @abstractmethod
    def surrogate_data(self, observations: Observations) -> Observations:
        """Observations for the fit of the surrogate."""

    @abstractmethod
    def initial(
        self, residual: Float[np.ndarray, " row"], target: Float[np.ndarray, " row"], free: int
    ) -> dict[str, float]:
        """Initial values of the nuisance parameters.

        Args:
            residual: residuals of the surrogate's fit, ``t(law) - t(y)``, shape (n,); not necessarily finite.
            target: transformed responses ``t(y)``, shape (n,).
            free: number of parameters of the law that are inferred.
        """

    @abstractmethod
    def smooth_surrogate(self) -> "Likelihood":
        """Smooth surrogate for the mode and curvature: the likelihood itself where it is differentiable."""

    @abstractmethod
    def with_runs(self, runs: bool) -> "Likelihood":
        """Likelihood with or without random effects of runs."""

    @abstractmethod
    def of_one_group(self) -> "Likelihood":
        """Likelihood of the rows of one group."""

    @property
    def by_group(self) -> tuple[str, ...]:
        """Nuisance parameters that have one value for each group."""
        return tuple(name for name, site in self.sites.items() if site.by_group)


def check_columns(likelihood: Likelihood, observations: Observations) -> None:
    """Check that observations have the columns that the likelihood needs.

    Raises:
        DataError: a column is missing.
    """
    for name in likelihood.columns:
        if name not in observations.inputs:
            raise DataError(
                f"{observations.name}: the likelihood needs the input {name!r}; map it to a column in addition to the "
                "law's inputs: ",
                Setting("inputs", {name: "COLUMN"}),
                ".",
                argument="inputs",
            )


@compiled
def _sample(
    likelihood: Likelihood,
    keys: Key[Array, " draw"],
    sites: dict[str, Float[Array, "draw ..."]],
    level: Float[Array, "draw row"],
    data: dict[str, Real[Array, "... row"]],
) -> Float[Array, "draw row"]:
    return jax.vmap(likelihood.sample, in_axes=(0, 0, 0, None))(keys, sites, level, data)


def replicate(
    likelihood: Likelihood,
    seed: int,
    sites: Mapping[str, Float[Array, "draw ..."]],
    level: Float[np.ndarray, "draw row"],
    data: Mapping[str, Real[Array, "... row"]],
) -> Float[np.ndarray, "draw row"]:
    """Posterior predictive responses for every draw, shape (draws, n).

    Args:
        likelihood: the likelihood.
        seed: random seed.
        sites: nuisance parameters by name, leading axis (draws,); effects of runs are drawn.
        level: values of the law, shape (draws, n).
        data: ``run`` and ``group`` codes and the likelihood's own columns, shape (n,).
    """
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed % 2**63), len(level))
        own = {name: np.asarray(sites[name]) for name in likelihood.sites}
        columns = {name: np.asarray(data[name]) for name in ("run", "group", *likelihood.sampled_with)}
        return np.asarray(_sample(likelihood, keys, own, np.asarray(level, float), columns))
