"""Fit: the answer, with its uncertainty and its provenance; files are JSON, bit for bit."""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxscale.data.features import columns_of
from jaxscale.data.observations import Observations
from jaxscale.engine.implicit_diff import influence
from jaxscale.law import Law
from jaxscale.results.quantities import Quantity, single
from jaxscale.utils.errors import did_you_mean
from jaxscale.utils.files import nulls, write_atomically
from jaxscale.utils.notices import Notice

# What a file does not hold.
UNWRITTEN = ("law_object", "observations", "notices")
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
        uncertainty: ``method`` of the standard errors, ``freedom`` of their t quantiles, ``replicates``; where it
            matters the ``reason`` for the method and the parameters ``at_bound`` with the end they have run to.
        noise: loss, residual space and settings.
        objective: ``sum w rho(r)`` at the optimum; for squared error half the residual sum of squares.
        certificate: the further decrease a Newton step (or linear programme) promises, relative to the objective.
        residuals: ``rms``, ``median`` (absolute), ``largest`` in the noise's space; its row, ``largest_row``, as
            ``row_unit`` counts it ("line" of a file, else "row"); ``r2``, and ``r2_trimmed`` without the twentieth of
            the rows that are farthest from the law.
        rows_read: rows of the table.
        rows_used: rows that count.
        starts: ``scored``, ``polished``, ``converged``, ``independent``, ``agree``, ``agree_all``.
        basins: minima met, best first: ``objective``, ``count``, ``params``.
        status: "converged", "worse_than_constant", "no_degrees_of_freedom", "starts_disagree" or "not_converged".
        notices: what a person should know.
        design: the design check before the fit; ``allowed`` where it was overridden.
        seed: of starts and resamples.
        versions: of what computed it.
        data_sha256: fingerprint of the table.
        data: name of the table.
        columns: input or "response" to column.
        used_sha256: fingerprint of the numbers that were fitted; empty in files of older versions.
        percentiles: of the resamples that standard errors come from, by parameter, at the ``shares``.
        law_object: the law itself; looked up in the catalogue when read from a file.
        observations: what was fitted; None when read from a file.
    """

    law: str
    params: dict[str, float]
    stderr: dict[str, float]
    correlation: tuple[tuple[float, ...], ...]
    free: tuple[str, ...]
    fixed: dict[str, float]
    uncertainty: dict[str, Any]
    noise: dict[str, Any]
    objective: float
    certificate: float
    residuals: dict[str, Any]
    rows_read: int
    rows_used: int
    starts: dict[str, int]
    basins: tuple[dict[str, Any], ...]
    status: str
    notices: tuple[Notice, ...]
    design: dict[str, Any]
    seed: int
    versions: dict[str, str]
    data_sha256: str
    data: str
    columns: dict[str, str]
    used_sha256: str = ""
    percentiles: dict[str, tuple[float, ...]] = field(default_factory=dict)
    law_object: Law | None = field(default=None, compare=False, repr=False)
    observations: Observations | None = field(default=None, compare=False, repr=False)

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
        from jaxscale.results.refit_problem import rebuilt

        quantity = (lambda p: p[of]) if isinstance(of, str) else single(of)
        with jax.enable_x64(True):
            again = rebuilt(self, observations)
            values = influence(again.problem, again.z, again.wide, self.params, quantity)
        return values[: len(again.observations)]

    def __str__(self) -> str:
        """The report."""
        from jaxscale.results.fit_report import text

        return text(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """The fit as JSON text, written to ``path`` atomically where one is given; NaN becomes null."""
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in UNWRITTEN}
        told["warnings"] = [{"code": notice.code, "message": notice.message} for notice in self.notices]
        text = json.dumps(nulls(told), indent=2, allow_nan=False) + "\n"
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
            told = json.loads(text)
            told["notices"] = tuple(Notice(**notice) for notice in told.pop("warnings"))
            for name in ("stderr", "residuals"):
                told[name] = {key: math.nan if value is None else value for key, value in told[name].items()}
            told["design"] |= _nans(told["design"])
            told["correlation"] = tuple(tuple(math.nan if v is None else v for v in row) for row in told["correlation"])
            told["percentiles"] = {key: tuple(row) for key, row in told.get("percentiles", {}).items()}
            told["free"], told["basins"] = tuple(told["free"]), tuple(told["basins"])
            told["certificate"] = math.nan if told["certificate"] is None else told["certificate"]
            return cls(**told, law_object=law)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"This is not a fit written by jaxscale ({error}); write one with Fit.to_json.") from error

    def _law(self) -> Law:
        if self.law_object is not None:
            return self.law_object
        from jaxscale.laws import get

        return get(self.law)


def _nans(design: dict[str, Any]) -> dict[str, Any]:
    stderr = {key: math.nan if value is None else value for key, value in design["stderr"].items()}
    return {"condition": math.nan if design["condition"] is None else design["condition"], "stderr": stderr}
