"""Families of laws that differ in the number of repeated terms."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxscale.law.declare import Law

# Name of the variadic argument of parameters that are not identifiers.
OTHERS = "_others"


def with_signature(
    function: Callable[..., Any], inputs: Iterable[str], parameters: Iterable[str]
) -> Callable[..., Any]:
    """Set the signature of a function of ``*inputs`` and ``**parameters`` to their names.

    Parameters that are not identifiers, such as ``alpha[small]``, are passed by its ``**``.

    Args:
        function: computes a law from inputs by position and parameters by name.
        inputs: names of the inputs, in order.
        parameters: names of the parameters, in order.
    """
    by_position = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
    names = list(parameters)
    by_name = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names if name.isidentifier()]
    if len(by_name) < len(names):
        by_name.append(inspect.Parameter(OTHERS, inspect.Parameter.VAR_KEYWORD))
    vars(function)["__signature__"] = inspect.Signature(by_position + by_name)
    return function


class Family:
    """Laws indexed by a number of terms: ``bnsl[2]`` is the law ``bnsl2``, created once.

    Args:
        name: prefix of the names of the laws.
        make: function from a count to the law; its name must be the prefix and the count.
        largest: largest count.
        listed: counts in the catalogue.
    """

    def __init__(self, name: str, make: Callable[[int], Law], *, largest: int, listed: Sequence[int]) -> None:
        self.name = name
        self.listed = tuple(listed)
        self._make = make
        self._largest = largest
        self._laws: dict[int, Law] = {}

    def __getitem__(self, count: int) -> Law:
        """The law with ``count`` repetitions.

        Raises:
            ValueError: the count is out of range.
        """
        if not 1 <= count <= self._largest:
            raise ValueError(f"Law family {self.name} takes a count from 1 to {self._largest}, but got {count}.")
        if count not in self._laws:
            self._laws[count] = self._make(count)
        return self._laws[count]

    def __repr__(self) -> str:
        """Name and range of the family."""
        return f"<law family {self.name}[1..{self._largest}]>"
