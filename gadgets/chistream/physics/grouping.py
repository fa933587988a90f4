"""Volumes on coarser grids, made of blocks of voxels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from chistream.arrays import RealArray, Size, Vector, size_of


def block_sums(volume: npt.NDArray[Any], block: Size) -> npt.NDArray[Any]:
    """Sum a volume over blocks.

    Parameters
    ----------
    volume
        Values ``(z, y, x)``.
    block
        Voxels in a block ``(z, y, x)``; the last block of an axis takes what is left.

    Returns
    -------
    numpy.ndarray
        Sums ``(Z, Y, X)``.

    Examples
    --------
    >>> block_sums(np.arange(5.0).reshape(1, 1, 5), (1, 1, 2)).ravel()
    array([1., 5., 4.])
    """
    sums = volume
    for axis, size in enumerate(block):
        if size > 1:
            sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], size), axis=axis)
    return sums


def block_for(voxel_size: Vector, edge: float) -> Size:
    """Choose how many voxels make a block about as long as ``edge`` [mm] along ``(z, y, x)``."""
    z, y, x = (max(1, round(edge / length)) for length in voxel_size)
    return z, y, x


def refine(coarse: RealArray, block: Size, shape: Size) -> RealArray:
    """Interpolate a volume of blocks linearly at the centres of their voxels.

    Parameters
    ----------
    coarse
        Values ``(Z, Y, X)`` at the centres of full blocks.
    block
        Voxels in a block ``(z, y, x)``.
    shape
        Size of the fine grid ``(z, y, x)``.

    Returns
    -------
    RealArray
        Values of that shape; constant beyond the outermost centres.
    """
    fine = coarse
    for axis, (size, n) in enumerate(zip(block, shape, strict=True)):
        last = size_of(coarse)[axis] - 1
        place = np.clip((np.arange(n) + 0.5) / size - 0.5, 0, last)
        before = np.minimum(place.astype(int), max(last - 1, 0))
        part = (place - before).reshape([-1 if a == axis else 1 for a in range(3)])
        here, there = fine.take(before, axis), fine.take(np.minimum(before + 1, last), axis)
        fine = here + part * (there - here)
    return fine
