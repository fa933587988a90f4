"""Loop coils against Biot and Savart."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.coils import (
    Loop,
    body_array,
    coil_maps,
    coil_profiles,
    loops_around,
    mutual_resistance,
)
from chistream_simulator.phantoms.shapes import Ellipsoid, cylinder


def biot_savart(loop: Loop, place: tuple[float, float, float]) -> complex:
    """Sum up a loop of wire in 4000 pieces; for normals along P."""
    angle = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    # Right-handed about P: from S to L.
    wire = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1) * loop.radius + loop.centre
    pieces = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], axis=1) * 2 * np.pi / 4000
    to_place = np.asarray(place) - wire
    distance = np.linalg.norm(to_place, axis=1, keepdims=True)
    field = (np.cross(pieces, to_place) / distance**3).sum(axis=0) * loop.radius
    field /= 2 * np.pi / loop.radius  # field at the centre of a loop of current 1
    return complex(field[0] - 1j * field[1])


@pytest.mark.parametrize("place", [(0.0, 80.0, 0.0), (40.0, 60.0, -30.0), (-10.0, 100.0, 50.0)])
def test_a_loop_has_the_field_of_its_wire(place: tuple[float, float, float]) -> None:
    loop = Loop((5.0, -20.0, 10.0), (0.0, 1.0, 0.0), 60.0)
    points = tuple(np.full(1, c) for c in place)
    found = loop.sensitivity(points)[0]  # type: ignore[arg-type]
    assert found == pytest.approx(biot_savart(loop, place), rel=1e-4)


def test_on_its_axis_a_loop_falls_off_as_the_textbook_says() -> None:
    loop = Loop((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 50.0)
    y = np.array([0.0, 50.0, 100.0])
    expected = -1j * (1 + (y / 50) ** 2) ** -1.5
    np.testing.assert_allclose(loop.sensitivity((0 * y, y, 0 * y)), expected, rtol=1e-6)


@pytest.mark.parametrize("n_coils", [2, 5, 8])
def test_maps_are_smooth_complex_and_one_in_the_middle(n_coils: int) -> None:
    geometry = Geometry((9, 40, 61), (5.0, 4.0, 4.0), (3.0, 2.0, 1.0))
    loops = loops_around(n_coils, (0.0, 0.0, 0.0), (200.0, 160.0))
    maps = coil_maps(loops, geometry, geometry.position)
    assert maps.dtype == np.complex64
    assert np.linalg.norm(maps[:, 4, 20, 30]) == pytest.approx(1.0, abs=2e-3)
    exact = coil_profiles(loops, tuple(geometry.voxel_positions()), geometry.position)
    # Knots 6 mm apart follow the field of loops that are 80 mm or more away.
    inner = (slice(None), slice(None), slice(10, 30), slice(15, 46))
    np.testing.assert_allclose(maps[inner], exact[inner], atol=2e-4)
    assert np.angle(maps[:, 4, 20, 30]).std() > 0.1
    assert np.abs(np.diff(maps, axis=-1)).max() < 0.25


def test_a_single_coil_is_the_body_coil() -> None:
    loops = loops_around(1, (0.0, 0.0, 0.0), (200.0, 160.0))
    assert (coil_maps(loops, Geometry((2, 3, 4), (1, 1, 1)), (0, 0, 0)) == 1).all()
    assert coil_profiles(loops, (np.zeros(5),) * 3, (0, 0, 0)).shape == (1, 5)


TRUNK = (165.0, 106.0)


def test_a_loop_hears_only_what_lies_across_b0() -> None:
    """On its axis, along B0, a loop hears nothing; turned with B0 it hears as before."""
    places = (np.array([0.0, 20.0]), np.array([0.0, -10.0]), np.array([30.0, 40.0]))
    along = Loop((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 50.0)
    assert abs(along.sensitivity(places)[0]) < 1e-9
    assert abs(along.sensitivity(places, (1.0, 0.0, 0.0))[0]) > 0.1
    tilted = along.sensitivity(places, (0.6, 0.0, 0.8))
    field = [along.sensitivity(places, b0) for b0 in ((0.0, 0, 1.0), (0.0, 1.0, 0))]
    # L, P and S of the field, from what is heard with B0 along S and along P.
    left, posterior, superior = field[0].real, -field[0].imag, field[1].imag
    across = left**2 + posterior**2 + superior**2 - (0.6 * left + 0.8 * superior) ** 2
    np.testing.assert_allclose(np.abs(tilted) ** 2, across, rtol=1e-9, atol=1e-15)


def test_a_channels_phase_turns_what_it_hears() -> None:
    place = (np.full(1, 10.0), np.full(1, 60.0), np.full(1, -20.0))
    plain = Loop((0, 0, 0), (0.0, 1.0, 0.0), 50.0).sensitivity(place)
    turned = Loop((0, 0, 0), (0.0, 1.0, 0.0), 50.0, phase=0.7).sensitivity(place)
    np.testing.assert_allclose(turned, plain * np.exp(0.7j))


def test_the_electric_field_is_that_of_the_wires_vector_potential() -> None:
    """A = sum of the pieces of wire over their distance, in units of the field at the centre."""
    loop = Loop((5.0, -20.0, 10.0), (0.0, 1.0, 0.0), 60.0)
    angle = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    wire = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1) * 60.0 + loop.centre
    pieces = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], axis=1) * 2 * np.pi * 60 / 4000
    for place in ((0.0, 20.0, 0.0), (40.0, 60.0, -30.0), (90.0, 0.0, 50.0)):
        distance = np.linalg.norm(np.asarray(place) - wire, axis=1, keepdims=True)
        expected = (pieces / distance).sum(axis=0) / (2 * np.pi / 60)
        points = tuple(np.full(1, c) for c in place)
        found = loop.electric_field(points)[:, 0]  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_electric_field_runs_around_the_magnetic_one() -> None:
    """Stokes: around a small circle about the axis it amounts to the flux through it."""
    loop = Loop((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 80.0)
    circle = (np.full(1, 4.0), np.zeros(1), np.full(1, 30.0))
    around = loop.electric_field(circle)[1, 0] * 2 * np.pi * 4
    axial = (1 + (30 / 80) ** 2) ** -1.5
    assert around == pytest.approx(axial * np.pi * 4**2, rel=2e-3)


@pytest.mark.parametrize("n_coils", [1, 2, 3, 8, 17, 32])
def test_an_array_lies_close_above_the_chest_and_below_the_back(n_coils: int) -> None:
    loops = body_array(n_coils, (0.0, 0.0, 5.0), TRUNK)
    assert len(loops) == n_coils
    assert sum(loop.centre[1] < 0 for loop in loops) == (n_coils + 1) // 2
    trunk = cylinder((0.0, 0.0, 0.0), TRUNK)
    for loop in loops:
        centre = tuple(np.full(1, c) for c in loop.centre)
        height = float(trunk.signed_distance(centre)[0])  # type: ignore[arg-type]
        expected = 20.0 if loop.centre[1] < 0 else 30.0
        # A table is flat: towards its sides the back is farther away.
        assert expected - 1 <= height <= expected + (2 if loop.centre[1] < 0 else 35)
        middle = np.asarray(loop.centre)
        assert np.dot(loop.normal, middle * (1, 1, 0)) < 0
    heights = [loop.centre[2] for loop in loops]
    assert (min(heights) + max(heights)) / 2 == pytest.approx(5.0)


def test_neighbours_overlap_and_no_two_share_a_place() -> None:
    loops = body_array(16, (0.0, 0.0, 0.0), TRUNK)
    centres = np.array([loop.centre for loop in loops])
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 1e3 * np.eye(16)
    radii = np.array([loop.radius for loop in loops])
    np.testing.assert_allclose(apart.min(axis=1) / radii, 1.5, atol=0.06)
    assert len({round(loop.phase, 3) for loop in loops}) == 16


@pytest.mark.parametrize("b0_direction", [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8)])
def test_interpolation_follows_the_field_of_near_loops(
    b0_direction: tuple[float, float, float],
) -> None:
    axes = ((0.96, 0.0, 0.28), (0.0, 1.0, 0.0), (-0.28, 0.0, 0.96))
    geometry = Geometry((5, 40, 67), (6.0, 5.0, 5.0), (3.0, 2.0, 1.0), *axes)
    loops = body_array(6, (0.0, 0.0, 0.0), TRUNK)
    maps = coil_maps(loops, geometry, geometry.position, b0_direction)
    points = tuple(geometry.voxel_positions())
    exact = coil_profiles(loops, points, geometry.position, b0_direction)
    inside = cylinder((0.0, 0.0, 0.0), TRUNK).signed_distance(points) < 0
    wrong = np.abs(maps - exact)[:, inside].max() / np.abs(exact[:, inside]).max()
    assert wrong < 0.01


def test_resistance_is_shared_with_near_loops_and_the_same_for_mirrored_ones() -> None:
    loops = body_array(8, (0.0, 0.0, 0.0), TRUNK)
    resistance = mutual_resistance(loops, cylinder((0.0, 0.0, 0.0), TRUNK))
    np.testing.assert_allclose(resistance, resistance.T)
    assert np.linalg.eigvalsh(resistance).min() > 0
    level = np.sqrt(np.diag(resistance))
    correlation = resistance / np.outer(level, level)
    # Four loops in front, two rows of two; 4 to 7 lie behind them.
    assert correlation[0, 2] == pytest.approx(0.42, abs=0.05)
    assert correlation[0, 1] > correlation[0, 3] > 0
    # Mirrored about the sagittal plane, the array is itself.
    mirror = [1, 0, 3, 2, 5, 4, 7, 6]
    np.testing.assert_allclose(
        correlation, correlation[np.ix_(mirror, mirror)], atol=0.02
    )  # the points of the body are not mirrored


def test_resistance_grows_with_the_conductor() -> None:
    loops = body_array(2, (0.0, 0.0, 0.0), TRUNK)
    small = mutual_resistance(loops, Ellipsoid((0.0, 0.0, 0.0), (40.0, 40.0, 40.0)))
    whole = mutual_resistance(loops, cylinder((0.0, 0.0, 0.0), TRUNK))
    assert whole[0, 0] > 10 * small[0, 0] > 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 7), (2, 11, 30)])
def test_grids_of_any_size_have_maps(shape: tuple[int, int, int]) -> None:
    geometry = Geometry(shape, (4.0, 3.0, 0.5), (10.0, -20.0, 30.0))
    loops = loops_around(3, (0.0, 0.0, 0.0), (200.0, 160.0))
    exact = coil_profiles(loops, tuple(geometry.voxel_positions()), (0, 0, 0))
    np.testing.assert_allclose(coil_maps(loops, geometry, (0, 0, 0)), exact, atol=1e-4)
