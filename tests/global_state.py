"""Settings of a process that neither importing the package nor calling it may change."""

import gc
import os
import warnings
from typing import Any

import jax
import numpy as np
from jax._src import monitoring


def settings() -> dict[str, Any]:
    """Listeners and settings of JAX, and settings of Python, NumPy and the environment."""
    listeners = {k: list(v) for k, v in vars(monitoring).items() if k.endswith("_listeners") and isinstance(v, list)}
    assert len(listeners) >= 3, "JAX keeps its listeners elsewhere; this test must be changed"
    return {
        "listeners": listeners,
        "jax": dict(jax.config.values),
        "environment": dict(os.environ),
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
    }
