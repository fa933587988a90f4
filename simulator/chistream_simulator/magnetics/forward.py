"""The field in a fine, maybe oblique slab with the whole body's influence, at a small price."""

import numpy as np

from chistream.arrays import IntArray, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.closed_forms import ALONG_S, unit_vector
from chistream_simulator.magnetics.grids import (
    Lattice,
    corners,
    directions,
    fast_size,
    size_of_three,
    with_margin,
)
from chistream_simulator.magnetics.interpolation import ORDER, Resampling
from chistream_simulator.magnetics.spectra import Band, DipoleFilter
from chistream_simulator.phantoms.scene import Block
from chistream_simulator.phantoms.shapes import Point

WIDTH = 1.75
"""Width of the Gaussian between two levels, relative to the spacing of the coarser one. Half way
to the coarser one's Nyquist frequency, where aliases of sharp edges begin to matter, 2 % is left;
with a width of 1.2 it is 17 %, and the errors of a thin cylinder are twice as large."""

REACH = 3.0
"""How far the finer level's part of the field reaches, relative to that width: beside the lungs of
a chest the worst voxel misses 0.4 ppb of what lies beyond, and with a reach of 2.5 it is 4 ppb."""

FAR = 3
"""Voxels of the body grid along an edge of a voxel of the far grid."""


