"""The fully sampled centre of k-space, from which the coils are learnt."""

import numpy as np

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.coil_images import resize

MIN_LINES = 4
"""Along an axis that has as many: fewer tell nothing about how coils vary."""


def calibration_block(hybrid: ComplexArray, sampled: Mask) -> ComplexArray | None:
    """Cut the largest fully sampled block out of the middle of k-space.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, kz, ky, x)``, centred at ``n // 2``.
    sampled
        Lines that hold data ``(echoes, kz, ky)``.

    Returns
    -------
    ComplexArray | None
        A view ``(echoes, coils, kz, ky, x)``, again centred at ``n // 2``. None if there is no
        block of at least 4 lines along each axis (of all lines, where there are fewer).
    """
    complete: Mask = np.all(sampled, axis=0)
    best: tuple[int, int] = (0, 0)
    n_z, n_y = complete.shape
    for size_z in range(min(MIN_LINES, n_z), n_z + 1):
        columns: Mask = np.all(complete[_middle(n_z, size_z)], axis=0)
        size_y = _widest(columns)
        if size_y >= min(MIN_LINES, n_y) and size_z * size_y > best[0] * best[1]:
            best = size_z, size_y
    if best == (0, 0):
        return None
    return hybrid[:, :, _middle(n_z, best[0]), _middle(n_y, best[1])]


def low_resolution(block: ComplexArray, size: tuple[int, int]) -> ComplexArray:
    """Lay a block of k-space onto a grid, tapered so that its edges make no ripples.

    Parameters
    ----------
    block
        ``(echoes, coils, kz, ky, x)``, centred at ``n // 2``.
    size
        Grid ``(z, y)``.

    Returns
    -------
    ComplexArray
        Hybrid k-space ``(echoes, coils, kz, ky, x)`` of that grid.
    """
    n_z, n_y, n_x = block.shape[2:]
    taper = np.outer(_cosine(n_z, size[0]), _cosine(n_y, size[1])).astype(np.float32)
    return resize(block * taper[:, :, None], (*size, n_x))


def _middle(n: int, size: int) -> slice:
    first = n // 2 - size // 2
    return slice(first, first + size)


def _widest(complete: Mask) -> int:
    """Find the largest size whose middle is complete."""
    n = len(complete)
    return max((size for size in range(1, n + 1) if complete[_middle(n, size)].all()), default=0)


def _cosine(n: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Taper n of size samples; all of them end nowhere and need none."""
    distance = np.arange(n) - n // 2
    return np.cos(np.pi * distance / (n + 1)) if n < size else np.ones(n)
