"""K-space to echoes with no coil image in between, and maps from a coarse grid."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Size
from chistream.echoes.coil_images import coarse_along_x, interpolate, reconstruct_coil_images
from chistream.echoes.combination import combine_coils, combine_kspace, plan_combination
from chistream.echoes.sensitivities import refine_sensitivities


def noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    parts = np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)
    values: ComplexArray = parts[0] + np.complex64(1j) * parts[1]
    return values


@pytest.mark.parametrize("size", [(4, 6, 8), (5, 7, 33), (1, 8, 17)])
def test_k_space_is_combined_as_its_coil_images_are(size: Size) -> None:
    hybrid, csm = noise((2, 3, *size), 1), noise((3, *size), 2)
    csm[:, 0, 0, 0] = 0
    plan_combination(size)
    found = combine_kspace(hybrid, csm)
    expected = combine_coils(reconstruct_coil_images(hybrid), csm)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found.dtype == np.complex64
    assert not found[:, 0, 0, 0].any()


def test_k_space_and_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        combine_kspace(noise((1, 2, 3, 4, 5), 1), noise((2, 3, 4, 6), 1))


@pytest.mark.parametrize(("n", "m"), [(16, 9), (15, 8), (12, 12), (16, 6)])
def test_a_matrix_makes_fewer_voxels_as_two_transforms_do(n: int, m: int) -> None:
    images = noise((2, 3, 4, 5, n), 3)
    np.testing.assert_allclose(coarse_along_x(images, m), interpolate(images, (4, 5, m)), atol=2e-5)


def waves(size: Size) -> ComplexArray:
    """Three coils ``(coils, z, y, x)`` of norm 1 that vary slowly, at any resolution."""
    z, y, x = np.meshgrid(*((np.arange(n) - n // 2) / n for n in size), indexing="ij")
    coils = [
        np.exp(0.9j * x) * (1 + 0.5 * np.sin(2 * y)),
        np.exp(1j * (y + z)),
        np.exp(-1j * z) * (1 + 0.5 * x),
    ]
    csm = np.array(coils)
    normed: ComplexArray = csm / np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    return normed.astype(np.complex64)


@pytest.mark.parametrize("size", [(12, 30, 44), (13, 31, 45), (12, 14, 16)])
def test_smooth_maps_are_the_same_on_a_finer_grid(size: Size) -> None:
    coarse = (12, 14, 16)
    found, expected = refine_sensitivities(waves(coarse), size), waves(size)
    inner = (slice(None), slice(2, -2), slice(5, -5), slice(6, -6))
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)
    np.testing.assert_allclose((np.abs(found) ** 2).sum(axis=0), 1, atol=1e-5)


def test_where_there_is_no_map_there_is_none_on_the_finer_grid() -> None:
    csm = waves((1, 10, 12))
    csm[..., 6:] = 0
    fine = refine_sensitivities(csm, (1, 20, 48))
    norm = (np.abs(fine) ** 2).sum(axis=0)
    assert set(np.unique(norm.round(4))) == {0.0, 1.0}
    assert not norm[..., 26:].any()
    assert norm[..., :20].all()
