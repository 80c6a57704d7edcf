"""Equally weighted parameter sets from any sampling or resampling method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real, Shaped

from jaxscale.data.features import columns_of, first_outside
from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.noise.likelihood import Likelihood
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.quantities import Quantities, Quantity, by_name, single
from jaxscale.utils.arrays import Number, Numbers, Value
from jaxscale.utils.errors import ArgumentError, NotUsableError, did_you_mean
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd

# Suffixes of nuisance parameters that belong to all groups and runs.
OF_ALL = ("_offset", "_spread", "_population", "run_effect")
# Why draws lack the model that a method needs.
NO_MODEL = "have no model (draws of one group, refits and files read without observations have none)"


class _DrawParameters(dict[str, Any]):
    """Parameters of one draw by name; an unknown name raises an error that lists the known ones."""

    def __init__(self, law: str, params: Mapping[str, Numbers]) -> None:
        super().__init__(params)
        self.law = law

    def __missing__(self, name: str) -> Any:
        raise ValueError(
            f"A function of the parameters uses {name!r}, which is not a parameter of {self.law}"
            f"{did_you_mean(name, self)}; its parameters are {', '.join(self)}."
        )


class _LabelledParameters(dict[str, np.ndarray]):
    """The law's parameters by name; lookup also accepts the row labels of tables."""

    def __init__(
        self,
        params: Mapping[str, Float[np.ndarray, "draw ..."]],
        nuisance: Mapping[str, Float[np.ndarray, "draw ..."]],
        groups: tuple[str, ...],
    ) -> None:
        super().__init__(params)
        self.nuisance, self.groups = nuisance, groups

    def __missing__(self, name: str) -> Float[np.ndarray, " draw"]:
        printed = dict(self.nuisance)
        for key, values in {**self, **self.nuisance}.items():
            printed |= scalars(key, values, self.groups)
        if name not in printed:
            hint = did_you_mean(name, printed)
            raise KeyError(f"{name}: no parameter has this name{hint}; there are {', '.join(printed)}")
        return printed[name]


