"""Family: laws that differ in how many times a part of the formula repeats."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxscale.law.declare import Law

# What a signature calls the parameters that are no identifiers.
OTHERS = "_others"


def signed(function: Callable[..., Any], inputs: Iterable[str], parameters: Iterable[str]) -> Callable[..., Any]:
    """The function, which takes ``*inputs`` or ``**parameters``, with the signature that names them one by one.

    Parameters that are no identifiers, such as ``alpha[small]``, stand behind its ``**``.

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
    """Laws numbered by a count: ``bnsl[2]`` is the law ``bnsl2``, made once and kept.

    Args:
        name: what the laws' names start with.
        make: returns the law of a count; its name must be the family's name and the count.
        largest: the largest count that can be asked for.
        listed: the counts that stand in the catalogue.
    """

    def __init__(self, name: str, make: Callable[[int], Law], *, largest: int, listed: Sequence[int]) -> None:
        self.name = name
        self.listed = tuple(listed)
        self._make = make
        self._largest = largest
        self._made: dict[int, Law] = {}

    def __getitem__(self, count: int) -> Law:
        """The law with ``count`` repetitions.

        Raises:
            ValueError: no law is made for this count.
        """
        if not 1 <= count <= self._largest:
            raise ValueError(f"Law family {self.name} takes a count from 1 to {self._largest}, but got {count}.")
        if count not in self._made:
            self._made[count] = self._make(count)
        return self._made[count]

    def __repr__(self) -> str:
        """The family as one would index it."""
        return f"<law family {self.name}[1..{self._largest}]>"
