"""A fitted law with standard errors, diagnostics and provenance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float, Shaped

from jaxscale.data.features import columns_of
from jaxscale.data.observations import Observations
from jaxscale.engine.implicit_diff import influence
from jaxscale.law import Law
from jaxscale.laws import law_of_file, resolve
from jaxscale.noise import Noise
from jaxscale.results.fit_file import from_entries, to_entries
from jaxscale.results.intervals import Intervals, check_level
from jaxscale.results.parts import Design, Landscape, Provenance, Residuals, StandardErrors
from jaxscale.results.quantities import Quantity, single
from jaxscale.utils.arrays import Number, Value
from jaxscale.utils.errors import ArgumentError, did_you_mean
from jaxscale.utils.files import replace_nonfinite, write_atomically
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    import pandas as pd

LOGARITHMIC = ("amplitude", "scale", "location", "positive_number")


@dataclass(frozen=True)
class Fit:
    """A fitted law with standard errors, diagnostics and provenance.

    Args:
        law: the law; its name where the fit was read from a file and the catalogue does not hold it.
        params: every parameter by name, in the paper's parametrisation.
        stderr: standard error of every free parameter (NaN where undefined).
        correlation: correlation matrix of the free parameters' estimates, in the order of ``free``.
        free: names of the fitted parameters.
        fixed: values of the fixed parameters.
        noise: residual space and loss.
        scale: scale of the noise, fitted or given, where the loss has one.
        objective: ``sum w rho(r)`` at the optimum; for squared error half the residual sum of squares.
        certificate: relative Newton decrement: the decrease of the objective that a further step predicts, over it.
        errors: how the standard errors were estimated.
        residuals: size of the residuals, and R^2 in the unit of the response.
        landscape: starts and minima of the search.
        status: "converged", "worse_than_constant", "no_degrees_of_freedom", "starts_disagree" or "not_converged".
        notices: conditions of the data or the fit that affect its interpretation.
        design: the design check; None where the law has no finite derivative.
        provenance: seed, versions, table.
        rows_read: rows of the table.
        rows_used: rows of positive weight.
        observations: the fitted observations; None when read from a file.
        problem: the optimisation problem and its optimum (:class:`jaxscale.results.refit_problem.RefitProblem`);
            None when read from a file, and rebuilt when needed.
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
        """Whether the status is "converged"."""
        return self.status == "converged"

    def predict(self, **inputs: Shaped[Value, "..."] | Sequence[Number | str] | str) -> Float[Value, "..."]:
        """Predictions of the law at its fitted parameters.

        Args:
            **inputs: inputs by name, numbers or equally long arrays. Where the law computes inputs from others, such as
                a learning rate schedule, these may be given instead.

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

        Wald intervals with t quantiles on an unbounded scale: the logarithm of a positive parameter, the logit of a
        fraction. Where the half width exceeds 0.7 on that scale, the hull of the Wald and the profile likelihood
        interval; at a bound the latter alone;
        percentile intervals where standard errors come from resamples. Intervals stay inside the support. With fewer
        than two degrees of freedom the ends are NaN.

        Args:
            level: coverage, between 0 and 1.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        from jaxscale.profiling.fit_intervals import intervals_of

        check_level(level)
        ends = intervals_of(self, level)
        rows = {
            name: {"estimate": self.params[name], "sd": self.stderr[name], "lower": low, "upper": high}
            for name, (low, high) in ends.items()
        }
        about = {"seed": self.provenance.seed, "status": self.status}
        return Intervals(
            self.law, f"fit, {self.errors.method} standard errors", level, rows, about, self.notices, self.ok
        )

    def influence(
        self, quantity: str | Quantity, observations: Observations | None = None
    ) -> Float[np.ndarray, " row"]:
        """Influence of every row on a quantity: its derivative with respect to the row's weight at the optimum.

        ``d quantity / d w_i``, exact (for a Huber loss on its active set, while no residual crosses delta). To first
        order, leaving out row i of weight 1 changes the quantity by minus this number (for squared error, by about
        ``1 / (1 - h)`` times as much where the row has leverage h); leaving out a run, by minus the sum over its
        rows. For a row of weight 0 it is the effect of adding the row. It is not finite where the data do not
        identify the parameters.

        >>> fit.influence(quantity=lambda p: law(70e9, 1.4e12, **p))  # doctest: +SKIP

        Args:
            quantity: name of a parameter, or a differentiable JAX function of the parameters (name to value) that
                returns one number.
            observations: the fitted observations, where the fit was read from a file.

        Returns:
            One number per observation, in float64.

        Raises:
            TypeError: the loss is absolute, whose optimum has no such derivative, or ``quantity`` is neither a name nor
                a function.
            ValueError: the quantity is not a parameter or not a scalar, or the observations are missing or not those
                of the fit.
        """
        law = resolve(self.law)
        if isinstance(quantity, str) and quantity not in law.parameters:
            raise ArgumentError(
                "quantity",
                f"names {quantity!r}, which is no parameter of {law.name}"
                f"{did_you_mean(quantity, law.parameters)}; its parameters are {', '.join(law.parameters)}.",
            )
        from jaxscale.results.refit_problem import refit_problem

        function = (lambda p: p[quantity]) if isinstance(quantity, str) else single(quantity)
        with jax.enable_x64(True):
            refit = refit_problem(self, observations)
            values = influence(refit.problem, refit.z, refit.wide, self.params, function)
        return values[: len(refit.observations)]

    def __str__(self) -> str:
        """The report."""
        from jaxscale.results.fit_report import text

        return text(self)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas data frame with one row per free parameter: estimate, standard error and 90 % interval."""
        return self.intervals().to_frame()

    def to_json(self) -> str:
        """The fit as JSON text; NaN becomes null."""
        return json.dumps(replace_nonfinite(to_entries(self)), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the fit as a JSON file, atomically.

        Raises:
            FileNotFoundError: the folder does not exist.
            ValueError: the path does not end in .json.
        """
        if Path(path).suffix != ".json":
            raise ArgumentError("path", f"must end in .json, as files of fits do, but is {str(path)!r}.")
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> "Fit":
        """A fit written by :meth:`save`, bit for bit.

        Args:
            path: of the JSON file.
            law: the law, where it is not in the catalogue.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file does not hold a fit of this law.
        """
        return cls.from_json(Path(path).read_text(), law)

    @classmethod
    def from_json(cls, text: str, law: Law | None = None) -> "Fit":
        """A fit from the text of :meth:`to_json`; arguments and errors as in :meth:`load`."""
        try:
            fit = cls(**from_entries(json.loads(text)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"This is not a fit written by jaxscale ({error}); write one with Fit.save.") from error
        return replace(fit, law=law_of_file(str(fit.law), law, "fit"))
