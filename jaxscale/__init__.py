"""jaxscale: fit, trust and act on scaling laws."""

from typing import TYPE_CHECKING, Any

from jaxscale import datasets, laws, likelihoods, noise, simulate
from jaxscale.algebra import chain, compose, fix, rename, tie
from jaxscale.bibliography import citation
from jaxscale.draws import Draws, NotUsableError
from jaxscale.fitting import fit, grid
from jaxscale.identifiability import DesignCheck, check
from jaxscale.intervals import Intervals
from jaxscale.journal import JournalError
from jaxscale.law import Input, Law, LawError, Response
from jaxscale.many import fit_many
from jaxscale.notices import Notice
from jaxscale.observations import Observations
from jaxscale.preparation import prepare
from jaxscale.problems import Fits
from jaxscale.result import Fit, UnidentifiedError
from jaxscale.solver import Solution, solve
from jaxscale.tables import DataError

if TYPE_CHECKING:
    from jaxscale.evidence import compare, leave_future_out, loo, stacking
    from jaxscale.foretelling import foretold
    from jaxscale.sensitivity_to_priors import prior_sensitivity
    from jaxscale.uncertainty.contour import Contour, contour
    from jaxscale.uncertainty.densities import sample
    from jaxscale.uncertainty.normal import laplace
    from jaxscale.uncertainty.posterior import posterior, posterior_many
    from jaxscale.uncertainty.profile import Profile, profile
    from jaxscale.uncertainty.resampling import bootstrap, jackknife
    from jaxscale.uncertainty.resampling_intervals import bootstrap_intervals

__all__ = [
    "Contour",
    "DataError",
    "DesignCheck",
    "Draws",
    "Fit",
    "Fits",
    "Input",
    "Intervals",
    "JournalError",
    "Law",
    "LawError",
    "NotUsableError",
    "Notice",
    "Observations",
    "Profile",
    "Response",
    "Solution",
    "UnidentifiedError",
    "__version__",
    "bootstrap",
    "bootstrap_intervals",
    "chain",
    "check",
    "citation",
    "compare",
    "compose",
    "contour",
    "datasets",
    "fit",
    "fit_many",
    "fix",
    "foretold",
    "grid",
    "jackknife",
    "laplace",
    "laws",
    "leave_future_out",
    "likelihoods",
    "loo",
    "noise",
    "posterior",
    "posterior_many",
    "prepare",
    "prior_sensitivity",
    "profile",
    "rename",
    "sample",
    "simulate",
    "solve",
    "stacking",
    "tie",
]


# Doors whose modules import what a fit does not need (NumPyro): they are looked up when first asked for.
_LATER = {
    "Contour": "jaxscale.uncertainty.contour",
    "Profile": "jaxscale.uncertainty.profile",
    "bootstrap": "jaxscale.uncertainty.resampling",
    "bootstrap_intervals": "jaxscale.uncertainty.resampling_intervals",
    "compare": "jaxscale.evidence",
    "contour": "jaxscale.uncertainty.contour",
    "foretold": "jaxscale.foretelling",
    "jackknife": "jaxscale.uncertainty.resampling",
    "laplace": "jaxscale.uncertainty.normal",
    "leave_future_out": "jaxscale.evidence",
    "loo": "jaxscale.evidence",
    "posterior": "jaxscale.uncertainty.posterior",
    "posterior_many": "jaxscale.uncertainty.posterior",
    "prior_sensitivity": "jaxscale.sensitivity_to_priors",
    "profile": "jaxscale.uncertainty.profile",
    "sample": "jaxscale.uncertainty.densities",
    "stacking": "jaxscale.evidence",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(_LATER[name]), name)
    # Looking the version up costs more than the rest of this file; it is rarely asked for.
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxscale")
    raise AttributeError(f"module 'jaxscale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
