"""A new module of a public namespace is found by its file."""

import sys
from pathlib import Path

import pytest

import jaxscale
from jaxscale import costs, plots


@pytest.mark.parametrize("package", [plots, costs])
def test_a_new_module_is_found_by_its_file(package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{package.__name__}.new_module"
    (tmp_path / "new_module.py").write_text(
        '__all__ = ["new_function"]\n\n\ndef new_function() -> int:\n    return 3\n'
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert package.new_function() == 3
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(package, "new_module")


def test_a_name_that_no_module_declares_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'jaxscale\.plots' has no attribute 'nothing'$"):
        jaxscale.plots.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="'_private'"):
        jaxscale.costs._private  # noqa: B018
