"""Masks and fields in closed form that the tests of background removal share."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from chistream.arrays import Mask, RealArray, Size, Vector

TILTED: Vector = (1.0, -2.0, 0.5)


@dataclass(frozen=True)
class Organ:
    """An ellipsoid, off the centre of its volume."""

    shape: Size
    voxel_size: Vector

    @property
    def positions(self) -> tuple[RealArray, ...]:
        axes = [
            (np.arange(n) - n // 2) * d for n, d in zip(self.shape, self.voxel_size, strict=True)
        ]
        return np.meshgrid(*axes, indexing="ij")

    @property
    def mask(self) -> Mask:
        extent = [0.45 * n * d for n, d in zip(self.shape, self.voxel_size, strict=True)]
        parts = [((p - 1.0) / e) ** 2 for p, e in zip(self.positions, extent, strict=True)]
        mask: Mask = np.sum(parts, axis=0) < 1
        return mask

    def depth(self) -> RealArray:
        """Distance to the edge of the mask [mm]."""
        depth: RealArray = ndimage.distance_transform_edt(
            np.pad(self.mask, 1), sampling=self.voxel_size
        )[1:-1, 1:-1, 1:-1]
        return depth

    def dipole(
        self, place: Vector, b0_direction: Vector = TILTED, radius: float = 0.0
    ) -> RealArray:
        """Field of a sphere at a place [mm]: that of a dipole outside, nothing inside."""
        b = np.asarray(b0_direction) / np.linalg.norm(b0_direction)
        offset = [p - c for p, c in zip(self.positions, place, strict=True)]
        r = np.sqrt(sum(np.square(o) for o in offset))
        along = sum(o * c for o, c in zip(offset, b, strict=True))
        outside = r > max(radius, 1e-3)
        r = np.where(outside, r, 1.0)
        field: RealArray = np.where(outside, (3 * (along / r) ** 2 - 1) / r**3, 0.0)
        return field
