"""The Laplacian boundary value method on masks of any form."""

import numpy as np
import pytest
from scipy import ndimage

from chistream.background.boundary import remove_background_lbv

UNIT = (1.0, 1.0, 1.0)


def test_two_organs_are_solved_apart() -> None:
    mask = np.zeros((12, 14, 30), dtype=bool)
    mask[1:11, 1:13, 1:12] = mask[1:11, 1:13, 18:29] = True
    field = np.where(np.arange(30) < 15, 1.0, -4.0) * np.ones(mask.shape)
    found = remove_background_lbv(field, mask, UNIT)
    np.testing.assert_allclose(found.local_field, 0.0, atol=1e-6)


def test_the_local_field_has_the_laplacian_of_the_total_field() -> None:
    voxel_size = (2.0, 1.0, 1.5)
    field = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((13, 16, 19)), 2)
    mask = np.ones(field.shape, dtype=bool)
    found = remove_background_lbv(field, mask, voxel_size, tolerance=1e-8)
    left = laplacian(found.local_field.astype(float) - field, voxel_size)
    np.testing.assert_allclose(left[found.mask], 0.0, atol=1e-6)  # single precision
    assert np.ptp(found.local_field) > 0.1 * np.ptp(field)


def test_the_edge_is_not_part_of_the_result() -> None:
    mask = np.zeros((9, 10, 11), dtype=bool)
    mask[:, 1:9, 1:10] = True
    found = remove_background_lbv(np.ones(mask.shape), mask, UNIT)
    np.testing.assert_array_equal(found.mask, ndimage.binary_erosion(mask))


@pytest.mark.parametrize("peel", [0, 1, 2])
def test_peeling_keeps_noise_at_the_edge_out(peel: int) -> None:
    mask = np.ones((13, 14, 15), dtype=bool)
    depth = ndimage.distance_transform_cdt(np.pad(mask, 1), "taxicab")[1:-1, 1:-1, 1:-1]
    field = np.where(depth <= peel, 5.0 * np.random.default_rng(3).standard_normal(mask.shape), 0.0)
    found = remove_background_lbv(field, mask, UNIT, peel=peel)
    np.testing.assert_allclose(found.local_field, 0.0, atol=1e-6)
    np.testing.assert_array_equal(found.mask, depth > peel + 1)


def test_a_negative_peel_is_refused() -> None:
    with pytest.raises(ValueError, match="peel must not be negative, got -1 layers"):
        remove_background_lbv(np.zeros((5, 5, 5)), np.ones((5, 5, 5), dtype=bool), UNIT, peel=-1)


def test_a_mask_that_is_all_edge_is_refused() -> None:
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[2:4] = True
    with pytest.raises(ValueError, match=r"nothing of the mask \(112 voxels\) lies inside"):
        remove_background_lbv(np.zeros(mask.shape), mask, UNIT)


def laplacian(
    volume: np.ndarray[tuple[int, ...], np.dtype[np.float64]], voxel_size: tuple[float, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    second = np.zeros_like(volume)
    for axis, step in enumerate(voxel_size):
        second += (np.roll(volume, 1, axis) + np.roll(volume, -1, axis) - 2 * volume) / step**2
    return second


@pytest.mark.parametrize("depth", [3, 5, 8])
def test_what_is_lost_of_a_source_near_a_flat_edge_is_its_mirror_image(depth: int) -> None:
    """The method, not the solver: zero on a plane makes the field of a source less its image."""
    z, y, x = np.meshgrid(np.arange(49.0), *2 * [np.arange(65.0) - 32], indexing="ij")

    def field_of_dipole(at: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        r2 = (z - at) ** 2 + y**2 + x**2
        return np.where(r2 > 1, (3 * (z - at) ** 2 / np.maximum(r2, 1) - 1) * r2**-1.5, 0)

    with np.errstate(divide="ignore", invalid="ignore"):
        field = np.nan_to_num(field_of_dipole(depth))
        mirrored = np.nan_to_num(field_of_dipole(-depth))
    found = remove_background_lbv(field, np.ones(field.shape, dtype=bool), UNIT)
    near = (z > 0) & (z < 2 * depth) & (y**2 + x**2 + (z - depth) ** 2 < 12**2) & found.mask
    lost = (field - found.local_field)[near]
    # The other faces of the box have small images of their own.
    np.testing.assert_allclose(lost, mirrored[near], atol=0.08 * np.abs(mirrored[near]).max())
