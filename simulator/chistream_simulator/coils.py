"""Receive coils: circular loops around the body, by the law of Biot and Savart."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ellipe, ellipk

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Point, Points, Shape, axes_with, point

COARSE_STEP = 6.0
"""Spacing at which loop fields are computed before they are interpolated [mm]."""

_TAPS = 6
"""Knots that a value between them is made of."""

WIRE = 0.2
"""Half width of the conductor relative to the loop's radius: its field has no pole."""

OVERLAP = 1.5
"""Distance of neighbouring loops relative to their radius: overlap that decouples them."""

ANTERIOR_GAP, POSTERIOR_GAP = 20.0, 30.0
"""Conductors above the chest (cover, blanket) and below the back (table's mattress) [mm]."""

LARGEST_LOOP = 75.0
"""Radius of the loops of an array of few [mm]."""

FRONT_ANGLE = 65.0
"""How far the flexible array reaches around the chest to either side [degrees]."""

BACK_WIDTH = 0.75
"""Width of the table's array relative to that of the body."""

TISSUE_STEP = 10.0
"""Spacing of the points at which currents in the body are looked at [mm]."""

_GOLDEN_ANGLE = 2.399963


@dataclass(frozen=True)
class Loop:
    """A circular loop: centre, normal, radius in the patient [mm]; its channel's phase [rad]."""

    centre: Point
    normal: Point
    radius: float
    phase: float = 0.0

    def sensitivity(self, points: Points, b0_direction: Point = (0.0, 0.0, 1.0)) -> ComplexArray:
        r"""Receive sensitivity at some points: the field that turns with the spins.

        With B0 along S it is the field's L minus i times its P component.

        Parameters
        ----------
        points
            Where [mm].
        b0_direction
            Unit vector (L, P, S): what a loop's field has along it, no spin hears.

        Returns
        -------
        ComplexArray
            Sensitivity in units of the field at the loop's own centre.
        """
        first, second, _ = np.asarray(axes_with(b0_direction))
        axes = np.asarray(axes_with(self.normal))
        along, rho, z = self._cylindrical(points, axes)
        radial, axial = _loop_field(rho / self.radius, z / self.radius)
        u, v = (radial * part / rho for part in along)
        weights = axes @ (first - 1j * second) * np.exp(1j * self.phase)
        result: ComplexArray = u * weights[0] + v * weights[1] + axial * weights[2]
        return result

    def electric_field(self, points: Points) -> RealArray:
        r"""Electric field that a current in the loop induces, from its vector potential.

        Parameters
        ----------
        points
            Where [mm].

        Returns
        -------
        RealArray
            Components (L, P, S) ``(3, ...)``, for the frequency and the current that give 1 at the
            loop's centre, as `sensitivity` has it [mm].

        Notes
        -----
        Charges on the body's surface are left out. For a loop that lies flat on a wide body there
        are none: its circles of current never meet the surface.
        """
        axes = np.asarray(axes_with(self.normal))
        (x, y), rho, z = self._cylindrical(points, axes)
        around = self.radius * _loop_potential(rho / self.radius, z / self.radius) / rho
        result: RealArray = np.stack([around * (x * axes[1, c] - y * axes[0, c]) for c in range(3)])
        return result

    def _cylindrical(
        self, points: Points, axes: RealArray
    ) -> tuple[tuple[RealArray, RealArray], RealArray, RealArray]:
        """Coordinates of points about the loop's axis: ``(x, y)``, distance, height [mm]."""
        offsets = [np.asarray(p, dtype=float) - c for p, c in zip(points, self.centre, strict=True)]
        x, y, z = (sum(o * a for o, a in zip(offsets, axis, strict=True)) for axis in axes)
        return (x, y), np.maximum(np.hypot(x, y), 1e-6 * self.radius), z


