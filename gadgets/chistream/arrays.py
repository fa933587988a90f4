"""The kinds of array that the stages exchange; axes are always (..., z, y, x)."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

RealArray: TypeAlias = npt.NDArray[np.floating[Any]]
ComplexArray: TypeAlias = npt.NDArray[np.complexfloating[Any, Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]

Size: TypeAlias = tuple[int, int, int]
"""Number of voxels, (z, y, x)."""

Vector: TypeAlias = tuple[float, float, float]
"""Anything given per axis, (z, y, x); patient vectors (LPS) are named so and are (L, P, S)."""


def size_of(volume: npt.NDArray[Any]) -> Size:
    """Return the last three axes of an array as a Size.

    Parameters
    ----------
    volume
        Array ``(..., z, y, x)``.

    Returns
    -------
    Size
        ``(z, y, x)``.

    Raises
    ------
    ValueError
        If the array has fewer than three axes.
    """
    if volume.ndim < 3:
        raise ValueError(f"a volume has at least 3 axes (z, y, x), got shape {volume.shape}")
    z, y, x = volume.shape[-3:]
    return z, y, x
