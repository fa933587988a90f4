"""Room around a volume, so that a periodic convolution does not wrap around."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.physics.backend import converted, namespace, zeros_like
from chistream.physics.fourier import good_size


@dataclass(frozen=True, slots=True)
class Padding:
    """A volume in the middle of a larger grid.

    Parameters
    ----------
    inner
        Size of the volume ``(z, y, x)``.
    outer
        Size of the grid around it ``(z, y, x)``, nowhere smaller.

    Raises
    ------
    ValueError
        If the grid does not hold the volume.

    Examples
    --------
    >>> padding = Padding.of_margin((24, 72, 96), (5.0, 3.3, 3.3), (30.0, 30.0, 30.0))
    >>> padding.outer
    (36, 96, 120)
    >>> padding.crop(padding.pad(np.ones((24, 72, 96)))).shape
    (24, 72, 96)
    """

    inner: Size
    outer: Size

    def __post_init__(self) -> None:
        if any(n > m for n, m in zip(self.inner, self.outer, strict=True)):
            raise ValueError(f"a grid of {self.outer} does not hold a volume of {self.inner}")

    @classmethod
    def of_margin(cls, inner: Size, voxel_size: Vector, margin: Vector) -> "Padding":
        """Leave a margin on both sides, rounded up to a size that transforms fast.

        An axis without margin keeps its size: it is meant to be periodic.

        Parameters
        ----------
        inner
            Size of the volume ``(z, y, x)``.
        voxel_size
            Voxel edge lengths ``(z, y, x)`` [mm].
        margin
            Smallest room on each side of an axis ``(z, y, x)`` [mm], >= 0.
        """
        z, y, x = (
            good_size(n + 2 * int(np.ceil(room / edge - 1e-6))) if room > 0 else n
            for n, edge, room in zip(inner, voxel_size, margin, strict=True)
        )
        return cls(inner, (z, y, x))

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """Where the volume lies in the grid."""
        z, y, x = (
            slice((m - n) // 2, (m - n) // 2 + n)
            for n, m in zip(self.inner, self.outer, strict=True)
        )
        return z, y, x

    def pad(self, volume: RealArray | Mask, dtype: str = "float32") -> RealArray:
        """Place a volume of any array library into a grid of zeros."""
        grid = zeros_like(volume, self.outer, dtype)
        grid[self.window] = converted(volume, dtype)
        return grid

    def crop(self, grid: RealArray) -> RealArray:
        """Take the volume out of the grid, as a copy."""
        volume: RealArray = namespace(grid).asarray(grid[self.window], copy=True)
        return volume


def default_margin(size: Size, voxel_size: Vector, most: Vector) -> Vector:
    """Choose the room that sources beyond a volume get if nobody says.

    Parameters
    ----------
    size
        Size of the volume ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    most
        Room for a volume the size of a body ``(z, y, x)`` [mm].

    Returns
    -------
    Vector
        ``most``, but no more than half of the volume's extent on each side ``(z, y, x)`` [mm]:
        seen from a small volume, nearer sources make the same fields at a fraction of the cost.

    Examples
    --------
    >>> default_margin((24, 72, 10), (5.0, 3.0, 3.0), (40.0, 40.0, 40.0))
    (40.0, 40.0, 15.0)
    """
    z, y, x = (
        min(room, n * edge / 2) for n, edge, room in zip(size, voxel_size, most, strict=True)
    )
    return z, y, x