def loops_around(n_coils: int, centre: Point, semi_axes: tuple[float, float]) -> list[Loop]:
    """Place loops on an elliptic former, as around a head, in two staggered rings if many.

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


def body_array(n_coils: int, centre: Point, semi_axes: tuple[float, float]) -> list[Loop]:
    """Place loops as on a chest: a flexible array over it, and one in the table beneath.

    Parameters
    ----------
    n_coils
        Number of loops, >= 1; of odd numbers the larger half lies in front.
    centre
        Middle of the array, on the body's axis [mm].
    semi_axes
        Half widths of the body along L and P [mm].

    Returns
    -------
    list of Loop
        Front before back, in rows from feet to head, in each row from right to left. Neighbours
        overlap, so as not to couple. Channels have phases of their own, as cables of different
        length give them.
    """
    placed = [
        *_front((n_coils + 1) // 2, semi_axes),
        *_back(n_coils // 2, semi_axes),
    ]
    return [
        Loop(point(centre + offset), point(inwards), radius, _GOLDEN_ANGLE * i % (2 * np.pi))
        for i, (offset, inwards, radius) in enumerate(placed)
    ]


def _front(n: int, semi_axes: tuple[float, float]) -> Iterator[tuple[RealArray, RealArray, float]]:
    """Offsets, normals and radius of loops on the chest's ellipse."""
    a, b = (semi_axis + ANTERIOR_GAP for semi_axis in semi_axes)
    angles = np.deg2rad(np.linspace(-FRONT_ANGLE, FRONT_ANGLE, 501))
    curve = np.stack([a * np.sin(angles), -b * np.cos(angles)])
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve)))])
    places, radius = _sheet(n, float(arc[-1]))
    for along, height in places:
        angle = np.interp(along + arc[-1] / 2, arc, angles)
        x, y = a * np.sin(angle), -b * np.cos(angle)
        yield np.array([x, y, height]), -np.array([x / a**2, y / b**2, 0.0]), radius


def _back(n: int, semi_axes: tuple[float, float]) -> Iterator[tuple[RealArray, RealArray, float]]:
    """Offsets, normals and radius of loops in the table."""
    places, radius = _sheet(n, 2 * BACK_WIDTH * semi_axes[0])
    for along, height in places:
        offset = np.array([along, semi_axes[1] + POSTERIOR_GAP, height])
        yield offset, np.array([0.0, -1.0, 0.0]), radius


def _sheet(n: int, width: float) -> tuple[list[tuple[float, float]], float]:
    """Places (across, along S) of n loops in a sheet, and the radius that makes them overlap."""
    n_rows = max(1, round(np.sqrt(0.68 * n)))  # about as wide as it is long
    columns = [len(row) for row in np.array_split(np.arange(n), n_rows)]
    radius = min(width / max(columns[0], 1) / OVERLAP, LARGEST_LOOP)
    pitch = OVERLAP * radius
    places = [
        (((column + 0.5) / in_row - 0.5) * width, (row - (n_rows - 1) / 2) * pitch)
        for row, in_row in enumerate(columns)
        for column in range(in_row)
    ]
    return places, radius


def coil_maps(
    loops: list[Loop],
    geometry: Geometry,
    reference: Point,
    b0_direction: Point = (0.0, 0.0, 1.0),
) -> ComplexArray:
    """Compute the sensitivities of loops on a grid.

    Parameters
    ----------
    loops
        One or more. A single coil is taken for the body coil, uniform over the grid.
    geometry
        Any grid.
    reference
        Where the root sum of squares shall be 1 [mm].
    b0_direction
        Unit vector (L, P, S).

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64.
    """
    if len(loops) == 1:
        return np.ones((1, *geometry.shape), np.complex64)
    coarse = _coarse(geometry)
    points = block_points(coarse)
    norm = _norm_at(loops, reference, b0_direction)
    to_z, to_y, to_x = (_interpolation(coarse, geometry, axis) for axis in range(3))
    maps = np.empty((len(loops), *geometry.shape), np.complex64)
    for loop, fine in zip(loops, maps, strict=True):
        values = np.asarray(loop.sensitivity(points, b0_direction) / norm, np.complex64)
        # One axis after the other to the front; that of the fewest voxels last.
        rows = _along_first(to_x, np.moveaxis(values, 2, 0))
        planes = _along_first(to_y, np.moveaxis(rows, 2, 0))
        fine[:] = _along_first(to_z, planes.transpose(2, 0, 1))
    return maps


def coil_profiles(
    loops: list[Loop],
    points: Points,
    reference: Point,
    b0_direction: Point = (0.0, 0.0, 1.0),
) -> ComplexArray:
    """Compute the sensitivities ``(coils, ...)`` at some points, scaled as those of `coil_maps`."""
    if len(loops) == 1:
        return np.ones((1, *np.broadcast_shapes(*(p.shape for p in points))), np.complex64)
    values = np.stack([loop.sensitivity(points, b0_direction) for loop in loops])
    return np.asarray(values / _norm_at(loops, reference, b0_direction), np.complex64)


