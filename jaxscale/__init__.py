"""jaxscale: fit, trust and act on scaling laws."""

from jaxscale import datasets as datasets
from jaxscale import laws as laws
from jaxscale import noise as noise
from jaxscale import simulate as simulate
from jaxscale.fitting import fit as fit
from jaxscale.fitting import grid as grid
from jaxscale.identifiability import DesignCheck as DesignCheck
from jaxscale.identifiability import check as check
from jaxscale.law import Input as Input
from jaxscale.law import Law as Law
from jaxscale.law import LawError as LawError
from jaxscale.law import Response as Response
from jaxscale.notices import Notice as Notice
from jaxscale.observations import Observations as Observations
from jaxscale.result import Fit as Fit
from jaxscale.result import UnidentifiedError as UnidentifiedError
from jaxscale.solver import Solution as Solution
from jaxscale.solver import solve as solve
from jaxscale.tables import DataError as DataError
