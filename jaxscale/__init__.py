"""jaxscale: fit, trust and act on scaling laws."""

from jaxscale import datasets, laws, noise, simulate
from jaxscale.bibliography import citation
from jaxscale.fitting import fit, grid
from jaxscale.identifiability import DesignCheck, check
from jaxscale.law import Input, Law, LawError, Response
from jaxscale.notices import Notice
from jaxscale.observations import Observations
from jaxscale.result import Fit, UnidentifiedError
from jaxscale.solver import Solution, solve
from jaxscale.tables import DataError

__all__ = [
    "DataError",
    "DesignCheck",
    "Fit",
    "Input",
    "Law",
    "LawError",
    "Notice",
    "Observations",
    "Response",
    "Solution",
    "UnidentifiedError",
    "__version__",
    "check",
    "citation",
    "datasets",
    "fit",
    "grid",
    "laws",
    "noise",
    "simulate",
    "solve",
]


def __getattr__(name: str) -> str:
    # Looking the version up costs more than the rest of this file; it is rarely asked for.
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxscale")
    raise AttributeError(f"module 'jaxscale' has no attribute {name!r}")