def mutual_resistance(loops: list[Loop], body: Shape) -> RealArray:
    r"""Find what the currents that loops induce in a body have in common.

    .. math:: R_{jk} \propto \int \mathbf E_j \cdot \mathbf E_k \, dV

    over a body of uniform conductivity. Thermal noise from the body is correlated between two
    loops by as much.

    Parameters
    ----------
    loops
        One or more.
    body
        What conducts; beyond a few radii of the loops it does not count.

    Returns
    -------
    RealArray
        Symmetric, positive semidefinite ``(coils, coils)``, in the unit of `Loop.electric_field`,
        squared and times a volume.

    References
    ----------
    .. [1] Roemer PB, et al. The NMR phased array. Magn Reson Med. 1990;16(2):192-225.
       doi:10.1002/mrm.1910160203
    """
    points = _tissue(loops, body)
    fields = np.stack([loop.electric_field(points).ravel() for loop in loops])
    resistance: RealArray = fields @ fields.T * TISSUE_STEP**3
    return resistance


def _tissue(loops: list[Loop], body: Shape) -> Points:
    """Points of the body around the loops, each in the middle of its cube."""
    centres = np.array([loop.centre for loop in loops])
    margin = 3 * max(loop.radius for loop in loops)
    low, high = centres.min(axis=0) - margin, centres.max(axis=0) + margin
    counts = np.ceil((high - low) / TISSUE_STEP).astype(int)
    left, posterior, superior = np.meshgrid(
        *(s + TISSUE_STEP * (np.arange(n) + 0.5) for s, n in zip(low, counts, strict=True)),
        indexing="ij",
    )
    inside = body.signed_distance((left, posterior, superior)) < 0
    return left[inside], posterior[inside], superior[inside]


def _norm_at(loops: list[Loop], reference: Point, b0_direction: Point) -> float:
    left, posterior, superior = (np.full(1, c) for c in reference)
    values = [loop.sensitivity((left, posterior, superior), b0_direction) for loop in loops]
    return float(np.linalg.norm(values))


def _coarse(geometry: Geometry) -> Geometry:
    extents = [n * d for n, d in zip(geometry.shape, geometry.voxel_size, strict=True)]
    # So many intervals more than the extent that every fine voxel lies amid its knots.
    beyond = _TAPS + 1
    nz, ny, nx = (int(np.ceil(e / COARSE_STEP)) + beyond for e in extents)
    dz, dy, dx = (e / (n - beyond) for e, n in zip(extents, (nz, ny, nx), strict=True))
    return replace(geometry, shape=(nz, ny, nx), voxel_size=(dz, dy, dx))


def _interpolation(coarse: Geometry, fine: Geometry, axis: int) -> csr_array:
    """Sparse matrix ``(fine, coarse)`` of Lagrange's polynomials through the knots around."""
    n_coarse, n_fine = coarse.shape[axis], fine.shape[axis]
    places = (np.arange(n_fine) - n_fine // 2) * fine.voxel_size[axis] / coarse.voxel_size[axis]
    first = np.floor(places).astype(int) + n_coarse // 2 - (_TAPS // 2 - 1)
    columns = first[:, None] + np.arange(_TAPS)
    away = places[:, None] + n_coarse // 2 - columns  # in intervals, from each knot
    weights = np.ones((n_fine, _TAPS))
    for tap, other in itertools.permutations(range(_TAPS), 2):
        weights[:, tap] *= away[:, other] / (tap - other)
    starts = np.arange(n_fine + 1) * _TAPS
    flat = weights.ravel().astype(np.float32)
    return csr_array((flat, columns.ravel(), starts), shape=(n_fine, n_coarse))


def _along_first(matrix: csr_array, values: ComplexArray) -> ComplexArray:
    """Multiply along the first axis; real and imaginary parts apart, as the matrix is real."""
    flat = np.ascontiguousarray(values).reshape(len(values), -1).view(np.float32)
    product = (matrix @ flat).view(np.complex64)
    result: ComplexArray = product.reshape(-1, *values.shape[1:])
    return result


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


def _loop_potential(rho: RealArray, z: RealArray) -> RealArray:
    """Vector potential around a loop of radius 1, in the units of `_loop_field`.

    Smythe WR. Static and Dynamic Electricity, 3rd ed., section 7.10.
    """
    near, far = (1 - rho) ** 2 + z**2, (1 + rho) ** 2 + z**2
    m = 1 - np.maximum(near, WIRE**2) / far
    potential: RealArray = np.sqrt(far) / (np.pi * rho) * ((1 - m / 2) * ellipk(m) - ellipe(m))
    return potential
