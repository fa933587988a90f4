"""How much of each voxel a solid fills."""

from itertools import product

import numpy as np
import numpy.typing as npt

from chistream.arrays import IntArray, RealArray
from chistream.physics.compiled import compiled
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.shapes import Points, Shape

CELL = 5.0
"""Edge of the cells that are asked first whether a surface may run through them [mm]."""

CERTAIN = 2.0
"""A voxel is not cut by a surface farther off than this, relative to half of its diagonal."""

BATCH = 1 << 16
"""Points whose distance is found at a time: few enough to stay in a processor's cache."""


def filled_block(geometry: Geometry, block: tuple[slice, slice, slice], shape: Shape) -> RealArray:
    """Find how much of each voxel of a block a solid fills.

    Parameters
    ----------
    geometry
        The grid.
    block
        Indices ``(z, y, x)`` with explicit bounds.
    shape
        The solid.

    Returns
    -------
    RealArray
        ``(z, y, x)`` float32 in [0, 1].

    Notes
    -----
    Most voxels lie far from the surface. So the distance is found at the corners of cells of a few
    millimetres first, and then at the voxels of those cells only through which the surface may
    run. A solid may state a distance up to twice the true one without harm.
    """
    starts = [part.start - 1 for part in block]
    sizes = [part.stop - part.start + 2 for part in block]
    steps = [int(np.clip(round(CELL / edge), 2, 16)) for edge in geometry.voxel_size]
    cells = [-(-size // step) for size, step in zip(sizes, steps, strict=True)]
    certain = CERTAIN * float(np.linalg.norm(geometry.voxel_size)) / 2
    margin = certain + float(np.linalg.norm(np.multiply(steps, geometry.voxel_size)))
    low, high = _extremes(shape.signed_distance(_lattice(geometry, starts, steps, cells)), cells)
    # Axes: cell and voxel in the cell, along z, then y, then x.
    distance = np.empty([n for pair in zip(cells, steps, strict=True) for n in pair], np.float32)
    distance[:] = np.where(high < 0, -margin, margin)[:, None, :, None, :, None]
    near = np.argwhere((low < margin) & (high > -margin))
    for batch in np.array_split(near, max(1, near.size // 3 * int(np.prod(steps)) // BATCH)):
        z, y, x = batch.T
        places = _places(geometry, starts, steps, batch)
        distance[z, :, y, :, x, :] = shape.signed_distance(places)
    whole = distance.reshape([c * s for c, s in zip(cells, steps, strict=True)])
    return filled_part(whole[: sizes[0], : sizes[1], : sizes[2]], certain)


def points_at(geometry: Geometry, z: IntArray, y: IntArray, x: IntArray) -> Points:
    """Find patient positions of places given by their indices, which broadcast.

    Parameters
    ----------
    geometry
        The grid.
    z, y, x
        Indices, which may lie outside of it.

    Returns
    -------
    Points
        L, P and S [mm] float32. On a grid along the patient's axes each depends on one index only.
    """
    axes = geometry.axes
    steps = [
        (index - n // 2) * d
        for index, n, d in zip((z, y, x), geometry.shape, geometry.voxel_size, strict=True)
    ]
    left, posterior, superior = (
        np.asarray(
            sum((s * a[c] for s, a in zip(steps, axes, strict=True) if a[c]), geometry.position[c]),
            dtype=np.float32,
        )
        for c in range(3)
    )
    return left, posterior, superior


def _lattice(geometry: Geometry, starts: list[int], steps: list[int], cells: list[int]) -> Points:
    """Positions of the cells' corners, one more along each axis than there are cells."""
    z, y, x = (
        start + step * np.arange(n + 1) for start, step, n in zip(starts, steps, cells, strict=True)
    )
    return points_at(geometry, z[:, None, None], y[None, :, None], x[None, None, :])


def _extremes(corners: RealArray, cells: list[int]) -> tuple[RealArray, RealArray]:
    """Smallest and largest distance at the eight corners of each cell."""
    corners = np.broadcast_to(corners, [n + 1 for n in cells])
    around = [
        corners[z : z + cells[0], y : y + cells[1], x : x + cells[2]]
        for z, y, x in product((0, 1), repeat=3)
    ]
    return np.minimum.reduce(around), np.maximum.reduce(around)


def _places(geometry: Geometry, starts: list[int], steps: list[int], cells: IntArray) -> Points:
    """Positions ``(cells, z, y, x)`` of the voxels of some cells."""
    z, y, x = (
        start
        + cells[:, i, None, None, None] * step
        + np.arange(step).reshape(np.roll((1, 1, step), i - 2))
        for i, (start, step) in enumerate(zip(starts, steps, strict=True))
    )
    return points_at(geometry, z, y, x)


@compiled
def filled_part(distance: RealArray, certain: float) -> RealArray:
    """Part of each voxel that lies inside a solid.

    Parameters
    ----------
    distance
        Signed distance at the voxels' centres, negative inside, with one more voxel on every side
        ``(z + 2, y + 2, x + 2)``. A scale of it that varies slowly does not matter.
    certain
        Distance from which on a voxel is taken to be wholly inside or outside.

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
                if abs(here) > certain:
                    filled[z - 1, y - 1, x - 1] = here < 0
                    continue
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
