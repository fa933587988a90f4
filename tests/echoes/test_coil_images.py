"""Coil images against a direct sum over k-space."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Size
from chistream.echoes.coil_images import (
    interpolate,
    reconstruct_coil_images,
    resize,
    to_recon_grid,
)

SHAPES = [(4, 5, 6), (5, 6, 7), (1, 8, 5), (3, 1, 4), (2, 3, 1)]


def noise(shape: tuple[int, ...], seed: int = 1) -> ComplexArray:
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape))
    values: ComplexArray = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return values


def synthesis(
    n_k: int, positions: ComplexArray | np.ndarray[tuple[int], np.dtype[np.float64]]
) -> ComplexArray:
    """Waves of centred k-space at positions, in units of the field of view."""
    k = np.arange(n_k) - n_k // 2
    waves: ComplexArray = np.exp(2j * np.pi * np.outer(positions, k)) / np.sqrt(n_k)
    return waves


def voxels(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Positions of n voxels across a field of view of 1, about n // 2."""
    return (np.arange(n) - n // 2) / n


@pytest.mark.parametrize("size", SHAPES)
def test_both_phase_directions_are_transformed(size: Size) -> None:
    hybrid = noise((2, 3, *size))
    images = reconstruct_coil_images(hybrid)
    expected = np.einsum(
        "zk,yl,ecklx->eczyx",
        synthesis(size[0], voxels(size[0])),
        synthesis(size[1], voxels(size[1])),
        hybrid,
    )
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert images.dtype == np.complex64


@pytest.mark.parametrize("recon", [(4, 6, 5), (3, 7, 5), (6, 5, 4), (1, 2, 3)])
def test_oversampling_is_cropped_about_the_origin(recon: Size) -> None:
    encoded = (6, 9, 5)
    hybrid = noise((1, 2, *encoded))
    whole = reconstruct_coil_images(hybrid)
    cut = tuple(
        slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(encoded, recon, strict=True)
    )
    np.testing.assert_array_equal(to_recon_grid(whole, recon), whole[:, :, cut[0], cut[1], cut[2]])


@pytest.mark.parametrize("recon", [(8, 12, 9), (7, 11, 10), (5, 6, 8)])
def test_a_larger_image_is_the_same_function_at_more_voxels(recon: Size) -> None:
    encoded = (5, 6, 7)
    hybrid = noise((1, 2, *encoded))
    kx = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(hybrid, -1), axis=-1, norm="ortho"), -1
    )  # back to k-space along x, so that all axes are sums of waves
    waves = [synthesis(n, voxels(m)) for n, m in zip(encoded, recon, strict=True)]
    expected = np.einsum("zk,yl,xm,ecklm->eczyx", *waves, kx)
    found = to_recon_grid(reconstruct_coil_images(hybrid), recon)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_fields_of_view_may_ask_for_a_crop_and_an_interpolation() -> None:
    images = noise((2, 2, 6, 8, 4))
    expected = interpolate(to_recon_grid(images, (4, 8, 4)), (8, 16, 8))
    found = to_recon_grid(images, (8, 16, 8), kept_size=(4, 8, 4))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_interpolation_passes_through_the_voxels_that_were_there() -> None:
    image = noise((3, 5, 7))
    finer = interpolate(image, (9, 15, 21))
    # Odd factors keep the old centres: voxel n // 2 + 3 i of the fine grid is n // 2 + i.
    np.testing.assert_allclose(finer[1::3, 1::3, 1::3], image, atol=1e-5)
    np.testing.assert_allclose(interpolate(finer, (3, 5, 7)), image, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(4, 7), (5, 8), (7, 4), (8, 5), (3, 3)])
def test_resizing_keeps_the_origin(old: int, new: int) -> None:
    volume = np.zeros((2, 1, old, 3), np.complex64)
    volume[:, 0, old // 2, 1] = 1
    resized = resize(volume, (1, new, 3))
    assert resized.shape == (2, 1, new, 3)
    assert (resized[:, 0, new // 2, 1] == 1).all()
    assert resized.sum() == 2


def test_noise_keeps_its_variance() -> None:
    hybrid = noise((1, 1, 12, 60, 50)) / np.float32(np.sqrt(2))
    images = to_recon_grid(reconstruct_coil_images(hybrid), (8, 40, 50))
    # 16000 voxels: the variance is known to 1 / sqrt(16000).
    assert np.mean(np.abs(images) ** 2) == pytest.approx(1.0, abs=4 / np.sqrt(16000))


def test_what_is_no_k_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\) needs axes"):
        reconstruct_coil_images(noise((2, 3, 4, 5)))


@pytest.mark.parametrize(("recon", "kept"), [((3, 0, 5), None), ((3, 4, 5), (3, 4, -1))])
def test_sizes_that_are_none_are_refused(recon: Size, kept: Size | None) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        to_recon_grid(noise((1, 1, 3, 4, 5)), recon, kept)
