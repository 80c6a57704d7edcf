"""Results of ``fit_many``: a batch of fits of one law, as arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxscale.data.features import columns_of
from jaxscale.engine.bounds import interval_about
from jaxscale.engine.newton import CONVERGED, FLAT, STATUS
from jaxscale.law import Law
from jaxscale.laws import law_of_file, resolve
from jaxscale.results.intervals import check_level
from jaxscale.utils.arrays import Number, Value
from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.files import replace_nonfinite, write_atomically
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd

_ARRAYS = ("objective", "status", "agree", "polished", "steps")


@dataclass(frozen=True)
class Fits:
    """A batch of fits of one law, as arrays; the result of :func:`jaxscale.fit_many`.

    Args:
        law: the law; its name where the fits were read from a file and the catalogue does not hold it.
        free: names of the parameters that are not fixed in every fit.
        axes: meaning of the axes of the arrays: those of "data", "fixed", "noise", "weight" that were sequences.
        params: every parameter by name.
        objective: the minimised objectives.
        status: 0 max_steps, 1 converged, 2 flat (no further decrease possible), 3 stalled, 4 nonfinite.
        agree: number of polished starts of each problem that reached its best objective, to 1e-6.
        polished: number of polished starts of each problem.
        steps: iterations of the best lane.
        errors: standard errors by parameter, and degrees of freedom ("freedom"); computed on first use.
        solved: the problems at their optima; None when read from a file.
    """

    law: Law | str
    free: tuple[str, ...]
    axes: tuple[str, ...]
    params: dict[str, Float[np.ndarray, "*shape"]]
    objective: Float[np.ndarray, "*shape"]
    status: Int[np.ndarray, "*shape"]
    agree: Int[np.ndarray, "*shape"]
    polished: Int[np.ndarray, "*shape"]
    steps: Int[np.ndarray, "*shape"]
    errors: dict[str, Float[np.ndarray, "*shape"]] = field(default_factory=dict, compare=False, repr=False)
    solved: Any = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> Bool[np.ndarray, "*shape"]:
        """Which fits converged."""
        return np.isin(self.status, (CONVERGED, FLAT))

    @property
    def status_names(self) -> Shaped[np.ndarray, "*shape"]:
        """The status of every fit in words."""
        return np.asarray(np.array([STATUS[code] for code in range(len(STATUS))])[self.status])

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Conditions that affect the interpretation of the fits."""
        failed = int(np.sum(~self.ok))
        message = f"{failed} of {self.ok.size} fits did not converge; see ok."
        return (Notice("not_converged", message),) if failed else ()

    @property
    def stderr(self) -> dict[str, Float[np.ndarray, "*shape"]]:
        """Standard errors of the free parameters, as in :func:`jaxscale.fit`; NaN where that uses resampling."""
        if not self.errors:
            if self.solved is None:
                raise ValueError("These fits hold no standard errors; fit again.")
            errors, freedom = self.solved.standard_errors()
            arrays = {**errors, "freedom": freedom}
            self.errors.update({name: values.reshape(self.objective.shape) for name, values in arrays.items()})
        return {name: self.errors[name] for name in self.free}

    def intervals(
        self, level: float = 0.9
    ) -> dict[str, tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]]:
        """Wald confidence intervals of the free parameters, with t quantiles.

        They are computed on the log scale of positive parameters and the logit scale of fractions.

        Args:
            level: coverage, between 0 and 1.

        Returns:
            Lower and upper ends by parameter, of the shape of the fits; NaN where a fit has no standard errors.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        from scipy.special import stdtrit

        check_level(level)
        errors, kinds = self.stderr, resolve(self.law).parameters
        t = stdtrit(np.maximum(self.errors["freedom"], 1), 0.5 + level / 2)
        ends = {}
        for name in self.free:
            pairs = zip(self.params[name].ravel(), (t * errors[name]).ravel(), strict=True)
            each = [interval_about(kinds[name].support, float(value), float(half)) for value, half in pairs]
            lower, upper = np.reshape(each, (*self.objective.shape, 2)).T
            ends[name] = (lower.T, upper.T)
        return ends

    def predict(self, **inputs: Shaped[Value, "..."] | Sequence[Number | str] | str) -> Float[np.ndarray, "..."]:
        """Predictions of every fit.

        Args:
            **inputs: inputs by name, numbers or equally long arrays.

        Returns:
            The shape of the fits, followed by that of the inputs.

        Raises:
            ValueError: an input is missing or unknown.
        """
        law = resolve(self.law)
        columns = columns_of(law, inputs)
        with jax.enable_x64(True):
            flat = {name: jnp.asarray(values).ravel() for name, values in self.params.items()}
            predictions = np.asarray(jax.vmap(lambda params: law(*columns, **params))(flat))
        return predictions.reshape((*self.objective.shape, *predictions.shape[1:]))

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with one row per fit: index on every axis, parameters, objective, status, ok."""
        import pandas as pd

        places = dict(zip(self.axes, np.indices(self.objective.shape), strict=True))
        columns = {**places, **self.params, "objective": self.objective, "status": self.status_names, "ok": self.ok}
        return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})

    def save(self, path: str | Path) -> None:
        """Write the fits with their standard errors as a JSON file, atomically.

        Raises:
            FileNotFoundError: the folder does not exist.
            ValueError: the path does not end in .json.
        """
        if Path(path).suffix != ".json":
            raise ArgumentError("path", f"must end in .json, as files of fits do, but is {str(path)!r}.")
        entries = {
            "law": str(self.law),
            "free": self.free,
            "axes": self.axes,
            "shape": self.objective.shape,
            "params": {name: values.ravel().tolist() for name, values in self.params.items()},
            "errors": {name: values.ravel().tolist() for name, values in ({**self.stderr, **self.errors}).items()},
            **{name: getattr(self, name).ravel().tolist() for name in _ARRAYS},
        }
        write_atomically(path, (json.dumps(replace_nonfinite(entries), allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> "Fits":
        """Fits written by :meth:`save`.

        Args:
            path: of the JSON file.
            law: the law, where it is not in the catalogue.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file does not hold fits of this law.
        """
        try:
            entries = json.loads(Path(path).read_text())
            shape, name = tuple(entries["shape"]), str(entries["law"])
            numbers = {key: np.array(entries[key], float if key == "objective" else int) for key in _ARRAYS}
            by_parameter = {
                key: {name: np.array(values, float).reshape(shape) for name, values in entries[key].items()}
                for key in ("params", "errors")
            }
            arrays = {key: values.reshape(shape) for key, values in numbers.items()}
            axes, free = tuple(entries["axes"]), tuple(entries["free"])
            fits = cls(name, free, axes, by_parameter["params"], **arrays, errors=by_parameter["errors"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} does not hold fits ({error}); write them with Fits.save.") from error
        return replace(fits, law=law_of_file(name, law, "fits"))
