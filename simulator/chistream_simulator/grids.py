"""Grids made of other grids: finer, cut out, of another length, turned."""

from dataclasses import replace

import numpy as np

from chistream.arrays import RealArray, Size
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.shapes import point


def refined(geometry: Geometry, factors: Size) -> Geometry:
    """Divide every voxel of a grid into equal parts.

    Parameters
    ----------
    geometry
        The grid.
    factors
        Parts along ``(z, y, x)``, >= 1.

    Returns
    -------
    Geometry
        The fine grid, which covers exactly the same box.
    """
    axes = geometry.axes
    position = np.asarray(geometry.position, dtype=float)
    for n, step, factor, axis in zip(
        geometry.shape, geometry.voxel_size, factors, axes, strict=True
    ):
        voxel, part = divmod(n * factor // 2, factor)
        offset = (voxel - n // 2) + (part + 0.5) / factor - 0.5
        position += offset * step * np.asarray(axis)
    sizes = [n * f for n, f in zip(geometry.shape, factors, strict=True)]
    steps = [d / f for d, f in zip(geometry.voxel_size, factors, strict=True)]
    return replace(
        geometry,
        shape=(sizes[0], sizes[1], sizes[2]),
        voxel_size=(steps[0], steps[1], steps[2]),
        position=point(position),
    )


def cropped(geometry: Geometry, block: tuple[slice, slice, slice]) -> Geometry:
    """Cut a block out of a grid.

    Parameters
    ----------
    geometry
        The grid.
    block
        Indices, with explicit bounds.

    Returns
    -------
    Geometry
        The grid of the block alone.
    """
    axes = geometry.axes
    position = np.asarray(geometry.position, dtype=float)
    sizes = [part.stop - part.start for part in block]
    for n, size, part, step, axis in zip(
        geometry.shape, sizes, block, geometry.voxel_size, axes, strict=True
    ):
        position += (part.start + size // 2 - n // 2) * step * np.asarray(axis)
    shape = (sizes[0], sizes[1], sizes[2])
    return replace(geometry, shape=shape, position=point(position))


def with_size(geometry: Geometry, axis: int, n: int) -> Geometry:
    """Give a grid another number of voxels along an axis, about the same origin."""
    sizes = list(geometry.shape)
    sizes[axis] = n
    return replace(geometry, shape=(sizes[0], sizes[1], sizes[2]))


def turned(geometry: Geometry, turn: RealArray) -> Geometry:
    """Turn a grid about the origin of the patient's coordinates.

    Parameters
    ----------
    geometry
        The grid.
    turn
        Rotation ``(3, 3)`` of (L, P, S).

    Returns
    -------
    Geometry
        The same voxels, elsewhere.
    """
    position, read, phase, slice_ = (
        point(turn @ np.asarray(vector))
        for vector in (
            geometry.position,
            geometry.read_dir,
            geometry.phase_dir,
            geometry.slice_dir,
        )
    )
    return replace(geometry, position=position, read_dir=read, phase_dir=phase, slice_dir=slice_)
