"""Designs of sweeps: grids, sizes at equal compute, and an example."""

from jaxscale.data.designs import example as example
from jaxscale.data.designs import grid as grid
from jaxscale.data.designs import isoflop as isoflop
