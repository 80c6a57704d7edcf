"""Signatures of laws that repeat a part."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def signed(function: Callable[..., Any], inputs: Iterable[str], parameters: Iterable[str]) -> Callable[..., Any]:
    """The function, which takes its parameters as ``**kwargs``, with a signature that names them.

    Args:
        function: computes a law from inputs by position and parameters by name.
        inputs: names of the inputs, in order.
        parameters: names of the parameters, in order.
    """
    by_position = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
    by_name = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in parameters]
    vars(function)["__signature__"] = inspect.Signature(by_position + by_name)
    return function
