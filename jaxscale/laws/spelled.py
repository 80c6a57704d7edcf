"""Signatures of laws whose parts repeat: the names that a count makes are written out."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def spelled_out(function: Callable[..., Any], inputs: Iterable[str], parameters: Iterable[str]) -> Callable[..., Any]:
    """Give ``function(*inputs, **parameters)`` the signature that a law of these names needs.

    Args:
        function: takes any inputs by position and any parameters by name.
        inputs: names of the inputs, in their order.
        parameters: names of the parameters, in their order.

    Returns:
        The function itself.
    """
    by_position = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
    by_name = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in parameters]
    vars(function)["__signature__"] = inspect.Signature(by_position + by_name)
    return function
