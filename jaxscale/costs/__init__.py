"""Cost models of training runs, one differentiable function each."""

from typing import Any

from jaxscale.costs.training import flops_6nd as flops_6nd
from jaxscale.utils.namespace import member


def __getattr__(name: str) -> Any:
    """A function of a module of this package that is not imported above, from the module's ``__all__``."""
    return member(__name__, name)
