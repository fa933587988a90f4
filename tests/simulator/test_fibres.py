"""Fibres in B0: a tensor, its magnetisation, and the field of a ball in closed form."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.fibres import INNER_WALL, OUTER_WALL, FibrePhantom
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.scene import block_points

TURNED = (50.0, 20.0, 0.0)
CENTRE = (3.0, 2.0, 1.0)
SLAB = Geometry((17, 24, 27), (4.0, 3.0, 3.0), CENTRE)


def fibres(**values: object) -> FibrePhantom:
    given: dict[str, Any] = {
        "phantom": "fibres",
        "position": CENTRE,
        "fibre_chi_parallel": 1.0,
        "fibre_chi_perpendicular": -0.5,
        "breathing_amplitude": 0.0,
        "navigators": "none",
        **values,
    }
    phantom = make_phantom(checked(Case, given))
    assert isinstance(phantom, FibrePhantom)
    return phantom


def full_tensor(parts: RealArray) -> RealArray:
    """Symmetric tensors ``(z, y, x, 3, 3)``."""
    rows = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
    return np.moveaxis(parts[rows], (0, 1), (-2, -1))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [(0.0, 0.0, 0.0), TURNED])
@pytest.mark.parametrize(
    ("shape", "voxel_size"), [((24, 33, 32), (2.5, 2.0, 2.0)), ((31, 30, 33), (2.0, 2.0, 2.0))]
)
def test_a_ball_of_parallel_fibres_is_a_dipole_of_its_own_direction(
    orientation: tuple[float, float, float],
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
) -> None:
    axis = np.array([0.5, 0.2, 1.0]) / np.linalg.norm([0.5, 0.2, 1.0])
    phantom = fibres(
        fibre_pattern="uniform",
        fibre_axis=tuple(axis),
        object_radius=14.0,
        bath_radius=40.0,
        orientation=orientation,
    )
    grid = Geometry(shape, voxel_size, CENTRE)
    offsets = np.stack(np.broadcast_arrays(*block_points(grid))) - np.reshape(CENTRE, (3, 1, 1, 1))
    r = np.maximum(np.linalg.norm(offsets, axis=0), 1e-3)
    b = np.asarray(phantom.b0_direction)
    moment = -0.5 * b + 1.5 * (axis @ b) * axis
    outwards = offsets / r
    dipole = 3 * np.einsum("i,i...", moment, outwards) * np.einsum("i,i...", b, outwards)
    expected = np.where(r > 14, (14 / r) ** 3 / 3 * (dipole - moment @ b), 0.0)
    # 3.5 % of the anisotropy, two voxels off the surface: its staircase of soft voxels.
    away = np.abs(r - 14) > 3
    np.testing.assert_allclose(phantom.field(grid)[away], expected[away], atol=0.05)
    assert np.ptp(expected) > 0.5


@pytest.mark.parametrize("orientation", [(0.0, 0.0, 0.0), TURNED])
@pytest.mark.parametrize("pattern", ["helix", "uniform"])
def test_the_tensor_explains_scene_and_magnetisation(
    pattern: str, orientation: tuple[float, float, float]
) -> None:
    phantom = fibres(fibre_pattern=pattern, orientation=orientation, fibre_axis=(1.0, 1.0, 0.0))
    tensor = full_tensor(phantom.chi_tensor(SLAB))
    b = np.asarray(phantom.b0_direction)
    chi = phantom.scene(SLAB).quantities["chi"]
    np.testing.assert_allclose(chi, np.einsum("i,...ij,j", b, tensor, b), atol=1e-5)
    magnetisation = phantom.source(phantom.scene(SLAB, quantities=phantom.magnetic))
    expected = np.moveaxis(tensor @ b, -1, 0)
    np.testing.assert_allclose(magnetisation, expected, atol=1e-5)


def test_along_and_across_the_fibres_the_tensor_is_what_was_set() -> None:
    phantom = fibres()
    scene, tensor = phantom.scene(SLAB), full_tensor(phantom.chi_tensor(SLAB))
    inner = scene.quantities["water"] == np.float32(phantom.values["muscle"]["water"])
    assert inner.sum() > 300
    values, vectors = np.linalg.eigh(tensor[inner])
    np.testing.assert_allclose(values, np.tile([-0.5, -0.5, 1.0], (len(values), 1)), atol=1e-4)
    directions = np.moveaxis(phantom.fibre_direction(SLAB), 0, -1)
    np.testing.assert_allclose(np.linalg.norm(directions[inner], axis=-1), 1.0, atol=1e-4)
    along = np.sum(vectors[:, :, 2] * directions[inner], axis=-1)
    np.testing.assert_allclose(np.abs(along), 1.0, atol=1e-4)
    # The bath has none.
    assert not directions[~scene.where("fibres")].any()
    assert not tensor[0, 0, 0].any()


def test_the_truth_of_the_tensor_does_not_depend_on_b0() -> None:
    straight, turned = fibres(), fibres(orientation=TURNED)
    np.testing.assert_array_equal(straight.chi_tensor(SLAB), turned.chi_tensor(SLAB))
    np.testing.assert_array_equal(straight.fibre_direction(SLAB), turned.fibre_direction(SLAB))
    grid = Geometry((3, 4, 5), (9.0, 9.0, 9.0), CENTRE)
    assert np.abs(straight.field(grid) - turned.field(grid)).max() > 0.1


def test_fibres_turn_through_the_wall_as_a_right_handed_helix_inside() -> None:
    phantom = fibres(fibre_helix=60.0)
    n = 57
    wall = Geometry((1, 1, n), (1.0, 1.0, 0.25), (CENTRE[0] + 29.0, CENTRE[1], CENTRE[2]))
    x, y, z = phantom.fibre_direction(wall)[:, 0, 0, :]
    left = np.asarray(block_points(wall)[0]).ravel() - CENTRE[0]
    inside = (left > INNER_WALL[0]) & (left < OUTER_WALL[0])
    depth = (left[inside] - INNER_WALL[0]) / (OUTER_WALL[0] - INNER_WALL[0])
    angle = np.rad2deg(np.arctan2(z[inside], y[inside]))
    # On the left, "around" is towards P; at the equator the depth is linear.
    np.testing.assert_allclose(angle, 60.0 * (1 - 2 * depth), atol=0.5)
    np.testing.assert_allclose(x[inside], 0.0, atol=1e-5)


def test_fibres_run_along_the_wall() -> None:
    phantom = fibres()
    directions = phantom.fibre_direction(SLAB)
    offsets = np.stack(np.broadcast_arrays(*block_points(SLAB))) - np.reshape(CENTRE, (3, 1, 1, 1))
    squares = (np.add(INNER_WALL, OUTER_WALL) / 2) ** 2
    normal = offsets / squares.reshape(3, 1, 1, 1)
    normal /= np.linalg.norm(normal, axis=0) + 1e-9
    # Between its two surfaces the wall's normal differs a little from that of its middle.
    assert np.abs(np.sum(normal * directions, axis=0)).max() < 0.25


@pytest.mark.slow
def test_without_anisotropy_fibres_are_plain_tissue() -> None:
    same = {"fibre_chi_parallel": 0.3, "fibre_chi_perpendicular": 0.3, "bath_radius": 55.0}
    phantom = fibres(**same, orientation=TURNED)
    scene, field = phantom.scene_with_field(SLAB)
    assert set(scene.quantities) >= {"chi", "water", "fat", "r2star"}
    assert np.abs(scene.quantities["chi"][scene.where("fibres")]).max() == pytest.approx(0.3)
    # Nothing is silent here, and all sources lie within this grid: the local field is the field.
    whole = Geometry((29, 40, 41), (4.0, 3.0, 3.0), CENTRE)
    np.testing.assert_allclose(phantom.local_field(whole), phantom.field(whole), atol=2e-3)
    assert np.ptp(field) > 0.02
