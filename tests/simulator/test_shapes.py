"""Solids: distances, reach and volumes against closed forms, on grids of every kind."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.physics.compiled import python_form
from chistream.physics.geometry import Geometry
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.combinations import (
    Complement,
    Grown,
    Intersection,
    Union,
    without,
)
from chistream_simulator.phantoms.curves import Ring, Tube, tube_distance
from chistream_simulator.phantoms.partial_volumes import blend, filled_part, mark
from chistream_simulator.phantoms.prisms import Dome, HalfSpace, Layers, Superellipse
from chistream_simulator.phantoms.scene import Part, blank_scene
from chistream_simulator.phantoms.shapes import (
    Ellipsoid,
    Point,
    Points,
    Shape,
    axes_with,
    cylinder,
    point,
)

TILTED = axes_with((1.0, -1.0, 0.5))
BALL = Ellipsoid((1.0, 2.0, -1.0), (10.0, 10.0, 10.0))
TUBE = Tube(((-10.0, -5.0, -8.0), (10.0, 5.0, 8.0)), (6.0, 6.0))
DOME = Dome((0.5, 0.0, 1.0), (12.0, 10.0, 9.0), 8.0)
RING = Ring((0.0, 1.0, 0.0), (15.0, 15.0), (4.0, 3.0), TILTED)
WIDE_RING = Ring((1.0, 2.0, 3.0), (17.0, 11.0), (3.0, 2.5), TILTED)


def grid(
    shape: tuple[int, int, int], voxel_size: tuple[float, float, float], turn: Point = (0, 0, 0)
) -> Geometry:
    read, phase, slice_ = (point(column) for column in turn_matrix(turn).T)
    return Geometry(shape, voxel_size, (0.3, -0.4, 0.7), read, phase, slice_)


GRIDS = {
    "fine": grid((61, 62, 63), (1.0, 1.0, 1.0)),
    "flat": grid((24, 65, 80), (2.5, 0.94, 0.7)),
    "oblique": grid((25, 72, 85), (2.5, 0.94, 0.7), (20.0, -15.0, 30.0)),
    "coarse": grid((17, 41, 40), (4.0, 1.6, 1.5), (40.0, 25.0, 10.0)),
}


def painted_volume(shape: Shape, geometry: Geometry) -> float:
    scene = blank_scene(geometry, {"filled": 0.0})
    scene.paint([Part(shape, "t", "t")], {"t": {"filled": 1.0}})
    filled = scene.quantities["filled"]
    edges = (filled[[0, -1]], filled[:, [0, -1]], filled[:, :, [0, -1]])
    assert not any(edge.any() for edge in edges)  # else the grid is too small for this test
    return float(filled.sum(dtype=float) * np.prod(geometry.voxel_size))


@pytest.mark.parametrize("geometry", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (BALL, 4 / 3 * np.pi * 10**3),
        (Ellipsoid((1.0, 2.0, -1.0), (8.0, 12.0, 15.0), TILTED), 4 / 3 * np.pi * 8 * 12 * 15),
        (RING, 2 * np.pi * 15 * np.pi * 4 * 3),
        (TUBE, np.pi * 36 * np.sqrt(756.0) + 4 / 3 * np.pi * 6**3),
        (DOME, np.pi * 12 * 10 * (2 / 3 * 9 + 8)),
        (Grown(BALL, -2.0), 4 / 3 * np.pi * 8**3),
        (Intersection(BALL, (HalfSpace(BALL.centre, TILTED[2]),)), 2 / 3 * np.pi * 10**3),
    ],
    ids=["ball", "ellipsoid", "ring", "tube", "dome", "less", "half"],
)
def test_what_is_painted_has_the_volume_of_the_closed_form(
    geometry: Geometry, shape: Shape, volume: float
) -> None:
    # A few voxels of curvature per voxel are lost at sharp edges: 0.7 % on the coarsest grid.
    assert painted_volume(shape, geometry) == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize("geometry", GRIDS.values(), ids=GRIDS)
def test_balls_of_a_few_voxels_are_not_swollen(geometry: Geometry) -> None:
    ball = Ellipsoid((1.0, 2.0, -1.0), (7.0, 7.0, 7.0))
    # Without the curvature of the surface it would be 1.5 to 4 %.
    assert painted_volume(ball, geometry) == pytest.approx(4 / 3 * np.pi * 343, rel=0.01)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (30.0, -20.0, 10.0)])
def test_a_plane_cuts_anisotropic_voxels_as_softly_as_they_are_long_along_its_normal(
    turn: Point,
) -> None:
    geometry = grid((9, 10, 11), (4.0, 1.0, 0.5), turn)
    axes = (geometry.slice_dir, geometry.phase_dir, geometry.read_dir)
    for axis, edge in zip(axes, geometry.voxel_size, strict=True):
        scene = blank_scene(geometry, {"filled": 0.0})
        plane = HalfSpace((0.37, -0.2, 0.61), axis)
        scene.paint([Part(plane, "t", "t")], {"t": {"filled": 1.0}})
        positions = np.moveaxis(geometry.voxel_positions(), 0, -1)
        along = (positions - np.asarray(plane.centre)) @ np.asarray(axis)
        np.testing.assert_allclose(
            scene.quantities["filled"], np.clip(0.5 - along / edge, 0, 1), atol=1e-5
        )


def surface_points(
    shape: Shape, n: int = 400
) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Find points on a surface by bisection between an inner and an outer one."""
    rng = np.random.default_rng(7)
    ends = rng.uniform(-30, 30, (2, 3, 20 * n))
    inside = [np.asarray(shape.signed_distance(tuple(e))) < 0 for e in ends]
    low, high = ends[0][:, inside[0] & ~inside[1]], ends[1][:, inside[0] & ~inside[1]]
    for _ in range(40):
        middle = (low + high) / 2
        within = np.asarray(shape.signed_distance(tuple(middle))) < 0
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return list(low)


