"""Where voxels lie, and which way B0 points."""

import numpy as np
import pytest

from chistream.arrays import Size, Vector
from chistream.physics.geometry import Geometry

READ: Vector = (0.0, 0.8, 0.6)
PHASE: Vector = (1.0, 0.0, 0.0)
SLICE: Vector = (0.0, 0.6, -0.8)


def oblique(shape: Size) -> Geometry:
    return Geometry(shape, (5.0, 3.0, 2.0), (10.0, -20.0, 30.0), READ, PHASE, SLICE)


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (4, 7, 10)])
def test_the_position_is_that_of_the_fourier_origin(shape: Size) -> None:
    nz, ny, nx = shape
    centre = [nx // 2, ny // 2, nz // 2, 1]
    np.testing.assert_allclose(oblique(shape).affine_lps @ centre, [10.0, -20.0, 30.0, 1.0])


def test_a_step_along_an_axis_is_a_voxel_along_its_direction() -> None:
    affine = oblique((4, 6, 8)).affine_lps
    np.testing.assert_allclose(affine[:3, 0], 2.0 * np.array(READ))
    np.testing.assert_allclose(affine[:3, 1], 3.0 * np.array(PHASE))
    np.testing.assert_allclose(affine[:3, 2], 5.0 * np.array(SLICE))


def test_ras_turns_left_and_posterior_round() -> None:
    geometry = oblique((4, 6, 8))
    np.testing.assert_allclose(
        geometry.affine_ras, geometry.affine_lps * np.array([[-1], [-1], [1], [1]])
    )


def test_b0_is_the_superior_part_of_each_axis_slowest_first() -> None:
    assert oblique((4, 6, 8)).b0_direction == (-0.8, 0.0, 0.6)
    assert Geometry((4, 6, 8), (1.0, 1.0, 1.0)).b0_direction == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9)])
def test_all_positions_agree_with_the_affine(shape: Size) -> None:
    geometry = oblique(shape)
    positions = geometry.voxel_positions()
    assert positions.shape == (3, *shape)
    np.testing.assert_allclose(
        positions[:, 3, 1, 5], (geometry.affine_lps @ [5, 1, 3, 1])[:3], atol=1e-12
    )


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9)])
def test_slice_positions_step_through_the_in_plane_origin(shape: Size) -> None:
    geometry = oblique(shape)
    positions = geometry.voxel_positions()
    for index in range(shape[0]):
        np.testing.assert_allclose(
            geometry.slice_position(index),
            positions[:, index, shape[1] // 2, shape[2] // 2],
            atol=1e-12,
        )


@pytest.mark.parametrize(
    "change",
    [
        {"read_dir": (0.0, 1.6, 1.2)},
        {"slice_dir": (0.0, 0.8, 0.6)},
    ],
)
def test_axes_that_are_no_axes_are_refused(change: dict[str, Vector]) -> None:
    directions = {"read_dir": READ, "phase_dir": PHASE, "slice_dir": SLICE, **change}
    with pytest.raises(ValueError, match="must be unit vectors at right angles"):
        Geometry((4, 6, 8), (1.0, 1.0, 1.0), **directions)


@pytest.mark.parametrize(
    ("shape", "voxel_size"), [((0, 6, 8), (1.0, 1.0, 1.0)), ((4, 6, 8), (1.0, 0.0, 1.0))]
)
def test_a_volume_of_nothing_is_refused(shape: Size, voxel_size: Vector) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        Geometry(shape, voxel_size)


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (4, 7, 10)])
@pytest.mark.parametrize("wanted", [(2.5, 1.0, 1.0), (1.7, 1.3, 0.9), (6.0, 3.0, 2.0)])
def test_interpolation_keeps_field_of_view_place_and_directions(
    shape: Size, wanted: Vector
) -> None:
    coarse = oblique(shape)
    fine = coarse.interpolated(wanted)
    sides = np.multiply(coarse.shape, coarse.voxel_size)
    np.testing.assert_allclose(np.multiply(fine.shape, fine.voxel_size), sides)
    np.testing.assert_array_less(np.abs(sides / wanted - fine.shape), 0.5 + 1e-9)
    assert (fine.position, fine.axes) == (coarse.position, coarse.axes)


def test_voxels_of_their_own_size_change_nothing() -> None:
    assert oblique((4, 7, 10)).interpolated((5.0, 3.0, 2.0)) == oblique((4, 7, 10))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((0.0, 1.0, 1.0), "must be positive"),
        ((1.0, float("nan"), 1.0), "must be positive"),
        ((0.01, 0.01, 0.01), "are too many"),
    ],
)
def test_voxels_that_cannot_be_are_refused(wanted: Vector, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        oblique((4, 6, 8)).interpolated(wanted)
