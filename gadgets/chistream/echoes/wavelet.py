"""Shrinking what is sparse in wavelets, jointly over echoes."""

from typing import TypeVar

import numpy as np

from chistream.arrays import ComplexArray, RealArray, Size, size_of

AnyArray = TypeVar("AnyArray", ComplexArray, RealArray)

_LEAST = 4
"""An axis is halved no further than this."""

_HALF = np.float32(np.sqrt(0.5))


def shrink_wavelets(
    echoes: ComplexArray, threshold: float, *, levels: int = 3, shift: Size = (0, 0, 0)
) -> ComplexArray:
    r"""Shrink the details of echoes (the proximal map of a joint L1 norm of wavelets).

    .. math:: c_e \leftarrow c_e \max\Big( 0, 1 - \tau \big/ \sqrt{\textstyle\sum_f |c_f|^2} \Big)

    Parameters
    ----------
    echoes
        ``(echoes, z, y, x)``. A detail is kept or lost in all echoes alike.
    threshold
        :math:`\tau`, in the unit of the echoes, >= 0. Noise of a coefficient is that of a voxel.
    levels
        Halvings at most.
    shift
        Voxels by which the grid of wavelets is moved (z, y, x); vary it over iterations, and
        blocks leave no edges (cycle spinning).

    Returns
    -------
    ComplexArray
        ``(echoes, z, y, x)`` complex64. The coarsest level is kept.

    References
    ----------
    .. [1] Lustig M, Donoho D, Pauly JM. Sparse MRI: the application of compressed sensing for
       rapid MR imaging. Magn Reson Med. 2007;58(6):1182-1195. doi:10.1002/mrm.21391
    """
    moved = np.roll(echoes, shift, (-3, -2, -1)).astype(np.complex64)
    sizes = _sizes(size_of(moved), levels)
    for size in sizes:
        for axis in (-3, -2, -1):
            _split(_corner(moved, size), axis)
    magnitude = np.sqrt((moved.real**2 + moved.imag**2).sum(axis=0))
    factor = np.maximum(magnitude - np.float32(threshold), 0) / np.where(
        magnitude > 0, magnitude, 1
    )
    _corner(factor, _halved(sizes[-1]) if sizes else size_of(moved))[...] = 1
    moved *= factor
    for size in reversed(sizes):
        for axis in (-1, -2, -3):
            _join(_corner(moved, size), axis)
    back = (-shift[0], -shift[1], -shift[2])
    return np.roll(moved, back, (-3, -2, -1))


def _sizes(size: Size, levels: int) -> list[Size]:
    """List the sizes that are halved, the largest first."""
    sizes: list[Size] = []
    while len(sizes) < levels and max(size) >= 2 * _LEAST:
        sizes.append(size)
        size = _halved(size)
    return sizes


def _halved(size: Size) -> Size:
    z, y, x = (_half(n) for n in size)
    return z, y, x


def _half(n: int) -> int:
    return n if n < 2 * _LEAST else n - n // 2


def _corner(volume: AnyArray, size: Size) -> AnyArray:
    return volume[..., : size[0], : size[1], : size[2]]


def _split(volume: ComplexArray, axis: int) -> None:
    """Replace pairs along an axis by their sums in front and differences behind, in place."""
    values = np.moveaxis(volume, axis, 0)
    n = len(values)
    if _half(n) == n:
        return
    even, odd = values[: n - n % 2 : 2].copy(), values[1::2].copy()
    last = values[-1].copy()
    values[n - n // 2 :] = (even - odd) * _HALF
    values[: n // 2] = (even + odd) * _HALF
    if n % 2:  # what has no partner stays among the sums
        values[n // 2] = last


def _join(volume: ComplexArray, axis: int) -> None:
    """Undo `_split`, in place."""
    values = np.moveaxis(volume, axis, 0)
    n = len(values)
    if _half(n) == n:
        return
    sums, differences = values[: n // 2].copy(), values[n - n // 2 :].copy()
    last = values[n // 2].copy()
    values[: n - n % 2 : 2] = (sums + differences) * _HALF
    values[1::2] = (sums - differences) * _HALF
    if n % 2:
        values[-1] = last