SOLIDS: dict[str, Shape] = {
    "ellipsoid": Ellipsoid((1.0, 2.0, 3.0), (9.0, 12.0, 15.0), TILTED),
    "ring": WIDE_RING,
    "round ring": RING,
    "tube": Tube(((-12.0, 0.0, 0.0), (0.0, 9.0, 3.0), (11.0, -2.0, 9.0)), (4.0, 4.0, 4.0)),
    "dome": DOME,
    "blunt dome": Dome((0.5, 0.0, 1.0), (12.0, 10.0, 9.0), 8.0, 3.0),
    "superellipse": Superellipse((1.0, -2.0, 0.0), (16.0, 12.0), 2.6),
    "layers": Layers((0.0, 0.0, 2.0), 9.0, 5.0),
    "half space": HalfSpace((1.0, 2.0, 3.0), TILTED[1]),
    "union": Union((BALL, Ellipsoid((9.0, 0.0, 0.0), (8.0, 8.0, 8.0)))),
    "grown": Grown(BALL, 1.5),
    "rest": without(BALL, Ellipsoid((9.0, 0.0, 0.0), (8.0, 8.0, 8.0))),
    "complement": Complement(BALL),
}


@pytest.mark.parametrize("shape", SOLIDS.values(), ids=SOLIDS)
def test_the_distance_is_exact_near_the_surface(shape: Shape) -> None:
    places = surface_points(shape)
    assert places[0].size > 50
    step = 0.05

    def distance(offset: Point) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        moved = [p + o for p, o in zip(places, offset, strict=True)]
        return np.asarray(shape.signed_distance((moved[0], moved[1], moved[2])), float)

    slopes = [
        (distance(point(step * axis)) - distance(point(-step * axis))) / (2 * step)
        for axis in np.eye(3)
    ]
    # A slope of one along the normal; some of the points lie on an edge, where it is less.
    slope = np.linalg.norm(slopes, axis=0)
    assert np.median(slope) == pytest.approx(1.0, abs=0.01)
    assert np.mean(np.abs(slope - 1) < 0.05) > 0.9


@pytest.mark.parametrize("shape", SOLIDS.values(), ids=SOLIDS)
def test_no_point_of_a_solid_lies_beyond_its_reach(shape: Shape) -> None:
    places = np.array(surface_points(shape)) - np.asarray(shape.centre)[:, None]
    for direction in (*np.eye(3), np.array([0.6, -0.48, 0.64])):
        farthest = np.abs(direction @ places).max()
        assert farthest <= shape.reach(point(direction)) + 1e-3


@pytest.mark.parametrize("name", ["ellipsoid", "ring", "tube", "dome"])
def test_reach_is_tight_along_the_axes(name: str) -> None:
    shape = SOLIDS[name]
    places = np.array(surface_points(shape, 4000)) - np.asarray(shape.centre)[:, None]
    for direction in np.eye(3):
        assert np.abs(direction @ places).max() > 0.9 * shape.reach(point(direction))


@pytest.mark.parametrize("shape", SOLIDS.values(), ids=SOLIDS)
def test_a_moved_solid_is_the_same_elsewhere(shape: Shape) -> None:
    by = (3.0, -5.0, 7.0)
    x = np.random.default_rng(3).uniform(-20, 20, (3, 200))
    here: Points = (x[0], x[1], x[2])
    there: Points = (x[0] + by[0], x[1] + by[1], x[2] + by[2])
    moved = shape.moved(by)
    np.testing.assert_allclose(moved.signed_distance(there), shape.signed_distance(here), atol=1e-4)
    np.testing.assert_allclose(np.subtract(moved.centre, shape.centre), by)


