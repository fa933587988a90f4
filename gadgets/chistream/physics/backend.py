"""One implementation for every array library: numpy now, torch or cupy where there is a GPU.

Functions that say so take arrays of any library that follows the Array API standard, compute in
that library on the device where the arrays lie, and give back arrays of the same kind. Their
signatures name numpy's types, which all but a few callers use. Only what a library does faster in
its own way is chosen by kind: FFTW and compiled kernels behind numpy.

The functions of the standard: https://data-apis.org/array-api/latest/
"""

import math
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from chistream.arrays import Mask, RealArray


def namespace(*arrays: object) -> Any:  # noqa: ANN401
    """Give the functions of the standard for arrays of one kind.

    Parameters
    ----------
    arrays
        Arrays of one library; None and numbers count for nothing.

    Returns
    -------
    Any
        A module with the functions of the standard.

    Raises
    ------
    TypeError
        If the arrays come from two libraries, or none is an array.

    Examples
    --------
    >>> namespace(np.zeros(3), None).sum(np.ones(3)).item()
    3.0
    """
    return array_api_compat.array_namespace(*arrays)


def is_numpy(array: object) -> bool:
    """Tell whether an array is numpy's own, for which FFTW and compiled kernels are at hand."""
    return isinstance(array, np.ndarray)


def to_numpy(array: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    """Copy an array of any library to numpy, from whatever device it lies on.

    Parameters
    ----------
    array
        Array of any kind; numpy's own are returned as they are.

    Returns
    -------
    numpy.ndarray
        The values, in the same precision.
    """
    if array_api_compat.is_torch_array(array):
        array = array.detach().cpu()
    elif array_api_compat.is_cupy_array(array):  # pragma: no cover  (needs a GPU)
        array = array.get()
    return np.asarray(array)


def matched(values: object, like: RealArray | Mask, dtype: str | None = None) -> Any:  # noqa: ANN401
    """Give values the library and the device of an array.

    Parameters
    ----------
    values
        Numbers, or an array of numpy or of the library of ``like``.
    like
        Array whose library and device are wanted.
    dtype
        Precision by its name in the standard, such as ``"float32"``; that of the values by
        default.

    Returns
    -------
    Any
        The values, as an array of the same kind.
    """
    xp = namespace(like)
    wanted = None if dtype is None else getattr(xp, dtype)
    if isinstance(values, type(like)):
        return values if dtype is None else converted(values, dtype)
    device = array_api_compat.device(like)
    return xp.asarray(np.asarray(values), dtype=wanted, device=device)


def zeros_like(like: RealArray | Mask, shape: tuple[int, ...], dtype: str) -> RealArray:
    """Make zeros of any shape of the kind and on the device of an array.

    Parameters
    ----------
    like
        Array whose library and device are wanted.
    shape
        Shape of the zeros.
    dtype
        Precision by its name in the standard.
    """
    xp = namespace(like)
    zeros: RealArray = xp.zeros(
        shape, dtype=getattr(xp, dtype), device=array_api_compat.device(like)
    )
    return zeros


def converted(array: RealArray | Mask, dtype: str) -> RealArray:
    """Give an array another precision, named as in the standard; no copy if it has it."""
    xp = namespace(array)
    result: RealArray = xp.astype(array, getattr(xp, dtype), copy=False)
    return result


def dot(first: RealArray, second: RealArray) -> float:
    """Sum the products of two real arrays of one shape."""
    if is_numpy(first):
        return float(np.vdot(first, second))
    xp = namespace(first, second)
    return float(xp.vecdot(xp.reshape(first, (-1,)), xp.reshape(second, (-1,))))


def norm(values: RealArray) -> float:
    """Take the Euclidean norm of all values of a real array."""
    return math.sqrt(dot(values, values))


def total(values: RealArray | Mask) -> float:
    """Sum all values, in double precision."""
    if is_numpy(values):
        return float(np.sum(values, dtype=float))
    xp = namespace(values)
    return float(xp.sum(values, dtype=xp.float64))


def mean(values: RealArray) -> float:
    """Average all values, in double precision."""
    return total(values) / math.prod(values.shape)


def deviation(values: RealArray) -> float:
    """Take the standard deviation of all values about their mean."""
    return norm(values - mean(values)) / math.sqrt(math.prod(values.shape))


def quantile(values: RealArray, fraction: float) -> float:
    """Interpolate the value below which a part of all values lies.

    Parameters
    ----------
    values
        Values of any shape, at least one.
    fraction
        The part, in [0, 1]; 0.5 gives the median.

    Examples
    --------
    >>> quantile(np.array([4.0, 1.0, 2.0]), 0.75)
    3.0
    """
    if is_numpy(values):
        return float(np.quantile(values, fraction))
    xp = namespace(values)
    ranked = xp.sort(xp.reshape(values, (-1,)))
    position = fraction * (ranked.shape[0] - 1)
    lower = math.floor(position)
    upper = min(lower + 1, ranked.shape[0] - 1)
    low, high = float(ranked[lower]), float(ranked[upper])
    interpolated: float = low + (position - lower) * (high - low)
    return interpolated
