"""Draws: a batch of parameter sets of equal weight, whatever method they come from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.intervals import Intervals
from jaxscale.law import Law
from jaxscale.notices import Notice
from jaxscale.observations import Observations
from jaxscale.preparation import columns_of


class NotUsableError(ValueError):
    """The draws are not to be acted on; the message says why and what to do."""


@dataclass(frozen=True)
class Draws:
    """Parameter sets by name with a leading axis of draws, and how they were got.

    Args:
        law: identifier of the law.
        params: every parameter of the law, shape (draws,), or (draws, groups) where each group has its own; draws of
            several chains lie chain after chain.
        method: the rung or resampling they come from: "laplace", "importance", "nuts", "case bootstrap", ...
        free: names of the parameters that vary.
        nuisance: what was drawn beside the law's parameters, such as the scale of the noise; leading axis (draws,).
        chains: how many chains the draws come from; 1 where they are independent.
        stats: a number for every draw, such as ``log_density``, ``diverging``, ``energy``; shape (draws,).
        about: what the method says of itself: ``khat``, ``divergences``, ``replicates``, ``priors``, ...
        notices: what a person should know.
        usable: whether the draws may be acted on: False where a sampler did not converge.
        law_object: the law itself; looked up in the catalogue when read from a file.
        observations: what was fitted; None when read from a file.
        model: the model that was sampled (:class:`jaxscale.models.Model`), where there is one.
    """

    law: str
    params: dict[str, np.ndarray]
    method: str
    free: tuple[str, ...]
    nuisance: dict[str, np.ndarray] = field(default_factory=dict)
    chains: int = 1
    stats: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    usable: bool = True
    law_object: Law | None = field(default=None, compare=False, repr=False)
    observations: Observations | None = field(default=None, compare=False, repr=False)
    model: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a parameter that has the name of something drawn beside the law's parameters."""
        for name in self.params:
            if name in self.nuisance:
                raise ValueError(
                    f"Parameter {name!r} of {self.law} has the name of something that is drawn beside the law's "
                    f"parameters; rename it: jaxscale.rename(law, {name}={name + '_of_law'!r})."
                )

    def __len__(self) -> int:
        """The number of draws."""
        return len(next(iter(self.params.values())))

    def __str__(self) -> str:
        """The table of parameters at 90 %."""
        return str(self.intervals())

    def require_usable(self) -> None:
        """Refuse draws that are not to be acted on.

        Raises:
            NotUsableError: a sampler did not converge, or resampling failed; says what to do.
        """
        if not self.usable:
            reasons = "; ".join(notice.message for notice in self.notices)
            raise NotUsableError(f"These draws ({self.method}) are not to be acted on: {reasons}")

    def derive(self, of: Callable[[dict[str, Any]], Any]) -> np.ndarray:
        """A function of the parameters for every draw, shape (draws, ...).

        >>> draws.derive(lambda p: p["beta"] / (p["alpha"] + p["beta"]))  # doctest: +SKIP

        Args:
            of: takes the parameters of one draw by name and returns a number or an array, by operations of JAX.
        """
        with jax.enable_x64(True):
            params = {name: jnp.asarray(value) for name, value in self.params.items()}
            return np.asarray(jax.vmap(of)(params))

    def predict(self, **inputs: Any) -> np.ndarray:
        """The law for every draw, shape (draws, ...) with the inputs' shape behind.

        Raises:
            ValueError: an input is missing or unknown, or each group has its own parameters (see ``of_group``).
        """
        law = self._law()
        columns = columns_of(law, inputs)
        grouped = [name for name, value in self.params.items() if value.ndim > 1]
        if grouped:
            raise ValueError(f"Each group has its own {', '.join(grouped)}; choose one first: draws.of_group(0).")
        return self.derive(lambda params: law(*columns, **params))

    def of_group(self, group: int) -> "Draws":
        """The draws of one group's parameters, by its place in the order of appearance."""
        own = {name: value[:, group] if value.ndim > 1 else value for name, value in self.params.items()}
        return replace(self, params=own)

    def new_group(self, observations: Observations | None = None, *, candidates: int = 16, key: Any = 0) -> "Draws":
        """The parameters of a group that was not among the data, see :func:`jaxscale.hierarchy.new_group`."""
        from jaxscale import hierarchy

        return hierarchy.new_group(self, observations, candidates=candidates, key=key)

    def responses(self, key: Any = 0, **inputs: Any) -> np.ndarray:
        """New measurements for every draw: the law and the scatter about it, shape (draws, n).

        Args:
            key: seed.
            **inputs: inputs by name, shape (n,); each row is a run of its own, with an effect of its own where runs
                have one.

        Raises:
            ValueError: there is no model of the scatter, or it needs more than the law's inputs.
        """
        from jaxscale.fitting import generator_of
        from jaxscale.likelihoods import replicated

        if self.model is None or self.model.likelihood.columns or self.model.likelihood.scale_by == "group":
            raise ValueError("These draws hold no model of the scatter that needs the law's inputs only.")
        level = self.predict(**{name: np.atleast_1d(np.asarray(value, float)) for name, value in inputs.items()})
        rows = {"run": np.arange(level.shape[1]), "group": np.zeros(level.shape[1], int)}
        with jax.enable_x64(True):
            return replicated(self.model.likelihood, generator_of(key)[1], self.nuisance, level, rows)

    def quantiles(
        self, levels: Any, of: Callable[[dict[str, Any]], Any] | None = None
    ) -> dict[str, np.ndarray] | np.ndarray:
        """Quantiles of every free parameter by name, or of a function of the parameters.

        Args:
            levels: numbers between 0 and 1, shape (q,) or ().
            of: a function of the parameters of one draw, as for :meth:`derive`.
        """
        if of is not None:
            return np.quantile(self.derive(of), levels, axis=0)
        return {name: np.quantile(self.params[name], levels, axis=0) for name in self.free}

    def intervals(
        self, level: float = 0.9, of: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None
    ) -> Intervals:
        """Equal-tailed intervals of the free parameters, or of functions of the parameters by name.

        Args:
            level: coverage, between 0 and 1.
            of: name to function of the parameters of one draw; the free parameters unless given.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        from jaxscale import diagnostics

        if not 0 < level < 1:
            raise ValueError(f"Argument level must lie between 0 and 1, but is {level!r}.")
        values = {name: self.params[name] for name in self.free} if of is None else {}
        if of is None:
            values |= {name: v for name, v in self.nuisance.items() if not name.endswith(("_offset", "run_effect"))}
        for name, function in (of or {}).items():
            values[name] = self.derive(function)
        rows: dict[str, dict[str, float]] = {}
        for name, several in values.items():
            for label, value in scalars(name, several):
                low, high = np.quantile(value, [0.5 - level / 2, 0.5 + level / 2])
                rows[label] = {
                    "mean": float(np.mean(value)),
                    "sd": float(np.std(value, ddof=1)) if len(value) > 1 else math.nan,
                    "lower": float(low),
                    "upper": float(high),
                }
                if self.method == "nuts":
                    rows[label] |= diagnostics.convergence(value.reshape(self.chains, -1))
        return Intervals(self.law, self.method, level, rows, self.about, self.notices)

    def to_arviz(self) -> Any:
        """The draws as the container of ArviZ (an xarray ``DataTree``), with what it needs for its plots."""
        from jaxscale import containers

        return containers.to_arviz(self)

    def save(self, path: str | Path) -> None:
        """Write the draws as a NetCDF file (ending .nc) that ArviZ reads too, there whole or not at all.

        Raises:
            ValueError: the path has another ending.
        """
        from jaxscale import containers

        containers.save(self, path)

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> "Draws":
        """Read what :meth:`save` wrote, bit for bit; the model and the observations are not in a file.

        Args:
            path: a file that ends in .nc.
            law: the law, where it is not in the catalogue.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not one of draws, or those of another law.
        """
        from jaxscale import containers

        return containers.load(path, law)

    def _law(self) -> Law:
        if self.law_object is not None:
            return self.law_object
        from jaxscale.laws import get

        return get(self.law)


def scalars(name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """One entry for every number of a draw, those of groups with their place behind."""
    if values.ndim == 1:
        return [(name, values)]
    flat = values.reshape(len(values), -1)
    return [(f"{name}[{k}]", flat[:, k]) for k in range(flat.shape[1])]
