"""The fully sampled centre of k-space, from which the coils are learnt."""

import numpy as np

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.coil_images import resize
from chistream.physics.middle import complete_middle


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
    middle = complete_middle(sampled)
    return None if middle is None else hybrid[:, :, middle[0], middle[1]]


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


def _cosine(n: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Taper n of size samples; all of them end nowhere and need none."""
    distance = np.arange(n) - n // 2
    return np.cos(np.pi * distance / (n + 1)) if n < size else np.ones(n)
