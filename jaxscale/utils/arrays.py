"""Types of arrays and numbers in annotations: those of NumPy, of JAX and of Python alike.

Axes have the same names everywhere: ``row``, ``lane`` (one descent of a batch), ``size`` (coordinates), ``free`` (free
parameters), ``start``, ``draw``, ``set`` (of parameters), ``run``, ``group``, ``problem``. ``...`` stands for axes that
may be there or not.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Key, Real, UInt32

# A key of JAX, of either kind.
RandomKey = Key[jax.Array, ""] | UInt32[jax.Array, "2"]

if TYPE_CHECKING:
    # They are checked at run time; a static checker would refuse most operations on unions of such types.
    Array: TypeAlias = Any
    Value: TypeAlias = Any
    Number: TypeAlias = Any
    Numbers: TypeAlias = Any
    Flags: TypeAlias = Any
else:
    Array = jax.Array | np.ndarray
    # An array or a plain number.
    Value = jax.Array | np.ndarray | np.floating | np.integer | float | int
    Number = Real[Value, ""]
    # One number, or an array of any shape.
    Numbers = Real[Value, "..."]
    # True or false, or an array of these.
    Flags = Bool[jax.Array | np.ndarray | np.bool | bool, "..."]
