"""The closed forms against limits that a textbook gives and the laws that fix them."""

import numpy as np
import pytest
from scipy.integrate import quad

from chistream.arrays import RealArray
from chistream_simulator.magnetics.closed_forms import (
    cylinder_field,
    ellipsoid_field,
    sphere_field,
    unit_vector,
)
from chistream_simulator.phantoms.shapes import Axes, Point, Points, axes_with

CENTRE = (3.0, -2.0, 1.0)
TILTED: Point = (0.3, -0.5, 0.8)
AXES = axes_with((1.0, 2.0, 3.0))
SEMI_AXES = (8.0, 12.0, 20.0)
DIRECTIONS = [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), TILTED]


def scattered(seed: int, n: int = 400, reach: float = 60.0) -> Points:
    left, posterior, superior = np.random.default_rng(seed).uniform(-reach, reach, (3, n))
    return left, posterior, superior


def on_surface(semi_axes: Point, axes: Axes, n: int) -> tuple[RealArray, RealArray]:
    """Places ``(3, n)`` on an ellipsoid about the origin, and its normals."""
    u = np.random.default_rng(7).standard_normal((3, n))
    u /= np.linalg.norm(u, axis=0)
    frame, a = np.array(axes), np.array(semi_axes)[:, None]
    normals = frame.T @ (u / a)
    return frame.T @ (u * a), normals / np.linalg.norm(normals, axis=0)


def moved(places: RealArray) -> Points:
    return places[0] + CENTRE[0], places[1] + CENTRE[1], places[2] + CENTRE[2]


def test_a_sphere_is_a_dipole_outside_and_nothing_inside() -> None:
    radii = np.array([5.0, 20.0, 20.0])
    along = sphere_field((0 * radii, 0 * radii, radii), (0, 0, 0), 10.0, 0.9)
    across = sphere_field((radii, 0 * radii, 0 * radii), (0, 0, 0), 10.0, 0.9)
    np.testing.assert_allclose(along, [0.0, 0.075, 0.075])  # chi/3 (a/r)^3 2
    np.testing.assert_allclose(across, [0.0, -0.0375, -0.0375])
    turned = sphere_field(
        (radii, 0 * radii, 0 * radii), (0, 0, 0), 10.0, 0.9, b0_direction=(2, 0, 0)
    )
    np.testing.assert_allclose(turned, along)


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


def test_turning_the_cylinder_and_b0_together_turns_the_field() -> None:
    places = np.stack(scattered(5))
    frame = np.array(axes_with(TILTED))  # takes TILTED to S
    upright = cylinder_field(tuple(frame @ places), (0, 0, 0), (0.1, 0.7, 0.7), 10.0, 0.6)
    left, posterior, superior = frame.T @ (0.1, 0.7, 0.7)
    turned = cylinder_field(
        tuple(places), (0, 0, 0), (left, posterior, superior), 10.0, 0.6, b0_direction=TILTED
    )
    np.testing.assert_allclose(turned, upright, atol=1e-12)


@pytest.mark.parametrize("b0_direction", DIRECTIONS)
def test_an_ellipsoid_with_equal_axes_is_a_sphere(b0_direction: Point) -> None:
    points = scattered(1)
    ball = ellipsoid_field(
        points, CENTRE, (12.0, 12.0, 12.0), 0.9, axes=AXES, b0_direction=b0_direction
    )
    expected = sphere_field(points, CENTRE, 12.0, 0.9, b0_direction=b0_direction)
    np.testing.assert_allclose(ball, expected, atol=1e-12)


