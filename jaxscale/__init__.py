"""jaxscale: fit, trust and act on scaling laws."""

from jaxscale import datasets, laws, noise, simulate
from jaxscale.algebra import chain, compose, fix, rename, tie
from jaxscale.bibliography import citation
from jaxscale.fitting import fit, grid
from jaxscale.identifiability import DesignCheck, check
from jaxscale.journal import JournalError
from jaxscale.law import Input, Law, LawError, Response
from jaxscale.many import Fits, fit_many
from jaxscale.notices import Notice
from jaxscale.observations import Observations
from jaxscale.preparation import prepare
from jaxscale.result import Fit, UnidentifiedError
from jaxscale.solver import Solution, solve
from jaxscale.tables import DataError
from jaxscale.uncertainty.normal import laplace
from jaxscale.uncertainty.resampling import bootstrap, jackknife
from jaxscale.uncertainty.resampling_intervals import bootstrap_intervals

__all__ = [
    "DataError",
    "DesignCheck",
    "Fit",
    "Fits",
    "Input",
    "JournalError",
    "Law",
    "LawError",
    "Notice",
    "Observations",
    "Response",
    "Solution",
    "UnidentifiedError",
    "__version__",
    "bootstrap",
    "bootstrap_intervals",
    "chain",
    "check",
    "citation",
    "compose",
    "datasets",
    "fit",
    "fit_many",
    "fix",
    "grid",
    "jackknife",
    "laplace",
    "laws",
    "noise",
    "prepare",
    "rename",
    "simulate",
    "solve",
    "tie",
]


def __getattr__(name: str) -> str:
    # Looking the version up costs more than the rest of this file; it is rarely asked for.
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxscale")
    raise AttributeError(f"module 'jaxscale' has no attribute {name!r}")
