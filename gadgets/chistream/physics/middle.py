"""The fully sampled middle of k-space, which parallel imaging and the coils are learnt from."""

import numpy as np

from chistream.arrays import Mask

MIN_LINES = 4
"""Along an axis that has as many: fewer tell nothing about how coils vary."""


def complete_middle(sampled: Mask) -> tuple[slice, slice] | None:
    """Find the largest block in the middle of k-space that every echo sampled fully.

    Parameters
    ----------
    sampled
        Lines that hold data ``(echoes, kz, ky)``; k = 0 lies at ``n // 2``.

    Returns
    -------
    tuple[slice, slice] | None
        Ranges of kz and ky; k = 0 lies at ``n // 2`` of them. None if there is no block of at least
        4 lines along each axis (of all lines, where there are fewer).

    Examples
    --------
    >>> complete_middle(np.ones((1, 6, 9), bool))
    (slice(0, 6, None), slice(0, 9, None))
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
    return _middle(n_z, best[0]), _middle(n_y, best[1])


def _middle(n: int, size: int) -> slice:
    first = n // 2 - size // 2
    return slice(first, first + size)


def _widest(complete: Mask) -> int:
    """Find the largest size whose middle is complete."""
    n = len(complete)
    return max((size for size in range(1, n + 1) if complete[_middle(n, size)].all()), default=0)
