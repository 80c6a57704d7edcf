"""Fit: a fitted law with standard errors, diagnostics and provenance; files are JSON."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxscale.data.features import columns_of
from jaxscale.data.observations import Observations
from jaxscale.engine.implicit_diff import influence
from jaxscale.law import Law
from jaxscale.laws import law_of_file, resolve
from jaxscale.noise import Noise
from jaxscale.results.fit_file import from_entries, to_entries
from jaxscale.results.intervals import Intervals
from jaxscale.results.parts import Design, Landscape, Provenance, Residuals, StandardErrors
from jaxscale.results.quantities import Quantity, single
from jaxscale.utils.errors import did_you_mean
from jaxscale.utils.files import nulls, write_atomically
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd

LOGARITHMIC = ("amplitude", "scale", "location", "positive_number")


@dataclass(frozen=True)
class Fit:
    """A fitted law with standard errors, diagnostics and provenance.

    Args:
        law: the law; its name where the fit was read from a file and no law of the catalogue has that name.
        params: every parameter by name, in the paper's own constants.
        stderr: standard error of every free parameter (NaN where there is none).
        correlation: of the free parameters' estimates, rows in the order of ``free``.
        free: names of the fitted parameters.
        fixed: values of the others.
        noise: residual space and loss.
        scale: scale of the noise, where the loss has one, fitted or given.
        objective: ``sum w rho(r)`` at the optimum; for squared error half the residual sum of squares.
        certificate: the further decrease a Newton step (or linear programme) promises, relative to the objective.
        errors: how the standard errors were estimated.
        residuals: their size, and the coefficient of determination.
        landscape: starts and minima of the search.
        status: "converged", "worse_than_constant", "no_degrees_of_freedom", "starts_disagree" or "not_converged".
        notices: conditions of the data or the fit that its user should know.
        design: the design check; None where the law has no finite slope.
        provenance: seed, versions, table.
        rows_read: rows of the table.
        rows_used: rows that count.
        observations: what was fitted; None when read from a file.
        problem: the problem that was solved and its optimum (:class:`jaxscale.results.refit_problem.RefitProblem`);
            None when read from a file, and made again where it is needed.
    """

    law: Law | str
    params: dict[str, float]
    stderr: dict[str, float]
    correlation: tuple[tuple[float, ...], ...]
    free: tuple[str, ...]
    fixed: dict[str, float]
    noise: Noise
    scale: float | None
    objective: float
    certificate: float
    errors: StandardErrors
    residuals: Residuals
    landscape: Landscape
    status: str
    notices: tuple[Notice, ...]
    design: Design | None
    provenance: Provenance
    rows_read: int
    rows_used: int
    observations: Observations | None = field(default=None, compare=False, repr=False)
    problem: Any = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the fit converged and its status warns of nothing."""
        return self.status == "converged"

    def predict(self, **inputs: Any) -> Any:
        """Predictions of the law at its fitted parameters.

        Args:
            **inputs: inputs by name, numbers or equally long arrays. Where the law computes its inputs from others, such as
                a learning rate schedule, these can be given instead.

        Returns:
            A number, or an array of the inputs' shape.

        Raises:
            ValueError: an input is missing or unknown.
        """
        law = resolve(self.law)
        columns = columns_of(law, inputs)
        # Inputs are broadcast against each other.
        with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
            value = np.asarray(law(*columns, **self.params))
        return float(value) if value.ndim == 0 else value

    def intervals(self, level: float = 0.9) -> Intervals:
        """Confidence intervals of the free parameters.

        By t quantiles of the standard error where the parameter has no bounds: in the logarithm of a positive number,
        the logit of a fraction. Where such an interval spans a factor, or a parameter lies at a bound, by the profile
        likelihood; where standard errors come from resamples, by their percentiles. No interval leaves the support.
        With fewer than two degrees of freedom the ends are NaN.

        Args:
            level: coverage, between 0 and 1.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        from jaxscale.profiling.fit_intervals import intervals_of

        if not 0 < level < 1:
            raise ValueError(f"Argument level must lie between 0 and 1, but is {level!r}.")
        ends = intervals_of(self, level)
        rows = {
            name: {"estimate": self.params[name], "sd": self.stderr[name], "lower": low, "upper": high}
            for name, (low, high) in ends.items()
        }
        about = {"seed": self.provenance.seed, "status": self.status}
        return Intervals(
            self.law, f"fit, {self.errors.method} standard errors", level, rows, about, self.notices, self.ok
        )

    def influence(self, quantity: str | Quantity, observations: Observations | None = None) -> np.ndarray:
        """What every row does to a quantity: the quantity's derivative in the row's weight at the optimum.

        ``d of / d w_i``, exact (for a Huber loss: that of its active set, while no residual crosses delta). To first
        order, leaving out row i of weight 1 changes the quantity by minus this number (by more where the row has
        leverage h: for squared errors about ``1 / (1 - h)`` times as much); leaving out a run, by minus the sum
        over its rows. For a row of weight 0 it is what adding the row would do. It is not finite where the
        data do not identify the parameters.

        >>> fit.influence(quantity=lambda p: law(70e9, 1.4e12, **p))  # doctest: +SKIP

        Args:
            quantity: name of a parameter, or a function of the parameters (name to value) that returns one number
                and is made of operations that JAX differentiates.
            observations: what was fitted, where the fit was read from a file.

        Returns:
            One number per observation, in float64.

        Raises:
            TypeError: the loss is absolute, whose optimum has no such derivative, or ``quantity`` is neither a name nor a
                function.
            ValueError: the quantity is no parameter or not one number, or the observations are missing or others.
        """
        law = resolve(self.law)
        if isinstance(quantity, str) and quantity not in law.parameters:
            raise ValueError(
                f"Argument quantity names {quantity!r}, which is no parameter of {law.name}"
                f"{did_you_mean(quantity, law.parameters)}; its parameters are {', '.join(law.parameters)}."
            )
        from jaxscale.results.refit_problem import refit_problem

        function = (lambda p: p[quantity]) if isinstance(quantity, str) else single(quantity)
        with jax.enable_x64(True):
            again = refit_problem(self, observations)
            values = influence(again.problem, again.z, again.wide, self.params, function)
        return values[: len(again.observations)]

    def __str__(self) -> str:
        """The report."""
        from jaxscale.results.fit_report import text

        return text(self)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with a row for every free parameter: estimate, standard error and 90 % interval."""
        return self.intervals().to_frame()

    def to_json(self) -> str:
        """The fit as JSON text; NaN becomes null."""
        return json.dumps(nulls(to_entries(self)), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the fit as a JSON file, atomically.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the path does not end in .json.
        """
        if Path(path).suffix != ".json":
            raise ValueError(f"Argument path must end in .json, as files of fits do, but is {str(path)!r}.")
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> "Fit":
        """Read a fit that :meth:`save` wrote, bit for bit.

        Args:
            path: of the JSON file.
            law: the law, where it is not in the catalogue.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a fit, or a fit of another law.
        """
        return cls.from_json(Path(path).read_text(), law)

    @classmethod
    def from_json(cls, text: str, law: Law | None = None) -> "Fit":
        """Read the text that :meth:`to_json` returned; arguments and errors as of :meth:`load`."""
        try:
            fit = cls(**from_entries(json.loads(text)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"This is not a fit written by jaxscale ({error}); write one with Fit.save.") from error
        return replace(fit, law=law_of_file(str(fit.law), law, "fit"))