class SplitField:
    r"""The field in a target grid, as the sum of three bands of spatial frequency.

    .. math:: D = D (1 - G_1) + D (G_1 - G_2) + D G_2, \quad
              G_i(\mathbf k) = e^{-2 \pi^2 s_i^2 k^2}

    The first band reaches a few :math:`s_1` only, and is computed in the target's own grid with
    that margin; the second a few :math:`s_2`, on the body grid around the target; the third, of
    the whole body and its surroundings, on a far grid of `FAR` times that spacing. The last two
    are smooth where they are interpolated.

    Parameters
    ----------
    target
        Where the field is wanted: any orientation, spacing and parity of sizes.
    low, high
        Corners (L, P, S) [mm] of the box that holds what departs from the surroundings.
    b0_direction
        Direction of B0 (L, P, S), need not be normalised.
    coarse_step
        Spacing of the body grid [mm].
    period
        Distance at which the body is repeated along S [mm].

    Attributes
    ----------
    body_geometry
        Grid along the patient's axes that holds the box and at least a voxel more on each side.
    slab_geometry
        The target's axes and spacing, with a margin.
    inner
        The target's voxels within the slab.

    Raises
    ------
    ValueError
        If the period is shorter than the body.

    Notes
    -----
    Beyond the body grid lie, along L and P, endless surroundings: what was painted in the first
    voxel of the body grid. No repetition is felt across S, whatever the direction of B0. Along S
    the body goes on as it ends, from the one end slice gradually to the other's picture, and
    repeats: a trunk that is painted to the ends of the box is endless, and its constant part exact.

    What depends on the grids alone is computed with the first field and kept: for a cardiac slab
    some 40 MB, and three times as much for magnetisations.

    Each map should hold averages over its voxels (partial volumes). The average over the coarse
    voxels is undone in the bands that they carry. Where the slab's voxels are the finer, it
    alone decides about edges: the coarse maps add nothing finer than :math:`s_1`.
    """

    body_geometry: Geometry
    slab_geometry: Geometry
    inner: Block

    def __init__(
        self,
        target: Geometry,
        low: Point,
        high: Point,
        *,
        b0_direction: Point = ALONG_S,
        coarse_step: float = 3.0,
        period: float = 1500.0,
    ) -> None:
        b = unit_vector(b0_direction)
        self._target = target
        self._axes = directions(target).astype(np.float32)
        near_width, far_width = WIDTH * coarse_step, WIDTH * FAR * coarse_step
        self.slab_geometry, self.inner = with_margin(target, REACH * near_width)
        self._slab = DipoleFilter(
            self.slab_geometry.shape, target.voxel_size, self._axes @ b, Band(0.0, near_width)
        )
        self._lattice, self.body_geometry = _body_grid(low, high, coarse_step)
        self._start, near = self._near_grid(REACH * far_width)
        self._near = _Level(near, target, b, Band(near_width, far_width, ORDER + 2))
        far, radius = self._far_grid(REACH * far_width, period)
        self._far = _Level(far, target, b, Band(far_width, None, ORDER + 2), radius)

    def field(self, body_chi: RealArray, slab_chi: RealArray) -> RealArray:
        """Compute the field.

        Parameters
        ----------
        body_chi
            Susceptibility ``(z, y, x)`` [ppm] on `body_geometry`, relative to anything; or, of a
            medium whose susceptibility is a tensor, the patient components ``(3, z, y, x)``
            (L, P, S) of the magnetisation, which is the tensor times the unit vector along B0.
        slab_chi
            The same body on `slab_geometry`, in the same form.

        Returns
        -------
        RealArray
            Field ``(z, y, x)`` float32 on the target [ppm].

        Raises
        ------
        ValueError
            If a map does not fit its grid, or one is a vector and the other is not.
        """
        body = _components(body_chi, self.body_geometry)
        slab = _components(slab_chi, self.slab_geometry)
        if len(body) != len(slab):
            raise ValueError(
                f"body_chi {body_chi.shape} and slab_chi {slab_chi.shape} differ in kind"
            )
        if len(slab) == 3:
            slab = np.einsum("ac,czyx->azyx", self._axes, slab)
            body = body[::-1]
        field = self._slab.field(slab)[self.inner].copy()
        n_far = self._far.filter.shape[0] * FAR
        whole = np.stack([_continued(c - c[0, 0, 0], n_far) for c in body])
        field += self._near(self._around_target(whole))
        field += self._far(self._in_blocks(whole))
        return field

    def _near_grid(self, reach: float) -> tuple[IntArray, Geometry]:
        """Find the part of the lattice within reach of the target: its start, and its grid."""
        low, high = self._lattice.indices(corners(self._target))
        margin = reach / self._lattice.step + ORDER
        start = np.floor(low - margin).astype(int)
        needed = np.ceil(high + margin).astype(int) - start + 1
        return start, self._lattice.grid(start, size_of_three(map(fast_size, needed)))

    def _far_grid(self, reach: float, period: float) -> tuple[Geometry, float]:
        """Make the far grid, and find how far its sources have to act across S."""
        body = self.body_geometry
        length = body.shape[0] * body.voxel_size[0]
        if period < length:
            raise ValueError(f"a period of {period} mm is too short for a body of {length} mm")
        step = FAR * self._lattice.step
        extent = np.ptp(np.concatenate([corners(self._target), corners(body)]), axis=0)[1:]
        radius = float(np.hypot(*extent)) + reach
        sizes = np.ceil([period / step, *((extent + radius + reach) / step + ORDER)])
        middle = self._lattice.origin + (FAR - 1) / 2 * self._lattice.step
        shape = size_of_three(map(fast_size, sizes))
        return Lattice(middle, step).grid(np.zeros(3, int), shape), radius

    def _around_target(self, body: RealArray) -> RealArray:
        """Cut the near grid out of an endless body ``(n, z, y, x)`` in endless surroundings."""
        nz, ny, nx = self._near.filter.shape
        _, y0, x0 = self._start
        y, from_y = _overlap(y0, ny, body.shape[2])
        x, from_x = _overlap(x0, nx, body.shape[3])
        around = np.zeros((len(body), nz, ny, nx), np.float32)
        rows = (self._start[0] + np.arange(nz)) % body.shape[1]
        around[:, :, y, x] = body[:, rows, from_y, from_x]
        return around

    def _in_blocks(self, body: RealArray) -> RealArray:
        """Average a body ``(n, z, y, x)`` over the voxels of the far grid."""
        n, *shape = body.shape
        nz, ny, nx = (size // FAR for size in shape)
        blocks = np.zeros((n, *self._far.filter.shape), np.float32)
        blocks[:, :, :ny, :nx] = body.reshape(n, nz, FAR, ny, FAR, nx, FAR).mean(axis=(2, 4, 6))
        return blocks


class _Level:
    """A band of frequencies on a coarse grid."""

    def __init__(
        self,
        grid: Geometry,
        target: Geometry,
        b0_direction: RealArray,
        band: Band,
        radius: float | None = None,
    ) -> None:
        self.filter = DipoleFilter(grid.shape, grid.voxel_size, b0_direction[::-1], band, radius)
        self._resampling = Resampling(grid, target, grid.voxel_size[0])

    def __call__(self, chi: RealArray) -> RealArray:
        return self._resampling(self.filter.field(chi))


def _body_grid(low: Point, high: Point, step: float) -> tuple[Lattice, Geometry]:
    box = np.array([low, high], float)[:, ::-1]
    blocks = np.ceil((box[1] - box[0] + 2 * step) / (FAR * step)).astype(int)
    lattice = Lattice(box.mean(axis=0) - (FAR * blocks - 1) / 2 * step, step)
    return lattice, lattice.grid(np.zeros(3, int), size_of_three(FAR * blocks))


def _components(chi: RealArray, geometry: Geometry) -> RealArray:
    if chi.shape not in (geometry.shape, (3, *geometry.shape)):
        raise ValueError(f"a map of shape {chi.shape} does not fit a grid of {geometry.shape}")
    return np.asarray(chi, np.float32).reshape(-1, *geometry.shape)


def _continued(chi: RealArray, n: int) -> RealArray:
    """Extend a map along z to a period of n, from its last slice gradually to its first."""
    gap = n - len(chi)
    share = (np.arange(1, gap + 1, dtype=np.float32) / np.float32(gap + 1))[:, None, None]
    return np.concatenate([chi, chi[-1] + share * (chi[0] - chi[-1])])


def _overlap(start: int, n: int, n_source: int) -> tuple[slice, slice]:
    """Slices, in a part that starts somewhere and in its source, of what they share."""
    first, last = max(start, 0), min(start + n, n_source)
    last = max(first, last)
    return slice(first - start, last - start), slice(first, last)
