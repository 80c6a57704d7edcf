"""Types of arrays and numbers in annotations: those of NumPy, of JAX and of Python alike.

Axes have the same names everywhere: ``row``, ``lane`` (one descent of a batch), ``size`` (coordinates), ``free`` (free
parameters), ``start``, ``draw``, ``set`` (of parameters), ``run``, ``group``, ``problem``. ``*lane`` stands for an axis
that is there or not.
"""

import jax
import numpy as np
from jaxtyping import Bool, Key, Real, UInt32

Array = jax.Array | np.ndarray
# An array or a plain number.
Value = jax.Array | np.ndarray | np.floating | np.integer | float | int
Number = Real[Value, ""]
# One number, or an array of any shape.
Numbers = Real[Value, "..."]
# True or false, or an array of these.
Flags = Bool[jax.Array | np.ndarray | np.bool | bool, "..."]
# A key of JAX, of either kind.
RandomKey = Key[jax.Array, ""] | UInt32[jax.Array, "2"]
