"""Public namespaces that collect the names in ``__all__`` of the modules of a package."""

import importlib
import pkgutil
from typing import Any


def member(package: str, name: str) -> Any:
    """Object by its name in ``__all__`` of a module of a package.

    Args:
        package: such as "jaxscale.plots"; its ``__getattr__`` calls this for names that it does not import itself.
        name: name of the object.

    Raises:
        AttributeError: no module of the package lists the name.
    """
    if not name.startswith("_"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{found.name}")
            if name in getattr(module, "__all__", ()):
                return getattr(module, name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
