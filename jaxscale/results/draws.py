"""Draws: a batch of parameter sets of equal weight, whatever method they come from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.data.features import columns_of, outside
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.noise.likelihood import Likelihood
from jaxscale.results.intervals import Intervals
from jaxscale.results.quantities import Quantities, Quantity, by_name, single
from jaxscale.utils.errors import NotUsableError, did_you_mean
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd

# How the names of what is drawn for all groups and runs end.
OF_ALL = ("_offset", "_spread", "_population", "run_effect")
# Why some draws cannot do what needs the model that was sampled.
NO_MODEL = "hold no model (those of one group, of refits and of a file read without observations do not)"


class _Named(dict[str, Any]):
    """The parameters of one draw by name, which say so where one is unknown."""

    def __init__(self, law: str, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.law = law

    def __missing__(self, name: str) -> Any:
        raise ValueError(
            f"A function of the parameters asks for {name!r}, which is no parameter of {self.law}"
            f"{did_you_mean(name, self)}; these are {', '.join(self)}."
        )


class _Parameters(dict[str, np.ndarray]):
    """The law's parameters by name; whatever a table prints is found by its name there, too."""

    def __init__(self, params: Mapping[str, np.ndarray], nuisance: Mapping[str, np.ndarray], groups: Any) -> None:
        super().__init__(params)
        self.nuisance, self.groups = nuisance, groups

    def __missing__(self, name: str) -> np.ndarray:
        printed = dict(self.nuisance)
        for key, values in {**self, **self.nuisance}.items():
            printed |= scalars(key, values, self.groups)
        if name not in printed:
            hint = did_you_mean(name, printed)
            raise KeyError(f"{name}: no parameter has this name{hint}; there are {', '.join(printed)}")
        return printed[name]