@dataclass(frozen=True)
class Draws:
    """Parameter draws with a leading draw axis, their method and its diagnostics.

    Args:
        law: the law; its name where the catalogue does not hold it.
        params: every parameter of the law, shape (draws,), or (draws, groups) where each group has its own; chains
            are concatenated. Lookup also accepts the row labels of tables, such as ``a[small]`` and ``a_population``.
        method: the sampling or resampling method they come from: "laplace", "importance", "nuts", "case bootstrap", ...
        free: names of the parameters that vary.
        nuisance: parameters outside the law, such as the scale of the noise; leading axis (draws,).
        chains: number of chains; 1 where draws are independent.
        stats: statistics of every draw, such as ``log_density``, ``diverging``, ``energy``; shape (draws,).
        about: settings and diagnostics of the method: ``khat``, ``divergences``, ``n_resamples``, ``priors``, ...
        notices: conditions of the data or the sampler that affect the interpretation of the draws.
        ok: whether the draws can be used; False where a diagnostic failed, and for a jackknife.
        observations: the fitted observations; None when read from a file.
        model: the sampled model (:class:`jaxscale.bayes.model.Model`), where there is one.
        likelihood: the likelihood of the responses where there is no model, as for one group out of several.
        group_names: labels of the groups, in the order of the last axis of their parameters; default: those of the
            observations.
    """

    law: Law | str
    params: dict[str, Float[np.ndarray, "draw ..."]]
    method: str
    free: tuple[str, ...]
    nuisance: dict[str, Float[np.ndarray, "draw ..."]] = field(default_factory=dict)
    chains: int = 1
    stats: dict[str, Shaped[np.ndarray, " draw"]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    ok: bool = True
    observations: Observations | None = field(default=None, compare=False, repr=False)
    model: Any = field(default=None, compare=False, repr=False)
    likelihood: Likelihood | None = field(default=None, compare=False, repr=False)
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject parameters that share a name with a nuisance parameter; set the names of the groups."""
        for name in self.params:
            if name in self.nuisance:
                raise ValueError(
                    f"Parameter {name!r} of {self.law} has the name of a nuisance parameter; rename it: "
                    f"jaxscale.rename(law, {name}={name + '_of_law'!r})."
                )
        if not self.group_names and self.observations is not None:
            object.__setattr__(self, "group_names", self.observations.groups)
        object.__setattr__(self, "params", _LabelledParameters(self.params, self.nuisance, self.groups))

    def __len__(self) -> int:
        """The number of draws."""
        return len(next(iter(self.params.values())))

    def __str__(self) -> str:
        """The table of parameters at 90 %."""
        return str(self.intervals())

    def require_ok(self) -> None:
        """Raise an error unless the draws can be used.

        Raises:
            NotUsableError: a sampler did not converge, or resampling failed.
        """
        if not self.ok:
            reasons = "; ".join(notice.message for notice in self.notices)
            raise NotUsableError(f"These draws ({self.method}) are not usable: {reasons}")

    def derive(self, quantity: Quantity) -> Shaped[np.ndarray, "draw ..."]:
        """A function of the parameters for every draw, shape (draws, ...).

        >>> draws.derive(lambda p: p["beta"] / (p["alpha"] + p["beta"]))  # doctest: +SKIP

        Args:
            quantity: takes the parameters of one draw by name and returns a number or an array, by operations of JAX.

        Raises:
            TypeError: it is not a function.
            ValueError: the function uses an unknown parameter, or NumPy instead of JAX.
        """
        quantity = single(quantity)
        with jax.enable_x64(True):
            params = {name: jnp.asarray(value) for name, value in self.params.items()}
            try:
                return np.asarray(jax.vmap(lambda each: quantity(_DrawParameters(str(self.law), each)))(params))
            except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
                raise ValueError(
                    "A function of the parameters must use JAX operations: jax.numpy instead of numpy and math, "
                    "jnp.where instead of if."
                ) from error

    def predict(self, **inputs: Shaped[Value, "..."] | Sequence[Number | str] | str) -> Float[np.ndarray, "draw ..."]:
        """Predictions of the law for every draw, shape (draws, ...), followed by the shape of the inputs.

        Raises:
            ValueError: an input is missing, unknown, outside its domain or of another length, or each group has its
                own parameters (see ``of_group``).
        """
        law = resolve(self.law)
        columns = columns_of(law, inputs)
        if violation := first_outside(law, dict(zip(law.inputs, columns, strict=True))):
            raise ArgumentError(violation[0], f"must lie {violation[1]}, but holds {violation[2]:g}.")
        grouped = [name for name, value in self.params.items() if value.ndim > 1]
        if grouped:
            raise ValueError(f"Each group has its own {', '.join(grouped)}; choose one first: {self._choice}.")
        try:
            np.broadcast_shapes(*(column.shape for column in columns))
        except ValueError:
            self._raise_shapes(law, columns)
        # Inputs are broadcast against each other.
        with jax.numpy_rank_promotion("allow"):
            return self.derive(lambda params: law(*columns, **params))

    @property
    def scatter(self) -> Likelihood | None:
        """The likelihood of the responses given the law, of the model or of the group; None where unknown."""
        return self.likelihood if self.model is None else self.model.likelihood

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that have their own parameters or scale; empty with complete pooling."""
        own = [*self.params.values(), *(self.nuisance[name] for name in ("scale",) if name in self.nuisance)]
        count = max((values.shape[1] for values in own if values.ndim > 1), default=0)
        return self.group_names if len(self.group_names) == count else tuple(map(str, range(count)))

    @property
    def _choice(self) -> str:
        """The call that selects one group, for error messages."""
        return f"draws.of_group({self.groups[0]!r})"

    def of_group(self, group: str | int) -> "Draws":
        """Draws of the parameters and the noise scale of one group.

        Args:
            group: its label in the table.

        Returns:
            Draws for ``predict`` and ``responses``, without the model, the observations and the log densities, which
            belong to all groups.

        Raises:
            ValueError: there is no such group, or groups share all parameters.
        """
        if not self.groups:
            raise ValueError("These draws have no parameters of groups; use them directly.")
        if str(group) not in self.groups:
            hint = did_you_mean(str(group), self.groups)
            raise ArgumentError("group", f"must be one of {', '.join(self.groups)}, but is {group!r}{hint}.")
        place = self.groups.index(str(group))
        own = {name: value[:, place] if value.ndim > 1 else value for name, value in self.params.items()}
        nuisance = {name: value for name, value in self.nuisance.items() if not name.endswith(OF_ALL)}
        likelihood = self.scatter
        if "scale" in nuisance and nuisance["scale"].ndim > 1:
            nuisance["scale"] = nuisance["scale"][:, place]
            likelihood = None if likelihood is None else likelihood.of_one_group()
        return replace(
            self,
            params=own,
            nuisance=nuisance,
            stats={name: values for name, values in self.stats.items() if not name.startswith("log_")},
            observations=None,
            model=None,
            likelihood=likelihood,
            group_names=(),
        )

    def responses(
        self, seed: int = 0, **inputs: Shaped[Value, "..."] | Sequence[Number | str] | str
    ) -> Float[np.ndarray, "draw row"]:
        """Posterior predictive responses, prediction plus noise, shape (draws, n).

        Args:
            seed: random seed.
            **inputs: inputs by name, shape (n,); each row is a separate run, with its own run effect where the model
                has one.

        Raises:
            ValueError: the likelihood is unknown, or needs more than the law's inputs, as for counts.
        """
        from jaxscale.noise.likelihood import replicate
        from jaxscale.utils.random import generator_of

        scatter = self.scatter
        if scatter is None:
            raise ValueError(f"These draws ({self.method}) {NO_MODEL}, so the likelihood of responses is unknown.")
        if scatter.sampled_with:
            raise ValueError(
                f"Simulated counts need their number of trials ({', '.join(scatter.sampled_with)}) in addition to the "
                "law's inputs; use predict, which excludes noise."
            )
        if scatter.by_group:
            raise ValueError(f"Each group has its own scale; choose a group first: {self._choice}.")
        level = self.predict(**{name: np.atleast_1d(value) for name, value in inputs.items()})
        rows = {"run": np.arange(level.shape[1]), "group": np.zeros(level.shape[1], int)}
        return replicate(scatter, generator_of(seed)[0], self.nuisance, level, rows)

    def quantiles(
        self, levels: Real[Value, "..."] | Sequence[Number], quantity: Quantity | None = None
    ) -> dict[str, Float[Value, "..."]] | Float[Value, "..."]:
        """Quantiles of every free parameter by name, or of a function of the parameters.

        Args:
            levels: probabilities, shape (q,) or ().
            quantity: a function of the parameters of one draw, as for :meth:`derive`.

        Raises:
            ValueError: a level is not between 0 and 1.
        """
        try:
            bad = [level for level in np.ravel(np.asarray(levels, float)) if not 0 <= level <= 1]
        except (TypeError, ValueError):
            bad = [levels]
        if bad:
            raise ArgumentError("levels", f"must hold numbers between 0 and 1, but holds {bad[0]!r}.")
        if quantity is not None:
            return np.quantile(self.derive(quantity), levels, axis=0)
        return {name: np.quantile(self.params[name], levels, axis=0) for name in self.free}

    def intervals(self, level: float = 0.9, quantity: Quantities | None = None) -> Intervals:
        """Equal-tailed intervals of the free parameters, or of functions of the parameters.

        Args:
            level: coverage, between 0 and 1.
            quantity: a function of the parameters of one draw, or name to function; default: the free parameters.

        Raises:
            TypeError: ``quantity`` is neither a function nor a mapping to functions.
            ValueError: the level is not between 0 and 1.
        """
        from jaxscale.results import mcmc_diagnostics

        functions = {} if quantity is None else by_name(quantity)
        check_level(level)
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
        """A pandas data frame with one row per draw and one column per free or nuisance parameter."""
        import pandas as pd

        names = {name: self.params[name] for name in self.free} | self.nuisance
        return pd.DataFrame(
            {label: column for name, values in names.items() for label, column in scalars(name, values, self.groups)}
        )

    def to_arviz(self) -> Any:
        """The draws as an ArviZ data tree (xarray ``DataTree``)."""
        from jaxscale.bayes import arviz_io

        return arviz_io.to_arviz(self)

    def save(self, path: str | Path) -> None:
        """Write the draws atomically as a NetCDF file (.nc) that ArviZ can read.

        Raises:
            FileNotFoundError: the folder does not exist.
            ValueError: the path has another extension.
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
        """Draws written by :meth:`save`, bit for bit; the model is rebuilt where observations are given.

        Args:
            path: a file that ends in .nc.
            law: the law, where it is not in the catalogue.
            observations: the observations of the posterior, for methods that need the model (``loo``, ``new_group``,
                ``responses``).
            likelihood: of the model; default: that of the law's response.
            priors: of the model; default: the default priors.

        Raises:
            FileNotFoundError: the file does not exist.
            TypeError: the observations or the likelihood have another type.
            ValueError: the file does not hold draws of this law, or the model differs from that of the draws.
        """
        from jaxscale.bayes import arviz_io

        read = arviz_io.load(path, law)
        if observations is not None:
            return arviz_io.rebuild_model(read, observations, likelihood, priors)
        if likelihood is not None or priors is not None:
            raise ArgumentError("observations", "must be given with a likelihood or priors, for the model.")
        return read

    def _raise_shapes(self, law: Law, columns: list[Shaped[np.ndarray, "..."]]) -> None:
        """Reject inputs that do not broadcast; an input of the law may have several numbers per row."""
        try:
            jax.eval_shape(lambda: law(*map(jnp.asarray, columns), **{name: 1.0 for name in law.parameters}))
        except (TypeError, ValueError) as error:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(law.inputs, columns, strict=True))
            raise ValueError(f"Inputs must be numbers or equally long arrays, but have shapes {shapes}.") from error


def scalars(
    name: str, values: Shaped[np.ndarray, "draw ..."], groups: Sequence[str] = ()
) -> list[tuple[str, Shaped[np.ndarray, " draw"]]]:
    """The scalar components of a parameter as (label, values): ``name``, ``name[group]`` or ``name[index]``."""
    if values.ndim == 1:
        return [(name, values)]
    flat = values.reshape(len(values), -1)
    places = groups if values.shape[1:] == (len(groups),) else range(flat.shape[1])
    return [(f"{name}[{place}]", flat[:, k]) for k, place in enumerate(places)]
