"""Where a volume lies in the patient, and how B0 lies in the volume."""

from dataclasses import dataclass, replace

import numpy as np

from chistream.arrays import RealArray, Size, Vector

_MOST_VOXELS = 2**28
"""Of an interpolated volume: 2 GB for one complex image."""


@dataclass(frozen=True)
class Geometry:
    """Position and orientation of a volume in patient coordinates (LPS).

    Parameters
    ----------
    shape
        Number of voxels ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    position
        Patient position (L, P, S) [mm] of the centre of voxel ``(nz // 2, ny // 2, nx // 2)``:
        the point that the Fourier transform takes as its origin.
    read_dir, phase_dir, slice_dir
        Unit vectors (L, P, S) of the axes x, y and z.

    Raises
    ------
    ValueError
        If the directions are no orthonormal set or a size is not positive.
    """

    shape: Size
    voxel_size: Vector
    position: Vector = (0.0, 0.0, 0.0)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not min(self.voxel_size) > 0:
            raise ValueError(f"shape {self.shape} and voxel_size {self.voxel_size} must be > 0")
        gram = self._directions @ self._directions.T
        if not np.allclose(gram, np.eye(3), atol=1e-3):
            raise ValueError(
                f"read_dir {self.read_dir}, phase_dir {self.phase_dir} and slice_dir "
                f"{self.slice_dir} must be unit vectors at right angles"
            )

    @property
    def axes(self) -> tuple[Vector, Vector, Vector]:
        """Unit vectors (L, P, S) of the array's axes ``(z, y, x)``."""
        return self.slice_dir, self.phase_dir, self.read_dir

    @property
    def b0_direction(self) -> Vector:
        """Direction of B0 in array axes ``(z, y, x)``: B0 runs along S, the bore of the magnet."""
        return self.slice_dir[2], self.phase_dir[2], self.read_dir[2]

    @property
    def affine_lps(self) -> RealArray:
        """Matrix ``(4, 4)`` from voxel indices ``(x, y, z, 1)`` to patient (L, P, S, 1) [mm]."""
        affine = np.eye(4)
        affine[:3, :3] = self._directions.T * self.voxel_size[::-1]
        centre = [n // 2 for n in self.shape[::-1]]
        affine[:3, 3] = np.asarray(self.position) - affine[:3, :3] @ centre
        return affine

    @property
    def affine_ras(self) -> RealArray:
        """The same matrix to (R, A, S, 1) [mm], as NIfTI wants it."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps

    def interpolated(self, voxel_size: Vector) -> "Geometry":
        """Cut the same field of view into voxels of another size.

        Parameters
        ----------
        voxel_size
            Voxel edge lengths wanted ``(z, y, x)`` [mm], > 0.

        Returns
        -------
        Geometry
            The grid whose voxels come nearest: their number is a whole one and the field of view
            stays, so that edges differ from the ones wanted by at most half a voxel over the
            field of view. The position stays: zeros around k-space keep the voxel ``n // 2``
            where it is, whether sizes are odd or even.

        Raises
        ------
        ValueError
            If a voxel size is not positive and finite, or there would be more than 2^28 voxels.

        Examples
        --------
        >>> coarse = Geometry((20, 72, 96), (5.0, 3.3, 3.3))
        >>> coarse.interpolated((2.0, 2.0, 2.0)).shape
        (50, 119, 158)
        """
        if not all(edge > 0 and np.isfinite(edge) for edge in voxel_size):
            raise ValueError(f"voxel_size must be positive, got {voxel_size} mm")
        sides = [n * edge for n, edge in zip(self.shape, self.voxel_size, strict=True)]
        sizes = [side / edge for side, edge in zip(sides, voxel_size, strict=True)]
        if np.prod(sizes) > _MOST_VOXELS:
            raise ValueError(f"voxels of {voxel_size} mm are too many: {np.prod(sizes):.0f}")
        z, y, x = (max(1, round(n)) for n in sizes)
        return replace(self, shape=(z, y, x), voxel_size=(sides[0] / z, sides[1] / y, sides[2] / x))

    def slice_position(self, index: int) -> Vector:
        """Patient position (L, P, S) [mm] of the in-plane origin of one slice."""
        shift = (index - self.shape[0] // 2) * self.voxel_size[0]
        left, posterior, superior = np.asarray(self.position) + shift * np.asarray(self.slice_dir)
        return float(left), float(posterior), float(superior)

    def voxel_positions(self) -> RealArray:
        """Patient positions of all voxel centres ``(3, z, y, x)`` (L, P, S) [mm]."""
        nz, ny, nx = self.shape
        z, y, x = np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij")
        affine = self.affine_lps
        positions: RealArray = np.einsum("ij,jzyx->izyx", affine[:3, :3], np.stack([x, y, z]))
        return positions + affine[:3, 3, None, None, None]

    @property
    def _directions(self) -> RealArray:
        return np.array([self.read_dir, self.phase_dir, self.slice_dir], dtype=float)
