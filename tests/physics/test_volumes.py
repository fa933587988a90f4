"""What no stage on field maps accepts."""

import numpy as np
import pytest

from chistream.arrays import Vector
from chistream.physics.volumes import check_b0_direction, check_field, check_weights

FIELD = np.zeros((3, 4, 5))
MASK = np.ones((3, 4, 5), dtype=bool)
UNIT: Vector = (1.0, 1.0, 1.0)


def test_a_plane_is_no_volume() -> None:
    with pytest.raises(ValueError, match=r"field must have the axes \(z, y, x\), got shape \(3"):
        check_field("field", FIELD[..., 0], MASK[..., 0], UNIT)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask \(3, 4, 4\) and field \(3, 4, 5\) differ"):
        check_field("field", FIELD, MASK[..., :4], UNIT)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="none of its 60 voxels"):
        check_field("field", FIELD, ~MASK, UNIT)


@pytest.mark.parametrize("voxel_size", [(1.0, 0.0, 1.0), (1.0, 1.0, float("nan"))])
def test_voxels_without_extent_are_refused(voxel_size: Vector) -> None:
    with pytest.raises(ValueError, match="voxel_size must be positive"):
        check_field("field", FIELD, MASK, voxel_size)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_hole_in_the_field_counts_inside_the_mask_only(bad: float) -> None:
    field, mask = FIELD.copy(), MASK.copy()
    field[1, 2, 3] = bad
    with pytest.raises(ValueError, match="field is not finite in 1 of 60 voxels"):
        check_field("field", field, mask, UNIT)
    mask[1, 2, 3] = False
    check_field("field", field, mask, UNIT)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_weights_must_be_weights(value: float) -> None:
    with pytest.raises(ValueError, match="weights must be finite, not negative and not all zero"):
        check_weights(np.full(FIELD.shape, value), FIELD, MASK)


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights \(3, 4, 4\) and field \(3, 4, 5\) differ"):
        check_weights(np.ones((3, 4, 4)), FIELD, MASK)


@pytest.mark.parametrize("b0_direction", [(0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0)])
def test_b0_must_point_somewhere(b0_direction: Vector) -> None:
    with pytest.raises(ValueError, match="b0_direction must not be zero"):
        check_b0_direction(b0_direction)


def test_what_is_right_passes() -> None:
    check_field("field", FIELD, MASK, UNIT)
    check_weights(np.ones(FIELD.shape), FIELD, MASK)
    check_b0_direction((0.0, 0.6, 0.8))