@pytest.mark.parametrize("b0_direction", DIRECTIONS)
def test_a_long_ellipsoid_is_a_cylinder(b0_direction: Point) -> None:
    points = scattered(2)
    rod = ellipsoid_field(
        points, CENTRE, (12.0, 12.0, 1e5), 0.9, axes=AXES, b0_direction=b0_direction
    )
    expected = cylinder_field(points, CENTRE, AXES[2], 12.0, 0.9, b0_direction=b0_direction)
    np.testing.assert_allclose(rod, expected, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_inside_an_ellipsoid_the_field_is_that_of_its_demagnetising_factors(axis: int) -> None:
    squares = np.square(SEMI_AXES)

    def integrand(s: float) -> float:
        return float(1 / ((squares[axis] + s) * np.sqrt(np.prod(squares + s))))

    factor = np.prod(SEMI_AXES) / 2 * quad(integrand, 0, np.inf)[0]
    places = 0.99 * on_surface(SEMI_AXES, AXES, 20)[0]
    field = ellipsoid_field(
        moved(places), CENTRE, SEMI_AXES, 0.6, axes=AXES, b0_direction=AXES[axis]
    )
    np.testing.assert_allclose(field, 0.6 * (1 / 3 - factor), atol=1e-8)


@pytest.mark.parametrize("b0_direction", DIRECTIONS)
def test_b_is_continuous_along_the_normal_and_h_along_the_surface(b0_direction: Point) -> None:
    # H jumps along the normal only, by the magnetisation's normal component: the field along b
    # by chi (b.n)^2. Inside, the removed Lorentz sphere adds a third of chi.
    places, normals = on_surface(SEMI_AXES, AXES, 100)
    out, inside = (
        ellipsoid_field(
            moved(places + side * normals),
            CENTRE,
            SEMI_AXES,
            0.6,
            axes=AXES,
            b0_direction=b0_direction,
        )
        for side in (1e-9, -1e-9)
    )
    jump = 0.6 * ((unit_vector(b0_direction) @ normals) ** 2 - 1 / 3)
    np.testing.assert_allclose(out - inside, jump, atol=1e-8)


def test_the_field_outside_an_ellipsoid_has_no_sources() -> None:
    places, normals = on_surface(SEMI_AXES, AXES, 50)
    places = places + np.linspace(2.0, 60.0, 50) * normals
    step = 0.05

    def field(shift: RealArray) -> RealArray:
        there = moved(places + shift[:, None])
        return ellipsoid_field(there, CENTRE, SEMI_AXES, 1.0, axes=AXES, b0_direction=TILTED)

    curvatures = [
        (field(step * axis) - 2 * field(0 * axis) + field(-step * axis)) / step**2
        for axis in np.eye(3)
    ]
    assert np.abs(curvatures).max() > 1e-3
    np.testing.assert_allclose(sum(curvatures), 0.0, atol=1e-5)


def test_far_away_an_ellipsoid_is_the_dipole_of_its_volume() -> None:
    points = scattered(3, reach=3000.0)
    field = ellipsoid_field(points, CENTRE, SEMI_AXES, 1.0, axes=AXES, b0_direction=TILTED)
    radius = float(np.prod(SEMI_AXES)) ** (1 / 3)
    expected = sphere_field(points, CENTRE, radius, 1.0, b0_direction=TILTED)
    r = np.linalg.norm(points, axis=0)
    # The next moment is that of order 2: (20 mm / r)^2 of the dipole.
    assert np.all(np.abs(field - expected) < 2 * (radius / r) ** 3 * (20 / r) ** 2)


def test_the_shape_of_the_points_is_kept() -> None:
    z, y, x = np.zeros((4, 1, 1)), np.zeros((3, 1)), np.linspace(-30, 30, 5)
    assert ellipsoid_field((x, y, z), CENTRE, SEMI_AXES, 1.0).shape == (4, 3, 5)


@pytest.mark.parametrize("semi_axes", [(1.0, 2.0, np.inf), (1.0, 0.0, 2.0)])
def test_an_impossible_ellipsoid_is_refused(semi_axes: Point) -> None:
    with pytest.raises(ValueError, match="semi_axes must be finite and positive"):
        ellipsoid_field(scattered(4), CENTRE, semi_axes, 1.0)


def test_a_zero_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="a direction must not be zero"):
        sphere_field(scattered(4), CENTRE, 1.0, 1.0, b0_direction=(0.0, 0.0, 0.0))
