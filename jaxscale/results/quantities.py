"""Derived quantities: named functions of the parameters."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxscale.utils.errors import ArgumentTypeError

Quantity = Callable[[dict[str, Any]], Any]
# One function, or a mapping of names to functions.
Quantities = Quantity | Mapping[str, Quantity]


def by_name(of: Any) -> dict[str, Quantity]:
    """A mapping of names to functions; a single function is named by its definition, a lambda "quantity".

    >>> list(by_name(lambda p: p["alpha"] / p["beta"]))
    ['quantity']

    Args:
        of: a function of the parameters, or name to function.

    Raises:
        TypeError: it is neither.
    """
    if callable(of):
        name = getattr(of, "__name__", "quantity")
        return {name if name.isidentifier() else "quantity": of}
    if not isinstance(of, Mapping):
        raise ArgumentTypeError(
            "quantity",
            "must be a function of the parameters or map names to functions, such as "
            f"{{'ratio': lambda p: ...}}, but is {of!r}.",
        )
    for name, function in of.items():
        if not callable(function):
            raise ArgumentTypeError(
                "quantity", f"must map names to functions of the parameters, but {name!r} maps to none."
            )
    return dict(of)


def single(of: Any) -> Quantity:
    """The argument, if it is a function of the parameters.

    Raises:
        TypeError: it is not a function.
    """
    if not callable(of):
        raise ArgumentTypeError(
            "quantity", f"must be a function of the parameters, such as lambda p: ..., but is {of!r}."
        )
    return of
