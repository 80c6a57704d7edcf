"""Fit: the answer, with its uncertainty and its provenance; files are JSON, bit for bit."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import columns_of
from jaxscale.data.observations import Observations
from jaxscale.engine.implicit_diff import influence
from jaxscale.law import Law
from jaxscale.noise import Noise
from jaxscale.results.fit_file import from_entries, to_entries
from jaxscale.results.parts import Design, Landscape, Provenance, Residuals, StandardErrors
from jaxscale.results.quantities import Quantity, single
from jaxscale.utils.errors import did_you_mean
from jaxscale.utils.files import nulls, write_atomically
from jaxscale.utils.notices import Notice

LOGARITHMIC = ("amplitude", "scale", "location", "positive_number")


@dataclass(frozen=True)
class Fit:
    """A fitted law; call it with inputs by name to predict.

    Args:
        law: identifier of the law.
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
        law_object: the law itself; looked up in the catalogue when read from a file.
        observations: what was fitted; None when read from a file.
        problem: the problem that was solved and its optimum (:class:`jaxscale.results.refit_problem.RefitProblem`);
            None when read from a file, and made again where it is needed.
    """

    law: str
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
    law_object: Law | None = field(default=None, compare=False, repr=False)
    observations: Observations | None = field(default=None, compare=False, repr=False)
    problem: Any = field(default=None, compare=False, repr=False)

    def __call__(self, **inputs: Any) -> Any:
        """Predict: the law at its fitted parameters, for inputs by name (numbers or arrays).

        Where the law says how its inputs follow from others, such as a schedule, these can be given instead.

        Raises:
            ValueError: an input is missing or unknown.
        """
        law = self._law()
        columns = columns_of(law, inputs)
        with jax.enable_x64(True):
            value = np.asarray(law(*columns, **self.params))
        return float(value) if value.ndim == 0 else value

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Lower and upper end of every free parameter's interval.

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
        return intervals_of(self, level)

    def influence(self, of: str | Quantity, observations: Observations | None = None) -> np.ndarray:
        """What every row does to a quantity: the quantity's derivative in the row's weight at the optimum.

        ``d of / d w_i``, exact (for a Huber loss: that of its active set, while no residual crosses delta). To first
        order, leaving out row i of weight 1 changes the quantity by minus this number (by more where the row has
        leverage h: for squared errors about ``1 / (1 - h)`` times as much); leaving out a run, by minus the sum
        over its rows. For a row of weight 0 it is what adding the row would do. It is not finite where the
        data do not identify the parameters.

        >>> fit.influence(of=lambda p: law(70e9, 1.4e12, **p))  # doctest: +SKIP

        Args:
            of: name of a parameter, or a function of the parameters (name to value) that returns one number
                and is made of operations that JAX differentiates.
            observations: what was fitted, where the fit was read from a file.

        Returns:
            One number per observation, in float64.

        Raises:
            TypeError: the loss is absolute, whose optimum has no such derivative, or ``of`` is no name and no function.
            ValueError: the quantity is no parameter or not one number, or the observations are missing or others.
        """
        law = self._law()
        if isinstance(of, str) and of not in law.parameters:
            raise ValueError(
                f"Argument of names {of!r}, which is no parameter of {law.name}"
                f"{did_you_mean(of, law.parameters)}; its parameters are {', '.join(law.parameters)}."
            )
        from jaxscale.results.refit_problem import refit_problem

        quantity = (lambda p: p[of]) if isinstance(of, str) else single(of)
        with jax.enable_x64(True):
            again = refit_problem(self, observations)
            values = influence(again.problem, again.z, again.wide, self.params, quantity)
        return values[: len(again.observations)]

    def __str__(self) -> str:
        """The report."""
        from jaxscale.results.fit_report import text

        return text(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """The fit as JSON text, written to ``path`` atomically where one is given; NaN becomes null."""
        text = json.dumps(nulls(to_entries(self)), indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_atomically(path, text.encode())
        return text

    @classmethod
    def from_json(cls, source: str | Path, law: Law | None = None) -> "Fit":
        """Read what :meth:`to_json` wrote, from a path or its text.

        Args:
            source: a path, or the JSON text itself.
            law: the law, where it is not in the catalogue.

        Raises:
            ValueError: this is not a fit.
        """
        text = str(source)
        if isinstance(source, Path) or not text.lstrip().startswith("{"):
            text = Path(source).read_text()
        try:
            return cls(**from_entries(json.loads(text)), law_object=law)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"This is not a fit written by jaxscale ({error}); write one with Fit.to_json.") from error

    def _law(self) -> Law:
        if self.law_object is not None:
            return self.law_object
        from jaxscale.laws import get

        return get(self.law)
