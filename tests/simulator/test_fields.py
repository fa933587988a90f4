"""Closed-form fields against textbook values, and the forward model against closed forms."""

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.fields import (
    cylinder_field,
    field_on_grid,
    patient_grid,
    sample,
    shim_field,
    shim_terms,
    sphere_field,
)
from chistream_simulator.phantoms.scene import Part, Scene, blank_scene, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, Shape, cylinder

CENTRE = (3.0, -2.0, 1.0)
GRIDS = [
    ((96, 98, 100), (1.0, 1.0, 1.0)),
    ((97, 99, 95), (1.0, 1.0, 1.0)),
    ((64, 96, 97), (1.5, 1, 1)),
]


def painted(shape: Shape, geometry: Geometry) -> Scene:
    part = Part(shape, "thing", "thing")
    return blank_scene(geometry, {"chi": 0.0}).paint([part], {"thing": {"chi": 1.0}})


def test_a_sphere_is_a_dipole_outside_and_nothing_inside() -> None:
    radii = np.array([5.0, 20.0, 20.0])
    along = sphere_field((0 * radii, 0 * radii, radii), (0, 0, 0), 10.0, 0.9)
    across = sphere_field((radii, 0 * radii, 0 * radii), (0, 0, 0), 10.0, 0.9)
    np.testing.assert_allclose(along, [0.0, 0.075, 0.075])  # chi/3 (a/r)^3 2
    np.testing.assert_allclose(across, [0.0, -0.0375, -0.0375])


@pytest.mark.parametrize("tilt", [0.0, 30.0, 54.7356, 90.0])
def test_a_cylinder_at_any_angle(tilt: float) -> None:
    theta = np.deg2rad(tilt)
    along: Point = (0.0, float(np.sin(theta)), float(np.cos(theta)))
    inside = cylinder_field((np.zeros(1),) * 3, (0, 0, 0), along, 10.0, 0.6)
    np.testing.assert_allclose(inside, 0.1 * (3 * np.cos(theta) ** 2 - 1), atol=1e-6)
    # 20 mm off the axis, once at right angles to both axis and B0, once in their plane.
    zero = np.zeros(1)
    square = cylinder_field((zero + 20.0, zero, zero), (0, 0, 0), along, 10.0, 0.6)
    np.testing.assert_allclose(square, -0.3 / 4 * np.sin(theta) ** 2, atol=1e-9)
    off = (zero, zero + 20 * np.cos(theta), zero - 20 * np.sin(theta))
    in_plane = cylinder_field(off, (0, 0, 0), along, 10.0, 0.6)
    np.testing.assert_allclose(in_plane, 0.3 / 4 * np.sin(theta) ** 2, atol=1e-9)


def test_a_cylinder_in_any_direction() -> None:
    rng = np.random.default_rng(5)
    along = np.array([0.5, 0.3, 0.8]) / np.linalg.norm([0.5, 0.3, 0.8])
    places = rng.uniform(-40, 40, (3, 50))
    across = places - np.outer(along, along @ places)
    r = np.linalg.norm(across, axis=0)
    b_across = np.array([0, 0, 1.0]) - along[2] * along
    cos_phi = b_across @ across / r / np.linalg.norm(b_across)
    outside = 0.3 * (10 / r) ** 2 * (1 - along[2] ** 2) * (2 * cos_phi**2 - 1)
    expected = np.where(r > 10, outside, 0.1 * (3 * along[2] ** 2 - 1))
    direction = (float(along[0]), float(along[1]), float(along[2]))
    found = cylinder_field((places[0], places[1], places[2]), (0, 0, 0), direction, 10.0, 0.6)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(("shape", "voxel_size"), GRIDS)