def test_a_fillet_fills_the_groove_by_a_quarter_of_its_width_and_nothing_else() -> None:
    balls = (Ellipsoid((-8.0, 0.0, 0.0), (9.0,) * 3), Ellipsoid((8.0, 0.0, 0.0), (9.0,) * 3))
    plain, filled = Union(balls), Union(balls, fillet=6.0)
    waist: Points = (np.zeros(1), np.array([np.sqrt(81.0 - 64.0)]), np.zeros(1))
    assert float(plain.signed_distance(waist)[0]) == pytest.approx(0.0, abs=1e-5)
    assert float(filled.signed_distance(waist)[0]) == pytest.approx(-1.5, abs=1e-5)
    pole: Points = (np.array([-17.0]), np.zeros(1), np.zeros(1))
    assert float(filled.signed_distance(pole)[0]) == pytest.approx(0.0, abs=1e-5)


def test_superellipses_reach_as_their_cross_section_says() -> None:
    box = Superellipse((0.0, 0.0, 0.0), (16.0, 12.0), 2.6)
    assert box.reach((1.0, 0.0, 0.0)) == pytest.approx(16.0)
    assert box.reach((0.0, 0.6, 0.8)) == np.inf
    angle = np.linspace(0, 2 * np.pi, 5000)
    rim = [s * np.sign(f) * np.abs(f) ** (2 / 2.6) for s, f in
           ((16.0, np.cos(angle)), (12.0, np.sin(angle)))]  # fmt: skip
    assert box.reach((0.6, 0.8, 0.0)) == pytest.approx(
        (0.6 * rim[0] + 0.8 * rim[1]).max(), rel=1e-4
    )


def test_layers_repeat() -> None:
    layers = Layers((0.0, 0.0, 2.0), 9.0, 5.0)
    s = np.array([2.0, 4.5, 6.5, 11.0, -7.0, -160.0 + 9 * 18])
    expected = [-2.5, 0.0, 2.0, -2.5, -2.5, -2.5]
    np.testing.assert_allclose(layers.signed_distance((0 * s, 0 * s, s)), expected, atol=1e-5)


def test_the_radius_of_a_tube_changes_evenly_from_node_to_node() -> None:
    tube = Tube(((0.0, 0.0, 0.0), (0.0, 0.0, 20.0), (0.0, 0.0, 30.0)), (6.0, 4.0, 4.0))
    s = np.array([0.0, 5.0, 10.0, 20.0, 25.0])
    np.testing.assert_allclose(
        tube.signed_distance((0 * s, 0 * s, s)), [-6.0, -5.5, -5.0, -4.0, -4.0], atol=1e-5
    )
    assert tube.reach((0.0, 0.0, 1.0)) == 21.0


def test_a_tube_needs_two_nodes_and_a_radius_for_each() -> None:
    with pytest.raises(ValueError, match="1 nodes with 1 radii"):
        Tube(((0.0, 0.0, 0.0),), (1.0,))
    with pytest.raises(ValueError, match="2 nodes with 1 radii"):
        Tube(((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), (1.0,))


def test_a_cylinder_is_infinite_along_its_axis_only() -> None:
    rod = cylinder((1.0, 2.0, 3.0), (4.0, 4.0), (0.0, 0.0, -2.0))
    assert rod.reach((0.0, 0.0, 1.0)) == np.inf
    assert rod.reach((1.0, 0.0, 0.0)) == pytest.approx(4.0)
    assert rod.moved((0.0, 1.0, 0.0)).centre == (1.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="must not be zero"):
        cylinder((0, 0, 0), (1.0, 1.0), (0.0, 0.0, 0.0))
    np.testing.assert_allclose(np.linalg.det(axes_with((1.0, 0.0, 0.0))), 1.0)


def _both(kernel: Callable[..., object]) -> tuple[Callable[..., object], Callable[..., object]]:
    return kernel, python_form(kernel)


def test_kernels_do_compiled_what_they_do_in_python() -> None:
    rng = np.random.default_rng(5)
    distance = rng.uniform(-2, 2, (4, 5, 6)).astype(np.float32)
    distance[0:3, 0:3, 0:3] = -1.0  # no slope at all: inside is inside
    filled = filled_part(distance, 1.9)
    assert filled[0, 0, 0] == 1
    np.testing.assert_allclose(python_form(filled_part)(distance, 1.9), filled, atol=1e-6)
    results = []
    for mixing, marking in zip(_both(blend), _both(mark), strict=True):
        values, labels = np.ones((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.uint8)
        mixing(values, filled, np.float32(5.0))
        marking(labels, filled, 7)
        np.testing.assert_allclose(values, 1 + 4 * filled, rtol=1e-5)
        np.testing.assert_array_equal(labels == 7, filled > 0.5)
        results.append((values, labels))
    nodes = np.array([[0, 0, 0, 1], [0, 0, 5, 2], [4, 0, 5, 2]], np.float32)
    places = rng.uniform(-6, 6, (3, 20)).astype(np.float32)
    np.testing.assert_allclose(
        tube_distance(places, nodes), python_form(tube_distance)(places, nodes), atol=1e-5
    )
