"""Public data sets by name."""

from jaxscale.data.datasets import load as load
from jaxscale.data.datasets import names as names
