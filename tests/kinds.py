"""The array libraries that every solver must serve."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

KINDS = ["numpy", "strict", "torch"]
OTHER_KINDS = ["strict", "torch"]

_MODULES = {"strict": "array_api_strict", "torch": "torch"}


def as_kind(kind: str, array: npt.ArrayLike) -> Any:  # noqa: ANN401
    """Give numbers as an array of a library, or skip the test where it is not installed."""
    values = np.asarray(array)
    if kind == "numpy":
        return values
    name = _MODULES[kind]
    library = pytest.importorskip(name, reason=f"{name} is not installed")
    return library.asarray(values.copy())


def assert_kind(kind: str, array: object) -> None:
    """Check that an array belongs to a library."""
    module = type(array).__module__.partition(".")[0]
    assert module == _MODULES.get(kind, kind)
