"""Plots of fits, laws, profiles and draws; each function returns a matplotlib figure."""

from typing import Any

from jaxscale.plots.draws import forest as forest
from jaxscale.plots.draws import pair as pair
from jaxscale.plots.draws import trace as trace
from jaxscale.plots.fit import plot as plot
from jaxscale.plots.law import plot_law as plot_law
from jaxscale.plots.predictive import band as band
from jaxscale.plots.predictive import predictive as predictive
from jaxscale.plots.profile import plot_contour as plot_contour
from jaxscale.plots.profile import plot_profile as plot_profile
from jaxscale.plots.style import file_format as file_format
from jaxscale.plots.style import render as render
from jaxscale.plots.style import save as save
from jaxscale.utils.namespace import member


def __getattr__(name: str) -> Any:
    """A function of a module of this package that is not imported above, from the module's ``__all__``."""
    return member(__name__, name)