@dataclass(frozen=True)
class Draws:
    """Parameter sets by name with a leading axis of draws, and how they were got.

    Args:
        law: the law; a name where there is no law, or none that the catalogue holds.
        params: every parameter of the law, shape (draws,), or (draws, groups) where each group has its own; draws of
            several chains lie chain after chain. What tables print beside them, such as ``a[small]`` and
            ``a_population``, is found under its name, too.
        method: the sampling or resampling method they come from: "laplace", "importance", "nuts", "case bootstrap", ...
        free: names of the parameters that vary.
        nuisance: what was drawn beside the law's parameters, such as the scale of the noise; leading axis (draws,).
        chains: how many chains the draws come from; 1 where they are independent.
        stats: a number for every draw, such as ``log_density``, ``diverging``, ``energy``; shape (draws,).
        about: what the method says of itself: ``khat``, ``divergences``, ``n_resamples``, ``priors``, ...
        notices: conditions of the data or the sampler that affect what the draws mean.
        ok: whether the draws can be used; False where a sampler did not converge.
        observations: what was fitted; None when read from a file.
        model: the model that was sampled (:class:`jaxscale.bayes.model.Model`), where there is one.
        likelihood: how responses scatter where there is no model: that of one group out of several.
        group_names: the groups' labels, in the order of the last axis of their parameters; those of the observations
            unless given.
    """

    law: Law | str
    params: dict[str, np.ndarray]
    method: str
    free: tuple[str, ...]
    nuisance: dict[str, np.ndarray] = field(default_factory=dict)
    chains: int = 1
    stats: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    ok: bool = True
    observations: Observations | None = field(default=None, compare=False, repr=False)
    model: Any = field(default=None, compare=False, repr=False)
    likelihood: Likelihood | None = field(default=None, compare=False, repr=False)
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a parameter that has the name of something drawn beside the law's parameters; name the groups."""
        for name in self.params:
            if name in self.nuisance:
                raise ValueError(
                    f"Parameter {name!r} of {self.law} has the name of something that is drawn beside the law's "
                    f"parameters; rename it: jaxscale.rename(law, {name}={name + '_of_law'!r})."
                )
        if not self.group_names and self.observations is not None:
            object.__setattr__(self, "group_names", self.observations.groups)
        object.__setattr__(self, "params", _Parameters(self.params, self.nuisance, self.groups))

    def __len__(self) -> int:
        """The number of draws."""
        return len(next(iter(self.params.values())))

    def __str__(self) -> str:
        """The table of parameters at 90 %."""
        return str(self.intervals())

    def require_ok(self) -> None:
        """Raise an error unless the draws can be used.

        Raises:
            NotUsableError: a sampler did not converge, or resampling failed; says what to do.
        """
        if not self.ok:
            reasons = "; ".join(notice.message for notice in self.notices)
            raise NotUsableError(f"These draws ({self.method}) are not to be acted on: {reasons}")

    def derive(self, quantity: Quantity) -> np.ndarray:
        """A function of the parameters for every draw, shape (draws, ...).

        >>> draws.derive(lambda p: p["beta"] / (p["alpha"] + p["beta"]))  # doctest: +SKIP

        Args:
            quantity: takes the parameters of one draw by name and returns a number or an array, by operations of JAX.

        Raises:
            TypeError: it is no function.
            ValueError: the function asks for an unknown parameter, or computes by NumPy instead of JAX.
        """
        quantity = single(quantity)
        with jax.enable_x64(True):
            params = {name: jnp.asarray(value) for name, value in self.params.items()}
            try:
                return np.asarray(jax.vmap(lambda each: quantity(_Named(str(self.law), each)))(params))
            except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
                raise ValueError(
                    "A function of the parameters must compute by JAX: use jax.numpy in place of numpy and math, and "
                    "jnp.where in place of if."
                ) from error

    def predict(self, **inputs: Any) -> np.ndarray:
        """The law for every draw, shape (draws, ...) with the inputs' shape behind.

        Raises:
            ValueError: an input is missing, unknown, outside its domain or of another length, or each group has its
                own parameters (see ``of_group``).
        """
        law = resolve(self.law)
        columns = columns_of(law, inputs)
        if found := outside(law, dict(zip(law.inputs, columns, strict=True))):
            raise ValueError(f"Argument {found[0]} must lie {found[1]}, but holds {found[2]:g}.")
        grouped = [name for name, value in self.params.items() if value.ndim > 1]
        if grouped:
            raise ValueError(f"Each group has its own {', '.join(grouped)}; choose one first: {self._choice}.")
        try:
            np.broadcast_shapes(*(column.shape for column in columns))
        except ValueError:
            self._refuse_shapes(law, columns)
        # Inputs are broadcast against each other.
        with jax.numpy_rank_promotion("allow"):
            return self.derive(lambda params: law(*columns, **params))

    @property
    def scatter(self) -> Likelihood | None:
        """How responses scatter about the law: the likelihood of the model or of the group; None where unknown."""
        return self.likelihood if self.model is None else self.model.likelihood

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups that have parameters or a scale of their own; none where all share everything."""
        own = [*self.params.values(), *(self.nuisance[name] for name in ("scale",) if name in self.nuisance)]
        count = max((values.shape[1] for values in own if values.ndim > 1), default=0)
        return self.group_names if len(self.group_names) == count else tuple(map(str, range(count)))

    @property
    def _choice(self) -> str:
        """How one group is chosen, for messages."""
        return f"draws.of_group({self.groups[0]!r})"

    def of_group(self, group: str | int) -> "Draws":
        """The draws of one group: its parameters and its scatter, without what belongs to all groups.

        Args:
            group: its name, as the table has it.

        Returns:
            Draws on which ``predict`` and ``responses`` work; the model, the observations and the log densities, which
            are of all groups, are not among them.

        Raises:
            ValueError: there is no such group, or groups share everything.
        """
        if not self.groups:
            raise ValueError("These draws have no groups with parameters of their own; use them as they are.")
        if str(group) not in self.groups:
            hint = did_you_mean(str(group), self.groups)
            raise ValueError(f"Argument group must be one of {', '.join(self.groups)}, but is {group!r}{hint}.")
        place = self.groups.index(str(group))
        own = {name: value[:, place] if value.ndim > 1 else value for name, value in self.params.items()}
        beside = {name: value for name, value in self.nuisance.items() if not name.endswith(OF_ALL)}
        likelihood = self.scatter
        if "scale" in beside and beside["scale"].ndim > 1:
            beside["scale"] = beside["scale"][:, place]
            likelihood = None if likelihood is None else likelihood.of_one_group()
        return replace(
            self,
            params=own,
            nuisance=beside,
            stats={name: values for name, values in self.stats.items() if not name.startswith("log_")},
            observations=None,
            model=None,
            likelihood=likelihood,
            group_names=(),
        )

    def responses(self, seed: int = 0, **inputs: Any) -> np.ndarray:
        """New measurements for every draw: the law and the scatter about it, shape (draws, n).

        Args:
            seed: of the random numbers.
            **inputs: inputs by name, shape (n,); each row is a run of its own, with an effect of its own where runs
                have one.

        Raises:
            ValueError: there is no model of the scatter, or it needs more than the law's inputs, as counts do.
        """
        from jaxscale.noise.likelihood import replicated
        from jaxscale.utils.random import generator_of

        scatter = self.scatter
        if scatter is None:
            raise ValueError(f"These draws ({self.method}) {NO_MODEL}, so how responses scatter is not known.")
        if scatter.sampled_with:
            raise ValueError(
                f"New shares of counts would need their trials ({', '.join(scatter.sampled_with)}) beside the law's "
                "inputs; use predict, which is without the scatter."
            )
        if scatter.by_group:
            raise ValueError(f"Each group has a scale of its own; choose a group first: {self._choice}.")
        level = self.predict(**{name: np.atleast_1d(value) for name, value in inputs.items()})
        rows = {"run": np.arange(level.shape[1]), "group": np.zeros(level.shape[1], int)}
        return replicated(scatter, generator_of(seed)[0], self.nuisance, level, rows)

    def quantiles(self, levels: Any, quantity: Quantity | None = None) -> dict[str, np.ndarray] | np.ndarray:
        """Quantiles of every free parameter by name, or of a function of the parameters.

        Args:
            levels: numbers between 0 and 1, shape (q,) or ().
            quantity: a function of the parameters of one draw, as for :meth:`derive`.

        Raises:
            ValueError: a level is not between 0 and 1.
        """
        try:
            bad = [level for level in np.ravel(np.asarray(levels, float)) if not 0 <= level <= 1]
        except (TypeError, ValueError):
            bad = [levels]
        if bad:
            raise ValueError(f"Argument levels must hold numbers between 0 and 1, but holds {bad[0]!r}.")
        if quantity is not None:
            return np.quantile(self.derive(quantity), levels, axis=0)
        return {name: np.quantile(self.params[name], levels, axis=0) for name in self.free}

    def intervals(self, level: float = 0.9, quantity: Quantities | None = None) -> Intervals:
        """Equal-tailed intervals of the free parameters, or of functions of the parameters.

        Args:
            level: coverage, between 0 and 1.
            quantity: a function of the parameters of one draw, or name to function; the free parameters unless given.

        Raises:
            TypeError: ``quantity`` is no function and maps to none.
            ValueError: the level is not between 0 and 1.
        """
        from jaxscale.results import mcmc_diagnostics

        functions = {} if quantity is None else by_name(quantity)
        if not isinstance(level, int | float | np.number) or not 0 < level < 1:
            raise ValueError(f"Argument level must lie between 0 and 1, but is {level!r}.")
        values = {name: self.params[name] for name in self.free} if quantity is None else {}
        if quantity is None:
            values |= {name: v for name, v in self.nuisance.items() if not name.endswith(("_offset", "run_effect"))}
        for name, function in functions.items():
            values[name] = self.derive(function)
        rows: dict[str, dict[str, float]] = {}
        for name, several in values.items():
            for label, value in scalars(name, several, self.groups):
                low, high = np.quantile(value, [0.5 - level / 2, 0.5 + level / 2])
                rows[label] = {
                    "estimate": float(np.mean(value)),
                    "sd": float(np.std(value, ddof=1)) if len(value) > 1 else math.nan,
                    "lower": float(low),
                    "upper": float(high),
                }
                if self.method == "nuts":
                    rows[label] |= mcmc_diagnostics.convergence(value.reshape(self.chains, -1))
        return Intervals(self.law, self.method, level, rows, self.about, self.notices, self.ok)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with a row for every draw, a column for every free or nuisance parameter."""
        import pandas as pd

        names = {name: self.params[name] for name in self.free} | self.nuisance
        return pd.DataFrame(
            {label: column for name, values in names.items() for label, column in scalars(name, values, self.groups)}
        )

    def to_arviz(self) -> Any:
        """The draws as the container of ArviZ (an xarray ``DataTree``), with what it needs for its plots."""
        from jaxscale.bayes import arviz_io

        return arviz_io.to_arviz(self)

    def save(self, path: str | Path) -> None:
        """Write the draws as a NetCDF file (ending .nc) that ArviZ reads too, there whole or not at all.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the path has another ending.
        """
        from jaxscale.bayes import arviz_io

        arviz_io.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        law: Law | None = None,
        *,
        observations: Observations | None = None,
        likelihood: Likelihood | None = None,
        priors: Mapping[str, Any] | None = None,
    ) -> "Draws":
        """Read what :meth:`save` wrote, bit for bit; the model is not in a file, but made anew where it is told.

        Args:
            path: a file that ends in .nc.
            law: the law, where it is not in the catalogue.
            observations: those that the posterior was drawn with, for what needs the model (``loo``, ``new_group``,
                ``responses``).
            likelihood: the same; that of the law's response unless given.
            priors: the same; the defaults unless given.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: the observations or the likelihood are of another type.
            ValueError: the file is not one of draws, or those of another law, or the model is not theirs.
        """
        from jaxscale.bayes import arviz_io

        read = arviz_io.load(path, law)
        if observations is not None:
            return arviz_io.modelled(read, observations, likelihood, priors)
        if likelihood is not None or priors is not None:
            raise ValueError("Argument observations must be given with a likelihood or priors, for the model.")
        return read

    def _refuse_shapes(self, law: Law, columns: list[np.ndarray]) -> None:
        """Refuse inputs that do not go together; an input may hold several numbers a row, as the law knows."""
        try:
            jax.eval_shape(lambda: law(*map(jnp.asarray, columns), **{name: 1.0 for name in law.parameters}))
        except (TypeError, ValueError) as error:
            told = ", ".join(f"{name} {column.shape}" for name, column in zip(law.inputs, columns, strict=True))
            raise ValueError(f"Inputs must be numbers or equally long arrays, but have shapes {told}.") from error


def scalars(name: str, values: np.ndarray, groups: Sequence[str] = ()) -> list[tuple[str, np.ndarray]]:
    """One entry for every number of a draw, those of groups with their names behind, others with their places."""
    if values.ndim == 1:
        return [(name, values)]
    flat = values.reshape(len(values), -1)
    places = groups if values.shape[1:] == (len(groups),) else range(flat.shape[1])
    return [(f"{name}[{place}]", flat[:, k]) for k, place in enumerate(places)]
