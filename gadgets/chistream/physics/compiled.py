"""Voxel-wise kernels, compiled on their first call and kept on disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel with numba, in strict floating point, releasing the interpreter lock.

    Parameters
    ----------
    function
        Plain Python over scalars and arrays.

    Returns
    -------
    Kernel
        The same call, compiled on first use and cached beside the module.
    """
    # Strict floating point: quality weights that differ in the last bit reorder a region growing.
    return cast("Kernel", numba.njit(cache=True, nogil=True, fastmath=False)(function))


def python_form(kernel: Kernel) -> Kernel:
    """Return the plain Python behind a compiled kernel, for tests and coverage.

    Parameters
    ----------
    kernel
        What `compiled` returned.

    Returns
    -------
    Kernel
        The function as it is written.
    """
    return cast("Kernel", kernel.py_func)  # type: ignore[attr-defined]
