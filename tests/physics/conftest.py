"""Kernels in the form that coverage can see."""

import pytest

from chistream.physics import edges, growing
from chistream.physics.compiled import python_form


@pytest.fixture
def plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the compiled kernels of unwrapping by the Python they were written in."""
    for module in (edges, growing):
        for attribute, value in vars(module).copy().items():
            if hasattr(value, "py_func"):
                monkeypatch.setattr(module, attribute, python_form(value))
