"""The mean over a sphere, on voxels of any shape, and the masks that it leaves."""

from functools import cached_property

import numpy as np

from chistream.arrays import Mask, RealArray, Size, Vector, size_of
from chistream.physics.backend import converted, matched, namespace, zeros_like
from chistream.physics.fourier import VolumeTransform, good_size, plan_transform
from chistream.physics.padding import Padding

SUBDIVISION = 9
"""Points along each edge of a voxel that tell how much of it a sphere covers."""


def sphere_weights(voxel_size: Vector, radius: float) -> RealArray:
    """Weigh voxels so that they take the mean over a sphere about the middle one.

    Parameters
    ----------
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    radius
        Radius of the sphere [mm], not less than the longest voxel edge.

    Returns
    -------
    RealArray
        Weights ``(z, y, x)``, odd sizes, that add up to 1.

    Raises
    ------
    ValueError
        If the sphere does not reach the neighbours of its voxel along every axis.

    Notes
    -----
    Each voxel counts by the part of it that the sphere covers. Taken at the centres of long
    voxels, that mean of a harmonic function differs from its value at the centre of the sphere:
    such weights have other second moments along long edges than along short ones. They are
    therefore multiplied with ``1 + sum_j a_j h_j``, where h are the solid harmonics of order 2
    and 4 that are even along every axis, and a is such that those harmonics have zero mean. All
    others up to order 5 have it by symmetry. So the mean value theorem holds on the grid for
    every harmonic polynomial up to order 5.

    Examples
    --------
    >>> weights = sphere_weights((3.0, 1.0, 1.0), 4.0)
    >>> weights.shape, round(float(weights.sum()), 12)
    ((3, 9, 9), 1.0)
    """
    if not radius >= max(voxel_size):
        raise ValueError(
            f"radius {radius:g} mm must reach at least the next voxel, {max(voxel_size):g} mm away"
        )
    halves = [int(np.ceil(radius / edge - 0.5)) for edge in voxel_size]
    covered = _covered(halves, voxel_size, radius)
    z, y, x = np.meshgrid(
        *(
            np.arange(-half, half + 1) * edge / radius
            for half, edge in zip(halves, voxel_size, strict=True)
        ),
        indexing="ij",
    )
    harmonics = np.stack(_even_harmonics(z, y, x)).reshape(5, -1)
    moments = harmonics * covered.ravel()
    factors, *_ = np.linalg.lstsq(moments @ harmonics.T, -moments.sum(axis=1), rcond=None)
    weights = covered * (1 + (factors @ harmonics).reshape(covered.shape))
    mean: RealArray = weights / weights.sum()
    return mean


def _covered(halves: list[int], voxel_size: Vector, radius: float) -> RealArray:
    """Find the part of each voxel within a sphere about the middle one."""
    squares = []
    for half, edge in zip(halves, voxel_size, strict=True):
        n = (2 * half + 1) * SUBDIVISION
        squares.append(((np.arange(n) - (n - 1) / 2) * edge / SUBDIVISION) ** 2)
    z, y, x = np.meshgrid(*squares, indexing="ij", sparse=True)
    within = z + y + x <= radius**2
    shape = [n for half in halves for n in (2 * half + 1, SUBDIVISION)]
    covered: RealArray = within.reshape(shape).mean(axis=(1, 3, 5))
    return covered


def _even_harmonics(z: RealArray, y: RealArray, x: RealArray) -> list[RealArray]:
    r2 = z**2 + y**2 + x**2
    return [
        x**2 - y**2,
        3 * z**2 - r2,
        x**4 - 6 * x**2 * y**2 + y**4,
        (x**2 - y**2) * (7 * z**2 - r2),
        35 * z**4 - 30 * z**2 * r2 + 3 * r2**2,
    ]


class SphericalMean:
    """The mean over a sphere around every voxel of a padded grid, by convolution.

    Parameters
    ----------
    mask
        Voxels where the field is known ``(z, y, x)``, of any array library.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    radius
        Radius of the sphere [mm].
    room
        Voxels of padding on each side of the volume ``(z, y, x)``; what the sphere needs by
        default.

    Attributes
    ----------
    radius
        As given [mm].
    reach
        Voxels that the sphere reaches in either direction ``(z, y, x)``.
    padding
        The volume in its grid, with room for the sphere on every side: nothing wraps around.
    spectrum
        Transform of the sphere's weights, real since they are symmetric.
    transform
        The transform of that grid.
    """

    def __init__(
        self, mask: Mask, voxel_size: Vector, radius: float, room: Size | None = None
    ) -> None:
        self._mask = mask
        self.radius = radius
        weights = sphere_weights(voxel_size, radius)
        self.reach: Size = size_of(np.empty([n // 2 for n in weights.shape]))
        inner = size_of(mask)
        room = room or self.reach
        outer = [good_size(n + 2 * r) for n, r in zip(inner, room, strict=True)]
        self.padding = Padding(inner, (outer[0], outer[1], outer[2]))
        like = zeros_like(mask, (1, 1, 1), "float32")
        self.transform: VolumeTransform = plan_transform(like, self.padding.outer)
        self.spectrum = self._spectrum_of(weights)
        self._support = self._spectrum_of((weights != 0).astype(float))
        self._n_support = int(np.count_nonzero(weights))

    def _spectrum_of(self, weights: RealArray) -> RealArray:
        grid = np.zeros(self.padding.outer)
        grid[tuple(slice(n) for n in weights.shape)] = weights
        grid = np.roll(grid, [-(n // 2) for n in weights.shape], axis=(0, 1, 2))
        return matched(np.fft.rfftn(grid).real, self._mask, "float32")  # type: ignore[no-any-return]

    def __call__(self, grid: RealArray) -> RealArray:
        """Take the means of a field on the padded grid."""
        return self.transform.convolve(grid, self.spectrum)

    @cached_property
    def inside(self) -> Mask:
        """Voxels of the padded grid whose whole sphere lies in the mask."""
        # Counts are whole numbers, and single precision errs by far less than a half.
        count = self.transform.convolve(self.padding.pad(self._mask), self._support)
        inside: Mask = count > self._n_support - 0.5
        return inside

    def valid(self, mask: Mask) -> Mask:
        """Give the voxels of the volume whose whole sphere lies in the mask.

        Raises
        ------
        ValueError
            If there are none.
        """
        xp = namespace(mask)
        valid = self.padding.crop(converted(self.inside, "float32")) > 0.5
        if not xp.any(valid):
            raise ValueError(
                f"no sphere of {self.radius:g} mm fits into the mask of "
                f"{int(xp.count_nonzero(mask))} voxels"
            )
        return valid