def test_the_forward_model_gives_the_field_of_a_sphere(
    shape: tuple[int, int, int], voxel_size: tuple[float, float, float]
) -> None:
    geometry = Geometry(shape, voxel_size)
    field = field_on_grid(
        painted(Ellipsoid(CENTRE, (12.0, 12.0, 12.0)), geometry).quantities["chi"], geometry
    )
    points = block_points(geometry)
    expected = sphere_field(points, CENTRE, 12.0, 1.0)
    r = np.sqrt(sum((p - c) ** 2 for p, c in zip(points, CENTRE, strict=True)))
    near = (np.abs(r - 12.0) > 2.0) & (r < 30.0)
    # 2 % of chi: the periodic neighbours and the staircase, softened by partial volumes.
    np.testing.assert_allclose(field[near], expected[near], atol=0.02)


def test_the_forward_model_gives_the_field_of_a_cylinder_across_b0() -> None:
    geometry = Geometry((96, 64, 97), (1.0, 1.5, 1.0))
    rod = cylinder(CENTRE, (10.0, 10.0), (0.0, 1.0, 0.0))
    field = field_on_grid(painted(rod, geometry).quantities["chi"], geometry)
    left, _, superior = block_points(geometry)
    r = np.hypot(left - CENTRE[0], superior - CENTRE[2]) + np.zeros(geometry.shape)
    near = (np.abs(r - 10.0) > 2.0) & (r < 25.0)
    expected = cylinder_field(block_points(geometry), CENTRE, (0, 1, 0), 10.0, 1.0)
    # The mean of chi makes no field: the periodic cylinder lies that third of its share lower.
    offset = -np.mean(field[near] - expected[near])
    assert abs(offset) < 0.03
    np.testing.assert_allclose(field[near] + offset, expected[near], atol=0.03)


def test_a_trunk_along_b0_needs_no_padding() -> None:
    geometry = Geometry((6, 40, 50), (4.0, 2.0, 2.0))
    chi = painted(cylinder((0, 0, 0), (30.0, 25.0)), geometry).quantities["chi"]
    np.testing.assert_allclose(field_on_grid(chi, geometry), (chi - chi.mean()) / 3, atol=1e-5)


def test_the_patient_grid_covers_what_it_must() -> None:
    grid = patient_grid((-50.0, -40.0, -30.0), (50.0, 60.0, 30.0), (2.1, 3.0, 2.5), (10.0, 20.0))
    extent = np.multiply(grid.shape, grid.voxel_size)[::-1]
    np.testing.assert_allclose(extent, (120.0, 140.0, 60.0))
    assert grid.position == (0.0, 10.0, 0.0)
    assert all(np.array(grid.voxel_size[::-1]) <= (2.1, 3.0, 2.5))


def test_sampling_a_straight_line_on_an_oblique_grid_is_exact() -> None:
    source = Geometry((31, 40, 41), (3.0, 2.0, 2.0), (1.0, 2.0, 3.0))
    c, s = np.cos(0.3), np.sin(0.3)
    target = Geometry((6, 7, 8), (3.0, 3.0, 3.0), (5.0, 0.0, 0.0), (c, 0, -s), (0, 1, 0), (s, 0, c))

    def ramp(geometry: Geometry) -> RealArray:
        left, posterior, superior = block_points(geometry)
        total = 0.5 * left + 0.25 * posterior - 0.125 * superior + np.zeros(geometry.shape)
        return np.asarray(total, np.float32)

    np.testing.assert_allclose(sample(ramp(source), source, target), ramp(target), atol=1e-4)


@pytest.mark.parametrize(("order", "left_over"), [("none", 4), ("offset", 3), ("linear", 0)])
def test_a_shim_takes_away_what_its_order_can(order: str, left_over: int) -> None:
    geometry = Geometry((5, 6, 7), (4.0, 3.0, 2.0), (10.0, 0.0, 5.0))
    points = block_points(geometry)
    terms = np.array([0.5, 0.01, -0.02, 0.03])
    field = shim_field(points, terms)
    region = np.ones(geometry.shape, dtype=bool)
    found = shim_terms(points, field, region, order)
    assert np.sum(np.abs(found) < 1e-9) == left_over
    if order == "linear":
        np.testing.assert_allclose(found, terms, atol=1e-6)
    assert not shim_terms(points, field, ~region, order).any()
