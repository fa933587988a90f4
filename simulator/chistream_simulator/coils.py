"""Receive coils: circular loops around the body, by the law of Biot and Savart."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import ellipe, ellipk

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Point, Points, axes_with, point

COARSE_STEP = 12.0
"""Spacing at which loop fields are computed before splines refine them [mm]."""

WIRE = 0.2
"""Half width of the conductor relative to the loop's radius: its field has no pole."""


@dataclass(frozen=True)
class Loop:
    """A circular loop: centre, normal and radius in the patient [mm]."""

    centre: Point
    normal: Point
    radius: float

    def sensitivity(self, points: Points) -> ComplexArray:
        """Receive sensitivity at some points: the field's L minus i times its P component.

        Parameters
        ----------
        points
            Where [mm], not on the wire.

        Returns
        -------
        ComplexArray
            Sensitivity in units of the field at the loop's own centre.
        """
        u, v, w = np.asarray(axes_with(self.normal))
        offsets = [np.asarray(p, dtype=float) - c for p, c in zip(points, self.centre, strict=True)]
        x, y, z = (sum(o * a for o, a in zip(offsets, axis, strict=True)) for axis in (u, v, w))
        rho = np.maximum(np.hypot(x, y), 1e-6 * self.radius)
        radial, axial = _loop_field(rho / self.radius, z / self.radius)
        field = [radial * (x * u[c] + y * v[c]) / rho + axial * w[c] for c in range(2)]
        result: ComplexArray = field[0] - 1j * field[1]
        return result


def loops_around(n_coils: int, centre: Point, semi_axes: tuple[float, float]) -> list[Loop]:
    """Place loops on an elliptic former around the body, in two staggered rings if they are many.

    Parameters
    ----------
    n_coils
        Number of loops, >= 1; from six on there are two rings.
    centre
        Middle of the former [mm].
    semi_axes
        Its half widths along L and P [mm].

    Returns
    -------
    list of Loop
        Loops that face the centre.
    """
    n_rings = 2 if n_coils >= 6 else 1
    radius = 0.5 * float(np.mean(semi_axes))
    loops = []
    for i in range(n_coils):
        angle = 2 * np.pi * (i + 0.5) / n_coils
        height = 0.0 if n_rings == 1 else (0.7 * radius if i % 2 else -0.7 * radius)
        offset = np.array([semi_axes[0] * np.cos(angle), semi_axes[1] * np.sin(angle), height])
        inwards = -offset * (1.0, 1.0, 0.3)
        loops.append(Loop(point(np.asarray(centre) + offset), point(inwards), radius))
    return loops


def coil_maps(loops: list[Loop], geometry: Geometry, reference: Point) -> ComplexArray:
    """Compute the sensitivities of loops on a grid.

    Parameters
    ----------
    loops
        One or more. A single coil is taken for the body coil, uniform over the grid.
    geometry
        Any grid.
    reference
        Where the root sum of squares shall be 1 [mm].

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64.
    """
    if len(loops) == 1:
        return np.ones((1, *geometry.shape), np.complex64)
    coarse = _coarse(geometry)
    points = block_points(coarse)
    maps: ComplexArray = np.stack([loop.sensitivity(points) for loop in loops])
    maps = np.asarray(maps / _norm_at(loops, reference), np.complex64)
    for axis in range(3):
        refine = _spline_matrix(coarse, geometry, axis)
        maps = np.moveaxis(np.tensordot(refine, maps, axes=(1, axis + 1)), 0, axis + 1)
    return np.ascontiguousarray(maps)


def coil_profiles(loops: list[Loop], points: Points, reference: Point) -> ComplexArray:
    """Compute the sensitivities ``(coils, ...)`` at some points, scaled as those of `coil_maps`."""
    if len(loops) == 1:
        return np.ones((1, *np.broadcast_shapes(*(p.shape for p in points))), np.complex64)
    values = np.stack([loop.sensitivity(points) for loop in loops])
    return np.asarray(values / _norm_at(loops, reference), np.complex64)


def _norm_at(loops: list[Loop], reference: Point) -> float:
    here = tuple(np.full(1, c) for c in reference)
    left, posterior, superior = here
    values = [loop.sensitivity((left, posterior, superior)) for loop in loops]
    return float(np.linalg.norm(values))


def _coarse(geometry: Geometry) -> Geometry:
    extents = [n * d for n, d in zip(geometry.shape, geometry.voxel_size, strict=True)]
    # Two intervals more than the extent, so that every fine voxel lies well inside; at least the
    # four points that a cubic spline needs.
    nz, ny, nx = (int(np.ceil(e / COARSE_STEP)) + 4 for e in extents)
    dz, dy, dx = (e / (n - 3) for e, n in zip(extents, (nz, ny, nx), strict=True))
    return Geometry(
        (nz, ny, nx),
        (dz, dy, dx),
        geometry.position,
        geometry.read_dir,
        geometry.phase_dir,
        geometry.slice_dir,
    )


def _spline_matrix(coarse: Geometry, fine: Geometry, axis: int) -> RealArray:
    knots, targets = (
        (np.arange(g.shape[axis]) - g.shape[axis] // 2) * g.voxel_size[axis] for g in (coarse, fine)
    )
    matrix: RealArray = make_interp_spline(knots, np.eye(len(knots)), k=3)(targets)
    return matrix.astype(np.float32)


def _loop_field(rho: RealArray, z: RealArray) -> tuple[RealArray, RealArray]:
    r"""Radial and axial field of a loop of radius 1, in units of its field at the centre.

    Closed form with complete elliptic integrals; Smythe WR. Static and Dynamic Electricity,
    3rd ed., section 7.10.
    """
    near, far = (1 - rho) ** 2 + z**2, (1 + rho) ** 2 + z**2
    near = np.maximum(near, WIRE**2)
    m = 1 - near / far
    k, e = ellipk(m), ellipe(m)
    scale = 1 / (np.pi * np.sqrt(far))
    axial = scale * (k + (1 - rho**2 - z**2) / near * e)
    radial = scale * z / rho * (-k + (1 + rho**2 + z**2) / near * e)
    return radial, axial
