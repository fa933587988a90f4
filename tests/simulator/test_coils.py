"""Loop coils against Biot and Savart."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.coils import Loop, coil_maps, coil_profiles, loops_around


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
    # Splines over 12 mm follow the field of loops that are 80 mm or more away.
    inner = (slice(None), slice(None), slice(10, 30), slice(15, 46))
    np.testing.assert_allclose(maps[inner], exact[inner], atol=2e-3)
    assert np.angle(maps[:, 4, 20, 30]).std() > 0.1
    assert np.abs(np.diff(maps, axis=-1)).max() < 0.25


def test_a_single_coil_is_the_body_coil() -> None:
    loops = loops_around(1, (0.0, 0.0, 0.0), (200.0, 160.0))
    assert (coil_maps(loops, Geometry((2, 3, 4), (1, 1, 1)), (0, 0, 0)) == 1).all()
    assert coil_profiles(loops, (np.zeros(5),) * 3, (0, 0, 0)).shape == (1, 5)
