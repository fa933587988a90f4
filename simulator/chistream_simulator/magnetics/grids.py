"""The grids of the forward model and where they lie in each other."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import scipy.fft

from chistream.arrays import IntArray, RealArray, Size
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.scene import Block
from chistream_simulator.phantoms.shapes import point


def directions(geometry: Geometry) -> RealArray:
    """Return the unit vectors (L, P, S) of the axes z, y and x of a grid, one a row."""
    return np.array(geometry.axes, float)


def fast_size(n: int) -> int:
    """Find the next size, odd or even, that transforms fast."""
    size: int = scipy.fft.next_fast_len(int(n), real=True)
    return size


def with_margin(target: Geometry, margin: float) -> tuple[Geometry, Block]:
    """Extend a grid on all sides.

    Parameters
    ----------
    target
        The grid.
    margin
        Least distance that is added on each side [mm].

    Returns
    -------
    Geometry
        Grid of the same axes and spacing, of sizes that transform fast.
    Block
        The target's voxels in it.
    """
    sizes, starts = [], []
    for n, d in zip(target.shape, target.voxel_size, strict=True):
        added = int(np.ceil(margin / d))
        sizes.append(fast_size(n + 2 * added))
        starts.append((sizes[-1] - n) // 2)
    moved = [
        (size // 2 - start - n // 2) * d
        for size, start, n, d in zip(sizes, starts, target.shape, target.voxel_size, strict=True)
    ]
    position = np.asarray(target.position) + moved @ directions(target)
    geometry = replace(target, shape=size_of_three(sizes), position=point(position))
    z, y, x = (slice(s, s + n) for s, n in zip(starts, target.shape, strict=True))
    return geometry, (z, y, x)


class Lattice:
    """Points along the patient's axes, of which the coarse grids are parts.

    Parameters
    ----------
    origin
        Patient position (S, P, L) [mm] of the point of index 0.
    step
        Spacing [mm].
    """

    def __init__(self, origin: RealArray, step: float) -> None:
        self.origin = origin
        self.step = step

    def grid(self, first: IntArray, shape: Size) -> Geometry:
        """Make the grid that starts at an index ``(z, y, x)``."""
        centre = self.origin + (first + np.asarray(shape) // 2) * self.step
        return Geometry(shape, (self.step,) * 3, point(centre[::-1]))

    def indices(self, positions: RealArray) -> RealArray:
        """Return the indices, not rounded, of positions (..., 3) given as (S, P, L) [mm]."""
        indices: RealArray = (positions - self.origin) / self.step
        return indices


def corners(geometry: Geometry) -> RealArray:
    """Find the lowest and highest (S, P, L) [mm] of a grid's voxel centres, ``(2, 3)``."""
    ends = [
        [-(n // 2) * d, (n - 1 - n // 2) * d]
        for n, d in zip(geometry.shape, geometry.voxel_size, strict=True)
    ]
    z, y, x = np.meshgrid(*ends, indexing="ij")
    places = np.stack([z, y, x], axis=-1).reshape(-1, 3) @ directions(geometry)
    places = (places + geometry.position)[:, ::-1]
    return np.stack([places.min(axis=0), places.max(axis=0)])


def size_of_three(sizes: Iterable[int]) -> Size:
    """Turn three numbers into a size ``(z, y, x)`` of plain integers."""
    z, y, x = (int(n) for n in sizes)
    return z, y, x
