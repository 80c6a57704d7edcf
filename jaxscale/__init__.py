"""jaxscale: fit, trust and act on scaling laws.

A public name is imported on first use (PEP 562), so that importing the package costs next to nothing and a fit does not
import NumPyro. Which names are public, and which module defines each, is stated only in the stub ``__init__.pyi``: type
checkers and editors read it as it is, and the table below is read from it.
"""


def _read_stub() -> dict[str, str]:
    """Public name to the module that defines it; a public submodule is "defined" by the package itself."""
    import ast
    from pathlib import Path

    statements = ast.parse(Path(__file__).with_name("__init__.pyi").read_bytes()).body
    imports = [each for each in statements if isinstance(each, ast.ImportFrom)]
    return {alias.name: str(each.module) for each in imports for alias in each.names}


_MODULES = _read_stub()
__all__ = sorted([*_MODULES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        value = version(__name__)
    elif name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    elif _MODULES[name] == __name__:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
