"""How much of each voxel a solid fills, from its surface's distance in the voxels around."""

import numpy as np
import numpy.typing as npt

from chistream.arrays import RealArray
from chistream.physics.compiled import compiled


@compiled
def filled_part(distance: RealArray) -> RealArray:
    """Part of each voxel that lies inside a solid.

    Parameters
    ----------
    distance
        Signed distance at the voxels' centres, negative inside, with one more voxel on every side
        ``(z + 2, y + 2, x + 2)``. Its unit does not matter, nor a scale that varies slowly.

    Returns
    -------
    RealArray
        ``(z, y, x)`` float32 in [0, 1].

    Notes
    -----
    A plane that cuts a box fills a part of it that grows with the distance as a sum of three
    uniform random numbers does, as wide as the box is along each axis times the normal's cosine
    with it. The ramp taken here is as wide as the root of the sum of their squares. Those widths
    are the differences of distance from voxel to voxel, whatever the axes; the second differences
    give the mean distance over the voxel, without which a sphere of radius r voxels would come
    out too large by 1 / (4 r^2).
    """
    nz, ny, nx = distance.shape
    filled = np.zeros((nz - 2, ny - 2, nx - 2), np.float32)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                here = distance[z, y, x]
                squares, bend = np.float32(0), np.float32(0)
                for axis in range(3):
                    i, j, k = int(axis == 0), int(axis == 1), int(axis == 2)
                    back = here - distance[z - i, y - j, x - k]
                    ahead = distance[z + i, y + j, x + k] - here
                    # At a ridge the one may cancel the other: the larger one is the slope.
                    squares += max(back * back, ahead * ahead)
                    bend += ahead - back
                mean = here + bend * np.float32(1 / 24)
                width = np.sqrt(squares)
                if mean <= -width / 2:
                    filled[z - 1, y - 1, x - 1] = 1
                elif mean < width / 2:
                    filled[z - 1, y - 1, x - 1] = np.float32(0.5) - mean / width
    return filled


@compiled
def blend(quantity: RealArray, filled: RealArray, value: float) -> None:
    """Mix a value into a map ``(z, y, x)``, in place: as much as the voxels are filled with it."""
    nz, ny, nx = filled.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                part = filled[z, y, x]
                if part > 0:
                    quantity[z, y, x] += part * (value - quantity[z, y, x])


@compiled
def mark(labels: npt.NDArray[np.uint8], filled: RealArray, number: int) -> None:
    """Write a number into a map ``(z, y, x)``, in place, where voxels are more than half full."""
    nz, ny, nx = filled.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if filled[z, y, x] > 0.5:
                    labels[z, y, x] = number
