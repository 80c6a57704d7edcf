"""The public names of jaxscale and the modules that define them; ``__init__.py`` reads its table from this file."""

from jaxscale import laws as laws
from jaxscale import likelihoods as likelihoods
from jaxscale import noise as noise
from jaxscale.data.features import prepare as prepare
from jaxscale.data.observations import Observations as Observations
from jaxscale.engine.solve import Solution as Solution
from jaxscale.engine.solve import solve as solve
from jaxscale.fitting.batched_fits import Fits as Fits
from jaxscale.fitting.fit import fit as fit
from jaxscale.fitting.fit import grid as grid
from jaxscale.fitting.fit_many import fit_many as fit_many
from jaxscale.identification.identifiability import DesignCheck as DesignCheck
from jaxscale.identification.identifiability import check as check
from jaxscale.law import Input as Input
from jaxscale.law import Law as Law
from jaxscale.law import LawError as LawError
from jaxscale.law import Response as Response
from jaxscale.law.algebra import bound as bound
from jaxscale.law.algebra import chain as chain
from jaxscale.law.algebra import compose as compose
from jaxscale.law.algebra import fix as fix
from jaxscale.law.algebra import rename as rename
from jaxscale.law.algebra import tie as tie
from jaxscale.prediction.comparison import compare as compare
from jaxscale.prediction.comparison import leave_future_out as leave_future_out
from jaxscale.prediction.comparison import loo as loo
from jaxscale.prediction.comparison import stacking as stacking
from jaxscale.prediction.forecast import foretold as foretold
from jaxscale.prediction.prior_sensitivity import prior_sensitivity as prior_sensitivity
from jaxscale.profiling.contour import Contour as Contour
from jaxscale.profiling.contour import contour as contour
from jaxscale.profiling.profile import Profile as Profile
from jaxscale.profiling.profile import profile as profile
from jaxscale.reporting.citation import citation as citation
from jaxscale.resampling.bootstrap import bootstrap as bootstrap
from jaxscale.resampling.bootstrap import jackknife as jackknife
from jaxscale.resampling.intervals import bootstrap_intervals as bootstrap_intervals
from jaxscale.results.draws import Draws as Draws
from jaxscale.results.fit import Fit as Fit
from jaxscale.results.intervals import Intervals as Intervals
from jaxscale.sampling.laplace_approximation import laplace as laplace
from jaxscale.sampling.log_density import sample as sample
from jaxscale.sampling.posterior import posterior as posterior
from jaxscale.sampling.posterior import posterior_many as posterior_many
from jaxscale.utils.checkpoint import JournalError as JournalError
from jaxscale.utils.compilation_cache import enable_compilation_cache as enable_compilation_cache
from jaxscale.utils.errors import DataError as DataError
from jaxscale.utils.errors import NotUsableError as NotUsableError
from jaxscale.utils.errors import UnidentifiedError as UnidentifiedError
from jaxscale.utils.notices import Notice as Notice

__all__: list[str]
__version__: str
